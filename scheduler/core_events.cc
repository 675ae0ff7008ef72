// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What the scheduler learns. Every handler checks first and then records:
// events that are late, repeated, unknown or impossible leave no trace.

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "estimators/text.h"
#include "policies/full_claim.h"
#include "policies/plan_search.h"
#include "scheduler/core.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// Steps that fail in a row before a request is given up. With the pauses below
// they span more than the patience that a shortage is given.
constexpr int kFailuresMax = 9;
constexpr Duration kFirstPause = std::chrono::milliseconds(250);

// Live memory may differ by so much from what was expected after a step before
// its peak counts as disturbed: pages, small buffers, a decode token.
constexpr Bytes kUndisturbed = Bytes{64} << 20;

Duration PauseAfter(int failures) {
  return kFirstPause * (1 << std::min(failures - 1, 6));
}

absl::Status UnknownRequest(RequestId id) {
  return absl::NotFoundError(Concat("request ", id, " is not here"));
}

absl::Status RequireBytes(std::string_view name, Bytes bytes) {
  if (bytes >= 0) return absl::OkStatus();
  return InvalidArgument(name, ": expected at least 0, got ", bytes);
}

}  // namespace

absl::Status Core::Handle(const Event& event, Instant now,
                          std::vector<Action>* actions) {
  TG_CHECK(actions_ == nullptr);  // Not from within itself.
  if (now < now_) {
    return InvalidArgument("now: expected no moment before the last event's");
  }
  const Instant before = now_;
  now_ = now;
  actions_ = actions;
  const absl::Status status =
      std::visit([this](const auto& e) { return On(e); }, event);
  if (status.ok()) {
    // What can be reclaimed may be told before the reading that counts it:
    // until then it would look like room that the device never had.
    if (!std::holds_alternative<Reclaimable>(event)) {
      memory_.NoteRoom(now, ledger_.empty() && memory_.unconfirmed() == 0);
    }
    Decide();
    TG_DCHECK(ledger_.Conserved());
    TG_CHECK(!table_.empty() || (ledger_.empty() && ledger_.claimed() == 0 &&
                                 ledger_.resident() == 0));
  } else {
    now_ = before;
  }
  actions_ = nullptr;
  return status;
}

absl::Status Core::On(const Arrive& event) {
  if (table_.Find(event.id) != nullptr) {
    return absl::AlreadyExistsError(
        Concat("request ", event.id, " is here already"));
  }
  TG_RETURN_IF_ERROR(RequireBytes("prefix_bytes", event.prefix_bytes));
  ++stats_.arrived;
  if (options_.queue_max > 0 && table_.waiting() >= options_.queue_max) {
    ++stats_.rejected;
    actions_->push_back(
        Reject{.id = event.id,
               .code = RefusalCode::kOverloaded,
               .reason = Concat("the queue is full: ", table_.waiting(),
                                " requests wait and admission.queue_max is ",
                                options_.queue_max)});
    return absl::OkStatus();
  }
  Request& request = table_.Add(event, now_, served_);
  request.request.extra_bytes_per_token = growth_.ExtraPerToken();
  // What contradicts itself, and what no idle device could run, is answered
  // now and not when its turn comes.
  const absl::StatusOr<Plan> plan =
      PlanWhenIdle(request, memory_.IdleRoom(), kVerdictOnly);
  if (!plan.ok()) {
    RejectNow(request, RefusalCode::kUnsupported,
              std::string(plan.status().message()), nullptr);
  } else if (plan->verdict == Verdict::kReject) {
    GiveUpIfDoomed(request);
  }
  return absl::OkStatus();
}

