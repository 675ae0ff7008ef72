// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// How far the sum of times to first token is from the best that anybody could
// have done who knew what comes.

#include "tests/testing/hindsight.h"

#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "tests/testing/matchers.h"
#include "tests/testing/small_device.h"
#include "tidegate/simulator.h"

namespace tidegate {
namespace {

using testing::Hindsight;
using testing::HindsightDevice;
using testing::HindsightRequest;

constexpr Tokens kChunk = 512;
constexpr std::int64_t kSecond = 1'000'000'000;
// 50 ms and 512 tokens at 1,024 a second; four bytes of transient a token.
constexpr HindsightDevice kDevice{.step = 550'000'000,
                                  .chunk = kChunk,
                                  .transient = 4 * kChunk,
                                  .room = 6'000};

TEST(HindsightTest, AloneEverybodyRunsAtOnce) {
  Hindsight alone({{.arrival = kSecond, .chunks = 3}}, kDevice);
  EXPECT_EQ(alone.Best(100 * kSecond), 3 * kDevice.step);
}

TEST(HindsightTest, TheShorterOneGoesFirst) {
  Hindsight two({{.chunks = 3}, {.chunks = 1}}, kDevice);
  EXPECT_EQ(two.Best(100 * kSecond), (1 + 4) * kDevice.step);
}

// Both do not fit: whoever is second waits for the first one's last token.
TEST(HindsightTest, MemoryMakesTheSecondWait) {
  HindsightDevice device = kDevice;
  device.room = 3 * kChunk + device.transient;
  Hindsight two({{.chunks = 2, .decoding = 7 * kSecond},
                 {.chunks = 3, .decoding = kSecond}},
                device);
  // The longer one first: 3 steps, a second, 2 steps. The other way round: 2
  // steps, one of the second's beside it, 7 seconds less a step, 2 steps.
  EXPECT_EQ(two.Best(100 * kSecond),
            3 * device.step + 5 * device.step + kSecond);
}

struct Instance {
  Trace trace;
  std::vector<HindsightRequest> requests;
};

Instance Draw(std::mt19937_64& random) {
  const auto upto = [&](std::int64_t max) {
    return static_cast<std::int64_t>(random() %
                                     static_cast<std::uint64_t>(max + 1));
  };
  Instance instance;
  std::int64_t at = 0;
  const std::int64_t count = 3 + upto(5);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t chunks = 1 + upto(4);
    const Tokens output = 8 + upto(120);
    instance.trace.rows.push_back({.arrival = Instant(Duration(at)),
                                   .prompt_tokens = chunks * kChunk,
                                   .output_tokens = output,
                                   .session = i});
    instance.requests.push_back(
        {.arrival = at,
         .chunks = static_cast<int>(chunks),
         .decoding = std::llround(static_cast<double>(output) / 30 * 1e9)});
    at += upto(2'000) * 1'000'000;
  }
  return instance;
}

SimulatorOptions Options(const std::string& order) {
  SimulatorOptions options;
  options.scheduler = testing::SmallDevice();
  options.scheduler.memory.ceiling = kDevice.room;
  options.scheduler.chunk = {.max = kChunk, .floor = kChunk, .quantum = kChunk};
  options.scheduler.order_policy = order;
  options.cache.capacity = 0;
  options.world.tokens_per_s = 1024;
  options.world.chunk_overhead_s = 0.05;
  return options;
}

// Means over 300 instances of three to eight requests. Whoever knows neither
// arrivals nor lengths of answers cannot reach 1.
TEST(HindsightTest, TheOrdersAreWithinAFactorOfTheOptimum) {
  struct Order {
    std::string name;
    double mean_at_most;
    double sum = 0;
    double worst = 0;
    int optimal = 0;
  };
  std::vector<Order> orders = {
      {"shortest", 1.25}, {"fair", 1.35}, {"fcfs", 1.55}};
  std::mt19937_64 random(20260101);
  constexpr int kInstances = 300;
  std::int64_t nodes = 0;
  for (int i = 0; i < kInstances; ++i) {
    const Instance instance = Draw(random);
    std::vector<std::int64_t> sums;
    for (const Order& order : orders) {
      ASSERT_OK_AND_ASSIGN(const SimulationResult result,
                           Simulate(instance.trace, Options(order.name)));
      ASSERT_EQ(result.finished, result.requests);
      double sum = 0;
      for (const RequestRecord& record : result.records) sum += *record.ttft_s;
      sums.push_back(std::llround(sum * 1e9));
    }
    Hindsight hindsight(instance.requests, kDevice);
    const std::int64_t best =
        hindsight.Best(*std::min_element(sums.begin(), sums.end()));
    nodes += hindsight.nodes();
    for (std::size_t o = 0; o < orders.size(); ++o) {
      const double ratio =
          static_cast<double>(sums[o]) / static_cast<double>(best);
      // Sums of seconds are rounded.
      ASSERT_GE(ratio, 1 - 1e-6);
      orders[o].sum += ratio;
      orders[o].worst = std::max(orders[o].worst, ratio);
      if (ratio < 1 + 1e-6) ++orders[o].optimal;
    }
  }
  for (const Order& order : orders) {
    std::printf(
        "  %s: sum of TTFT over the optimum: mean %.3f, largest %.2f, "
        "optimal in %d of %d\n",
        order.name.c_str(), order.sum / kInstances, order.worst, order.optimal,
        kInstances);
    EXPECT_LE(order.sum / kInstances, order.mean_at_most);
  }
  std::printf("  %lld nodes\n", static_cast<long long>(nodes));
}

}  // namespace
}  // namespace tidegate
