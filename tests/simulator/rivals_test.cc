// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Rivals in the simulated world, and what MakeRival refuses.

#include "tidegate/rivals.h"

#include <algorithm>
#include <memory>
#include <set>
#include <string>

#include "tests/testing/matchers.h"
#include "tests/testing/shapes.h"
#include "tests/testing/small_device.h"

namespace tidegate {
namespace {

using ::testing::HasSubstr;
using testing::StatusIs;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TraceRow Row(double at_s, Tokens prompt, Tokens output) {
  return {.arrival = Instant(Duration(static_cast<std::int64_t>(at_s * 1e9))),
          .prompt_tokens = prompt,
          .output_tokens = output};
}

SimulatorOptions Options() {
  SimulatorOptions options;
  options.scheduler = testing::SmallDevice();
  options.cache.capacity = 0;
  return options;
}

SimulationResult Play(std::string_view rival, const Trace& trace,
                      SimulatorOptions options, const RivalFacts& facts = {}) {
  if (!rival.empty()) {
    EXPECT_THAT(ApplyRival(rival, facts, &options), testing::IsOk());
  }
  absl::StatusOr<SimulationResult> result = Simulate(trace, options);
  EXPECT_THAT(result, testing::IsOk()) << rival;
  return result.value_or(SimulationResult{});
}

TEST(RivalsTest, NamesAreUniqueAndEachMakesAScheduler) {
  const auto names = RivalNames();
  EXPECT_EQ(std::set(names.begin(), names.end()).size(), names.size());
  EXPECT_GE(names.size(), 13u);
  for (const std::string_view name : names) {
    ASSERT_OK_AND_ASSIGN(
        SchedulerOptions options,
        MakeRival(name, testing::SmallDevice(),
                  {.step_tokens = 512, .activation_bytes = 2'000}));
    EXPECT_THAT(Scheduler::Create(std::move(options)), testing::IsOk()) << name;
  }
}

// A load that fits: whoever the rival, every request ends, and twice the same.
TEST(RivalsTest, EveryRivalServesAnEasyLoad) {
  Trace trace;
  for (int i = 0; i < 60; ++i) {
    trace.rows.push_back(Row(0.1 * i, 50 + 61 * (i % 13), 1 + i % 9));
  }
  const RivalFacts facts{.step_tokens = 256, .activation_bytes = 2'000};
  for (const std::string_view name : RivalNames()) {
    const SimulationResult result = Play(name, trace, Options(), facts);
    EXPECT_EQ(result.finished, 60) << name;
    EXPECT_LE(result.peak_bytes, result.ceiling_bytes) << name;
  }
}

// Overload with requests of every size up to several times the device: each
// ends, however wrong the rival is about what fits.
TEST(RivalsTest, EveryRivalEndsEveryRequestOfAHardLoad) {
  Trace trace;
  for (int i = 0; i < 40; ++i) {
    trace.rows.push_back(Row(0.05 * i, 1 + 307 * i % 12'000, i * 53 % 700));
  }
  for (const Bytes activations : {100, 3'000, 8'000}) {
    const RivalFacts facts{.step_tokens = 1024,
                           .activation_bytes = activations};
    for (const std::string_view name : RivalNames()) {
      const SimulationResult result = Play(name, trace, Options(), facts);
      EXPECT_EQ(result.finished + result.rejected, 40) << name;
    }
  }
}

// vllm issues 40420 and 57449: the profile sees an empty cache, and scores grow
// with what a chunk attends to. 512 tokens are profiled at 512 x 512; behind
// 1,536 they need 512 x 2,048.
TEST(RivalsTest, VllmRunsOutOfMemoryWhereTheProfileSawAnEmptyCache) {
  SimulatorOptions options = Options();
  auto scores = testing::SmallEstimator();
  scores->kernels = {{.n_last = kTokensMax, .per_n_kv = 1}};
  options.scheduler.estimator = scores;
  options.scheduler.memory.ceiling = 800'000;
  const Trace trace{.rows = {Row(0, 2048, 1)}};
  const SimulationResult vllm =
      Play("vllm", trace, options, {.step_tokens = 512});
  EXPECT_GT(vllm.out_of_memory, 0);
  EXPECT_EQ(vllm.rejected, 1);
  const SimulationResult tidegate = Play("", trace, options);
  EXPECT_EQ(tidegate.out_of_memory, 0);
  EXPECT_EQ(tidegate.finished, 1);
}

// vllm issue 39734.
TEST(RivalsTest, AShortRequestBehindOneThatNeverFitsWaitsWithVllmOnly) {
  const Trace trace{.rows = {Row(0, 9'500, 1), Row(1, 100, 1)}};
  RivalFacts facts{.step_tokens = 512, .activation_bytes = 2'000};
  const SimulationResult vllm = Play("vllm", trace, Options(), facts);
  EXPECT_EQ(vllm.finished, 1);
  EXPECT_GT(vllm.ttft_p99_s, 28);
  SimulatorOptions options = Options();
  options.scheduler.memory.headroom = 2'000;
  const SimulationResult tidegate = Play("", trace, options);
  EXPECT_EQ(tidegate.finished, 1);
  EXPECT_EQ(tidegate.refusals.at("too_large"), 1);
  EXPECT_LT(tidegate.ttft_p99_s, 1);
}

TEST(RivalsTest, MlxLmRunsOutOfMemoryWhereTidegateWaits) {
  Trace trace;
  for (int i = 0; i < 8; ++i) trace.rows.push_back(Row(0, 1'200, 1));
  const SimulationResult mlx_lm = Play("mlx_lm", trace, Options());
  EXPECT_GT(mlx_lm.out_of_memory, 0);
  const SimulationResult tidegate = Play("", trace, Options());
  EXPECT_EQ(tidegate.out_of_memory, 0);
  EXPECT_EQ(tidegate.finished, 8);
}

TEST(RivalsTest, TheWorldKeepsTheTruth) {
  SimulatorOptions options = Options();
  const auto truth = options.scheduler.estimator;
  ASSERT_THAT(ApplyRival("vllm", {.step_tokens = 512}, &options),
              testing::IsOk());
  EXPECT_EQ(options.world.truth, truth);
  EXPECT_NE(options.scheduler.estimator, truth);
}

TEST(RivalsTest, AnEngineThatPagesDoesSoInTheWorld) {
  SimulatorOptions options = Options();
  auto whole = testing::SmallEstimator();
  whole->preallocated = true;
  whole->kv_per_token = 3;
  options.scheduler.estimator = whole;
  SimulatorOptions fixed = options;
  ASSERT_THAT(ApplyRival("vllm", {.step_tokens = 512}, &options),
              testing::IsOk());
  EXPECT_EQ(options.world.kv_bytes_per_token, 3);
  EXPECT_FALSE(options.scheduler.estimator->KvPreallocated());
  ASSERT_THAT(ApplyRival("fixed_512", {}, &fixed), testing::IsOk());
  EXPECT_EQ(fixed.world.kv_bytes_per_token, std::nullopt);
}

TEST(RivalsTest, OmlxPricesAttentionByTheHeadDimension) {
  const auto price = [](std::int64_t head_dim, Tokens n, Tokens kv_len) {
    RivalFacts facts;
    facts.shape = testing::AttentionOnly(testing::FullMixer(24, 4, head_dim));
    const absl::StatusOr<SchedulerOptions> options =
        MakeRival("omlx", testing::SmallDevice(), facts);
    EXPECT_THAT(options, testing::IsOk());
    const Chunk chunk{.n = n, .kv_len = kv_len};
    return options->estimator->Total({.chunks = {&chunk, 1}}).transient_bytes;
  };
  // Fused: the output in fp32.
  EXPECT_EQ(price(128, 2048, 100'000), 24 * 2048 * 128 * 4);
  // Tiled from 8,192 keys: 1,024 of them at a time.
  EXPECT_EQ(price(256, 2048, 100'000),
            24 * 2048 * 256 * 4 + 24 * 2048 * 1024 * 2);
  // Unfused: every score.
  EXPECT_EQ(price(512, 2048, 100'000),
            Bytes{24} * 2048 * 512 * 4 + Bytes{24} * 2048 * 100'000 * 2);
}

TEST(RivalsTest, AnUnknownNameIsAnErrorThatSuggestsOne) {
  EXPECT_THAT(MakeRival("vlm", testing::SmallDevice(), {}),
              StatusIs(kInvalid, HasSubstr("did you mean \"vllm\"?")));
}

TEST(RivalsTest, AnEngineThatKeepsMoreThanThereIsWouldNotStart) {
  EXPECT_THAT(
      MakeRival("vllm", testing::SmallDevice(), {.activation_bytes = 10'000}),
      StatusIs(kInvalid, HasSubstr("vllm would not start")));
  // 1.5 MiB a token, on a device of 10,000 bytes.
  EXPECT_THAT(MakeRival("sglang", testing::SmallDevice(), {}),
              StatusIs(kInvalid, HasSubstr("sglang would not start")));
}

TEST(RivalsTest, FactsOutOfRangeAreNamed) {
  const auto refused = [](const RivalFacts& facts) {
    return MakeRival("vllm", testing::SmallDevice(), facts);
  };
  EXPECT_THAT(refused({.sequences = -1}),
              StatusIs(kInvalid, HasSubstr("rival sequences")));
  EXPECT_THAT(refused({.step_tokens = -1}),
              StatusIs(kInvalid, HasSubstr("rival step_tokens")));
  EXPECT_THAT(refused({.step_tokens = 1}),
              StatusIs(kInvalid, HasSubstr("rival step_tokens")));
  EXPECT_THAT(refused({.page = -1}),
              StatusIs(kInvalid, HasSubstr("rival page")));
  EXPECT_THAT(refused({.context = 0}),
              StatusIs(kInvalid, HasSubstr("rival context")));
  EXPECT_THAT(refused({.activation_bytes = -1}),
              StatusIs(kInvalid, HasSubstr("rival activation_bytes")));
  EXPECT_THAT(refused({.token_deadline = Duration(0)}),
              StatusIs(kInvalid, HasSubstr("rival token_deadline")));
}

TEST(RivalsTest, AMissingEstimatorIsAnError) {
  EXPECT_THAT(MakeRival("vllm", {}, {}),
              StatusIs(kInvalid, HasSubstr("estimator")));
}

}  // namespace
}  // namespace tidegate
