// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Keys of files that are shared: by tenants, by models, and by other files.

#include <array>

#include "estimators/text.h"
#include "scheduler/policy_keys.h"
#include "scheduler/policy_stores.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// Far above any share, and far below what a product with tokens overflows at.
constexpr std::int64_t kWeightMax = 1'000'000;
constexpr std::int64_t kPriorityMax = 1'000'000'000;

template <auto Member>
absl::Status Tenant(const PolicyKey&, const PolicyValue& value,
                    PolicyDraft* draft) {
  draft->tenant.*Member = value.integer;
  return absl::OkStatus();
}

template <auto Member>
absl::Status MatchText(const PolicyKey&, const PolicyValue& value,
                       PolicyDraft* draft) {
  if (value.text.empty()) return InvalidArgument("expected a name, got \"\"");
  draft->match.*Member = value.text;
  return absl::OkStatus();
}

absl::Status MatchLayers(const PolicyKey&, const PolicyValue& value,
                         PolicyDraft* draft) {
  draft->match.layers = value.integer;
  return absl::OkStatus();
}

const auto kTenantKeys = std::to_array<PolicyKey>({
    {.table = "tenant.NAME",
     .name = "weight",
     .type = PolicyType::kCount,
     .min = 1,
     .max = kWeightMax,
     .fallback = "1",
     .doc = "Share against other tenants under order.use = \"fair\": one of "
            "weight 2 is served twice the prompt tokens of one of weight 1.",
     .store = Tenant<&TenantLimits::weight>},
    {.table = "tenant.NAME",
     .name = "priority",
     .type = PolicyType::kCount,
     .min = -kPriorityMax,
     .max = kPriorityMax,
     .fallback = "0",
     .doc = "Added to the priority of its requests, for order.use = "
            "\"priority\".",
     .store = Tenant<&TenantLimits::priority>},
    {.table = "tenant.NAME",
     .name = "queue_max",
     .type = PolicyType::kCount,
     .unit = "requests",
     .max = stores::kMaxInteger,
     .fallback = "0: no limit but admission.queue_max",
     .doc = "Requests of it that wait at once in a service; one more is "
            "refused as overloaded.",
     .store = Tenant<&TenantLimits::queue_max>},
});

const auto kMatchKeys = std::to_array<PolicyKey>({
    {.table = "model_override.match",
     .name = "model_type",
     .fallback = "any",
     .doc = "The config's model_type; * and ? stand for any characters and for "
            "one.",
     .store = MatchText<&ModelMatch::model_type>},
    {.table = "model_override.match",
     .name = "name",
     .fallback = "any",
     .doc = "The model's name: that of the folder in which its config.json "
            "lies, or of the file without .json; with * and ?.",
     .store = MatchText<&ModelMatch::name>},
    {.table = "model_override.match",
     .name = "layers",
     .type = PolicyType::kCount,
     .min = 1,
     .max = 100'000,
     .fallback = "any",
     .doc = "Its number of layers.",
     .store = MatchLayers},
});

const PolicyKey kInclude = {
    .table = "",
    .name = "include",
    .type = PolicyType::kWords,
    .fallback = "nothing",
    .doc =
        "Files that are read first; what stands in this file replaces what "
        "they say. A relative path starts at this file."};

}  // namespace

std::span<const PolicyKey> TenantKeys() { return kTenantKeys; }
std::span<const PolicyKey> MatchKeys() { return kMatchKeys; }
const PolicyKey& IncludeKey() { return kInclude; }

}  // namespace tidegate::internal
