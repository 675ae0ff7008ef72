// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A prefix that a request shares with one that decodes in steps, when that one
// ends.

#include <string>

#include "tests/testing/matchers.h"
#include "tests/testing/small_device.h"
#include "tidegate/simulator.h"

namespace tidegate {
namespace {

TraceRow Row(Duration at, Tokens prompt, Tokens cached, std::int64_t session) {
  return {.arrival = Instant(at),
          .prompt_tokens = prompt,
          .cached_tokens = cached,
          .output_tokens = 2,
          .session = session};
}

// Two slots, and two requests that end with the same step. One of the next two
// shares 5,056 tokens with them, which are free from then on; together with the
// other it does not fit.
TEST(SteppedPrefixTest, APrefixIsPaidForByWhoIsAdmittedWhenItsOwnerEnds) {
  SimulatorOptions options;
  options.scheduler = testing::SmallDevice();
  options.scheduler.step = {.sequences = 2,
                            .decode = StepShape::Decode::kMixed};
  options.scheduler.running_max = 2;
  std::string log;
  options.event_log = [&log](std::string_view line) { log += line; };
  const Duration later = std::chrono::milliseconds(100);
  const Trace trace{.rows = {Row({}, 5056, 0, 1), Row({}, 64, 0, 2),
                             Row(later, 5120, 5056, 1),
                             Row(later, 4500, 0, 3)}};
  ASSERT_OK_AND_ASSIGN(const SimulationResult result, Simulate(trace, options));
  EXPECT_EQ(result.finished, 4);
  EXPECT_EQ(result.out_of_memory, 0);
  EXPECT_EQ(result.cache_hit_tokens, 5056);
  const std::size_t told = log.find(
      "\"event\":\"prefix_changed\",\"id\":3,\"cached_tokens\":"
      "5056,\"prefix_bytes\":5056");
  const std::size_t admitted = log.find("\"action\":\"admit\",\"id\":3,");
  ASSERT_NE(told, std::string::npos);
  EXPECT_LT(told, admitted);
}

}  // namespace
}  // namespace tidegate
