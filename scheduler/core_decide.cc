// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What happens next. The order policy names a request; it is admitted or runs a
// chunk, or it is passed over in this decision and the next one is asked. When
// memory is what it lacks, memory is made: pools, then caches, then models, and
// others' progress last. Everything that waits for time to pass leaves a wake.

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

// Others lose their progress only after a shortage has lasted this long: most
// end by themselves.
constexpr Duration kPreemptAfter = std::chrono::seconds(5);

constexpr Duration kPreemptPause = std::chrono::seconds(1);

// Share of the maximum that the first chunk at an assumed price has.
constexpr Tokens kRampStart = 4;

// Narrower chunks are slower, and caches and models are freed for wider ones:
// 8.8% from 2048 to 1024 tokens (omlx #3381), and below 1024 fused kernels of
// recent devices stop (mlx #4505).
constexpr Tokens kWideEnough = 1024;

constexpr std::string_view kPool = "pool";
constexpr std::string_view kPreempt = "preempt";

// How many that cannot start are passed over in one decision: each costs a
// plan, and further down the queue the order loses its meaning.
constexpr int kPassedMax = 8;

}  // namespace

Core::Core(SchedulerOptions options, Policies policies)
    : options_(std::move(options)),
      policies_(std::move(policies)),
      limits_(policies_.chunk->Reachable(options_.chunk)),
      corrected_(*options_.estimator, calibrator_),
      table_(*policies_.order),
      memory_(options_.memory, options_.ladder) {}

SchedulerStats Core::Stats() const {
  SchedulerStats stats = stats_;
  stats.waiting = table_.waiting();
  stats.claimed_bytes = ledger_.claimed();
  stats.resident_bytes = ledger_.resident();
  return stats;
}

void Core::Decide() {
  wake_.reset();
  memory_.Expire(now_);
  calibrator_.Expire(now_);
  if (!running_.has_value()) RelieveOverload();
  Serve(/*safely=*/true);
  // Memory that others took may have left no safe order. Somebody goes on all
  // the same, and what is missing then is made.
  if (!running_.has_value() && table_.decoding() == 0 &&
      !memory_.reclaiming() && !wake_.has_value()) {
    Serve(/*safely=*/false);
  }
  if (const std::optional<Instant> due = memory_.NextExpiry()) {
    WakeNoLaterThan(*due);
  }
  // An idle device always has something to do or something to wait for.
  TG_CHECK(running_.has_value() || table_.empty() || table_.decoding() > 0 ||
           memory_.reclaiming() || memory_.releasing() > 0 ||
           wake_.has_value());
  if (wake_.has_value()) actions_->push_back(WakeAt{*wake_});
}

