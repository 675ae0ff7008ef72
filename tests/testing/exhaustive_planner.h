// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Every sequence of widths, from the definition in plan.h: what a planner must
// answer. It shares no code with the planner and is slow.

#ifndef TIDEGATE_TESTS_TESTING_EXHAUSTIVE_PLANNER_H_
#define TIDEGATE_TESTS_TESTING_EXHAUSTIVE_PLANNER_H_

#include <algorithm>
#include <optional>
#include <vector>

#include "tests/testing/fake_estimator.h"
#include "tidegate/plan.h"

namespace tidegate::testing {

struct PlannedWorld {
  FakeEstimator estimator;
  PlanRequest request;
  MemoryLimits memory;
  ChunkLimits chunk;
};

// The definition, token by token.
class ExhaustivePlanner {
 public:
  explicit ExhaustivePlanner(const PlannedWorld& world) : w_(world) {
    max_ = w_.chunk.max;
    floor_ = std::min(w_.chunk.floor, max_);
    quantum_ = std::min(w_.chunk.quantum, max_);
    first_ = std::min(w_.request.cached_tokens, Prompt() - 1);
    for (const Span& span : w_.request.uncuttable) {
      while (span.length <= max_ && quantum_ > 1 && Hull(span) > max_) {
        quantum_ /= 2;
      }
    }
  }

  // Fewest chunks, or nothing.
  std::optional<int> FewestChunks() const {
    if (!OutputFits()) return std::nullopt;
    std::vector<int> fewest(static_cast<std::size_t>(Prompt()) + 1,
                            kUnreachable);
    fewest[Prompt()] = 0;
    for (Tokens start = Prompt() - 1; start >= first_; --start) {
      for (Tokens end = start + 1; end <= Prompt(); ++end) {
        if (Allowed(start, end) && Fits(start, end)) {
          fewest[start] = std::min(fewest[start], fewest[end] + 1);
        }
      }
    }
    if (fewest[first_] >= kUnreachable) return std::nullopt;
    return fewest[first_];
  }

  bool Allowed(Tokens start, Tokens end) const {
    if (end - start > max_) return false;
    if (start != first_ && !Boundary(start)) return false;
    if (end == Prompt()) return true;
    if (!Boundary(end)) return false;
    Tokens widest = start + max_;
    while (widest > start && !Boundary(widest)) --widest;
    const Tokens floor =
        widest > start ? std::min(floor_, widest - start) : floor_;
    return end - start >= floor;
  }

  Bytes Peak(Tokens start, Tokens end) const {
    const Chunk chunk{.n = end - start, .kv_len = end};
    const PriceTotals price = w_.estimator.Total({.chunks = {&chunk, 1}});
    Bytes before = Held(start, chunk.n);
    if (start > first_) {
      before = std::max(before, Held(start, std::min(max_, start - first_)));
    }
    const Bytes live = w_.memory.base + before + price.resident_bytes +
                       w_.request.extra_bytes_per_token * chunk.n;
    // Encoders one after another, then the model beside all that they left.
    Bytes outputs = 0;
    Bytes peak = 0;
    for (const EncodeItem& item : w_.request.encodes) {
      const Tokens end_of_item = item.start + item.length;
      if (item.start >= end || end_of_item <= start) continue;
      outputs += item.output_bytes;
      // It ran for the chunk before, and is live.
      if (item.start < start && start > first_) continue;
      peak = std::max(peak, live + outputs + item.transient_bytes);
    }
    return std::max(peak, live + outputs + price.transient_bytes);
  }

  bool Fits(Tokens start, Tokens end) const {
    const Chunk chunk{.n = end - start, .kv_len = end};
    const PriceTotals price = w_.estimator.Total({.chunks = {&chunk, 1}});
    if (w_.memory.max_allocation.has_value() &&
        price.largest_allocation_bytes > *w_.memory.max_allocation) {
      return false;
    }
    return Peak(start, end) <= w_.memory.ceiling - w_.memory.headroom;
  }

 private:
  static constexpr int kUnreachable = 1 << 20;

  Tokens Prompt() const { return w_.request.prompt_tokens; }
  Tokens Hull(const Span& span) const {
    const Tokens from = span.start / quantum_ * quantum_;
    const Tokens end = span.start + span.length;
    const Tokens to =
        std::min(Prompt(), (end + quantum_ - 1) / quantum_ * quantum_);
    return to - from;
  }
  bool Boundary(Tokens at) const {
    if (at % quantum_ != 0) return false;
    return std::none_of(w_.request.uncuttable.begin(),
                        w_.request.uncuttable.end(), [at](const Span& span) {
                          return at > span.start &&
                                 at < span.start + span.length;
                        });
  }
  Bytes Held(Tokens tokens, Tokens width) const {
    const Bytes already = w_.estimator.SequenceBytes(first_, 1);
    const Bytes sequence =
        w_.estimator.preallocated
            ? w_.estimator.SequenceBytes(
                  Prompt() + w_.request.max_output_tokens, max_)
            : w_.estimator.SequenceBytes(tokens, width);
    // Measured growth is what no price knows, however the cache is allocated.
    return std::max<Bytes>(0, sequence - already) +
           w_.request.extra_bytes_per_token * (tokens - first_);
  }
  bool OutputFits() const {
    const Tokens total = Prompt() + w_.request.max_output_tokens;
    for (Tokens kv_len = Prompt() + 1; kv_len <= total; ++kv_len) {
      const Bytes transient =
          w_.estimator.Total({.decode_tokens = 1, .decode_kv_len = kv_len})
              .transient_bytes;
      if (w_.memory.base + Held(kv_len, 1) + transient >
          w_.memory.ceiling - w_.memory.headroom) {
        return false;
      }
    }
    return true;
  }

  const PlannedWorld& w_;
  Tokens max_ = 0;
  Tokens floor_ = 0;
  Tokens quantum_ = 0;
  Tokens first_ = 0;
};

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_EXHAUSTIVE_PLANNER_H_
