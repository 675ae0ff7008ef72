// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What the engine is asked and what it answers. Every call into it is guarded:
// an exception is the failure of what was asked. Answers are matched to the
// question that is open; all others are late and only counted.

#include <algorithm>
#include <exception>
#include <utility>

#include "estimators/text.h"
#include "service/front.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

double Seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

bool Front::Guarded(const std::function<void()>& call, std::string* why) {
  try {
    call();
    return true;
  } catch (const std::exception& e) {
    *why = e.what();
  } catch (...) {
    *why = "an exception that is no std::exception";
  }
  ++metrics_.engine_exceptions;
  return false;
}

void Front::Do(const Admit& admit) {
  Client& client = clients_.at(admit.id);
  client.admitted = true;
  client.needs_release = true;
  if (!client.first_admitted.has_value()) {
    client.first_admitted = clock_();
    metrics_.seconds_to_admission.Add(
        Seconds(*client.first_admitted - client.arrived));
  }
  std::string why;
  Guarded([&] { engine_->Admitted(admit); }, &why);
}

void Front::Do(const RunStep& step) {
  running_[step.step] = Running{.step = step, .since = clock_()};
  metrics_.room_bytes = step.room_bytes;
  metrics_.step_room_bytes.Add(static_cast<double>(step.room_bytes));
  const std::weak_ptr<Mailbox> mailbox = mailbox_;
  StepCompletion done([mailbox, id = step.step](auto outcome) {
    const auto to = mailbox.lock();
    if (to == nullptr) return;
    to->Post([id, outcome = std::move(outcome)](Front& front) {
      front.StepEnded(id, outcome);
    });
  });
  std::string why;
  if (!Guarded([&] { engine_->Run(step, std::move(done)); }, &why)) {
    StepEnded(step.step, StepOutcome::Failed(why));
  }
}

void Front::StepEnded(StepId step, std::optional<StepOutcome> outcome) {
  if (!running_.contains(step)) {
    // The destructor of a handle whose step is over is no news.
    if (outcome.has_value()) ++metrics_.late_answers;
    return;
  }
  const Running ran = std::move(running_.extract(step).mapped());
  const Duration took = clock_() - ran.since;
  metrics_.step_time += took;
  if (!outcome.has_value()) {
    ++metrics_.steps_dropped;
    outcome = StepOutcome::Failed("the engine dropped the step");
  }
  if (outcome->kind() != StepOutcome::Kind::kDone) {
    ++metrics_.steps_failed;
    // Read now: the next attempt is decided on it.
    TellMemory();
    TG_CHECK(pull_->Complete(step, *outcome, clock_()).ok());
    return;
  }
  StepMeasurement measured = outcome->measured();
  if (!measured.took.has_value()) measured.took = took;
  if (measured.live_bytes.empty()) {
    // The engine's peak and another counter's live bytes are no pair.
    measured.peak_bytes.clear();
    if (const std::optional<MemoryReading> reading = ReadMemory()) {
      measured.live_bytes = reading->live_bytes;
    }
  }
  StepDone(ran.step, Completed(step, std::move(measured)));
}

StepMeasurement Front::Completed(StepId step, StepMeasurement measured) {
  const StepMeasurement said = measured;
  absl::Status status =
      pull_->Complete(step, StepOutcome::Done(measured), clock_());
  if (status.ok()) return measured;
  // A measurement that cannot be, or results of requests that were not in it;
  // the step itself is done.
  ++metrics_.late_answers;
  measured = {.took = said.took, .decodes = said.decodes};
  status = pull_->Complete(step, StepOutcome::Done(measured), clock_());
  if (status.ok()) return measured;
  measured.decodes.clear();
  TG_CHECK(pull_->Complete(step, StepOutcome::Done(measured), clock_()).ok());
  return measured;
}

void Front::Generated(const RunStep& step,
                      const std::vector<DecodeResult>& results) {
  std::map<RequestId, Tokens> tokens;
  for (const RequestId id : step.decodes) tokens[id] = 1;
  for (const DecodeResult& result : results) tokens[result.id] = result.tokens;
  for (const auto& [id, generated] : tokens) {
    metrics_.generated_tokens += generated;
    const auto it = clients_.find(id);
    if (it != clients_.end()) it->second.generated += generated;
  }
}

void Front::StepDone(const RunStep& step, const StepMeasurement& measured) {
  Tokens tokens = 0;
  const Duration took = *measured.took;
  Generated(step, measured.decodes);
  metrics_.step_seconds.Add(Seconds(took));
  for (const StepChunk& chunk : step.chunks) {
    tokens += chunk.n;
    metrics_.chunk_tokens.Add(static_cast<double>(chunk.n));
    const auto it = clients_.find(chunk.id);
    if (it == clients_.end()) continue;
    Client& client = it->second;
    const Tokens total = client.submitted.request.prompt_tokens;
    client.done = chunk.start + chunk.n;
    SetLeft(client, std::max<Tokens>(0, total - client.done));
    if (client.done >= total && client.answer != nullptr &&
        !std::exchange(client.first_token_counted, true)) {
      metrics_.seconds_to_first_token.Add(Seconds(clock_() - client.arrived));
    }
    if (client.answer == nullptr || !client.submitted.on_progress) continue;
    const Progress progress{.id = chunk.id,
                            .done = client.done,
                            .total = total,
                            .chunk_tokens = chunk.n,
                            .bound = chunk.bound};
    std::string why;
    Guarded([&] { client.submitted.on_progress(progress); }, &why);
  }
  metrics_.prompt_tokens += tokens;
  rate_.Add(tokens, took);
}

