// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Three searches over one grid. A chunk's cost rises with its width within a
// *piece*, the widths between two falls that the estimator states; so in each
// piece the widths that fit are its first ones, and a binary search finds how
// many. What is left is a walk over boundaries:
//
//   greedy     the widest chunk each time, O(chunks)
//   backward   from the end: fewest chunks from every boundary, O(boundaries)
//   forward    from the start: which boundaries can be reached at all

#include "policies/plan_search.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>

#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// A grid with more boundaries than this gets a coarser quantum: 4 million of
// them are 256 million tokens at the usual 64, beyond kTokensMax, so only tiny
// quanta on huge prompts are concerned.
constexpr std::int64_t kBoundariesMax = std::int64_t{1} << 22;
// The same for LargestPrompt, which is asked on the way to a refusal and may
// answer a little less than the exact maximum: about 20 ms.
constexpr std::int64_t kHorizonBoundaries = std::int64_t{1} << 15;

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

// What is left to pay from a boundary on, and the boundary; the cheapest first,
// then the farthest.
struct Way {
  std::int64_t cost = std::numeric_limits<std::int64_t>::max();
  std::int64_t number = -1;
  bool exists() const { return number >= 0; }
  friend bool operator<(const Way& a, const Way& b) {
    return a.cost != b.cost ? a.cost < b.cost : a.number > b.number;
  }
};

// Least over a range of numbered ways, none of which exists at first.
class RangeMinimum {
 public:
  explicit RangeMinimum(std::int64_t size)
      : size_(size), tree_(2 * static_cast<std::size_t>(size)) {}

  void Set(std::int64_t i, const Way& way) {
    std::size_t at = static_cast<std::size_t>(i + size_);
    tree_[at] = way;
    while (at > 1) {
      at /= 2;
      tree_[at] = std::min(tree_[2 * at], tree_[2 * at + 1]);
    }
  }
  // Over [from, to].
  Way Least(std::int64_t from, std::int64_t to) const {
    Way least;
    std::size_t lo = static_cast<std::size_t>(from + size_);
    std::size_t hi = static_cast<std::size_t>(to + size_) + 1;
    for (; lo < hi; lo /= 2, hi /= 2) {
      if (lo % 2 == 1) least = std::min(least, tree_[lo++]);
      if (hi % 2 == 1) least = std::min(least, tree_[--hi]);
    }
    return least;
  }

 private:
  std::int64_t size_;
  std::vector<Way> tree_;
};

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

// Which boundaries of the grid chunks can reach. Stops when none is left to go
// on from.
Reached WalkForward(const ChunkSpace& space, const Grid& grid) {
  Reached reached(grid.size());
  std::vector<Tokens> falls;
  const auto may = [&](std::int64_t i) {
    return i == 0 || space.IsBoundary(grid.At(i));
  };
  reached.Mark(0, 0, may);
  std::int64_t farthest = 0;
  for (std::int64_t i = 0; i <= farthest; ++i) {
    if (!reached.Has(i)) continue;
    ForEachFittingRun(space, grid, i, &falls,
                      [&](std::int64_t from, std::int64_t to) {
                        reached.Mark(from, to, may);
                        farthest = std::max(farthest, to);
                      });
  }
  return reached;
}

// Whether a chunk that fits stays feasible when it is cut short at either side,
// down to the floor: no price falls where a prompt's chunks lie.
bool Monotone(const ChunkSpace& space, Tokens start, Tokens end,
              std::vector<Tokens>* falls) {
  const Tokens floor = space.limits().floor;
  const Tokens widest = std::min(space.limits().max, space.prompt() - start);
  space.Falls(start, floor, widest, falls);
  if (!falls->empty()) return false;
  if (end - start > floor) {
    space.estimator().Breakpoints(Axis::kN, end, floor,
                                  std::min(space.limits().max, end),
                                  space.request().mask, falls);
  }
  return falls->empty();
}

}  // namespace

std::optional<Tokens> WidestFit(const ChunkSpace& space, Tokens start,
                                std::vector<Tokens>* falls) {
  const Tokens widest = space.WidestEnd(start);
  if (widest > start && space.Fits(start, widest)) return widest;
  const Grid grid(start, space.prompt(), space.limits(),
                  std::numeric_limits<std::int64_t>::max());
  std::optional<Tokens> best;
  ForEachFittingRun(space, grid, 0, falls,
                    [&](std::int64_t from, std::int64_t to) {
                      while (to >= from && !space.IsBoundary(grid.At(to))) --to;
                      if (to >= from) best = grid.At(to);
                    });
  return best;
}

std::optional<std::vector<Tokens>> GreedyEnds(const ChunkSpace& space,
                                              bool shortest) {
  const Tokens prompt = space.prompt();
  std::vector<Tokens> ends;
  std::vector<Tokens> falls;
  bool monotone = shortest && space.request().uncuttable.empty();
  for (Tokens start = space.first(); start < prompt;) {
    const std::optional<Tokens> end = WidestFit(space, start, &falls);
    if (!end.has_value()) return std::nullopt;
    monotone = monotone && Monotone(space, start, *end, &falls);
    ends.push_back(*end);
    start = *end;
  }
  if (!shortest) return ends;
  const std::int64_t chunks = static_cast<std::int64_t>(ends.size());
  // No sequence is shorter than one of widest chunks.
  if (chunks == CeilDiv(prompt - space.first(), space.limits().max)) {
    return ends;
  }
  if (!monotone) return std::nullopt;
  // One chunk fewer would need a last chunk from before the last but one start,
  // of at most max; it cannot be cut short below the floor by what we know.
  const Tokens before = chunks >= 3 ? ends[chunks - 3] : space.first();
  const Tokens rest = prompt - before;
  if (rest < space.limits().floor) return std::nullopt;
  return ends;
}

