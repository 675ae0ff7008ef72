// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/load.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "estimators/text.h"
#include "scheduler/units.h"
#include "tidegate/status.h"

namespace tidegate::tools {

using internal::Concat;
using internal::FormatBytes;

namespace {

constexpr Tokens kNarrowest = 32;

// An option that was stated; the catalogue has checked that it is a number. 0:
// open.
Tokens Stated(const EngineSpec& engine, std::string_view key) {
  const auto found = engine.options.find(key);
  Tokens tokens = 0;
  if (found == engine.options.end() ||
      !internal::ParseTokens(found->second, &tokens)) {
    return 0;
  }
  return tokens;
}

std::vector<Tokens> Widths(Tokens most) {
  std::vector<Tokens> widths;
  for (Tokens n = kNarrowest; n < most; n *= 2) widths.push_back(n);
  widths.push_back(most);
  return widths;
}

}  // namespace

bool LoadIsOpen(const Inputs& inputs) {
  return inputs.estimator->Timing() == TransientTiming::kAtLoad &&
         (Stated(inputs.engine, "n_ubatch") == 0 ||
          Stated(inputs.engine, "n_ctx") == 0);
}

absl::StatusOr<PlannedLoad> PlanLoadFor(const Inputs& inputs, Tokens wanted,
                                        std::vector<std::string>* warnings) {
  PlannedLoad load;
  TG_ASSIGN_OR_RETURN(load.memory, ReadMemoryLimits(inputs, warnings));
  load.outputs = Stated(inputs.engine, "n_outputs");

  EstimatorOptions options = inputs.estimator_options;
  for (const char* key : {"n_ubatch", "n_ctx", "n_outputs"}) {
    options.engine.options.erase(key);
  }
  TG_ASSIGN_OR_RETURN(const CreatedEstimator open,
                      inputs.plugins->CreateEstimator(options));
  const Tokens width = Stated(inputs.engine, "n_ubatch");
  LoadRequest request{.memory = load.memory, .outputs = load.outputs};
  request.widths = width > 0 ? std::vector<Tokens>{width}
                             : Widths(ReadChunkLimits(inputs.policy).max);
  request.n_ctx = std::max(wanted, Stated(inputs.engine, "n_ctx"));
  if (inputs.shape.max_position.has_value()) {
    request.n_ctx_max = std::max(*inputs.shape.max_position, request.n_ctx);
  }
  TG_ASSIGN_OR_RETURN(load.plan, PlanLoad(*open.estimator, request));
  return load;
}

Arguments WithLoad(const Arguments& args, const PlannedLoad& load) {
  const LoadChoice& chosen = load.plan.chosen;
  Arguments loaded = args;
  const auto set = [&](std::string_view key, Tokens value) {
    loaded.engine_options.push_back(Concat(key, "=", value));
  };
  set("n_ubatch", chosen.n_ubatch);
  set("n_ctx", chosen.n_ctx);
  set("n_outputs", load.outputs > 0 ? load.outputs : chosen.n_ubatch);
  loaded.chunk_max = Concat(chosen.n_ubatch);
  if (!args.chunk_floor.has_value()) {
    loaded.chunk_floor = Concat(std::min(chosen.n_ubatch, ChunkLimits{}.floor));
  }
  return loaded;
}

void PrintLoad(const PlannedLoad& load, std::ostream& out) {
  const LoadPlan& plan = load.plan;
  out << (plan.fits ? "Load: " : "Does not load: ") << plan.reason << "\n\n";
  TextTable table(
      {"n_ubatch", "longest n_ctx", "KV", "compute", "with live", ""},
      {Align::kRight, Align::kRight, Align::kRight, Align::kRight,
       Align::kRight, Align::kLeft});
  for (const LoadChoice& choice : plan.choices) {
    const Bytes together = SatAdd(load.memory.base, choice.cost.Need());
    if (choice.n_ctx == 0) {
      table.Add({Grouped(choice.n_ubatch), "none", "", "", "",
                 Concat("256 tokens need ", FormatBytes(together))});
      continue;
    }
    table.Add({Grouped(choice.n_ubatch), Grouped(choice.n_ctx),
               FormatBytes(choice.cost.kv_bytes),
               FormatBytes(choice.cost.transient_bytes), FormatBytes(together),
               plan.fits && choice.n_ubatch == plan.chosen.n_ubatch
                   ? "<- chosen"
                   : ""});
  }
  out << table.ToString() << "\nPriced for "
      << (load.outputs > 0 ? Concat(Grouped(load.outputs),
                                    load.outputs == 1 ? " row" : " rows")
                           : std::string("one row of logits for each token"))
      << (load.outputs > 0 ? " of logits in a step" : " of a step")
      << " (--engine-option n_outputs=N).\n";
}

void PutLoad(const PlannedLoad& load, JsonWriter& json) {
  const LoadPlan& plan = load.plan;
  const auto put = [&](const LoadChoice& choice) {
    json.Put("n_ubatch", choice.n_ubatch);
    json.Put("n_ctx", choice.n_ctx);
    json.Put("kv_bytes", choice.cost.kv_bytes);
    json.Put("compute_bytes", choice.cost.transient_bytes);
    json.Put("largest_allocation_bytes", choice.cost.largest_allocation_bytes);
    json.Put("live_bytes", SatAdd(load.memory.base, choice.cost.Need()));
  };
  json.BeginObject("load");
  json.Put("fits", plan.fits);
  put(plan.chosen);
  if (load.outputs > 0) {
    json.Put("n_outputs", load.outputs);
  } else {
    json.Put("n_outputs", plan.chosen.n_ubatch);
  }
  json.Put("reason", std::string_view(plan.reason));
  json.BeginArray("choices");
  for (const LoadChoice& choice : plan.choices) {
    json.BeginObject();
    put(choice);
    json.End();
  }
  json.End();
  json.End();
}

}  // namespace tidegate::tools
