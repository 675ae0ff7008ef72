// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What happens next. The order policy names a request; it is admitted or its
// next chunk joins the step, or it is passed over in this decision and the next
// one is asked. Everything that waits for time to pass leaves a wake.

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

// Share of the maximum that the first chunk at an assumed price has.
constexpr Tokens kRampStart = 4;

// How many that cannot start are passed over in one decision: each costs a
// plan, and further down the queue the order loses its meaning.
constexpr int kPassedMax = 8;

}  // namespace

Core::Core(SchedulerOptions options, Policies policies)
    : options_(std::move(options)),
      policies_(std::move(policies)),
      limits_(policies_.chunk->Reachable(options_.chunk)),
      table_(*policies_.order),
      memory_(options_.memory, options_.ranks, options_.ladder) {
  UsePool();
  corrected_.emplace(*options_.estimator, calibrator_);
  memory_.SetLag(options_.reading_lag);
  if (options_.kv_pool.blocks > 0) pool_.emplace(options_.kv_pool);
}

SchedulerStats Core::Stats() const {
  SchedulerStats stats = stats_;
  stats.waiting = table_.waiting();
  stats.claimed_bytes = ledger_.claimed();
  stats.resident_bytes = ledger_.resident();
  MemoryClasses& memory = stats.memory;
  memory.live = Live();
  memory.side = ledger_.side();
  memory.kv = ledger_.resident() - memory.side;
  memory.reclaimable = memory_.Reclaimable();
  memory.pending_release = SatAdd(memory_.unconfirmed(), memory_.releasing());
  memory.other = memory.live - memory.kv - memory.side - memory.reclaimable -
                 memory.pending_release;
  memory.claims = ledger_.claimed();
  memory.in_flight = ledger_.in_flight();
  memory.line = memory_.line();
  stats.kv_blocks = PoolStats();
  return stats;
}

void Core::Decide() {
  wake_.reset();
  memory_.Expire(now_);
  calibrator_.Expire(now_);
  const auto free_slot = [this] {
    return std::ssize(running_) < options_.step.in_flight;
  };
  if (table_.decoding() == 0) decode_short_ = 0;
  if (free_slot() && pool_.has_value()) RelievePool();
  if (free_slot()) Relieve(std::max(Live() - memory_.line(), decode_short_));
  while (free_slot() && RunNext()) {
  }
  if (const std::optional<Instant> due = memory_.NextExpiry()) {
    WakeNoLaterThan(*due);
  }
  if (!SomethingComes()) GiveUpIdle();
  // An idle device always has something to do or something to wait for.
  TG_CHECK(SomethingComes());
  if (wake_.has_value()) actions_->push_back(WakeAt{*wake_});
}

bool Core::SomethingComes() const {
  const bool engine_decodes =
      !options_.step.DecodesInSteps() && table_.decoding() > 0;
  return !running_.empty() || table_.empty() || engine_decodes ||
         memory_.reclaiming() || memory_.releasing() > 0 || wake_.has_value();
}

// Only policies that are not built in leave an idle device with nothing to wait
// for: they say no to everybody, and nothing would ever ask them again.
void Core::GiveUpIdle() {
  if (!idle_since_.has_value() || idle_relief_ != relief_) {
    idle_since_ = now_;
    idle_relief_ = relief_;
  }
  const Instant give_up = *idle_since_ + kShortagePatience;
  if (give_up > now_) return WakeNoLaterThan(give_up);
  idle_since_.reset();
  Request* request = table_.First(Context(), {}, /*admitted_only=*/false);
  if (request == nullptr && !table_.admitted().empty()) {
    request = table_.admitted().front();
  }
  TG_CHECK(request != nullptr);
  RejectNow(*request, RefusalCode::kOverloaded,
            request->blocked_blocks.has_value()
                ? Concat("the KV pool has ", Grouped(*request->blocked_blocks),
                         " blocks left, too few for it, and nobody here holds "
                         "the others")
                : std::string("its policies let it wait on an idle device "
                              "until nothing was left to wait for"),
            nullptr);
  if (!SomethingComes()) WakeNoLaterThan(now_ + Duration(1));
}

