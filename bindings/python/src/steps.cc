// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "bindings/python/src/steps.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <utility>

#include "bindings/python/src/errors.h"
#include "estimators/text.h"
#include "scheduler/kv_pool.h"
#include "tidegate/scheduler.h"
#include "tools/simulation.h"

namespace tidegate::python {
namespace {

namespace nb = nanobind;

StepLoad LoadOf(const StepTokens& step) {
  StepLoad load;
  for (const auto& [n, kv_len] : step.chunks) load.Add(n, kv_len - n);
  if (step.decodes == 0) return load;
  // The sum over tokens of one each: pairs are 2*K + 1.
  const Tokens before = std::max<Tokens>(0, step.decode_kv_sum - step.decodes);
  load.tokens = SatAdd(load.tokens, step.decodes);
  load.before = SatAdd(load.before, before);
  load.pairs = SatAdd(load.pairs, SatAdd(SatMul(before, 2), step.decodes));
  return load;
}

}  // namespace

Steps::Steps(const PullSetup& setup) {
  tools::Arguments args;
  PolicyFile policy = ReadPolicyAndModel(setup, &args, &warnings_);
  if (policy.engine.has_value()) engine_ = EngineName(*policy.engine);
  settings_["admission"] = policy.admission_policy;
  settings_["order"] = policy.order_policy;
  settings_["pressure"] = policy.pressure_policy;
  settings_["chunk"] = policy.chunk_policy;
  settings_["chunk_max"] = policy.chunk_max;
  settings_["running_max"] = policy.running_max;
  settings_["kv_blocks"] = policy.kv_blocks;
  settings_["step_decode"] = policy.step_decode;
  settings_["probe"] = policy.probe;
  settings_["base"] = policy.base;
  policy.probe.reset();
  tools::PreparedSimulation prepared =
      ValueOrThrow(tools::PrepareSimulation(std::move(policy), args));
  warnings_.insert(warnings_.end(), prepared.warnings.begin(),
                   prepared.warnings.end());
  SchedulerOptions& options = prepared.options.scheduler;
  plugins_ = prepared.plugins;
  estimator_ = options.estimator;
  pooled_ = std::make_unique<internal::PooledEstimator>(estimator_);
  timer_ = prepared.options.world.timer;
  limits_ = options.memory;
  chunk_ = options.chunk;
  settings_["ceiling_bytes"] = limits_.ceiling;
  settings_["headroom_bytes"] = limits_.headroom;
  settings_["base_bytes"] = limits_.base;
  settings_["max_allocation_bytes"] = limits_.max_allocation;
  settings_["floor"] = chunk_.floor;
  settings_["quantum"] = chunk_.quantum;
  settings_["queue_max"] = options.queue_max;
  settings_["decode_stall"] = options.decode_stall.count();
}

nb::tuple Steps::Price(const StepTokens& step) const {
  std::vector<Chunk> chunks;
  chunks.reserve(step.chunks.size());
  for (const auto& [n, kv_len] : step.chunks) {
    chunks.push_back({.n = n, .kv_len = kv_len});
  }
  if (chunks.empty() && step.decodes == 0) return nb::make_tuple(0, 0, 0);
  const StepQuery query{.chunks = chunks,
                        .decode_tokens = step.decodes,
                        .decode_kv_len = step.decode_kv_len};
  ThrowUnlessOk(ValidateStep(query));
  const PriceTotals totals = estimator_->Total(query);
  return nb::make_tuple(totals.transient_bytes, totals.resident_bytes,
                        totals.largest_allocation_bytes);
}

std::optional<std::int64_t> Steps::Took(const StepTokens& step) const {
  const StepLoad load = LoadOf(step);
  if (fit_.model().has_value()) return fit_.model()->Of(load).count();
  if (timer_ == nullptr) return std::nullopt;
  std::vector<Chunk> chunks;
  for (const auto& [n, kv_len] : step.chunks) {
    chunks.push_back({.n = n, .kv_len = kv_len});
  }
  // What decoding sequences attend to is known as a sum: each has its share.
  const std::vector<Tokens> decodes(
      static_cast<std::size_t>(step.decodes),
      step.decodes == 0
          ? 0
          : std::max<Tokens>(1, step.decode_kv_sum / step.decodes));
  return timer_->Of({.chunks = chunks, .decode_kv_lens = decodes}).took.count();
}

void Steps::Learn(const StepTokens& step, std::int64_t took) {
  if (took > 0) fit_.Add(LoadOf(step), Duration(took));
}

// Where no sequence grows, PlanPrompt's own answer may lie far below what fits.
// Each length that is answered here has a plan.
Tokens Steps::LargestPooled(const Estimator& prices, PlanRequest request,
                            const MemoryLimits& limits) const {
  Tokens fits = request.cached_tokens;
  Tokens too_long = request.prompt_tokens;
  while (too_long - fits > 1) {
    request.prompt_tokens = fits + (too_long - fits) / 2;
    const absl::StatusOr<Plan> plan = PlanPrompt(
        prices, request, limits, chunk_,
        {.want_largest_prompt = false, .any_sequence = true, .explain = false});
    if (!plan.ok()) break;
    (plan->verdict == Verdict::kAdmit ? fits : too_long) =
        request.prompt_tokens;
  }
  return fits == request.cached_tokens ? 0 : fits;
}

nb::dict Steps::Quote(const PlanRequest& request, bool pooled,
                      Bytes base) const {
  absl::StatusOr<Plan> plan;
  {
    // Milliseconds for long prompts.
    const nb::gil_scoped_release released;
    MemoryLimits limits = limits_;
    limits.base = base;
    const Estimator& prices = pooled ? *pooled_ : *estimator_;
    plan = PlanPrompt(prices, request, limits, chunk_,
                      {.want_largest_prompt = !pooled});
    if (pooled && plan.ok() && plan->verdict == Verdict::kReject) {
      plan->largest_prompt_that_fits = LargestPooled(prices, request, limits);
    }
  }
  ThrowUnlessOk(plan.status());
  nb::dict dict;
  dict["verdict"] = std::string(VerdictName(plan->verdict));
  dict["code"] = plan->code == RefusalCode::kNone
                     ? std::string()
                     : std::string(RefusalCodeName(plan->code));
  dict["reason"] = plan->reason;
  dict["largest_prompt_that_fits"] = plan->largest_prompt_that_fits;
  dict["arithmetic"] = ArithmeticDict(plan->arithmetic);
  dict["inequality"] = Describe(plan->arithmetic);
  dict["first_chunk"] = plan->chunks.empty() ? 0 : plan->chunks.front().n;
  return dict;
}

}  // namespace tidegate::python
