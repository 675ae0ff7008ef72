// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// llama.cpp as the engine of a Service.

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/llamacpp/models.h"
#include "tests/testing/matchers.h"
#include "tidegate/llamacpp_engine.h"
#include "tidegate/service.h"

namespace tidegate::llamacpp {
namespace {

namespace asio = boost::asio;
using ::testing::HasSubstr;
using ::tidegate::testing::IsOk;
using ::tidegate::testing::StatusIs;

llama_token Best(std::span<const float> logits) {
  return static_cast<llama_token>(
      std::max_element(logits.begin(), logits.end()) - logits.begin());
}

class LlamaCppEngineTest : public ::testing::Test {
 protected:
  ~LlamaCppEngineTest() override {
    service_.reset();
    if (engine_ != nullptr) engine_->Shutdown();
  }

  // False where there is no model.
  bool Start(LoadOptions options, Sampler sampler) {
    model_ = OpenModel("tiny-llama");
    if (model_ == nullptr) return false;
    options.ceiling = 1024 * kMiB;
    auto loaded = Load(model_.get(), options);
    EXPECT_THAT(loaded.status(), IsOk());
    loaded_ = *std::move(loaded);
    engine_ =
        *LlamaEngine::Create(*Device::Create(loaded_), std::move(sampler));
    ServiceOptions service;
    service.scheduler = loaded_.scheduler;
    service_ =
        *Service::Create(std::move(service), engine_, context_.get_executor());
    return true;
  }

  void Spawn(std::vector<llama_token> tokens, Tokens output,
             std::function<void(const Progress&)> progress = nullptr) {
    const RequestId id = service_->NextId();
    SubmitRequest request{.id = id};
    request.request = {.prompt_tokens = static_cast<Tokens>(tokens.size()),
                       .max_output_tokens = output};
    request.on_progress = std::move(progress);
    EXPECT_THAT(engine_->Add(id, {.tokens = std::move(tokens)}, output),
                IsOk());
    asio::co_spawn(
        context_,
        [](LlamaCppEngineTest& test,
           SubmitRequest submit) -> asio::awaitable<void> {
          co_await asio::this_coro::throw_if_cancelled(false);
          test.results_[submit.id] = co_await test.service_->Submit(submit);
          if (test.results_[submit.id].outcome == Outcome::kRejected) {
            test.engine_->Forget(submit.id);
          }
        }(*this, std::move(request)),
        asio::bind_cancellation_slot(signals_[id].slot(), asio::detached));
  }

