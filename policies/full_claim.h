// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What a request is promised when it is admitted.

#ifndef TIDEGATE_POLICIES_FULL_CLAIM_H_
#define TIDEGATE_POLICIES_FULL_CLAIM_H_

#include "absl/status/statusor.h"
#include "tidegate/policy.h"

namespace tidegate::internal {

// Resident bytes that the request will hold at most, beyond what of it is live
// already: its whole prompt and output budget.
Bytes FullClaim(const Estimator& estimator, const PlanRequest& request,
                const MemoryLimits& memory, const ChunkLimits& limits);

// The claim and the plan of the asking request with `output` tokens of its
// budget, beside all that is live and claimed. Verdict::kWait; whether it
// starts is the policy's to say. An error for a request that contradicts
// itself.
absl::StatusOr<AdmissionPolicy::Answer> ClaimWithOutput(
    const AdmissionPolicy::Question& question, Tokens output);

// Bytes that decoding still adds, up to `output` tokens.
Bytes OutputGrowth(const Estimator& estimator, const RequestView& view,
                   Tokens output);

}  // namespace tidegate::internal

#endif  // TIDEGATE_POLICIES_FULL_CLAIM_H_
