// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <future>

#include "tests/server/harness.h"

namespace tidegate::testing {
namespace {

using ::testing::HasSubstr;

constexpr Duration kLong = std::chrono::minutes(5);

std::vector<std::unique_ptr<HttpClient>> Streams(ServerHarness& harness,
                                                 int count, Tokens tokens) {
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < count; ++i) {
    clients.push_back(std::make_unique<HttpClient>(harness.port()));
    clients.back()->SendPost(kCompletions, Ask(100 + i, tokens, true));
    EXPECT_TRUE(clients.back()->ReceiveUntil(": prefill"));
  }
  return clients;
}

TEST(ServerShutdownTest, WhoIsServedIsServedToTheEnd) {
  ServerHarness harness({.decode_interval = std::chrono::milliseconds(1)});
  const auto clients = Streams(harness, 20, 200);
  const ShutdownReport report = harness.server().Shutdown({.drain = kLong});
  EXPECT_EQ(report.cancelled, 0);
  for (const auto& client : clients) {
    EXPECT_EQ(EventsOf(client->Receive().body).back(), "data: [DONE]");
  }
  EXPECT_EQ(harness.server().Metrics().finished, 20);
  EXPECT_FALSE(HttpClient(harness.port()).connected());
}

TEST(ServerShutdownTest, AfterTheDrainEveryoneIsToldWhy) {
  ServerHarness harness({.decode_interval = kNever});
  const auto clients = Streams(harness, 20, 200);
  HttpClient whole(harness.port());
  whole.SendPost(kCompletions, Ask(100, 10, false));
  ASSERT_TRUE(ServerHarness::Comes(
      [&] { return harness.server().Metrics().open == 21; }));
  const ShutdownReport report =
      harness.server().Shutdown({.drain = Duration::zero()});
  EXPECT_EQ(report.cancelled, 21);
  for (const auto& client : clients) {
    const std::vector<std::string> events = EventsOf(client->Receive().body);
    ASSERT_GE(events.size(), 2u);
    EXPECT_EQ(events.back(), "data: [DONE]");
    const json error = json::parse(events[events.size() - 2].substr(6));
    EXPECT_EQ(error["error"]["code"], "shutting_down");
  }
  const HttpResponse response = whole.Receive();
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.headers.at("retry-after"), "1");
  EXPECT_FALSE(response.keep_alive);
}

TEST(ServerShutdownTest, NewRequestsAreRefusedWhileOthersAreServed) {
  ServerHarness harness({.decode_interval = kNever});
  auto clients = Streams(harness, 1, 10);
  auto report = std::async(std::launch::async, [&] {
    return harness.server().Shutdown({.drain = kLong});
  });
  ASSERT_TRUE(ServerHarness::Comes(
      [&] { return harness.server().Metrics().shutting_down; }));
  HttpClient late(harness.port());
  const HttpResponse response = late.Post(kCompletions, Ask(10, 1, true));
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.headers.at("retry-after"), "1");
  EXPECT_FALSE(response.keep_alive);
  EXPECT_THAT(response.body, HasSubstr("\"code\":\"shutting_down\""));
  EXPECT_EQ(HttpClient(harness.port()).Get("/healthz").status, 503);

  clients[0]->Close();  // the last one
  EXPECT_EQ(report.get().cancelled, 0);
}

TEST(ServerShutdownTest, ASecondCallEndsTheDrain) {
  ServerHarness harness({.decode_interval = kNever});
  const auto clients = Streams(harness, 3, 10);
  auto report = std::async(std::launch::async, [&] {
    return harness.server().Shutdown({.drain = kLong});
  });
  ASSERT_TRUE(ServerHarness::Comes(
      [&] { return harness.server().Metrics().shutting_down; }));
  harness.server().Shutdown({.drain = Duration::zero()});
  EXPECT_EQ(report.get().cancelled, 3);
}

TEST(ServerShutdownTest, IdleConnectionsAreClosed) {
  ServerHarness harness;
  HttpClient client(harness.port());
  EXPECT_EQ(client.Get("/healthz").status, 200);
  harness.server().Shutdown({.drain = kLong});
  EXPECT_EQ(client.Receive().status, 0);
}

TEST(ServerShutdownTest, AServerMayBeDestroyedWithoutIt) {
  ServerHarness harness({.decode_interval = kNever});
  const auto clients = Streams(harness, 3, 10);
  harness.Destroy();
  for (const auto& client : clients) {
    EXPECT_EQ(EventsOf(client->Receive().body).back(), "data: [DONE]");
  }
  EXPECT_EQ(harness.engine().Device().resident, 0);
}

}  // namespace
}  // namespace tidegate::testing