absl::Status Core::On(const PrefixChanged& event) {
  Request* request = table_.Find(event.id);
  if (request == nullptr) return UnknownRequest(event.id);
  if (request->state != RequestState::kWaiting) {
    return absl::FailedPreconditionError(
        Concat("request ", event.id, " was admitted: its prefix is pinned"));
  }
  if (event.cached_tokens < 0 ||
      event.cached_tokens > request->request.prompt_tokens) {
    return InvalidArgument("cached_tokens: expected 0 to ",
                           request->request.prompt_tokens, ", got ",
                           event.cached_tokens);
  }
  TG_RETURN_IF_ERROR(RequireBytes("prefix_bytes", event.prefix_bytes));
  Refresh(*request, [&](Request& r) {
    r.request.cached_tokens = event.cached_tokens;
    r.request.cached_chunk = 1;
    r.done = event.cached_tokens;
    r.last_chunk = 1;
    r.prefix_bytes = event.prefix_bytes;
    r.fits_in_room.reset();
    r.blocked_room.reset();
  });
  return absl::OkStatus();
}

absl::Status Core::On(const StepDone& event) {
  if (!running_.has_value() || running_->id != event.step) {
    return absl::NotFoundError(Concat("step ", event.step, " is not running"));
  }
  TG_RETURN_IF_ERROR(RequireBytes("peak_bytes", event.peak_bytes.value_or(0)));
  TG_RETURN_IF_ERROR(RequireBytes("live_bytes", event.live_bytes.value_or(0)));
  const RunningStep step = *running_;
  running_.reset();
  ++stats_.steps;
  Request& request = *table_.Find(step.request);
  ledger_.Grow(request.id, step.price.resident_bytes);
  served_ += step.n;
  widest_run_ = std::max(widest_run_, step.n);
  table_.Serve(request, step.n);
  Refresh(request, [&](Request& r) {
    r.done = step.start + step.n;
    r.last_chunk = step.n;
    r.served_mark = served_;
    r.failures = 0;
    r.stuck_since.reset();
  });
  // Widths grow back after a failure, one doubling a step.
  request.width_cap =
      request.width_cap >= limits_.max / 2 ? 0 : 2 * request.width_cap;
  if (event.took.has_value()) times_.Add(step.n, step.start, *event.took);
  MeasureTransient(step, event);
  if (event.live_bytes.has_value()) {
    MeasureGrowth(step, *event.live_bytes);
    has_readings_ = true;
    memory_.Read(*event.live_bytes, ledger_.resident());
  }
  if (request.cancel_pending) {
    CancelNow(request);
  } else if (request.done >= request.request.prompt_tokens) {
    ++relief_;
    table_.Move(request, RequestState::kDecoding);
    ledger_.SetClaim(
        request.id, policies_.admission->DecodeClaim(Prices(), request.view,
                                                     outputs_.SharePermille()));
    Refresh(request);
    actions_->push_back(StartDecode{request.id});
    CoverDecoding();
  }
  return absl::OkStatus();
}

absl::Status Core::On(const StepFailed& event) {
  if (!running_.has_value() || running_->id != event.step) {
    return absl::NotFoundError(Concat("step ", event.step, " is not running"));
  }
  const RunningStep step = *running_;
  running_.reset();
  Request& request = *table_.Find(step.request);
  const bool memory = event.why == StepFailure::kOutOfMemory;
  if (memory) {
    ++stats_.out_of_memory;
    if (options_.calibrate) {
      const StaticPrice price = StaticPriceOf(step.chunk());
      calibrator_.AddOutOfMemory(
          price.route, step.n, price.transient_bytes,
          memory_.line() - step.live_before - step.price.resident_bytes, now_);
    }
  }
  if (request.cancel_pending) {
    CancelNow(request);
    return absl::OkStatus();
  }
  ++request.failures;
  if (request.failures >= kFailuresMax) {
    RejectNow(request, RefusalCode::kOverloaded,
              Concat("the engine failed ", request.failures,
                     memory ? " times in a row for lack of memory"
                            : " times in a row",
                     ", the last time on ", step.n, " tokens at kv length ",
                     step.start + step.n, " priced at ",
                     FormatBytes(SatAdd(step.price.transient_bytes,
                                        step.price.resident_bytes))),
              nullptr);
    return absl::OkStatus();
  }
  // Narrower at once where that is possible; otherwise after a pause, in which
  // others may give memory back.
  const Tokens half = step.n / 2 / limits_.quantum * limits_.quantum;
  const bool aligned = step.start % limits_.quantum == 0;
  const Tokens least =
      std::min(limits_.floor, limits_.max) + (aligned ? 0 : limits_.quantum);
  if (memory && half >= least) {
    request.width_cap = half;
  } else {
    request.not_before = now_ + PauseAfter(request.failures);
  }
  return absl::OkStatus();
}

