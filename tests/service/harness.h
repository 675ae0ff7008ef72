// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A service on a real io_context with several threads, a clock that a test
// moves, and an engine that a test answers by hand from its own thread.

#ifndef TIDEGATE_TESTS_SERVICE_HARNESS_H_
#define TIDEGATE_TESTS_SERVICE_HARNESS_H_

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_future.hpp>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/testing/matchers.h"
#include "tests/testing/small_device.h"
#include "tidegate/service.h"

namespace tidegate::testing {

namespace asio = boost::asio;

// Long enough for a loaded machine under a sanitizer; reached only by failures.
inline constexpr std::chrono::seconds kPatience{60};

// Stands still but for Advance(), which rings what became due.
class ManualClock final : public ServiceClock {
 public:
  Instant Now() override {
    const std::lock_guard lock(mutex_);
    return now_;
  }
  void SetAlarm(std::optional<Instant> when,
                std::function<void()> due) override {
    const std::lock_guard lock(mutex_);
    when_ = when;
    due_ = std::move(due);
    if (when_.has_value() && *when_ <= now_) Ring();
  }
  void Advance(Duration by) {
    const std::lock_guard lock(mutex_);
    now_ += by;
    if (when_.has_value() && *when_ <= now_) Ring();
  }
  bool armed() const {
    const std::lock_guard lock(mutex_);
    return when_.has_value();
  }

 private:
  // `due` only posts.
  void Ring() {
    when_.reset();
    std::exchange(due_, nullptr)();
  }
  mutable std::mutex mutex_;
  Instant now_{};
  std::optional<Instant> when_;
  std::function<void()> due_;
};

// What an engine was asked, kept until the test takes it.
class HandEngine final : public Engine {
 public:
  struct Step {
    RunStep step;
    StepCompletion done;
  };
  struct Decode {
    RequestId id = 0;
    DecodeHandle handle;
  };
  struct Reclaiming {
    tidegate::Reclaim what;
    ReclaimCompletion done;
  };

  // Set before the service starts.
  std::function<void(const RunStep&)> on_run;
  std::function<void(RequestId)> on_start_decode;
  std::function<absl::StatusOr<std::optional<MemoryProbeReading>>()> on_read;

  void Run(const RunStep& step, StepCompletion done) override {
    if (on_run) on_run(step);
    Put(steps_, {step, std::move(done)});
  }
  void StartDecode(RequestId id, DecodeHandle decode) override {
    if (on_start_decode) on_start_decode(id);
    Put(decodes_, {id, std::move(decode)});
  }
  void Release(RequestId id) override { Put(released_, id); }
  void Preempt(RequestId id) override { Put(preempted_, id); }
  void Reclaim(const tidegate::Reclaim& what, ReclaimCompletion done) override {
    Put(reclaims_, {what, std::move(done)});
  }
  absl::StatusOr<std::optional<MemoryProbeReading>> ReadMemory() override {
    if (on_read) return on_read();
    return std::nullopt;
  }

  // Wait for the next of its kind.
  Step TakeStep() { return Take(steps_, "step"); }
  Decode TakeDecode() { return Take(decodes_, "decode"); }
  Reclaiming TakeReclaim() { return Take(reclaims_, "reclaim"); }
  RequestId TakeReleased() { return Take(released_, "release"); }
  RequestId TakePreempted() { return Take(preempted_, "preemption"); }

  // How many wait to be taken.
  std::size_t releases() const { return Size(released_); }
  std::size_t preemptions() const { return Size(preempted_); }
  std::size_t steps() const { return Size(steps_); }

 private:
  template <typename T>
  std::size_t Size(const std::deque<T>& queue) const {
    const std::lock_guard lock(mutex_);
    return queue.size();
  }
  template <typename T>
  void Put(std::deque<T>& queue, T item) {
    const std::lock_guard lock(mutex_);
    queue.push_back(std::move(item));
    changed_.notify_all();
  }
  template <typename T>
  T Take(std::deque<T>& queue, const char* what) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kPatience, [&] { return !queue.empty(); })) {
      ADD_FAILURE() << "no " << what << " came";
      std::abort();
    }
    T item = std::move(queue.front());
    queue.pop_front();
    return item;
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Step> steps_;
  std::deque<Decode> decodes_;
  std::deque<Reclaiming> reclaims_;
  std::deque<RequestId> released_;
  std::deque<RequestId> preempted_;
};