void Core::Serve(bool safely) {
  std::vector<RequestId> skipped;
  if (Mixes()) {
    for (const Request* request : table_.prefilling()) {
      if (request->failures > 0) skipped.push_back(request->id);
    }
  }
  const std::vector<RequestId> suspects = skipped;
  bool admitted_only = false;
  int blocked = 0;
  while (!StepFull() && !draining_) {
    Request* request = table_.First(Context(), skipped, admitted_only);
    if (request == nullptr) break;
    const bool waiting = request->state == RequestState::kWaiting;
    const RequestView view = request->View();
    const std::size_t admitted = table_.admitted().size();
    const Attempt attempt =
        waiting ? TryStart(*request) : TryRun(*request, safely);
    if (attempt == Attempt::kDone) {
      // Who was passed over may have waited for the one that was given up.
      if (table_.admitted().size() < admitted) {
        skipped = suspects;
        admitted_only = false;
        blocked = 0;
      }
      continue;
    }
    skipped.push_back(view.id);
    // Admitting others would take what this one waits for.
    if (waiting) ++blocked;
    if (blocked >= kPassedMax ||
        (waiting && !policies_.order->MayPass(view, Context()))) {
      admitted_only = true;
    }
  }
}

MemoryView Core::ViewFor(const Request& request, Bytes freed) const {
  return BudgetView(request, ledger_, memory_, &ChunkGrowth::bytes,
                    request.prefix_bytes, freed);
}

MemoryView Core::BudgetView(const Request& request, const Ledger& ledger,
                            const MemoryState& memory,
                            Bytes ChunkGrowth::*growth, Bytes prefix,
                            Bytes freed) const {
  if (request.state != RequestState::kWaiting) prefix = 0;
  MemoryView view{.limits = memory.Limits(ledger.resident())};
  view.limits.base =
      std::max<Bytes>(0, SatAdd(view.limits.base, prefix) - freed);
  view.claimed = ledger.claimed() - ledger.ClaimOf(request.id);
  // What steps add that have not ended is as good as live, and paid from the
  // claims. Decode tokens' growth is covered by theirs.
  ForEachGrowing([&](const StepChunk& chunk, const ChunkGrowth& grows) {
    view.limits.base = SatAdd(view.limits.base, grows.*growth);
    view.claimed -= std::min(grows.*growth, ledger.ClaimOf(chunk.id));
  });
  // Its own part stays, everybody else's goes.
  view.idle_base = SatAdd(memory.line() - memory.IdleRoom(), prefix,
                          ledger.ResidentOf(request.id));
  return view;
}

ChunkLimits Core::LimitsFor(const Request& request) const {
  ChunkLimits limits = limits_;
  if (request.width_cap > 0) {
    limits.max = std::min(limits.max, request.width_cap);
  }
  // A price without a proven bound is tried on narrower chunks first, where
  // their measurements are learned from.
  if (options_.calibrate && Prices().Assumed()) {
    const Tokens tried = std::max(limits_.max / kRampStart, 2 * widest_run_);
    // A chunk from a place that is no boundary must still reach the floor.
    limits.max =
        std::min(limits.max, std::max(limits.floor + limits.quantum, tried));
  }
  return limits;
}

std::int64_t Core::OutputShare(RequestId id) const {
  const Request* request = table_.Find(id);
  TG_CHECK(request != nullptr);
  return request->preempted > 0 ? 1000 : outputs_.SharePermille();
}

std::vector<RequestView> Core::AdmittedViews() {
  std::vector<RequestView> views;
  for (const Request* request : table_.admitted()) {
    if (Shown(*request)) views.push_back(request->View());
  }
  AddGrowing(&ChunkGrowth::bytes, &views);
  return views;
}

void Core::AddGrowing(Bytes ChunkGrowth::*growth,
                      std::vector<RequestView>* views) const {
  ForEachGrowing([&](const StepChunk& chunk, const ChunkGrowth& grows) {
    const auto view =
        std::find_if(views->begin(), views->end(),
                     [&](const RequestView& v) { return v.id == chunk.id; });
    TG_CHECK(view != views->end());
    view->done = chunk.kv_len;
    view->last_chunk = chunk.n;
    view->encoded = OutputAt(*view->request, chunk.kv_len);
    view->held = SatAdd(view->held, grows.*growth);
    view->claim -= std::min(grows.*growth, view->claim);
  });
}

