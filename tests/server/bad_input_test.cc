// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/server/harness.h"

namespace tidegate::testing {
namespace {

using ::testing::HasSubstr;

struct BadBody {
  const char* name;
  const char* body;
  const char* code;
  const char* param;  // null: none is named
  const char* message;
  int status = 400;
};

class BadBodyTest : public ::testing::TestWithParam<BadBody> {
 protected:
  // One for all: a bad request leaves nothing behind, and the last test says
  // so.
  static ServerHarness& Harness() {
    static ServerHarness harness;
    return harness;
  }
};

TEST_P(BadBodyTest, IsToldWhatIsWrong) {
  const BadBody& bad = GetParam();
  HttpClient client(Harness().port());
  const HttpResponse response = client.Post(kCompletions, bad.body);
  EXPECT_EQ(response.status, bad.status) << response.body;
  const json error = json::parse(response.body)["error"];
  EXPECT_EQ(error["type"], "invalid_request_error");
  EXPECT_EQ(error["code"], bad.code);
  EXPECT_EQ(error["param"], bad.param == nullptr ? json() : json(bad.param));
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(bad.message));
  // The connection and the server go on.
  EXPECT_EQ(client.Get("/healthz").status, 200);
  EXPECT_EQ(Harness().server().Metrics().submitted, 0);
}

INSTANTIATE_TEST_SUITE_P(
    Bodies, BadBodyTest,
    ::testing::Values(
        BadBody{"Empty", "", "invalid_json", nullptr, "empty"},
        BadBody{"CutOff", R"({"prompt": "a)", "invalid_json", nullptr,
                "no JSON"},
        BadBody{"AList", R"([1, 2])", "invalid_json", nullptr,
                "expected a JSON object, got an array"},
        BadBody{"AFieldTwice", R"({"prompt":"a","prompt":"b"})", "invalid_json",
                nullptr, "\"prompt\" twice"},
        BadBody{"DeepNesting", R"({"prompt":[[[[[[[[[[1]]]]]]]]]]})",
                "invalid_json", nullptr, "nests more than 8 levels"},
        BadBody{"NoPrompt", R"({"max_tokens":5})", "missing_required_parameter",
                "prompt", "missing"},
        BadBody{"NullPrompt", R"({"prompt":null})",
                "missing_required_parameter", "prompt", "missing"},
        BadBody{"EmptyPrompt", R"({"prompt":""})", "invalid_value", "prompt",
                "at least one token"},
        BadBody{"EmptyTokens", R"({"prompt":[]})", "invalid_value", "prompt",
                "at least one token"},
        BadBody{"PromptOfAnotherType", R"({"prompt":17})", "invalid_value",
                "prompt", "expected a string or a list of token ids, got 17"},
        BadBody{"TokenBeyondTheVocabulary", R"({"prompt":[72,256]})",
                "invalid_value", "prompt",
                "prompt[1]: expected a token id from 0 to 255, got 256"},
        BadBody{"NegativeToken", R"({"prompt":[-1]})", "invalid_value",
                "prompt", "got -1"},
        BadBody{"TokenWithAFraction", R"({"prompt":[1.5]})", "invalid_value",
                "prompt", "got 1.5"},
        BadBody{"SeveralPrompts", R"({"prompt":["a","b"]})",
                "unsupported_value", "prompt", "send one request each"},
        BadBody{"NegativeMaxTokens", R"({"prompt":"a","max_tokens":-1})",
                "invalid_value", "max_tokens",
                "expected an integer from 0 to 100000000, got -1"},
        BadBody{"MaxTokensAsText", R"({"prompt":"a","max_tokens":"5"})",
                "invalid_value", "max_tokens", "got \"5\""},
        BadBody{"MaxTokensWithAFraction", R"({"prompt":"a","max_tokens":1.5})",
                "invalid_value", "max_tokens", "got 1.5"},
        BadBody{"MaxTokensBeyondAllNumbers",
                R"({"prompt":"a","max_tokens":18446744073709551615})",
                "invalid_value", "max_tokens", "got 18446744073709551615"},
        BadBody{"StreamAsText", R"({"prompt":"a","stream":"yes"})",
                "invalid_value", "stream", "expected true or false"},
        BadBody{"TemperatureTooHigh", R"({"prompt":"a","temperature":2.5})",
                "invalid_value", "temperature", "0 to 2"},
        BadBody{"TopPOfZero", R"({"prompt":"a","top_p":0})", "invalid_value",
                "top_p", "above 0 to 1"},
        BadBody{"SeveralChoices", R"({"prompt":"a","n":2})",
                "unsupported_value", "n", "does not do it; got 2"},
        BadBody{"Stop", R"({"prompt":"a","stop":["\n"]})", "unsupported_value",
                "stop", "does not do it"},
        BadBody{"Echo", R"({"prompt":"a","echo":true})", "unsupported_value",
                "echo", "expected false"},
        BadBody{"LogProbs", R"({"prompt":"a","logprobs":3})",
                "unsupported_value", "logprobs", "got 3"},
        BadBody{"MisspeltField", R"({"prompt":"a","max_token":3})",
                "unknown_parameter", "max_token",
                "did you mean \"max_tokens\"?"},
        BadBody{"StreamOptionsWithoutStream",
                R"({"prompt":"a","stream_options":{"include_usage":true}})",
                "invalid_value", "stream_options", "\"stream\": true"},
        BadBody{"UnknownStreamOption",
                R"({"prompt":"a","stream":true,"stream_options":{"usage":1}})",
                "unknown_parameter", "stream_options.usage", "no field"},
        BadBody{"AnotherModel", R"({"prompt":"a","model":"gpt-4"})",
                "model_not_found", "model", "\"gpt-4\" is not served", 404},
        BadBody{"ModelOfAnotherType", R"({"prompt":"a","model":4})",
                "invalid_value", "model", "expected a string"},
        BadBody{"BeyondTheContext", R"({"prompt":"a","max_tokens":131072})",
                "context_length_exceeded", "prompt",
                "the model's context is 131,072 tokens"}),
    [](const auto& info) { return std::string(info.param.name); });

