// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Finds a sequence of chunks through a ChunkSpace, or how far one can get.
// docs/planner.md states why each search answers what it says.

#ifndef TIDEGATE_POLICIES_PLAN_SEARCH_H_
#define TIDEGATE_POLICIES_PLAN_SEARCH_H_

#include <optional>
#include <vector>

#include "policies/chunk_space.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// The widest chunk from `start` that fits: its end, or nullopt when none does.
// O(pieces * log widths) prices. `falls` is scratch.
std::optional<Tokens> WidestFit(const ChunkSpace& space, Tokens start,
                                std::vector<Tokens>* falls);

// Ends of the chunks of a shortest sequence, found by taking the widest chunk
// that fits each time. nullopt when that gets stuck, or when a shorter sequence
// is not ruled out: then only SearchEnds knows. With `shortest` false, nullopt
// only when it gets stuck.
std::optional<std::vector<Tokens>> GreedyEnds(const ChunkSpace& space,
                                              bool shortest);

// What a chunk from `start` costs a sequence, beyond what does not depend on
// how a prompt is cut: fixed + per_kv * start. The default counts chunks.
struct ChunkCost {
  std::int64_t fixed = 1;
  std::int64_t per_kv = 0;
};

// A grid with more boundaries than this gets a coarser quantum: 4 million of
// them are 256 million tokens at the usual 64, beyond kTokensMax, so only tiny
// quanta on huge prompts are concerned.
inline constexpr std::int64_t kBoundariesMax = std::int64_t{1} << 22;

// Ends of the chunks of a cheapest sequence; of two, the one whose earlier
// chunks are wider. nullopt when no sequence exists on the grid.
// O(boundaries * (pieces * log widths + log boundaries)).
std::optional<std::vector<Tokens>> SearchEnds(
    const ChunkSpace& space, const ChunkCost& cost = {},
    std::int64_t boundaries_max = kBoundariesMax);

// The cheaper of the two that knows. With `shortest` false any sequence will
// do, so that the search is needed only where the widest chunks get stuck.
std::optional<std::vector<Tokens>> FindEnds(const ChunkSpace& space,
                                            bool shortest);

// Whether FindEnds finds any: cheaper, since none has to be the shortest.
bool HasEnds(const ChunkSpace& space,
             std::int64_t boundaries_max = kBoundariesMax);

// What a decision asks a plan for: whether there is one, and how it begins.
inline constexpr PlanOptions kVerdictOnly = {
    .want_largest_prompt = false, .any_sequence = true, .explain = false};

// The farthest boundary before the prompt's end that chunks can reach.
Tokens FurthestStart(const ChunkSpace& space);

// Longest prompt of any length, without spans, that some sequence covers and
// whose `output` decoded tokens fit behind it; 0 when there is none. Where the
// engine preallocates, a length that fits and whose successor does not. With
// tiny quanta and huge rooms the answer is of a coarser grid, and may be less
// than the longest.
Tokens LargestPrompt(const ChunkSpace& space, Tokens output);

}  // namespace tidegate::internal

#endif  // TIDEGATE_POLICIES_PLAN_SEARCH_H_
