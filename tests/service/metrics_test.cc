// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

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
                                                " (counter|gauge|histogram)"));
    } else {
      EXPECT_THAT(line, ::testing::MatchesRegex(
                            family + "(_bucket|_sum|_count)?"
                                     "(\\{[a-z]+=\"[^\"]*\"\\})? [0-9.e+-]+"));
      ++samples;
    }
  }
  EXPECT_GT(samples, 25);
}

TEST(PrometheusTextTest, AHistogramIsCumulative) {
  ServiceMetrics metrics;
  for (const double width : {16, 17, 100'000}) metrics.chunk_tokens.Add(width);
  const std::string text = PrometheusText(metrics);
  for (const char* sample :
       {"chunk_tokens_bucket{le=\"16\"} 1\n",
        "chunk_tokens_bucket{le=\"32\"} 2\n",
        "chunk_tokens_bucket{le=\"32768\"} 2\n",
        "chunk_tokens_bucket{le=\"+Inf\"} 3\n", "chunk_tokens_sum 100033\n",
        "chunk_tokens_count 3\n"}) {
    EXPECT_THAT(text, HasSubstr(std::string("tidegate_") + sample));
  }
}

TEST(PrometheusTextTest, RefusalsAreCountedByCode) {
  const std::string text = PrometheusText({.rejected_too_large = 1,
                                           .rejected_overloaded = 2,
                                           .rejected_unsupported = 4});
  EXPECT_THAT(text,
              HasSubstr("tidegate_refusals_total{code=\"too_large\"} 1\n"));
  EXPECT_THAT(text,
              HasSubstr("tidegate_refusals_total{code=\"overloaded\"} 2\n"));
  EXPECT_THAT(text,
              HasSubstr("tidegate_refusals_total{code=\"unsupported\"} 4\n"));
  EXPECT_THAT(text,
              HasSubstr("tidegate_requests_total{outcome=\"rejected\"} 7\n"));
}

TEST(PrometheusTextTest, BytesKeepEveryDigit) {
  const std::string text =
      PrometheusText({.memory = {{.name = "d", .used_bytes = 85'899'345'921}}});
  EXPECT_THAT(text, HasSubstr("{device=\"d\"} 85899345921\n"));
}

TEST(PrometheusCollectorTest, EachCollectionReadsAnew) {
  std::int64_t finished = 0;
  const auto collector = PrometheusCollector(
      [&] { return ServiceMetrics{.finished = ++finished}; });
  const auto count = [&] {
    for (const prometheus::MetricFamily& family : collector->Collect()) {
      if (family.name == "tidegate_requests_total") {
        return family.metric.front().counter.value;
      }
    }
    return -1.0;
  };
  EXPECT_EQ(count(), 1);
  EXPECT_EQ(count(), 2);
}

TEST(DistributionTest, AValueOnABoundIsBelowIt) {
  constexpr double kBounds[] = {1, 2};
  Distribution values(kBounds);
  for (const double value : {0.5, 1.0, 1.5, 2.0, 2.5}) values.Add(value);
  EXPECT_THAT(values.counts(), ::testing::ElementsAre(2, 2, 1));
  EXPECT_EQ(values.count(), 5);
  EXPECT_EQ(values.sum(), 7.5);
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