class BadHttpTest : public ::testing::Test {
 protected:
  static ServerHarness& Harness() {
    static ServerHarness harness({.http = {.body_bytes_max = 1000}});
    return harness;
  }
  static std::string CodeOf(const HttpResponse& response) {
    return json::parse(response.body)["error"]["code"];
  }
};

TEST_F(BadHttpTest, ABodyThatIsTooLongIsRefused) {
  HttpClient client(Harness().port());
  const HttpResponse response = client.Post(kCompletions, Ask(2000, 1, false));
  EXPECT_EQ(response.status, 413);
  EXPECT_EQ(CodeOf(response), "body_too_large");
  EXPECT_FALSE(response.keep_alive);
}

TEST_F(BadHttpTest, AHeaderThatIsTooLongIsRefused) {
  HttpClient client(Harness().port());
  client.Send("GET / HTTP/1.1\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n");
  const HttpResponse response = client.Receive();
  EXPECT_EQ(response.status, 431);
  EXPECT_EQ(CodeOf(response), "header_too_large");
}

TEST_F(BadHttpTest, WhatIsNoHttpIsRefused) {
  HttpClient client(Harness().port());
  client.Send("how do you do\r\n\r\n");
  const HttpResponse response = client.Receive();
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(CodeOf(response), "bad_http");
}

TEST_F(BadHttpTest, AnUnknownPathIsNotFound) {
  HttpClient client(Harness().port());
  for (const char* path :
       {"/v1/chat/completions", "/assets/../main.cc", "/x"}) {
    const HttpResponse response = client.Get(path);
    EXPECT_EQ(response.status, 404) << path;
    EXPECT_EQ(CodeOf(response), "not_found");
  }
}

TEST_F(BadHttpTest, AnotherMethodIsNotAllowed) {
  HttpClient client(Harness().port());
  const HttpResponse got = client.Get(kCompletions);
  EXPECT_EQ(got.status, 405);
  EXPECT_EQ(got.headers.at("allow"), "POST");
  const HttpResponse posted = client.Post("/metrics", "");
  EXPECT_EQ(posted.status, 405);
  EXPECT_EQ(posted.headers.at("allow"), "GET");
}

TEST_F(BadHttpTest, AQueryOfTheStatisticsIsChecked) {
  HttpClient client(Harness().port());
  EXPECT_EQ(client.Get("/stats?since=0").status, 200);
  for (const char* query : {"/stats?since=", "/stats?since=1x", "/stats?a=1"}) {
    EXPECT_EQ(client.Get(query).status, 400) << query;
  }
}

TEST_F(BadHttpTest, ALongBodyIsWaitedForWhereTheClientAsksFirst) {
  HttpClient client(Harness().port());
  const std::string body = Ask(10, 1, false);
  client.Send(
      Concat("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nExpect: "
             "100-continue\r\nContent-Length: ",
             static_cast<std::int64_t>(body.size()), "\r\n\r\n"));
  EXPECT_EQ(client.Receive().status, 100);
  client.Send(body);
  EXPECT_EQ(client.Receive().status, 200);
}

TEST_F(BadHttpTest, AnOldClientGetsItsStreamWithoutChunks) {
  HttpClient client(Harness().port());
  const std::string body = Ask(10, 2, true);
  client.Send(Concat("POST /v1/completions HTTP/1.0\r\nContent-Length: ",
                     static_cast<std::int64_t>(body.size()), "\r\n\r\n", body));
  const HttpResponse response = client.Receive();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers.count("transfer-encoding"), 0u);
  EXPECT_EQ(EventsOf(response.body).back(), "data: [DONE]");
  EXPECT_FALSE(response.keep_alive);
}

TEST(ServerStartTest, AnAddressThatIsNoneIsAnError) {
  auto setup = server::LoadSetup(
      {.policy = Concat(TIDEGATE_SOURCE_DIR, "/policy_files/mlx-36gb.toml")});
  ASSERT_THAT(setup, IsOk());
  EXPECT_THAT(server::Server::Start({.address = "home"},
                                    std::move(setup->service), setup->engine),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("expected an IP address, got home")));
}

TEST(ServerStartTest, APortThatIsTakenIsAnError) {
  ServerHarness harness;
  auto setup = server::LoadSetup(
      {.policy = Concat(TIDEGATE_SOURCE_DIR, "/policy_files/mlx-36gb.toml")});
  ASSERT_THAT(setup, IsOk());
  EXPECT_THAT(server::Server::Start({.port = harness.port()},
                                    std::move(setup->service), setup->engine),
              StatusIs(absl::StatusCode::kUnavailable,
                       HasSubstr("cannot listen on 127.0.0.1")));
}

}  // namespace
}  // namespace tidegate::testing
