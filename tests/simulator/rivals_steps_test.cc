// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Steps of the other rivals, derived by hand from their rules
// (docs/rivals.md), for a pool of 8,000 tokens.

#include <string>
#include <vector>

#include "tests/testing/rival_steps.h"

namespace tidegate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::SmallFacts;

class SglangStepsTest : public testing::RivalSteps {};

TEST_F(SglangStepsTest, PrefillBatchesRunAloneAndOnePromptIsChunked) {
  Use("sglang", SmallFacts(512));
  Come(1, 700, 4);
  EXPECT_EQ(Now(), "1:512");
  Come(2, 300, 2);
  Come(3, 500, 2);
  // The chunked one first; the second whole; the third is the chunked one now.
  EXPECT_EQ(Next(), "1:188 2:300 3:24");
  // Two could decode, and wait.
  EXPECT_EQ(Next(), "3:476");
  EXPECT_EQ(Next(), "| 1 2 3");
  EXPECT_EQ(Next(), "| 1");
}

TEST_F(SglangStepsTest, ChunksEndOnPages) {
  RivalFacts facts = SmallFacts(512);
  facts.page = 64;
  Use("sglang", facts);
  Come(1, 700, 1);
  Come(2, 400, 1);
  // 324 are left of the second batch: five pages.
  EXPECT_THAT(Steps(3), ElementsAre("1:512", "1:188 2:320", "2:80"));
}

