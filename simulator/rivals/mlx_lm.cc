// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// mlx-lm 0.32.2: BatchGenerator._next (mlx_lm/generate.py). A decode step, then
// prefill_step_size tokens (2048) of each of up to prefill_batch_size prompts
// (8), completion_batch_size (32) running at once. No memory check at all.
//
// Approximated: prompts are not padded to the longest.
// Not expressible: the core starts no step whose KV does not fit, and rejects
// what never fits; this engine would run out of memory.

#include <limits>
#include <memory>

#include "simulator/rivals/kit.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

constexpr Tokens kPrefillStep = 2048;
constexpr std::int64_t kPrefillBatch = 8;
constexpr std::int64_t kCompletionBatch = 32;

}  // namespace

absl::StatusOr<SchedulerOptions> MakeMlxLm(const SchedulerOptions& base,
                                           const RivalFacts& facts) {
  const Tokens width = Or(facts.step_tokens, kPrefillStep);
  const std::int64_t completions = Or(facts.sequences, kCompletionBatch);
  SchedulerOptions options = base;
  options.memory.headroom = 0;
  options.estimator =
      std::make_shared<BelievedPrices>(base.estimator, /*paged=*/true);
  options.step = {.sequences = kPrefillBatch,
                  .decode = StepShape::Decode::kBetween,
                  .tokens = SatMul(kPrefillBatch, width),
                  .decodes = completions};
  options.running_max = completions;
  options.decode_stall = {};
  options.custom_chunk = std::make_shared<RuleChunk>("mlx_lm", width, Greedy);
  options.custom_admission = std::make_shared<RuleAdmission>(
      "mlx_lm", [](const AdmissionPolicy::Question&) -> RuleAdmission::Need {
        return {.free = std::numeric_limits<Bytes>::min()};
      });
  options.custom_order = RunningFirst();
  options.custom_pressure = std::make_shared<RulePressure>("mlx_lm", LastFirst);
  options.ladder = {"pool"};
  return options;
}

}  // namespace tidegate::internal
