// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What the scheduler refuses, as HTTP: status, code, arithmetic, Retry-After.

#include <cstdlib>

#include "tests/server/harness.h"

namespace tidegate::testing {
namespace {

using ::testing::HasSubstr;

TEST(RefusalTest, APromptThatNeverFitsIsToldTheArithmetic) {
  ServerHarness harness;
  HttpClient client(harness.port());
  const HttpResponse response =
      client.Post(kCompletions, Ask(120'000, 10, /*stream=*/true));
  ASSERT_EQ(response.status, 413) << response.body;
  EXPECT_EQ(response.headers.at("content-type"), "application/json");
  EXPECT_EQ(response.headers.count("retry-after"), 0u);
  const json error = json::parse(response.body)["error"];
  EXPECT_EQ(error["type"], "invalid_request_error");
  EXPECT_EQ(error["code"], "too_large");
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("GiB headroom"));
  const json& a = error["arithmetic"];
  EXPECT_EQ(a["unit"], "bytes");
  EXPECT_GT(a["live"].get<Bytes>() + a["claims"].get<Bytes>() +
                a["resident"].get<Bytes>() + a["transient"].get<Bytes>(),
            a["ceiling"].get<Bytes>() - a["headroom"].get<Bytes>());

  // What is said to fit does.
  const Tokens fits = error["largest_prompt_that_fits"].get<Tokens>();
  EXPECT_LT(fits, 120'000);
  EXPECT_EQ(client.Post(kCompletions, Ask(fits, 10, false)).status, 200);
  EXPECT_EQ(client.Post(kCompletions, Ask(fits + 1, 10, false)).status, 413);
}

TEST(RefusalTest, AFullQueueIsToldWhenToComeBack) {
  ServerHarness harness({.queue_max = 1, .decode_interval = kNever});
  // The first decodes for ever and holds most of the room, the second waits.
  HttpClient first(harness.port());
  first.SendPost(kCompletions, Ask(60'000, 10, true));
  ASSERT_TRUE(first.ReceiveUntil("\"end\":60000"));
  HttpClient second(harness.port());
  second.SendPost(kCompletions, Ask(60'000, 10, true));
  ASSERT_TRUE(ServerHarness::Comes(
      [&] { return harness.server().Metrics().scheduler.waiting == 1; }));

  HttpClient third(harness.port());
  const HttpResponse response = third.Post(kCompletions, Ask(60'000, 10, true));
  ASSERT_EQ(response.status, 429) << response.body;
  const json error = json::parse(response.body)["error"];
  EXPECT_EQ(error["type"], "rate_limit_error");
  EXPECT_EQ(error["code"], "overloaded");
  const long seconds = std::atol(response.headers.at("retry-after").c_str());
  EXPECT_GE(seconds, 1);
  EXPECT_EQ(error["retry_after"], seconds);
  EXPECT_TRUE(response.keep_alive);
}

}  // namespace
}  // namespace tidegate::testing