// Running: 1,000 held, 4,999 to come. The ratio is 0.7 less 1/600 of the way
// to 0.098: 0.699 of 4,096 are 2,863 expected. 7,000 are free.
TEST_F(SglangStepsTest, ANewRequestLeavesRoomForAShareOfTheOutputToCome) {
  for (const Tokens prompt : {3935, 3936}) {
    Use("sglang", SmallFacts(8'000));
    Come(1, 1000, 5000);
    Come(2, prompt, 200);
    // Prompt, 200, a page and 2,863 must be below 7,000.
    EXPECT_EQ(Next(), prompt == 3935 ? "2:3935" : "| 1");
  }
}

TEST_F(SglangStepsTest, WhoGeneratedLeastStartsAgain) {
  RivalFacts facts = SmallFacts(1000);
  facts.activation_bytes = 7'000;  // a pool of 3,000
  Use("sglang", facts);
  Come(1, 500, 2000);
  for (int i = 0; i < 600; ++i) Next();
  // A tenth of 1,400 is expected: 1,900 are free, and 1,840 are needed.
  Come(2, 800, 900);
  EXPECT_EQ(Next(), "2:800");
  // Together they grow by two a step.
  std::vector<Preempt> preempted;
  for (int i = 0; i < 600 && preempted.empty(); ++i) {
    Next();
    preempted = Of<Preempt>(last_);
  }
  ASSERT_EQ(preempted.size(), 1u);
  EXPECT_EQ(preempted[0].id, 2);
  EXPECT_NEAR(static_cast<double>(made_[2]), 550, 2);
}

// sglang issue 32549: 2,863 prefill and 36 decode batches in 15 minutes.
TEST_F(SglangStepsTest, AStreamOfPromptsStarvesThoseThatDecode) {
  Use("sglang", SmallFacts(512));
  Come(1, 100, 50);
  for (RequestId id = 2; id < 12; ++id) {
    Come(id, 512, 1);
    EXPECT_EQ(Next(), std::to_string(id) + ":512");
  }
  EXPECT_EQ(made_[1], 1);
}

TEST_F(SglangStepsTest, TidegateDecodesBetweenTwoChunks) {
  UseTidegate({.decode = StepShape::Decode::kBetween, .tokens = 512});
  options_.chunk.max = 512;
  Come(1, 100, 50);
  for (RequestId id = 2; id < 12; ++id) {
    Come(id, 512, 1);
    EXPECT_EQ(Next(), "| 1");
    EXPECT_EQ(Next(), std::to_string(id) + ":512");
  }
  EXPECT_EQ(made_[1], 11);
}

class TensorRtLlmStepsTest : public testing::RivalSteps {};

TEST_F(TensorRtLlmStepsTest, ContextsThatDoNotFitAreCutToWholeBlocks) {
  Use("tensorrt_llm", SmallFacts(512));  // blocks of 32
  Come(1, 700, 3);
  Come(2, 1000, 2);
  Come(3, 100, 2);
  // 324 are left in the second step, ten blocks; in the third 511, fifteen.
  EXPECT_THAT(Steps(6), ElementsAre("1:512", "1:188 2:320", "2:480 | 1",
                                    "2:200 3:100 | 1", "| 2 3", "idle"));
}

TEST_F(TensorRtLlmStepsTest, ARequestStartsWhenItsCompletionFits) {
  for (const Tokens output : {100, 101}) {
    Use("tensorrt_llm", SmallFacts(512));
    Come(1, 500, 6500);
    Come(2, 900, output);
    // 7,000 are promised: 1,000 are left.
    EXPECT_EQ(Next(), output == 100 ? "2:480 | 1" : "| 1");
  }
}

class LightLlmStepsTest : public testing::RivalSteps {};

// When the second asks, the first holds 1,002 with 998 to come.
TEST_F(LightLlmStepsTest, ARequestStartsWhenTheFuturePeakFits) {
  struct Case {
    Tokens prompt, output;
    bool starts;
  };
  for (const Case& c : {
           // 3,000 + 3,500, then 4,002 + 2 * 998: less than the sum of both.
           Case{3000, 3500, true},
           // 5,500 + 2,000 = 7,500, but 6,502 + 2 * 998 = 8,498.
           Case{5500, 2000, false},
           // 7,002, then 6,004 + 2 * 998 = 8,000: all of it.
           Case{5002, 2000, true},
           Case{5003, 2000, false},
       }) {
    Use("lightllm", SmallFacts(8'000));
    Come(1, 1000, 1000);
    Come(2, c.prompt, c.output);
    EXPECT_EQ(Next(), "| 1");
    const std::string chunk = "2:" + std::to_string(c.prompt);
    EXPECT_EQ(Next() == chunk, c.starts) << c.prompt << " " << Now();
  }
}

class OmlxStepsTest : public testing::RivalSteps {};

// Ceiling 10,000, one byte of KV and four of transient a token: 6.5 bytes a
// token are predicted, 8,550 are the target, and what does not fit at once is
// at most 1,024 wide.
TEST_F(OmlxStepsTest, ChunksShrinkByTheFloorAsMemoryFills) {
  Use("omlx", {});
  Come(1, 6000, 1);
  EXPECT_THAT(Steps(10),
              ElementsAre("1:1024", "1:1024", "1:768", "1:768", "1:512",
                          "1:512", "1:512", "1:512", "1:368", "idle"));
}

TEST_F(OmlxStepsTest, AdmissionCountsKvAndOneFloorChunk) {
  // 9,000 less 4 * 256.
  Use("omlx", {});
  EXPECT_THAT(Of<Reject>(Come(1, 7976, 1)), ::testing::IsEmpty());
  Use("omlx", {});
  const auto rejects = Of<Reject>(Come(1, 7977, 1));
  ASSERT_EQ(rejects.size(), 1u);
  EXPECT_THAT(rejects[0].reason, HasSubstr("omlx needs"));
}

TEST_F(OmlxStepsTest, OnePromptAtATimeAndADecodeStepBetweenTwoChunks) {
  Use("omlx", {});
  Come(1, 500, 3);
  Come(2, 1500, 1);
  Come(3, 100, 1);
  EXPECT_THAT(Steps(6),
              ElementsAre("1:500", "| 1", "2:1024", "| 1", "2:476", "3:100"));
}

class LlamaCppStepsTest : public testing::RivalSteps {};

TEST_F(LlamaCppStepsTest, SlotsAreServedInOrderAndOneMoreRequestWaits) {
  RivalFacts facts = SmallFacts(512);
  facts.sequences = 2;
  Use("llama_cpp", facts);
  Come(1, 700, 3);
  Come(2, 1000, 2);
  Come(3, 100, 1);
  EXPECT_THAT(Steps(6), ElementsAre("1:512", "1:188 2:324", "2:511 | 1",
                                    "2:165 | 1", "3:100 | 2", "idle"));
}

TEST_F(LlamaCppStepsTest, BuffersAreReservedForTheWidestStepAtFullContext) {
  RivalFacts facts;
  facts.step_tokens = 512;
  facts.context = 4096;
  Use("llama_cpp", facts);
  // Four bytes a token, whatever it attends to.
  EXPECT_EQ(options_.memory.headroom, 4 * 512);
  const auto rejects = Of<Reject>(Come(1, 4096, 1));
  ASSERT_EQ(rejects.size(), 1u);
}

TEST_F(LlamaCppStepsTest, TheContextIsLoweredUntilKvAndBuffersFit) {
  estimator_->kernels = {{.n_last = kTokensMax, .per_n_kv = 1}};
  RivalFacts facts;
  facts.step_tokens = 9;
  Use("llama_cpp", facts);
  // context + 9 * context is all there is: 1,000.
  EXPECT_EQ(options_.memory.headroom, 9'000);
}

class MlxLmStepsTest : public testing::RivalSteps {};

TEST_F(MlxLmStepsTest, EveryPromptHasAChunkInTheStepAndDecodingTakesTurns) {
  Use("mlx_lm", SmallFacts(512));
  Come(1, 700, 4);
  Come(2, 1000, 2);
  Come(3, 100, 2);
  EXPECT_THAT(Steps(6), ElementsAre("1:512", "1:188 2:512 3:100", "| 1 3",
                                    "2:488", "| 1 2", "| 1"));
}

TEST_F(MlxLmStepsTest, EightPromptsShareAStep) {
  Use("mlx_lm", SmallFacts(10));
  Come(100, 5, 1);
  for (RequestId id = 1; id <= 9; ++id) Come(id, 30, 1);
  EXPECT_EQ(Next(), "1:10 2:10 3:10 4:10 5:10 6:10 7:10 8:10");
}

class SimpleRivalsTest : public testing::RivalSteps {};

TEST_F(SimpleRivalsTest, FixedWidthsAndTheWholePromptAtOnce) {
  Use("fixed_512", {});
  Come(1, 1200, 1);
  EXPECT_THAT(Now(), "1:512");
  Use("fixed_2048", {});
  Come(1, 2100, 1);
  EXPECT_THAT(Now(), "1:2048");
  Use("one_shot", {});
  Come(1, 9000, 1);
  EXPECT_THAT(Now(), "1:9000");
}

TEST_F(SimpleRivalsTest, TheOracleUsesTheHeadroom) {
  SchedulerOptions base = testing::SmallDevice(estimator_);
  base.memory.headroom = 5'000;
  ASSERT_OK_AND_ASSIGN(options_, MakeRival("oracle", base, {}));
  Come(1, 1024, 1);
  EXPECT_EQ(Now(), "1:1024");
  EXPECT_EQ(running_->price.transient_bytes, 4 * 1024);
}

}  // namespace
}  // namespace tidegate
