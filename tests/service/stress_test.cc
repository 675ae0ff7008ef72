// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Many clients on many threads against an engine that answers from threads of
// its own, and now and then fails, drops a handle or throws. Whatever happens,
// every client resumes exactly once and nothing stays charged.

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <set>
#include <string>
#include <utility>

#include "tests/service/harness.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
// Asio frees shared executors after a release decrement and an acquire fence.
// That is correct, and the thread sanitizer does not know fences.
extern "C" const char* __tsan_default_suppressions() {
  return "race:boost::asio::detail::ref_count_down\n";
}
#endif
#endif

namespace tidegate {
namespace {

namespace asio = boost::asio;

// Two workers; each job runs on one of them.
class RandomEngine final : public Engine {
 public:
  RandomEngine(std::uint64_t seed, const StepShape& shape)
      : shape_(shape), random_(seed) {
    for (int i = 0; i < 2; ++i) {
      workers_.emplace_back([this] { Work(); });
    }
  }
  ~RandomEngine() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  void Run(const RunStep& step, StepCompletion done) override {
    EXPECT_LE(++running_, shape_.in_flight) << "too many steps at once";
    for (const StepChunk& chunk : step.chunks) Held(chunk.id, true);
    const auto dice = Roll(50);
    if (dice == 0) {
      --running_;
      throw std::runtime_error("the device hiccups");
    }
    StepMeasurement measured;
    for (const RequestId id : step.decodes) {
      measured.decodes.push_back({id, 1, Roll(3) == 0});
    }
    auto handle = std::make_shared<StepCompletion>(std::move(done));
    Do([this, dice, handle, measured] {
      --running_;
      if (dice == 1) return;  // Dropped.
      if (dice == 2) {
        handle->Complete(StepOutcome::OutOfMemory());
      } else if (dice == 3) {
        handle->Complete(StepOutcome::Failed("bad luck"));
      } else {
        for (const DecodeResult& result : measured.decodes) {
          if (result.finished) Held(result.id, false);
        }
        handle->Complete(StepOutcome::Done(measured));
      }
      handle->Complete(StepOutcome::Failed("twice"));
    });
  }
  void StartDecode(RequestId id, DecodeHandle decode) override {
    const auto dice = Roll(20);
    auto handle = std::make_shared<DecodeHandle>(std::move(decode));
    Do([this, id, dice, handle] {
      for (int i = 0; i < 3; ++i) handle->Generated(1);
      if (dice == 0) return;  // Dropped.
      if (dice == 1) {
        handle->Fail("no luck");
        return;
      }
      Held(id, false);
      handle->Finish();
    });
  }
  void Release(RequestId id) override {
    Held(id, false);
    ++releases_;
  }
  void Preempt(RequestId /*id*/) override { ++preemptions_; }

  std::size_t held() const {
    const std::lock_guard lock(mutex_);
    return held_.size();
  }

 private:
  std::uint64_t Roll(std::uint64_t sides) {
    const std::lock_guard lock(mutex_);
    return random_() % sides;
  }
  void Held(RequestId id, bool held) {
    const std::lock_guard lock(mutex_);
    if (held) {
      held_.insert(id);
    } else {
      held_.erase(id);
    }
  }
  void Do(std::function<void()> job) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    changed_.notify_one();
  }
  void Work() {
    for (;;) {
      std::function<void()> job;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
        if (jobs_.empty()) return;
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      job();
    }
  }

