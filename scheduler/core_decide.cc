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
#include "policies/full_claim.h"
#include "scheduler/core.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// Others lose their progress only after a shortage has lasted this long: most
// end by themselves.
constexpr Duration kPreemptAfter = std::chrono::seconds(5);

constexpr std::string_view kPool = "pool";
constexpr std::string_view kPreempt = "preempt";

bool Contains(const std::vector<RequestId>& ids, RequestId id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

Core::Core(SchedulerOptions options, Policies policies)
    : options_(std::move(options)),
      policies_(std::move(policies)),
      limits_(policies_.chunk->Reachable(options_.chunk)),
      corrected_(*options_.estimator, calibrator_),
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
  std::vector<RequestId> skipped;
  bool admitted_only = false;
  while (!running_.has_value()) {
    const RequestView* pick = Pick(skipped, admitted_only);
    if (pick == nullptr) break;
    const RequestView view = *pick;
    Request& request = *table_.Find(view.id);
    const Attempt attempt = request.state == RequestState::kWaiting
                                ? TryStart(request)
                                : TryRun(request);
    if (attempt == Attempt::kDone) continue;
    skipped.push_back(view.id);
    // Admitting others would take what this one waits for.
    if (!policies_.order->MayPass(view, Context())) admitted_only = true;
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

const RequestView* Core::Pick(const std::vector<RequestId>& skipped,
                              bool admitted_only) {
  std::span<const RequestView> queue = table_.queue();
  std::vector<RequestView> rest;
  if (!skipped.empty()) {
    for (const RequestView& view : queue) {
      if (Contains(skipped, view.id) || (admitted_only && !view.admitted)) {
        continue;
      }
      rest.push_back(view);
    }
    queue = rest;
  }
  if (queue.empty()) return nullptr;
  const std::size_t first = policies_.order->First(queue, Context());
  TG_CHECK(first < queue.size());
  const RequestId id = queue[first].id;
  const auto all = table_.queue();
  return &*std::find_if(all.begin(), all.end(),
                        [id](const RequestView& v) { return v.id == id; });
}

MemoryView Core::ViewFor(const Request& request, Bytes freed) const {
  const bool waiting = request.state == RequestState::kWaiting;
  const Bytes prefix = waiting ? request.prefix_bytes : 0;
  MemoryView view{.limits = memory_.Limits(ledger_.resident())};
  view.limits.base =
      std::max<Bytes>(0, SatAdd(view.limits.base, prefix) - freed);
  view.claimed = ledger_.claimed() - ledger_.ClaimOf(request.id);
  // Its own bytes stay, everybody else's go.
  view.idle_base =
      std::max<Bytes>(0, memory_.line() - memory_.IdleRoom() + prefix +
                             ledger_.ResidentOf(request.id));
  return view;
}

ChunkLimits Core::LimitsFor(const Request& request) const {
  ChunkLimits limits = limits_;
  if (request.width_cap > 0) {
    limits.max = std::min(limits.max, request.width_cap);
  }
  return limits;
}

std::vector<RequestView> Core::Prefilling() const {
  std::vector<RequestView> prefilling;
  for (const RequestView& view : table_.queue()) {
    if (view.admitted) prefilling.push_back(view);
  }
  return prefilling;
}

ChunkPolicy::Choice Core::NextChunk(const Request& request, Bytes freed) const {
  const RequestView view = request.View(ledger_.ClaimOf(request.id));
  const MemoryView memory = ViewFor(request, freed);
  const ChunkLimits limits = LimitsFor(request);
  ChunkPolicy::Choice choice = policies_.chunk->Next({.estimator = Prices(),
                                                      .request = view,
                                                      .memory = memory,
                                                      .limits = limits});
  // A policy may be wrong about what fits; the ceiling is not its to break.
  const Bytes room =
      memory.limits.ceiling - memory.limits.headroom - memory.limits.base;
  if (choice.n > 0 && SatAdd(choice.price.transient_bytes,
                             choice.price.resident_bytes) > room) {
    choice.n = 0;
  }
  return choice;
}

Core::Attempt Core::TryStart(Request& request) {
  if (request.not_before > now_) {
    WakeNoLaterThan(request.not_before);
    return Attempt::kBlocked;
  }
  const RequestView view = request.View(0);
  const std::vector<RequestView> prefilling = Prefilling();
  const auto ask = [&](Bytes freed) {
    const MemoryView memory = ViewFor(request, freed);
    return policies_.admission->Decide({.estimator = Prices(),
                                        .request = view,
                                        .memory = memory,
                                        .limits = limits_,
                                        .prefilling = prefilling});
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
      // Freed only where it lets the request start: otherwise others hold what
      // it needs, and nothing is gained by dropping caches.
      ReclaimFor([&](Bytes freed) {
        const auto after = ask(freed);
        return after.ok() && after->verdict == Verdict::kAdmit;
      });
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
  table_.Refresh(request, claim);
  ++stats_.admitted;
  actions_->push_back(Admit{request.id, answer->claim});
  return Attempt::kDone;
}

Core::Attempt Core::TryRun(Request& request) {
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
  StartStep(request, choice);
  return Attempt::kDone;
}

bool Core::MakeRoom(Request& request, const ChunkPolicy::Choice& choice) {
  if (memory_.reclaiming()) return true;
  const Bytes pool = memory_.Reclaimable(kPool);
  if (pool > 0 && NextChunk(request, pool).n > choice.n) {
    actions_->push_back(memory_.Ask(kPool, pool, now_));
    ++stats_.reclaims;
    return true;
  }
  if (choice.n > 0) return false;
  return ReclaimFor(
      [&](Bytes freed) { return NextChunk(request, freed).n > 0; });
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
  actions_->push_back(memory_.Ask(*rung, bytes, now_));
  ++stats_.reclaims;
  return true;
}

bool Core::GiveUpIfDoomed(Request& request) {
  const bool waiting = request.state == RequestState::kWaiting;
  const PlanRequest remainder =
      waiting ? request.request
              : RemainderOf(request.View(ledger_.ClaimOf(request.id)));
  MemoryLimits idle = memory_.Limits(ledger_.resident());
  idle.base = ViewFor(request).idle_base;
  absl::StatusOr<Plan> plan = PlanPrompt(Prices(), remainder, idle, limits_,
                                         {.want_largest_prompt = false});
  TG_CHECK(plan.ok());
  if (plan->verdict != Verdict::kReject) {
    request.doomed_since.reset();
    return false;
  }
  const auto fits_with = [&](Bytes room) {
    if (room <= memory_.IdleRoom()) return false;
    MemoryLimits better = idle;
    better.base = std::max<Bytes>(0, idle.base - (room - memory_.IdleRoom()));
    const absl::StatusOr<Plan> then = PlanPrompt(
        Prices(), remainder, better, limits_, {.want_largest_prompt = false});
    return then.ok() && then->verdict == Verdict::kAdmit;
  };
  // Bytes that seem to be nobody's may be others' after all: when they have
  // ended, more is known.
  const std::int64_t others =
      table_.prefilling() + table_.decoding() - (waiting ? 0 : 1);
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
  plan = PlanPrompt(Prices(), remainder, idle, limits_);
  TG_CHECK(plan.ok());
  RejectNow(request, plan->code, plan->reason, &*plan);
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
  if (PreemptFor(request)) return Attempt::kDone;
  if (give_up > now_ || table_.decoding() > 0 || memory_.releasing() > 0) {
    if (give_up > now_) WakeNoLaterThan(give_up);
    return Attempt::kBlocked;
  }
  MemoryLimits limits = memory_.Limits(ledger_.resident());
  limits.base =
      SatAdd(limits.base, ledger_.claimed() - ledger_.ClaimOf(request.id));
  const absl::StatusOr<Plan> plan =
      PlanPrompt(Prices(), RemainderOf(request.View(0)), limits, limits_);
  TG_CHECK(plan.ok());
  RejectNow(request, RefusalCode::kOverloaded, plan->reason, &*plan);
  return Attempt::kDone;
}

// Whose progress is lost least: by what would have to be computed again.
bool Core::PreemptFor(Request& request) {
  if (std::find(options_.ladder.begin(), options_.ladder.end(), kPreempt) ==
      options_.ladder.end()) {
    return false;
  }
  Request* victim = nullptr;
  Tokens least_lost = 0;
  for (const Request* other : table_.Admitted()) {
    if (other == &request || other->cancel_pending) continue;
    const Bytes freed =
        SatAdd(ledger_.ResidentOf(other->id), ledger_.ClaimOf(other->id));
    if (freed == 0 || NextChunk(request, freed).n == 0) continue;
    const Tokens lost =
        other->done - other->request.cached_tokens + other->decoded;
    if (victim == nullptr || lost < least_lost) {
      victim = table_.Find(other->id);
      least_lost = lost;
    }
  }
  if (victim == nullptr) return false;
  actions_->push_back(Preempt{victim->id});
  ++stats_.preemptions;
  const Bytes held = ledger_.Release(victim->id);
  if (has_readings_) memory_.Free(held, now_);
  table_.Move(*victim, RequestState::kWaiting);
  victim->done = victim->request.cached_tokens;
  victim->last_chunk = victim->request.cached_chunk;
  victim->decoded = 0;
  victim->stuck_since.reset();
  table_.Refresh(*victim, 0);
  return true;
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
                         .price = choice.price,
                         .mask = request.request.mask,
                         .live_before = live,
                         .lasting_before = live - memory_.Reclaimable(),
                         .resident_before = ledger_.resident()};
  actions_->push_back(std::move(run));
}

void Core::WakeNoLaterThan(Instant when) {
  if (!wake_.has_value() || when < *wake_) wake_ = when;
}

}  // namespace tidegate::internal
