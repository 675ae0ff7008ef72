// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Steps with several prompts, with decode tokens, and several at once.

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/testing/hand_driven_scheduler.h"
#include "tests/testing/matchers.h"

namespace tidegate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::tidegate::testing::HandDrivenScheduler;
using ::tidegate::testing::StatusIs;
using Decode = StepShape::Decode;

std::vector<RequestId> Ids(const RunStep& run) {
  std::vector<RequestId> ids;
  for (const StepChunk& chunk : run.chunks) ids.push_back(chunk.id);
  return ids;
}

class MixedStepsTest : public HandDrivenScheduler {
 protected:
  // Ends the running step; `finished` of its decodes are complete.
  std::vector<Action> Ran(std::vector<RequestId> finished = {}) {
    StepDone done{.step = std::exchange(running_, std::nullopt)->step};
    for (const RequestId id : finished) done.decodes.push_back({id, 1, true});
    return Send(done);
  }
};

TEST_F(MixedStepsTest, ChunksOfSeveralPromptsShareAStep) {
  options_.step.sequences = 3;
  Submit(1, 1024);
  Submit(2, 300);
  Submit(3, 300);
  Ran();
  EXPECT_THAT(Ids(*running_), ElementsAre(2, 3));
  EXPECT_EQ(running_->price.transient_bytes, 4 * 600);
  EXPECT_EQ(running_->price.resident_bytes, 600);
}

TEST_F(MixedStepsTest, ChunksTogetherAreNoWiderThanTheMaximum) {
  options_.step.sequences = 2;
  Submit(1, 100);
  Submit(2, 800);
  Submit(3, 800);
  Ran();
  ASSERT_THAT(running_->chunks, SizeIs(2));
  EXPECT_EQ(running_->chunks[0].n, 800);
  EXPECT_EQ(running_->chunks[1].n, 192);  // 224, on a boundary
  EXPECT_EQ(running_->chunks[1].bound, Bound::kShare);
}

TEST_F(MixedStepsTest, AChunkBelowTheFloorWaitsForTheNextStep) {
  options_.step.sequences = 2;
  options_.chunk.floor = 256;
  Submit(1, 100);
  Submit(2, 800);
  Submit(3, 800);
  Ran();
  EXPECT_THAT(Ids(*running_), ElementsAre(2));
}

TEST_F(MixedStepsTest, WhatDoesNotFitBesideOthersWaitsForTheNextStep) {
  options_.step.sequences = 2;
  options_.memory.ceiling = 3000;
  options_.chunk.max = 512;
  Submit(1, 400);  // 400 resident and 1600 transient
  Submit(2, 300);  // 300 and 1200 beside it: too much
  EXPECT_THAT(Ids(*running_), ElementsAre(1));
  Ran();
  EXPECT_THAT(Ids(*running_), ElementsAre(2));
}

TEST_F(MixedStepsTest, DecodeTokensRideAlongWithChunks) {
  options_.step.decode = Decode::kMixed;
  Submit(1, 100, 10);
  Submit(2, 2000, 10);
  EXPECT_THAT(Of<StartDecode>(Ran()), SizeIs(1));
  EXPECT_THAT(running_->decodes, ElementsAre(1));
  EXPECT_THAT(Ids(*running_), ElementsAre(2));
}

TEST_F(MixedStepsTest, DecodingGoesOnWithoutPrompts) {
  options_.step.decode = Decode::kMixed;
  Submit(1, 100, 10);
  Ran();
  EXPECT_THAT(running_->decodes, ElementsAre(1));
  EXPECT_THAT(running_->chunks, IsEmpty());
  Ran();
  EXPECT_THAT(running_->decodes, ElementsAre(1));
  Ran({1});
  EXPECT_FALSE(running_.has_value());
  EXPECT_EQ(scheduler().Stats().finished, 1);
  EXPECT_EQ(scheduler().Stats().resident_bytes, 0);
}

TEST_F(MixedStepsTest, TheFirstTokenTakesNoMemoryAndTheNextOnesDo) {
  options_.step.decode = Decode::kMixed;
  Submit(1, 100, 10);
  Ran();
  EXPECT_EQ(scheduler().Stats().resident_bytes, 100);
  Ran();
  EXPECT_EQ(scheduler().Stats().resident_bytes, 101);
}

TEST_F(MixedStepsTest, ARequestMayEndWithItsPrompt) {
  options_.step.decode = Decode::kMixed;
  Submit(1, 100, 1);
  const auto actions = Ran({1});
  EXPECT_THAT(Of<StartDecode>(actions), IsEmpty());
  EXPECT_EQ(scheduler().Stats().finished, 1);
}

