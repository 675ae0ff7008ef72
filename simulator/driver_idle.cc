// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Work conservation: the device is not left idle while a chunk of somebody who
// is here fits. Found from outside, by the planner over the last reading, and
// only where the answer is beyond doubt:
//
//   - nothing runs, nothing is being reclaimed, and that lasts: what a
//     scheduler waits for a moment (a release that no reading confirmed yet, a
//     reading that lags) is its right
//   - a request in prefill could finish beside everything that is live and
//     claimed, its own claim counted as another's; where prompts take turns by
//     intent (bankers), only who is alone
//   - requests that wait could start on what is live, every one of them, and
//     nobody is admitted: whichever the order names, it can go on
//
// Where KV lies in a pool, the same of its blocks. Rules that are not built in
// may wait as they like unless DriverOptions holds them to it, and so may
// anybody in a world whose memory grows faster than prices say.

#include <algorithm>

#include "simulator/driver.h"
#include "tidegate/plan.h"
#include "tidegate/policy.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// A second beyond what readings lag.
constexpr Duration kPatience = std::chrono::seconds(1);

// Further down a queue nobody needs to look: each costs a plan.
constexpr int kLookedAt = 16;

}  // namespace

bool Driver::JudgesIdleness() const {
  const SchedulerOptions& scheduler = options_.scheduler;
  const WorldOptions& world = options_.world.options;
  const bool built_in = scheduler.custom_chunk == nullptr &&
                        scheduler.custom_admission == nullptr &&
                        scheduler.custom_order == nullptr &&
                        scheduler.custom_pressure == nullptr;
  return (built_in || options_.custom_conserve) && scheduler.ranks.empty() &&
         !world.kv_bytes_per_token.has_value() &&
         world.resident_extra_per_token == 0;
}

bool Driver::HasBlocks(const DrivenRequest& request) const {
  const Tokens block = options_.scheduler.kv_pool.block_tokens;
  const KvBlocks pool = scheduler_->Stats().kv_blocks;
  if (pool.total == 0) return true;
  const PlanRequest& asked = request.arrive.request;
  const bool starts = request.stage == Stage::kWaiting;
  const std::int64_t more =
      CeilDiv(SatAdd(asked.prompt_tokens,
                     starts ? asked.max_output_tokens : Tokens{0}),
              block) -
      CeilDiv(request.done, block);
  return more <= pool.total - pool.used - pool.claims;
}

absl::Status Driver::CheckIdle(Instant next) {
  if (next <= now_) return absl::OkStatus();
  const bool idle = running_.empty() && ended_ != arrived_ && reclaims_.empty();
  const DrivenRequest* request = idle ? Runnable() : nullptr;
  if (request == nullptr) {
    runnable_since_.reset();
    return absl::OkStatus();
  }
  if (!runnable_since_.has_value()) runnable_since_ = now_;
  const Duration patience = kPatience + 2 * options_.world.options.reading_lag;
  if (next - *runnable_since_ <= patience) return absl::OkStatus();
  return Broken(
      "the device was idle since ", runnable_since_->time_since_epoch().count(),
      " ns although a chunk of request ", request->arrive.id,
      " fits: ", told_live_, " bytes live, ", scheduler_->Stats().claimed_bytes,
      " claimed, ceiling ", world_.ceiling());
}

const DrivenRequest* Driver::Runnable() {
  if (!JudgesIdleness()) return nullptr;
  const SchedulerOptions& scheduler = options_.scheduler;
  if (!reachable_.has_value()) {
    const auto chunk = CreateChunkPolicy(scheduler.chunk_policy);
    TG_CHECK(chunk.ok());
    reachable_ = (*chunk)->Reachable(scheduler.chunk);
  }
  const SchedulerStats stats = scheduler_->Stats();
  MemoryLimits memory = scheduler.memory;
  memory.ceiling = world_.ceiling();
  // Readings that lag lack what was computed since.
  const bool lags = options_.world.options.reading_lag > Duration::zero();
  const Bytes live =
      lags ? std::max(told_live_, stats.memory.live) : told_live_;
  memory.base = SatAdd(live, stats.claimed_bytes);
  const auto fits = [&](const DrivenRequest& request, Tokens cached,
                        Bytes more) {
    PlanRequest rest = request.arrive.request;
    rest.cached_tokens = std::min(cached, rest.prompt_tokens);
    rest.allocated = request.stage == Stage::kPrefill;
    if (rest.allocated && !request.widths.empty()) {
      rest.cached_chunk = request.widths.back();
    }
    MemoryLimits limits = memory;
    limits.base = SatAdd(limits.base, more);
    if (limits.base > limits.ceiling || !HasBlocks(request)) return false;
    const absl::StatusOr<Plan> plan = PlanPrompt(
        scheduler_->Prices(), rest, limits, *reachable_,
        {.want_largest_prompt = false, .any_sequence = true, .explain = false});
    return plan.ok() && plan->verdict == Verdict::kAdmit;
  };
  std::vector<const DrivenRequest*> waiting;
  std::int64_t admitted = 0;
  const DrivenRequest* prefill = nullptr;
  for (const std::size_t index : open_) {
    const DrivenRequest& request = At(index);
    if (request.stage == Stage::kWaiting) {
      waiting.push_back(&request);
      continue;
    }
    ++admitted;
    if (request.stage == Stage::kPrefill && prefill == nullptr) {
      prefill = &request;
    }
  }
  if (admitted == 0) {
    const bool all =
        !waiting.empty() && std::ssize(waiting) <= kLookedAt &&
        std::all_of(waiting.begin(), waiting.end(), [&](const auto* request) {
          return request->rests_until <= now_ &&
                 fits(*request, std::max<Tokens>(request->told_tokens, 0),
                      request->told_bytes);
        });
    return all ? waiting.front() : nullptr;
  }
  const bool turns = scheduler.admission_policy == "bankers";
  if (prefill == nullptr || prefill->rests_until > now_ ||
      (turns && admitted > 1) || !fits(*prefill, prefill->done, 0)) {
    return nullptr;
  }
  return prefill;
}

}  // namespace tidegate::internal