Core::Attempt Core::TryStart(Request& request) {
  if (request.not_before > now_) {
    WakeNoLaterThan(request.not_before);
    return Attempt::kBlocked;
  }
  if (options_.running_max > 0 &&
      std::ssize(table_.admitted()) >= options_.running_max) {
    return Attempt::kBlocked;
  }
  const MemoryView now = ViewFor(request);
  const Bytes room = now.limits.Room() - now.claimed;
  if (request.blocked_room.has_value() && room <= *request.blocked_room &&
      request.blocked_epoch == relief_ && memory_.Reclaimable() == 0 &&
      memory_.IdleRoom() >= request.blocked_idle_room) {
    return Attempt::kBlocked;
  }
  std::optional<Bytes> claim_blocks = 0;
  if (pool_.has_value()) claim_blocks = PoolClaim(request);
  if (!claim_blocks.has_value()) return Attempt::kBlocked;
  const RequestView view = request.View();
  const std::vector<RequestView> admitted = AdmittedViews();
  const auto ask = [&](Bytes freed) {
    const MemoryView memory = ViewFor(request, freed);
    return policies_.admission->Decide(
        AdmissionQuestion(Prices(), view, memory, admitted));
  };
  absl::StatusOr<AdmissionPolicy::Answer> answer = ask(0);
  if (!answer.ok()) {
    RejectNow(request, RefusalCode::kUnsupported,
              std::string(answer.status().message()), nullptr);
    return Attempt::kDone;
  }
  switch (answer->verdict) {
    case Verdict::kReject:
      return GiveUpIfDoomed(request) ? Attempt::kDone : Attempt::kBlocked;
    case Verdict::kWait:
      request.doomed_since = Request::kNever;
      request.blocked_room = room;
      request.blocked_idle_room = memory_.IdleRoom();
      request.blocked_epoch = relief_;
      // Freed only where it lets the request start: otherwise others hold what
      // it needs, and nothing is gained by dropping caches.
      // At once as much as it runs well with, where so much can be had.
      for (const bool wide : {true, false}) {
        const auto enough = [&](Bytes freed) {
          const auto after = ask(freed);
          return after.ok() && after->verdict == Verdict::kAdmit &&
                 (!wide || WideEnough(after->plan.chunks));
        };
        if (ReclaimFor(enough)) break;
      }
      return Attempt::kBlocked;
    case Verdict::kAdmit:
      break;
  }
  request.doomed_since = Request::kNever;
  request.promised = answer->claim > 0;
  Bytes resident = request.prefix_bytes;
  Bytes claim = answer->claim;
  if (Prices().KvPreallocated()) {
    // The sequence is allocated now; measured growth beside it comes later.
    const PlanRequest& plan = request.request;
    const Bytes later =
        std::min(claim, SatMul(plan.extra_bytes_per_token,
                               plan.prompt_tokens + plan.max_output_tokens -
                                   plan.cached_tokens));
    resident = SatAdd(resident, claim - later);
    claim = later;
  }
  // What is live from its admission on must not push out what the step holds
  // already, nor what those need that run.
  if (resident > 0 && !(forming_.empty() && running_.empty()) &&
      SatAdd(forming_.price.Need(), resident) > FreeRoom()) {
    return Attempt::kBlocked;
  }
  if (pool_.has_value() && request.prefix_blocks > 0 &&
      !(forming_.empty() && running_.empty()) &&
      request.prefix_blocks > FreeBlocks()) {
    return Attempt::kBlocked;
  }
  request.bytes = &ledger_.Open(request.id, claim, resident);
  if (pool_.has_value()) {
    request.blocks =
        &pool_->ledger.Open(request.id, *claim_blocks, request.prefix_blocks);
  }
  table_.Move(request, RequestState::kPrefill);
  ++stats_.admitted;
  actions_->push_back(Admit{request.id, answer->claim, *claim_blocks});
  return Attempt::kDone;
}

ChunkPolicy::Choice Core::FirstChunk(const Request& request) {
  ChunkPolicy::Choice choice = NextChunk(request, 0);
  if (choice.n > 0 || forming_.decodes.empty()) return choice;
  // Both do not fit into one step: they take turns.
  Step decodes = std::exchange(forming_, {});
  const ChunkPolicy::Choice alone = NextChunk(request, 0);
  if (alone.n > 0 && decoded_last_) return alone;
  forming_ = std::move(decodes);
  return choice;
}

