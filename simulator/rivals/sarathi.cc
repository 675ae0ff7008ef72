// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Sarathi-Serve (arXiv 2403.02310; sarathi-serve, SarathiScheduler._schedule;
// Vidur agrees in shape).
//
// One step of at most chunk_size tokens. First a token of every request whose
// prompt is computed, so that prefill never stalls decoding; then unfinished
// prompts in order; then waiting ones, first come first served, where the
// blocks of the whole prompt are free above a watermark of 1 %, which are taken
// at once. Out of blocks: the last running request starts again.
//
// Guarded: sarathi-serve lets the budget go below zero where more decode than
// chunk_size; Vidur and this do not.

#include <algorithm>
#include <memory>

#include "simulator/rivals/kit.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

constexpr std::int64_t kSequences = 128;

}  // namespace

absl::StatusOr<SchedulerOptions> MakeStallFree(std::string_view name,
                                               Tokens chunk,
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

absl::StatusOr<SchedulerOptions> MakeSarathi(const SchedulerOptions& base,
                                             const RivalFacts& facts) {
  SchedulerOptions plain = base;
  plain.decode_stall = {};
  return MakeStallFree("sarathi", Or(facts.step_tokens, kSarathiChunk), Greedy,
                       plain, facts);
}

}  // namespace tidegate::internal
