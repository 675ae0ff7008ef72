// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Keys that say what there is: model, engine, memory, what a step takes and how
// long, and the cache of a simulation.

#include <array>

#include "estimators/text.h"
#include "scheduler/policy_keys.h"
#include "scheduler/policy_stores.h"
#include "tidegate/model_config.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

using std::string_view;
using stores::Integer;
using stores::kMaxInteger;
using stores::Text;

// No model or catalogue has wider ones; a larger number is a slip of units.
constexpr std::int64_t kMaxWidth = std::int64_t{1} << 32;
constexpr std::int64_t kMaxLayers = 100'000;

constexpr auto kTimeSources = std::to_array<string_view>({"table", "formula"});
constexpr auto kDecodeModes =
    std::to_array<string_view>({"engine", "mixed", "between"});
// What CreateMemoryProbe() takes but for "callback", which only a program has.
constexpr auto kProbes = std::to_array<string_view>(
    {"none", "nvml", "amdgpu", "amdgpu_gtt", "cgroup", "proc"});

template <auto Member>
absl::Status EngineText(const PolicyKey&, const PolicyValue& value,
                        PolicyDraft* draft) {
  if (value.text.empty()) return InvalidArgument("expected a name, got \"\"");
  draft->engine.*Member = value.text;
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
     .name = "kv_blocks",
     .type = PolicyType::kCount,
     .unit = "blocks",
     .max = kMaxInteger / 2,
     .fallback = "0: KV is allocated as sequences grow",
     .doc =
         "Blocks of a KV pool that the engine reserved when it started, which "
         "base counts: a budget beside the bytes.",
     .store = Integer<&PolicyFile::kv_blocks>},
    {.table = "memory",
     .name = "kv_block",
     .type = PolicyType::kTokens,
     .unit = "tokens",
     .min = 1,
     .max = kTokensMax,
     .fallback = "16",
     .doc = "Tokens in one of those blocks.",
     .store = Integer<&PolicyFile::kv_block>},
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
});

}  // namespace

std::span<const PolicyKey> WorldKeys() { return kKeys; }

}  // namespace tidegate::internal
