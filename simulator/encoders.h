// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The engine's encoders, as the engine sees them: which outputs of a request it
// holds, which a chunk needs besides, and what they take. Counted apart from
// the scheduler's own arithmetic, so that either shows the other's mistakes.

#ifndef TIDEGATE_SIMULATOR_ENCODERS_H_
#define TIDEGATE_SIMULATOR_ENCODERS_H_

#include <cstddef>
#include <set>
#include <vector>

#include "tidegate/plan.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// Numbers of encoder items whose output is live.
using LiveOutputs = std::set<std::size_t>;

// The items with a token in [start, end) whose output is not there.
std::vector<std::size_t> MissingOutputs(const PlanRequest& request,
                                        const LiveOutputs& live, Tokens start,
                                        Tokens end);

// What encoders add to the step in which they run.
struct EncoderLoad {
  Bytes peak = 0;     // while they run, one after another
  Bytes outputs = 0;  // together, beside the forward pass
  Bytes kept = 0;     // of the outputs, what is needed after the chunk
  Duration took{};
};
EncoderLoad LoadOf(const PlanRequest& request,
                   const std::vector<std::size_t>& items, Tokens end);

// After a chunk to `end`, which ran `items`: keeps what later tokens need and
// answers the bytes of earlier outputs that were given back.
Bytes AfterChunk(const PlanRequest& request,
                 const std::vector<std::size_t>& items, Tokens end,
                 LiveOutputs* live);

}  // namespace tidegate::internal

#endif  // TIDEGATE_SIMULATOR_ENCODERS_H_
