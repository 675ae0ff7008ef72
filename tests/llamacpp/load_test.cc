// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <string>
#include <vector>

#include "engines/llamacpp/log_capture.h"
#include "tests/llamacpp/models.h"
#include "tests/testing/matchers.h"

namespace tidegate::llamacpp {
namespace {

using ::testing::HasSubstr;
using ::tidegate::testing::IsOk;
using ::tidegate::testing::StatusIs;

TEST(LlamaCppLogTest, SizesOfBuffersAreAddedUpByKindAndRoundedUp) {
  ReportedMemory reported;
  for (const char* line :
       {"sched_reserve:        CPU compute buffer size =   300.25 MiB\n",
        "sched_reserve:      CUDA0 compute buffer size =     1.00 MiB\n",
        "llama_kv_cache:        CPU KV buffer size =    64.00 MiB\n",
        "llama_memory_recurrent:   CPU RS buffer size =     2.00 MiB\n",
        "llama_context:        CPU  output buffer size =     0.00 MiB\n",
        "load_tensors:   CPU_Mapped model buffer size =  4096.00 MiB\n",
        "llama_context: n_ctx = 4096\n", " compute buffer size = x MiB\n"}) {
    LogCapture::ReadLine(line, &reported);
  }
  const auto up = [](double mib) {
    return static_cast<Bytes>((mib + 0.005) * static_cast<double>(kMiB)) + 1;
  };
  EXPECT_NEAR(static_cast<double>(reported.compute),
              static_cast<double>(up(300.25) + up(1)), 2);
  EXPECT_GE(reported.compute, 301 * kMiB + kMiB / 4);
  EXPECT_NEAR(static_cast<double>(reported.kv),
              static_cast<double>(up(64) + up(2)), 2);
  EXPECT_EQ(reported.output, 0);
}

TEST(LlamaCppShapeTest, WidthsAreThoseOfTheFile) {
  TG_OPEN_MODEL(model, "tiny-llama");
  const auto shape = ShapeOf(model.get());
  ASSERT_THAT(shape.status(), IsOk());
  EXPECT_EQ(shape->model_type, "llama");
  EXPECT_EQ(shape->layers.size(), 2);
  EXPECT_EQ(shape->hidden, 64);
  EXPECT_EQ(shape->vocab, 320);
  ASSERT_EQ(shape->mixers.size(), 1);
  EXPECT_EQ(shape->mixers[0].q_heads, 4);
  EXPECT_EQ(shape->mixers[0].kv_heads, 2);
  EXPECT_EQ(shape->mixers[0].head_dim, 16);
  EXPECT_EQ(shape->feed_forwards[0].intermediate, 128);
  EXPECT_EQ(shape->max_position, 4096);
}

TEST(LlamaCppShapeTest, WindowsAndExpertsAreRead) {
  {
    TG_OPEN_MODEL(model, "tiny-gemma3");
    const auto shape = ShapeOf(model.get());
    ASSERT_THAT(shape.status(), IsOk());
    EXPECT_EQ(shape->model_type, "gemma3_text");
    std::int64_t sliding = 0;
    for (std::size_t i = 0; i < shape->mixers.size(); ++i) {
      if (shape->mixers[i].kind != MixerKind::kSliding) continue;
      EXPECT_EQ(shape->mixers[i].window, 64);
      sliding += shape->MixerCount(static_cast<int>(i));
    }
    EXPECT_EQ(sliding, 5);
  }
  for (const char* name : {"tiny-mixtral", "tiny-qwen3moe"}) {
    TG_OPEN_MODEL(model, name);
    const auto shape = ShapeOf(model.get());
    ASSERT_THAT(shape.status(), IsOk());
    EXPECT_EQ(shape->feed_forwards[0].kind, FeedForwardKind::kMoe) << name;
    EXPECT_EQ(shape->feed_forwards[0].top_k, 2) << name;
  }
}

struct Sizes {
  std::string model;
  bool flash;
  std::string kv_type;
};

class LlamaCppLoadTest : public ::testing::TestWithParam<Sizes> {};

TEST_P(LlamaCppLoadTest, NothingThatIsReservedIsAboveItsPrice) {
  TG_OPEN_MODEL(model, GetParam().model);
  for (const Tokens width : {32, 512}) {
    for (const Tokens n_ctx : {256, 4096}) {
      const auto loaded =
          Load(model.get(), {.ceiling = 1024 * kMiB,
                             .n_ctx = n_ctx,
                             .widths = {width},
                             .flash_attention = GetParam().flash,
                             .kv_type = GetParam().kv_type,
                             .scratch = false});
      ASSERT_THAT(loaded.status(), IsOk());
      // The log rounds to 0.01 MiB, and a report is rounded up.
      constexpr Bytes kRounding = kMiB / 100 + 1;
      const LoadCost& cost = loaded->plan.chosen.cost;
      EXPECT_LE(loaded->reported.compute, cost.transient_bytes + kRounding)
          << width << " " << n_ctx;
      EXPECT_LE(loaded->reported.kv, cost.kv_bytes + 2 * kRounding);
      EXPECT_GE(loaded->reported.kv, cost.kv_bytes - 2 * kRounding);
      EXPECT_EQ(llama_n_ctx(loaded->context.get()), n_ctx);
      EXPECT_EQ(llama_n_ubatch(loaded->context.get()), std::min(width, n_ctx));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, LlamaCppLoadTest,
                         ::testing::Values(Sizes{"tiny-llama", true, "f16"},
                                           Sizes{"tiny-llama", false, "f16"},
                                           Sizes{"tiny-qwen3", true, "f16"},
                                           Sizes{"tiny-gemma3", true, "f16"},
                                           Sizes{"tiny-gemma3", false, "f16"},
                                           Sizes{"tiny-mixtral", true, "f16"},
                                           Sizes{"tiny-qwen3moe", false, "f16"},
                                           Sizes{"small-llama", true, "q8_0"},
                                           Sizes{"small-wide-vocab", true,
                                                 "f16"}),
                         [](const auto& info) {
                           std::string name =
                               info.param.model +
                               (info.param.flash ? "_flash_" : "_") +
                               info.param.kv_type;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(LlamaCppLoadingTest, WhatIsLoadedFitsUnderAnyCeilingOrNothingIs) {
  TG_OPEN_MODEL(model, "tiny-llama");
  int made = 0;
  for (Bytes ceiling = 1 * kMiB; ceiling <= 64 * kMiB; ceiling *= 2) {
    const auto loaded =
        Load(model.get(), {.ceiling = ceiling, .scratch = false});
    if (!loaded.ok()) {
      EXPECT_THAT(loaded.status(),
                  StatusIs(absl::StatusCode::kResourceExhausted,
                           HasSubstr("no context fits: ")));
      continue;
    }
    ++made;
    EXPECT_LE(loaded->base + loaded->reported.Total(), ceiling);
  }
  EXPECT_GE(made, 4);
}

TEST(LlamaCppLoadingTest, AContextThatDoesNotFitIsRefusedWithItsArithmetic) {
  TG_OPEN_MODEL(model, "tiny-llama");
  EXPECT_THAT(Load(model.get(), {.ceiling = 1 * kMiB, .n_ctx = 4096}).status(),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       HasSubstr("> 1.00 MiB = 1.00 MiB ceiling")));
}

TEST(LlamaCppLoadingTest, TheCallbackOfTheLogIsGivenBack) {
  TG_OPEN_MODEL(model, "tiny-llama");
  static int lines = 0;
  const ggml_log_callback count = [](ggml_log_level, const char*, void*) {
    ++lines;
  };
  llama_log_set(count, nullptr);
  ASSERT_THAT(Load(model.get(), {.ceiling = 64 * kMiB}).status(), IsOk());
  EXPECT_GT(lines, 0);
  ggml_log_callback now = nullptr;
  void* data = nullptr;
  llama_log_get(&now, &data);
  EXPECT_EQ(now, count);
}

TEST(LlamaCppLoadingTest, BadOptionsAreNamed) {
  TG_OPEN_MODEL(model, "tiny-llama");
  const auto error = [&](const LoadOptions& options) {
    return std::string(Load(model.get(), options).status().message());
  };
  EXPECT_THAT(error({}), HasSubstr("ceiling: expected bytes above 0"));
  EXPECT_THAT(error({.ceiling = kMiB, .slots = 0}), HasSubstr("slots: "));
  EXPECT_THAT(error({.ceiling = kMiB, .threads = 0}), HasSubstr("threads: "));
  EXPECT_THAT(error({.ceiling = kMiB, .kv_type = "q9"}),
              HasSubstr("kv_type: expected f32, f16"));
  EXPECT_THAT(error({.ceiling = kMiB, .widths = {-1}}), HasSubstr("widths: "));
  EXPECT_THAT(std::string(Load(nullptr, {.ceiling = 1}).status().message()),
              HasSubstr("model: is null"));
}

}  // namespace
}  // namespace tidegate::llamacpp
