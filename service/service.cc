// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The only file that sees Asio's machinery: the strand, the timer, and the
// bridge from coroutines to front.h.
//
// Who holds whom: the service holds the Loop; so does every letter that waits
// in the strand's queue. Handles of the engine, cancellation slots and the
// alarm hold it weakly. The Loop holds the clients' handlers, whose coroutines
// must therefore not hold the Loop, or neither would ever be freed.

#include "tidegate/service.h"

#include <atomic>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <mutex>
#include <utility>
#include <vector>

#include "estimators/text.h"
#include "service/decision_sinks.h"
#include "service/front.h"
#include "tidegate/status.h"

namespace tidegate {
namespace {

namespace asio = boost::asio;
using asio::any_io_executor;
using Strand = asio::strand<any_io_executor>;
using internal::Front;

// The machine's steady clock and a timer that expires on the strand. The
// outstanding wait is cancelled when there is nothing to wait for, so that it
// keeps no context running.
class SteadyClock final : public ServiceClock {
 public:
  explicit SteadyClock(const Strand& strand)
      : start_(std::chrono::steady_clock::now()), timer_(strand) {}

  Instant Now() override {
    return Instant(std::chrono::duration_cast<Duration>(
        std::chrono::steady_clock::now() - start_));
  }

  void SetAlarm(std::optional<Instant> when,
                std::function<void()> due) override {
    if (!when.has_value()) {
      if (armed_) timer_.cancel();
      armed_ = false;
      return;
    }
    armed_ = true;
    timer_.expires_at(start_ + when->time_since_epoch());
    timer_.async_wait([due = std::move(due)](const auto& error) {
      if (!error) due();
    });
  }

 private:
  const std::chrono::steady_clock::time_point start_;
  bool armed_ = false;
  asio::steady_timer timer_;
};

// An awaiting coroutine, or any other completion handler, to be resumed once on
// its own executor. Its executor counts it as outstanding work until then.
template <typename Handler, typename Result>
class Waiter {
 public:
  Waiter(Handler handler, const any_io_executor& fallback)
      : handler_(std::move(handler)),
        work_(asio::get_associated_executor(handler_, fallback)) {}

  void Resume(Result result) {
    auto executor = work_.get_executor();
    asio::post(executor,
               [handler = std::move(handler_), work = std::move(work_),
                result = std::move(result)]() mutable {
                 // On the coroutine's own executor: there the slot is used.
                 asio::get_associated_cancellation_slot(handler).clear();
                 std::move(handler)(std::move(result));
               });
  }

 private:
  using Executor = asio::associated_executor_t<Handler, any_io_executor>;
  Handler handler_;
  asio::executor_work_guard<Executor> work_;
};

class Loop final : public internal::Mailbox,
                   public std::enable_shared_from_this<Loop> {
 public:
  explicit Loop(const any_io_executor& executor)
      : strand_(asio::make_strand(executor)) {}

  void Start(std::unique_ptr<PullScheduler> pull,
             std::shared_ptr<Engine> engine, ServiceOptions options,
             std::shared_ptr<const internal::DecisionSinks> sinks) {
    sinks_ = std::move(sinks);
    clock_ = options.clock;
    if (clock_ == nullptr) clock_ = std::make_shared<SteadyClock>(strand_);
    front_ = std::make_unique<Front>(
        std::move(pull), std::move(engine), std::move(options.probe),
        std::move(options.tenants), options.queued_tokens_max,
        options.probe_interval, options.scheduler.step.DecodesInSteps(),
        [clock = clock_.get()] { return clock->Now(); });
    front_->SetMailbox(weak_from_this());
    metrics_ = front_->Metrics();
  }

  void Post(std::function<void(Front&)> letter) override {
    const Strand strand = strand_;
    asio::post(strand, [self = shared_from_this(), letter = std::move(letter)] {
      letter(*self->front_);
      self->Turn();
    });
  }

  ServiceMetrics Metrics() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return metrics_;
  }

  const Strand& strand() const { return strand_; }

  internal::Ticket NextTicket() { return ++tickets_; }

  // For the Front's callbacks, on the strand: clients resume after the metrics
  // show what they are told.
  void AfterTurn(std::function<void()> call) {
    after_turn_.push_back(std::move(call));
  }

 private:
  void Turn() {
    front_->Turn();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      metrics_ = front_->Metrics();
      metrics_.engine_exceptions += sinks_->exceptions();
    }
    for (const auto& call : std::exchange(after_turn_, {})) call();
    clock_->SetAlarm(front_->NextAlarm(), [weak = weak_from_this()] {
      // Turn() does what is due.
      if (const auto self = weak.lock()) self->Post([](Front&) {});
    });
  }

  const Strand strand_;
  std::shared_ptr<const internal::DecisionSinks> sinks_;
  std::shared_ptr<ServiceClock> clock_;
  std::unique_ptr<Front> front_;
  std::vector<std::function<void()>> after_turn_;
  std::atomic<internal::Ticket> tickets_{0};
  mutable std::mutex mutex_;
  ServiceMetrics metrics_;  // under mutex_
};

