// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Keys that say what is chosen: estimator and policies. PolicyKeys() puts the
// parts together.

#include "scheduler/policy_keys.h"

#include <array>
#include <vector>

#include "estimators/formula_law.h"
#include "estimators/text.h"
#include "scheduler/policy_stores.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

using std::string_view;
using stores::Integer;
using stores::kMaxInteger;
using stores::Text;

constexpr auto kEstimators = std::to_array<string_view>(
    {"fused", "tiled", "unfused", "catalog", "table", "formula", "calibrated"});
constexpr auto kChunkPolicies = std::to_array<string_view>(
    {"fixed", "throttle", "equal_time", "efficient"});
constexpr auto kAdmissionPolicies =
    std::to_array<string_view>({"reserve", "bankers", "optimistic"});
constexpr auto kOrderPolicies =
    std::to_array<string_view>({"fcfs", "priority", "shortest", "fair"});
constexpr auto kPressurePolicies =
    std::to_array<string_view>({"cheapest", "latest"});
constexpr auto kRungs =
    std::to_array<string_view>({"pool", "cache", "model", "preempt"});

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

template <auto Member>
absl::Status PluginOptions(const PolicyKey&, const PolicyValue& value,
                           PolicyDraft* draft) {
  draft->policy.*Member = value.options;
  return absl::OkStatus();
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
        "table", "none: use = \"table\" needs it",
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
        "fixed", "0",
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

std::span<const PolicyKey> PolicyKeys() {
  static const std::vector<PolicyKey> all = [] {
    const std::span<const PolicyKey> world = WorldKeys();
    std::vector<PolicyKey> keys(world.begin(), world.end());
    keys.insert(keys.end(), kKeys.begin(), kKeys.end());
    return keys;
  }();
  return all;
}

}  // namespace tidegate::internal
