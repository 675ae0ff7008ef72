// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The chunks that a policy may emit for one prompt, and which of them fit.
//
// A chunk goes from one boundary to another. Boundaries are the multiples of
// the quantum outside spans, and the two ends. Whether a chunk fits depends on
// its ends alone: what the sequence holds by then is a function of the length,
// but for layers with a window, which after a wide chunk hold more. There the
// widest chunk that the limits allow is assumed, so that an answer never
// depends on the way that led to it.
//
// Immutable; refers to the estimator and the request it was made of.

#ifndef TIDEGATE_POLICIES_CHUNK_SPACE_H_
#define TIDEGATE_POLICIES_CHUNK_SPACE_H_

#include <vector>

#include "policies/encode_items.h"
#include "tidegate/estimator.h"
#include "tidegate/plan.h"
#include "tidegate/time_model.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// What a chunk needs at the moment of its peak.
struct ChunkNeed {
  PriceTotals price;
  Bytes resident = 0;  // of this request beyond `base`, the chunk included
  Bytes peak = 0;      // base + resident + transient
  Bytes encoder = 0;   // of the transient, what is there for encoders
};

// No step longer than this, but for chunks at the floor: a chunk that is too
// slow is still better than none.
struct StepTimeLimit {
  const TimeModel* model = nullptr;  // null: no limit
  Duration limit{};
};

class ChunkSpace {
 public:
  // All must be valid. `request` and `estimator` must outlive the space.
  ChunkSpace(const Estimator& estimator, const PlanRequest& request,
             const MemoryLimits& memory, const ChunkLimits& chunk,
             const StepTimeLimit& time = {});

  const Estimator& estimator() const { return estimator_; }
  const PlanRequest& request() const { return request_; }
  const MemoryLimits& memory() const { return memory_; }
  // After the rules of ChunkLimits: quantum <= max, floor <= max.
  const ChunkLimits& limits() const { return limits_; }

  // Where the first chunk starts: behind the cached prefix, or at the last
  // token of a prompt that is cached whole, which still takes a step.
  Tokens first() const { return first_; }
  Tokens prompt() const { return request_.prompt_tokens; }

  // ceiling - headroom.
  Bytes line() const { return line_; }

  // Whether a chunk may end at `at`, which is not the prompt's end.
  bool IsBoundary(Tokens at) const {
    return at % limits_.quantum == 0 && !InSpan(at);
  }
  // The farthest place where a chunk from `start` may end: the prompt's end or
  // a boundary; `start` where there is none.
  Tokens WidestEnd(Tokens start) const;

  ChunkNeed Need(Tokens start, Tokens end) const;
  bool Fits(Tokens start, Tokens end) const {
    return InTime(start, end) && Fits(Need(start, end));
  }
  bool Fits(const ChunkNeed& need) const {
    return need.peak <= line_ &&
           (!memory_.max_allocation.has_value() ||
            need.price.largest_allocation_bytes <= *memory_.max_allocation);
  }

  bool InTime(Tokens start, Tokens end) const {
    if (time_.model == nullptr || end - start <= limits_.floor) return true;
    Duration took = time_.model->Of(end - start, start);
    if (!request_.encodes.empty()) took += EncodeNeedOf(start, end).took;
    return took <= time_.limit;
  }

  // The costliest decode step up to `tokens` tokens of the sequence; one step
  // attends to at least `prompt` + 1 of them.
  ChunkNeed DecodeNeed(Tokens prompt, Tokens tokens) const;

  // Bytes that the sequence holds beyond `base` when it is `tokens` long and
  // its last chunk had `width` tokens.
  Bytes Held(Tokens tokens, Tokens width) const;

  // The widths in (lo, hi] at which a chunk from `start` may cost less than the
  // next narrower one. Replaces what `out` holds.
  void Falls(Tokens start, Tokens lo, Tokens hi,
             std::vector<Tokens>* out) const;

 private:
  // Whether what the item that `at` cuts left is live when a chunk starts
  // there: it ran for the chunk before.
  EncodeNeed EncodeNeedOf(Tokens start, Tokens end) const {
    return NeedOfEncodes(request_, start, end,
                         start > first_ || request_.encoded_bytes > 0);
  }
  bool InSpan(Tokens at) const;
  void RefineQuantum();

  const Estimator& estimator_;
  const PlanRequest& request_;
  MemoryLimits memory_;
  ChunkLimits limits_;
  StepTimeLimit time_;
  Bytes line_ = 0;
  Tokens first_ = 0;
  Bytes held_at_first_ = 0;  // of SequenceBytes, what `base` counts already
  // Where the engine allocates the whole sequence at its start: all of it.
  bool preallocated_ = false;
  Bytes preallocated_bytes_ = 0;
  // Some layer's bytes depend on the width of the last chunk.
  bool windowed_ = false;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_POLICIES_CHUNK_SPACE_H_