Core::Attempt Core::TryRun(Request& request, bool safely) {
  if (request.not_before > now_) {
    WakeNoLaterThan(request.not_before);
    return Attempt::kBlocked;
  }
  if (GiveUpIfDoomed(request)) return Attempt::kDone;
  ChunkPolicy::Choice choice;
  if (forming_.chunks.empty()) {
    choice = FirstChunk(request);
    // It fits when the running steps have ended: nobody goes on before it.
    if (choice.n == 0 && !running_.empty() &&
        NextChunk(request, 0, /*steps_ended=*/true).n > 0) {
      draining_ = true;
      return Attempt::kBlocked;
    }
    // The pool costs nothing to rebuild: it is emptied before a chunk is
    // narrowed, everything else only where no chunk fits.
    const bool narrowed = choice.n == 0 || choice.bound == Bound::kMemory ||
                          choice.bound == Bound::kPlan;
    if (narrowed && MakeRoom(request, choice)) return Attempt::kBlocked;
    if (choice.n == 0) return Stuck(request);
  } else {
    // Nothing is freed for one that can as well go first in the next step.
    choice = NextChunk(request, 0);
    if (choice.n == 0) return Attempt::kBlocked;
  }
  if (safely && policies_.admission->LimitsGrowth()) {
    const MemoryView memory = ViewFor(request);
    const std::vector<RequestView> admitted = AdmittedViews();
    const RequestView asking = request.View();
    if (!policies_.admission->MayGrow(
            AdmissionQuestion(Prices(), asking, memory, admitted), choice.n,
            choice.price.resident_bytes)) {
      // Somebody else can finish first, and is asked next.
      return Attempt::kBlocked;
    }
    if (pool_.has_value()) {
      PlanRequest own;
      const RequestView view = PoolViewOf(request, &own);
      const MemoryView blocks = PoolView(request, 0);
      std::vector<PlanRequest> requests;
      const std::vector<RequestView> others = PoolViews(&requests);
      const Tokens start = request.NextStart();
      if (!policies_.admission->MayGrow(
              AdmissionQuestion(pool_->prices(), view, blocks, others),
              choice.n, pool_->Growth(request.done, start + choice.n))) {
        return Attempt::kBlocked;
      }
    }
  }
  Join(request, choice);
  return Attempt::kDone;
}

absl::StatusOr<Plan> Core::PlanWhenIdle(const Request& request, Bytes room,
                                        const PlanOptions& options) const {
  MemoryLimits idle = memory_.Limits(ledger_.resident());
  idle.base = ViewFor(request).idle_base;
  // What is live may lie as far above the line as a number goes.
  const __int128 gain = static_cast<__int128>(room) - memory_.IdleRoom();
  idle.base = gain >= idle.base ? 0 : idle.base - static_cast<Bytes>(gain);
  return PlanPrompt(Prices(),
                    request.state == RequestState::kWaiting
                        ? request.request
                        : RemainderOf(request.View()),
                    idle, limits_, options);
}

bool Core::GiveUpIfDoomed(Request& request) {
  if (request.fits_in_room >= 0 && memory_.IdleRoom() >= request.fits_in_room &&
      PricesVersion() == request.fits_at_prices) {
    request.doomed_since = Request::kNever;
    return false;
  }
  // While memory is being freed, what can be freed and what is live come apart.
  if (memory_.reclaiming()) return false;
  absl::StatusOr<Plan> plan =
      PlanWhenIdle(request, memory_.IdleRoom(), kVerdictOnly);
  TG_CHECK(plan.ok());
  if (plan->verdict != Verdict::kReject) {
    request.doomed_since = Request::kNever;
    request.fits_in_room = memory_.IdleRoom();
    request.fits_at_prices = PricesVersion();
    return false;
  }
  const auto fits_with = [&](Bytes room) {
    if (room <= memory_.IdleRoom()) return false;
    const absl::StatusOr<Plan> then = PlanWhenIdle(request, room, kVerdictOnly);
    return then.ok() && then->verdict == Verdict::kAdmit;
  };
  const bool waiting = request.state == RequestState::kWaiting;
  // Bytes that seem to be nobody's may be others' after all: when they have
  // ended, more is known.
  const std::int64_t others =
      static_cast<std::int64_t>(table_.prefilling().size()) +
      table_.decoding() - (waiting ? 0 : 1);
  if (others > 0 && fits_with(memory_.RoomWhenIdle())) return false;
  // A ceiling that dips and another program's burst pass; so the best that the
  // device offered of late counts for a while.
  if (!waiting || memory_.unconfirmed() > 0 ||
      fits_with(memory_.BestIdleRoom())) {
    if (request.doomed_since == Request::kNever) request.doomed_since = now_;
    const Instant until = request.doomed_since + kShortagePatience;
    if (until > now_) {
      WakeNoLaterThan(until);
      return false;
    }
  }
  // Of a sequence that is allocated already nothing grows: how long it could
  // have been says nothing, and costs a search up to any length.
  plan = PlanWhenIdle(
      request, memory_.IdleRoom(),
      {.want_largest_prompt = waiting || !Prices().KvPreallocated()});
  TG_CHECK(plan.ok());
  RejectNow(request, plan->code, plan->reason, &*plan);
  return true;
}

void Core::WakeNoLaterThan(Instant when) {
  if (!wake_.has_value() || when < *wake_) wake_ = when;
}

}  // namespace tidegate::internal
