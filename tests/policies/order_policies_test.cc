// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <memory>
#include <vector>

#include "tests/testing/matchers.h"
#include "tidegate/policy.h"

namespace tidegate {
namespace {

using ::tidegate::testing::IsOk;
using ::tidegate::testing::StatusIs;

std::unique_ptr<OrderPolicy> Make(std::string_view name) {
  auto policy = CreateOrderPolicy(name);
  EXPECT_THAT(policy, IsOk());
  return *std::move(policy);
}

RequestView View(RequestId id, int second) {
  return {.id = id, .arrived = Instant(std::chrono::seconds(second))};
}

// The id of the one that goes first.
RequestId First(std::string_view policy, std::vector<RequestView> views,
                Tokens served = 0) {
  const std::unique_ptr<OrderPolicy> order = Make(policy);
  return std::min_element(views.begin(), views.end(),
                          [&](const RequestView& a, const RequestView& b) {
                            return order->Before(a, b, {.served = served});
                          })
      ->id;
}

TEST(OrderPoliciesTest, FcfsTakesTheEarliestArrival) {
  EXPECT_EQ(First("fcfs", {View(1, 5), View(2, 3), View(3, 4)}), 2u);
}

TEST(OrderPoliciesTest, IdsDecideBetweenEqualArrivals) {
  for (const char* policy : {"fcfs", "priority", "fair"}) {
    EXPECT_EQ(First(policy, {View(9, 3), View(2, 3), View(5, 3)}), 2u)
        << policy;
  }
}

TEST(OrderPoliciesTest, PriorityGoesBeforeArrival) {
  RequestView urgent = View(2, 9);
  urgent.priority = 1;
  EXPECT_EQ(First("priority", {View(1, 1), urgent}), 2u);
  EXPECT_EQ(First("fcfs", {View(1, 1), urgent}), 1u);
}

TEST(OrderPoliciesTest, FairTakesWhoeverWasServedLeast) {
  RequestView large = View(1, 1);
  large.served = 4096;
  RequestView small = View(2, 2);
  small.served = 64;
  EXPECT_EQ(First("fair", {large, small}), 2u);
}

TEST(OrderPoliciesTest, FairTurnsToOneThatWasPassedOverForEightTurns) {
  RequestView large = View(1, 1);
  large.served = 4096;
  large.served_mark = 0;
  RequestView small = View(2, 2);
  small.served_mark = 16'000;
  EXPECT_EQ(First("fair", {large, small}, 8 * 2048), 2u);
  EXPECT_EQ(First("fair", {large, small}, 8 * 2048 + 1), 1u);
}

TEST(OrderPoliciesTest, FairTakesTheLongestPassedOverOfTwo) {
  RequestView a = View(1, 1);
  a.served_mark = 50;
  RequestView b = View(2, 2);
  b.served_mark = 10;
  b.served = 9999;
  EXPECT_EQ(First("fair", {a, b}, 50'000), 2u);
}

TEST(OrderPoliciesTest, OnlyFairLetsOthersPassAndOnlyForAWhile) {
  const RequestView blocked = View(1, 1);
  EXPECT_FALSE(Make("fcfs")->MayPass(blocked, {}));
  EXPECT_FALSE(Make("priority")->MayPass(blocked, {}));
  EXPECT_TRUE(Make("fair")->MayPass(blocked, {.served = 8 * 2048}));
  EXPECT_FALSE(Make("fair")->MayPass(blocked, {.served = 8 * 2048 + 1}));
}

// docs/scheduler.md states the bound.
TEST(OrderPoliciesTest, FairStarvesNobodyUnderAStreamOfShortPrompts) {
  constexpr Tokens kWidth = 2048;
  constexpr Tokens kPatience = 8 * 2048;
  const std::unique_ptr<OrderPolicy> fair = Make("fair");
  RequestView large = View(1, 0);
  large.served = 1 << 20;
  Tokens served = 0;
  Tokens longest = 0;
  int turns = 0;
  for (RequestId id = 2; id < 500; ++id) {
    RequestView small = View(id, static_cast<int>(id));
    small.served_mark = served;
    const bool large_first = fair->Before(large, small, {.served = served});
    served += kWidth;
    if (large_first) {
      large.served += kWidth;
      large.served_mark = served;
      ++turns;
    }
    longest = std::max(longest, served - large.served_mark);
  }
  EXPECT_GE(turns, 45);
  EXPECT_LE(longest, kPatience + kWidth);
}

TEST(OrderPoliciesTest, ShortestTakesTheLeastPromptLeft) {
  const PlanRequest large_prompt{.prompt_tokens = 9000};
  const PlanRequest small_prompt{.prompt_tokens = 500};
  RequestView large = View(1, 1);
  large.request = &large_prompt;
  RequestView small = View(2, 2);
  small.request = &small_prompt;
  EXPECT_EQ(First("shortest", {large, small}), 2u);
  large.done = 8900;
  EXPECT_EQ(First("shortest", {large, small}), 1u);
}

TEST(OrderPoliciesTest, FairServesTheTenantThatHadLeastFirst) {
  RequestView greedy = View(1, 1);
  greedy.tenant_served = 4096;
  RequestView modest = View(2, 2);
  modest.served = 1024;
  modest.tenant_served = 1024;
  EXPECT_EQ(First("fair", {greedy, modest}), 2u);
}

TEST(OrderPoliciesTest, AnUnknownNameSuggestsTheNearest) {
  EXPECT_THAT(
      CreateOrderPolicy("fairr"),
      StatusIs(absl::StatusCode::kInvalidArgument,
               "order.use: expected fcfs, priority, shortest or fair, got "
               "\"fairr\"; did you mean \"fair\"?"));
}

}  // namespace
}  // namespace tidegate
