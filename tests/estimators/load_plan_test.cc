// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/load_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "tests/testing/matchers.h"
#include "tidegate/estimator.h"
#include "tidegate/model_config.h"

namespace tidegate {
namespace {

using ::testing::HasSubstr;
using ::tidegate::testing::IsOk;
using ::tidegate::testing::StatusIs;

constexpr Bytes kMiB = Bytes{1} << 20;
constexpr Bytes kGiB = Bytes{1} << 30;

std::unique_ptr<Estimator> Make(
    const std::string& config,
    std::map<std::string, std::string, std::less<>> options = {},
    const std::string& engine = "llama.cpp",
    const std::string& version = "b9000") {
  auto model = LoadModelConfig(
      std::string(TIDEGATE_SOURCE_DIR "/tests/data/configs/") + config, {});
  EXPECT_THAT(model.status(), IsOk());
  auto made =
      CreateEstimator({.shape = model->shape,
                       .engine = {engine, version, "cpu", std::move(options)}});
  EXPECT_THAT(made.status(), IsOk());
  return std::move(made->estimator);
}

bool Fits(const Estimator& estimator, const LoadRequest& request, Tokens width,
          Tokens n_ctx) {
  const LoadCost cost = PriceLoad(estimator, width, n_ctx, request.outputs);
  return request.memory.base + cost.Need() <=
         request.memory.ceiling - request.memory.headroom;
}

TEST(LoadPlanTest, NoLongerContextFitsThanTheOneItNames) {
  for (const char* config :
       {"llama-3.1-8b.json", "gemma-3-4b.json", "qwen3-30b-a3b.json"}) {
    for (const char* flash : {"true", "false"}) {
      const auto estimator = Make(config, {{"flash_attn", flash}});
      const LoadRequest request{
          .memory = {.ceiling = 6 * kGiB, .base = 2 * kGiB},
          .widths = {64, 512},
          .n_ctx_max = 65536};
      const auto plan = PlanLoad(*estimator, request);
      ASSERT_THAT(plan.status(), IsOk());
      for (const LoadChoice& choice : plan->choices) {
        // Every length, however the price falls and rises between them.
        Tokens longest = 0;
        for (Tokens n = 256; n <= 65536; n += 256) {
          if (Fits(*estimator, request, choice.n_ubatch, n)) longest = n;
        }
        EXPECT_EQ(choice.n_ctx, longest)
            << config << " flash " << flash << " n_ubatch " << choice.n_ubatch;
      }
    }
  }
}

TEST(LoadPlanTest, AWantedContextTakesTheWidestStepThatFits) {
  const auto estimator = Make("llama-3.1-8b.json", {{"flash_attn", "false"}});
  LoadRequest request{.memory = {.ceiling = 24 * kGiB, .base = 16 * kGiB},
                      .n_ctx = 33'000};
  const auto plan = PlanLoad(*estimator, request);
  ASSERT_THAT(plan.status(), IsOk());
  ASSERT_TRUE(plan->fits) << plan->reason;
  EXPECT_EQ(plan->chosen.n_ctx, 33'024);
  EXPECT_TRUE(Fits(*estimator, request, plan->chosen.n_ubatch, 33'024));
  EXPECT_FALSE(Fits(*estimator, request, 2 * plan->chosen.n_ubatch, 33'024));
}

TEST(LoadPlanTest, WithoutAWantedContextAWidthThatCostsLittleOfItIsTaken) {
  const auto estimator = Make("llama-3.1-8b.json");
  const auto plan = PlanLoad(
      *estimator, {.memory = {.ceiling = 24 * kGiB, .base = 16 * kGiB}});
  ASSERT_THAT(plan.status(), IsOk());
  Tokens longest = 0;
  for (const LoadChoice& choice : plan->choices) {
    longest = std::max(longest, choice.n_ctx);
  }
  EXPECT_GE(plan->chosen.n_ctx, longest - longest / 50);
  for (const LoadChoice& choice : plan->choices) {
    if (choice.n_ubatch > plan->chosen.n_ubatch) {
      EXPECT_LT(choice.n_ctx, longest - longest / 50);
    }
  }
}

TEST(LoadPlanTest, ARefusalShowsItsArithmetic) {
  const auto estimator = Make("llama-3.1-8b.json");
  const auto plan = PlanLoad(
      *estimator,
      {.memory = {.ceiling = 17 * kGiB, .base = 16 * kGiB}, .n_ctx = 100'000});
  ASSERT_THAT(plan.status(), IsOk());
  EXPECT_FALSE(plan->fits);
  EXPECT_THAT(plan->reason, HasSubstr("16.00 GiB live + 12.22 GiB KV + "));
  EXPECT_THAT(plan->reason, HasSubstr("> 17.00 GiB = 17.00 GiB ceiling"));
}

TEST(LoadPlanTest, TheLargestAllocationIsALimitOfItsOwn) {
  const auto estimator = Make("llama-3.1-8b.json");
  LoadRequest request{.memory = {.ceiling = 64 * kGiB, .base = 16 * kGiB},
                      .n_ctx = 65'536};
  const auto free = PlanLoad(*estimator, request);
  ASSERT_THAT(free.status(), IsOk());
  request.memory.max_allocation = 300 * kMiB;
  const auto bound = PlanLoad(*estimator, request);
  ASSERT_THAT(bound.status(), IsOk());
  EXPECT_LT(bound->chosen.n_ubatch, free->chosen.n_ubatch);
  EXPECT_LE(bound->chosen.cost.largest_allocation_bytes, 300 * kMiB);
}

TEST(LoadPlanTest, FewerRowsOfLogitsLeaveRoomForContext) {
  const auto estimator = Make("llama-3.1-8b.json");
  LoadRequest request{.memory = {.ceiling = 20 * kGiB, .base = 16 * kGiB},
                      .widths = {2048}};
  const auto all = PlanLoad(*estimator, request);
  request.outputs = 1;
  const auto one = PlanLoad(*estimator, request);
  ASSERT_THAT(all.status(), IsOk());
  ASSERT_THAT(one.status(), IsOk());
  EXPECT_GT(one->chosen.n_ctx, all->chosen.n_ctx);
}

TEST(LoadPlanTest, TheCacheIsThatOfLlamaCppWithItsRoundingAndItsWindows) {
  // 34 layers, 29 of which slide over 1024 tokens; 4 kv heads of 256, f16:
  // 4 KiB a row and layer. llama-kv-cache-iswa.cpp: full layers have n_ctx
  // rows, sliding ones window + n_ubatch, both rounded up to 256.
  const auto estimator = Make("gemma-3-4b.json");
  EXPECT_EQ(estimator->SequenceBytes(8192, 512),
            Bytes{4096} * (5 * 8192 + 29 * 1536));
  EXPECT_EQ(estimator->SequenceBytes(8193, 600),
            Bytes{4096} * (5 * 8448 + 29 * 1792));
  // llama.cpp ignores the window of Mistral: 32 layers, 8 heads of 128.
  EXPECT_EQ(Make("mistral-7b-v0.1.json")->SequenceBytes(16384, 512),
            Bytes{4096} * 32 * 16384);
}

TEST(LoadPlanTest, AnEngineThatPaysForEachStepIsRefused) {
  const auto estimator = Make("llama-3.1-8b.json", {}, "mlx", "0.31.2");
  EXPECT_THAT(PlanLoad(*estimator, {.memory = {.ceiling = kGiB}}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("reserves its memory when it loads")));
}

TEST(LoadPlanTest, BadNumbersAreNamed) {
  const auto estimator = Make("llama-3.1-8b.json");
  const auto error = [&](LoadRequest request) {
    return std::string(PlanLoad(*estimator, request).status().message());
  };
  EXPECT_THAT(error({}), HasSubstr("memory: expected a ceiling above 0"));
  EXPECT_THAT(error({.memory = {.ceiling = kGiB}, .widths = {0}}),
              HasSubstr("widths: expected 1 to 100000000 tokens, got 0"));
  EXPECT_THAT(error({.memory = {.ceiling = kGiB}, .n_ctx = -1}),
              HasSubstr("n_ctx: expected 0 to 100000000, got -1"));
  EXPECT_THAT(error({.memory = {.ceiling = kGiB}, .n_ctx = 10, .n_ctx_max = 5}),
              HasSubstr("n_ctx: expected at most n_ctx_max = 5, got 10"));
}

}  // namespace
}  // namespace tidegate