void Core::Serve(bool safely) {
  std::vector<RequestId> skipped;
  bool admitted_only = false;
  int blocked = 0;
  while (!running_.has_value()) {
    Request* request = table_.First(Context(), skipped, admitted_only);
    if (request == nullptr) break;
    const bool waiting = request->state == RequestState::kWaiting;
    const RequestView view = request->view;
    const std::size_t admitted = table_.admitted().size();
    const Attempt attempt =
        waiting ? TryStart(*request) : TryRun(*request, safely);
    if (attempt == Attempt::kDone) {
      // Who was passed over may have waited for the one that was given up.
      if (table_.admitted().size() < admitted) {
        skipped.clear();
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
  const bool waiting = request.state == RequestState::kWaiting;
  const Bytes prefix = waiting ? request.prefix_bytes : 0;
  MemoryView view{.limits = memory_.Limits(ledger_.resident())};
  view.limits.base =
      std::max<Bytes>(0, SatAdd(view.limits.base, prefix) - freed);
  view.claimed = ledger_.claimed() - ledger_.ClaimOf(request.id);
  // Its own bytes stay, everybody else's go.
  view.idle_base = SatAdd(memory_.line() - memory_.IdleRoom(), prefix,
                          ledger_.ResidentOf(request.id));
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

std::vector<RequestView> Core::AdmittedViews() {
  std::vector<RequestView> views;
  for (const Request* request : table_.admitted()) {
    views.push_back(request->view);
  }
  return views;
}

void Core::Refresh(Request& request,
                   const std::function<void(Request&)>& change) {
  table_.Update(request, ledger_.ClaimOf(request.id),
                ledger_.ResidentOf(request.id), change);
}

ChunkPolicy::Choice Core::NextChunk(const Request& request, Bytes freed) const {
  const RequestView& view = request.view;
  const MemoryView memory = ViewFor(request, freed);
  const ChunkLimits limits = LimitsFor(request);
  ChunkPolicy::Choice choice = policies_.chunk->Next(
      {.estimator = Prices(),
       .request = view,
       .memory = memory,
       .limits = limits,
       .time = times_.model().has_value() ? &*times_.model() : nullptr,
       .decode_stall =
           table_.decoding() > 0 ? options_.decode_stall : Duration::zero(),
       .step_target = options_.decode_stall});
  // A policy may be wrong about what fits; the ceiling is not its to break.
  if (choice.n > 0 &&
      SatAdd(choice.price.transient_bytes, choice.price.resident_bytes) >
          memory.limits.Room()) {
    choice.n = 0;
  }
  return choice;
}

Core::Attempt Core::TryStart(Request& request) {
  if (request.not_before > now_) {
    WakeNoLaterThan(request.not_before);
    return Attempt::kBlocked;
  }
  const MemoryView now = ViewFor(request);
  const Bytes room = now.limits.Room() - now.claimed;
  if (request.blocked_room.has_value() && room <= *request.blocked_room &&
      request.blocked_epoch == relief_ && memory_.Reclaimable() == 0 &&
      memory_.IdleRoom() >= request.blocked_idle_room) {
    return Attempt::kBlocked;
  }
  const RequestView& view = request.view;
  const std::vector<RequestView> admitted = AdmittedViews();
  const auto ask = [&](Bytes freed) {
    const MemoryView memory = ViewFor(request, freed);
    return policies_.admission->Decide(
        AdmissionQuestion(view, memory, admitted));
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
      request.doomed_since.reset();
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
  request.doomed_since.reset();
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
  ledger_.Open(request.id, claim, resident);
  table_.Move(request, RequestState::kPrefill);
  Refresh(request);
  ++stats_.admitted;
  actions_->push_back(Admit{request.id, answer->claim});
  return Attempt::kDone;
}

Core::Attempt Core::TryRun(Request& request, bool safely) {
  if (request.not_before > now_) {
    WakeNoLaterThan(request.not_before);
    return Attempt::kBlocked;
  }
  if (GiveUpIfDoomed(request)) return Attempt::kDone;
  const ChunkPolicy::Choice choice = NextChunk(request, 0);
  // The pool costs nothing to rebuild: it is emptied before a chunk is
  // narrowed, everything else only where no chunk fits.
  const bool narrowed = choice.n == 0 || choice.bound == Bound::kMemory ||
                        choice.bound == Bound::kPlan;
  if (narrowed && MakeRoom(request, choice)) return Attempt::kBlocked;
  if (choice.n == 0) return Stuck(request);
  const MemoryView memory = ViewFor(request);
  const std::vector<RequestView> admitted = AdmittedViews();
  if (safely && !policies_.admission->MayGrow(
                    AdmissionQuestion(request.view, memory, admitted), choice.n,
                    choice.price.resident_bytes)) {
    // Somebody else can finish first, and is asked next.
    return Attempt::kBlocked;
  }
  StartStep(request, choice);
  return Attempt::kDone;
}

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
                        : RemainderOf(request.view),
                    idle, limits_, options);
}

bool Core::GiveUpIfDoomed(Request& request) {
  if (request.fits_in_room.has_value() &&
      memory_.IdleRoom() >= *request.fits_in_room &&
      PricesVersion() == request.fits_at_prices) {
    request.doomed_since.reset();
    return false;
  }
  // While memory is being freed, what can be freed and what is live come apart.
  if (memory_.reclaiming()) return false;
  absl::StatusOr<Plan> plan =
      PlanWhenIdle(request, memory_.IdleRoom(), kVerdictOnly);
  TG_CHECK(plan.ok());
  if (plan->verdict != Verdict::kReject) {
    request.doomed_since.reset();
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
    if (!request.doomed_since.has_value()) request.doomed_since = now_;
    const Instant until = *request.doomed_since + kShortagePatience;
    if (until > now_) {
      WakeNoLaterThan(until);
      return false;
    }
  }
  plan = PlanWhenIdle(request, memory_.IdleRoom(), {});
  TG_CHECK(plan.ok());
  RejectNow(request, plan->code, plan->reason, &*plan);
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
  if (!request.stuck_since.has_value()) request.stuck_since = now_;
  if (memory_.reclaiming() || memory_.unconfirmed() > 0) {
    return Attempt::kBlocked;
  }
  const Instant preempt = *request.stuck_since + kPreemptAfter;
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
  const absl::StatusOr<Plan> plan =
      PlanPrompt(Prices(), RemainderOf(request.view), limits, limits_);
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

// Whose progress is lost least: by what would have to be computed again.
bool Core::PreemptFor(const Request* request) {
  if (std::find(options_.ladder.begin(), options_.ladder.end(), kPreempt) ==
      options_.ladder.end()) {
    return false;
  }
  Request* victim = nullptr;
  // Nobody twice while others were spared, and then by what is lost.
  std::pair<int, Tokens> least;
  for (Request* other : table_.admitted()) {
    if (other == request || other->cancel_pending) continue;
    const Bytes freed =
        SatAdd(ledger_.ResidentOf(other->id), ledger_.ClaimOf(other->id));
    if (freed == 0) continue;
    if (request == nullptr ? other->state != RequestState::kDecoding
                           : NextChunk(*request, freed).n == 0) {
      continue;
    }
    const std::pair<int, Tokens> cost = {
        other->preempted,
        other->done - other->request.cached_tokens + other->decoded};
    if (victim == nullptr || cost < least) {
      victim = other;
      least = cost;
    }
  }
  if (victim == nullptr) return false;
  actions_->push_back(Preempt{victim->id});
  ++stats_.preemptions;
  const Bytes held = ledger_.Release(victim->id);
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
    r.stuck_since.reset();
    r.fits_in_room.reset();
  });
  return true;
}

// The ceiling fell, or admitted requests outgrew what they were promised. Those
// that decode go on growing; prompts stand still, and wait as Stuck() says.
void Core::RelieveOverload() {
  const Bytes over = Live() - memory_.line();
  if (over <= 0 || table_.decoding() == 0) {
    overloaded_since_.reset();
    return;
  }
  if (!overloaded_since_.has_value()) overloaded_since_ = now_;
  if (ReclaimFor([&](Bytes freed) { return freed >= over; })) return;
  if (memory_.unconfirmed() > 0) return;
  const Instant preempt = *overloaded_since_ + kPreemptAfter;
  if (preempt > now_) {
    WakeNoLaterThan(preempt);
    return;
  }
  PreemptFor(nullptr);
}

void Core::StartStep(Request& request, const ChunkPolicy::Choice& choice) {
  const Tokens start =
      std::min(request.done, request.request.prompt_tokens - 1);
  const Bytes live = Live();
  RunStep run{.step = ++last_step_,
              .price = choice.price,
              .room_bytes = memory_.line() - live};
  run.chunks.push_back({.id = request.id,
                        .start = start,
                        .n = choice.n,
                        .kv_len = start + choice.n,
                        .bound = choice.bound});
  TG_CHECK(choice.n > 0 && start + choice.n <= request.request.prompt_tokens);
  TG_CHECK(SatAdd(run.price.transient_bytes, run.price.resident_bytes) <=
           run.room_bytes);
  running_ = RunningStep{.id = run.step,
                         .request = request.id,
                         .start = start,
                         .n = choice.n,
                         .mask = request.request.mask,
                         .price = choice.price,
                         .live_before = live,
                         .lasting_before = live - memory_.Reclaimable(),
                         .resident_before = ledger_.resident()};
  actions_->push_back(std::move(run));
}

void Core::WakeNoLaterThan(Instant when) {
  if (!wake_.has_value() || when < *wake_) wake_ = when;
}

}  // namespace tidegate::internal
