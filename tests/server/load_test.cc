// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "examples/server/load_client.h"
#include "tests/server/harness.h"

namespace tidegate::testing {
namespace {

TEST(LoadTest, TwoHundredStreamsOfWhichSomeLeaveAreAllAnswered) {
  ServerHarness harness({.decode_interval = std::chrono::milliseconds(1)});
  const auto report = server::RunLoad(
      {.port = harness.port(), .streams = 200, .max_tokens = 16, .leave = 0.1});
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->broken, 0) << report->first_failure;
  EXPECT_EQ(report->asked, 200);
  EXPECT_EQ(report->finished + report->left, 200);
  EXPECT_GT(report->left, 5);
  EXPECT_TRUE(report->refused.empty());
  EXPECT_TRUE(harness.BecomesIdle());

  const ServiceMetrics metrics = harness.server().Metrics();
  EXPECT_EQ(metrics.submitted, metrics.finished + metrics.cancelled);
  // Who left may have been finished already.
  EXPECT_GE(metrics.finished, report->finished);
  EXPECT_EQ(metrics.engine_exceptions, 0);
  EXPECT_EQ(metrics.scheduler.out_of_memory, 0);
}

TEST(LoadTest, WhatDoesNotFitTheQueueIsRefusedAndTheRestAnswered) {
  ServerHarness harness(
      {.queue_max = 20, .decode_interval = std::chrono::milliseconds(1)});
  const auto report = server::RunLoad({.port = harness.port(),
                                       .streams = 100,
                                       .prompt_min = 30'000,
                                       .prompt_max = 60'000,
                                       .max_tokens = 8,
                                       .leave = 0.05});
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->broken, 0) << report->first_failure;
  std::int64_t refused = 0;
  for (const auto& [status, count] : report->refused) {
    EXPECT_EQ(status, 429);
    refused += count;
  }
  EXPECT_GT(refused, 0);
  EXPECT_EQ(report->finished + report->left + refused, 100);
  EXPECT_TRUE(harness.BecomesIdle());
}

}  // namespace
}  // namespace tidegate::testing
