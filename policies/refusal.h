// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Verdicts in words and in numbers: which inequality decided.

#ifndef TIDEGATE_POLICIES_REFUSAL_H_
#define TIDEGATE_POLICIES_REFUSAL_H_

#include <string>

#include "policies/chunk_space.h"
#include "tidegate/plan.h"

namespace tidegate::internal {

struct Refusal {
  RefusalCode code = RefusalCode::kTooLarge;
  std::string reason;
  Arithmetic arithmetic;
};

// Why no sequence of chunks exists. `decode` is the step that does not fit when
// the prompt would, null otherwise.
Refusal ExplainRefusal(const ChunkSpace& space, const ChunkNeed* decode);

// The inequality of one chunk of `n` tokens that ends at `kv_len`.
Arithmetic ArithmeticOf(const ChunkSpace& space, const ChunkNeed& need,
                        Tokens n, Tokens kv_len);

std::string AdmissionReason(const ChunkSpace& space, const Plan& plan);
std::string LargestPromptNote(Tokens tokens);

}  // namespace tidegate::internal

#endif  // TIDEGATE_POLICIES_REFUSAL_H_
