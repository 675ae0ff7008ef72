// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate explain: why a prompt is admitted or refused, as an operator pastes
// it into a report. Everything that the verdict depends on is named.

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "estimators/text.h"
#include "tidegate/catalogue.h"
#include "tidegate/status.h"
#include "tools/arguments.h"
#include "tools/planned.h"
#include "tools/price_output.h"
#include "tools/routes.h"

namespace tidegate::tools {
namespace {

using internal::Concat;
using internal::FormatBytes;

constexpr std::size_t kRowsMax = 12;

struct Explanation {
  Planned planned;
  // Of the tightest chunk; absent where no step was priced.
  std::optional<Price> price;
  std::vector<LayerRoute> routes;
  Bytes kv_bytes_per_token = 0;
  // What is left for a chunk's transient at the tightest position.
  Bytes room = 0;
  bool fixed_alone_too_large = false;
};

// Bytes of one more token once every window is full, as the estimator has it:
// an engine may store KV in another type than the model's config says.
Bytes KvBytesPerToken(const Estimator& estimator) {
  // Beyond every window, and a run long enough for fractions of a byte.
  constexpr Tokens kFar = 16'000'000;
  constexpr Tokens kRun = 65'536;
  return (estimator.SequenceBytes(kFar + kRun, 1) -
          estimator.SequenceBytes(kFar, 1)) /
         kRun;
}

// Whether a chunk was priced: none was where the engine refuses every call.
bool HasArithmetic(const Plan& plan) {
  return plan.code != RefusalCode::kUnsupported && plan.arithmetic.n > 0;
}

absl::StatusOr<Explanation> Explain(const Arguments& args) {
  Explanation explanation;
  TG_ASSIGN_OR_RETURN(explanation.planned, PlanFromArguments(args));
  const Planned& planned = explanation.planned;
  const Arithmetic& sum = planned.plan.arithmetic;
  const Estimator& estimator = *planned.inputs.estimator;
  explanation.kv_bytes_per_token = KvBytesPerToken(estimator);
  explanation.room =
      sum.ceiling - sum.headroom - SatAdd(sum.live, sum.claims, sum.resident);
  explanation.fixed_alone_too_large =
      planned.plan.verdict != Verdict::kAdmit && HasArithmetic(planned.plan) &&
      sum.fixed_in_n > std::max<Bytes>(explanation.room, 0);

  Chunk chunk{.n = sum.n, .kv_len = sum.kv_len, .mask = planned.request.mask};
  if (chunk.n < 1) {
    // Nothing was tried: the routes of the first chunk still say why.
    chunk.n = std::min(planned.chunk.max, planned.request.prompt_tokens);
    chunk.kv_len = planned.request.prompt_tokens;
  }
  TG_ASSIGN_OR_RETURN(explanation.routes, LayerRoutes(planned.inputs, chunk));
  absl::StatusOr<Price> price = estimator.Explain({.chunks = {&chunk, 1}});
  if (price.ok()) {
    explanation.price = *std::move(price);
  } else if (price.status().code() != absl::StatusCode::kUnimplemented) {
    return price.status();
  }
  return explanation;
}

std::string OptionsText(const EngineSpec& engine) {
  std::string text;
  for (const auto& [key, value] : engine.options) {
    text += Concat(text.empty() ? "" : ", ", key, " = ", value);
  }
  return text;
}

// Rows of two columns under a title.
class Section {
 public:
  explicit Section(std::string title) : title_(std::move(title)) {}
  void Add(std::string name, std::string value, std::string note = "") {
    table_.Add({std::move(name), std::move(value), std::move(note)});
  }
  void Print(std::ostream& out) const {
    const std::string text = table_.ToString();
    out << "\n" << title_ << text.substr(text.find('\n'));
  }

