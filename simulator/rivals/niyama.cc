// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Niyama, later QoServe (arXiv 2503.22562), built on Sarathi: the width of each
// step comes from the slack of the tightest deadline, the widest that the next
// tokens of those that decode can wait for.
//
// Approximated: every token's deadline is one target after the last one, and
// all requests are of one class, so that earliest deadline first is first come
// first served; nobody is relegated; until the time model has seen enough steps
// the width is Sarathi's.
// Not expressible: a chunk policy knows neither the moment nor the other
// requests, so slack that has been saved up cannot be spent.

#include <algorithm>

#include "simulator/rivals/kit.h"

namespace tidegate::internal {
namespace {

constexpr Tokens kWidest = 8192;
// Prompts go on where no slack is left.
constexpr Tokens kNarrowest = 128;

}  // namespace

absl::StatusOr<SchedulerOptions> MakeNiyama(const SchedulerOptions& base,
                                            const RivalFacts& facts) {
  SchedulerOptions timed = base;
  if (timed.decode_stall <= Duration::zero()) {
    timed.decode_stall = facts.token_deadline;
  }
  const auto by_slack = [](const ChunkPolicy::Question& question, Tokens left,
                           Tokens offered) {
    const Tokens most = std::min(left, offered);
    // Nobody's next token is due.
    if (question.decode_stall <= Duration::zero()) return most;
    const Tokens start = question.request.request->prompt_tokens - left;
    const Tokens within =
        question.time == nullptr
            ? kSarathiChunk
            : std::max(kNarrowest, question.time->WidestWithin(
                                       question.decode_stall, start, most));
    return std::min(most, within);
  };
  return MakeStallFree("niyama", Or(facts.step_tokens, kWidest), by_slack,
                       timed, facts);
}

}  // namespace tidegate::internal