TEST_F(MixedStepsTest, DecodeStepsLieBetweenChunksWhereTheEngineCannotMix) {
  options_.step.decode = Decode::kBetween;
  Submit(1, 100, 10);
  Submit(2, 4000, 10);
  Ran();
  EXPECT_THAT(running_->decodes, ElementsAre(1));
  EXPECT_THAT(running_->chunks, IsEmpty());
  Ran();
  EXPECT_THAT(running_->decodes, IsEmpty());
  EXPECT_THAT(Ids(*running_), ElementsAre(2));
  Ran();
  EXPECT_THAT(running_->decodes, ElementsAre(1));
}

TEST_F(MixedStepsTest, NoStepHasMoreTokensThanTheEngineTakes) {
  options_.step = {.decode = Decode::kMixed, .tokens = 512};
  Submit(1, 100, 10);
  Submit(2, 2000, 10);
  Ran();
  EXPECT_EQ(running_->chunks[0].n, 448);  // 511, on a boundary
  EXPECT_THAT(running_->decodes, SizeIs(1));
}

TEST_F(MixedStepsTest, DecodingTakesTurnsWhereNotAllFitAStep) {
  options_.step = {.decode = Decode::kMixed, .decodes = 1};
  Submit(1, 100, 10);
  Submit(2, 100, 10);
  Ran();
  Ran();
  const RequestId first = running_->decodes.at(0);
  Ran();
  ASSERT_THAT(running_->decodes, SizeIs(1));
  EXPECT_NE(running_->decodes[0], first);
}

TEST_F(MixedStepsTest, AStepTooShortForAChunkIsRefusedAtTheStart) {
  options_.step = {.decode = Decode::kMixed, .tokens = 64};
  EXPECT_THAT(Scheduler::Create(options_),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("step.tokens: expected at least 65")));
}

TEST_F(MixedStepsTest, ChunkAndDecodeTokensThatDoNotFitTogetherTakeTurns) {
  // A decode token costs as much as a chunk: one of both fits.
  estimator_->kernels = {{.n_last = kTokensMax, .fixed = 5500, .per_n = 1}};
  options_.step.decode = Decode::kMixed;
  options_.chunk.max = 256;
  Submit(1, 100, 100);
  Submit(2, 1000, 100);
  Ran();
  bool chunk = running_->decodes.empty();
  for (int i = 0; i < 6; ++i) {
    EXPECT_NE(running_->chunks.empty(), running_->decodes.empty());
    EXPECT_EQ(running_->decodes.empty(), chunk) << "step " << i;
    chunk = !chunk;
    Ran();
  }
}

TEST_F(MixedStepsTest, ACancelledRequestEndsWithItsStep) {
  options_.step.decode = Decode::kMixed;
  Submit(1, 100, 10);
  Ran();
  EXPECT_THAT(Of<Cancelled>(Send(Cancel{1})), IsEmpty());
  EXPECT_THAT(Of<Cancelled>(Ran()), SizeIs(1));
}

TEST_F(MixedStepsTest, WhatTheEngineFinishedOutlivesACancel) {
  options_.step.decode = Decode::kMixed;
  Submit(1, 100, 10);
  Ran();
  Send(Cancel{1});
  EXPECT_THAT(Of<Cancelled>(Ran({1})), IsEmpty());
  EXPECT_EQ(scheduler().Stats().finished, 1);
}

