// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/event_log_reader.h"

#include <string>
#include <vector>

#include "simulator/event_log.h"
#include "tests/testing/matchers.h"

namespace tidegate::internal {
namespace {

TEST(EventLogReaderTest, WhatIsReadIsWhatWasWritten) {
  const std::vector<Event> events = {
      Arrive{.id = 1,
             .request = {.prompt_tokens = 2,
                         .cached_tokens = 1,
                         .max_output_tokens = 4,
                         .mask = MaskKind::kBool},
             .priority = -5,
             .prefix_bytes = 6},
      StepDone{
          .step = 1, .peak_bytes = 2, .live_bytes = 3, .took = Duration(4)},
      StepDone{.step = 2},
      StepFailed{.step = 3, .why = StepFailure::kOutOfMemory},
      StepFailed{.step = 4, .why = StepFailure::kOther},
      DecodeProgress{.id = 5, .tokens = 6},
      Finished{7},
      Cancel{8},
      MemoryReading{{1, 2}},
      CeilingChanged{9},
      Wake{},
      PrefixChanged{.id = 1, .cached_tokens = 2, .prefix_bytes = 3},
      Reclaimable{.kind = "a \"pool\"", .bytes = 1},
      ReclaimDone{.reclaim = 1, .freed_bytes = 2},
      ReleasePending{3},
      Released{4},
      Observe{.chunk = {.n = 1, .kv_len = 2, .mask = MaskKind::kFloat},
              .transient_bytes = 3}};
  const std::vector<Action> actions = {
      RunStep{
          .step = 1,
          .chunks = {{1, 2, 3, 5, Bound::kMemory}, {2, 0, 1, 1, Bound::kTime}},
          .decodes = {7, 8},
          .price = {.transient_bytes = 9, .resident_bytes = 10},
          .room_bytes = 11},
      RunStep{.step = 2, .chunks = {{1, 2, 3, 5, Bound::kPlan}}},
      Admit{.id = 1, .claim_bytes = 2},
      Reject{.id = 1,
             .code = RefusalCode::kTooLarge,
             .reason = "no",
             .arithmetic = {},
             .largest_prompt_that_fits = 5},
      Reclaim{.reclaim = 1, .kind = "pool", .bytes = 2},
      Preempt{1},
      StartDecode{2},
      Cancelled{3},
      WakeAt{Instant(Duration(4))}};
  std::string written;
  std::string read;
  EventLogReader reader([&](const Decision& decision) {
    read += EventLine(decision.event, decision.now);
    for (const Action& action : decision.actions) {
      read += ActionLine(action, decision.now);
    }
  });
  std::int64_t t = 100;
  for (const Event& event : events) {
    const Instant now{Duration(t++)};
    std::vector<std::string> lines = {EventLine(event, now)};
    // Some with actions, some without.
    if (t % 2 == 0) {
      for (const Action& action : actions) {
        lines.push_back(ActionLine(action, now));
      }
    }
    for (const std::string& line : lines) {
      written += line;
      reader.Read(line);
    }
  }
  EXPECT_NE(read, written);  // The last one is told at the end.
  reader.Finish();
  EXPECT_EQ(read, written);
}

}  // namespace
}  // namespace tidegate::internal
