// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <string>
#include <utility>
#include <vector>

#include "tests/llamacpp/models.h"
#include "tests/testing/matchers.h"

namespace tidegate::llamacpp {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::tidegate::testing::IsOk;
using ::tidegate::testing::StatusIs;

constexpr int kPrompt = 700;
// Of the largest logit: sums in another order.
constexpr double kTolerance = 2e-3;
// The fused kernels of the CPU backend were seen to differ by 0.95 %, whatever
// the type of the cache, which they take as 16 bits; why was not looked into.
constexpr double kFused16 = 2e-2;

// A context, its device and its scheduler.
struct Rig {
  LoadedContext loaded;
  std::unique_ptr<Device> device;
  std::unique_ptr<PullScheduler> gate;
};

Rig MakeRig(llama_model* model, LoadOptions options) {
  if (options.ceiling == 0) options.ceiling = 1024 * kMiB;
  if (options.n_ctx == 0) options.n_ctx = 1024;
  Rig rig;
  auto loaded = Load(model, options);
  EXPECT_THAT(loaded.status(), IsOk());
  rig.loaded = *std::move(loaded);
  rig.device = *Device::Create(rig.loaded);
  rig.gate = *PullScheduler::Create(rig.loaded.scheduler);
  return rig;
}

void Submit(Rig& rig, RequestId id, std::vector<llama_token> tokens,
            Tokens output = 0) {
  const auto count = static_cast<Tokens>(tokens.size());
  ASSERT_THAT(rig.device->Add(id, {.tokens = std::move(tokens)}), IsOk());
  ASSERT_THAT(rig.gate->Submit({.id = id,
                                .request = {.prompt_tokens = count,
                                            .max_output_tokens = output}},
                               Instant{}),
              IsOk());
}

// The logits of prompts 1, 2, …, each `SomeTokens(length, id)`.
std::vector<std::vector<float>> LogitsOf(Rig& rig,
                                         const std::vector<int>& lengths) {
  std::vector<std::vector<float>> logits(lengths.size());
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    Submit(rig, i + 1, SomeTokens(lengths[i], static_cast<int>(i) + 1));
  }
  RunAll(*rig.gate, *rig.device,
         [&](RequestId id, std::span<const float> found) {
           logits[id - 1].assign(found.begin(), found.end());
         });
  return logits;
}

RunStep Step(RequestId id, Tokens start, Tokens n) {
  RunStep step{.step = 1};
  step.chunks = {{.id = id, .start = start, .n = n, .kv_len = start + n}};
  return step;
}

struct Case {
  std::string model;
  bool flash;
  std::string kv_type = "f16";

  double Tolerance() const {
    return flash && kv_type == "f16" ? kFused16 : kTolerance;
  }
};

class LlamaCppLogitsTest : public ::testing::TestWithParam<Case> {};

TEST_P(LlamaCppLogitsTest, AreThoseOfOneChunk) {
  TG_OPEN_MODEL(model, GetParam().model);
  Rig whole = MakeRig(model.get(), {.widths = {1024},
                                    .flash_attention = GetParam().flash,
                                    .kv_type = GetParam().kv_type});
  Rig chunks = MakeRig(model.get(), {.widths = {64},
                                     .flash_attention = GetParam().flash,
                                     .kv_type = GetParam().kv_type});
  const auto expected = LogitsOf(whole, {kPrompt});
  const auto got = LogitsOf(chunks, {kPrompt});
  EXPECT_EQ(whole.gate->Stats().steps, 1);
  EXPECT_EQ(chunks.gate->Stats().steps, 11);
  EXPECT_LT(RelativeError(got[0], expected[0]), GetParam().Tolerance());
  // One token less makes more of a difference.
  EXPECT_GT(RelativeError(LogitsOf(chunks, {kPrompt - 1})[0], expected[0]),
            5 * GetParam().Tolerance());
}

