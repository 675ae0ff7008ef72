// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A scheduler fed with events drawn at random: in order and out of it, twice,
// too late, about requests that never were, with numbers that cannot be, from
// engines and devices with every fault. tidegate-torture runs the same on many
// more seeds.

#include "tests/testing/random_events.h"

#include <cstdint>
#include <string>

#include "tests/testing/matchers.h"
#include "tests/testing/seeds.h"

namespace tidegate {
namespace {

using ::tidegate::testing::RandomEvents;
using ::tidegate::testing::ReplayLine;
using ::tidegate::testing::Seeds;

TEST(RandomEventsTest, LeaveNoTraceWhenRefusedAndLeadToOneEndWhenNot) {
  const Seeds seeds = testing::SeedsFromEnvironment(150);
  int shown = 0;
  for (std::uint64_t i = 0; i < seeds.count && shown < 5; ++i) {
    RandomEvents events(seeds.first + i);
    const std::string wrong = events.Run();
    if (wrong.empty()) continue;
    ++shown;
    ADD_FAILURE() << ReplayLine(seeds.first + i, "RandomEventsTest") << "\n"
                  << wrong;
  }
}

}  // namespace
}  // namespace tidegate
