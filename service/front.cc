// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Clients, shutdown and memory; front_engine.cc has what the engine is asked
// and what it answers.

#include "service/front.h"

#include <algorithm>
#include <utility>

#include "estimators/text.h"
#include "tidegate/status.h"

namespace tidegate::internal {

Front::Front(std::unique_ptr<PullScheduler> pull,
             std::shared_ptr<Engine> engine, std::unique_ptr<MemoryProbe> probe,
             TenantPolicies tenants, Tokens queued_tokens_max,
             Duration probe_interval, bool decodes_in_steps,
             std::function<Instant()> clock)
    : pull_(std::move(pull)),
      engine_(std::move(engine)),
      probe_(std::move(probe)),
      tenants_(std::move(tenants)),
      queued_tokens_max_(queued_tokens_max),
      probe_interval_(probe_interval),
      decodes_in_steps_(decodes_in_steps),
      clock_(std::move(clock)) {
  if (probe_ != nullptr) metrics_.memory_state = ProbeState::kUnknown;
}

void Front::Submit(Ticket ticket, SubmitRequest request, AnswerClient answer) {
  ++metrics_.submitted;
  if (closed_) {
    return Refuse(std::move(answer), RefusalCode::kShuttingDown,
                  "the service shuts down and admits nothing more", false);
  }
  const RequestId id = request.id;
  if (clients_.contains(id)) {
    return Refuse(std::move(answer), RefusalCode::kUnsupported,
                  Concat("id: request ", id, " is open already"), false);
  }
  const Tokens left = std::max<Tokens>(
      0, request.request.prompt_tokens - request.request.cached_tokens);
  if (queued_tokens_max_ > 0 && metrics_.queued_tokens > 0 &&
      left > queued_tokens_max_ - metrics_.queued_tokens) {
    return Refuse(std::move(answer), RefusalCode::kOverloaded,
                  Concat("the queue is full: ", metrics_.queued_tokens,
                         " prompt tokens wait, this request has ", left,
                         " and queued_tokens_max is ", queued_tokens_max_),
                  true);
  }
  const std::int64_t queue_max = tenants_.Of(request.tenant).queue_max;
  if (queue_max > 0 && WaitingOf(request.tenant) >= queue_max) {
    return Refuse(std::move(answer), RefusalCode::kOverloaded,
                  Concat("the queue of tenant \"", request.tenant,
                         "\" is full: its queue_max of ", queue_max,
                         queue_max == 1 ? " request waits" : " requests wait"),
                  true);
  }
  const Instant now = clock_();
  // The first request after a pause is decided on what memory is now.
  if (running_.empty() &&
      (!last_read_.has_value() || *last_read_ + probe_interval_ <= now)) {
    TellMemory();
  }
  const Arrive arrive{
      .id = id,
      .request = request.request,
      .priority = tenants_.PriorityOf(request.tenant, request.priority),
      .tenant = request.tenant,
      .prefix_bytes = request.prefix_bytes};
  const absl::Status status = pull_->Submit(arrive, now);
  if (!status.ok()) {
    return Refuse(std::move(answer), RefusalCode::kUnsupported,
                  std::string(status.message()), false);
  }
  Client& client = clients_[id];
  client.ticket = ticket;
  client.submitted = std::move(request);
  client.answer = std::move(answer);
  client.arrived = now;
  ++metrics_.open;
  SetLeft(client, left);
}

std::int64_t Front::WaitingOf(std::string_view tenant) const {
  return std::count_if(clients_.begin(), clients_.end(), [&](const auto& one) {
    const Client& client = one.second;
    return client.answer != nullptr && !client.admitted &&
           client.submitted.tenant == tenant;
  });
}

void Front::Refuse(AnswerClient answer, RefusalCode code, std::string reason,
                   bool retry) {
  if (code == RefusalCode::kOverloaded) {
    ++metrics_.rejected_overloaded;
  } else if (code == RefusalCode::kShuttingDown) {
    ++metrics_.rejected_shutting_down;
  } else {
    ++metrics_.rejected_unsupported;
  }
  answer({.outcome = Outcome::kRejected,
          .code = code,
          .reason = std::move(reason),
          .retry_after = retry ? RetryAfter() : std::nullopt});
}

void Front::Cancel(Ticket ticket, RequestId id) {
  ++metrics_.cancels_asked;
  const auto it = clients_.find(id);
  // Answered already, or refused at once.
  if (it == clients_.end() || it->second.ticket != ticket) return;
  CancelClient(id, it->second, "the client cancelled");
}

void Front::CancelClient(RequestId id, Client& client, std::string reason) {
  if (client.reason.empty()) client.reason = std::move(reason);
  const absl::Status status = pull_->Cancel(id, clock_());
  // It may be on its way out: its Answer is queued, or comes with its step.
  TG_CHECK(status.ok() || absl::IsAlreadyExists(status) ||
           absl::IsNotFound(status));
}

void Front::CancelAll(const std::string& reason) {
  std::vector<RequestId> ids;
  for (const auto& [id, client] : clients_) ids.push_back(id);
  for (const RequestId id : ids) CancelClient(id, clients_.at(id), reason);
}

absl::Status Front::Hand(const Fact& fact) {
  TG_RETURN_IF_ERROR(pull_->Tell(fact, clock_()));
  if (const auto* policy = std::get_if<PolicyChanged>(&fact)) {
    decodes_in_steps_ = policy->options->step.DecodesInSteps();
  }
  return absl::OkStatus();
}

void Front::Tell(const Fact& fact) {
  if (!Hand(fact).ok()) ++metrics_.late_answers;
}

absl::Status Front::Reload(std::shared_ptr<const SchedulerOptions> options,
                           TenantPolicies tenants) {
  const absl::Status status = Hand(PolicyChanged{std::move(options)});
  if (!status.ok()) {
    ++metrics_.policy_reloads_refused;
    return status;
  }
  ++metrics_.policy_reloads;
  tenants_ = std::move(tenants);
  return absl::OkStatus();
}

void Front::AnswerNow(Client& client, SubmitResult result) {
  if (client.answer == nullptr) return;
  switch (result.outcome) {
    case Outcome::kFinished:
      ++metrics_.finished;
      if (closed_) ++report_.finished;
      break;
    case Outcome::kRejected:
      if (result.code == RefusalCode::kTooLarge) {
        ++metrics_.rejected_too_large;
      } else if (result.code == RefusalCode::kOverloaded) {
        ++metrics_.rejected_overloaded;
      } else if (result.code == RefusalCode::kShuttingDown) {
        ++metrics_.rejected_shutting_down;
      } else {
        ++metrics_.rejected_unsupported;
      }
      break;
    case Outcome::kCancelled:
      ++metrics_.cancelled;
      break;
  }
  --metrics_.open;
  SetLeft(client, 0);
  const Instant now = clock_();
  result.prompt_tokens_done = client.done;
  result.generated_tokens = client.generated;
  if (client.first_admitted.has_value()) {
    result.waited = *client.first_admitted - client.arrived;
  }
  result.took = now - client.arrived;
  client.submitted.on_progress = nullptr;
  std::exchange(client.answer, nullptr)(std::move(result));
}

void Front::SetLeft(Client& client, Tokens left) {
  if (client.answer == nullptr) left = 0;
  metrics_.queued_tokens += left - client.left;
  client.left = left;
}

std::optional<Duration> Front::RetryAfter() const {
  return rate_.TimeFor(metrics_.queued_tokens);
}

void Front::Shutdown(const ShutdownOptions& options, AnswerShutdown answer) {
  closed_ = true;
  metrics_.shutting_down = true;
  shutdowns_.push_back(std::move(answer));
  const Instant until = clock_() + std::max(Duration::zero(), options.drain);
  if (!drain_until_.has_value() || until < *drain_until_) {
    drain_until_ = until;
  }
  step_grace_ = std::max(Duration::zero(), options.step_grace);
}

void Front::Abort() {
  closed_ = true;
  metrics_.shutting_down = true;
  CancelAll("the service was destroyed");
  for (auto& [id, client] : clients_) {
    AnswerNow(client, {.outcome = Outcome::kCancelled,
                       .reason = "the service was destroyed"});
  }
  report_.step_still_running = !running_.empty();
  for (AnswerShutdown& answer : std::exchange(shutdowns_, {})) answer(report_);
}

// Clients are answered at the deadline even where a step holds their memory;
// the request itself ends with its step.
void Front::EndShutdownIfDone() {
  if (shutdowns_.empty()) return;
  const Instant now = clock_();
  if (metrics_.open > 0 && *drain_until_ <= now) {
    const std::string reason = "the service shut down";
    const std::int64_t before = metrics_.cancelled;
    CancelAll(reason);
    for (auto& [id, client] : clients_) {
      AnswerNow(client, {.outcome = Outcome::kCancelled, .reason = reason});
    }
    report_.cancelled += metrics_.cancelled - before;
  }
  if (metrics_.open > 0) return;
  if (!running_.empty()) {
    if (!grace_until_.has_value()) grace_until_ = now + step_grace_;
    if (*grace_until_ > now) return;
  }
  report_.step_still_running = !running_.empty();
  for (AnswerShutdown& answer : std::exchange(shutdowns_, {})) answer(report_);
}

std::optional<Instant> Front::NextAlarm() const {
  std::optional<Instant> next;
  const auto no_later = [&next](std::optional<Instant> when) {
    if (when.has_value() && (!next.has_value() || *when < *next)) next = when;
  };
  if (!shutdowns_.empty()) {
    no_later(metrics_.open > 0 ? drain_until_ : grace_until_);
  }
  // Without an open request nothing that time brings would change anything.
  if (clients_.empty()) return next;
  no_later(pull_->NextWake());
  if (metrics_.memory_state != ProbeState::kOff && running_.empty() &&
      last_read_.has_value()) {
    no_later(*last_read_ + probe_interval_);
  }
  return next;
}

void Front::Turn() {
  const auto work_off = [this] {
    while (std::optional<Work> work = pull_->Next(clock_())) {
      std::visit([this](const auto& w) { Do(w); }, *work);
    }
  };
  work_off();
  const bool due =
      !clients_.empty() && metrics_.memory_state != ProbeState::kOff &&
      last_read_.has_value() && *last_read_ + probe_interval_ <= clock_();
  if (running_.empty() && (due || memory_stale_)) {
    TellMemory();
    work_off();
  }
  EndShutdownIfDone();
  work_off();  // What a shutdown cancelled.
  EndShutdownIfDone();
}

std::optional<MemoryReading> Front::ReadMemory() {
  memory_stale_ = false;
  last_read_ = clock_();
  absl::StatusOr<std::optional<MemoryProbeReading>> answer =
      std::optional<MemoryProbeReading>();
  std::string why;
  const bool returned = Guarded(
      [&] {
        if (probe_ == nullptr) {
          answer = engine_->ReadMemory();
          return;
        }
        absl::StatusOr<MemoryProbeReading> read = probe_->Read();
        if (read.ok()) {
          answer = std::move(*read);
        } else {
          answer = read.status();
        }
      },
      &why);
  if (!returned) answer = absl::InternalError(why);
  if (answer.ok() && !answer->has_value()) {
    metrics_.memory_state = ProbeState::kOff;
    return std::nullopt;
  }
  ++metrics_.probe_reads;
  if (answer.ok() && (*answer)->devices.empty()) {
    answer = absl::DataLossError("the reading names no device");
  }
  if (!answer.ok()) {
    ++metrics_.probe_failures;
    metrics_.memory_state = ProbeState::kUnknown;
    metrics_.probe_error = std::string(answer.status().message());
    return std::nullopt;
  }
  metrics_.probe_error.clear();
  metrics_.memory_state = ProbeState::kKnown;
  metrics_.memory_pressure_percent = (*answer)->pressure_percent;
  metrics_.memory = std::move((*answer)->devices);
  MemoryReading reading;
  for (const DeviceMemory& device : metrics_.memory) {
    reading.live_bytes.push_back(device.used_bytes);
  }
  return reading;
}

void Front::TellMemory() {
  const std::optional<MemoryReading> reading = ReadMemory();
  if (reading.has_value()) Tell(*reading);
}

ServiceMetrics Front::Metrics() const {
  ServiceMetrics metrics = metrics_;
  metrics.scheduler = pull_->Stats();
  metrics.tokens_per_second = rate_.TokensPerSecond();
  return metrics;
}

}  // namespace tidegate::internal