// An io_context and the threads that run it.
class Threads {
 public:
  explicit Threads(int count) : work_(context_.get_executor()) {
    for (int i = 0; i < count; ++i) {
      threads_.emplace_back([this] { context_.run(); });
    }
  }
  // Runs what is left; nothing may be outstanding.
  void Join() {
    work_.reset();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  ~Threads() { Join(); }
  asio::any_io_executor executor() { return context_.get_executor(); }

 private:
  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::vector<std::thread> threads_;
};

// A client coroutine on a strand of its own, with a signal to cancel it.
class ClientCall {
 public:
  ClientCall(Service& service, SubmitRequest request,
             asio::any_io_executor executor)
      : strand_(asio::make_strand(executor)),
        signal_(std::make_shared<asio::cancellation_signal>()) {
    result_ = asio::co_spawn(
        strand_, Await(service, std::move(request), signal_),
        asio::bind_cancellation_slot(signal_->slot(), asio::use_future));
  }
  void Cancel() {
    asio::post(strand_, [signal = signal_] {
      signal->emit(asio::cancellation_type::terminal);
    });
  }
  bool answered() const {
    return result_.wait_for(std::chrono::seconds(0)) ==
           std::future_status::ready;
  }
  SubmitResult Get() {
    if (result_.wait_for(kPatience) != std::future_status::ready) {
      ADD_FAILURE() << "the client was never answered";
      std::abort();
    }
    return result_.get();
  }

 private:
  static asio::awaitable<SubmitResult> Await(
      Service& service, SubmitRequest request,
      std::shared_ptr<asio::cancellation_signal> /*outlives the coroutine*/) {
    co_await asio::this_coro::throw_if_cancelled(false);
    co_return co_await service.Submit(request);
  }

  asio::strand<asio::any_io_executor> strand_;
  std::shared_ptr<asio::cancellation_signal> signal_;
  std::future<SubmitResult> result_;
};

// Waits until it is so: for states that no call reports.
inline bool Eventually(const std::function<bool()>& condition) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

class ServiceFixture : public ::testing::Test {
 protected:
  ServiceFixture() { options_.scheduler = SmallDevice(); }
  ~ServiceFixture() override {
    service_.reset();
    threads_.Join();
  }

  Service& service() {
    if (service_ == nullptr) {
      options_.clock = clock_;
      auto created =
          Service::Create(std::move(options_), engine_, threads_.executor());
      EXPECT_THAT(created, IsOk());
      service_ = std::move(created).value();
    }
    return *service_;
  }
  ClientCall Submit(RequestId id, Tokens prompt, Tokens output = 0) {
    return Submit(SubmitRequest{
        .id = id,
        .request = {.prompt_tokens = prompt, .max_output_tokens = output}});
  }
  ClientCall Submit(SubmitRequest request) {
    return ClientCall(service(), std::move(request), threads_.executor());
  }
  std::future<ShutdownReport> Shutdown(ShutdownOptions options = {}) {
    return asio::co_spawn(threads_.executor(), service().Shutdown(options),
                          asio::use_future);
  }
  // Until the service knows of so many cancellations.
  bool EventuallyCancels(std::int64_t asked) {
    return Eventually(
        [&] { return service().Metrics().cancels_asked == asked; });
  }
  bool EventuallyOpen(std::int64_t open) {
    return Eventually([&] { return service().Metrics().open == open; });
  }

  std::shared_ptr<ManualClock> clock_ = std::make_shared<ManualClock>();
  std::shared_ptr<HandEngine> engine_ = std::make_shared<HandEngine>();
  ServiceOptions options_;
  Threads threads_{3};
  std::unique_ptr<Service> service_;
};

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_SERVICE_HARNESS_H_
