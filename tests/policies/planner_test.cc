// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Plans whose every number is worked out by hand. One byte of KV a token, four
// bytes of transient, unless a test says otherwise: a chunk of n tokens that
// ends at K needs K + 4 n.

#include <string>
#include <vector>

#include "policies/chunk_space.h"
#include "tests/testing/fake_estimator.h"
#include "tests/testing/matchers.h"
#include "tidegate/plan.h"

namespace tidegate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using ::tidegate::testing::FakeEstimator;
using ::tidegate::testing::IsOk;
using ::tidegate::testing::StatusIs;

class PlannerTest : public ::testing::Test {
 protected:
  PlannerTest() { estimator_.kernels = {{.n_last = kTokensMax, .per_n = 4}}; }

  Plan Make(const PlanRequest& request) {
    auto plan = PlanPrompt(estimator_, request, memory_, chunk_);
    EXPECT_THAT(plan, IsOk());
    return *std::move(plan);
  }
  static std::vector<Tokens> Widths(const Plan& plan) {
    std::vector<Tokens> widths;
    for (const PlannedChunk& chunk : plan.chunks) widths.push_back(chunk.n);
    return widths;
  }

  FakeEstimator estimator_;
  MemoryLimits memory_{.ceiling = 10'000};
  ChunkLimits chunk_{.max = 1024, .floor = 64, .quantum = 64};
};

TEST_F(PlannerTest, AShortPromptIsOneChunk) {
  const Plan plan = Make({.prompt_tokens = 500});
  EXPECT_EQ(plan.verdict, Verdict::kAdmit);
  EXPECT_EQ(plan.code, RefusalCode::kNone);
  const PlannedChunk whole{
      .start = 0, .n = 500, .kv_len = 500, .transient_bytes = 2000};
  EXPECT_EQ(plan.chunks, std::vector<PlannedChunk>{whole});
  EXPECT_EQ(plan.peak_bytes, 2500);
  EXPECT_EQ(plan.reason,
            "fits in 1 chunk of 500 tokens; the peak is 2.44 KiB of 9.77 KiB");
}

TEST_F(PlannerTest, ChunksNarrowAsTheSequenceGrows) {
  const Plan plan = Make({.prompt_tokens = 8000});
  EXPECT_THAT(Widths(plan), ElementsAre(1024, 1024, 1024, 1024, 1024, 960, 768,
                                        576, 512, 64));
  EXPECT_EQ(plan.peak_bytes, 9984);
  EXPECT_EQ(plan.arithmetic.n, 512);
  EXPECT_EQ(plan.arithmetic.kv_len, 7936);
  EXPECT_EQ(plan.arithmetic.resident, 7936);
  EXPECT_EQ(plan.arithmetic.transient, 2048);
  EXPECT_EQ(plan.reason,
            "fits in 10 chunks of 64 to 1,024 tokens; the peak is 9.75 KiB of "
            "9.77 KiB");
}

// Below 512 tokens the scores are written out, from there on they are fused:
// the neural accelerators' rule. 2500 - 2048 would be a tail of 452.
TEST_F(PlannerTest, NoTailIsLeftThatFallsBelowARouteBoundary) {
  estimator_.kernels = {{.n_last = 511, .per_n_kv = 1},
                        {.n_last = kTokensMax, .per_n = 1}};
  memory_.ceiling = 100'000;
  const Plan plan = Make({.prompt_tokens = 2500});
  EXPECT_THAT(Widths(plan), ElementsAre(1024, 960, 516));
}

TEST_F(PlannerTest, ATailThatFitsUnfusedIsTaken) {
  estimator_.kernels = {{.n_last = 511, .per_n_kv = 1},
                        {.n_last = kTokensMax, .per_n = 1}};
  memory_.ceiling = 452 * 2500 + 2500;
  const Plan plan = Make({.prompt_tokens = 2500});
  EXPECT_THAT(Widths(plan), ElementsAre(1024, 1024, 452));
  EXPECT_EQ(plan.peak_bytes, memory_.ceiling);
}

TEST_F(PlannerTest, APromptTooShortForTheFusedKernelIsRefusedAtItsOneChunk) {
  estimator_.kernels = {{.n_last = 511, .per_n_kv = 1},
                        {.n_last = kTokensMax, .per_n = 1}};
  const Plan plan = Make({.prompt_tokens = 511, .cached_tokens = 1});
  EXPECT_EQ(plan.verdict, Verdict::kReject);
  EXPECT_EQ(plan.code, RefusalCode::kTooLarge);
}

TEST_F(PlannerTest, TransientSpansCachedAndNewTokensResidentOnlyNewOnes) {
  estimator_.kernels = {{.n_last = kTokensMax, .per_n_kv = 2}};
  memory_.ceiling = 1'000'000'000;
  const Plan plan = Make({.prompt_tokens = 100'000, .cached_tokens = 99'000});
  const PlannedChunk only{.start = 99'000,
                          .n = 1000,
                          .kv_len = 100'000,
                          .transient_bytes = 200'000'000};
  EXPECT_EQ(plan.chunks, std::vector<PlannedChunk>{only});
  EXPECT_EQ(plan.arithmetic.resident, 1000);
}

TEST_F(PlannerTest, NoChunkCutsASpan) {
  memory_.ceiling = 1'000'000;
  const Plan plan = Make(
      {.prompt_tokens = 2000, .uncuttable = {{.start = 900, .length = 300}}});
  EXPECT_THAT(Widths(plan), ElementsAre(896, 1024, 80));
}

TEST_F(PlannerTest, ASpanMayTouchABoundaryAtBothEnds) {
  memory_.ceiling = 1'000'000;
  const Plan plan = Make(
      {.prompt_tokens = 2048, .uncuttable = {{.start = 1024, .length = 1024}}});
  EXPECT_THAT(Widths(plan), ElementsAre(1024, 1024));
}

// Between multiples of 64 or 32 the span needs 192 or 128 tokens; between
// multiples of 16, 96.
TEST_F(PlannerTest, TheQuantumIsHalvedUntilASpanFitsAChunk) {
  memory_.ceiling = 1'000'000;
  chunk_ = {.max = 100, .floor = 1, .quantum = 64};
  const Plan plan =
      Make({.prompt_tokens = 300, .uncuttable = {{.start = 50, .length = 90}}});
  EXPECT_THAT(Widths(plan), ElementsAre(48, 96, 96, 60));
}

TEST_F(PlannerTest, ASpanWiderThanAChunkIsRefusedAsSuch) {
  memory_.ceiling = 1'000'000;
  chunk_ = {.max = 100, .floor = 1, .quantum = 4};
  const Plan plan = Make(
      {.prompt_tokens = 300, .uncuttable = {{.start = 50, .length = 200}}});
  EXPECT_EQ(plan.code, RefusalCode::kTooLarge);
  EXPECT_THAT(plan.reason,
              StartsWith("a span of 200 tokens at 50 may not be cut and is "
                         "wider than chunk.max = 100"));
}

// The largest buffer of the test's estimator is half the transient: 2 n.
TEST_F(PlannerTest, TheLargestAllocationIsALimitOfItsOwn) {
  memory_.max_allocation = 1000;
  const Plan plan = Make({.prompt_tokens = 1000});
  EXPECT_THAT(Widths(plan), ElementsAre(448, 448, 104));
}

TEST_F(PlannerTest, ARefusalForOneBufferNamesIt) {
  memory_.max_allocation = 100;
  const Plan plan = Make({.prompt_tokens = 1000});
  EXPECT_EQ(plan.verdict, Verdict::kReject);
  EXPECT_EQ(
      plan.reason,
      "a single buffer of 128 B > 100 B max allocation, for 64 tokens at kv "
      "length 64; 0 B live + 0 B claims + 64 B resident + 256 B transient = "
      "320 B <= 9.77 KiB = 9.77 KiB ceiling - 0 B headroom, for 64 tokens at "
      "kv length 64; the largest prompt that fits has 50 tokens");
}

TEST_F(PlannerTest, BoundariesAreMultiplesOfTheQuantumWhateverIsCached) {
  memory_.ceiling = 1'000'000;
  const Plan plan = Make({.prompt_tokens = 3000, .cached_tokens = 100});
  EXPECT_THAT(Widths(plan), ElementsAre(988, 1024, 888));
}

TEST_F(PlannerTest, APromptThatIsCachedWholeTakesAStepOfOneToken) {
  const Plan plan = Make({.prompt_tokens = 1000, .cached_tokens = 1000});
  const PlannedChunk last{
      .start = 999, .n = 1, .kv_len = 1000, .transient_bytes = 4};
  EXPECT_EQ(plan.chunks, std::vector<PlannedChunk>{last});
}

TEST_F(PlannerTest, AMaximumBelowTheFloorWins) {
  chunk_ = {.max = 128, .floor = 256, .quantum = 64};
  const Plan plan = Make({.prompt_tokens = 300});
  EXPECT_THAT(Widths(plan), ElementsAre(128, 128, 44));
}

TEST_F(PlannerTest, AMaximumBelowFloorAndQuantumIsAWarningForEach) {
  std::vector<std::string> warnings;
  EXPECT_THAT(ValidateLimits(memory_, {.max = 32, .floor = 256, .quantum = 64},
                             &warnings),
              IsOk());
  EXPECT_THAT(warnings,
              ElementsAre("chunk.floor = 256 has no effect: chunk.max = 32 is "
                          "below it and wins",
                          "chunk.quantum = 64 has no effect: chunk.max = 32 is "
                          "below it and wins"));
}

// At 6000 no chunk of 1024 fits any more, and none narrower is allowed; the
// last one may be.
TEST_F(PlannerTest, TheFloorIsHardExceptForTheLastChunk) {
  chunk_ = {.max = 1024, .floor = 1024, .quantum = 64};
  EXPECT_EQ(Make({.prompt_tokens = 5620}).verdict, Verdict::kAdmit);
  const Plan plan = Make({.prompt_tokens = 7000});
  EXPECT_EQ(plan.verdict, Verdict::kReject);
  EXPECT_EQ(plan.arithmetic.kv_len, 6144);
  EXPECT_EQ(plan.arithmetic.n, 1024);
}

// The last boundary that chunks of 64 reach is 9728, from where 54 tokens fit:
// 9728 + 54 + 4 * 54 <= 10,000.
TEST_F(PlannerTest, TheLargestPromptIsExact) {
  EXPECT_EQ(Make({.prompt_tokens = 500}).largest_prompt_that_fits, 9782);
  EXPECT_EQ(Make({.prompt_tokens = 9782}).verdict, Verdict::kAdmit);
  EXPECT_EQ(Make({.prompt_tokens = 9783}).verdict, Verdict::kReject);
}

// As in a KV pool: memory sets no horizon, 2^15 of the widest chunks do.
TEST_F(PlannerTest, TheLargestPromptIsLookedForOnABoundedHorizon) {
  FakeEstimator nothing_grows;
  nothing_grows.kv_per_token = 0;
  ASSERT_OK_AND_ASSIGN(
      const Plan plan,
      PlanPrompt(nothing_grows, {.prompt_tokens = 10}, {.ceiling = 1000},
                 {.max = 8, .floor = 8, .quantum = 8}));
  EXPECT_EQ(plan.largest_prompt_that_fits, 1 + 8 * 32'768);
}

TEST_F(PlannerTest, ARefusalShowsItsArithmeticAndTheLargestPrompt) {
  const Plan plan = Make({.prompt_tokens = 20'000});
  EXPECT_THAT(plan.chunks, IsEmpty());
  EXPECT_EQ(plan.reason,
            "0 B live + 0 B claims + 9.56 KiB resident + 256 B transient = "
            "9.81 KiB > 9.77 KiB = 9.77 KiB ceiling - 0 B headroom, for 64 "
            "tokens at kv length 9,792; the largest prompt that fits has 9,782 "
            "tokens");
}

TEST_F(PlannerTest, NoPromptFitsADeviceThatIsFull) {
  memory_.base = 9'998;
  const Plan plan = Make({.prompt_tokens = 1});
  EXPECT_EQ(plan.largest_prompt_that_fits, 0);
  EXPECT_THAT(plan.reason, HasSubstr("; no prompt would fit"));
}

TEST_F(PlannerTest, HeadroomIsKeptBackToTheByte) {
  memory_.headroom = 7'500;
  EXPECT_EQ(Make({.prompt_tokens = 500}).chunks.size(), 1u);
  memory_.headroom = 7'501;
  EXPECT_EQ(Make({.prompt_tokens = 500}).chunks.size(), 2u);
}

TEST_F(PlannerTest, TheOutputMustFitBehindThePrompt) {
  EXPECT_EQ(Make({.prompt_tokens = 9000, .max_output_tokens = 996}).verdict,
            Verdict::kAdmit);
  const Plan plan = Make({.prompt_tokens = 9000, .max_output_tokens = 997});
  EXPECT_EQ(plan.code, RefusalCode::kTooLarge);
  EXPECT_THAT(plan.reason,
              StartsWith("the output does not fit behind the prompt: 0 B live "
                         "+ 0 B claims + 9.76 KiB resident + 4 B transient"));
}

TEST_F(PlannerTest, MeasuredGrowthCountsForEveryNewToken) {
  const Plan plan = Make({.prompt_tokens = 1000, .extra_bytes_per_token = 3});
  EXPECT_EQ(plan.peak_bytes, 1000 * (1 + 3 + 4));
}

TEST_F(PlannerTest, MeasuredGrowthCountsWhereTheCacheIsPreallocatedToo) {
  estimator_.preallocated = true;
  chunk_.max = 512;
  const Plan plan = Make({.prompt_tokens = 1024, .extra_bytes_per_token = 3});
  EXPECT_EQ(plan.peak_bytes, 1024 + 3 * 1024 + 4 * 512);
}

TEST_F(PlannerTest, APreallocatedSequenceIsPaidWholeFromTheFirstChunk) {
  estimator_.preallocated = true;
  const Plan plan = Make({.prompt_tokens = 2048, .max_output_tokens = 100});
  EXPECT_EQ(plan.arithmetic.resident, 2148);
  EXPECT_EQ(plan.peak_bytes, 2148 + 4 * 1024);
}

TEST_F(PlannerTest, WhatTheBaseCountsAlreadyIsNotPaidAgain) {
  estimator_.preallocated = true;
  ASSERT_OK_AND_ASSIGN(
      const Plan plan,
      PlanPrompt(estimator_, {.prompt_tokens = 2048, .allocated = true},
                 memory_, chunk_, {.want_largest_prompt = false}));
  EXPECT_EQ(plan.arithmetic.resident, 0);
}

// A window of 64 keeps 63 + n tokens after a chunk of n, at 10 bytes each. The
// chunk from 256 is narrow, but the one before may have been 256 wide.
TEST_F(PlannerTest, WindowsCountAsAfterTheWidestChunkThatMayHaveGoneBefore) {
  estimator_.kv_per_token = 0;
  estimator_.window = 64;
  estimator_.window_per_token = 10;
  const PlanRequest request{.prompt_tokens = 512};
  const internal::ChunkSpace space(estimator_, request, memory_,
                                   {.max = 256, .floor = 64, .quantum = 64});
  EXPECT_EQ(space.Need(256, 320).resident, 2560);
  EXPECT_EQ(space.Need(0, 64).resident, 640);
}

TEST_F(PlannerTest, PiecesOfTheSearchAgreeWithTheFastPath) {
  for (const Tokens prompt : {1, 63, 64, 65, 1024, 5000, 8000, 9782}) {
    const PlanRequest request{.prompt_tokens = prompt};
    ASSERT_OK_AND_ASSIGN(const Plan fast,
                         PlanPrompt(estimator_, request, memory_, chunk_));
    ASSERT_OK_AND_ASSIGN(const Plan search,
                         PlanPrompt(estimator_, request, memory_, chunk_,
                                    {.force_search = true}));
    EXPECT_EQ(fast.chunks.size(), search.chunks.size()) << prompt;
  }
}

struct Contradiction {
  const char* name;
  PlanRequest request;
  const char* message;
};
class ContradictionTest : public ::testing::TestWithParam<Contradiction> {};

TEST_P(ContradictionTest, IsAnErrorThatNamesTheField) {
  EXPECT_THAT(PlanPrompt(FakeEstimator(), GetParam().request,
                         {.ceiling = 10'000}, ChunkLimits{}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       std::string(GetParam().message)));
}

const Contradiction kContradictions[] = {
    {"NoTokens", {}, "prompt_tokens: expected 1 to 100000000, got 0"},
    {"MoreCachedThanPrompt",
     {.prompt_tokens = 5, .cached_tokens = 6},
     "cached_tokens: expected 0 to 5, got 6"},
    {"OutputBelowZero",
     {.prompt_tokens = 5, .max_output_tokens = -1},
     "max_output_tokens: expected 0 to 99999995, got -1"},
    {"ACachedChunkOfZero",
     {.prompt_tokens = 5, .cached_chunk = 0},
     "cached_chunk: expected 1 to 100000000, got 0"},
    {"ASpanBehindTheEnd",
     {.prompt_tokens = 5, .uncuttable = {{.start = 5, .length = 1}}},
     "spans[0].start: expected 0 to 4, got 5"},
    {"ASpanThatIsTooLong",
     {.prompt_tokens = 5, .uncuttable = {{.start = 2, .length = 4}}},
     "spans[0].length: expected 1 to 3, got 4"},
    {"SpansThatOverlap",
     {.prompt_tokens = 9,
      .uncuttable = {{.start = 0, .length = 4}, {.start = 3, .length = 2}}},
     "spans[1].start: expected 4 to 8, got 3"},
};

INSTANTIATE_TEST_SUITE_P(Requests, ContradictionTest,
                         ::testing::ValuesIn(kContradictions),
                         [](const auto& info) { return info.param.name; });

TEST_F(PlannerTest, LimitsThatCannotBeNameTheirField) {
  EXPECT_THAT(ValidateLimits({}, chunk_, nullptr),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "memory.ceiling: expected at least 1, got 0"));
  EXPECT_THAT(ValidateLimits(memory_, {.quantum = 0}, nullptr),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "chunk.quantum: expected at least 1, got 0"));
}

}  // namespace
}  // namespace tidegate
