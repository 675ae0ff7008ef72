// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Tables of a policy file that must agree with each other, and settings that
// are right but change nothing.

#include <string>
#include <utility>

#include "estimators/text.h"
#include "scheduler/policy_document.h"
#include "scheduler/policy_reader.h"
#include "tidegate/status.h"

namespace tidegate::internal {

using std::string_view;

void PolicyReader::Warn(std::string_view table, std::string_view key,
                        std::string_view why) {
  draft_.policy.warnings.push_back(
      Concat(At(table, key), "has no effect: ", why));
}

absl::Status PolicyReader::CheckModel() {
  PolicyFile& policy = draft_.policy;
  if (!Said("model.shape", "")) return absl::OkStatus();
  for (std::string_view key : {"config", "compute_dtype", "kv_dtype"}) {
    if (!Said("model", key)) continue;
    return InvalidArgument(At("model", key), "contradicts [model.shape]: ",
                           key == "config" ? "expected one of the two"
                                           : "expected it inside that table");
  }
  absl::StatusOr<ModelConfig> shape = ParseInlineShape(
      Concat("{", draft_.shape_members, "}"), At("model.shape", ""));
  if (!shape.ok()) {
    // Keys are checked one by one; what is left is how they fit together.
    const std::string message(shape.status().message());
    const std::string place = At("model.shape", "");
    return InvalidArgument(place, message.starts_with(place + ": ")
                                      ? message.substr(place.size() + 2)
                                      : message);
  }
  policy.model_shape = std::move(shape->shape);
  return absl::OkStatus();
}

absl::Status PolicyReader::CheckMemory() {
  const PolicyFile& policy = draft_.policy;
  if (!policy.ceiling.has_value()) return absl::OkStatus();
  const Bytes base = policy.base.value_or(0);
  const Bytes headroom = policy.headroom.value_or(0);
  if (*policy.ceiling > SatAdd(base, headroom)) return absl::OkStatus();
  return InvalidArgument(At("memory", "ceiling"),
                         "expected more than base + headroom, got ",
                         FormatBytes(*policy.ceiling), " against ",
                         FormatBytes(base), " + ", FormatBytes(headroom));
}

absl::Status PolicyReader::CheckTime() {
  constexpr std::string_view kFormula[] = {"fixed_ps", "per_kv_ps",
                                           "per_token_ps", "per_pair_as"};
  if (!Said("time", "")) return absl::OkStatus();
  const std::string use = draft_.policy.time_source.value_or("");
  if (use.empty()) {
    return InvalidArgument(At("time", ""),
                           "expected use, table or formula, got nothing");
  }
  if (use == "table" && !Said("time", "profile")) {
    return InvalidArgument(At("time", "use"),
                           "expected time.profile beside it, a CSV of measured "
                           "step times, got nothing");
  }
  if (use == "formula" && !draft_.policy.time_formula.has_value()) {
    return InvalidArgument(At("time", "use"),
                           "expected one of time.fixed_ps, time.per_kv_ps, "
                           "time.per_token_ps, time.per_pair_as beside it, got "
                           "nothing");
  }
  const std::string why = Concat("time.use is ", use);
  if (use == "formula" && Said("time", "profile")) Warn("time", "profile", why);
  for (std::string_view key : kFormula) {
    if (use == "table" && Said("time", key)) Warn("time", key, why);
  }
  return absl::OkStatus();
}

// What an estimator cannot do without.
absl::Status PolicyReader::CheckEstimator() {
  const std::string use = draft_.policy.estimator.value_or("catalog");
  for (const auto& [word, key] :
       {std::pair<string_view, string_view>{"table", "table"},
        {"formula", "transient"}}) {
    if (use != word || Said("estimator", key)) continue;
    return InvalidArgument(At("estimator", "use"), "\"", word,
                           "\" takes its prices from estimator.", key,
                           ", which is missing");
  }
  return absl::OkStatus();
}

void PolicyReader::WarnAboutEffects() {
  const PolicyFile& policy = draft_.policy;
  const std::string estimator = policy.estimator.value_or("catalog");
  const std::string with = Concat("estimator.use is ", estimator);
  for (std::string_view key : {"tile_q", "tile_k"}) {
    if (Said("estimator", key) && estimator != "tiled") {
      Warn("estimator", key, with);
    }
  }
  constexpr std::pair<string_view, string_view> kOfOneEstimator[] = {
      {"table", "table"},
      {"transient", "formula"},
      {"largest_allocation", "formula"},
      {"fixed", "formula"},
      {"resident_per_token", "formula"},
      {"breakpoints_n", "formula"},
      {"breakpoints_kv", "formula"},
      {"profile", "calibrated"}};
  for (const auto& [key, use] : kOfOneEstimator) {
    if (Said("estimator", key) && estimator != use) {
      Warn("estimator", key, with);
    }
  }
  if (policy.unknown_score_bytes.has_value() &&
      (estimator == "fused" || estimator == "tiled")) {
    Warn("estimator", "unknown_score_bytes", with);
  }
  if (policy.max_allocation.has_value() && policy.ceiling.has_value() &&
      *policy.max_allocation >= *policy.ceiling) {
    Warn("memory", "max_allocation", "the ceiling is not above it");
  }
  if (Said("chunk", "floor") &&
      *policy.chunk_floor > policy.chunk_max.value_or(ChunkLimits{}.max)) {
    Warn("chunk", "floor",
         Concat("chunk.max = ", policy.chunk_max.value_or(ChunkLimits{}.max),
                " is below it and wins"));
  }
  if (policy.cache_block.has_value() &&
      policy.cache_capacity.value_or(0) == 0) {
    Warn("cache", "block", "there is no cache without cache.capacity");
  }
}

void PolicyReader::WarnAboutTenants() {
  const TomlNode* tenants = root_.Find(kTenantTable);
  if (tenants == nullptr) return;
  const std::string order = draft_.policy.order_policy.value_or("fcfs");
  for (const TomlEntry& tenant : tenants->entries) {
    for (const auto& [key, use] :
         {std::pair<string_view, string_view>{"weight", "fair"},
          {"priority", "priority"}}) {
      const TomlNode* node = tenant.value.Find(key);
      if (node == nullptr || order == use) continue;
      draft_.policy.warnings.push_back(
          Concat(PlaceOf(*node, file_), kTenantTable, ".", tenant.key, ".", key,
                 ": has no effect: order.use is ", order));
    }
  }
}

}  // namespace tidegate::internal
