// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/server/harness.h"

namespace tidegate::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(CompletionTest, ComesWholeWithItsUsage) {
  ServerHarness harness;
  HttpClient client(harness.port());
  const HttpResponse response = client.Post(
      kCompletions, R"({"model":"simulated","prompt":"Hello","max_tokens":5})");
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.headers.at("content-type"), "application/json");
  const json body = json::parse(response.body);
  EXPECT_EQ(body["object"], "text_completion");
  EXPECT_EQ(body["model"], "simulated");
  EXPECT_THAT(body["id"].get<std::string>(), StartsWith("cmpl-"));
  EXPECT_EQ(body["choices"].size(), 1u);
  EXPECT_EQ(body["choices"][0]["finish_reason"], "length");
  EXPECT_FALSE(body["choices"][0]["text"].get<std::string>().empty());
  EXPECT_EQ(body["usage"]["prompt_tokens"], 5);
  EXPECT_EQ(body["usage"]["completion_tokens"], 5);
  EXPECT_EQ(body["usage"]["total_tokens"], 10);
}

TEST(CompletionTest, GivesSixteenTokensWhereNoneAreAskedFor) {
  ServerHarness harness;
  HttpClient client(harness.port());
  const HttpResponse response =
      client.Post(kCompletions, R"({"prompt":[72,101,108]})");
  ASSERT_EQ(response.status, 200) << response.body;
  const json usage = json::parse(response.body)["usage"];
  EXPECT_EQ(usage["prompt_tokens"], 3);
  EXPECT_EQ(usage["completion_tokens"], 16);
}

TEST(CompletionTest, StreamsInOrder) {
  ServerHarness harness;
  HttpClient client(harness.port());
  const HttpResponse response =
      client.Post(kCompletions, Ask(9000, 12, /*stream=*/true));
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_THAT(response.headers.at("content-type"),
              StartsWith("text/event-stream"));
  const std::vector<std::string> events = EventsOf(response.body);

  // The prefill, chunk after chunk, from 0 to the prompt's length.
  std::size_t at = 0;
  Tokens done = 0;
  for (; at < events.size() && events[at].starts_with(": prefill "); ++at) {
    const json progress = json::parse(events[at].substr(10));
    EXPECT_EQ(progress["start"], done);
    EXPECT_EQ(progress["total"], 9000);
    done = progress["end"].get<Tokens>();
  }
  EXPECT_GT(at, 1u);
  EXPECT_EQ(done, 9000);

  // A chunk a token, one that ends it, and nothing behind [DONE].
  ASSERT_EQ(events.size(), at + 12 + 2);
  for (std::size_t i = at; i < at + 13; ++i) {
    ASSERT_THAT(events[i], StartsWith("data: {"));
    const json choice = json::parse(events[i].substr(6))["choices"][0];
    const bool last = i == at + 12;
    EXPECT_EQ(choice["finish_reason"], last ? json("length") : json());
    EXPECT_EQ(choice["text"].get<std::string>().empty(), last);
  }
  EXPECT_EQ(events.back(), "data: [DONE]");
}

TEST(CompletionTest, StreamsTheTextThatItWouldHaveGivenWhole) {
  ServerHarness harness;
  HttpClient client(harness.port());
  const HttpResponse whole = client.Post(kCompletions, Ask(50, 20, false));
  const HttpResponse streamed = client.Post(kCompletions, Ask(50, 20, true));
  const HttpResponse other =
      client.Post(kCompletions, Ask(50, 20, false, {{"seed", 7}}));
  const json text = json::parse(whole.body)["choices"][0]["text"];
  EXPECT_EQ(TextOf(streamed.body), text.get<std::string>());
  EXPECT_NE(json::parse(other.body)["choices"][0]["text"], text);
}

TEST(CompletionTest, SendsProgressAsEventsWhereAsked) {
  ServerHarness harness;
  HttpClient client(harness.port());
  const HttpResponse response = client.Post(
      kCompletions, Ask(3000, 1, true, {{"return_progress", true}}));
  const std::vector<std::string> events = EventsOf(response.body);
  ASSERT_FALSE(events.empty());
  EXPECT_THAT(events[0], AllOf(StartsWith("event: prefill\ndata: {\"start\":0"),
                               HasSubstr("\"total\":3000")));
}

TEST(CompletionTest, CountsTheTokensOfAStreamWhereAsked) {
  ServerHarness harness;
  HttpClient client(harness.port());
  const HttpResponse response = client.Post(
      kCompletions,
      Ask(40, 3, true, {{"stream_options", {{"include_usage", true}}}}));
  const std::vector<std::string> events = EventsOf(response.body);
  ASSERT_GE(events.size(), 2u);
  const json last = json::parse(events[events.size() - 2].substr(6));
  EXPECT_TRUE(last["choices"].empty());
  EXPECT_EQ(last["usage"]["prompt_tokens"], 40);
  EXPECT_EQ(last["usage"]["completion_tokens"], 3);
}

TEST(CompletionTest, PrefillComesFirstWhereStepsDecode) {
  ServerHarness harness({.policy = "policy_files/h100-80gb-mixed.toml"});
  HttpClient client(harness.port());
  const HttpResponse response =
      client.Post(kCompletions, Ask(9000, 6, /*stream=*/true));
  ASSERT_EQ(response.status, 200) << response.body;
  bool token_seen = false;
  for (const std::string& event : EventsOf(response.body)) {
    if (event.starts_with(": prefill")) {
      EXPECT_FALSE(token_seen);
    } else {
      token_seen = true;
    }
  }
  const HttpResponse whole = client.Post(kCompletions, Ask(9000, 6, false));
  EXPECT_EQ(json::parse(whole.body)["usage"]["completion_tokens"], 6);
  EXPECT_EQ(TextOf(response.body),
            json::parse(whole.body)["choices"][0]["text"].get<std::string>());
  EXPECT_TRUE(harness.BecomesIdle());
}

TEST(CompletionTest, OnlyComputesThePromptWhereNoTokenIsAskedFor) {
  ServerHarness harness;
  HttpClient client(harness.port());
  const HttpResponse response = client.Post(kCompletions, Ask(100, 0, false));
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(json::parse(response.body)["usage"]["completion_tokens"], 0);
  EXPECT_EQ(harness.server().Metrics().prompt_tokens, 100);
}

TEST(CompletionTest, ManyCompletionsShareAConnection) {
  ServerHarness harness;
  HttpClient client(harness.port());
  for (const bool stream : {false, true, true, false}) {
    const HttpResponse response = client.Post(kCompletions, Ask(30, 2, stream));
    EXPECT_EQ(response.status, 200);
    EXPECT_TRUE(response.keep_alive);
  }
  EXPECT_EQ(harness.server().Metrics().finished, 4);
}

TEST(CompletionTest, AnswersWhatWasSentAhead) {
  ServerHarness harness;
  HttpClient client(harness.port());
  client.SendPost(kCompletions, Ask(10, 1, true));
  client.SendPost(kCompletions, Ask(20, 1, false));
  EXPECT_EQ(client.Receive().status, 200);
  const HttpResponse second = client.Receive();
  EXPECT_EQ(json::parse(second.body)["usage"]["prompt_tokens"], 20);
}

}  // namespace
}  // namespace tidegate::testing
