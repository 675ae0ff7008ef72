// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/server/harness.h"

namespace tidegate::testing {
namespace {

TEST(DisconnectTest, AStreamThatIsLeftGivesItsMemoryBack) {
  ServerHarness harness({.decode_interval = kNever});
  HttpClient client(harness.port());
  client.SendPost(kCompletions, Ask(20'000, 10, true));
  ASSERT_TRUE(client.ReceiveUntil("\"end\":20000"));
  EXPECT_GT(harness.engine().Device().resident, Bytes{2} << 30);
  client.Close();
  EXPECT_TRUE(harness.BecomesIdle());
  EXPECT_EQ(harness.server().Metrics().cancelled, 1);
}

TEST(DisconnectTest, AWholeAnswerThatIsNotWaitedForGivesItsMemoryBack) {
  ServerHarness harness({.decode_interval = kNever});
  HttpClient client(harness.port());
  client.SendPost(kCompletions, Ask(20'000, 10, false));
  ASSERT_TRUE(ServerHarness::Comes(
      [&] { return harness.engine().Device().resident > Bytes{2} << 30; }));
  client.Close();
  EXPECT_TRUE(harness.BecomesIdle());
}

TEST(DisconnectTest, WhoLeavesWhileItsStepRunsIsCancelledWhenThatEnds) {
  // A step takes a third of a second.
  ServerHarness harness({.decode_interval = kNever, .speed = 0.8});
  HttpClient client(harness.port());
  client.SendPost(kCompletions, Ask(80'000, 10, true));
  ASSERT_TRUE(ServerHarness::Comes(
      [&] { return harness.engine().Device().transient > 0; }));
  client.Close();
  EXPECT_TRUE(harness.BecomesIdle());
  EXPECT_EQ(harness.server().Metrics().cancelled, 1);
  EXPECT_LT(harness.server().Metrics().prompt_tokens, 80'000);
}

TEST(DisconnectTest, WhoLeavesTheQueueMakesRoomInIt) {
  ServerHarness harness({.queue_max = 1, .decode_interval = kNever});
  const auto waiting = [&] {
    return harness.server().Metrics().scheduler.waiting;
  };
  HttpClient first(harness.port());
  first.SendPost(kCompletions, Ask(60'000, 10, true));
  ASSERT_TRUE(first.ReceiveUntil("\"end\":60000"));
  for (int i = 0; i < 3; ++i) {
    HttpClient next(harness.port());
    next.SendPost(kCompletions, Ask(60'000, 10, true));
    ASSERT_TRUE(ServerHarness::Comes([&] { return waiting() == 1; }));
    next.Close();
    ASSERT_TRUE(ServerHarness::Comes([&] { return waiting() == 0; }));
  }
  EXPECT_EQ(harness.server().Metrics().cancelled, 3);
  EXPECT_EQ(harness.server().Metrics().rejected_overloaded, 0);
}

TEST(DisconnectTest, OthersGoOnWhenOneLeaves) {
  ServerHarness harness({.decode_interval = std::chrono::milliseconds(1)});
  HttpClient stays(harness.port());
  stays.SendPost(kCompletions, Ask(500, 100, true));
  HttpClient leaves(harness.port());
  leaves.SendPost(kCompletions, Ask(500, 50'000, true));
  ASSERT_TRUE(leaves.ReceiveUntil("\"text\""));
  leaves.Close();
  const HttpResponse response = stays.Receive();
  EXPECT_EQ(EventsOf(response.body).back(), "data: [DONE]");
  EXPECT_TRUE(harness.BecomesIdle());
  EXPECT_EQ(harness.server().Metrics().finished, 1);
}

}  // namespace
}  // namespace tidegate::testing
