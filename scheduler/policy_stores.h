// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// How a key's value reaches its field: the two ways that most keys share.

#ifndef TIDEGATE_SCHEDULER_POLICY_STORES_H_
#define TIDEGATE_SCHEDULER_POLICY_STORES_H_

#include <cstdint>
#include <limits>

#include "scheduler/policy_keys.h"

namespace tidegate::internal::stores {

inline constexpr std::int64_t kMaxInteger =
    std::numeric_limits<std::int64_t>::max();

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

}  // namespace tidegate::internal::stores

#endif  // TIDEGATE_SCHEDULER_POLICY_STORES_H_
