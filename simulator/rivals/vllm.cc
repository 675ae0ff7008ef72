// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// vLLM v1, 0.27: Scheduler.schedule (vllm/v1/core/sched/scheduler.py),
// KVCacheManager.allocate_slots (vllm/v1/core/kv_cache_manager.py) and
// Worker.determine_available_memory (vllm/v1/worker/gpu_worker.py).
//
// One budget of max_num_batched_tokens a step. Running requests first, in the
// order of admission, each with what it lacks, cut to the budget and to
// long_prefill_token_threshold; then the waiting ones, first come first served,
// whose whole sequence must fit the free blocks (scheduler_reserve_full_isl),
// though only the chunk's are taken. Out of blocks: the last running request
// starts again. Blocks get what one profiled step on an empty cache leaves,
// and no step is priced after that (issues 57449, 40420, 46767).
//
// A request longer than the whole pool is never refused: it stays at the head
// of the queue, and nobody passes it (issue 39734). Here it is admitted, never
// runs, and holds the queue until the core's patience of 30 s is over.
//
// Not expressible: decode tokens come before any prefill, also before an older
// one; a victim must make room by itself; it starts again after a second and
// generates its tokens anew; only a decoding one makes room for decoding.
// Approximated: blocks are not rounded, and the pool takes only what is used.

#include <algorithm>
#include <memory>

#include "simulator/rivals/kit.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// max_num_batched_tokens and max_num_seqs on a large GPU
// (EngineArgs.get_batch_defaults).
constexpr Tokens kBatchedTokens = 8192;
constexpr std::int64_t kSequences = 256;

}  // namespace

absl::StatusOr<SchedulerOptions> MakeVllm(const SchedulerOptions& base,
                                          const RivalFacts& facts) {
  const Tokens budget = Or(facts.step_tokens, kBatchedTokens);
  const std::int64_t sequences = Or(facts.sequences, kSequences);
  SchedulerOptions options = base;
  TG_RETURN_IF_ERROR(KeepBack(
      "vllm",
      facts.activation_bytes.value_or(ProfiledBytes(*base.estimator, budget)),
      &options));
  const Bytes pool = RoomAtStart(options);
  const auto prices =
      std::make_shared<BelievedPrices>(base.estimator, /*paged=*/true);
  // The core refuses what can never fit, which this engine does not.
  prices->CapSequences(pool);
  options.estimator = prices;
  options.step = {.sequences = sequences,
                  .decode = StepShape::Decode::kMixed,
                  .tokens = budget};
  options.running_max = sequences;
  options.decode_stall = {};

  const auto blocked = [prices, pool](const RequestView& view) {
    return prices->WholeSequence(view.request->prompt_tokens) > pool;
  };
  const Tokens threshold = facts.long_prefill_threshold;
  options.custom_chunk = std::make_shared<RuleChunk>(
      "vllm", budget,
      [=](const ChunkPolicy::Question& question, Tokens left, Tokens offered) {
        if (blocked(question.request)) return Tokens{0};
        const Tokens most = threshold > 0 ? threshold : offered;
        return std::min({left, offered, most});
      });
  options.custom_admission = std::make_shared<RuleAdmission>(
      "vllm",
      [=](const AdmissionPolicy::Question& question) -> RuleAdmission::Need {
        const bool held_up = std::any_of(question.admitted.begin(),
                                         question.admitted.end(), blocked);
        if (held_up) return {.free = kBytesMax};
        if (blocked(question.request)) {
          return {.free = question.admitted.empty() ? 0 : kBytesMax};
        }
        return {.free = GrowthTo(*prices, question.request, 0)};
      });
  options.custom_order = RunningFirst();
  options.custom_pressure = std::make_shared<RulePressure>("vllm", LastFirst);
  options.ladder = {"pool", "cache", "preempt"};
  return options;
}

}  // namespace tidegate::internal
