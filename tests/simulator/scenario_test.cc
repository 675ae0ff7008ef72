// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/scenario.h"

#include <string>

#include "tests/testing/matchers.h"

namespace tidegate::internal {
namespace {

using ::tidegate::testing::StatusIs;

constexpr char kHead[] =
    R"({"id": "s", "model": {"shape": {"q_heads": 8, "kv_heads": 2,
       "head_dim": 64, "layers": 4}},
       "engine": {"name": "mlx", "version": "0.31.2", "device": "metal"},
       "memory": {"ceiling": 1000000000, "base": 1000})";

std::string Line(const std::string& rest) {
  std::string line = std::string(kHead) + rest + "}";
  for (char& c : line) c = c == '\n' ? ' ' : c;
  return line;
}

void ExpectError(const std::string& rest, const std::string& message) {
  EXPECT_THAT(ParseScenario(Line(rest), "f.jsonl:3"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "f.jsonl:3: key " + message));
}

TEST(ScenarioTest, WhatIsNotSaidHasTheDocumentedDefault) {
  ASSERT_OK_AND_ASSIGN(
      const Scenario scenario,
      ParseScenario(Line(R"(, "events": [{"at": 0.5, "arrive": {"id": "r",
                             "prompt_tokens": 9}}], "expect": {})"),
                    "f:1"));
  const DrivenRequest& request = scenario.requests[0].driven;
  EXPECT_EQ(request.arrive.request.prompt_tokens, 9);
  EXPECT_EQ(request.arrive.request.cached_tokens, 0);
  EXPECT_EQ(request.arrive.request.mask, MaskKind::kCausal);
  EXPECT_EQ(request.output_tokens, 0);
  EXPECT_EQ(scenario.inputs[0].at.time_since_epoch(), Duration(500'000'000));
  EXPECT_EQ(scenario.world.attention, WorldAttention::kCatalog);
  EXPECT_EQ(scenario.world.kv_bytes_per_token, 4 * 2 * 2 * 64 * 2);
  EXPECT_EQ(scenario.expect.out_of_memory, 0);
}

TEST(ScenarioTest, TheBudgetIsTheOutputWhereNoneIsSaid) {
  ASSERT_OK_AND_ASSIGN(
      const Scenario scenario,
      ParseScenario(Line(R"(, "events": [{"at": 0, "arrive": {"id": "r",
                     "prompt_tokens": 9, "output_tokens": 5}}], "expect": {})"),
                    "f:1"));
  EXPECT_EQ(scenario.requests[0].driven.arrive.request.max_output_tokens, 5);
}

TEST(ScenarioTest, EventsAreSortedByTimeAndKeepTheirOrder) {
  ASSERT_OK_AND_ASSIGN(
      const Scenario scenario,
      ParseScenario(
          Line(R"(, "events": [{"at": 2, "base": 7}, {"at": 1, "base": 5},
                   {"at": 1, "ceiling": 6}], "expect": {})"),
          "f:1"));
  EXPECT_EQ(std::get<BaseInput>(scenario.inputs[0].input).base, 5);
  EXPECT_EQ(std::get<CeilingInput>(scenario.inputs[1].input).ceiling, 6);
  EXPECT_EQ(std::get<BaseInput>(scenario.inputs[2].input).base, 7);
}

TEST(ScenarioTest, TheScenariosMemoryReachesThePolicy) {
  ASSERT_OK_AND_ASSIGN(const Scenario scenario,
                       ParseScenario(Line(R"(, "policy": {"chunk": {"max": 99},
                             "memory": {"headroom": "1 MiB"}}, "expect": {})"),
                                     "f:1"));
  EXPECT_EQ(scenario.policy.chunk_max, 99);
  EXPECT_EQ(scenario.policy.headroom, Bytes{1} << 20);
  EXPECT_EQ(scenario.policy.ceiling, 1'000'000'000);
}

TEST(ScenarioTest, AnUnknownKeyIsAnErrorWithItsNeighbour) {
  ExpectError(R"(, "event": [], "expect": {})",
              "event: expected one of id, title, source, model, engine, "
              "memory, policy, world, events, expect, got an unknown key; did "
              "you mean events?");
}

TEST(ScenarioTest, AnUnknownKeyOfAnEventNamesTheEvent) {
  ExpectError(R"(, "events": [{"at": 0, "base": 1}, {"at": 0, "bas": 1}],
                 "expect": {})",
              "events[1].bas: expected one of at, arrive, cancel, base, "
              "ceiling, observe, got an unknown key; did you mean base?");
}

