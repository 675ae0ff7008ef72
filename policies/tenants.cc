// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/tenants.h"

#include <algorithm>
#include <limits>

#include "tidegate/types.h"

namespace tidegate {

const TenantLimits& TenantPolicies::Of(std::string_view tenant) const {
  static const TenantLimits kNone;
  if (tenant.empty()) return kNone;
  const auto found = named.find(tenant);
  return found == named.end() ? others : found->second;
}

std::int64_t TenantPolicies::PriorityOf(std::string_view tenant,
                                        std::int64_t own) const {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
  const std::int64_t extra = Of(tenant).priority;
  if (extra > 0) return own > kMax - extra ? kMax : own + extra;
  return own < kMin - extra ? kMin : own + extra;
}

}  // namespace tidegate
