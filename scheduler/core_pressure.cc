// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// When memory is what a request lacks, memory is made: pools, then caches, then
// models, and others' progress last.

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "estimators/text.h"
#include "policies/plan_search.h"
#include "scheduler/core.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// Whoever lost its progress this often needs more than it says, or what others
// need cannot be foreseen: computing it once more would help nobody.
constexpr int kPreemptionsMax = 16;

constexpr Duration kPreemptPause = std::chrono::seconds(1);

// Narrower chunks are slower, and caches and models are freed for wider ones:
// 8.8% from 2048 to 1024 tokens (omlx #3381), and below 1024 fused kernels of
// recent devices stop (mlx #4505).
constexpr Tokens kWideEnough = 1024;

constexpr std::string_view kPool = "pool";
constexpr std::string_view kPreempt = "preempt";

}  // namespace

bool Core::MakeRoom(Request& request, const ChunkPolicy::Choice& choice) {
  if (memory_.reclaiming()) return true;
  const Bytes pool = memory_.Reclaimable(kPool);
  if (pool > 0 && NextChunk(request, pool).n > choice.n) {
    AskToReclaim(kPool, pool);
    return true;
  }
  if (choice.n > 0) return false;
  return ReclaimFor(
      [&](Bytes freed) { return NextChunk(request, freed).n > 0; });
}

void Core::AskToReclaim(std::string_view kind, Bytes bytes) {
  actions_->push_back(memory_.Ask(kind, bytes, now_));
  ++stats_.reclaims;
}

bool Core::ReclaimFor(const std::function<bool(Bytes freed)>& enough) {
  if (memory_.reclaiming()) return true;
  const Bytes all = memory_.Reclaimable();
  if (all == 0 || !enough(all)) return false;
  const std::string* rung = memory_.NextRung();
  TG_CHECK(rung != nullptr);
  Bytes bytes = memory_.Reclaimable(*rung);
  if (*rung != kPool && enough(bytes)) {
    // No more than is needed: what stays need not be rebuilt.
    Bytes too_few = 0;
    while (bytes - too_few > 1) {
      const Bytes middle = too_few + (bytes - too_few) / 2;
      (enough(middle) ? bytes : too_few) = middle;
    }
  }
  AskToReclaim(*rung, bytes);
  return true;
}

// All but the last, which is as long as what is left.
bool Core::WideEnough(const std::vector<PlannedChunk>& chunks) const {
  const Tokens wide = std::min(limits_.max, kWideEnough);
  for (std::size_t i = 0; i + 1 < chunks.size(); ++i) {
    if (chunks[i].n < wide) return false;
  }
  return true;
}

// No chunk fits now, though the remainder fits an idle device.
Core::Attempt Core::Stuck(Request& request) {
  if (policies_.admission->TakesTurns() && table_.decoding() > 0 &&
      Live() <= memory_.line()) {
    return Attempt::kBlocked;
  }
  if (!request.stuck_since.has_value()) request.stuck_since = now_;
  if (memory_.reclaiming() || memory_.unconfirmed() > 0) {
    return Attempt::kBlocked;
  }
  const Instant preempt = *request.stuck_since + policies_.pressure->Patience();
  const Instant give_up = *request.stuck_since + kShortagePatience;
  if (preempt > now_) {
    WakeNoLaterThan(preempt);
    return Attempt::kBlocked;
  }
  if (PreemptFor(&request)) return Attempt::kDone;
  if (give_up > now_ || table_.decoding() > 0 || memory_.releasing() > 0) {
    if (give_up > now_) WakeNoLaterThan(give_up);
    return Attempt::kBlocked;
  }
  MemoryLimits limits = memory_.Limits(ledger_.resident());
  limits.base =
      SatAdd(limits.base, ledger_.claimed() - ledger_.ClaimOf(request.id));
  // Of a sequence that is allocated already nothing grows: see
  // GiveUpIfDoomed().
  const absl::StatusOr<Plan> plan =
      PlanPrompt(Prices(), RemainderOf(request.view), limits, limits_,
                 {.want_largest_prompt = !Prices().KvPreallocated()});
  TG_CHECK(plan.ok());
  RejectNow(request, RefusalCode::kOverloaded, plan->reason, &*plan);
  return Attempt::kDone;
}