INSTANTIATE_TEST_SUITE_P(
    Models, LlamaCppLogitsTest,
    ::testing::Values(Case{"tiny-llama", true}, Case{"tiny-llama", false},
                      Case{"tiny-qwen3", true}, Case{"tiny-gemma3", true},
                      Case{"tiny-gemma3", false}, Case{"tiny-mixtral", true},
                      Case{"tiny-qwen3moe", true}),
    [](const auto& info) {
      std::string name = info.param.model +
                         (info.param.flash ? "_flash_" : "_") +
                         info.param.kv_type;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

TEST(LlamaCppDeviceTest, PromptsThatShareTheCacheDoNotDisturbEachOther) {
  TG_OPEN_MODEL(model, "tiny-llama");
  Rig one = MakeRig(model.get(), {.widths = {64}, .flash_attention = false});
  Rig three = MakeRig(
      model.get(),
      {.n_ctx = 2048, .widths = {64}, .slots = 3, .flash_attention = false});
  three.gate = nullptr;
  three.loaded.scheduler.order_policy = "fair";  // they take turns
  three.gate = *PullScheduler::Create(three.loaded.scheduler);
  const auto expected = LogitsOf(one, {kPrompt, 300, 500});
  const auto got = LogitsOf(three, {kPrompt, 300, 500});
  for (int i = 0; i < 3; ++i) {
    EXPECT_LT(RelativeError(got[i], expected[i]), kTolerance) << i;
  }
}

TEST(LlamaCppDeviceTest, AFailedStepLeavesTheCacheAsItWas) {
  TG_OPEN_MODEL(model, "tiny-gemma3");
  Rig whole = MakeRig(model.get(), {.widths = {1024}});
  const auto expected = LogitsOf(whole, {kPrompt});
  // The step is stopped while it runs: when its graph is about to be computed.
  struct Stop {
    Device* device = nullptr;
    int calls_left = -1;
  } stop;
  Rig rig =
      MakeRig(model.get(),
              {.widths = {128}, .adjust = [&](llama_context_params& params) {
                 params.cb_eval = [](ggml_tensor*, bool, void* data) {
                   Stop& s = *static_cast<Stop*>(data);
                   if (s.calls_left > 0 && --s.calls_left == 0) {
                     s.device->Cancel(7);
                   }
                   return false;
                 };
                 params.cb_eval_user_data = &stop;
               }});
  stop.device = rig.device.get();
  Device& device = *rig.device;
  ASSERT_THAT(device.Add(1, {.tokens = SomeTokens(kPrompt)}), IsOk());
  ASSERT_THAT(device.Add(7, {.tokens = SomeTokens(200)}), IsOk());
  EXPECT_EQ(device.Run(Step(1, 0, 128)).kind(), StepOutcome::Kind::kDone);
  device.Preempt(1);
  stop.calls_left = 1;
  const StepOutcome stopped = device.Run(Step(7, 0, 128));
  EXPECT_EQ(stopped.kind(), StepOutcome::Kind::kFailed);
  EXPECT_EQ(stopped.detail(), "aborted");
  EXPECT_EQ(device.Cached(7), 0);
  EXPECT_THAT(device.Run(Step(7, 0, 128)).detail(), HasSubstr("cancelled"));
  device.Release(7);
  // The other one was dropped: what it had is computed again.
  for (int at = 256; at < kPrompt; at += 128) {
    EXPECT_EQ(device.Run(Step(1, at, std::min(128, kPrompt - at))).kind(),
              StepOutcome::Kind::kDone);
  }
  EXPECT_EQ(device.Cached(1), kPrompt);
  EXPECT_LT(RelativeError(device.Logits(1), expected[0]), kTolerance);
}

TEST(LlamaCppDeviceTest, AFullCacheIsOutOfMemoryAndANarrowerStepGoesOn) {
  TG_OPEN_MODEL(model, "tiny-llama");
  Rig rig = MakeRig(
      model.get(),
      {.n_ctx = 512, .widths = {256}, .slots = 2, .flash_attention = false});
  Device& device = *rig.device;
  ASSERT_THAT(device.Add(1, {.tokens = SomeTokens(400)}), IsOk());
  ASSERT_THAT(device.Add(2, {.tokens = SomeTokens(300, 2)}), IsOk());
  EXPECT_EQ(device.Run(Step(1, 0, 256)).kind(), StepOutcome::Kind::kDone);
  EXPECT_EQ(device.Run(Step(2, 0, 200)).kind(), StepOutcome::Kind::kDone);
  const StepOutcome full = device.Run(Step(2, 200, 100));
  EXPECT_EQ(full.kind(), StepOutcome::Kind::kOutOfMemory);
  EXPECT_THAT(full.detail(), HasSubstr("no room in the KV cache for 100"));
  EXPECT_EQ(device.Cached(2), 200);
  EXPECT_EQ(device.Run(Step(2, 200, 50)).kind(), StepOutcome::Kind::kDone);
  device.Release(1);
  EXPECT_EQ(device.Run(Step(2, 250, 50)).kind(), StepOutcome::Kind::kDone);
  Rig alone =
      MakeRig(model.get(), {.widths = {1024}, .flash_attention = false});
  ASSERT_THAT(alone.device->Add(2, {.tokens = SomeTokens(300, 2)}), IsOk());
  alone.device->Run(Step(2, 0, 300));
  EXPECT_LT(RelativeError(device.Logits(2), alone.device->Logits(2)),
            kTolerance);
}

TEST(LlamaCppDeviceTest, StepsThatCannotRunFailAndDoNotEndTheProcess) {
  TG_OPEN_MODEL(model, "tiny-llama");
  Rig rig = MakeRig(model.get(), {.widths = {64}});
  Device& device = *rig.device;
  ASSERT_THAT(device.Add(1, {.tokens = SomeTokens(200)}), IsOk());
  ASSERT_THAT(device.Add(2, {.tokens = SomeTokens(200)}), IsOk());
  EXPECT_THAT(device.Run(Step(9, 0, 10)).detail(),
              HasSubstr("request 9 was not added"));
  EXPECT_THAT(device.Run(Step(1, 0, 65)).detail(),
              HasSubstr("the step has 65 tokens, n_batch is 64"));
  EXPECT_THAT(device.Run(Step(1, 190, 20)).detail(),
              HasSubstr("its prompt has 200 tokens, the chunk ends at 210"));
  EXPECT_EQ(device.Run(Step(1, 0, 64)).kind(), StepOutcome::Kind::kDone);
  EXPECT_THAT(device.Run(Step(2, 0, 64)).detail(),
              HasSubstr("all 1 slots are taken"));
  RunStep decodes = Step(1, 64, 10);
  decodes.decodes = {2};
  EXPECT_THAT(device.Run(decodes).detail(), HasSubstr("chunks alone"));
}

TEST(LlamaCppDeviceTest, PromptsThatTheVocabularyLacksAreRefused) {
  TG_OPEN_MODEL(model, "tiny-llama");
  Rig rig = MakeRig(model.get(), {.widths = {64}});
  Device& device = *rig.device;
  EXPECT_THAT(device.Add(1, {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("expected tokens, got none")));
  EXPECT_THAT(device.Add(1, {.tokens = {5, 320}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("token 1: expected 0 to 319, got 320")));
  EXPECT_THAT(device.Add(1, {.tokens = {5}}), IsOk());
  EXPECT_THAT(device.Add(1, {.tokens = {5}}),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("1")));
}

TEST(LlamaCppDeviceTest, WhatItMeasuresIsWithinThePrice) {
  TG_OPEN_MODEL(model, "tiny-llama");
  Rig rig = MakeRig(model.get(), {.widths = {256}, .threads = 2});
  ASSERT_THAT(rig.device->Add(1, {.tokens = SomeTokens(256)}), IsOk());
  const StepOutcome done = rig.device->Run(Step(1, 0, 256));
  ASSERT_EQ(done.kind(), StepOutcome::Kind::kDone);
  ASSERT_EQ(done.measured().live_bytes.size(), 1);
  ASSERT_EQ(done.measured().peak_bytes.size(), 1);
  EXPECT_EQ(done.measured().live_bytes[0], rig.loaded.scheduler.memory.base);
  const Bytes transient =
      done.measured().peak_bytes[0] - done.measured().live_bytes[0];
  EXPECT_GE(transient, rig.loaded.reported.compute);
  const Chunk chunk{.n = 256, .kv_len = 256};
  EXPECT_LE(
      transient,
      rig.loaded.estimator->Total({.chunks = {&chunk, 1}}).transient_bytes +
          kMiB);  // and what describes the graph
}

TEST(LlamaCppDeviceTest, ProgressTellsEachChunk) {
  TG_OPEN_MODEL(model, "tiny-llama");
  Rig rig = MakeRig(model.get(), {.widths = {64}});
  std::vector<Tokens> seen;
  ASSERT_THAT(rig.device->Add(1, {.tokens = SomeTokens(150),
                                  .progress =
                                      [&](Tokens done, Tokens total) {
                                        EXPECT_EQ(total, 150);
                                        seen.push_back(done);
                                      }}),
              IsOk());
  ASSERT_THAT(
      rig.gate->Submit({.id = 1, .request = {.prompt_tokens = 150}}, Instant{}),
      IsOk());
  RunAll(*rig.gate, *rig.device, [](RequestId, std::span<const float>) {});
  EXPECT_EQ(seen, (std::vector<Tokens>{64, 128, 150}));
}

TEST(LlamaCppDeviceTest, APromptLongerThanTheContextIsRefusedWithItsReason) {
  TG_OPEN_MODEL(model, "tiny-llama");
  Rig rig = MakeRig(model.get(), {.n_ctx = 512, .widths = {64}});
  Submit(rig, 1, SomeTokens(512));
  Submit(rig, 2, SomeTokens(513));
  Submit(rig, 3, SomeTokens(500), 13);
  const auto answers =
      RunAll(*rig.gate, *rig.device, [](RequestId, std::span<const float>) {});
  ASSERT_EQ(answers.size(), 3);
  for (const Answer& answer : answers) {
    EXPECT_EQ(answer.outcome,
              answer.id == 1 ? Outcome::kFinished : Outcome::kRejected)
        << answer.id;
    if (answer.id == 1) continue;
    EXPECT_EQ(answer.code, RefusalCode::kTooLarge);
    EXPECT_EQ(answer.largest_prompt_that_fits, answer.id == 2 ? 512 : 499);
  }
}

TEST(LlamaCppDeviceTest, DecodingGoesOnBehindThePrompt) {
  TG_OPEN_MODEL(model, "tiny-llama");
  Rig rig = MakeRig(model.get(), {.widths = {64}});
  std::vector<llama_token> tokens = SomeTokens(100);
  ASSERT_THAT(rig.device->Add(1, {.tokens = tokens}), IsOk());
  EXPECT_THAT(rig.device->Decode(1, 5),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("expected its prompt in the cache")));
  rig.device->Run(Step(1, 0, 64));
  EXPECT_THAT(rig.device->Logits(1), IsEmpty());
  rig.device->Run(Step(1, 64, 36));
  ASSERT_THAT(rig.device->Decode(1, 5), IsOk());
  tokens.push_back(5);
  Rig whole = MakeRig(model.get(), {.widths = {1024}});
  ASSERT_THAT(whole.device->Add(1, {.tokens = tokens}), IsOk());
  whole.device->Run(Step(1, 0, 101));
  EXPECT_LT(RelativeError(rig.device->Logits(1), whole.device->Logits(1)),
            kTolerance);
  rig.device->Cancel(1);
  EXPECT_THAT(rig.device->Decode(1, 6),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("cancelled")));
}

}  // namespace
}  // namespace tidegate::llamacpp
