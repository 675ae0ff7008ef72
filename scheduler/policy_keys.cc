// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/policy_keys.h"

#include <array>
#include <limits>

#include "estimators/formula_law.h"
#include "estimators/text.h"
#include "tidegate/model_config.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

using std::string_view;

constexpr std::int64_t kMaxInteger = std::numeric_limits<std::int64_t>::max();
// No model or catalogue has wider ones; a larger number is a slip of units.
constexpr std::int64_t kMaxWidth = std::int64_t{1} << 32;
constexpr std::int64_t kMaxLayers = 100'000;

constexpr auto kEstimators = std::to_array<string_view>(
    {"fused", "tiled", "unfused", "catalog", "table", "formula", "calibrated"});
constexpr auto kLaterEstimators = std::to_array<string_view>({"plugin:…"});
constexpr auto kChunkPolicies = std::to_array<string_view>(
    {"fixed", "throttle", "equal_time", "efficient"});
constexpr auto kLaterChunkPolicies = std::to_array<string_view>({"plugin:…"});
constexpr auto kAdmissionPolicies =
    std::to_array<string_view>({"reserve", "bankers", "optimistic"});
constexpr auto kLaterAdmissionPolicies =
    std::to_array<string_view>({"plugin:…"});
constexpr auto kOrderPolicies =
    std::to_array<string_view>({"fcfs", "priority", "shortest", "fair"});
constexpr auto kLaterOrderPolicies = std::to_array<string_view>({"plugin:…"});
constexpr auto kRungs =
    std::to_array<string_view>({"pool", "cache", "model", "preempt"});

template <auto Member>
absl::Status Integer(const PolicyKey&, const PolicyValue& value,
                     PolicyDraft* draft) {
  draft->policy.*Member = value.integer;
  return absl::OkStatus();
}

template <auto Member>
absl::Status Text(const PolicyKey&, const PolicyValue& value,
                  PolicyDraft* draft) {
  draft->policy.*Member = value.text;
  return absl::OkStatus();
}

template <auto Member>
absl::Status EngineText(const PolicyKey&, const PolicyValue& value,
                        PolicyDraft* draft) {
  if (value.text.empty()) return InvalidArgument("expected a name, got \"\"");
  draft->engine.*Member = value.text;
  return absl::OkStatus();
}

template <auto Member>
absl::Status Formula(const PolicyKey& key, const PolicyValue& value,
                     PolicyDraft* draft) {
  TG_RETURN_IF_ERROR(CheckFormula(value.text, key.name == "resident_per_token",
                                  key.name == "fixed"));
  draft->policy.formula.*Member = value.text;
  return absl::OkStatus();
}

template <auto Member>
absl::Status FormulaBreaks(const PolicyKey&, const PolicyValue& value,
                           PolicyDraft* draft) {
  draft->policy.formula.*Member = value.integers;
  return absl::OkStatus();
}

absl::Status Stall(const PolicyKey&, const PolicyValue& value,
                   PolicyDraft* draft) {
  draft->policy.decode_stall = Duration(value.integer);
  return absl::OkStatus();
}

absl::Status Ladder(const PolicyKey&, const PolicyValue& value,
                    PolicyDraft* draft) {
  draft->policy.ladder = value.words;
  return absl::OkStatus();
}

absl::Status EngineOptions(const PolicyKey&, const PolicyValue& value,
                           PolicyDraft* draft) {
  draft->engine.options = value.options;
  return absl::OkStatus();
}

absl::Status Compute(const PolicyKey&, const PolicyValue& value,
                     PolicyDraft* draft) {
  TG_ASSIGN_OR_RETURN(draft->policy.model_overrides.compute,
                      ParseComputeType(value.text));
  return absl::OkStatus();
}

absl::Status KvElement(const PolicyKey&, const PolicyValue& value,
                       PolicyDraft* draft) {
  TG_ASSIGN_OR_RETURN(draft->policy.model_overrides.kv_element,
                      ParseElementSize(value.text));
  return absl::OkStatus();
}