void Front::Do(const tidegate::Reclaim& reclaim) {
  const std::weak_ptr<Mailbox> mailbox = mailbox_;
  ReclaimCompletion done([mailbox, reclaim](auto outcome) {
    const auto to = mailbox.lock();
    if (to == nullptr) return;
    to->Post([reclaim, outcome](Front& front) {
      front.ReclaimEnded(reclaim, outcome);
    });
  });
  std::string why;
  // When it throws, the handle that it was given is dropped and says so; one
  // that it kept may still answer.
  Guarded([&] { engine_->Reclaim(reclaim, std::move(done)); }, &why);
}

void Front::ReclaimEnded(const tidegate::Reclaim& what,
                         std::optional<ReclaimOutcome> outcome) {
  const ReclaimOutcome said = outcome.value_or(ReclaimOutcome{});
  // The reading shows what was freed: it comes before the answer.
  if (running_.empty()) TellMemory();
  if (said.reclaimable_bytes.has_value()) {
    Tell(Reclaimable{.kind = what.kind, .bytes = *said.reclaimable_bytes});
  }
  const absl::Status status = pull_->CompleteReclaim(
      what.reclaim, std::max<Bytes>(0, said.freed_bytes), clock_());
  if (!status.ok()) ++metrics_.late_answers;
}

void Front::Do(const Preempt& preempt) {
  Client& client = clients_.at(preempt.id);
  client.admitted = false;
  client.decode = 0;
  client.done = client.submitted.request.cached_tokens;
  client.generated = 0;
  SetLeft(client, client.submitted.request.prompt_tokens - client.done);
  memory_stale_ = true;
  std::string why;
  Guarded([&] { engine_->Preempt(preempt.id); }, &why);
}

void Front::Do(const StartDecode& start) {
  // Where decode tokens are part of steps, steps say what comes of them.
  if (decodes_in_steps_) return;
  Client& client = clients_.at(start.id);
  client.decode = client.last_decode = ++last_decode_;
  const std::weak_ptr<Mailbox> mailbox = mailbox_;
  DecodeHandle handle([mailbox, id = start.id,
                       decode = client.decode](DecodeHandle::Report report) {
    const auto to = mailbox.lock();
    if (to == nullptr) return;
    to->Post([id, decode, report = std::move(report)](Front& front) {
      front.DecodeReported(id, decode, report);
    });
  });
  std::string why;
  if (!Guarded([&] { engine_->StartDecode(start.id, std::move(handle)); },
               &why)) {
    CancelClient(start.id, client, Concat("the engine failed: ", why));
  }
}

void Front::DecodeReported(RequestId id, std::uint64_t decode,
                           const DecodeHandle::Report& report) {
  const auto it = clients_.find(id);
  if (it == clients_.end() || it->second.last_decode != decode) {
    // The destructor of a handle whose request is over is no news.
    if (report.failure.empty()) ++metrics_.late_answers;
    return;
  }
  Client& client = it->second;
  if (report.tokens.has_value()) {
    const bool current = client.decode == decode;
    if (!current || !pull_->Decoded(id, *report.tokens, clock_()).ok()) {
      ++metrics_.late_answers;
      return;
    }
    client.generated += *report.tokens;
    metrics_.generated_tokens += *report.tokens;
    return;
  }
  if (client.decode != decode) {
    if (!report.failure.empty() || client.last_decode == 0) return;
    // It was complete when the scheduler preempted it: it is not computed anew.
    client.finished_anyway = true;
    client.needs_release = client.admitted;
    CancelClient(id, client, "finished");
    return;
  }
  client.decode = 0;
  if (!report.failure.empty()) {
    CancelClient(id, client, report.failure);
    return;
  }
  if (pull_->Finish(id, clock_()).ok()) return;
  ++metrics_.late_answers;
}

void Front::Do(const Answer& answer) {
  const auto it = clients_.find(answer.id);
  TG_CHECK(it != clients_.end());
  Client& client = it->second;
  const bool finished =
      answer.outcome == Outcome::kFinished || client.finished_anyway;
  if (client.needs_release) memory_stale_ = true;
  if (client.needs_release && answer.outcome != Outcome::kFinished) {
    std::string why;
    Guarded([&] { engine_->Release(answer.id); }, &why);
  }
  SubmitResult result{.outcome = Outcome::kFinished};
  if (!finished) {
    result = {.outcome = answer.outcome,
              .code = answer.code,
              .reason = answer.reason,
              .arithmetic = answer.arithmetic,
              .largest_prompt_that_fits = answer.largest_prompt_that_fits};
  }
  if (result.outcome == Outcome::kCancelled) result.reason = client.reason;
  if (result.code == RefusalCode::kOverloaded) {
    SetLeft(client, 0);
    result.retry_after = RetryAfter();
  }
  AnswerNow(client, std::move(result));
  clients_.erase(it);
}

}  // namespace tidegate::internal