absl::Status Core::On(const DecodeProgress& event) {
  Request* request = table_.Find(event.id);
  if (request == nullptr) return UnknownRequest(event.id);
  if (request->state != RequestState::kDecoding) {
    return absl::FailedPreconditionError(
        Concat("request ", event.id, " does not decode"));
  }
  if (event.tokens < 1 || event.tokens > kTokensMax - request->decoded) {
    return InvalidArgument("tokens: expected 1 to ",
                           kTokensMax - request->decoded, ", got ",
                           event.tokens);
  }
  const Tokens length = request->request.prompt_tokens + request->decoded;
  if (!Prices().KvPreallocated()) {
    const Bytes before = Prices().SequenceBytes(length, 1);
    const Bytes after = Prices().SequenceBytes(length + event.tokens, 1);
    ledger_.Grow(request->id, std::max<Bytes>(0, after - before));
  }
  Refresh(*request, [&](Request& r) { r.decoded += event.tokens; });
  return absl::OkStatus();
}

absl::Status Core::On(const Finished& event) {
  Request* request = table_.Find(event.id);
  if (request == nullptr) return UnknownRequest(event.id);
  if (request->state != RequestState::kDecoding) {
    return absl::FailedPreconditionError(
        Concat("request ", event.id,
               " cannot finish: its prompt is not "
               "computed"));
  }
  ++stats_.finished;
  outputs_.Add(request->request.max_output_tokens, request->decoded);
  End(*request);
  return absl::OkStatus();
}

absl::Status Core::On(const Cancel& event) {
  Request* request = table_.Find(event.id);
  if (request == nullptr) return UnknownRequest(event.id);
  if (request->cancel_pending) {
    return absl::AlreadyExistsError(
        Concat("request ", event.id, " is being cancelled already"));
  }
  if (running_.has_value() && running_->request == event.id) {
    request->cancel_pending = true;
    return absl::OkStatus();
  }
  CancelNow(*request);
  return absl::OkStatus();
}

absl::Status Core::On(const MemoryReading& event) {
  if (event.live_bytes.empty()) {
    return InvalidArgument("live_bytes: expected one entry per device");
  }
  for (const Bytes live : event.live_bytes) {
    TG_RETURN_IF_ERROR(RequireBytes("live_bytes", live));
  }
  has_readings_ = true;
  memory_.ExpectReadings();
  memory_.Read(
      *std::max_element(event.live_bytes.begin(), event.live_bytes.end()),
      ledger_.resident());
  return absl::OkStatus();
}

absl::Status Core::On(const CeilingChanged& event) {
  if (event.ceiling < 1) {
    return InvalidArgument("ceiling: expected at least 1, got ", event.ceiling);
  }
  memory_.SetCeiling(event.ceiling);
  return absl::OkStatus();
}

absl::Status Core::On(const Reclaimable& event) {
  TG_RETURN_IF_ERROR(RequireBytes("bytes", event.bytes));
  memory_.SetReclaimable(event.kind, event.bytes);
  return absl::OkStatus();
}

absl::Status Core::On(const ReclaimDone& event) {
  TG_RETURN_IF_ERROR(RequireBytes("freed_bytes", event.freed_bytes));
  if (!memory_.Done(event)) {
    return absl::NotFoundError(
        Concat("reclaim ", event.reclaim, " is not under way"));
  }
  // Of an engine that reads no memory, its word is all there is.
  if (!has_readings_) {
    memory_.Read(std::max<Bytes>(0, Live() - event.freed_bytes),
                 ledger_.resident());
  }
  return absl::OkStatus();
}

absl::Status Core::On(const ReleasePending& event) {
  TG_RETURN_IF_ERROR(RequireBytes("bytes", event.bytes));
  memory_.ReleasePending(event.bytes, now_);
  return absl::OkStatus();
}

