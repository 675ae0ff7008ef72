// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// How a service ends, by Shutdown() and by its destructor.

#include <utility>

#include "tests/service/harness.h"

namespace tidegate {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;
using ::tidegate::testing::kPatience;

class ShutdownTest : public testing::ServiceFixture {
 protected:
  static ShutdownReport Get(std::future<ShutdownReport>& report) {
    EXPECT_EQ(report.wait_for(kPatience), std::future_status::ready);
    return report.get();
  }
  bool EventuallyShuttingDown() {
    return testing::Eventually(
        [&] { return service().Metrics().shutting_down; });
  }
};

TEST_F(ShutdownTest, AnIdleServiceIsShutDownAtOnce) {
  auto report = Shutdown();
  EXPECT_EQ(Get(report).cancelled, 0);
}

TEST_F(ShutdownTest, NothingIsAdmittedAfterwards) {
  auto report = Shutdown();
  Get(report);
  const SubmitResult result = Submit(1, 100).Get();
  EXPECT_EQ(result.outcome, Outcome::kRejected);
  EXPECT_EQ(result.code, RefusalCode::kShuttingDown);
  EXPECT_THAT(result.reason, HasSubstr("shuts down"));
}

TEST_F(ShutdownTest, OpenRequestsMayFinishWithinTheDrain) {
  auto client = Submit(1, 100);
  auto step = engine_->TakeStep();
  auto report = Shutdown({.drain = seconds(30)});
  ASSERT_TRUE(EventuallyShuttingDown());
  step.done.Complete(StepOutcome::Done());
  engine_->TakeDecode().handle.Finish();
  EXPECT_EQ(client.Get().outcome, Outcome::kFinished);
  const ShutdownReport ended = Get(report);
  EXPECT_EQ(ended.finished, 1);
  EXPECT_EQ(ended.cancelled, 0);
  EXPECT_FALSE(ended.step_still_running);
}

TEST_F(ShutdownTest, EveryoneIsAnsweredAtTheDeadlineThoughAStepHangs) {
  auto running = Submit(1, 9000);
  auto step = engine_->TakeStep();
  auto waiting = Submit(2, 9000);
  ASSERT_TRUE(EventuallyOpen(2));
  auto report = Shutdown({.drain = seconds(30), .step_grace = seconds(10)});
  ASSERT_TRUE(EventuallyShuttingDown());
  clock_->Advance(seconds(30));
  EXPECT_EQ(running.Get().reason, "the service shut down");
  EXPECT_EQ(waiting.Get().outcome, Outcome::kCancelled);
  ASSERT_TRUE(testing::Eventually([&] { return clock_->armed(); }));
  clock_->Advance(seconds(10));
  const ShutdownReport ended = Get(report);
  EXPECT_EQ(ended.cancelled, 2);
  EXPECT_TRUE(ended.step_still_running);
  // Its memory is given back when it ends after all.
  EXPECT_EQ(engine_->releases(), 0u);
  step.done.Complete(StepOutcome::Done());
  EXPECT_EQ(engine_->TakeReleased(), 1u);
}

TEST_F(ShutdownTest, AStepThatEndsWithinItsGraceIsWaitedFor) {
  auto running = Submit(1, 9000);
  auto step = engine_->TakeStep();
  auto report = Shutdown({.drain = seconds(0), .step_grace = seconds(10)});
  EXPECT_EQ(running.Get().outcome, Outcome::kCancelled);
  EXPECT_EQ(report.wait_for(seconds(0)), std::future_status::timeout);
  step.done.Complete(StepOutcome::Done());
  EXPECT_FALSE(Get(report).step_still_running);
  EXPECT_EQ(service().Metrics().scheduler.resident_bytes, 0);
}

TEST_F(ShutdownTest, ASecondShutdownEndsWithTheFirst) {
  auto running = Submit(1, 9000);
  auto step = engine_->TakeStep();
  auto first = Shutdown({.drain = seconds(1000)});
  ASSERT_TRUE(EventuallyShuttingDown());
  auto second = Shutdown({.drain = seconds(0)});
  running.Get();
  step.done.Complete(StepOutcome::Done());
  EXPECT_EQ(Get(first).cancelled, 1);
  EXPECT_EQ(Get(second).cancelled, 1);
}

TEST_F(ShutdownTest, DestroyingTheServiceAnswersEveryone) {
  auto running = Submit(1, 9000);
  auto step = engine_->TakeStep();
  auto waiting = Submit(2, 9000);
  ASSERT_TRUE(EventuallyOpen(2));
  service_.reset();
  EXPECT_EQ(running.Get().reason, "the service was destroyed");
  EXPECT_EQ(waiting.Get().reason, "the service was destroyed");
}

TEST_F(ShutdownTest, AHandleThatOutlivesItsServiceDoesNothing) {
  auto client = Submit(1, 100);
  auto step = engine_->TakeStep();
  service_.reset();
  client.Get();
  threads_.Join();
  EXPECT_TRUE(step.done.Complete(StepOutcome::Done()));
  EXPECT_EQ(engine_->steps(), 0u);
}

TEST_F(ShutdownTest, AnIdleServiceKeepsNoTimer) {
  auto client = Submit(1, 100);
  engine_->TakeStep().done.Complete(StepOutcome::Done({.live_bytes = {100}}));
  engine_->TakeDecode().handle.Finish();
  client.Get();
  EXPECT_TRUE(testing::Eventually([&] { return !clock_->armed(); }));
}

TEST(ServiceContextTest, RunReturnsWhenClientsAreAnsweredOnARealClock) {
  auto engine = std::make_shared<testing::HandEngine>();
  testing::asio::io_context context;
  auto service = Service::Create({.scheduler = testing::SmallDevice()}, engine,
                                 context.get_executor());
  ASSERT_THAT(service, testing::IsOk());
  std::optional<Outcome> outcome;
  // A failed step, so that the retry runs on a real timer.
  int runs = 0;
  engine->on_run = [&](const RunStep&) {
    if (++runs == 1) throw std::runtime_error("once");
  };
  std::thread answers([&] {
    engine->TakeStep().done.Complete(StepOutcome::Done());
    engine->TakeDecode().handle.Finish();
  });
  testing::asio::co_spawn(
      context,
      [&]() -> testing::asio::awaitable<void> {
        const SubmitRequest request{.id = 1, .request = {.prompt_tokens = 100}};
        const SubmitResult result = co_await (*service)->Submit(request);
        outcome = result.outcome;
      },
      testing::asio::detached);
  context.run();
  answers.join();
  EXPECT_EQ(outcome, Outcome::kFinished);
  EXPECT_EQ(runs, 2);
}

TEST(ServiceContextTest, AContextThatDiesFirstFreesWhatWaits) {
  auto engine = std::make_shared<testing::HandEngine>();
  bool resumed = false;
  {
    testing::asio::io_context context;
    auto service = Service::Create({.scheduler = testing::SmallDevice()},
                                   engine, context.get_executor());
    ASSERT_THAT(service, testing::IsOk());
    testing::asio::co_spawn(
        context,
        [&]() -> testing::asio::awaitable<void> {
          const SubmitRequest request{.id = 1,
                                      .request = {.prompt_tokens = 100}};
          co_await (*service)->Submit(request);
          resumed = true;
        },
        testing::asio::detached);
    context.poll();
  }
  EXPECT_FALSE(resumed);
  EXPECT_EQ(engine.use_count(), 1);
}

}  // namespace
}  // namespace tidegate