  OwnedModel model_;
  LoadedContext loaded_;
  asio::io_context context_;
  std::shared_ptr<LlamaEngine> engine_;
  std::unique_ptr<Service> service_;
  std::map<RequestId, asio::cancellation_signal> signals_;
  std::map<RequestId, SubmitResult> results_;
};

#define TG_START(options, sampler) \
  if (!Start(options, sampler))    \
  GTEST_SKIP() << "needs "         \
                  "TIDEGATE_LLAMACPP_MODELS"

TEST_F(LlamaCppEngineTest, TokensAreThoseOfOneRequestAlone) {
  std::map<RequestId, std::vector<llama_token>> said;
  TG_START((LoadOptions{.n_ctx = 2048, .widths = {64}, .slots = 3}),
           ([&](RequestId id, std::span<const float> logits) {
             said[id].push_back(Best(logits));
             return said[id].back();
           }));
  for (int i = 1; i <= 4; ++i) Spawn(SomeTokens(150 * i, i), 12);
  context_.run();
  ASSERT_EQ(results_.size(), 4);
  for (const auto& [id, result] : results_) {
    EXPECT_EQ(result.outcome, Outcome::kFinished) << result.reason;
    EXPECT_EQ(result.generated_tokens, 12);
  }
  // The same, one at a time.
  service_.reset();
  engine_->Shutdown();
  const auto alone = Load(
      model_.get(), {.ceiling = 1024 * kMiB, .n_ctx = 1024, .widths = {1024}});
  ASSERT_THAT(alone.status(), IsOk());
  const auto device = *Device::Create(*alone);
  for (int i = 1; i <= 4; ++i) {
    ASSERT_THAT(device->Add(i, {.tokens = SomeTokens(150 * i, i)}), IsOk());
    RunStep step{.step = 1};
    step.chunks = {{.id = RequestId(i), .n = 150 * i, .kv_len = 150 * i}};
    ASSERT_EQ(device->Run(step).kind(), StepOutcome::Kind::kDone);
    std::vector<llama_token> expected;
    for (int k = 0; k < 12; ++k) {
      expected.push_back(Best(device->Logits(i)));
      ASSERT_THAT(device->Decode(i, expected.back()), IsOk());
    }
    device->Release(i);
    EXPECT_EQ(said[i], expected) << i;
  }
}

TEST_F(LlamaCppEngineTest, AClientThatLeavesIsStoppedAndOthersGoOn) {
  TG_START(
      (LoadOptions{.n_ctx = 4096, .widths = {32}}),
      ([](RequestId, std::span<const float> logits) { return Best(logits); }));
  Spawn(SomeTokens(3000, 1), 4, [&](const Progress& progress) {
    if (progress.done < 64) return;
    engine_->Abort(progress.id);
    signals_[progress.id].emit(asio::cancellation_type::terminal);
  });
  Spawn(SomeTokens(100, 2), 4);
  context_.run();
  EXPECT_EQ(results_[1].outcome, Outcome::kCancelled);
  EXPECT_LT(results_[1].prompt_tokens_done, 3000);
  EXPECT_EQ(results_[2].outcome, Outcome::kFinished) << results_[2].reason;
}

TEST_F(LlamaCppEngineTest, ARefusedPromptIsAnsweredAndForgotten) {
  TG_START(
      (LoadOptions{.n_ctx = 512, .widths = {64}}),
      ([](RequestId, std::span<const float> logits) { return Best(logits); }));
  Spawn(SomeTokens(600), 1);
  context_.run();
  EXPECT_EQ(results_[1].outcome, Outcome::kRejected);
  EXPECT_EQ(results_[1].code, RefusalCode::kTooLarge);
  EXPECT_EQ(results_[1].largest_prompt_that_fits, 511);
}

TEST_F(LlamaCppEngineTest, ASamplerThatThrowsEndsItsRequestAlone) {
  TG_START((LoadOptions{.n_ctx = 512, .widths = {64}}),
           ([](RequestId id,
               std::span<const float> logits) -> std::optional<llama_token> {
             if (id == 1) throw std::runtime_error("no grammar");
             return Best(logits);
           }));
  Spawn(SomeTokens(100), 5);
  Spawn(SomeTokens(100), 5);
  context_.run();
  EXPECT_EQ(results_[1].outcome, Outcome::kCancelled);
  EXPECT_THAT(results_[1].reason, HasSubstr("the sampler failed: no grammar"));
  EXPECT_EQ(results_[2].outcome, Outcome::kFinished) << results_[2].reason;
}

TEST_F(LlamaCppEngineTest, ASamplerEndsARequestBeforeItsBudget) {
  int calls = 0;
  TG_START((LoadOptions{.n_ctx = 512, .widths = {64}}),
           ([&](RequestId,
                std::span<const float> logits) -> std::optional<llama_token> {
             if (++calls == 3) return std::nullopt;
             return Best(logits);
           }));
  Spawn(SomeTokens(100), 50);
  context_.run();
  EXPECT_EQ(results_[1].outcome, Outcome::kFinished) << results_[1].reason;
  EXPECT_EQ(results_[1].generated_tokens, 2);
}

TEST_F(LlamaCppEngineTest, AServiceThatIsDestroyedAnswersEveryone) {
  TG_START(
      (LoadOptions{.n_ctx = 4096, .widths = {32}}),
      ([](RequestId, std::span<const float> logits) { return Best(logits); }));
  Spawn(SomeTokens(4000), 5, [&](const Progress& progress) {
    if (progress.done >= 64) context_.stop();
  });
  context_.run();
  service_.reset();
  engine_->Shutdown();
  context_.restart();
  context_.run();
  EXPECT_EQ(results_[1].outcome, Outcome::kCancelled);
}

TEST(LlamaCppEngineOptionsTest, ADeviceAndASamplerAreRequired) {
  EXPECT_THAT(LlamaEngine::Create(nullptr, nullptr).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("device: is null")));
}

}  // namespace
}  // namespace tidegate::llamacpp
