// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/decision_log.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/testing/hand_driven_scheduler.h"

namespace tidegate {
namespace {

using ::testing::ElementsAre;

nlohmann::json Parsed(const std::string& line) {
  EXPECT_TRUE(line.ends_with("}\n")) << line;
  EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
  return nlohmann::json::parse(line);
}

TEST(DecisionLineTest, HasTheEventItsActionsAndTheLedger) {
  const Event event = Arrive{.id = 3, .request = {.prompt_tokens = 600}};
  const std::vector<Action> actions = {
      Admit{.id = 3, .claim_bytes = 600},
      RunStep{.step = 1,
              .chunks = {{.id = 3, .n = 600, .kv_len = 600}},
              .decodes = {1, 2}}};
  const std::string line =
      DecisionLine({Instant(Duration(5)),
                    event,
                    actions,
                    {.waiting = 1, .claimed_bytes = 600, .resident_bytes = 7}});
  EXPECT_EQ(line,
            "{\"t\":5,\"event\":\"arrive\",\"id\":3,\"prompt_tokens\":600,"
            "\"cached_tokens\":0,\"max_output_tokens\":0,\"mask\":\"causal\","
            "\"priority\":0,\"prefix_bytes\":0,\"actions\":["
            "{\"action\":\"admit\",\"id\":3,\"claim_bytes\":600},"
            "{\"action\":\"run_step\",\"step\":1,\"chunks\":[{\"id\":3,"
            "\"start\":0,\"n\":600,\"kv_len\":600,\"bound\":\"prompt\"}],"
            "\"decodes\":[1,2],\"transient_bytes\":0,\"resident_bytes\":0,"
            "\"room_bytes\":0}],"
            "\"waiting\":1,\"claimed_bytes\":600,\"resident_bytes\":7}\n");
}

TEST(DecisionLineTest, QuotesAndControlCharactersAreEscaped) {
  const Event event = Reclaimable{.kind = "a\"b\\c\nd\x01", .bytes = 1};
  const auto json = Parsed(DecisionLine({Instant{}, event, {}, {}}));
  EXPECT_EQ(json["kind"], "a\"b\\c\nd\x01");
}

TEST(DecisionLineTest, EveryEventAndActionIsOneLineOfJson) {
  const std::vector<Event> events = {Arrive{},
                                     StepDone{},
                                     StepFailed{},
                                     DecodeProgress{},
                                     Finished{},
                                     Cancel{},
                                     MemoryReading{{1, 2}},
                                     CeilingChanged{},
                                     Wake{},
                                     PrefixChanged{},
                                     Reclaimable{},
                                     ReclaimDone{},
                                     ReleasePending{},
                                     Released{},
                                     Observe{},
                                     DecodeFailed{},
                                     PolicyChanged{}};
  ASSERT_EQ(events.size(), std::variant_size_v<Event>);
  const std::vector<Action> actions = {RunStep{},   Admit{},   Reject{},
                                       Reclaim{},   Preempt{}, StartDecode{},
                                       Cancelled{}, WakeAt{}};
  ASSERT_EQ(actions.size(), std::variant_size_v<Action>);
  for (const Event& event : events) {
    const auto json = Parsed(DecisionLine({Instant{}, event, actions, {}}));
    EXPECT_EQ(json["event"], std::string(EventName(event)));
    EXPECT_EQ(Parsed(EventLine(event, Instant{}))["event"], json["event"]);
    ASSERT_EQ(json["actions"].size(), actions.size());
    for (std::size_t i = 0; i < actions.size(); ++i) {
      // The same fields as in a line of its own.
      nlohmann::json line = Parsed(ActionLine(actions[i], Instant{}));
      line.erase("t");
      EXPECT_EQ(json["actions"][i], line);
    }
  }
}

TEST(IsDecisionTest, WhatLeadsToNothingAndComesOftenIsNone) {
  const auto is = [](const Event& event, std::vector<Action> actions = {}) {
    return IsDecision({Instant{}, event, actions, {}});
  };
  EXPECT_FALSE(is(DecodeProgress{}));
  EXPECT_FALSE(is(MemoryReading{}));
  EXPECT_FALSE(is(Wake{}, {WakeAt{}}));
  EXPECT_TRUE(is(MemoryReading{}, {Preempt{1}, WakeAt{}}));
  EXPECT_TRUE(is(Arrive{}));
  EXPECT_TRUE(is(Finished{}));
}

}  // namespace
}  // namespace tidegate
