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
#include <utility>

#include "policies/plan_grid.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

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
                                              const ChunkCost& cost,
                                              std::int64_t boundaries_max) {
  const Tokens prompt = space.prompt();
  const Grid grid(space.first(), prompt, space.limits(), boundaries_max);
  RangeMinimum cheapest(grid.size());
  // How the cheapest way from each boundary goes on: the number of the next
  // one; `grid.size()` stands for the prompt's end.
  constexpr std::int32_t kStuck = -1;
  std::vector<std::int32_t> next(static_cast<std::size_t>(grid.size()), kStuck);
  std::vector<Tokens> falls;
  // The first place known to reach the prompt's end.
  Tokens reaches = prompt;
  for (std::int64_t i = grid.size() - 1; i >= 0; --i) {
    const Tokens start = grid.At(i);
    // No chunk goes that far, from here or from before.
    if (reaches - start > space.limits().max) return std::nullopt;
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
    reaches = start;
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

bool HasEnds(const ChunkSpace& space, std::int64_t boundaries_max) {
  if (SatAdd(space.memory().base, space.Held(space.prompt(), 1)) >
      space.line()) {
    return false;
  }
  std::vector<Tokens> falls;
  for (Tokens start = space.first();;) {
    const std::optional<Tokens> end = WidestFit(space, start, &falls);
    if (!end.has_value()) {
      return SearchEnds(space, {}, boundaries_max).has_value();
    }
    if (*end == space.prompt()) return true;
    start = *end;
  }
}

Tokens FurthestStart(const ChunkSpace& space) {
  const Grid grid(space.first(), space.prompt(), space.limits(),
                  kBoundariesMax);
  const Reached reached = WalkForward(space, grid);
  std::int64_t i = grid.size() - 1;
  while (i > 0 && !reached.Has(i)) --i;
  return grid.At(i);
}

}  // namespace tidegate::internal
