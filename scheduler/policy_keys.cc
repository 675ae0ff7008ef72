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
constexpr auto kChunkPolicies = std::to_array<string_view>(
    {"fixed", "throttle", "equal_time", "efficient"});
constexpr auto kTimeSources = std::to_array<string_view>({"table", "formula"});
constexpr auto kAdmissionPolicies =
    std::to_array<string_view>({"reserve", "bankers", "optimistic"});
constexpr auto kOrderPolicies =
    std::to_array<string_view>({"fcfs", "priority", "shortest", "fair"});
constexpr auto kPressurePolicies =
    std::to_array<string_view>({"cheapest", "latest"});
constexpr auto kDecodeModes =
    std::to_array<string_view>({"engine", "mixed", "between"});
// What CreateMemoryProbe() takes but for "callback", which only a program has.
constexpr auto kProbes = std::to_array<string_view>(
    {"none", "nvml", "amdgpu", "amdgpu_gtt", "cgroup", "proc"});
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

template <auto Member>
absl::Status Coefficient(const PolicyKey&, const PolicyValue& value,
                         PolicyDraft* draft) {
  std::optional<TimeModel>& formula = draft->policy.time_formula;
  if (!formula) formula.emplace();
  (*formula).*Member = value.integer;
  return absl::OkStatus();
}