absl::Status Core::On(const Released& event) {
  TG_RETURN_IF_ERROR(RequireBytes("bytes", event.bytes));
  if (!memory_.Released(event.bytes)) {
    return absl::FailedPreconditionError(
        "bytes: more than was announced as pending");
  }
  return absl::OkStatus();
}

absl::Status Core::On(const Observe& event) {
  TG_RETURN_IF_ERROR(RequireBytes("transient_bytes", event.transient_bytes));
  const StepQuery step{.chunks = {&event.chunk, 1}};
  TG_RETURN_IF_ERROR(ValidateStep(step));
  if (!options_.calibrate) return absl::OkStatus();
  const StaticPrice price = StaticPriceOf(event.chunk);
  calibrator_.Add(price.route, event.chunk.n, price.transient_bytes,
                  event.transient_bytes, now_);
  return absl::OkStatus();
}

absl::Status Core::On(const Wake& /*event*/) { return absl::OkStatus(); }

Core::StaticPrice Core::StaticPriceOf(const Chunk& chunk) const {
  const StepQuery step{.chunks = {&chunk, 1}};
  return {.route = options_.estimator->RouteName(step),
          .transient_bytes = options_.estimator->Total(step).transient_bytes};
}

// Peak less what was live before and what the step added for good. A step
// during which memory moved for other reasons measures those.
void Core::MeasureTransient(const RunningStep& step, const StepDone& done) {
  if (!options_.calibrate) return;
  if (!done.peak_bytes.has_value() || !done.live_bytes.has_value()) return;
  const Bytes moved =
      *done.live_bytes - step.live_before - step.price.resident_bytes;
  if (moved > kUndisturbed || moved < -kUndisturbed) return;
  const StaticPrice price = StaticPriceOf(step.chunk());
  calibrator_.Add(
      price.route, step.n, price.transient_bytes,
      *done.peak_bytes - step.live_before - step.price.resident_bytes, now_);
}

// Only what stays counts: pools that filled up can be reclaimed, and other
// requests' own growth is known.
void Core::MeasureGrowth(const RunningStep& step, Bytes live) {
  const Bytes lasting = live - memory_.Reclaimable();
  const Bytes others =
      ledger_.resident() - step.resident_before - step.price.resident_bytes;
  const Bytes known = growth_.ExtraPerToken();
  growth_.Add(step.n, lasting - step.lasting_before - others,
              step.price.resident_bytes - SatMul(known, step.n));
  if (growth_.ExtraPerToken() != known) RaiseClaims();
}

absl::Status Core::LoadCalibration(
    const std::vector<CalibrationRoute>& routes) {
  if (!options_.calibrate) {
    return absl::FailedPreconditionError(
        "calibration: expected options.calibrate");
  }
  return calibrator_.Load(routes, now_);
}

void Core::RaiseClaims() {
  ++growth_changes_;
  const Bytes extra = growth_.ExtraPerToken();
  for (Request* request : table_.Unfinished()) {
    Refresh(*request,
            [&](Request& r) { r.request.extra_bytes_per_token = extra; });
    if (request->state != RequestState::kPrefill || request->view.claim == 0) {
      continue;
    }
    ledger_.SetClaim(request->id,
                     FullClaim(Prices(), RemainderOf(request->view),
                               memory_.Limits(ledger_.resident()), limits_));
    Refresh(*request);
  }
}

void Core::End(Request& request) {
  if (request.state != RequestState::kWaiting) {
    const Bytes held = ledger_.Release(request.id);
    if (has_readings_) memory_.Free(held, now_);
    ++relief_;
  }
  table_.Remove(request);
}

void Core::CancelNow(Request& request) {
  ++stats_.cancelled;
  actions_->push_back(Cancelled{request.id});
  End(request);
}

void Core::RejectNow(Request& request, RefusalCode code, std::string reason,
                     const Plan* plan) {
  ++stats_.rejected;
  Reject reject{.id = request.id, .code = code, .reason = std::move(reason)};
  if (plan != nullptr) {
    reject.arithmetic = plan->arithmetic;
    reject.largest_prompt_that_fits = plan->largest_prompt_that_fits;
  }
  actions_->push_back(std::move(reject));
  End(request);
}

}  // namespace tidegate::internal
