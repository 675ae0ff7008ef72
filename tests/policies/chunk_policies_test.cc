// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <memory>
#include <optional>
#include <random>
#include <string>

#include "tests/testing/fake_estimator.h"
#include "tests/testing/matchers.h"
#include "tidegate/policy.h"

namespace tidegate {
namespace {

using ::tidegate::testing::FakeEstimator;
using ::tidegate::testing::StatusIs;

std::unique_ptr<ChunkPolicy> Make(std::string_view name) {
  auto policy = CreateChunkPolicy(name);
  EXPECT_THAT(policy, ::tidegate::testing::IsOk());
  return *std::move(policy);
}

class ChunkPoliciesTest : public ::testing::Test {
 protected:
  ChunkPoliciesTest() {
    estimator_.kernels = {{.n_last = kTokensMax, .per_n = 4}};
  }
  ChunkPolicy::Choice Next(std::string_view policy) {
    RequestView view = view_;
    view.request = &request_;
    return Make(policy)->Next({.estimator = estimator_,
                               .request = view,
                               .memory = memory_,
                               .limits = limits_});
  }

  FakeEstimator estimator_;
  PlanRequest request_{.prompt_tokens = 5000};
  RequestView view_;
  MemoryView memory_{.limits = {.ceiling = 10'000}};
  ChunkLimits limits_{.max = 1024, .floor = 64, .quantum = 64};
};

TEST_F(ChunkPoliciesTest, ThrottleTakesTheMaximumWhereItFits) {
  const ChunkPolicy::Choice choice = Next("throttle");
  EXPECT_EQ(choice.n, 1024);
  EXPECT_EQ(choice.bound, Bound::kMaximum);
  EXPECT_EQ(choice.price.transient_bytes, 4096);
  EXPECT_EQ(choice.price.resident_bytes, 1024);
}

TEST_F(ChunkPoliciesTest, ThrottleEndsWithThePrompt) {
  view_.done = 4900;
  memory_.limits.base = 4900;
  const ChunkPolicy::Choice choice = Next("throttle");
  EXPECT_EQ(choice.n, 100);
  EXPECT_EQ(choice.bound, Bound::kPrompt);
}

TEST_F(ChunkPoliciesTest, ThrottleNarrowsToWhatMemoryAllows) {
  memory_.limits.base = 7'000;
  const ChunkPolicy::Choice choice = Next("throttle");
  EXPECT_EQ(choice.n, 576);  // 5 * 576 <= 3000 < 5 * 640.
  EXPECT_EQ(choice.bound, Bound::kMemory);
}

TEST_F(ChunkPoliciesTest, ThrottleLeavesTheClaimsOfOthersAlone) {
  memory_.limits.base = 6'000;
  memory_.claimed = 1'000;
  EXPECT_EQ(Next("throttle").n, 576);
}

TEST_F(ChunkPoliciesTest, ThrottleAnswersZeroBelowTheFloor) {
  limits_.floor = 640;
  memory_.limits.base = 7'000;
  EXPECT_EQ(Next("throttle").n, 0);
}

TEST_F(ChunkPoliciesTest, ThrottleGoesNarrowerThanItCouldForTheTail) {
  estimator_.kernels = {{.n_last = 511, .per_n_kv = 1},
                        {.n_last = kTokensMax, .per_n = 1}};
  memory_.limits = {.ceiling = 100'000, .base = 1024};
  memory_.idle_base = 1024;
  request_.prompt_tokens = 2500;
  view_.done = 1024;
  const ChunkPolicy::Choice choice = Next("throttle");
  EXPECT_EQ(choice.n, 960);
  EXPECT_EQ(choice.bound, Bound::kPlan);
}

TEST_F(ChunkPoliciesTest, FixedTakesTheMaximumOrNothing) {
  EXPECT_EQ(Next("fixed").n, 1024);
  memory_.limits.base = 7'000;
  EXPECT_EQ(Next("fixed").n, 0);
}

TEST_F(ChunkPoliciesTest, FixedReachesOnlyItsOneWidth) {
  EXPECT_EQ(Make("fixed")->Reachable(limits_).floor, 1024);
  EXPECT_EQ(Make("throttle")->Reachable(limits_).floor, 64);
}

TEST_F(ChunkPoliciesTest, AnUnknownNameSuggestsTheNearest) {
  EXPECT_THAT(
      CreateChunkPolicy("throtle"),
      StatusIs(absl::StatusCode::kInvalidArgument,
               "chunk.use: expected fixed, throttle, equal_time or "
               "efficient, got \"throtle\"; did you mean \"throttle\"?"));
}

// One request alone on a device: what is planned is what can be run.
struct World {
  FakeEstimator estimator;
  PlanRequest request;
  MemoryLimits memory;
  ChunkLimits chunk;
};

World RandomWorld(std::mt19937_64& random) {
  const auto upto = [&](std::int64_t max) {
    return static_cast<std::int64_t>(random() %
                                     static_cast<std::uint64_t>(max + 1));
  };
  World world;
  const Tokens prompt = 1 + upto(79);
  world.estimator = FakeEstimator::Random(random, prompt);
  world.request.prompt_tokens = prompt;
  if (upto(2) == 0) world.request.cached_tokens = upto(prompt);
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
  world.memory.ceiling = 26 + upto(500);
  if (upto(3) == 0) world.memory.max_allocation = 1 + upto(150);
  return world;
}

// Whether the policy computes the whole prompt, chunk by chunk, while live
// memory moves as the estimator says. Nothing if it breaks the ceiling.
std::optional<bool> RunsToItsEnd(const World& world,
                                 const ChunkPolicy& policy) {
  const FakeEstimator& e = world.estimator;
  const Tokens prompt = world.request.prompt_tokens;
  const Tokens first = std::min(world.request.cached_tokens, prompt - 1);
  const Bytes line = world.memory.ceiling - world.memory.headroom;
  const Bytes at_first = e.SequenceBytes(first, 1);
  RequestView view{.request = &world.request,
                   .done = world.request.cached_tokens,
                   .admitted = true};
  while (view.done < prompt || view.done == world.request.cached_tokens) {
    const Tokens start = std::min(view.done, prompt - 1);
    const Bytes sequence = e.preallocated
                               ? e.SequenceBytes(prompt, world.chunk.max)
                               : e.SequenceBytes(start, view.last_chunk);
    MemoryView memory{.limits = world.memory};
    memory.limits.base += std::max<Bytes>(0, sequence - at_first) +
                          world.request.extra_bytes_per_token * (start - first);
    memory.idle_base = memory.limits.base;
    const ChunkPolicy::Choice choice =
        policy.Next({.estimator = e,
                     .request = view,
                     .memory = memory,
                     .limits = policy.Reachable(world.chunk)});
    if (choice.n == 0) return false;
    if (memory.limits.base + choice.price.resident_bytes +
            choice.price.transient_bytes >
        line) {
      return std::nullopt;
    }
    view.done = start + choice.n;
    view.last_chunk = choice.n;
    if (view.done >= prompt) break;
  }
  return true;
}

class AgreementTest : public ::testing::TestWithParam<std::string_view> {};

TEST_P(AgreementTest, ChunkByChunkTheVerdictOfThePlanComesTrue) {
  const std::unique_ptr<ChunkPolicy> policy = Make(GetParam());
  int admitted = 0;
  int refused = 0;
  for (std::uint64_t seed = 1; seed <= 4000; ++seed) {
    std::mt19937_64 random(seed);
    const World world = RandomWorld(random);
    ASSERT_OK_AND_ASSIGN(
        const Plan plan,
        PlanPrompt(world.estimator, world.request, world.memory,
                   policy->Reachable(world.chunk),
                   {.want_largest_prompt = false}));
    const std::optional<bool> runs = RunsToItsEnd(world, *policy);
    ASSERT_TRUE(runs.has_value()) << "above the ceiling, seed " << seed;
    const bool fits = plan.verdict == Verdict::kAdmit;
    if (fits) {
      ASSERT_TRUE(*runs) << "seed " << seed << ": " << plan.reason;
      ++admitted;
    } else if (world.estimator.window == 0) {
      // With windows the plan assumes wider chunks than may have run.
      ASSERT_FALSE(*runs) << "seed " << seed << ": " << plan.reason;
      ++refused;
    }
  }
  EXPECT_GT(admitted, 500);
  EXPECT_GT(refused, 500);
}

INSTANTIATE_TEST_SUITE_P(Policies, AgreementTest,
                         ::testing::Values("throttle", "fixed"),
                         [](const auto& info) {
                           return std::string(info.param);
                         });

}  // namespace
}  // namespace tidegate
