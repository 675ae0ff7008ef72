// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Sarathi-Serve (arXiv 2403.02310; sarathi-serve, SarathiScheduler._schedule;
// Vidur agrees in shape) and, with another width, Niyama (arXiv 2503.22562).
//
// One step of at most chunk_size tokens. First a token of every request whose
// prompt is computed, so that prefill never stalls decoding; then unfinished
// prompts in order; then waiting ones, first come first served, where the
// blocks of the whole prompt are free above a watermark of 1 %, which are taken
// at once. Out of blocks: the last running request starts again.
//
// Niyama picks the width of each step from the slack of the tightest deadline:
// the widest that the next tokens of those that decode can wait for.
//
// Guarded: sarathi-serve lets the budget go below zero where more decode than
// chunk_size; Vidur and this do not.
// Approximated in Niyama: every token's deadline is one target after the last
// one, and all requests are of one class, so that earliest deadline first is
// first come first served; nobody is relegated; until the time model has seen
// enough steps the width is Sarathi's.
// Not expressible: a chunk policy knows neither the moment nor the other
// requests, so slack that has been saved up cannot be spent.

#include <algorithm>
#include <memory>

#include "simulator/rivals/kit.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

constexpr Tokens kChunk = 512;
constexpr Tokens kWidestSlack = 8192;
// Prompts go on where no slack is left.
constexpr Tokens kNarrowest = 128;
constexpr std::int64_t kSequences = 128;

absl::StatusOr<SchedulerOptions> Make(std::string_view name, Tokens chunk,
                                      const RuleChunk::Rule& rule,
                                      const SchedulerOptions& base,
                                      const RivalFacts& facts) {
  const std::int64_t sequences = Or(facts.sequences, kSequences);
  SchedulerOptions options = base;
  TG_RETURN_IF_ERROR(KeepBack(
      name,
      facts.activation_bytes.value_or(ProfiledBytes(*base.estimator, chunk)),
      &options));
  const Bytes watermark = RoomAtStart(options) / 100;
  const auto prices =
      std::make_shared<BelievedPrices>(base.estimator, /*paged=*/true);
  options.estimator = prices;
  options.step = {.sequences = sequences,
                  .decode = StepShape::Decode::kMixed,
                  .tokens = chunk};
  options.running_max = sequences;
  options.custom_chunk =
      std::make_shared<RuleChunk>(std::string(name), chunk, rule);
  options.custom_admission = std::make_shared<RuleAdmission>(
      std::string(name),
      [=](const AdmissionPolicy::Question& question) -> RuleAdmission::Need {
        const Bytes prompt = GrowthTo(*prices, question.request, 0);
        return {.free = SatAdd(prompt, watermark), .claim = prompt};
      });
  options.custom_order = RunningFirst();
  options.custom_pressure =
      std::make_shared<RulePressure>(std::string(name), LastFirst);
  options.ladder = {"pool", "cache", "preempt"};
  return options;
}

}  // namespace

absl::StatusOr<SchedulerOptions> MakeSarathi(const SchedulerOptions& base,
                                             const RivalFacts& facts) {
  SchedulerOptions plain = base;
  plain.decode_stall = {};
  return Make("sarathi", Or(facts.step_tokens, kChunk), Greedy, plain, facts);
}

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
            ? kChunk
            : std::max(kNarrowest, question.time->WidestWithin(
                                       question.decode_stall, start, most));
    return std::min(most, within);
  };
  return Make("niyama", Or(facts.step_tokens, kWidestSlack), by_slack, timed,
              facts);
}

}  // namespace tidegate::internal
