// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The planner against an exhaustive search over all sequences of widths, on
// thousands of small random worlds: other kernels below a width or beyond a
// length, windows, spans, both limits.

#include <algorithm>
#include <optional>
#include <random>
#include <vector>

#include "tests/testing/exhaustive_planner.h"
#include "tests/testing/fake_estimator.h"
#include "tests/testing/matchers.h"
#include "tidegate/plan.h"

namespace tidegate {
namespace {

using ::tidegate::testing::FakeEstimator;

using World = ::tidegate::testing::PlannedWorld;
using Exhaustive = ::tidegate::testing::ExhaustivePlanner;

World RandomWorld(std::mt19937_64& random) {
  const auto upto = [&](std::int64_t max) {
    return static_cast<std::int64_t>(random() %
                                     static_cast<std::uint64_t>(max + 1));
  };
  World world;
  const Tokens prompt = 1 + upto(47);
  world.estimator = FakeEstimator::Random(random, prompt);
  world.request.prompt_tokens = prompt;
  if (upto(2) == 0) world.request.cached_tokens = upto(prompt);
  if (upto(2) == 0) world.request.max_output_tokens = upto(10);
  if (upto(3) == 0) {
    const Tokens start = upto(prompt - 1);
    world.request.uncuttable.push_back(
        {start, 1 + upto(std::min<Tokens>(prompt - start - 1, 11))});
  }
  if (upto(4) == 0) world.request.extra_bytes_per_token = upto(3);
  world.chunk.max = 1 + upto(23);
  world.chunk.floor = 1 + upto(11);
  world.chunk.quantum = Tokens{1} << upto(3);
  world.memory.base = upto(20);
  world.memory.headroom = upto(5);
  world.memory.ceiling = 26 + upto(300);
  if (upto(3) == 0) world.memory.max_allocation = 1 + upto(120);
  if (upto(3) == 0) {
    for (Tokens at = upto(prompt); at < prompt; at += upto(9)) {
      const Tokens length = 1 + upto(std::min<Tokens>(prompt - at - 1, 15));
      world.request.encodes.push_back({.start = at,
                                       .length = length,
                                       .transient_bytes = upto(60),
                                       .output_bytes = 1 + upto(25)});
      at += length;
    }
  }
  return world;
}

std::string Show(const World& world, std::uint64_t seed) {
  std::string text = "seed " + std::to_string(seed) + " prompt " +
                     std::to_string(world.request.prompt_tokens) + " cached " +
                     std::to_string(world.request.cached_tokens) + " output " +
                     std::to_string(world.request.max_output_tokens) + " max " +
                     std::to_string(world.chunk.max) + " floor " +
                     std::to_string(world.chunk.floor) + " quantum " +
                     std::to_string(world.chunk.quantum);
  for (const Span& span : world.request.uncuttable) {
    text += " span " + std::to_string(span.start) + "+" +
            std::to_string(span.length);
  }
  for (const EncodeItem& item : world.request.encodes) {
    text += " item " + std::to_string(item.start) + "+" +
            std::to_string(item.length);
  }
  return text;
}

class ExhaustivePlannerTest : public ::testing::TestWithParam<bool> {};

TEST_P(ExhaustivePlannerTest, FindsASequenceWheneverOneExistsAndAShortestOne) {
  int admitted = 0;
  for (std::uint64_t seed = 1; seed <= 20000; ++seed) {
    std::mt19937_64 random(seed);
    const World world = RandomWorld(random);
    const Exhaustive exhaustive(world);
    ASSERT_OK_AND_ASSIGN(
        const Plan plan,
        PlanPrompt(world.estimator, world.request, world.memory, world.chunk,
                   {.want_largest_prompt = false, .force_search = GetParam()}));
    const std::optional<int> fewest = exhaustive.FewestChunks();
    ASSERT_OK_AND_ASSIGN(
        const Plan any,
        PlanPrompt(world.estimator, world.request, world.memory, world.chunk,
                   {.want_largest_prompt = false, .any_sequence = true}));
    ASSERT_EQ(any.verdict, plan.verdict) << Show(world, seed);
    ASSERT_EQ(plan.verdict == Verdict::kAdmit, fewest.has_value())
        << Show(world, seed) << ": " << plan.reason;
    if (!fewest.has_value()) continue;
    ++admitted;
    ASSERT_EQ(static_cast<int>(plan.chunks.size()), *fewest)
        << Show(world, seed);
    Tokens at = plan.chunks.front().start;
    for (const PlannedChunk& chunk : plan.chunks) {
      ASSERT_EQ(chunk.start, at) << Show(world, seed);
      ASSERT_EQ(chunk.kv_len, chunk.start + chunk.n) << Show(world, seed);
      ASSERT_TRUE(exhaustive.Allowed(chunk.start, chunk.kv_len))
          << Show(world, seed);
      ASSERT_TRUE(exhaustive.Fits(chunk.start, chunk.kv_len))
          << Show(world, seed);
      ASSERT_LE(exhaustive.Peak(chunk.start, chunk.kv_len), plan.peak_bytes);
      at = chunk.kv_len;
    }
    ASSERT_EQ(at, world.request.prompt_tokens) << Show(world, seed);
    ASSERT_LE(plan.peak_bytes, world.memory.ceiling - world.memory.headroom);
  }
  // The worlds are drawn so that both answers are common.
  EXPECT_GT(admitted, 4000);
  EXPECT_LT(admitted, 16000);
}

TEST_P(ExhaustivePlannerTest, LargestPromptFitsAndTheNextOnesDoNot) {
  for (std::uint64_t seed = 1; seed <= 3000; ++seed) {
    std::mt19937_64 random(seed);
    World world = RandomWorld(random);
    world.request.uncuttable.clear();
    world.request.encodes.clear();
    world.request.cached_tokens =
        std::min(world.request.cached_tokens, world.request.prompt_tokens - 1);
    // So that the longest prompt is one that can be enumerated.
    world.estimator.kv_per_token =
        std::max<Bytes>(world.estimator.kv_per_token, 3);
    ASSERT_OK_AND_ASSIGN(
        const Plan plan,
        PlanPrompt(world.estimator, world.request, world.memory, world.chunk,
                   {.force_search = GetParam()}));
    if (world.estimator.preallocated) {
      if (plan.largest_prompt_that_fits == 0) continue;
      World edge = world;
      edge.request.prompt_tokens = plan.largest_prompt_that_fits;
      ASSERT_TRUE(Exhaustive(edge).FewestChunks()) << Show(world, seed);
      if (plan.largest_prompt_that_fits == world.request.prompt_tokens)
        continue;
      ++edge.request.prompt_tokens;
      ASSERT_FALSE(Exhaustive(edge).FewestChunks()) << Show(world, seed);
      continue;
    }
    Tokens largest = 0;
    for (Tokens prompt = world.request.cached_tokens + 1; prompt <= 140;
         ++prompt) {
      World longer = world;
      longer.request.prompt_tokens = prompt;
      if (Exhaustive(longer).FewestChunks().has_value()) largest = prompt;
    }
    ASSERT_EQ(plan.largest_prompt_that_fits, largest) << Show(world, seed);
  }
}

INSTANTIATE_TEST_SUITE_P(FastPathAndSearch, ExhaustivePlannerTest,
                         ::testing::Bool(), [](const auto& info) {
                           return info.param ? "Search" : "FastPath";
                         });

}  // namespace
}  // namespace tidegate
