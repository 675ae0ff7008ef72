// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Service: the scheduler as an Asio service. Clients await their request; an
// engine (service_engine.h) does what the scheduler decides.
//
//   auto service = Service::Create({.scheduler = options}, engine, executor);
//   SubmitRequest request{.id = (*service)->NextId()};
//   request.request.prompt_tokens = 9000;
//   SubmitResult result = co_await (*service)->Submit(request);
//   if (result.outcome == Outcome::kRejected) Answer503(result.retry_after);
//
// Inside there is one strand over the executor; the engine's methods, progress
// callbacks and probe reads run there one at a time. A coroutine is resumed on
// its own executor. Every Submit() resumes exactly once, whatever the engine
// does. No function throws; what the engine throws is caught.
//
// Thread-safety: every method may be called from any thread.
//
// Lifetime: the execution context must outlive the service and run until every
// Submit() was answered. A service that is destroyed without Shutdown() answers
// everyone "cancelled". It keeps no timer while no request is open, so a
// context's run() returns when the clients have.

#ifndef TIDEGATE_SERVICE_H_
#define TIDEGATE_SERVICE_H_

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tidegate/decision_log.h"
#include "tidegate/memory_probe.h"
#include "tidegate/policy_file.h"
#include "tidegate/pull.h"
#include "tidegate/scheduler.h"
#include "tidegate/service_engine.h"
#include "tidegate/service_metrics.h"
#include "tidegate/tenants.h"
#include "tidegate/types.h"

namespace tidegate {

// Time as the service sees it: replaced in tests and simulations. Serves one
// service. Both methods are called on its strand.
class ServiceClock {
 public:
  virtual ~ServiceClock() = default;
  // Never goes back.
  virtual Instant Now() = 0;
  // Call `due` once at `when` or soon after, from any thread, not from within
  // SetAlarm. Replaces the alarm before; nullopt only forgets it.
  virtual void SetAlarm(std::optional<Instant> when,
                        std::function<void()> due) = 0;
};

struct ServiceOptions {
  // scheduler.queue_max bounds the requests that wait.
  SchedulerOptions scheduler;
  // Bounds the prompt tokens that wait or are computed, of all requests
  // together: one more request is refused as overloaded. 0: no limit.
  Tokens queued_tokens_max = 0;
  // What each tenant is granted; their priorities and queues are this layer's,
  // their weights the order policy's (tenants.h).
  TenantPolicies tenants;
  // Null: Engine::ReadMemory() is asked.
  std::unique_ptr<MemoryProbe> probe;
  // Between two reads while requests are open and no step runs. Besides, memory
  // is read after each step whose engine did not measure it, and after each
  // release.
  Duration probe_interval = std::chrono::milliseconds(250);
  // Null: std::chrono::steady_clock and a timer of the executor.
  std::shared_ptr<ServiceClock> clock;
  // Receives a JSON line, newline included, for each decision
  // (decision_log.h). Called on the service's strand: hand it on and return.
  std::function<void(std::string_view)> decision_log;
  // Sees everything that the scheduler is told and answers, on the strand: a
  // Timeline (timeline.h) is fed here.
  DecisionObserver on_decision;
};

// What Service::Reload() replaces.
struct ServicePolicy {
  SchedulerOptions scheduler;
  TenantPolicies tenants;
};

// What a policy file asks for: MakeSchedulerOptions(), and the probe that
// memory.probe names, made with `probe`. InvalidArgument as there, and for a
// probe that does not exist.
absl::StatusOr<ServiceOptions> MakeServiceOptions(
    const PolicyFile& policy, std::shared_ptr<const Estimator> estimator,
    Bytes base, const MemoryProbeOptions& probe = {});

// A step of this request ended well.
struct Progress {
  RequestId id = 0;
  Tokens done = 0;               // prompt tokens in the cache
  Tokens total = 0;              // prompt tokens
  Tokens chunk_tokens = 0;       // width of the chunk that ran
  Bound bound = Bound::kPrompt;  // what bound that width
};

struct SubmitRequest {
  // Unique among open requests; the engine knows the prompt by it.
  RequestId id = 0;
  PlanRequest request;
  std::int64_t priority = 0;
  std::string tenant;
  Bytes prefix_bytes = 0;  // Arrive::prefix_bytes
  // Called on the service's strand, never after the answer. Must return soon.
  std::function<void(const Progress&)> on_progress;
};

struct SubmitResult {
  Outcome outcome = Outcome::kCancelled;
  // Of a rejection: why, in words and in numbers. Of a cancellation: who.
  RefusalCode code = RefusalCode::kNone;
  std::string reason;
  Arithmetic arithmetic;
  Tokens largest_prompt_that_fits = 0;
  // Of an overload: when the tokens that are queued now will be computed at the
  // measured rate. nullopt before any step was measured, and of requests that
  // no waiting helps.
  std::optional<Duration> retry_after;

