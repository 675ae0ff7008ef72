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

absl::Status RequireBytes(std::string_view name, Bytes bytes) {
  if (bytes >= 0) return absl::OkStatus();
  return InvalidArgument(name, ": expected at least 0, got ", bytes);
}

}  // namespace

absl::Status UnknownRequest(RequestId id) {
  return absl::NotFoundError(Concat("request ", id, " is not here"));
}

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
    memory_.NoteResident(now, ledger_.resident());
    Decide();
    TG_DCHECK(ledger_.Conserved());
    TG_DCHECK(!pool_.has_value() || pool_->ledger.Conserved());
    TG_CHECK(!table_.empty() || !pool_.has_value() || pool_->ledger.empty());
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
  TG_RETURN_IF_ERROR(RequireBytes("prefix_blocks", event.prefix_blocks));
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
  } else if (const std::optional<Plan> beyond = BeyondPool(request)) {
    RejectNow(request, RefusalCode::kTooLarge, beyond->reason, &*beyond);
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
  TG_RETURN_IF_ERROR(RequireBytes("prefix_blocks", event.prefix_blocks));
  table_.Update(*request, [&](Request& r) {
    r.request.cached_tokens = event.cached_tokens;
    r.request.cached_chunk = 1;
    r.done = event.cached_tokens;
    r.last_chunk = 1;
    r.prefix_bytes = event.prefix_bytes;
    r.prefix_blocks = event.prefix_blocks;
    r.blocked_blocks.reset();
    r.fits_in_room = Request::kUnknown;
    r.blocked_room.reset();
  });
  return absl::OkStatus();
}

absl::Status Core::On(const DecodeProgress& event) {
  Request* request = table_.Find(event.id);
  if (request == nullptr) return UnknownRequest(event.id);
  if (request->state != RequestState::kDecoding) {
    return absl::FailedPreconditionError(
        Concat("request ", event.id, " does not decode"));
  }
  if (options_.step.DecodesInSteps()) {
    return absl::FailedPreconditionError(
        Concat("request ", event.id,
               " decodes in steps: StepDone says how it went on"));
  }
  if (event.tokens < 1 || event.tokens > kTokensMax - request->decoded) {
    return InvalidArgument("tokens: expected 1 to ",
                           kTokensMax - request->decoded, ", got ",
                           event.tokens);
  }
  DecodeGrew(*request, event.tokens);
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
  if (request->cancel_pending || request->finish_pending) {
    return absl::AlreadyExistsError(
        Concat("request ", event.id, " ends with its step already"));
  }
  if (request->in_step != 0) {
    request->finish_pending = true;
    return absl::OkStatus();
  }
  FinishNow(*request);
  return absl::OkStatus();
}

absl::Status Core::On(const Cancel& event) {
  Request* request = table_.Find(event.id);
  if (request == nullptr) return UnknownRequest(event.id);
  if (request->cancel_pending) {
    return absl::AlreadyExistsError(
        Concat("request ", event.id, " is being cancelled already"));
  }
  if (request->in_step != 0) {
    request->cancel_pending = true;
    return absl::OkStatus();
  }
  CancelNow(*request);
  return absl::OkStatus();
}

absl::Status Core::CheckReading(std::string_view name,
                                const std::vector<Bytes>& bytes) const {
  if (memory_.ranks() > 0 && bytes.size() != memory_.ranks()) {
    return InvalidArgument(name, ": expected one entry for each of ",
                           memory_.ranks(), " ranks, got ", bytes.size());
  }
  for (const Bytes one : bytes) TG_RETURN_IF_ERROR(RequireBytes(name, one));
  return absl::OkStatus();
}

absl::Status Core::On(const MemoryReading& event) {
  if (event.kv_blocks.has_value()) {
    if (!pool_.has_value()) {
      return InvalidArgument("kv_blocks: expected none without a KV pool");
    }
    TG_RETURN_IF_ERROR(RequireBytes("kv_blocks", *event.kv_blocks));
  }
  if (event.live_bytes.empty() && !event.kv_blocks.has_value()) {
    return InvalidArgument("live_bytes: expected one entry per device");
  }
  if (!event.live_bytes.empty()) {
    TG_RETURN_IF_ERROR(CheckReading("live_bytes", event.live_bytes));
  }
  if (event.kv_blocks.has_value()) {
    pool_->memory.Read({&*event.kv_blocks, 1}, pool_->ledger.resident());
  }
  if (event.live_bytes.empty()) return absl::OkStatus();
  has_readings_ = true;
  memory_.ExpectReadings();
  memory_.Read(event.live_bytes, ledger_.resident());
  return absl::OkStatus();
}

absl::Status Core::On(const CeilingChanged& event) {
  if (event.ceiling < 1) {
    return InvalidArgument("ceiling: expected at least 1, got ", event.ceiling);
  }
  if (event.rank.has_value() && *event.rank >= memory_.ranks()) {
    return InvalidArgument("rank: expected one of ", memory_.ranks(),
                           " ranks, got ", *event.rank);
  }
  memory_.SetCeiling(event.ceiling, event.rank);
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
    memory_.Reclaimed(event.freed_bytes, ledger_.resident());
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
  const StaticPrice price = StaticPriceOf(step);
  calibrator_.Add(price.route, event.chunk.n, price.transient_bytes,
                  event.transient_bytes, now_);
  return absl::OkStatus();
}

absl::Status Core::On(const Wake& /*event*/) { return absl::OkStatus(); }

absl::Status Core::On(const PolicyChanged& event) {
  if (event.options == nullptr) {
    return InvalidArgument("options: expected some, got none");
  }
  TG_ASSIGN_OR_RETURN(Policies policies, CheckOptions(*event.options));
  if (event.options->ranks.size() != memory_.ranks()) {
    return InvalidArgument("ranks: expected ", memory_.ranks(),
                           " as before, got ", event.options->ranks.size());
  }
  if (event.options->kv_pool != options_.kv_pool) {
    return InvalidArgument(
        "kv_pool: expected the pool that the engine started with");
  }
  // The table refers to the order policy: it gets the new one first.
  table_.SetOrder(*policies.order);
  policies_ = std::move(policies);
  options_ = *event.options;
  UsePool();
  limits_ = policies_.chunk->Reachable(options_.chunk);
  corrected_.emplace(*options_.estimator, calibrator_);
  memory_.SetLag(options_.reading_lag);
  memory_.Change(options_.memory, options_.ranks, options_.ladder);
  decode_cap_ = 0;
  ++relief_;
  table_.ForEach([](Request& request) {
    request.fits_in_room = Request::kUnknown;
    request.blocked_room.reset();
    request.blocked_blocks.reset();
  });
  RaiseClaims();
  return absl::OkStatus();
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
    table_.Update(*request, [extra](Request& r) {
      r.request.extra_bytes_per_token = extra;
    });
    if (request->state == RequestState::kPrefill &&
        request->bytes->claim() > 0) {
      ClaimRest(*request);
    }
  }
}

void Core::ClaimRest(Request& request) {
  ledger_.SetClaim(request.id,
                   FullClaim(Prices(), RemainderOf(request.View()),
                             memory_.Limits(ledger_.resident()), limits_));
}

void Core::End(Request& request) {
  if (request.state != RequestState::kWaiting) {
    const Bytes held = ledger_.Release(request.id);
    if (pool_.has_value()) pool_->ledger.Release(request.id);
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