void Core::CoverDecoding() {
  const Bytes pool = memory_.Reclaimable(kPool);
  if (pool == 0 || memory_.reclaiming()) return;
  Bytes promised = 0;
  for (const Request* request : table_.admitted()) {
    if (request->state != RequestState::kDecoding) continue;
    promised = SatAdd(promised, ledger_.ClaimOf(request->id));
  }
  if (SatAdd(Live(), promised) <= memory_.line()) return;
  AskToReclaim(kPool, pool);
}

bool Core::PreemptFor(const Request* request) {
  if (std::find(options_.ladder.begin(), options_.ladder.end(), kPreempt) ==
      options_.ladder.end()) {
    return false;
  }
  Request* victim = nullptr;
  for (Request* other : table_.admitted()) {
    if (other == request || other->cancel_pending || other->in_step != 0) {
      continue;
    }
    const Bytes freed =
        SatAdd(ledger_.ResidentOf(other->id), ledger_.ClaimOf(other->id));
    const Bytes blocks = pool_.has_value()
                             ? SatAdd(pool_->ledger.ResidentOf(other->id),
                                      pool_->ledger.ClaimOf(other->id))
                             : 0;
    if (freed == 0 && blocks == 0) continue;
    if (request == nullptr
            ? other->state != RequestState::kDecoding
            : NextChunk(*request, freed, /*steps_ended=*/false, blocks).n ==
                  0) {
      continue;
    }
    if (victim == nullptr ||
        policies_.pressure->PreemptBefore(other->view, victim->view)) {
      victim = other;
    }
  }
  if (victim == nullptr) return false;
  // Decode tokens of the step being formed may be its own: they join anew.
  TG_CHECK(forming_.chunks.empty());
  forming_ = {};
  if (victim->preempted >= kPreemptionsMax) {
    RejectNow(*victim, RefusalCode::kOverloaded,
              Concat("preempted ", victim->preempted,
                     " times, and memory is short again"),
              nullptr);
    return true;
  }
  actions_->push_back(Preempt{victim->id});
  ++stats_.preemptions;
  const Bytes held = ledger_.Release(victim->id);
  if (pool_.has_value()) pool_->ledger.Release(victim->id);
  if (has_readings_) memory_.Free(held, now_);
  ++relief_;
  table_.Move(*victim, RequestState::kWaiting);
  // What it gives up is for others: it does not take it back at once.
  victim->not_before = now_ + kPreemptPause;
  ++victim->preempted;
  Refresh(*victim, [](Request& r) {
    r.done = r.request.cached_tokens;
    r.last_chunk = r.request.cached_chunk;
    r.decoded = 0;
    r.encoded = 0;
    r.stuck_since.reset();
    r.fits_in_room.reset();
  });
  return true;
}

// The ceiling fell, or admitted requests outgrew what they were promised. Those
// that decode go on growing; prompts stand still, and wait as Stuck() says.
bool Core::Relieve(Bytes over) {
  if (over <= 0 || table_.decoding() == 0) {
    overloaded_since_.reset();
    return false;
  }
  if (!overloaded_since_.has_value()) overloaded_since_ = now_;
  if (ReclaimFor([&](Bytes freed) { return freed >= over; })) return false;
  if (memory_.unconfirmed() > 0) return false;
  const Instant preempt = *overloaded_since_ + policies_.pressure->Patience();
  if (preempt > now_) {
    WakeNoLaterThan(preempt);
    return false;
  }
  return PreemptFor(nullptr);
}

bool Core::GiveUpDecoding(const Step& step) {
  if (memory_.reclaiming() || memory_.unconfirmed() > 0) return false;
  TG_CHECK(overloaded_since_.has_value());
  const Instant give_up = *overloaded_since_ + kShortagePatience;
  if (give_up > now_) {
    WakeNoLaterThan(give_up);
    return false;
  }
  if (!running_.empty()) return false;
  Request& request = *table_.Find(step.decodes.front());
  const MemoryLimits limits = memory_.Limits(ledger_.resident());
  Plan plan;
  plan.arithmetic = {.live = limits.base,
                     .claims = 0,
                     .resident = step.price.resident_bytes,
                     .transient = step.price.transient_bytes,
                     .ceiling = limits.ceiling,
                     .headroom = limits.headroom,
                     .n = 1,
                     .kv_len = step.decode_kv_len};
  overloaded_since_.reset();
  RejectNow(request, RefusalCode::kOverloaded,
            Concat("no room for another token: ", Describe(plan.arithmetic)),
            &plan);
  return true;
}

}  // namespace tidegate::internal