std::optional<std::vector<Tokens>> SearchEnds(const ChunkSpace& space,
                                              const ChunkCost& cost) {
  const Tokens prompt = space.prompt();
  const Grid grid(space.first(), prompt, space.limits(), kBoundariesMax);
  RangeMinimum cheapest(grid.size());
  // How the cheapest way from each boundary goes on: the number of the next
  // one; `grid.size()` stands for the prompt's end.
  constexpr std::int32_t kStuck = -1;
  std::vector<std::int32_t> next(static_cast<std::size_t>(grid.size()), kStuck);
  std::vector<Tokens> falls;
  for (std::int64_t i = grid.size() - 1; i >= 0; --i) {
    const Tokens start = grid.At(i);
    if (i > 0 && !space.IsBoundary(start)) continue;
    Way best;
    if (prompt - start <= space.limits().max && space.Fits(start, prompt)) {
      best = {.cost = 0, .number = grid.size()};
    } else {
      ForEachFittingRun(space, grid, i, &falls,
                        [&](std::int64_t from, std::int64_t to) {
                          best = std::min(best, cheapest.Least(from, to));
                        });
    }
    if (!best.exists()) continue;
    next[i] = static_cast<std::int32_t>(best.number);
    cheapest.Set(
        i, {.cost = SatAdd(best.cost, cost.fixed, SatMul(cost.per_kv, start)),
            .number = i});
  }
  if (next[0] == kStuck) return std::nullopt;
  std::vector<Tokens> ends;
  for (std::int64_t i = 0; i != grid.size(); i = next[i]) {
    ends.push_back(next[i] == grid.size() ? prompt : grid.At(next[i]));
  }
  return ends;
}

std::optional<std::vector<Tokens>> FindEnds(const ChunkSpace& space,
                                            bool shortest) {
  // What the sequence holds at its end leaves no way round.
  if (SatAdd(space.memory().base, space.Held(space.prompt(), 1)) >
      space.line()) {
    return std::nullopt;
  }
  std::optional<std::vector<Tokens>> ends = GreedyEnds(space, shortest);
  return ends.has_value() ? ends : SearchEnds(space);
}

Tokens FurthestStart(const ChunkSpace& space) {
  const Grid grid(space.first(), space.prompt(), space.limits(),
                  kBoundariesMax);
  const Reached reached = WalkForward(space, grid);
  std::int64_t i = grid.size() - 1;
  while (i > 0 && !reached.Has(i)) --i;
  return grid.At(i);
}

Tokens LargestPrompt(const ChunkSpace& space, Tokens output) {
  PlanRequest request = space.request();
  request.uncuttable.clear();
  // Nothing longer fits even without a transient.
  const auto holds = [&](Tokens prompt) {
    request.prompt_tokens = prompt;
    const ChunkSpace longer(space.estimator(), request, space.memory(),
                            space.limits());
    return SatAdd(space.memory().base, longer.Held(prompt, 1)) <= space.line();
  };
  const auto decodes = [&](Tokens prompt) {
    request.prompt_tokens = prompt;
    if (output == 0) return true;
    const ChunkSpace longer(space.estimator(), request, space.memory(),
                            space.limits());
    return longer.Fits(longer.DecodeNeed(prompt, prompt + output));
  };
  const auto last_that = [](Tokens lo, Tokens hi, const auto& holds_at) {
    // Largest value in [lo, hi] for which it holds; lo when for none above.
    while (lo < hi) {
      const Tokens middle = lo + (hi - lo + 1) / 2;
      if (holds_at(middle)) {
        lo = middle;
      } else {
        hi = middle - 1;
      }
    }
    return lo;
  };
  const Tokens least = request.cached_tokens + 1;
  const Tokens most = kTokensMax - output;
  if (least > most || !holds(least) || !decodes(least)) return 0;
  const Tokens horizon =
      last_that(least, last_that(least, most, holds), decodes);

  // An engine that allocates the whole sequence at its start makes every chunk
  // depend on the prompt's length: each length is a question of its own.
  if (space.estimator().KvPreallocated()) {
    const auto fits = [&](Tokens prompt) {
      request.prompt_tokens = prompt;
      const ChunkSpace longer(space.estimator(), request, space.memory(),
                              space.limits());
      return decodes(prompt) && FindEnds(longer, false).has_value();
    };
    const Tokens best = last_that(least, horizon, fits);
    return fits(best) ? best : 0;
  }
  request.prompt_tokens = horizon;
  const ChunkSpace longer(space.estimator(), request, space.memory(),
                          space.limits());
  const Grid grid(longer.first(), horizon, longer.limits(), kHorizonBoundaries);
  const Reached reached = WalkForward(longer, grid);
  Tokens best = 0;
  std::vector<Tokens> falls;
  for (std::int64_t i = grid.size() - 1; i >= 0; --i) {
    const Tokens start = grid.At(i);
    if (start + longer.limits().max <= best) break;
    if (!reached.Has(i)) continue;
    // The last chunk may end anywhere: piece by piece, widest first.
    const Tokens widest = std::min(longer.limits().max, horizon - start);
    longer.Falls(start, 1, widest, &falls);
    Tokens to = widest;
    for (std::size_t piece = falls.size() + 1; piece-- > 0;) {
      const Tokens from = piece == 0 ? 1 : falls[piece - 1];
      if (start + to <= best) break;
      if (longer.Fits(start, start + from)) {
        best = std::max(best, start + last_that(from, to, [&](Tokens n) {
                                return longer.Fits(start, start + n);
                              }));
        break;
      }
      to = from - 1;
    }
  }
  return best;
}

}  // namespace tidegate::internal
