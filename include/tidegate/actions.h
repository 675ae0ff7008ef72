// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Actions: everything the scheduler asks of the engine, in the order in which
// it must be done.

#ifndef TIDEGATE_ACTIONS_H_
#define TIDEGATE_ACTIONS_H_

#include <string>
#include <variant>
#include <vector>

#include "tidegate/events.h"
#include "tidegate/plan.h"
#include "tidegate/types.h"

namespace tidegate {

// What bound the width of a chunk.
enum class Bound { kPrompt, kMaximum, kMemory, kPlan };
std::string_view BoundName(Bound bound);

// Run these query tokens now; answer with StepDone or StepFailed.
struct RunStep {
  StepId step = 0;
  RequestId id = 0;
  Tokens start = 0;  // position of the first query token
  Tokens n = 0;
  Tokens kv_len = 0;  // start + n
  PriceTotals price;
  Bytes room_bytes = 0;  // ceiling - headroom - live at the decision
  Bound bound = Bound::kPlan;
};

// The request holds a claim from now on.
struct Admit {
  RequestId id = 0;
  Bytes claim_bytes = 0;  // resident bytes promised
};

// The request's only answer.
struct Reject {
  RequestId id = 0;
  RefusalCode code = RefusalCode::kNone;
  std::string reason;
  Arithmetic arithmetic;
  Tokens largest_prompt_that_fits = 0;
};

// The prompt is computed: decode it. Answer with DecodeProgress and Finished.
struct StartDecode {
  RequestId id = 0;
};

// The request ended by cancellation; its bytes are free.
struct Cancelled {
  RequestId id = 0;
};

// Send Wake at this moment unless another event comes first.
struct WakeAt {
  Instant when;
};

using Action =
    std::variant<RunStep, Admit, Reject, StartDecode, Cancelled, WakeAt>;

}  // namespace tidegate

#endif  // TIDEGATE_ACTIONS_H_
