// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The service without its event loop: what is done for clients and with the
// engine, as calls that return at once. Everything runs on one strand; what the
// engine's handles say comes back through a Mailbox. After each call Turn()
// works off what the scheduler wants, and NextAlarm() says when to call Turn()
// again though nothing happened.
//
// Thread-safety: none.

#ifndef TIDEGATE_SERVICE_FRONT_H_
#define TIDEGATE_SERVICE_FRONT_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "service/rate_meter.h"
#include "tidegate/service.h"

namespace tidegate::internal {

class Front;

// Carries what a handle says to the strand, from any thread. Handles hold it
// weakly: those that outlive the service talk to nobody.
class Mailbox {
 public:
  virtual ~Mailbox() = default;
  virtual void Post(std::function<void(Front&)> letter) = 0;
};

using AnswerClient = std::function<void(SubmitResult)>;
using AnswerShutdown = std::function<void(ShutdownReport)>;
// Tells two Submits apart even where both name one request id.
using Ticket = std::uint64_t;

class Front {
 public:
  Front(std::unique_ptr<PullScheduler> pull, std::shared_ptr<Engine> engine,
        std::unique_ptr<MemoryProbe> probe, TenantPolicies tenants,
        Tokens queued_tokens_max, Duration probe_interval,
        bool decodes_in_steps, std::function<Instant()> clock);
  // Handles that the engine is given from now on write here.
  void SetMailbox(std::weak_ptr<Mailbox> mailbox) {
    mailbox_ = std::move(mailbox);
  }

  void Submit(Ticket ticket, SubmitRequest request, AnswerClient answer);
  void Cancel(Ticket ticket, RequestId id);
  void Tell(const Fact& fact);
  absl::Status Reload(std::shared_ptr<const SchedulerOptions> options,
                      TenantPolicies tenants);
  void Shutdown(const ShutdownOptions& options, AnswerShutdown answer);
  // Answers everyone now; nothing is admitted afterwards.
  void Abort();

  // What the handles said; nullopt: dropped.
  void StepEnded(StepId step, std::optional<StepOutcome> outcome);
  void ReclaimEnded(const Reclaim& what, std::optional<ReclaimOutcome> outcome);
  void DecodeReported(RequestId id, std::uint64_t decode,
                      const DecodeHandle::Report& report);

  void Turn();
  std::optional<Instant> NextAlarm() const;
  ServiceMetrics Metrics() const;

 private:
  struct Client {
    Ticket ticket = 0;
    SubmitRequest submitted;
    AnswerClient answer;  // null once answered
    Instant arrived{};
    std::optional<Instant> first_admitted;
    bool admitted = false;  // holds a claim now
    bool needs_release = false;
    std::uint64_t decode = 0;  // the handle in force; 0: it does not decode
    std::uint64_t last_decode = 0;
    Tokens left = 0;  // prompt tokens not computed yet
    Tokens done = 0;
    Tokens generated = 0;
    std::string reason;                // why it is being cancelled
    bool first_token_counted = false;  // also when it is computed again
    // The engine finished it just when it was preempted.
    bool finished_anyway = false;
  };
  struct Running {
    RunStep step;
    Instant since{};
  };

  // One for each kind of work.
  void Do(const Admit& admit);
  void Do(const RunStep& step);
  void Do(const tidegate::Reclaim& reclaim);
  void Do(const Preempt& preempt);
  void Do(const StartDecode& start);
  void Do(const Answer& answer);

  void AnswerNow(Client& client, SubmitResult result);
  // What an engine or an operator says, to the scheduler.
  absl::Status Hand(const Fact& fact);
  // Requests of this tenant that wait, and nobody admitted yet.
  std::int64_t WaitingOf(std::string_view tenant) const;
  void Refuse(AnswerClient answer, RefusalCode code, std::string reason,
              bool retry);
  // What the scheduler takes of a measurement.
  StepMeasurement Completed(StepId step, StepMeasurement measured);
  void StepDone(const RunStep& step, const StepMeasurement& measured);
  void Generated(const RunStep& step, const std::vector<DecodeResult>& results);
  void CancelAll(const std::string& reason);
  void CancelClient(RequestId id, Client& client, std::string reason);
  void EndShutdownIfDone();
  std::optional<Duration> RetryAfter() const;
  // A reading where one can be had; counts what cannot.
  std::optional<MemoryReading> ReadMemory();
  void TellMemory();
  void SetLeft(Client& client, Tokens left);
  // False when it threw; then *why has what it said.
  bool Guarded(const std::function<void()>& call, std::string* why);

  const std::unique_ptr<PullScheduler> pull_;
  const std::shared_ptr<Engine> engine_;
  const std::unique_ptr<MemoryProbe> probe_;
  TenantPolicies tenants_;
  const Tokens queued_tokens_max_;
  const Duration probe_interval_;
  bool decodes_in_steps_;
  const std::function<Instant()> clock_;
  std::weak_ptr<Mailbox> mailbox_;

  // Ordered: whoever is cancelled at once is answered in order of id.
  std::map<RequestId, Client> clients_;
  std::map<StepId, Running> running_;
  std::uint64_t last_decode_ = 0;
  RateMeter rate_;
  std::optional<Instant> last_read_;
  bool memory_stale_ = false;  // something was freed since

  bool closed_ = false;
  std::optional<Instant> drain_until_;
  std::optional<Instant> grace_until_;
  Duration step_grace_{};
  std::vector<AnswerShutdown> shutdowns_;
  ShutdownReport report_;

  ServiceMetrics metrics_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SERVICE_FRONT_H_