  const StepShape shape_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::mt19937_64 random_;
  std::deque<std::function<void()>> jobs_;
  std::set<RequestId> held_;
  bool stop_ = false;
  std::atomic<int> running_{0};
  std::atomic<int> releases_{0};
  std::atomic<int> preemptions_{0};
  std::vector<std::thread> workers_;
};

struct Tally {
  std::atomic<int> resumed{0};
  std::atomic<int> finished{0};
  std::atomic<int> cancelled{0};
  std::atomic<int> rejected{0};
};

asio::awaitable<void> Client(Service& service, Tokens prompt, Tally& tally,
                             std::shared_ptr<asio::cancellation_signal>) {
  co_await asio::this_coro::throw_if_cancelled(false);
  const SubmitRequest request{
      .id = service.NextId(),
      .request = {.prompt_tokens = prompt, .max_output_tokens = 4}};
  const SubmitResult result = co_await service.Submit(request);
  ++tally.resumed;
  switch (result.outcome) {
    case Outcome::kFinished:
      ++tally.finished;
      break;
    case Outcome::kCancelled:
      ++tally.cancelled;
      break;
    case Outcome::kRejected:
      ++tally.rejected;
      break;
  }
}

struct Engines {
  const char* name;
  StepShape shape;
};

class ServiceStressTest : public ::testing::TestWithParam<Engines> {};

// TIDEGATE_STRESS_REQUESTS: how many, all threads together.
int Requests() {
  const char* wanted = std::getenv("TIDEGATE_STRESS_REQUESTS");
  return wanted != nullptr ? std::max(8, std::atoi(wanted)) : 800;
}

TEST_P(ServiceStressTest, EveryClientResumesOnceAndTheLedgerEndsAtZero) {
  constexpr int kThreads = 8;
  const int kRequestsEach = Requests() / kThreads;
  const std::uint64_t seed = std::random_device{}();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  auto engine = std::make_shared<RandomEngine>(seed, GetParam().shape);
  auto clock = std::make_shared<testing::ManualClock>();
  Tally tally;
  testing::Threads threads(kThreads);
  SchedulerOptions scheduler = testing::SmallDevice();
  scheduler.queue_max = 300;
  scheduler.step = GetParam().shape;
  auto created = Service::Create({.scheduler = scheduler, .clock = clock},
                                 engine, threads.executor());
  ASSERT_THAT(created, testing::IsOk());
  Service& service = **created;

  std::vector<std::thread> submitters;
  for (int t = 0; t < kThreads; ++t) {
    submitters.emplace_back([&, t] {
      std::mt19937_64 random(seed + static_cast<std::uint64_t>(t));
      for (int i = 0; i < kRequestsEach; ++i) {
        const Tokens prompt = 1 + static_cast<Tokens>(random() % 9900);
        const auto strand = asio::make_strand(threads.executor());
        const auto signal = std::make_shared<asio::cancellation_signal>();
        asio::co_spawn(
            strand, Client(service, prompt, tally, signal),
            asio::bind_cancellation_slot(signal->slot(), asio::detached));
        const int cancels = static_cast<int>(random() % 3);
        for (int c = 0; c < cancels; ++c) {
          asio::post(strand, [signal] {
            signal->emit(asio::cancellation_type::terminal);
          });
        }
      }
    });
  }
  for (std::thread& submitter : submitters) submitter.join();
  const int kAll = kThreads * kRequestsEach;
  // Pauses after failures pass at once.
  EXPECT_TRUE(testing::Eventually([&] {
    if (clock->armed()) clock->Advance(std::chrono::seconds(1));
    return tally.resumed == kAll;
  })) << tally.resumed
      << " of " << kAll;

  const ServiceMetrics metrics = service.Metrics();
  EXPECT_EQ(metrics.submitted + tally.cancelled - metrics.cancelled, kAll);
  EXPECT_EQ(metrics.open, 0);
  EXPECT_EQ(metrics.queued_tokens, 0);
  EXPECT_EQ(metrics.finished, tally.finished);
  EXPECT_EQ(metrics.scheduler.claimed_bytes, 0);
  EXPECT_EQ(metrics.scheduler.resident_bytes, 0);
  EXPECT_EQ(metrics.scheduler.waiting, 0);
  EXPECT_EQ(engine->held(), 0u);
  created->reset();
  threads.Join();
  EXPECT_EQ(tally.resumed, kAll);
  EXPECT_EQ(tally.finished + tally.cancelled + tally.rejected, kAll);
  EXPECT_EQ(engine.use_count(), 1);
}

INSTANTIATE_TEST_SUITE_P(
    Engines, ServiceStressTest,
    ::testing::Values(
        Engines{"ThatDecodesByItself", {}},
        Engines{"ThatMixes",
                {.sequences = 3, .decode = StepShape::Decode::kMixed}},
        Engines{"WithStepsInFlight",
                {.decode = StepShape::Decode::kBetween, .in_flight = 2}}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace tidegate
