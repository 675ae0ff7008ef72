// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Tenants: what an operator grants each of those who share a device. A policy
// file states it in [tenant.NAME]; [tenant."*"] holds for every other name.
//
//   arrive.priority = policy.tenants.PriorityOf(arrive.tenant, priority);
//
// Thread-safety: plain values and pure functions.

#ifndef TIDEGATE_TENANTS_H_
#define TIDEGATE_TENANTS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "tidegate/policy.h"

namespace tidegate {

struct TenantLimits {
  // Share of the device against other tenants, where the order is "fair": one
  // of weight 2 is served twice the prompt tokens of one of weight 1.
  std::int64_t weight = 1;
  // Added to the priority of each of its requests.
  std::int64_t priority = 0;
  // Requests of it that wait at once in a service; one more is refused as
  // overloaded. 0: no limit.
  std::int64_t queue_max = 0;
  friend bool operator==(const TenantLimits&, const TenantLimits&) = default;
};

struct TenantPolicies {
  std::map<std::string, TenantLimits, std::less<>> named;
  TenantLimits others;  // of tenants that are not named

  bool empty() const { return named.empty() && others == TenantLimits{}; }
  // Requests without a tenant have no limits and weigh 1.
  const TenantLimits& Of(std::string_view tenant) const;
  // What a request of this tenant enters the scheduler with; never overflows.
  std::int64_t PriorityOf(std::string_view tenant, std::int64_t own) const;

  friend bool operator==(const TenantPolicies&,
                         const TenantPolicies&) = default;
};

// The order "fair" by weights: whoever was served least for its weight is next.
// With equal weights it is the built-in one. SchedulerOptions::custom_order.
std::unique_ptr<OrderPolicy> CreateFairOrder(TenantPolicies tenants);

}  // namespace tidegate

#endif  // TIDEGATE_TENANTS_H_
