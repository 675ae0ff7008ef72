// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Encoder items of a prompt: which of them a chunk runs, what they need beside
// it, and what they leave.

#ifndef TIDEGATE_POLICIES_ENCODE_ITEMS_H_
#define TIDEGATE_POLICIES_ENCODE_ITEMS_H_

#include <algorithm>
#include <cstddef>

#include "tidegate/plan.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// What the encoder leaves for the tokens from `at` on when the chunk before
// them ends there: the output of the item that they cut; 0 where none is cut.
Bytes OutputAt(const PlanRequest& request, Tokens at);

// The items that a chunk over [start, end) runs, by number: [first, last).
struct EncodeRange {
  std::size_t first = 0;
  std::size_t last = 0;
  bool empty() const { return first == last; }
};
// `encoded`: the output of the item that `start` cuts is live already.
EncodeRange EncodesIn(const PlanRequest& request, Tokens start, Tokens end,
                      bool encoded);

// What such a chunk needs besides its own price. Outputs of a step are live
// together while the forward pass runs; the one that `end` cuts stays.
struct EncodeNeed {
  Bytes peak = 0;     // while encoders run, without `kept`
  Bytes outputs = 0;  // beside the forward pass, without `kept`
  Bytes kept = 0;     // growth that stays until later chunks have run
  Duration took{};

  // The step's transient, where without encoders it is `transient`.
  Bytes Transient(Bytes transient) const {
    return std::max(peak, SatAdd(outputs, transient));
  }
};
EncodeNeed NeedOfEncodes(const PlanRequest& request, Tokens start, Tokens end,
                         bool encoded);

// After a chunk over [start, end), when `encoded` bytes were live for its first
// tokens: what is live for the next ones, and what of it was given back.
struct Encoded {
  Bytes bytes = 0;
  Bytes released = 0;
};
Encoded EncodedAfter(const PlanRequest& request, Tokens start, Tokens end,
                     Bytes encoded);

// Moves the request past a chunk that ends at `end`; answers the bytes that
// were given back.
Bytes AdvanceTo(PlanRequest& request, Tokens end);

}  // namespace tidegate::internal

#endif  // TIDEGATE_POLICIES_ENCODE_ITEMS_H_