TEST_F(MixedStepsTest, ResultsOfOthersAreRefusedAndChangeNothing) {
  options_.step.decode = Decode::kMixed;
  Submit(1, 100, 10);
  const StepId step = running_->step;
  EXPECT_THAT(Refused(StepDone{.step = step, .decodes = {{7, 1, true}}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("request 7 does not decode in step")));
  EXPECT_THAT(
      Refused(StepDone{.step = step, .decodes = {{1, 1, false}, {1, 1, true}}}),
      StatusIs(absl::StatusCode::kInvalidArgument,
               HasSubstr("request 1 is there twice")));
}

TEST_F(MixedStepsTest, TokensOfAnEngineThatDecodesInStepsComeWithSteps) {
  options_.step.decode = Decode::kMixed;
  Submit(1, 100, 10);
  Ran();
  EXPECT_THAT(Refused(DecodeProgress{.id = 1, .tokens = 1}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("decodes in steps")));
}

TEST_F(MixedStepsTest, ARequestWhoseStepFailedRunsAlone) {
  options_.step.sequences = 2;
  Submit(1, 100);
  Submit(2, 500);
  Submit(3, 500);
  Ran();
  ASSERT_THAT(Ids(*running_), ElementsAre(2, 3));
  Fail(StepFailure::kOther);
  Advance(std::chrono::seconds(1));
  Send(Wake{});
  EXPECT_THAT(running_->chunks, SizeIs(1));
}

TEST_F(MixedStepsTest, AFailedDecodeStepIsTriedWithHalfOfThem) {
  options_.step.decode = Decode::kMixed;
  for (RequestId id = 1; id <= 4; ++id) {
    Submit(id, 64, 10);
    Ran();
  }
  while (running_->decodes.size() < 4) Ran();
  Fail(StepFailure::kOther);
  EXPECT_THAT(running_->decodes, SizeIs(2));
}

class InFlightTest : public HandDrivenScheduler {
 protected:
  InFlightTest() { options_.step.in_flight = 2; }
  std::vector<RunStep> Runs(const Event& event) {
    std::vector<Action> actions;
    EXPECT_THAT(scheduler().Handle(event, now_, &actions), testing::IsOk());
    return Of<RunStep>(actions);
  }
  static Arrive Prompt(RequestId id, Tokens tokens) {
    return {.id = id, .request = {.prompt_tokens = tokens}};
  }
};

TEST_F(InFlightTest, AsManyStepsRunAtOnceAsTheEngineTakes) {
  EXPECT_THAT(Runs(Prompt(1, 500)), SizeIs(1));
  EXPECT_THAT(Runs(Prompt(2, 500)), SizeIs(1));
  EXPECT_THAT(Runs(Prompt(3, 500)), IsEmpty());
}

TEST_F(InFlightTest, TransientsOfStepsInFlightAdd) {
  Runs(Prompt(1, 900));  // 900 + 3600 of 10,000
  const auto second = Runs(Prompt(2, 900));
  ASSERT_THAT(second, SizeIs(1));
  EXPECT_EQ(second[0].room_bytes, 10'000 - 900 - 3600);
  EXPECT_EQ(scheduler().Stats().memory.in_flight, 2 * 4500);
}

TEST_F(InFlightTest, ARequestIsInOneStepAtATime) {
  EXPECT_THAT(Runs(Prompt(1, 1500)), SizeIs(1));
}

TEST_F(InFlightTest, WhoeverIsNextAndNeedsTheRoomWaitsForTheStepsToEnd) {
  options_.chunk.floor = 1024;
  const auto first = Runs(Prompt(1, 1000));  // 5000 of 10,000
  EXPECT_THAT(Runs(Prompt(2, 2000)), IsEmpty());
  // Small enough to fit, and later.
  EXPECT_THAT(Runs(Prompt(3, 100)), IsEmpty());
  const auto next = Runs(StepDone{.step = first[0].step});
  ASSERT_FALSE(next.empty());
  EXPECT_THAT(Ids(next[0]), ElementsAre(2));
}

TEST_F(InFlightTest, TheEndOfOneStepLeavesTheOtherRunning) {
  const auto first = Runs(Prompt(1, 500));
  const auto second = Runs(Prompt(2, 500));
  Runs(StepDone{.step = second[0].step});
  EXPECT_EQ(scheduler().Stats().memory.in_flight, 2500);
  EXPECT_THAT(
      Runs(StepFailed{.step = first[0].step, .why = StepFailure::kOutOfMemory}),
      SizeIs(1));
}

class RanksTest : public HandDrivenScheduler {
 protected:
  RanksTest() {
    options_.ranks = {{.ceiling = 10'000, .base = 0},
                      {.ceiling = 8000, .base = 1000}};
  }
};

TEST_F(RanksTest, TheRankWithTheLeastRoomDecides) {
  Submit(1, 500);
  EXPECT_EQ(running_->room_bytes, 7000);
  Done();
  Send(MemoryReading{.live_bytes = {9000, 1000}});
  Submit(2, 100);
  EXPECT_EQ(running_->room_bytes, 1000);
}

TEST_F(RanksTest, AReadingOfFewerRanksIsRefused) {
  EXPECT_THAT(Refused(MemoryReading{.live_bytes = {100}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("one entry for each of 2 ranks, got 1")));
}

TEST_F(RanksTest, TheCeilingOfOneRankMovesAlone) {
  Send(CeilingChanged{.ceiling = 3000, .rank = 0});
  Submit(1, 500);
  EXPECT_EQ(running_->room_bytes, 3000);
}

class PolicyChangedTest : public HandDrivenScheduler {
 protected:
  PolicyChanged To(SchedulerOptions options) {
    return {std::make_shared<SchedulerOptions>(std::move(options))};
  }
};

TEST_F(PolicyChangedTest, TheNextChunkObeysTheNewLimits) {
  Submit(1, 3000);
  SchedulerOptions options = options_;
  options.chunk.max = 256;
  Send(To(options));
  EXPECT_EQ(running_->chunks[0].n, 1024);
  Done();
  EXPECT_EQ(running_->chunks[0].n, 256);
}

TEST_F(PolicyChangedTest, WhoeverWaitsIsServedInTheNewOrder) {
  Submit(1, 1000);
  Submit(2, 4000);
  Send(Arrive{.id = 3, .request = {.prompt_tokens = 500}, .priority = 5});
  SchedulerOptions options = options_;
  options.order_policy = "priority";
  options.memory.ceiling = 7000;
  Send(To(options));
  Done();
  EXPECT_EQ(running_->chunks[0].id, 3u);
}

TEST_F(PolicyChangedTest, ARefusedPolicyChangesNothing) {
  SchedulerOptions options = options_;
  options.chunk_policy = "no_such";
  EXPECT_THAT(Refused(To(options)),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("chunk.use: expected fixed")));
  EXPECT_THAT(Refused(PolicyChanged{}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("options: expected some")));
  Submit(1, 2000);
  EXPECT_EQ(running_->chunks[0].n, 1024);
}

TEST_F(PolicyChangedTest, WhatIsLiveStaysKnown) {
  Send(MemoryReading{.live_bytes = {4000}});
  SchedulerOptions options = options_;
  options.memory.base = 0;
  Send(To(options));
  EXPECT_EQ(scheduler().Stats().memory.live, 4000);
}

class DecodeFailedTest : public HandDrivenScheduler {};

TEST_F(DecodeFailedTest, SomebodyMakesRoomForItAtOnce) {
  Submit(1, 500, 100);
  Done();
  Submit(2, 500, 100);
  Done();
  const auto actions =
      Send(DecodeFailed{.id = 1, .why = StepFailure::kOutOfMemory});
  EXPECT_THAT(Of<Preempt>(actions), SizeIs(1));
  EXPECT_EQ(scheduler().Stats().out_of_memory, 1);
}

TEST_F(DecodeFailedTest, ARequestThatGoesOnFailingIsGivenUp) {
  Submit(1, 500, 100);
  Done();
  for (int i = 0; i < 8; ++i) Send(DecodeFailed{.id = 1});
  const auto actions = Send(DecodeFailed{.id = 1});
  ASSERT_THAT(Of<Reject>(actions), SizeIs(1));
  EXPECT_THAT(Of<Reject>(actions)[0].reason,
              HasSubstr("failed 9 times in a row to decode"));
}

class RunningMaxTest : public HandDrivenScheduler {};

TEST_F(RunningMaxTest, NoMoreAreAdmittedThanTheEngineHasSlotsFor) {
  options_.running_max = 1;
  Submit(1, 500, 100);
  EXPECT_THAT(Of<Admit>(Submit(2, 500, 100)), IsEmpty());
  EXPECT_THAT(Of<Admit>(Done()), IsEmpty());
  EXPECT_THAT(Of<Admit>(Send(Finished{1})), SizeIs(1));
}

class PressureTest : public HandDrivenScheduler {};

TEST_F(PressureTest, TheLatestIsPreemptedWhereThePolicySaysSo) {
  options_.pressure_policy = "latest";
  Submit(1, 500, 100);
  Done();
  Advance(std::chrono::seconds(1));
  Submit(2, 900, 100);
  Done();
  const auto actions =
      Send(DecodeFailed{.id = 1, .why = StepFailure::kOutOfMemory});
  ASSERT_THAT(Of<Preempt>(actions), SizeIs(1));
  EXPECT_EQ(Of<Preempt>(actions)[0].id, 2u);
}

// Refuses everybody for ever, whatever fits.
class Never final : public AdmissionPolicy {
 public:
  std::string_view Name() const override { return "never"; }
  absl::StatusOr<Answer> Decide(const Question&) const override {
    return Answer{.verdict = Verdict::kWait};
  }
  bool MayGrow(const Question&, Tokens, Bytes) const override { return false; }
  Bytes DecodeClaim(const Estimator&, const RequestView&,
                    std::int64_t) const override {
    return 0;
  }
};

class CustomPolicyTest : public HandDrivenScheduler {};

TEST_F(CustomPolicyTest, WhomItLetsWaitForNothingIsAnsweredAllTheSame) {
  options_.custom_admission = std::make_shared<Never>();
  const auto actions = Submit(1, 500);
  ASSERT_THAT(Of<WakeAt>(actions), SizeIs(1));
  Advance(std::chrono::seconds(30));
  const auto later = Send(Wake{});
  ASSERT_THAT(Of<Reject>(later), SizeIs(1));
  EXPECT_THAT(Of<Reject>(later)[0].reason, HasSubstr("idle device"));
}

}  // namespace
}  // namespace tidegate
