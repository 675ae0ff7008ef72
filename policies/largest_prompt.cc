// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The longest prompt that fits. Where the sequence grows step by step, one walk
// over the boundaries answers: how far one gets does not depend on where the
// prompt ends. An engine that allocates the whole sequence at its start makes
// every chunk depend on the prompt's length, so each length is a question of
// its own; FrugalWalk answers most of them.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "estimators/last_that.h"
#include "policies/plan_grid.h"
#include "policies/plan_search.h"

namespace tidegate::internal {
namespace {

// LargestPrompt is asked on the way to a refusal and may answer a little less
// than the exact maximum: about 20 ms a walk.
constexpr std::int64_t kHorizonBoundaries = std::int64_t{1} << 15;

// The sequence of narrowest chunks, for all prompts at once: its boundaries and
// what chunks cost do not depend on where the prompt ends, only the room that
// is left for them does, and the more the longer the prompt. A prompt whose
// room covers the dearest of the chunks before its last one has a sequence; of
// the others nothing is known, since wider chunks may be cheaper.
class FrugalWalk {
 public:
  // `room(prompt)`: what chunks of a prompt may cost; never rises.
  template <typename Room>
  FrugalWalk(const ChunkSpace& space, const Room& room) {
    const ChunkLimits& limits = space.limits();
    Bytes dearest = 0;
    for (Tokens start = space.first();;) {
      steps_.push_back({start, dearest});
      // As ForEachFittingRun: from a start that is no boundary, the widest
      // chunk may be below the floor.
      const Tokens limit = start + limits.max;
      const Tokens widest = limit - limit % limits.quantum;
      const Tokens end =
          std::min(widest, RoundUp(start + limits.floor, limits.quantum));
      if (end <= start || end >= space.prompt()) return;
      const ChunkNeed need = space.Need(start, end);
      dearest = std::max(dearest, CostOf(space, need, start, end));
      if (dearest > room(end) || !AllocationFits(space, need)) return;
      start = end;
    }
  }

  // Whether a prompt, `space`'s, has a sequence for certain.
  bool Covers(const ChunkSpace& space, Bytes room) const {
    const Tokens prompt = space.prompt();
    auto step = std::partition_point(
        steps_.begin(), steps_.end(),
        [&](const Step& s) { return s.start < prompt && s.dearest <= room; });
    while (step != steps_.begin()) {
      --step;
      if (prompt - step->start > space.limits().max) return false;
      if (space.Fits(step->start, prompt)) return true;
    }
    return false;
  }

 private:
  struct Step {
    Tokens start = 0;
    Bytes dearest = 0;  // of the chunks before it
  };

  // What a chunk adds to what the sequence holds from its start.
  static Bytes CostOf(const ChunkSpace& space, const ChunkNeed& need,
                      Tokens start, Tokens end) {
    return SatAdd(need.price.transient_bytes,
                  need.resident - space.Held(start, end - start));
  }
  static bool AllocationFits(const ChunkSpace& space, const ChunkNeed& need) {
    const auto& max = space.memory().max_allocation;
    return !max.has_value() || need.price.largest_allocation_bytes <= *max;
  }

  std::vector<Step> steps_;
};

// Whether no sequence ends at the prompt's end for a reason that lies near it:
// no chunk goes on to the few starts there from which the end can be reached.
// A cheap answer to most prompts that are too long.
bool EndIsCutOff(const ChunkSpace& space) {
  constexpr std::int64_t kChunksBack = 4;
  const Tokens prompt = space.prompt();
  const Tokens max = space.limits().max;
  const Grid grid(space.first(), prompt, space.limits(),
                  std::numeric_limits<std::int64_t>::max());
  std::vector<std::int64_t> reaching;  // numbers, descending
  std::vector<Tokens> falls;
  Tokens reaches = prompt;
  for (std::int64_t i = grid.size() - 1; i >= 0; --i) {
    const Tokens start = grid.At(i);
    if (reaches - start > max) return true;
    if (prompt - start > kChunksBack * max) return false;
    bool reached = prompt - start <= max && space.Fits(start, prompt);
    if (!reached) {
      ForEachFittingRun(
          space, grid, i, &falls, [&](std::int64_t from, std::int64_t to) {
            const auto last = std::lower_bound(reaching.begin(), reaching.end(),
                                               to, std::greater<>());
            reached = reached || (last != reaching.end() && *last >= from);
          });
    }
    if (!reached) continue;
    reaching.push_back(i);
    reaches = start;
  }
  return reaches > space.first();
}

// A length in [least, horizon] that fits and whose successor does not; 0 when
// `least` does not fit.
template <typename Decodes>
Tokens LargestPreallocated(const ChunkSpace& space, PlanRequest request,
                           Tokens least, Tokens horizon,
                           const Decodes& decodes) {
  const auto at = [&](Tokens prompt) {
    request.prompt_tokens = prompt;
    return ChunkSpace(space.estimator(), request, space.memory(),
                      space.limits());
  };
  const auto room = [](const ChunkSpace& of) {
    return of.line() - SatAdd(of.memory().base, of.Held(of.prompt(), 1));
  };
  // Its request moves on with each question; what the walk reads of it before
  // the end of a prompt does not.
  const PlanRequest longest_request = [&] {
    PlanRequest longest = request;
    longest.prompt_tokens = horizon;
    return longest;
  }();
  const ChunkSpace longest(space.estimator(), longest_request, space.memory(),
                           space.limits());
  const FrugalWalk walk(longest,
                        [&](Tokens prompt) { return room(at(prompt)); });
  const auto fits = [&](Tokens prompt) {
    if (!decodes(prompt)) return false;
    const ChunkSpace longer = at(prompt);
    if (walk.Covers(longer, room(longer))) return true;
    return !EndIsCutOff(longer) && HasEnds(longer, kHorizonBoundaries);
  };
  const Tokens best = LastThat(least, horizon, fits);
  return fits(best) ? best : 0;
}

}  // namespace

Tokens LargestPrompt(const ChunkSpace& space, Tokens output) {
  PlanRequest request = space.request();
  request.uncuttable.clear();
  request.encodes.clear();
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
  const Tokens least = request.cached_tokens + 1;
  const Tokens most = kTokensMax - output;
  if (least > most || !holds(least) || !decodes(least)) return 0;
  // Where nothing grows with the sequence (KV in a pool, or allocated before),
  // memory sets no horizon: then it is as many chunks as boundaries at most.
  const Tokens farthest = std::min(
      most, SatAdd(least, SatMul(kHorizonBoundaries, space.limits().max)));
  const Tokens horizon =
      LastThat(least, LastThat(least, farthest, holds), decodes);

  if (space.estimator().KvPreallocated()) {
    return LargestPreallocated(space, request, least, horizon, decodes);
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
        best = std::max(best, start + LastThat(from, to, [&](Tokens n) {
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