void AddMember(const PolicyKey& key, const std::string& json,
               PolicyDraft* draft) {
  draft->shape_members += Concat(draft->shape_members.empty() ? "" : ", ", "\"",
                                 key.name, "\": ", json);
}

absl::Status ShapeInteger(const PolicyKey& key, const PolicyValue& value,
                          PolicyDraft* draft) {
  AddMember(key, std::to_string(value.integer), draft);
  return absl::OkStatus();
}

// Both are checked before they are quoted into JSON, so that they hold no
// character that would need escaping.
absl::Status ShapeCompute(const PolicyKey& key, const PolicyValue& value,
                          PolicyDraft* draft) {
  TG_RETURN_IF_ERROR(ParseComputeType(value.text).status());
  AddMember(key, Concat("\"", value.text, "\""), draft);
  return absl::OkStatus();
}

absl::Status ShapeElement(const PolicyKey& key, const PolicyValue& value,
                          PolicyDraft* draft) {
  TG_RETURN_IF_ERROR(ParseElementSize(value.text).status());
  AddMember(key, Concat("\"", value.text, "\""), draft);
  return absl::OkStatus();
}

constexpr PolicyKey ShapeKey(string_view name, std::int64_t min,
                             std::int64_t max, string_view fallback,
                             string_view doc) {
  return {.table = "model.shape",
          .name = name,
          .type = PolicyType::kCount,
          .min = min,
          .max = max,
          .fallback = fallback,
          .required = fallback.empty(),
          .doc = doc,
          .store = ShapeInteger};
}