// Free coroutines with their arguments by value: nothing that a caller may
// destroy while they are suspended is referred to.
asio::awaitable<SubmitResult> SubmitTo(std::shared_ptr<Loop> loop,
                                       SubmitRequest request) {
  const auto state = co_await asio::this_coro::cancellation_state;
  if (state.cancelled() != asio::cancellation_type::none) {
    co_return SubmitResult{.outcome = Outcome::kCancelled,
                           .reason = "cancelled before it was submitted"};
  }
  auto start = [loop = std::move(loop)](auto handler,
                                        SubmitRequest submitted) mutable {
    const std::shared_ptr<Loop> to = std::move(loop);
    const auto ticket = to->NextTicket();
    const RequestId id = submitted.id;
    auto slot = asio::get_associated_cancellation_slot(handler);
    auto waiter = std::make_shared<Waiter<decltype(handler), SubmitResult>>(
        std::move(handler), to->strand());
    to->Post([ticket, submitted = std::move(submitted), waiter,
              loop = to.get()](Front& front) mutable {
      front.Submit(ticket, std::move(submitted),
                   [waiter, loop](SubmitResult result) {
                     loop->AfterTurn([waiter, result = std::move(result)] {
                       waiter->Resume(result);
                     });
                   });
    });
    if (!slot.is_connected()) return;
    slot.assign([weak = std::weak_ptr<Loop>(to), ticket,
                 id](asio::cancellation_type) {
      if (const auto loop = weak.lock()) {
        loop->Post([ticket, id](Front& front) { front.Cancel(ticket, id); });
      }
    });
  };
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>&,
                                          void(SubmitResult)>(
      std::move(start), asio::use_awaitable, std::move(request));
}

asio::awaitable<ShutdownReport> ShutDown(std::shared_ptr<Loop> loop,
                                         ShutdownOptions options) {
  auto start = [loop = std::move(loop), options](auto handler) mutable {
    const std::shared_ptr<Loop> to = std::move(loop);
    auto waiter = std::make_shared<Waiter<decltype(handler), ShutdownReport>>(
        std::move(handler), to->strand());
    to->Post([options, waiter, loop = to.get()](Front& front) {
      front.Shutdown(options, [waiter, loop](ShutdownReport report) {
        loop->AfterTurn([waiter, report] { waiter->Resume(report); });
      });
    });
  };
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>&,
                                          void(ShutdownReport)>(
      std::move(start), asio::use_awaitable);
}

struct Reloaded {
  std::shared_ptr<const SchedulerOptions> options;
  TenantPolicies tenants;
};

// Only pointers are captured in the co_await expression.
asio::awaitable<absl::Status> ReloadWith(
    std::shared_ptr<Loop> loop, std::shared_ptr<const Reloaded> reloaded) {
  auto start = [loop = std::move(loop),
                reloaded = std::move(reloaded)](auto handler) mutable {
    const std::shared_ptr<Loop> to = std::move(loop);
    auto waiter = std::make_shared<Waiter<decltype(handler), absl::Status>>(
        std::move(handler), to->strand());
    to->Post([reloaded = std::move(reloaded), waiter,
              loop = to.get()](Front& front) {
      const absl::Status status =
          front.Reload(reloaded->options, reloaded->tenants);
      loop->AfterTurn([waiter, status] { waiter->Resume(status); });
    });
  };
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>&,
                                          void(absl::Status)>(
      std::move(start), asio::use_awaitable);
}

class AsioService final : public Service {
 public:
  explicit AsioService(std::shared_ptr<Loop> loop) : loop_(std::move(loop)) {}
  ~AsioService() override {
    loop_->Post([](Front& front) { front.Abort(); });
  }

  asio::awaitable<SubmitResult> Submit(const SubmitRequest& request) override {
    return SubmitTo(loop_, request);
  }
  RequestId NextId() override { return ++ids_; }
  void Tell(Fact fact) override {
    loop_->Post([fact = std::move(fact)](Front& front) { front.Tell(fact); });
  }
  asio::awaitable<absl::Status> Reload(const ServicePolicy& policy) override {
    return ReloadWith(
        loop_, std::make_shared<const Reloaded>(Reloaded{
                   std::make_shared<const SchedulerOptions>(policy.scheduler),
                   policy.tenants}));
  }
  asio::awaitable<ShutdownReport> Shutdown(ShutdownOptions options) override {
    return ShutDown(loop_, options);
  }
  ServiceMetrics Metrics() const override { return loop_->Metrics(); }

 private:
  const std::shared_ptr<Loop> loop_;
  std::atomic<RequestId> ids_{0};
};

}  // namespace

absl::StatusOr<std::unique_ptr<Service>> Service::Create(
    ServiceOptions options, std::shared_ptr<Engine> engine,
    any_io_executor executor) {
  if (engine == nullptr) {
    return internal::InvalidArgument("engine: expected one, got null");
  }
  if (!executor) {
    return internal::InvalidArgument("executor: expected one, got none");
  }
  if (options.queued_tokens_max < 0) {
    return internal::InvalidArgument(
        "queued_tokens_max: expected at least 0, got ",
        options.queued_tokens_max);
  }
  if (options.probe_interval <= Duration::zero()) {
    return internal::InvalidArgument("probe_interval: expected more than 0 ns");
  }
  auto sinks = std::make_shared<internal::DecisionSinks>(
      std::move(options.decision_log), std::move(options.on_decision));
  DecisionObserver observer;
  if (sinks->wanted()) {
    observer = [sinks](const Decision& decision) { sinks->Take(decision); };
  }
  TG_ASSIGN_OR_RETURN(
      auto pull, PullScheduler::Create(options.scheduler, std::move(observer)));
  auto loop = std::make_shared<Loop>(executor);
  loop->Start(std::move(pull), std::move(engine), std::move(options),
              std::move(sinks));
  return std::unique_ptr<Service>(
      std::make_unique<AsioService>(std::move(loop)));
}

}  // namespace tidegate
