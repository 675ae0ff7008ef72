// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The simulated engine as a service drives it, without one.

#include "examples/server/simulated_engine.h"

#include <atomic>
#include <future>
#include <mutex>

#include "examples/server/setup.h"
#include "tests/testing/matchers.h"

namespace tidegate::testing {
namespace {

using ::testing::HasSubstr;

constexpr Bytes kKiB = 1 << 10;
constexpr Bytes kPerToken = 128 * kKiB;  // Llama-3.1-8B in 16 bits

struct Device {
  std::shared_ptr<server::TextEngine> engine;
  std::mutex mutex;
  std::string said;
  int pieces = 0;

  explicit Device(std::optional<Bytes> ceiling = std::nullopt) {
    auto setup = server::LoadSetup({.policy = std::string(TIDEGATE_SOURCE_DIR) +
                                              "/policy_files/mlx-36gb.toml",
                                    .ceiling = ceiling,
                                    .speed = 1e6,
                                    .decode_interval = Duration::zero()});
    EXPECT_THAT(setup, IsOk());
    engine = setup->engine;
  }
  void Open(RequestId id, Tokens prompt, Tokens max_tokens) {
    engine->Open(id, {.prompt = std::vector<server::TokenId>(prompt, 65),
                      .max_tokens = max_tokens,
                      .on_piece = [this](server::Piece piece) {
                        const std::lock_guard lock(mutex);
                        said += piece.text;
                        ++pieces;
                      }});
    engine->Admitted({.id = id});
  }
  StepOutcome Step(RequestId id, Tokens start, Tokens n) {
    std::promise<StepOutcome> outcome;
    engine->Run(
        {.step = 1,
         .chunks = {{.id = id, .start = start, .n = n, .kv_len = start + n}}},
        StepCompletion([&](std::optional<StepOutcome> answer) {
          outcome.set_value(answer.value_or(StepOutcome::Failed()));
        }));
    return outcome.get_future().get();
  }
  // Decodes to the end; how many tokens were reported.
  Tokens Decode(RequestId id) {
    std::atomic<Tokens> tokens{0};
    std::promise<void> ended;
    engine->StartDecode(id, DecodeHandle([&](DecodeHandle::Report report) {
                          if (report.tokens.has_value()) {
                            tokens += *report.tokens;
                          } else {
                            ended.set_value();
                          }
                        }));
    ended.get_future().wait();
    return tokens;
  }
};

TEST(SimulatedEngineTest, HoldsWhatAStepAddsAndFreesItsTransient) {
  Device device;
  const Bytes base = device.engine->Device().base;
  EXPECT_EQ(base, Bytes{15} << 30);
  device.Open(1, 3000, 2);
  const StepOutcome outcome = device.Step(1, 0, 2048);
  ASSERT_EQ(outcome.kind(), StepOutcome::Kind::kDone);
  EXPECT_EQ(outcome.measured().live_bytes[0], base + 2048 * kPerToken);
  EXPECT_GT(outcome.measured().peak_bytes[0], base + 2048 * kPerToken);
  EXPECT_EQ(device.engine->Device().transient, 0);
  device.Step(1, 2048, 952);
  EXPECT_EQ(device.engine->Device().resident, 3000 * kPerToken);
  EXPECT_EQ(device.Decode(1), 2);
  EXPECT_EQ(device.engine->Device().live, base);
}

TEST(SimulatedEngineTest, RunsOutOfMemoryAsADeviceDoes) {
  Device device((Bytes{15} << 30) + 1024 * kPerToken);
  device.Open(1, 3000, 2);
  EXPECT_EQ(device.Step(1, 0, 2048).kind(), StepOutcome::Kind::kOutOfMemory);
  EXPECT_EQ(device.engine->Device().live, device.engine->Device().base);
  EXPECT_EQ(device.Step(1, 0, 256).kind(), StepOutcome::Kind::kDone);
}

TEST(SimulatedEngineTest, APreemptedRequestSaysNothingTwice) {
  Device device;
  device.Open(1, 100, 1'000'000'000);
  device.Step(1, 0, 100);
  device.engine->StartDecode(1, DecodeHandle([](const auto&) {}));
  for (int seen = 0; seen < 50;) {
    const std::lock_guard lock(device.mutex);
    seen = device.pieces;
  }
  device.engine->Preempt(1);
  EXPECT_EQ(device.engine->Device().live, device.engine->Device().base);
  const std::string before = device.said;
  const int pieces = device.pieces;

  device.engine->Admitted({.id = 1});
  device.Step(1, 0, 100);
  device.engine->StartDecode(1, DecodeHandle([](const auto&) {}));
  for (int seen = 0; seen < pieces + 50;) {
    const std::lock_guard lock(device.mutex);
    seen = device.pieces;
  }
  device.engine->Release(1);
  EXPECT_EQ(device.said.substr(0, before.size()), before);

  // The same text as of one that was never disturbed.
  Device other;
  other.Open(1, 100, device.pieces);
  other.Step(1, 0, 100);
  other.Decode(1);
  EXPECT_EQ(other.said, device.said);
}

TEST(SimulatedEngineTest, SaysNothingAfterClose) {
  Device device;
  device.Open(1, 100, 1'000'000'000);
  device.Step(1, 0, 100);
  device.engine->StartDecode(1, DecodeHandle([](const auto&) {}));
  device.engine->Close(1);
  const int pieces = device.pieces;
  device.Open(2, 100, 1000);
  device.engine->Close(2);
  device.Step(2, 0, 100);
  device.engine->Release(1);
  device.engine->Release(2);
  EXPECT_EQ(device.pieces, pieces);
  EXPECT_EQ(device.engine->Device().live, device.engine->Device().base);
}

TEST(SimulatedEngineTest, RefusesOptionsThatCannotBe) {
  EXPECT_THAT(server::CreateSimulatedEngine({}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("estimator: expected one")));
  const std::string policy =
      std::string(TIDEGATE_SOURCE_DIR) + "/policy_files/mlx-36gb.toml";
  EXPECT_THAT(server::LoadSetup({.policy = policy, .speed = 0}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("speed: expected a number above 0")));
  EXPECT_THAT(server::LoadSetup({.policy = policy, .ceiling = Bytes{1} << 30}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("GiB")));
  EXPECT_THAT(server::LoadSetup({.policy = "nowhere.toml"}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("nowhere")));
}

}  // namespace
}  // namespace tidegate::testing
