// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <sstream>

#include "service/rate_meter.h"
#include "tests/testing/matchers.h"
#include "tidegate/service_metrics.h"

namespace tidegate {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(PrometheusTextTest, EverySampleFollowsItsTypeAndHelp) {
  std::istringstream text(PrometheusText(
      {.tokens_per_second = 2.5,
       .memory = {{.name = "nvml:0", .used_bytes = 1, .limit_bytes = 2}},
       .memory_pressure_percent = 50}));
  std::string family;
  int samples = 0;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("# HELP ")) {
      family = line.substr(7, line.find(' ', 7) - 7);
      EXPECT_THAT(family, ::testing::StartsWith("tidegate_"));
    } else if (line.starts_with("# TYPE ")) {
      EXPECT_THAT(line, ::testing::MatchesRegex("# TYPE " + family +
                                                " (counter|gauge)"));
    } else {
      EXPECT_THAT(line, ::testing::MatchesRegex(
                            family + "(\\{[a-z]+=\"[^\"]*\"\\})? [0-9.e+-]+"));
      ++samples;
    }
  }
  EXPECT_GT(samples, 25);
}

TEST(PrometheusTextTest, CountersEndInTotalAndSayTheirNumber) {
  const std::string text =
      PrometheusText({.finished = 3, .step_time = milliseconds(1500)});
  EXPECT_THAT(text, HasSubstr("tidegate_requests_total{outcome=\"finished\"} "
                              "3\n"));
  EXPECT_THAT(text, HasSubstr("tidegate_step_seconds_total 1.5\n"));
}

TEST(PrometheusTextTest, WhatIsUnknownIsLeftOut) {
  const std::string text = PrometheusText({});
  EXPECT_THAT(text, Not(HasSubstr("prompt_tokens_per_second")));
  EXPECT_THAT(text, Not(HasSubstr("memory_used_bytes")));
  EXPECT_THAT(text, HasSubstr("tidegate_memory_state{state=\"off\"} 1\n"));
}

TEST(PrometheusTextTest, LabelsAreEscaped) {
  const std::string text =
      PrometheusText({.memory = {{.name = "a\"b\\c\nd", .used_bytes = 7}}});
  EXPECT_THAT(text, HasSubstr("{device=\"a\\\"b\\\\c\\nd\"} 7\n"));
}

TEST(RateMeterTest, KnowsNothingBeforeAStep) {
  internal::RateMeter meter;
  EXPECT_EQ(meter.TokensPerSecond(), std::nullopt);
  EXPECT_EQ(meter.TimeFor(100), std::nullopt);
}

TEST(RateMeterTest, RoundsUpAndStopsAtAnHour) {
  internal::RateMeter meter;
  meter.Add(1000, seconds(1));
  EXPECT_EQ(meter.TimeFor(10), milliseconds(11));
  EXPECT_EQ(meter.TimeFor(1'000'000'000), hours(1));
}

TEST(RateMeterTest, OldStepsFade) {
  internal::RateMeter meter;
  for (int i = 0; i < 100; ++i) meter.Add(1000, seconds(1));
  for (int i = 0; i < 600; ++i) meter.Add(10, seconds(1));
  EXPECT_NEAR(*meter.TokensPerSecond(), 10, 1);
}

}  // namespace
}  // namespace tidegate