absl::Status Lag(const PolicyKey&, const PolicyValue& value,
                 PolicyDraft* draft) {
  draft->policy.reading_lag = Duration(value.integer);
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

template <auto Member>
absl::Status PluginOptions(const PolicyKey&, const PolicyValue& value,
                           PolicyDraft* draft) {
  draft->policy.*Member = value.options;
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

template <auto Member>
constexpr PolicyKey TimeKey(string_view name, string_view doc) {
  return {.table = "time",
          .name = name,
          .type = PolicyType::kCount,
          .max = kMaxInteger,
          .fallback = "0",
          .doc = doc,
          .store = Coefficient<Member>};
}

// A key of one estimator; lists are of places where a price may fall.
constexpr PolicyKey EstimatorKey(string_view name, string_view fallback,
                                 string_view doc,
                                 decltype(PolicyKey::store) store,
                                 PolicyType type = PolicyType::kText) {
  return {.table = "estimator",
          .name = name,
          .type = type,
          .min = 2,
          .max = kTokensMax,
          .fallback = fallback,
          .doc = doc,
          .store = store};
}

template <auto Member>
constexpr PolicyKey PluginOptionsKey(string_view table) {
  return {.table = table,
          .name = "options",
          .type = PolicyType::kOptions,
          .fallback = "none",
          .doc = "use = \"plugin:…\": what the plug-in is given.",
          .store = PluginOptions<Member>};
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
     .type = PolicyType::kWord,
     .words = kProbes,
     .fallback = "none: the engine says what is live",
     .doc = "Where a service reads live memory (docs/service.md). nvml: the "
            "NVIDIA driver. amdgpu, amdgpu_gtt: sysfs, without and with the "
            "system memory that the GPU maps. cgroup, proc: the kernel's "
            "account of the process's group, of the host.",
     .store = Text<&PolicyFile::probe>},
    {.table = "memory",
     .name = "reading_lag",
     .type = PolicyType::kDuration,
     .unit = "time",
     .fallback = "0",
     .doc = "How old readings of live memory may be: growth that they may not "
            "show yet is not taken for room.",
     .store = Lag},

    // [estimator]
    {.table = "estimator",
     .name = "use",
     .type = PolicyType::kWord,
     .words = kEstimators,
     .plugin = true,
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
    EstimatorKey(
        "table",
        "none: use = \"table\" needs it",
        "use = \"table\": a CSV file of measured rows; a relative path "
        "starts at the policy file.",
        Text<&PolicyFile::table>),
    EstimatorKey(
        "transient", "none: use = \"formula\" needs it",
        "use = \"formula\": transient bytes of a chunk, an expression.",
        Formula<&FormulaOptions::transient>),
    EstimatorKey("largest_allocation", "the transient",
                 "use = \"formula\": bytes of the largest single buffer.",
                 Formula<&FormulaOptions::largest_allocation>),
    EstimatorKey(
        "fixed",
        "0",
        "use = \"formula\": the part of the transient that no narrower "
        "chunk avoids; without n.",
        Formula<&FormulaOptions::fixed>),
    EstimatorKey("resident_per_token", "as the model's shape says",
                 "use = \"formula\": bytes that a token keeps; without n and "
                 "kv_len.",
                 Formula<&FormulaOptions::resident_per_token>),
    EstimatorKey(
        "breakpoints_n", "none",
        "use = \"formula\": widths at which an expression may be below "
        "its value one token before.",
        FormulaBreaks<&FormulaOptions::breakpoints_n>, PolicyType::kTokenList),
    EstimatorKey(
        "breakpoints_kv", "none", "use = \"formula\": the same for kv lengths.",
        FormulaBreaks<&FormulaOptions::breakpoints_kv>, PolicyType::kTokenList),
    EstimatorKey(
        "profile", "none: a running scheduler learns instead",
        "use = \"calibrated\": a file that `tidegate calibrate` wrote; "
        "a relative path starts at the policy file.",
        Text<&PolicyFile::profile>),
    PluginOptionsKey<&PolicyFile::estimator_options>("estimator"),

    // [chunk]
    {.table = "chunk",
     .name = "use",
     .type = PolicyType::kWord,
     .words = kChunkPolicies,
     .plugin = true,
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
    PluginOptionsKey<&PolicyFile::chunk_options>("chunk"),

    // [step]
    {.table = "step",
     .name = "sequences",
     .type = PolicyType::kCount,
     .unit = "prompts",
     .min = 1,
     .max = kMaxInteger,
     .fallback = "1",
     .doc = "Prompts whose chunks the engine computes in one forward pass.",
     .store = Integer<&PolicyFile::step_sequences>},
    {.table = "step",
     .name = "decode",
     .type = PolicyType::kWord,
     .words = kDecodeModes,
     .fallback = "engine",
     .doc = "Who decodes. engine: the engine by itself, beside the steps. "
            "mixed: decode tokens ride along with chunks. between: they are "
            "steps of their own, one between two chunks.",
     .store = Text<&PolicyFile::step_decode>},
    {.table = "step",
     .name = "tokens",
     .type = PolicyType::kTokens,
     .unit = "tokens",
     .max = kTokensMax,
     .fallback = "0: chunk.max for chunks together, and decode tokens",
     .doc = "Most query tokens in one forward pass, decode tokens included.",
     .store = Integer<&PolicyFile::step_tokens>},
    {.table = "step",
     .name = "decodes",
     .type = PolicyType::kCount,
     .unit = "requests",
     .max = kMaxInteger,
     .fallback = "0: all that decode",
     .doc = "Requests that decode in one forward pass; they take turns.",
     .store = Integer<&PolicyFile::step_decodes>},
    {.table = "step",
     .name = "in_flight",
     .type = PolicyType::kCount,
     .unit = "steps",
     .min = 1,
     .max = kMaxInteger,
     .fallback = "1",
     .doc = "Forward passes that run at once, as in a pipeline: their "
            "transients add up.",
     .store = Integer<&PolicyFile::step_in_flight>},

    // [time]
    {.table = "time",
     .name = "use",
     .type = PolicyType::kWord,
     .words = kTimeSources,
     .fallback = "none: 10 ms and 8000 tokens/s",
     .doc = "How long a step takes in `tidegate simulate`. table: from the "
            "profile. formula: fixed + per_kv*K + per_token*n + "
            "per_pair*(2*K*n + n*n), of n tokens behind K.",
     .store = Text<&PolicyFile::time_source>},
    {.table = "time",
     .name = "profile",
     .fallback = "none",
     .doc = "A CSV of measured step times, as simulation.md describes it.",
     .store = Text<&PolicyFile::time_profile>},
    TimeKey<&TimeModel::fixed_ps>("fixed_ps", "fixed, in picoseconds."),
    TimeKey<&TimeModel::per_kv_ps>("per_kv_ps", "per_kv, in picoseconds."),
    TimeKey<&TimeModel::per_token_ps>("per_token_ps",
                                      "per_token, in picoseconds."),
    TimeKey<&TimeModel::per_pair_as>("per_pair_as",
                                     "per_pair, in attoseconds."),

    // [admission]
    {.table = "admission",
     .name = "use",
     .type = PolicyType::kWord,
     .words = kAdmissionPolicies,
     .plugin = true,
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
    {.table = "admission",
     .name = "running_max",
     .type = PolicyType::kCount,
     .unit = "requests",
     .max = kMaxInteger,
     .fallback = "0: no limit",
     .doc = "Requests admitted at once, those that decode included: the "
            "engine's state slots.",
     .store = Integer<&PolicyFile::running_max>},
    PluginOptionsKey<&PolicyFile::admission_options>("admission"),

    // [order]
    {.table = "order",
     .name = "use",
     .type = PolicyType::kWord,
     .words = kOrderPolicies,
     .plugin = true,
     .fallback = "fcfs",
     .doc =
         "Who is next. fcfs: first come, first served, to the end of its "
         "prompt. priority: the highest priority, then first come. shortest: "
         "the least prompt left. fair: "
         "chunk by chunk, whoever was served least, and nobody is passed "
         "over for long.",
     .store = Text<&PolicyFile::order_policy>},
    PluginOptionsKey<&PolicyFile::order_options>("order"),

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
     .name = "use",
     .type = PolicyType::kWord,
     .words = kPressurePolicies,
     .plugin = true,
     .fallback = "cheapest",
     .doc = "Who is preempted when nothing else makes room. cheapest: whoever "
            "has least to compute again. latest: whoever arrived last.",
     .store = Text<&PolicyFile::pressure_policy>},
    {.table = "pressure",
     .name = "ladder",
     .type = PolicyType::kWords,
     .words = kRungs,
     .fallback = "pool, cache, model, preempt",
     .doc = "What is freed when memory is short, cheapest to rebuild first. "
            "What is left out is never freed.",
     .store = Ladder},
    PluginOptionsKey<&PolicyFile::pressure_options>("pressure"),
});

}  // namespace

std::span<const PolicyKey> PolicyKeys() { return kKeys; }

}  // namespace tidegate::internal