const auto kKeys = std::to_array<PolicyKey>({
    // [model]
    {.table = "model",
     .name = "config",
     .fallback = "none: give it, [model.shape] or --model",
     .doc = "A Hugging Face config.json; a relative path starts at the policy "
            "file. model.safetensors.index.json beside it gives the bytes of "
            "the weights.",
     .store = Text<&PolicyFile::model_config>},
    {.table = "model",
     .name = "compute_dtype",
     .fallback = "as the config says",
     .doc = "Type that the engine computes in, where it is not the config's: "
            "fp32, fp16 or bf16.",
     .store = Compute},
    {.table = "model",
     .name = "kv_dtype",
     .type = PolicyType::kElement,
     .fallback = "the compute type",
     .doc = "Type of the stored KV: fp16, fp8, int8, q8_0, … or a number of "
            "bytes per element.",
     .store = KvElement},

    // [model.shape]
    ShapeKey("q_heads", 1, kMaxWidth, "", "Query heads of a layer."),
    ShapeKey("kv_heads", 1, kMaxWidth, "",
             "Key and value heads of a layer; a divisor of q_heads."),
    ShapeKey("head_dim", 1, kMaxWidth, "", "Width of a head."),
    ShapeKey("layers", 1, kMaxLayers, "", "Layers of the model."),
    ShapeKey("kv_layers", 0, kMaxLayers, "layers",
             "Layers that keep KV; the others keep nothing."),
    ShapeKey("hidden", 0, kMaxWidth, "0: attention only is priced",
             "Width of the residual stream."),
    ShapeKey("intermediate", 0, kMaxWidth, "0: no feed-forward block",
             "Width of the gated feed-forward block."),
    ShapeKey("vocab", 0, kMaxWidth, "0: no logits are priced",
             "Rows of the output head."),
    {.table = "model.shape",
     .name = "compute_dtype",
     .fallback = "bf16",
     .doc = "Type that the engine computes in: fp32, fp16 or bf16.",
     .store = ShapeCompute},
    {.table = "model.shape",
     .name = "kv_dtype",
     .type = PolicyType::kElement,
     .fallback = "the compute type",
     .doc = "Type of the stored KV, or bytes per element.",
     .store = ShapeElement},

    // [engine]
    {.table = "engine",
     .name = "name",
     .required = true,
     .doc = "Engine, as `tidegate engines` lists it. One that it does not list "
            "is priced as if the scores were written out, with a warning.",
     .store = EngineText<&EngineSpec::name>},
    {.table = "engine",
     .name = "version",
     .required = true,
     .doc = "Its version. One newer than the catalogue takes the last known "
            "routes, with a warning.",
     .store = EngineText<&EngineSpec::version>},
    {.table = "engine",
     .name = "device",
     .required = true,
     .doc = "What it runs on: metal, metal-nax, cuda-sm90, cpu, …",
     .store = EngineText<&EngineSpec::device>},
    {.table = "engine",
     .name = "options",
     .type = PolicyType::kOptions,
     .fallback = "each option's own default",
     .doc =
         "What a version alone cannot say, such as { attention = \"sdpa\" }. "
         "`tidegate engines NAME` lists an engine's options.",
     .store = EngineOptions},

    // [memory]
    {.table = "memory",
     .name = "ceiling",
     .type = PolicyType::kBytes,
     .unit = "bytes",
     .min = 1,
     .max = kMaxInteger,
     .fallback = "none: give it or --ceiling",
     .doc = "Never to be exceeded by live, resident and transient bytes.",
     .store = Integer<&PolicyFile::ceiling>},
    {.table = "memory",
     .name = "base",
     .type = PolicyType::kBytes,
     .unit = "bytes",
     .max = kMaxInteger,
     .fallback = "the weights' bytes if known, else 0",
     .doc = "Live before any request: weights and whatever else the process "
            "holds. A running engine's readings replace it.",
     .store = Integer<&PolicyFile::base>},
    {.table = "memory",
     .name = "headroom",
     .type = PolicyType::kBytes,
     .unit = "bytes",
     .max = kMaxInteger,
     .fallback = "0",
     .doc = "Kept back below the ceiling, for what nobody prices.",
     .store = Integer<&PolicyFile::headroom>},
    {.table = "memory",
     .name = "max_allocation",
     .type = PolicyType::kBytes,
     .unit = "bytes",
     .min = 1,
     .max = kMaxInteger,
     .fallback = "no such limit",
     .doc = "Largest single buffer that the device gives.",
     .store = Integer<&PolicyFile::max_allocation>},
    {.table = "memory",
     .name = "probe",
     .fallback = "none",
     .no_effect = "this version has no probes: the engine reports live memory",
     .doc = "Where live memory is read."},

    // [estimator]
    {.table = "estimator",
     .name = "use",
     .type = PolicyType::kWord,
     .words = kEstimators,
     .later = kLaterEstimators,
     .fallback = "catalog",
     .doc =
         "How a step is priced. catalog: by the kernel that this engine and "
         "version really runs. calibrated: the same, corrected within bounds "
         "by what was measured. table: by measured rows. formula: by "
         "expressions. fused, tiled, unfused: by one formula for every call, "
         "for comparison.",
     .store = Text<&PolicyFile::estimator>},
    {.table = "estimator",
     .name = "tile_q",
     .type = PolicyType::kTokens,
     .unit = "tokens",
     .min = 1,
     .max = kTokensMax,
     .fallback = "512",
     .doc = "use = \"tiled\": query tokens of a tile.",
     .store = Integer<&PolicyFile::tile_q>},
    {.table = "estimator",
     .name = "tile_k",
     .type = PolicyType::kTokens,
     .unit = "tokens",
     .min = 1,
     .max = kTokensMax,
     .fallback = "the whole kv length",
     .doc = "use = \"tiled\": keys of a tile.",
     .store = Integer<&PolicyFile::tile_k>},
    {.table = "estimator",
     .name = "unknown_score_bytes",
     .type = PolicyType::kCount,
     .unit = "bytes per score",
     .min = 1,
     .max = 64,
     .fallback = "the compute type's width",
     .doc = "Bytes of one attention score where the catalogue does not know "
            "the engine, and for use = \"unfused\".",
     .store = Integer<&PolicyFile::unknown_score_bytes>},
    {.table = "estimator",
     .name = "catalogue",
     .fallback = "the built-in catalogue alone",
     .doc = "A catalogue file whose engine is added to the built-in ones, or "
            "replaces the one of its name; a relative path starts at the "
            "policy file.",
     .store = Text<&PolicyFile::catalogue>},
    {.table = "estimator",
     .name = "table",
     .fallback = "none: use = \"table\" needs it",
     .doc = "use = \"table\": a CSV file of measured rows; a relative path "
            "starts at the policy file.",
     .store = Text<&PolicyFile::table>},
    {.table = "estimator",
     .name = "transient",
     .fallback = "none: use = \"formula\" needs it",
     .doc = "use = \"formula\": transient bytes of a chunk, an expression.",
     .store = Formula<&FormulaOptions::transient>},
    {.table = "estimator",
     .name = "largest_allocation",
     .fallback = "the transient",
     .doc = "use = \"formula\": bytes of the largest single buffer.",
     .store = Formula<&FormulaOptions::largest_allocation>},
    {.table = "estimator",
     .name = "fixed",
     .fallback = "0",
     .doc = "use = \"formula\": the part of the transient that no narrower "
            "chunk avoids; without n.",
     .store = Formula<&FormulaOptions::fixed>},
    {.table = "estimator",
     .name = "resident_per_token",
     .fallback = "as the model's shape says",
     .doc = "use = \"formula\": bytes that a token keeps; without n and "
            "kv_len.",
     .store = Formula<&FormulaOptions::resident_per_token>},
    {.table = "estimator",
     .name = "breakpoints_n",
     .type = PolicyType::kTokenList,
     .unit = "tokens",
     .min = 2,
     .max = kTokensMax,
     .fallback = "none",
     .doc = "use = \"formula\": widths at which an expression may be below "
            "its value one token before.",
     .store = FormulaBreaks<&FormulaOptions::breakpoints_n>},
    {.table = "estimator",
     .name = "breakpoints_kv",
     .type = PolicyType::kTokenList,
     .unit = "tokens",
     .min = 2,
     .max = kTokensMax,
     .fallback = "none",
     .doc = "use = \"formula\": the same for kv lengths.",
     .store = FormulaBreaks<&FormulaOptions::breakpoints_kv>},
    {.table = "estimator",
     .name = "profile",
     .fallback = "none: a running scheduler learns instead",
     .doc = "use = \"calibrated\": a file that `tidegate calibrate` wrote; a "
            "relative path starts at the policy file.",
     .store = Text<&PolicyFile::profile>},

    // [chunk]
    {.table = "chunk",
     .name = "use",
     .type = PolicyType::kWord,
     .words = kChunkPolicies,
     .later = kLaterChunkPolicies,
     .fallback = "throttle",
     .doc = "How wide a chunk is. throttle: the widest that fits, found again "
            "at every chunk. equal_time: narrower as the prompt grows, so that "
            "chunks take equally long. efficient: the first chunk of the "
            "fastest plan. fixed: always max.",
     .store = Text<&PolicyFile::chunk_policy>},
    {.table = "chunk",
     .name = "max",
     .type = PolicyType::kTokens,
     .unit = "tokens",
     .min = 1,
     .max = kTokensMax,
     .fallback = "2048",
     .doc = "Widest chunk.",
     .store = Integer<&PolicyFile::chunk_max>},
    {.table = "chunk",
     .name = "floor",
     .type = PolicyType::kTokens,
     .unit = "tokens",
     .min = 1,
     .max = kTokensMax,
     .fallback = "256",
     .doc = "Narrowest chunk but the last one of a prompt: below it a prompt "
            "waits or is refused. Where max is smaller, max wins.",
     .store = Integer<&PolicyFile::chunk_floor>},
    {.table = "chunk",
     .name = "quantum",
     .type = PolicyType::kTokens,
     .unit = "tokens",
     .min = 1,
     .max = kTokensMax,
     .fallback = "64",
     .doc = "Chunks end at multiples of it, but for the last one.",
     .store = Integer<&PolicyFile::chunk_quantum>},
    {.table = "chunk",
     .name = "decode_stall",
     .type = PolicyType::kDuration,
     .unit = "time",
     .fallback = "none",
     .doc = "Longest step while requests decode, as far as chunk.floor allows; "
            "and the length of equal_time's chunks. Known once some steps were "
            "measured.",
     .store = Stall},

    // [time]
    {.table = "time",
     .name = "use",
     .fallback = "none",
     .no_effect = "this version learns the time of steps from the engine alone",
     .doc = "How long a step takes."},
    {.table = "time",
     .name = "profile",
     .fallback = "none",
     .no_effect = "this version learns the time of steps from the engine alone",
     .doc = "Measured step times."},

    // [admission]
    {.table = "admission",
     .name = "use",
     .type = PolicyType::kWord,
     .words = kAdmissionPolicies,
     .later = kLaterAdmissionPolicies,
     .fallback = "reserve",
     .doc = "When a request starts. reserve: when all of its KV, output "
            "budget included, fits beside what others were promised. bankers: "
            "when an order exists in which all can finish. optimistic: as "
            "reserve, with the share of their budgets that requests used of "
            "late; preempts when that was too little.",
     .store = Text<&PolicyFile::admission_policy>},
    {.table = "admission",
     .name = "queue_max",
     .type = PolicyType::kCount,
     .unit = "requests",
     .max = kMaxInteger,
     .fallback = "0: no limit",
     .doc = "Requests waiting at once; one more is rejected as overloaded.",
     .store = Integer<&PolicyFile::queue_max>},

    // [order]
    {.table = "order",
     .name = "use",
     .type = PolicyType::kWord,
     .words = kOrderPolicies,
     .later = kLaterOrderPolicies,
     .fallback = "fcfs",
     .doc =
         "Who is next. fcfs: first come, first served, to the end of its "
         "prompt. priority: the highest priority, then first come. shortest: "
         "the least prompt left. fair: "
         "chunk by chunk, whoever was served least, and nobody is passed "
         "over for long.",
     .store = Text<&PolicyFile::order_policy>},

    // [cache]
    {.table = "cache",
     .name = "capacity",
     .type = PolicyType::kBytes,
     .unit = "bytes",
     .max = kMaxInteger,
     .fallback = "0: no cache, every prompt is computed whole",
     .doc = "Prefix cache of `tidegate simulate`.",
     .store = Integer<&PolicyFile::cache_capacity>},
    {.table = "cache",
     .name = "block",
     .type = PolicyType::kTokens,
     .unit = "tokens",
     .min = 1,
     .max = kTokensMax,
     .fallback = "64",
     .doc = "Prefixes are cached in whole blocks.",
     .store = Integer<&PolicyFile::cache_block>},

    // [pressure]
    {.table = "pressure",
     .name = "ladder",
     .type = PolicyType::kWords,
     .words = kRungs,
     .fallback = "pool, cache, model, preempt",
     .doc = "What is freed when memory is short, cheapest to rebuild first. "
            "What is left out is never freed.",
     .store = Ladder},
});

std::string Join(std::span<const string_view> words) {
  std::string list;
  for (string_view word : words) {
    list += Concat(list.empty() ? "" : ", ", word);
  }
  return list;
}

}  // namespace

std::span<const PolicyKey> PolicyKeys() { return kKeys; }

std::string DescribeType(const PolicyKey& key) {
  switch (key.type) {
    case PolicyType::kText:
      return "a string";
    case PolicyType::kWord:
      return Concat("one of ", Join(key.words));
    case PolicyType::kBytes:
      return "bytes, such as \"36 GiB\" or 4096";
    case PolicyType::kTokens:
      return "tokens, such as 2048 or \"8k\"";
    case PolicyType::kCount:
      return "an integer";
    case PolicyType::kDuration:
      return "a time, such as \"200 ms\" or \"0.25 s\"";
    case PolicyType::kElement:
      return "a type such as \"fp8\", or bytes per element";
    case PolicyType::kWords:
      return Concat("an array of ", Join(key.words));
    case PolicyType::kTokenList:
      return "an array of tokens, such as [257, 1025]";
    case PolicyType::kOptions:
      return "a table of strings, numbers and booleans";
  }
  return "a value";
}

}  // namespace tidegate::internal