TEST(ScenarioTest, AnUnknownKeyOfTheWorldIsAnError) {
  ExpectError(R"(, "world": {"tiles": 4}, "expect": {})",
              "world.tiles: expected one of attention, score_bytes, tile, "
              "fixed_bytes, per_token_bytes, kv_bytes_per_token, "
              "resident_extra_per_token, pool_keeps_transients, tokens_per_s, "
              "chunk_overhead_s, decode_tokens_per_s, got an unknown key; did "
              "you mean tile?");
}

TEST(ScenarioTest, AnUnknownKeyOfThePolicyIsAnError) {
  ExpectError(R"(, "policy": {"chunk": {"maximum": 4}}, "expect": {})",
              "policy.chunk.maximum: unknown key");
}

TEST(ScenarioTest, MemorySaidTwiceIsAnError) {
  ExpectError(R"(, "policy": {"memory": {"ceiling": 4}}, "expect": {})",
              "policy.memory.ceiling: expected the scenario's own "
              "memory.ceiling, got one in the policy");
}

TEST(ScenarioTest, AWordMistypedIsAnErrorWithItsNeighbour) {
  ExpectError(R"(, "world": {"attention": "unfuse"}, "expect": {})",
              "world.attention: expected one of catalog, unfused, tiled, "
              "fused, got \"unfuse\"; did you mean \"unfused\"?");
}

TEST(ScenarioTest, AMissingPartIsAnError) {
  ExpectError("", "expect: expected an object, got nothing");
}

TEST(ScenarioTest, AnEventWithoutAMomentIsAnError) {
  ExpectError(R"(, "events": [{"base": 4}], "expect": {})",
              "events[0].at: expected seconds, got nothing");
}

TEST(ScenarioTest, ACancelOfNobodyIsAnError) {
  ExpectError(R"(, "events": [{"at": 1, "cancel": "x"}], "expect": {})",
              "events[0].cancel: expected the id of a request, got \"x\"");
}

TEST(ScenarioTest, AnExpectationOfNobodyIsAnError) {
  ExpectError(R"(, "events": [{"at": 0, "arrive": {"id": "req",
                  "prompt_tokens": 9}}],
                 "expect": {"requests": {"reg": {}}})",
              "expect.requests.reg: expected one of req, got an unknown key; "
              "did you mean req?");
}

TEST(ScenarioTest, AnIdThatArrivesTwiceIsAnError) {
  ExpectError(R"(, "events": [
                 {"at": 0, "arrive": {"id": "r", "prompt_tokens": 9}},
                 {"at": 1, "arrive": {"id": "r", "prompt_tokens": 9}}],
                 "expect": {})",
              "events[1].arrive.id: expected an id that no other request has, "
              "got \"r\"");
}

TEST(ScenarioTest, APartOfAConfigNamesItsPlace) {
  EXPECT_THAT(
      ParseScenario(
          R"({"id": "s", "model": {"shape": {"q_head": 8}}, "engine": {},
              "memory": {}, "expect": {}})",
          "f.jsonl:3"),
      StatusIs(absl::StatusCode::kInvalidArgument,
               ::testing::StartsWith("f.jsonl:3: key model.shape.q_head: ")));
}

TEST(ScenarioTest, ReclaimablesAreAPartOfTheBase) {
  EXPECT_THAT(
      ParseScenario(
          R"({"id": "s", "model": {"shape": {"q_heads": 8, "kv_heads": 8,
              "head_dim": 8, "layers": 1}}, "engine": {"name": "mlx",
              "version": "0.31.2", "device": "metal"},
              "memory": {"ceiling": 100, "base": 10, "reclaimable":
              [{"kind": "pool", "bytes": 11}]}, "expect": {}})",
          "f.jsonl:3"),
      StatusIs(absl::StatusCode::kInvalidArgument,
               "f.jsonl:3: key memory.reclaimable[0].bytes: expected a part of "
               "base = 10, got 11"));
}

TEST(ScenarioTest, LinesAreCountedFromOneAndEmptyOnesSkipped) {
  EXPECT_THAT(
      ParseScenarios(Line(R"(, "expect": {})") + "\n\n" +
                         Line(R"(, "expect": {"x": 1})") + "\n",
                     "f.jsonl"),
      StatusIs(absl::StatusCode::kInvalidArgument,
               ::testing::StartsWith("f.jsonl:3: key expect.x: expected ")));
}

TEST(ScenarioTest, AFileWithoutScenariosIsAnError) {
  EXPECT_THAT(ParseScenarios("\n", "f.jsonl"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "f.jsonl:1: key (top level): expected a scenario, got "
                       "the end of the file"));
}

}  // namespace
}  // namespace tidegate::internal
