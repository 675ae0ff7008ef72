// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The budget of KV blocks, of engines that have a pool: who may start, how far
// a chunk may go, who decodes, and who makes way.

#include <algorithm>
#include <string>
#include <utility>

#include "estimators/text.h"
#include "policies/plan_search.h"
#include "policies/refusal.h"
#include "scheduler/core.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// The same numbers, said in blocks.
Plan InBlocks(Plan plan) {
  plan.arithmetic.unit = Unit::kKvBlocks;
  plan.reason = Concat(Describe(plan.arithmetic), " of the KV pool",
                       LargestPromptNote(plan.largest_prompt_that_fits));
  return plan;
}

// What is stated or measured in bytes is no matter of blocks.
PlanRequest WithoutBytes(PlanRequest request) {
  request.encodes.clear();
  request.encoded_bytes = 0;
  request.extra_bytes_per_token = 0;
  return request;
}

}  // namespace

MemoryView Core::PoolView(const Request& request, Bytes freed) const {
  return BudgetView(request, pool_->ledger, pool_->memory, &ChunkGrowth::blocks,
                    request.prefix_blocks, freed);
}

std::vector<RequestView> Core::PoolViews(std::vector<PlanRequest>* requests) {
  std::vector<RequestView> views;
  requests->reserve(table_.admitted().size());
  for (const Request* request : table_.admitted()) {
    if (!Shown(*request)) continue;
    views.push_back(PoolViewOf(*request, &requests->emplace_back()));
  }
  AddGrowing(&ChunkGrowth::blocks, &views);
  return views;
}

RequestView Core::PoolViewOf(const Request& request, PlanRequest* own) const {
  *own = WithoutBytes(request.request);
  RequestView view = request.View();
  view.request = own;
  view.claim = pool_->ledger.ClaimOf(request.id);
  view.held = pool_->ledger.ResidentOf(request.id);
  view.encoded = 0;
  return view;
}

std::optional<Plan> Core::BeyondPool(const Request& request) const {
  if (!pool_.has_value()) return std::nullopt;
  PlanRequest whole = WithoutBytes(request.request);
  whole.cached_tokens = 0;
  whole.cached_chunk = 1;
  const MemoryLimits all{.ceiling = pool_->memory.line()};
  if (pool_->prices().SequenceBytes(
          SatAdd(whole.prompt_tokens, whole.max_output_tokens), 1) <=
      all.ceiling) {
    return std::nullopt;
  }
  absl::StatusOr<Plan> plan = PlanPrompt(pool_->prices(), whole, all, limits_);
  // What contradicts itself is answered by the plan in bytes.
  if (!plan.ok() || plan->code != RefusalCode::kTooLarge) return std::nullopt;
  return InBlocks(*std::move(plan));
}

std::optional<Bytes> Core::PoolClaim(Request& request) {
  const MemoryView memory = PoolView(request, 0);
  const Bytes room = memory.limits.Room() - memory.claimed;
  if (request.blocked_blocks.has_value() && room <= *request.blocked_blocks &&
      request.blocked_blocks_epoch == relief_) {
    return std::nullopt;
  }
  PlanRequest own;
  const RequestView view = PoolViewOf(request, &own);
  std::vector<PlanRequest> requests;
  const std::vector<RequestView> admitted = PoolViews(&requests);
  const absl::StatusOr<AdmissionPolicy::Answer> answer =
      policies_.admission->Decide(
          AdmissionQuestion(pool_->prices(), view, memory, admitted));
  if (answer.ok() && answer->verdict == Verdict::kAdmit) {
    request.blocked_blocks.reset();
    return answer->claim;
  }
  request.blocked_blocks = room;
  request.blocked_blocks_epoch = relief_;
  return std::nullopt;
}

Tokens Core::PoolWidest(const Request& request, Bytes freed) const {
  const MemoryView memory = PoolView(request, freed);
  // Claims pay for the step's decode tokens, but not of those that outgrew
  // theirs.
  const Bytes room =
      std::max<Bytes>(0, std::min(memory.limits.Room() - memory.claimed,
                                  SatAdd(FreeBlocks(), freed)));
  const Tokens start = request.NextStart();
  const Tokens reach = pool_->Reach(request.done, room);
  if (reach >= request.request.prompt_tokens) return kTokensMax;
  return std::max<Tokens>(0, reach / limits_.quantum * limits_.quantum - start);
}

Bytes Core::FreeBlocks() const {
  Bytes free = pool_->memory.line() - pool_->Live() - forming_.decode_blocks;
  ForEachGrowing([&](const StepChunk&, const ChunkGrowth& growth) {
    free -= growth.blocks;
  });
  for (const Step& step : running_) free -= step.decode_blocks;
  return free;
}

void Core::KeepWhatHasBlocks(std::vector<Request*>* ready) {
  Bytes free = FreeBlocks();
  if (!std::is_sorted(ready->begin(), ready->end(), WaitedLonger)) {
    std::sort(ready->begin(), ready->end(), WaitedLonger);
  }
  std::vector<Request*> kept;
  for (Request* request : *ready) {
    const Tokens length = Length(*request);
    const Bytes more = pool_->Growth(length, length + 1);
    if (more > free) continue;
    free -= more;
    kept.push_back(request);
  }
  pool_short_ = kept.empty() ? 1 : 0;
  *ready = std::move(kept);
}

bool Core::RelievePool() {
  const Bytes over = pool_->Live() - pool_->memory.line();
  if (table_.decoding() == 0) pool_short_ = 0;
  if (table_.decoding() == 0 || std::max(over, pool_short_) <= 0) {
    pool_short_since_.reset();
    return false;
  }
  if (!pool_short_since_.has_value()) pool_short_since_ = now_;
  // Nothing comes back by itself but by the end of somebody.
  const Instant preempt = *pool_short_since_ + policies_.pressure->Patience();
  if (preempt > now_) {
    WakeNoLaterThan(preempt);
    return false;
  }
  if (PreemptFor(nullptr)) {
    pool_short_ = 0;
    return true;
  }
  const Instant give_up = *pool_short_since_ + kShortagePatience;
  if (give_up > now_ || !running_.empty()) {
    if (give_up > now_) WakeNoLaterThan(give_up);
    return false;
  }
  for (Request* request : table_.admitted()) {
    if (request->state != RequestState::kDecoding) continue;
    pool_short_since_.reset();
    RejectNow(*request, RefusalCode::kOverloaded,
              Concat("no block of the KV pool for another token: ",
                     Grouped(pool_->Live()), " of ",
                     Grouped(pool_->memory.line()), " are in use"),
              nullptr);
    return true;
  }
  return false;
}

KvBlocks Core::PoolStats() const {
  if (!pool_.has_value()) return {};
  return {.total = pool_->memory.line(),
          .used = pool_->Live(),
          .held = pool_->ledger.resident(),
          .claims = pool_->ledger.claimed()};
}

}  // namespace tidegate::internal
