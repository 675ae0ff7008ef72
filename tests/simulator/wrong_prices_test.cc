// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Prices that are wrong by a factor of two, and readings that lag: nothing runs
// out of memory, hardly anything is refused that an oracle finishes, and as
// much is served well. The oracle knows true bytes and times and reads memory
// without lag; it knows neither arrivals nor output lengths.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/testing/shared_files.h"
#include "tests/testing/worlds.h"

namespace tidegate {
namespace {

using testing::DrawTrace;
using testing::FalseRefusals;
using testing::kWorldGiB;
using testing::PlayWorld;
using testing::UnfusedWorld;

// What came of several traces together: of one, a few requests decide.
struct Sums {
  std::int64_t requests = 0;
  std::int64_t out_of_memory = 0;
  std::int64_t false_refusals = 0;
  double goodput = 0;
  double oracle_goodput = 0;

  void Print(const std::string& what) const {
    std::printf(
        "  %s: %lld out of memory, %lld of %lld falsely refused, "
        "goodput %.1f %% of the oracle's\n",
        what.c_str(), static_cast<long long>(out_of_memory),
        static_cast<long long>(false_refusals),
        static_cast<long long>(requests), 100 * goodput / oracle_goodput);
  }
};

Sums Play(const std::vector<Trace>& traces, const SimulatorOptions& options,
          const std::string& what) {
  Sums sums;
  for (const Trace& trace : traces) {
    const SimulationResult us = PlayWorld("", trace, options);
    const SimulationResult oracle = PlayWorld("oracle", trace, options);
    EXPECT_EQ(oracle.out_of_memory, 0) << what;
    sums.requests += us.requests;
    sums.out_of_memory += us.out_of_memory;
    sums.false_refusals += FalseRefusals(us, oracle);
    sums.goodput += us.goodput_per_s;
    sums.oracle_goodput += oracle.goodput_per_s;
  }
  sums.Print(what);
  return sums;
}

void ExpectAsGoodAsTheOracle(const Sums& sums) {
  EXPECT_EQ(sums.out_of_memory, 0);
  EXPECT_LE(sums.false_refusals * 1000, sums.requests * 5);
  EXPECT_GE(sums.goodput, 0.98 * sums.oracle_goodput);
}

std::vector<Trace> Drawn() {
  std::vector<Trace> traces;
  for (const std::uint64_t seed : {1, 2, 3, 4}) {
    traces.push_back(DrawTrace(seed, {.per_s = 0.2}));
  }
  return traces;
}

// 4 GiB beside the weights, where the ceiling binds all the time, and 14.
class WrongPricesTest : public ::testing::TestWithParam<int> {
 protected:
  SimulatorOptions World() const {
    return UnfusedWorld(GetParam() * kWorldGiB);
  }
  std::string Name(const char* what) const {
    return std::to_string(GetParam()) + " GiB, " + what;
  }
};
INSTANTIATE_TEST_SUITE_P(, WrongPricesTest, ::testing::Values(22, 32),
                         ::testing::PrintToStringParamName());

TEST_P(WrongPricesTest, RightPricesAreAsGoodAsTheOracles) {
  ExpectAsGoodAsTheOracle(Play(Drawn(), World(), Name("right prices")));
}

// From the very first step: chunks are narrow until they were measured.
TEST_P(WrongPricesTest, StepsThatNeedTwiceTheirPrice) {
  SimulatorOptions options = World();
  options.world.price_error.factor = 2;
  ExpectAsGoodAsTheOracle(Play(Drawn(), options, Name("twice the price")));
}

TEST_P(WrongPricesTest, StepsThatNeedHalfTheirPrice) {
  SimulatorOptions options = World();
  options.world.price_error.factor = 0.5;
  ExpectAsGoodAsTheOracle(Play(Drawn(), options, Name("half the price")));
}

// Prices are not corrected here: what a step adds cannot be told from a reading
// that is older than the step.
TEST_P(WrongPricesTest, ReadingsThatAreHalfASecondOld) {
  SimulatorOptions options = World();
  options.scheduler.calibrate = false;
  options.world.reading_lag = std::chrono::milliseconds(500);
  options.scheduler.reading_lag = options.world.reading_lag;
  ExpectAsGoodAsTheOracle(Play(Drawn(), options, Name("readings lag")));
}

// Without it, the same world runs out of memory.
TEST(UncorrectedPricesTest, AnUncorrectedPriceThatIsHalfTheTruthFails) {
  SimulatorOptions options = UnfusedWorld(22 * kWorldGiB);
  options.world.price_error.factor = 2;
  options.scheduler.calibrate = false;
  EXPECT_GT(PlayWorld("", DrawTrace(1), options).out_of_memory, 100);
}

// Public traces, where they are at hand: the first requests of each.
TEST(SharedWorldsTest, WrongPricesOnPublicTraces) {
  std::vector<Trace> traces;
  for (const char* name : {"agentic_coding", "mooncake_conversation",
                           "azure_code", "servegen_m-mid_chunk-91"}) {
    const std::string path =
        testing::SharedFile(std::string("traces/requests/") + name + ".csv");
    if (path.empty()) GTEST_SKIP() << "the traces are not at hand";
    ASSERT_OK_AND_ASSIGN(Trace trace, LoadTrace(path, {.requests_max = 300}));
    traces.push_back(std::move(trace));
  }
  for (const double factor : {1.0, 2.0, 0.5}) {
    SimulatorOptions options = UnfusedWorld(32 * kWorldGiB);
    options.world.price_error.factor = factor;
    ExpectAsGoodAsTheOracle(
        Play(traces, options,
             "public traces, needs times " + std::to_string(factor)));
  }
}

}  // namespace
}  // namespace tidegate
