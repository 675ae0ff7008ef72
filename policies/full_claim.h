// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What a request is promised when it is admitted.

#ifndef TIDEGATE_POLICIES_FULL_CLAIM_H_
#define TIDEGATE_POLICIES_FULL_CLAIM_H_

#include "tidegate/policy.h"

namespace tidegate::internal {

// Resident bytes that the request will hold at most, beyond what of it is live
// already: its whole prompt and output budget.
Bytes FullClaim(const Estimator& estimator, const PlanRequest& request,
                const MemoryLimits& memory, const ChunkLimits& limits);

}  // namespace tidegate::internal

#endif  // TIDEGATE_POLICIES_FULL_CLAIM_H_