 protected:
  std::string title_;
  TextTable table_{{"", "", ""}, {Align::kLeft, Align::kLeft, Align::kLeft}};
};

void PrintSubject(const Explanation& explanation, std::ostream& out) {
  const Planned& planned = explanation.planned;
  const Inputs& inputs = planned.inputs;
  const ModelShape& shape = inputs.shape;
  Section section("What was asked");
  section.Add("tidegate", TIDEGATE_VERSION);
  section.Add("model", Concat(shape.name, " (", inputs.model_source, ")"));
  section.Add("engine", inputs.engine.name.empty()
                            ? std::string("none: a formula needs none")
                            : EngineName(inputs.engine));
  if (!inputs.engine.options.empty()) {
    section.Add("options", OptionsText(inputs.engine));
  }
  section.Add("estimator", std::string(inputs.estimator->Name()));
  section.Add(
      "prompt",
      Concat(TokenCount(planned.request.prompt_tokens), ", ",
             Grouped(planned.request.cached_tokens), " cached, ",
             Grouped(planned.request.max_output_tokens), " of output, mask ",
             std::string(MaskName(planned.request.mask))));
  section.Print(out);

  out << "\nLayers\n";
  for (std::size_t i = 0; i < shape.mixers.size(); ++i) {
    const std::int64_t count = shape.MixerCount(static_cast<int>(i));
    if (count == 0) continue;
    out << "  " << count << " x " << DescribeMixer(shape.mixers[i]) << "\n";
  }
  for (std::size_t i = 0; i < shape.feed_forwards.size(); ++i) {
    const std::int64_t count = shape.FeedForwardCount(static_cast<int>(i));
    if (count == 0) continue;
    out << "  " << count << " x " << DescribeFeedForward(shape.feed_forwards[i])
        << "\n";
  }
  out << "  KV: " << FormatBytes(explanation.kv_bytes_per_token)
      << " for each further token\n";
}

// Where the bound of a price comes from.
std::string_view Provenance(const Explanation& explanation) {
  const Inputs& inputs = explanation.planned.inputs;
  const std::string_view use = inputs.estimator->Name();
  if (use == "table") {
    return explanation.price.has_value() && explanation.price->assumed
               ? "assumed: beyond the measured rows, so there is no proven "
                 "bound"
               : "bounded by measured rows: not assumed";
  }
  if (use == "formula") return "as the policy's formula says: not assumed";
  return inputs.estimator->Assumed()
             ? "assumed: the catalogue does not know this engine, device or "
               "version, so there is no proven bound"
             : "known to the catalogue: not assumed";
}

void PrintRoutes(const Explanation& explanation, std::ostream& out) {
  const Inputs& inputs = explanation.planned.inputs;
  out << "\nRoute\n";
  if (explanation.price.has_value()) {
    out << "  whole step: " << explanation.price->route << "\n";
  }
  for (const LayerRoute& layer : explanation.routes) {
    out << "  " << layer.layers << ": ";
    if (layer.route.supported) {
      out << layer.route.kernel;
      // An engine that nobody knows has no source.
      if (layer.route.source == "assumed") {
        out << ", assumed";
      } else if (!layer.route.source.empty()) {
        out << ", from " << layer.route.source;
      }
    } else {
      out << "does not run: " << layer.route.reason << " ("
          << layer.route.source << ")";
    }
    out << "\n";
  }
  out << "  " << Provenance(explanation) << "\n";
  if (inputs.estimator->Timing() == TransientTiming::kAtLoad) {
    out << "  paid when the model loads: a narrower chunk later frees "
           "nothing\n";
  }
}

void PrintLimits(const Explanation& explanation, std::ostream& out) {
  const Planned& planned = explanation.planned;
  const MemoryLimits& memory = planned.memory;
  Section section("Limits");
  section.Add("ceiling", FormatBytes(memory.ceiling), "never exceeded");
  section.Add("headroom", FormatBytes(memory.headroom), "kept back");
  section.Add("base", FormatBytes(memory.base), "live before this request");
  section.Add("room", FormatBytes(memory.Room()), "ceiling - headroom - base");
  section.Add(
      "largest allocation",
      memory.max_allocation.has_value() ? FormatBytes(*memory.max_allocation)
                                        : "no limit",
      explanation.price.has_value()
          ? Concat("the chunk below asks for ",
                   FormatBytes(explanation.price->largest_allocation_bytes),
                   " at once")
          : "");
  section.Add("chunk", Concat("at most ", Grouped(planned.chunk.max)),
              Concat("floor ", Grouped(planned.chunk.floor), ", quantum ",
                     Grouped(planned.chunk.quantum)));
  section.Print(out);
}

void PrintArithmetic(const Explanation& explanation, std::ostream& out) {
  const Arithmetic& sum = explanation.planned.plan.arithmetic;
  if (!HasArithmetic(explanation.planned.plan)) return;
  out << "\nArithmetic of the tightest chunk: " << TokenCount(sum.n)
      << " at a kv length of " << Grouped(sum.kv_len) << "\n";
  TextTable table({"", "", ""}, {Align::kLeft, Align::kRight, Align::kLeft});
  const Bytes total = SatAdd(sum.live, sum.claims, sum.resident, sum.transient);
  const Bytes line = sum.ceiling - sum.headroom;
  table.Add({"live", FormatBytes(sum.live), "before this request"});
  table.Add({"+ claims", FormatBytes(sum.claims), "promised to others"});
  table.Add({"+ resident", FormatBytes(sum.resident),
             "KV and state of this prompt, the chunk included"});
  table.Add({"+ transient", FormatBytes(sum.transient),
             Concat("of it ", FormatBytes(sum.fixed_in_n),
                    " that no narrower chunk avoids")});
  table.Add({"= needed", FormatBytes(total), ""});
  table.Add({"ceiling - headroom", FormatBytes(line),
             total <= line
                 ? Concat("fits, ", FormatBytes(line - total), " to spare")
                 : Concat("too small by ", FormatBytes(total - line))});
  const std::string text = table.ToString();
  out << text.substr(text.find('\n') + 1);
  if (sum.max_allocation.has_value() && sum.largest_allocation > 0) {
    out << "  Largest single allocation " << FormatBytes(sum.largest_allocation)
        << (sum.largest_allocation > *sum.max_allocation ? " > " : " <= ")
        << FormatBytes(*sum.max_allocation) << ", its limit.\n";
  }
  if (explanation.price.has_value()) {
    const Part* binding = BindingPart(*explanation.price);
    if (binding != nullptr) {
      out << "\nWhere the transient comes from: " << binding->name << "\n";
      TextTable terms({"", ""}, {Align::kLeft, Align::kRight});
      for (const Term& term : MergedTerms(*binding)) {
        if (term.bytes == 0) continue;
        terms.Add({term.name, FormatBytes(term.bytes)});
      }
      const std::string lines = terms.ToString();
      out << lines.substr(lines.find('\n') + 1);
    }
  }
}

void PrintExplanation(const Explanation& explanation, std::ostream& out) {
  const Planned& planned = explanation.planned;
  const Plan& plan = planned.plan;
  out << VerdictSentence(planned) << "\n";
  if (plan.verdict != Verdict::kAdmit && HasArithmetic(plan) &&
      explanation.room <= 0) {
    out << "No chunk is narrow enough: what is live and this prompt's own KV "
           "alone exceed ceiling - headroom.\n";
  } else if (explanation.fixed_alone_too_large) {
    out << "No chunk is narrow enough: "
        << FormatBytes(plan.arithmetic.fixed_in_n)
        << " do not shrink with the chunk, and only "
        << FormatBytes(explanation.room) << " are left for it.\n";
  }
  out << "Largest prompt that fits: "
      << TokenCount(plan.largest_prompt_that_fits) << ".\n";
  PrintSubject(explanation, out);
  PrintRoutes(explanation, out);
  PrintLimits(explanation, out);
  PrintArithmetic(explanation, out);
  if (!plan.chunks.empty()) {
    out << "\nChunks\n" << RangeTable(plan.chunks, kRowsMax);
  }
  if (!planned.warnings.empty()) {
    out << "\nWarnings\n";
    for (const std::string& warning : planned.warnings) {
      out << "  " << warning << "\n";
    }
  }
}

void PutLayers(const ModelShape& shape, JsonWriter& json) {
  json.BeginArray("layers");
  for (std::size_t i = 0; i < shape.mixers.size(); ++i) {
    const std::int64_t count = shape.MixerCount(static_cast<int>(i));
    if (count == 0) continue;
    json.BeginObject();
    json.Put("count", count);
    json.Put("mixer", std::string_view(DescribeMixer(shape.mixers[i])));
    json.End();
  }
  json.End();
}

void PutExplanation(const Explanation& explanation, JsonWriter& json) {
  const Planned& planned = explanation.planned;
  const Inputs& inputs = planned.inputs;
  PutPlan(planned.plan, json);
  json.Put("version", TIDEGATE_VERSION);
  json.Put("model", std::string_view(inputs.shape.name));
  json.Put("model_source", std::string_view(inputs.model_source));
  if (inputs.engine.name.empty()) {
    json.PutNull("engine");
  } else {
    json.Put("engine", std::string_view(EngineName(inputs.engine)));
  }
  json.BeginObject("engine_options");
  for (const auto& [key, value] : inputs.engine.options) {
    json.Put(key, std::string_view(value));
  }
  json.End();
  json.Put("estimator", inputs.estimator->Name());
  json.Put("assumed", explanation.price.has_value()
                          ? explanation.price->assumed
                          : inputs.estimator->Assumed());
  json.Put("paid_at_load",
           inputs.estimator->Timing() == TransientTiming::kAtLoad);
  json.BeginArray("routes");
  for (const LayerRoute& layer : explanation.routes) {
    json.BeginObject();
    json.Put("layers", std::string_view(layer.layers));
    json.Put("kernel", std::string_view(layer.route.kernel));
    json.Put("source", std::string_view(layer.route.source));
    if (!layer.route.reason.empty()) {
      json.Put("reason", std::string_view(layer.route.reason));
    }
    json.End();
  }
  json.End();
  PutLayers(inputs.shape, json);
  json.Put("kv_bytes_per_token", explanation.kv_bytes_per_token);
  json.BeginObject("limits");
  json.Put("ceiling_bytes", planned.memory.ceiling);
  json.Put("headroom_bytes", planned.memory.headroom);
  json.Put("base_bytes", planned.memory.base);
  json.Put("room_bytes", planned.memory.Room());
  if (planned.memory.max_allocation.has_value()) {
    json.Put("max_allocation_bytes", *planned.memory.max_allocation);
  } else {
    json.PutNull("max_allocation_bytes");
  }
  json.Put("chunk_max", planned.chunk.max);
  json.Put("chunk_floor", planned.chunk.floor);
  json.Put("chunk_quantum", planned.chunk.quantum);
  json.End();
  json.Put("fixed_alone_too_large", explanation.fixed_alone_too_large);
  if (explanation.price.has_value()) {
    json.BeginObject("price");
    PutPrice(*explanation.price, json);
    json.End();
  } else {
    json.PutNull("price");
  }
  PutStrings("warnings", planned.warnings, json);
}

}  // namespace

absl::StatusOr<int> RunExplain(const Arguments& args, Streams& io) {
  TG_ASSIGN_OR_RETURN(const Explanation explanation, Explain(args));
  if (args.json) {
    JsonWriter json;
    PutExplanation(explanation, json);
    io.out << json.ToString();
  } else {
    PrintExplanation(explanation, io.out);
  }
  return ExitCode(explanation.planned.plan);
}

}  // namespace tidegate::tools
