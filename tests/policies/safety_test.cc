// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "policies/safety.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "tests/testing/fake_estimator.h"
#include "tests/testing/matchers.h"
#include "tidegate/policy.h"

namespace tidegate::internal {
namespace {

using ::tidegate::testing::FakeEstimator;

// One request: what it holds, and what it needs besides to finish.
struct Small {
  Bytes held = 0;
  Bytes need = 0;
};

std::vector<Stake> StakesOf(const std::vector<Small>& state, Bytes ceiling) {
  std::vector<Stake> stakes;
  for (const Small& small : state) {
    stakes.push_back({small.held, [small, ceiling](Bytes base) {
                        return base + small.need <= ceiling;
                      }});
  }
  return stakes;
}

// Every order, tried one after the other.
bool SafeByForce(Bytes base, const std::vector<Small>& state, Bytes ceiling) {
  std::vector<std::size_t> order(state.size());
  std::iota(order.begin(), order.end(), 0);
  do {
    Bytes live = base;
    bool all = true;
    for (const std::size_t i : order) {
      if (live + state[i].need > ceiling) {
        all = false;
        break;
      }
      live -= state[i].held;
    }
    if (all) return true;
  } while (std::next_permutation(order.begin(), order.end()));
  return false;
}

TEST(SafetyTest, NobodyIsAlwaysSafe) { EXPECT_TRUE(Safe(100, {})); }

TEST(SafetyTest, AgreesWithTryingEveryOrder) {
  int safe = 0;
  constexpr int kRounds = 20000;
  for (int round = 0; round < kRounds; ++round) {
    std::mt19937_64 random(round);
    std::vector<Small> state(random() % 6);
    Bytes base = static_cast<Bytes>(random() % 10);
    for (Small& small : state) {
      small.held = static_cast<Bytes>(random() % 12);
      small.need = static_cast<Bytes>(random() % 30);
      base += small.held;
    }
    const Bytes ceiling = static_cast<Bytes>(10 + random() % 50);
    const bool expected = SafeByForce(base, state, ceiling);
    ASSERT_EQ(Safe(base, StakesOf(state, ceiling)), expected)
        << "round " << round;
    safe += expected ? 1 : 0;
  }
  EXPECT_GT(safe, kRounds / 4);
  EXPECT_LT(safe, kRounds * 3 / 4);
}

// Two prompts that do not fit together, where one can finish and then the
// other: reserve lets the second wait, bankers lets it start.
TEST(BankersTest, AdmitsWhatCanTakeTurns) {
  FakeEstimator estimator;
  estimator.kernels = {{.n_last = kTokensMax, .per_n = 1}};
  const PlanRequest running{.prompt_tokens = 600};
  const PlanRequest asking{.prompt_tokens = 600};
  const RequestView first{.id = 1,
                          .request = &running,
                          .done = 100,
                          .admitted = true,
                          .claim = 500,
                          .held = 100};
  const RequestView second{.id = 2, .request = &asking};
  MemoryView memory{.limits = {.ceiling = 1000, .base = 100}};
  const ChunkLimits limits{.max = 64, .floor = 16, .quantum = 16};
  const auto decide = [&](const char* name, Bytes claimed) {
    auto policy = CreateAdmissionPolicy(name);
    memory.claimed = claimed;
    const auto answer = (*policy)->Decide({.estimator = estimator,
                                           .request = second,
                                           .memory = memory,
                                           .limits = limits,
                                           .admitted = {&first, 1}});
    return answer->verdict;
  };
  EXPECT_EQ(decide("reserve", 500), Verdict::kWait);
  EXPECT_EQ(decide("bankers", 0), Verdict::kAdmit);
}

// When both have grown so far that neither can finish, no chunk may lead there.
TEST(BankersTest, RefusesTheChunkThatWouldLeaveNoSafeOrder) {
  FakeEstimator estimator;
  estimator.kernels = {{.n_last = kTokensMax, .per_n = 1}};
  const PlanRequest prompt{.prompt_tokens = 600};
  const auto view = [&](RequestId id, Tokens done) {
    return RequestView{.id = id,
                       .request = &prompt,
                       .done = done,
                       .admitted = true,
                       .held = done};
  };
  auto policy = CreateAdmissionPolicy("bankers");
  const ChunkLimits limits{.max = 64, .floor = 16, .quantum = 16};
  Tokens done = 0;
  const RequestView first = view(1, 300);
  for (; done + 16 <= 600; done += 16) {
    const RequestView second = view(2, done);
    const std::vector<RequestView> admitted = {first, second};
    const MemoryView memory{.limits = {.ceiling = 800, .base = 300 + done}};
    if (!(*policy)->MayGrow({.estimator = estimator,
                             .request = second,
                             .memory = memory,
                             .limits = limits,
                             .admitted = admitted},
                            16, 16)) {
      break;
    }
  }
  // The second can never finish beside 300 bytes; the first needs 608 at its
  // peak, 592 held and 16 of transient. That leaves 192.
  EXPECT_EQ(done, 192);
}

TEST(OptimisticTest, PromisesTheShareOfTheBudgetThatRequestsUsed) {
  FakeEstimator estimator;
  auto policy = CreateAdmissionPolicy("optimistic");
  const PlanRequest prompt{.prompt_tokens = 100, .max_output_tokens = 1000};
  const RequestView view{.id = 1, .request = &prompt};
  const MemoryView memory{.limits = {.ceiling = 10'000}};
  const auto answer = (*policy)->Decide({.estimator = estimator,
                                         .request = view,
                                         .memory = memory,
                                         .limits = {},
                                         .output_share_permille = 250});
  EXPECT_EQ(answer->verdict, Verdict::kAdmit);
  EXPECT_EQ(answer->claim, 100 + 251);
}

}  // namespace
}  // namespace tidegate::internal
