// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Goodput beside every rival that survives: of one that runs out of memory the
// requests that it lost leave room for the others, and in fact it would be
// down.

#include <cstdio>
#include <string>
#include <string_view>

#include "tests/testing/worlds.h"

namespace tidegate {
namespace {

using testing::DrawTrace;
using testing::kWorldGiB;
using testing::PlayWorld;
using testing::UnfusedWorld;

// Noise of three traces.
constexpr double kNoise = 0.03;

void ExpectNoRivalIsBetter(int ceiling_gib) {
  SimulatorOptions options = UnfusedWorld(ceiling_gib * kWorldGiB);
  options.scheduler.calibrate = false;
  options.scheduler.decode_stall = std::chrono::milliseconds(90);
  options.scheduler.order_policy = "shortest";
  const auto goodput = [&](std::string_view rival, std::int64_t* failed) {
    double sum = 0;
    for (const std::uint64_t seed : {1, 2, 3}) {
      const SimulationResult result =
          PlayWorld(rival, DrawTrace(seed, {.per_s = 0.3}), options);
      sum += result.goodput_per_s / 3;
      *failed += result.out_of_memory;
    }
    return sum;
  };
  std::int64_t failed = 0;
  const double ours = goodput("", &failed);
  EXPECT_EQ(failed, 0);
  std::printf("  %d GiB: tidegate %.4f a second\n", ceiling_gib, ours);
  for (const std::string_view rival : RivalNames()) {
    failed = 0;
    const double theirs = goodput(rival, &failed);
    std::printf("    %s %.4f, %lld out of memory\n", std::string(rival).c_str(),
                theirs, static_cast<long long>(failed));
    if (failed > 0) continue;
    EXPECT_GE(ours, (1 - kNoise) * theirs) << rival;
  }
}

TEST(GoodputTest, NoRivalThatSurvivesIsBetterWhereTheCeilingBinds) {
  ExpectNoRivalIsBetter(24);
}

TEST(GoodputTest, NoRivalThatSurvivesIsBetterWhereThereIsRoom) {
  ExpectNoRivalIsBetter(40);
}

// 10 ms and 8,000 tokens a second: 640 tokens are 90 ms. The first prompt of a
// step may be as wide as the floor whatever it takes; nobody joins it then.
TEST(GoodputTest, SeveralPromptsInAStepKeepBelowTheDecodeStallTogether) {
  SimulatorOptions options = UnfusedWorld(40 * kWorldGiB);
  options.scheduler.calibrate = false;
  options.scheduler.decode_stall = std::chrono::milliseconds(90);
  options.scheduler.time =
      TimeModel{.fixed_ps = 10'000'000'000, .per_token_ps = 125'000'000};
  int joined = 0;
  options.on_decision = [&](const Decision& decision) {
    for (const Action& action : decision.actions) {
      const auto* step = std::get_if<RunStep>(&action);
      if (step == nullptr || step->decodes.empty() || step->chunks.size() < 2) {
        continue;
      }
      Tokens tokens = 0;
      for (const StepChunk& chunk : step->chunks) tokens += chunk.n;
      EXPECT_LE(tokens, 720) << "step " << step->step;
      ++joined;
    }
  };
  PlayWorld("", DrawTrace(1, {.per_s = 2, .prompt_median = 1'000}), options);
  EXPECT_GT(joined, 5);
}

}  // namespace
}  // namespace tidegate
