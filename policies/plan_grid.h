// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The boundaries of a ChunkSpace by number, and the steps that searches over
// them share.

#ifndef TIDEGATE_POLICIES_PLAN_GRID_H_
#define TIDEGATE_POLICIES_PLAN_GRID_H_

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "policies/chunk_space.h"
#include "tidegate/plan.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// Boundaries by number: 0 is the start, 1… are multiples of the step.
class Grid {
 public:
  // At most about `boundaries_max` of them, as far as a chunk can still be
  // between floor and max wide.
  Grid(Tokens first, Tokens last, const ChunkLimits& limits,
       std::int64_t boundaries_max)
      : first_(first), step_(limits.quantum) {
    while ((last - first) / step_ > boundaries_max &&
           limits.max / (2 * step_) * (2 * step_) >=
               std::max(limits.floor, 2 * step_)) {
      step_ *= 2;
    }
    base_ = first / step_;
    // The last multiple below `last`.
    size_ = std::max<std::int64_t>(0, CeilDiv(last, step_) - 1 - base_) + 1;
  }

  std::int64_t size() const { return size_; }
  Tokens step() const { return step_; }
  Tokens At(std::int64_t i) const {
    return i == 0 ? first_ : (base_ + i) * step_;
  }
  // First number whose place is at or behind `at`; last one at or before it.
  std::int64_t AtOrAfter(Tokens at) const {
    return at <= first_ ? 0 : CeilDiv(at, step_) - base_;
  }
  std::int64_t AtOrBefore(Tokens at) const {
    return std::min(size_ - 1, at / step_ - base_);
  }

 private:
  Tokens first_;
  Tokens step_;
  std::int64_t base_ = 0;
  std::int64_t size_ = 0;
};

// Calls take(from, to) for each run of boundaries, by number, where a chunk
// from boundary `i` may end and fits. Spans are not looked at.
template <typename Take>
void ForEachFittingRun(const ChunkSpace& space, const Grid& grid,
                       std::int64_t i, std::vector<Tokens>* falls,
                       const Take& take) {
  const Tokens start = grid.At(i);
  const Tokens limit = start + space.limits().max;
  const std::int64_t last = grid.AtOrBefore(limit);
  // From a start that is no boundary, the widest chunk may be below it.
  Tokens widest = limit - limit % grid.step();
  while (widest > start && !space.IsBoundary(widest)) widest -= grid.step();
  Tokens floor = space.limits().floor;
  if (widest > start) floor = std::min(floor, widest - start);
  std::int64_t from = std::max(i + 1, grid.AtOrAfter(start + floor));
  if (from > last) return;
  space.Falls(start, grid.At(from) - start, grid.At(last) - start, falls);
  auto fall = falls->begin();
  while (from <= last) {
    std::int64_t to = last;
    if (fall != falls->end()) {
      // Ends of this piece lie before start + fall.
      to = std::min(to, grid.AtOrAfter(start + *fall) - 1);
      ++fall;
    }
    if (to >= from && space.Fits(start, grid.At(from))) {
      std::int64_t good = to;
      if (!space.Fits(start, grid.At(to))) {
        std::int64_t bad = to;
        good = from;
        while (bad - good > 1) {
          const std::int64_t middle = good + (bad - good) / 2;
          (space.Fits(start, grid.At(middle)) ? good : bad) = middle;
        }
      }
      take(from, good);
    }
    from = std::max(from, to + 1);
  }
}

// Marks which numbers can be reached from 0, in ascending order.
class Reached {
 public:
  explicit Reached(std::int64_t size)
      : marked_(static_cast<std::size_t>(size), false),
        next_(static_cast<std::size_t>(size) + 1) {
    std::iota(next_.begin(), next_.end(), 0);
  }
  bool Has(std::int64_t i) const { return marked_[i]; }
  // Visits each number once however often ranges overlap.
  template <typename May>
  void Mark(std::int64_t from, std::int64_t to, const May& may) {
    for (std::int64_t i = Next(from); i <= to; i = Next(i)) {
      marked_[i] = may(i);
      next_[i] = static_cast<std::int32_t>(i + 1);
    }
  }

 private:
  std::int64_t Next(std::int64_t i) {
    std::int64_t at = i;
    while (next_[at] != at) at = next_[at];
    while (next_[i] != at && next_[i] != i) {
      const std::int64_t hop = next_[i];
      next_[i] = static_cast<std::int32_t>(at);
      i = hop;
    }
    return at;
  }
  std::vector<bool> marked_;
  // The next number not visited yet; itself when it is that.
  std::vector<std::int32_t> next_;
};

// Which boundaries of the grid chunks can reach.
Reached WalkForward(const ChunkSpace& space, const Grid& grid);

}  // namespace tidegate::internal

#endif  // TIDEGATE_POLICIES_PLAN_GRID_H_