  Tokens prompt_tokens_done = 0;
  Tokens generated_tokens = 0;
  // From Submit() to the first admission, and to the answer.
  std::optional<Duration> waited;
  Duration took{};
};

struct ShutdownOptions {
  // How long open requests may go on; then they are cancelled and their clients
  // answered at once.
  Duration drain = std::chrono::seconds(30);
  // How long a step that still runs then is waited for: its memory is the
  // engine's until it ends.
  Duration step_grace = std::chrono::seconds(10);
};

struct ShutdownReport {
  std::int64_t finished = 0;   // while draining
  std::int64_t cancelled = 0;  // by the shutdown
  bool step_still_running = false;
};

class Service {
 public:
  // InvalidArgument names the option; `engine` may not be null.
  static absl::StatusOr<std::unique_ptr<Service>> Create(
      ServiceOptions options, std::shared_ptr<Engine> engine,
      boost::asio::any_io_executor executor);
  virtual ~Service() = default;

  // Resumes when the request ended. A refusal is a result, not an error.
  //
  // Cancelling: through the cancellation slot of the awaiting coroutine
  // (bind_cancellation_slot, awaitable operators), with a type that its filter
  // lets through: `terminal`, unless the coroutine changed it. A waiting
  // request is answered at once, one whose step runs when that step ends. Emit
  // the signal on the coroutine's own executor, as Asio asks. Other than by
  // this, Asio throws operation_aborted into a cancelled coroutine at its next
  // co_await; this_coro::throw_if_cancelled(false) turns that off.
  //
  // The request is copied by the call. It must have a name: g++ before 13
  // destroys a braced temporary of a co_await expression twice, so one does not
  // compile here.
  virtual boost::asio::awaitable<SubmitResult> Submit(
      const SubmitRequest& request) = 0;
  boost::asio::awaitable<SubmitResult> Submit(SubmitRequest&& request) = delete;

  // An id that no other call of NextId() of this service gave; from 1.
  virtual RequestId NextId() = 0;

  // What the engine knows besides answers: a ceiling that moved, what could be
  // reclaimed, a prefix that was evicted. Takes effect in the order of calls;
  // InvalidArgument and the like are counted as late answers.
  virtual void Tell(Fact fact) = 0;

  // Another policy from the next decision on: between two steps, never in one.
  // InvalidArgument names the option and then nothing changed; memory.base
  // counts for nothing, what is live is known. Requests in flight keep what
  // they were promised: below a lowered ceiling chunks become narrower, then
  // memory is reclaimed, then requests are preempted and computed again.
  // Whoever waits and now cannot fit at all is rejected with its reason. The
  // probe and its interval stay. policy_watcher.h calls this for a file.
  virtual boost::asio::awaitable<absl::Status> Reload(
      const ServicePolicy& policy) = 0;

  // Stops admissions at once: a Submit() from now on is rejected as overloaded.
  // Resumes when everyone is answered and no step runs, or its grace is over. A
  // second call waits for the same end; the earlier deadline counts.
  virtual boost::asio::awaitable<ShutdownReport> Shutdown(
      ShutdownOptions options = {}) = 0;

  // As of the last event.
  virtual ServiceMetrics Metrics() const = 0;
};

}  // namespace tidegate

#endif  // TIDEGATE_SERVICE_H_
