// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/service.h"

#include <string>
#include <utility>
#include <vector>

#include "tests/service/harness.h"

namespace tidegate {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::tidegate::testing::Eventually;
using ::tidegate::testing::StatusIs;

using ServiceTest = testing::ServiceFixture;

TEST_F(ServiceTest, AFinishedRequestResumesItsClient) {
  auto client = Submit(1, 1500, 10);
  EXPECT_TRUE(engine_->TakeStep().done.Complete(StepOutcome::Done()));
  EXPECT_TRUE(engine_->TakeStep().done.Complete(StepOutcome::Done()));
  auto decode = engine_->TakeDecode();
  EXPECT_EQ(decode.id, 1u);
  decode.handle.Generated(3);
  EXPECT_TRUE(decode.handle.Finish());
  const SubmitResult result = client.Get();
  EXPECT_EQ(result.outcome, Outcome::kFinished);
  EXPECT_EQ(result.prompt_tokens_done, 1500);
  EXPECT_EQ(result.generated_tokens, 3);
}

TEST_F(ServiceTest, ARefusalShowsItsArithmetic) {
  const SubmitResult result = Submit(1, 20'000).Get();
  EXPECT_EQ(result.outcome, Outcome::kRejected);
  EXPECT_EQ(result.code, RefusalCode::kTooLarge);
  EXPECT_EQ(result.arithmetic.ceiling, 10'000);
  EXPECT_GT(result.arithmetic.live + result.arithmetic.resident +
                result.arithmetic.transient,
            10'000);
  EXPECT_THAT(result.reason, HasSubstr("ceiling"));
  EXPECT_GT(result.largest_prompt_that_fits, 9000);
  EXPECT_EQ(result.retry_after, std::nullopt);
}

TEST_F(ServiceTest, ASecondRequestOfTheSameIdIsRefusedAndTheFirstGoesOn) {
  auto first = Submit(7, 100);
  auto step = engine_->TakeStep();
  const SubmitResult second = Submit(7, 100).Get();
  EXPECT_EQ(second.code, RefusalCode::kUnsupported);
  EXPECT_THAT(second.reason, HasSubstr("request 7 is open already"));
  step.done.Complete(StepOutcome::Done());
  engine_->TakeDecode().handle.Finish();
  EXPECT_EQ(first.Get().outcome, Outcome::kFinished);
}

TEST_F(ServiceTest, CancellingAWaitingRequestAnswersItAtOnce) {
  auto first = Submit(1, 9000);
  auto step = engine_->TakeStep();
  auto second = Submit(2, 9000);
  ASSERT_TRUE(EventuallyOpen(2));
  second.Cancel();
  const SubmitResult result = second.Get();
  EXPECT_EQ(result.outcome, Outcome::kCancelled);
  EXPECT_EQ(result.reason, "the client cancelled");
  EXPECT_EQ(result.waited, std::nullopt);
  EXPECT_FALSE(first.answered());
}

TEST_F(ServiceTest, CancellingDuringAStepAnswersWhenItEndsAndReleases) {
  auto client = Submit(1, 9000);
  auto step = engine_->TakeStep();
  client.Cancel();
  ASSERT_TRUE(EventuallyCancels(1));
  EXPECT_FALSE(client.answered());
  EXPECT_EQ(engine_->releases(), 0u);
  step.done.Complete(StepOutcome::Done());
  EXPECT_EQ(client.Get().outcome, Outcome::kCancelled);
  EXPECT_EQ(engine_->TakeReleased(), 1u);
}

TEST_F(ServiceTest, CancellingWhileDecodingAnswersAndReleases) {
  auto client = Submit(1, 100);
  engine_->TakeStep().done.Complete(StepOutcome::Done());
  auto decode = engine_->TakeDecode();
  client.Cancel();
  EXPECT_EQ(client.Get().outcome, Outcome::kCancelled);
  EXPECT_EQ(engine_->TakeReleased(), 1u);
  // The engine's thread may be late; nothing is answered twice.
  EXPECT_TRUE(decode.handle.Finish());
}

TEST_F(ServiceTest, AFullQueueRefusesAtOnceAndSaysWhenToRetry) {
  options_.scheduler.queue_max = 1;
  auto first = Submit(1, 9000);
  auto step = engine_->TakeStep();
  clock_->Advance(seconds(2));
  step.done.Complete(StepOutcome::Done());  // 512 tokens a second.
  step = engine_->TakeStep();
  auto second = Submit(2, 9000);
  ASSERT_TRUE(EventuallyOpen(2));
  const SubmitResult third = Submit(3, 100).Get();
  EXPECT_EQ(third.code, RefusalCode::kOverloaded);
  EXPECT_THAT(third.reason, HasSubstr("queue_max is 1"));
  ASSERT_TRUE(third.retry_after.has_value());
  // 7,976 and 9,000 tokens are queued.
  EXPECT_EQ(*third.retry_after / milliseconds(1),
            (9000 - 1024 + 9000) * 1000 / 512 + 1);
}

TEST_F(ServiceTest, QueuedTokensAreBoundedToo) {
  options_.queued_tokens_max = 1000;
  auto first = Submit(1, 900);
  auto step = engine_->TakeStep();
  const SubmitResult second = Submit(2, 101).Get();
  EXPECT_EQ(second.code, RefusalCode::kOverloaded);
  EXPECT_THAT(second.reason, HasSubstr("900 prompt tokens wait"));
  EXPECT_EQ(second.retry_after, std::nullopt);  // Nothing measured yet.
}

TEST_F(ServiceTest, ProgressSaysTokensWidthAndWhatBoundIt) {
  std::vector<Progress> seen;
  auto client = Submit(SubmitRequest{
      .id = 1,
      .request = {.prompt_tokens = 1500},
      .on_progress = [&](const Progress& p) { seen.push_back(p); }});
  engine_->TakeStep().done.Complete(StepOutcome::Done());
  engine_->TakeStep().done.Complete(StepOutcome::Done());
  engine_->TakeDecode().handle.Finish();
  client.Get();  // Everything was said before the answer.
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].done, 1024);
  EXPECT_EQ(seen[0].total, 1500);
  EXPECT_EQ(seen[0].chunk_tokens, 1024);
  EXPECT_EQ(seen[0].bound, Bound::kMaximum);
  EXPECT_EQ(seen[1].done, 1500);
  EXPECT_EQ(seen[1].chunk_tokens, 476);
  EXPECT_EQ(seen[1].bound, Bound::kPrompt);
}

TEST_F(ServiceTest, AThrowingProgressCallbackHarmsNobody) {
  auto client = Submit(SubmitRequest{
      .id = 1,
      .request = {.prompt_tokens = 100},
      .on_progress = [](const Progress&) { throw std::runtime_error("no"); }});
  engine_->TakeStep().done.Complete(StepOutcome::Done());
  engine_->TakeDecode().handle.Finish();
  EXPECT_EQ(client.Get().outcome, Outcome::kFinished);
  EXPECT_EQ(service().Metrics().engine_exceptions, 1);
}

TEST_F(ServiceTest, OutOfMemoryIsTriedNarrower) {
  auto client = Submit(1, 8000);
  auto step = engine_->TakeStep();
  EXPECT_EQ(step.step.chunks[0].n, 1024);
  step.done.Complete(StepOutcome::OutOfMemory("1.2 GiB were missing"));
  step = engine_->TakeStep();
  EXPECT_EQ(step.step.chunks[0].n, 512);
  EXPECT_TRUE(Eventually(
      [&] { return service().Metrics().scheduler.out_of_memory == 1; }));
}

TEST_F(ServiceTest, AStepThatThrowsIsAFailedStepAndIsTriedAgain) {
  int runs = 0;
  engine_->on_run = [&](const RunStep&) {
    if (++runs == 1) throw std::runtime_error("device lost");
  };
  auto client = Submit(1, 100);
  ASSERT_TRUE(Eventually([&] { return clock_->armed(); }));
  clock_->Advance(seconds(1));
  engine_->TakeStep().done.Complete(StepOutcome::Done());
  engine_->TakeDecode().handle.Finish();
  EXPECT_EQ(client.Get().outcome, Outcome::kFinished);
  EXPECT_EQ(service().Metrics().engine_exceptions, 1);
  EXPECT_EQ(service().Metrics().steps_failed, 1);
}

TEST_F(ServiceTest, ADroppedHandleIsAFailedStepAndIsTriedAgain) {
  auto client = Submit(1, 100);
  { auto dropped = engine_->TakeStep(); }
  ASSERT_TRUE(Eventually([&] { return clock_->armed(); }));
  clock_->Advance(seconds(1));
  engine_->TakeStep().done.Complete(StepOutcome::Done());
  engine_->TakeDecode().handle.Finish();
  EXPECT_EQ(client.Get().outcome, Outcome::kFinished);
  EXPECT_EQ(service().Metrics().steps_dropped, 1);
}

TEST_F(ServiceTest, AnEngineThatAlwaysFailsEndsInAnAnswer) {
  engine_->on_run = [](const RunStep&) { throw std::runtime_error("broken"); };
  auto client = Submit(1, 100);
  while (!client.answered()) {
    if (clock_->armed()) clock_->Advance(seconds(20));
    std::this_thread::yield();
  }
  const SubmitResult result = client.Get();
  EXPECT_EQ(result.code, RefusalCode::kOverloaded);
  EXPECT_THAT(result.reason, HasSubstr("the engine failed"));
  EXPECT_EQ(engine_->TakeReleased(), 1u);
  EXPECT_EQ(service().Metrics().scheduler.claimed_bytes, 0);
}

TEST_F(ServiceTest, AStepAnswersOnce) {
  auto client = Submit(1, 2000);
  auto step = engine_->TakeStep();
  EXPECT_TRUE(step.done.pending());
  EXPECT_TRUE(step.done.Complete(StepOutcome::Done()));
  EXPECT_FALSE(step.done.pending());
  EXPECT_FALSE(step.done.Complete(StepOutcome::OutOfMemory()));
  EXPECT_EQ(engine_->TakeStep().step.chunks[0].start, 1024);
}

TEST_F(ServiceTest, AnImpossibleMeasurementDoesNotUndoTheStep) {
  auto client = Submit(1, 2000);
  engine_->TakeStep().done.Complete(StepOutcome::Done({.live_bytes = {-1}}));
  EXPECT_EQ(engine_->TakeStep().step.chunks[0].start, 1024);
  EXPECT_TRUE(
      Eventually([&] { return service().Metrics().late_answers == 1; }));
}

TEST_F(ServiceTest, ADroppedDecodeIsCancelledWithItsReason) {
  auto client = Submit(1, 100);
  engine_->TakeStep().done.Complete(StepOutcome::Done());
  { auto dropped = engine_->TakeDecode(); }
  const SubmitResult result = client.Get();
  EXPECT_EQ(result.outcome, Outcome::kCancelled);
  EXPECT_THAT(result.reason, HasSubstr("dropped the request"));
  EXPECT_EQ(engine_->TakeReleased(), 1u);
}

TEST_F(ServiceTest, ADecodeThatCannotStartIsCancelledWithItsReason) {
  engine_->on_start_decode = [](RequestId) {
    throw std::runtime_error("no sampler");
  };
  auto client = Submit(1, 100);
  engine_->TakeStep().done.Complete(StepOutcome::Done());
  const SubmitResult result = client.Get();
  EXPECT_EQ(result.outcome, Outcome::kCancelled);
  EXPECT_THAT(result.reason, HasSubstr("no sampler"));
}

TEST_F(ServiceTest, AFinishThatCrossesAPreemptionWins) {
  options_.scheduler.order_policy = "fair";
  auto first = Submit(1, 1000, 1000);
  engine_->TakeStep().done.Complete(StepOutcome::Done());
  auto decode = engine_->TakeDecode();
  auto second = Submit(2, 3000);
  auto step = engine_->TakeStep();
  // Room for neither while both are there.
  service().Tell(CeilingChanged{3400});
  step.done.Complete(StepOutcome::Done());
  std::optional<RequestId> preempted;
  // The shortage must last before anybody is preempted.
  while (engine_->preemptions() == 0 && !second.answered()) {
    if (clock_->armed()) clock_->Advance(seconds(1));
    step.done.Complete(StepOutcome::Done());
    std::this_thread::yield();
    if (engine_->steps() > 0) step = engine_->TakeStep();
  }
  preempted = engine_->TakePreempted();
  ASSERT_EQ(*preempted, 1u);
  EXPECT_TRUE(decode.handle.Finish());
  EXPECT_EQ(first.Get().outcome, Outcome::kFinished);
}

TEST_F(ServiceTest, CreateNamesWhatIsWrong) {
  const auto executor = threads_.executor();
  EXPECT_THAT(
      Service::Create({.scheduler = testing::SmallDevice()}, nullptr, executor),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("engine")));
  EXPECT_THAT(
      Service::Create({.scheduler = testing::SmallDevice()}, engine_,
                      boost::asio::any_io_executor()),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("executor")));
  EXPECT_THAT(Service::Create({.scheduler = testing::SmallDevice(),
                               .probe_interval = Duration::zero()},
                              engine_, executor),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("probe_interval")));
  EXPECT_THAT(
      Service::Create({}, engine_, executor),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("estimator")));
}

}  // namespace
}  // namespace tidegate
