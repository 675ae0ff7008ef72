// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// vLLM's and Sarathi's steps, derived by hand from their rules (docs/rivals.md)
// for a budget of 512 tokens and a pool of 8,000.

#include <chrono>
#include <string>
#include <vector>

#include "tests/testing/rival_steps.h"

namespace tidegate {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::SmallFacts;

class VllmStepsTest : public testing::RivalSteps {};

TEST_F(VllmStepsTest, RunningRequestsComeBeforeWaitingOnesAndShareTheBudget) {
  Use("vllm", SmallFacts(512));
  Come(1, 700, 3);
  EXPECT_EQ(Now(), "1:512");
  Come(2, 1000, 2);
  Come(3, 100, 2);
  EXPECT_EQ(Waiting(), 2);
  // What the first lacks, then the rest of the budget to the next in line.
  EXPECT_EQ(Next(), "1:188 2:324");
  EXPECT_EQ(Waiting(), 1);
  EXPECT_EQ(Resident(), 512);
  // A decode token takes one of the budget.
  EXPECT_EQ(Next(), "2:511 | 1");
  EXPECT_EQ(Resident(), 700 + 324);
  EXPECT_EQ(Next(), "2:165 3:100 | 1");
  EXPECT_EQ(Waiting(), 0);
  EXPECT_EQ(Resident(), 701 + 835);
  // The first has ended with its third token.
  EXPECT_EQ(Next(), "| 2 3");
  EXPECT_EQ(Resident(), 1000 + 100);
  EXPECT_EQ(Next(), "idle");
  EXPECT_EQ(Resident(), 0);
}

TEST_F(VllmStepsTest, TheLongPrefillThresholdCutsEveryPrompt) {
  RivalFacts facts = SmallFacts(512);
  facts.long_prefill_threshold = 100;
  Use("vllm", facts);
  Come(1, 300, 1);
  Come(2, 150, 1);
  EXPECT_THAT(Steps(4),
              ElementsAre("1:100", "1:100 2:100", "1:100 2:50", "idle"));
}

TEST_F(VllmStepsTest, AWaitingRequestNeedsRoomForItsWholePrompt) {
  Use("vllm", SmallFacts(512));
  Come(1, 500, 2000);
  Come(2, 7501, 1);
  Come(3, 10, 1);
  // 500 are held, 7,500 are free: head of the line, and nobody passes.
  EXPECT_EQ(Next(), "| 1");
  EXPECT_EQ(Waiting(), 2);
}

TEST_F(VllmStepsTest, OutputIsNotReserved) {
  Use("vllm", SmallFacts(512));
  Come(1, 500, 7000);
  Come(2, 500, 7000);
  EXPECT_THAT(Steps(3), ElementsAre("1:500", "2:500 | 1"  // budget 512
                                    ,
                                    "| 1 2"));
}

TEST_F(VllmStepsTest, OutOfBlocksTheLastRunningRequestStartsAgain) {
  RivalFacts facts = SmallFacts(512);
  facts.activation_bytes = 9'000;  // a pool of 1,000
  Use("vllm", facts);
  Come(1, 500, 400);
  Come(2, 400, 400);
  EXPECT_EQ(Next(), "2:400 | 1");
  // 900 prompt tokens, and each step feeds one token of either: after 50 of
  // them, and the one step that the first is ahead, no more than one is left.
  std::vector<Preempt> preempted;
  for (int i = 0; i < 60 && preempted.empty(); ++i) {
    Next();
    preempted = Of<Preempt>(last_);
  }
  ASSERT_EQ(preempted.size(), 1u);
  EXPECT_EQ(preempted[0].id, 2);
  EXPECT_EQ(Now(), "| 1");
  EXPECT_EQ(made_[2], 50);
}

// vllm issue 39734: a request longer than the pool waits at the head of the
// queue for ever, on an idle device.
TEST_F(VllmStepsTest, ARequestLongerThanThePoolBlocksTheQueue) {
  Use("vllm", SmallFacts(512));
  EXPECT_THAT(Of<Reject>(Come(1, 8001, 1)), IsEmpty());
  EXPECT_EQ(Now(), "idle");
  Come(2, 100, 1);
  EXPECT_EQ(Now(), "idle");
  EXPECT_EQ(Resident(), 0);
  EXPECT_EQ(Waiting(), 1);
  // Only the core's patience ends it.
  Advance(std::chrono::seconds(29));
  Send(Wake{});
  EXPECT_EQ(Now(), "idle");
  Advance(std::chrono::seconds(1));
  const std::vector<Action> actions = Send(Wake{});
  const auto rejects = Of<Reject>(actions);
  ASSERT_EQ(rejects.size(), 1u);
  EXPECT_EQ(rejects[0].id, 1);
  EXPECT_EQ(rejects[0].code, RefusalCode::kOverloaded);
  EXPECT_EQ(Now(), "2:100");
}

TEST_F(VllmStepsTest, TidegateRefusesThatRequestOnArrival) {
  UseTidegate({});
  const auto rejects = Of<Reject>(Come(1, 10'001, 1));
  ASSERT_EQ(rejects.size(), 1u);
  EXPECT_EQ(rejects[0].code, RefusalCode::kTooLarge);
  Come(2, 100, 1);
  EXPECT_EQ(Now(), "2:100");
}

class SarathiStepsTest : public testing::RivalSteps {};

TEST_F(SarathiStepsTest, DecodeTokensAreCountedFirstAndPrefillFillsTheRest) {
  Use("sarathi", SmallFacts(0));  // chunk size 512
  Come(1, 700, 3);
  Come(2, 1000, 2);
  Come(3, 100, 2);
  EXPECT_THAT(Steps(6), ElementsAre("1:512", "1:188 2:324", "2:511 | 1",
                                    "2:165 3:100 | 1", "| 2 3", "idle"));
}

TEST_F(SarathiStepsTest, TheWholePromptsBlocksAreTakenOnAdmission) {
  Use("sarathi", SmallFacts(512));
  Come(1, 1000, 1);
  const SchedulerStats stats = scheduler().Stats();
  // 512 of them are in the step that runs.
  EXPECT_EQ(stats.claimed_bytes, 1000);
}

TEST_F(SarathiStepsTest, AWatermarkOfOnePercentStaysFree) {
  // A pool of 8,000: 7,000 are held, and 80 stay free.
  for (const Tokens prompt : {920, 921}) {
    Use("sarathi", SmallFacts(8'000));
    Come(1, 7000, 100);
    Come(2, prompt, 1);
    EXPECT_EQ(Next(), prompt == 920 ? "2:920 | 1" : "| 1");
  }
}

class NiyamaStepsTest : public testing::RivalSteps {};

TEST_F(NiyamaStepsTest, ChunksAreWideWhereNobodyDecodes) {
  Use("niyama", SmallFacts(2048));
  Come(1, 3000, 1);
  EXPECT_THAT(Steps(3), ElementsAre("1:2048", "1:952", "idle"));
}

TEST_F(NiyamaStepsTest, ChunksTakeTheSlackOfThoseThatDecode) {
  RivalFacts facts = SmallFacts(2048);
  facts.token_deadline = std::chrono::milliseconds(100);
  Use("niyama", facts);
  // Steps take 10 ms and 0.1 ms a token: 899 prompt tokens and a decode token
  // are 100 ms.
  const auto took = [&] {
    const Tokens tokens =
        static_cast<Tokens>(running_->decodes.size()) +
        (running_->chunks.empty() ? 0 : running_->chunks[0].n);
    return std::chrono::microseconds(10'000 + 100 * tokens);
  };
  Come(1, 10, 1000);
  RequestId id = 1;
  // Prompts of many lengths, until the times are known.
  for (int i = 0; i < 40; ++i) {
    if (Waiting() == 0) Come(++id, 100 + 37 * (i % 11), 1);
    Next(took());
  }
  while (Now() != "| 1") Next(took());
  Come(++id, 4000, 1);
  Next(took());
  ASSERT_EQ(running_->chunks.size(), 1u);
  EXPECT_NEAR(static_cast<double>(running_->chunks[0].n), 899, 5);
}

}  // namespace
}  // namespace tidegate
