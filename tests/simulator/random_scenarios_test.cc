// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Scenarios drawn from seeds keep every law, whatever happens in them.

#include "tests/testing/random_scenarios.h"

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "simulator/scenario.h"
#include "tests/testing/law_checker.h"
#include "tests/testing/matchers.h"
#include "tests/testing/seeds.h"

namespace tidegate {
namespace {

using ::tidegate::testing::IsOk;
using ::tidegate::testing::LawChecker;
using ::tidegate::testing::RandomScenario;
using ::tidegate::testing::ReplayLine;
using ::tidegate::testing::Seeds;

TEST(RandomScenariosTest, KeepEveryLaw) {
  const Seeds seeds = testing::SeedsFromEnvironment(150);
  std::int64_t chunks = 0;
  int shown = 0;
  for (std::uint64_t i = 0; i < seeds.count && shown < 5; ++i) {
    const std::uint64_t seed = seeds.first + i;
    const std::string json = RandomScenario(seed).Draw().dump();
    const auto scenario = internal::ParseScenario(json, "random.jsonl:1");
    ASSERT_THAT(scenario, IsOk()) << json;
    LawChecker checker(*scenario);
    const std::vector<std::string> broken = checker.Run();
    chunks += checker.chunks();
    if (broken.empty()) continue;
    ++shown;
    ADD_FAILURE() << ReplayLine(seed, "RandomScenariosTest.KeepEveryLaw")
                  << "\n"
                  << ::testing::PrintToString(broken) << "\n"
                  << json;
  }
  // Something ran, and not only refusals.
  EXPECT_GE(chunks, static_cast<std::int64_t>(seeds.count));
}

}  // namespace
}  // namespace tidegate
