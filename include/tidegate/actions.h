// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Actions: everything the scheduler asks of the engine, in the order in which
// it must be done.

#ifndef TIDEGATE_ACTIONS_H_
#define TIDEGATE_ACTIONS_H_

#include <cstddef>
#include <string>
#include <variant>
#include <vector>

#include "tidegate/events.h"
#include "tidegate/plan.h"
#include "tidegate/types.h"

namespace tidegate {

// What bound the width of a chunk.
enum class Bound {
  kPrompt,   // the prompt ends here
  kMaximum,  // chunk.max
  kMemory,   // a wider chunk would not fit
  kPlan,     // a wider chunk would leave a remainder that no longer fits
  kTime,     // a wider chunk would stall decoding for too long
  kShare,    // the rest of the step belongs to other requests
};
std::string_view BoundName(Bound bound);

// Query tokens of one request in a step.
struct StepChunk {
  RequestId id = 0;
  Tokens start = 0;  // position of the first query token
  Tokens n = 0;
  Tokens kv_len = 0;  // start + n
  Bound bound = Bound::kPrompt;
  friend bool operator==(const StepChunk&, const StepChunk&) = default;
};

// Item `item` of PlanRequest::encodes, to be run before the forward pass.
struct StepEncode {
  RequestId id = 0;
  std::size_t item = 0;
  friend bool operator==(const StepEncode&, const StepEncode&) = default;
};

// Run one forward pass now; answer with StepDone or StepFailed. What may be in
// it, and how many run at once, is SchedulerOptions::step.
struct RunStep {
  StepId step = 0;
  std::vector<StepChunk> chunks;   // at most one of each request
  std::vector<RequestId> decodes;  // these decode their next token in it
  // What the encoder runs first, one after another: of one request at most.
  std::vector<StepEncode> encodes;
  PriceTotals price;  // of all of it together
  // ceiling - headroom - live - steps in flight at the decision: at least the
  // price.
  Bytes room_bytes = 0;
};

// The request holds a claim from now on.
struct Admit {
  RequestId id = 0;
  Bytes claim_bytes = 0;          // resident bytes promised
  std::int64_t claim_blocks = 0;  // of the KV pool, where there is one
};

// The request's only answer. It may have been admitted: when memory turns out
// to grow faster than any price said, its remainder may fit no longer.
struct Reject {
  RequestId id = 0;
  RefusalCode code = RefusalCode::kNone;
  std::string reason;
  Arithmetic arithmetic;
  Tokens largest_prompt_that_fits = 0;
};

// Free up to so many bytes of this kind; answer with ReclaimDone once the
// device's own reading shows it.
struct Reclaim {
  ReclaimId reclaim = 0;
  std::string kind;  // "pool", "cache", "model": a rung of the ladder
  Bytes bytes = 0;
};

// Drop the request's KV now; it waits again, and keeps what the engine could
// save (PrefixChanged says how much).
struct Preempt {
  RequestId id = 0;
};

// The prompt is computed: decode it. Answer with DecodeProgress and Finished;
// where decode tokens are part of steps, RunStep::decodes names it from now on.
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

using Action = std::variant<RunStep, Admit, Reject, Reclaim, Preempt,
                            StartDecode, Cancelled, WakeAt>;

}  // namespace tidegate

#endif  // TIDEGATE_ACTIONS_H_
