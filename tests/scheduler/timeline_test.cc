// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/timeline.h"

#include <string>
#include <utility>
#include <vector>

#include "tests/testing/hand_driven_scheduler.h"
#include "tests/testing/trace_checker.h"

namespace tidegate {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::tidegate::testing::CheckedTrace;

// A scheduler on a small device whose decisions are drawn.
class TimelineTest : public testing::HandDrivenScheduler {
 protected:
  std::vector<Action> Draw(const Event& event) {
    std::vector<Action> actions = Send(event);
    timeline_.Add({now_, event, actions, scheduler().Stats()});
    return actions;
  }
  std::vector<Action> DrawArrival(RequestId id, Tokens prompt,
                                  Tokens output = 0) {
    return Draw(Arrive{
        .id = id,
        .request = {.prompt_tokens = prompt, .max_output_tokens = output}});
  }
  // After a second.
  std::vector<Action> DrawDone(std::optional<Bytes> live = std::nullopt) {
    Advance(seconds(1));
    const StepId step = running_->step;
    running_.reset();
    StepDone done{.step = step};
    if (live.has_value()) done.live_bytes = {*live};
    return Draw(done);
  }
  CheckedTrace Trace() {
    timeline_.Finish();
    return CheckedTrace(text_);
  }

  std::string text_;
  Timeline timeline_{options_.memory,
                     [this](std::string_view piece) { text_ += piece; }};
};

TEST_F(TimelineTest, TellsTheStoriesOfThreeRequests) {
  DrawArrival(1, 1500, 10);
  DrawArrival(2, 400'000);
  DrawArrival(3, 600, 10);
  DrawDone();
  DrawDone();
  DrawDone();
  Draw(DecodeProgress{.id = 1, .tokens = 10});
  Draw(Finished{.id = 1});
  Draw(Cancel{.id = 3});
  const CheckedTrace trace = Trace();
  EXPECT_THAT(trace.Story("request 1"),
              ElementsAre("waiting", "admit", "prefill", "decoding"));
  EXPECT_THAT(trace.Story("request 2"), ElementsAre("waiting", "reject"));
  EXPECT_THAT(trace.Story("request 3"),
              ElementsAre("waiting", "admit", "prefill", "decoding", "cancel"));
  EXPECT_EQ(trace.Slice("request 1").args["outcome"], "finished");
  EXPECT_EQ(trace.Slice("request 1").args["generated_tokens"], 10);
  EXPECT_EQ(trace.Slice("request 2").args["outcome"], "rejected");
  EXPECT_EQ(trace.Slice("request 3").args["outcome"], "cancelled");
  EXPECT_THAT(trace.Names("device"),
              ElementsAre("prefill 1,024", "prefill 476", "prefill 600"));
}

TEST_F(TimelineTest, AStepSaysWhatItComputesAndWhatItCosts) {
  DrawArrival(7, 1500);
  DrawDone(5000);
  const CheckedTrace trace = Trace();
  const nlohmann::json& args = trace.Slice("prefill 1,024").args;
  // One byte of KV and four of transient a token.
  EXPECT_EQ(args["tokens"], 1024);
  EXPECT_EQ(args["kv_len"], 1024);
  EXPECT_EQ(args["bound"], "maximum");
  EXPECT_EQ(args["price_bytes"], 5 * 1024);
  EXPECT_EQ(args["transient_bytes"], 4 * 1024);
  EXPECT_EQ(args["resident_bytes"], 1024);
  EXPECT_EQ(args["room_bytes"], 10'000);
  EXPECT_EQ(args["chunks"][0]["request"], 7);
  EXPECT_EQ(args["live_bytes"], 5000);
  EXPECT_EQ(trace.Slice("prefill 1,024").end, 1e6);
}

TEST_F(TimelineTest, ARefusalShowsItsArithmetic) {
  DrawArrival(1, 400'000);
  const nlohmann::json args = Trace().Instant("reject").args;
  EXPECT_EQ(args["code"], "too_large");
  EXPECT_THAT(args["reason"].get<std::string>(), HasSubstr("live"));
  EXPECT_GT(args["largest_prompt_that_fits"], 0);
  EXPECT_GT(
      args["live_bytes"].get<Bytes>() + args["claims_bytes"].get<Bytes>() +
          args["resident_bytes"].get<Bytes>() +
          args["transient_bytes"].get<Bytes>(),
      args["ceiling_bytes"].get<Bytes>() - args["headroom_bytes"].get<Bytes>());
}

TEST_F(TimelineTest, AnAdmissionShowsItsArithmetic) {
  DrawArrival(1, 600, 100);
  const nlohmann::json args = Trace().Instant("admit").args;
  EXPECT_EQ(args["claim_bytes"], 700);
  EXPECT_EQ(args["claims_bytes"], 700);
  EXPECT_EQ(args["live_bytes"], 0);
  EXPECT_EQ(args["room_bytes"], 10'000 - 700);
}

TEST_F(TimelineTest, CountersSayWhatChangedAndNothingElse) {
  DrawArrival(1, 1024);
  Draw(Reclaimable{.kind = "pool", .bytes = 0});
  DrawArrival(2, 600);
  DrawDone(3000);
  const CheckedTrace trace = Trace();
  EXPECT_THAT(trace.counters.at("live"), ElementsAre(0, 3000));
  EXPECT_THAT(trace.counters.at("queue"), ElementsAre(0, 1, 0));
  EXPECT_THAT(trace.counters.at("claims"), ElementsAre(1024, 600));
  EXPECT_THAT(trace.counters.at("room"),
              ElementsAre(10'000 - 1024, 10'000 - 3000 - 600));
}

TEST_F(TimelineTest, AFailedStepSaysWhy) {
  DrawArrival(1, 1024);
  const StepId step = std::exchange(running_, std::nullopt)->step;
  Draw(StepFailed{.step = step, .why = StepFailure::kOutOfMemory});
  EXPECT_EQ(Trace().Slice("prefill 1,024").args["failed"], "out_of_memory");
}

TEST_F(TimelineTest, AReclaimIsASliceUntilItIsAnswered) {
  Draw(MemoryReading{{6000}});
  Draw(Reclaimable{.kind = "pool", .bytes = 6000});
  const auto asked = Of<Reclaim>(DrawArrival(1, 2000));
  ASSERT_EQ(asked.size(), 1u);
  Advance(seconds(2));
  Draw(MemoryReading{{0}});
  Draw(ReclaimDone{.reclaim = asked[0].reclaim, .freed_bytes = 6000});
  const CheckedTrace trace = Trace();
  EXPECT_THAT(trace.Names("reclaims"), ElementsAre("pool"));
  EXPECT_EQ(trace.Slice("pool").args["asked_bytes"], 6000);
  EXPECT_EQ(trace.Slice("pool").args["freed_bytes"], 6000);
  EXPECT_EQ(trace.Slice("pool").end, 2e6);
}

TEST_F(TimelineTest, ManyRequestsOneAfterTheOtherTakeOneRow) {
  for (RequestId id = 1; id <= 500; ++id) {
    DrawArrival(id, 100);
    DrawDone();
    Draw(Finished{.id = id});
  }
  const CheckedTrace trace = Trace();
  EXPECT_EQ(trace.Names("requests").size(), 500u * 4);
  for (const testing::TraceSlice& slice : trace.slices) {
    ASSERT_EQ(slice.row, 1) << slice.name;
  }
}

TEST_F(TimelineTest, WhatIsStillOpenIsClosedAtTheEnd) {
  DrawArrival(1, 1500);
  Advance(seconds(3));
  DrawArrival(2, 1500);
  const CheckedTrace trace = Trace();
  EXPECT_EQ(trace.Slice("request 1").args["outcome"], "open");
  EXPECT_EQ(trace.Slice("request 1").end, 3e6);
  EXPECT_EQ(trace.Slice("prefill 1,024").end, 3e6);
}

TEST_F(TimelineTest, AnEmptyRunIsAFileToo) {
  const CheckedTrace trace = Trace();
  EXPECT_TRUE(trace.slices.empty());
}

TEST_F(TimelineTest, NothingIsWrittenAfterTheEnd) {
  DrawArrival(1, 100);
  timeline_.Finish();
  const std::string before = text_;
  DrawDone();
  timeline_.Finish();
  EXPECT_EQ(text_, before);
}

// Events and actions that no scheduler of today gives together.
class TimelineOfToldDecisionsTest : public ::testing::Test {
 protected:
  void Add(const Event& event, std::vector<Action> actions = {},
           SchedulerStats stats = {}) {
    timeline_.Add({now_, event, actions, stats});
  }
  CheckedTrace Trace() {
    timeline_.Finish();
    return CheckedTrace(text_);
  }
  Instant now_{};
  std::string text_;
  Timeline timeline_{{.ceiling = 10'000, .headroom = 500},
                     [this](std::string_view piece) { text_ += piece; }};
};

TEST_F(TimelineOfToldDecisionsTest, AStepMayHaveSeveralChunksAndDecodes) {
  const RunStep step{.step = 1,
                     .chunks = {{.id = 1,
                                 .start = 0,
                                 .n = 1024,
                                 .kv_len = 1024,
                                 .bound = Bound::kMaximum},
                                {.id = 2,
                                 .start = 4000,
                                 .n = 96,
                                 .kv_len = 4096,
                                 .bound = Bound::kMemory},
                                {.id = 3,
                                 .start = 0,
                                 .n = 64,
                                 .kv_len = 64,
                                 .bound = Bound::kMaximum}},
                     .decodes = {8, 9}};
  Add(Wake{}, {step});
  Add(StepDone{.step = 1});
  Add(Wake{}, {RunStep{.step = 2, .decodes = {8}}});
  Add(StepDone{.step = 2});
  const CheckedTrace trace = Trace();
  EXPECT_THAT(trace.Names("device"),
              ElementsAre("prefill 1,184 + 2 decodes", "1 decode"));
  const nlohmann::json& args = trace.slices[0].args;
  EXPECT_EQ(args["kv_len"], 4096);
  EXPECT_EQ(args["bound"], "maximum, memory");
  EXPECT_EQ(args["chunks"].size(), 3u);
  EXPECT_EQ(args["decodes"], nlohmann::json({8, 9}));
}

TEST_F(TimelineOfToldDecisionsTest, StepsInFlightTogetherLieInRowsOfTheirOwn) {
  Add(Wake{}, {RunStep{.step = 1, .decodes = {1}}});
  now_ += seconds(1);
  Add(Wake{}, {RunStep{.step = 2, .decodes = {1, 2}}});
  now_ += seconds(1);
  Add(StepDone{.step = 1});
  now_ += seconds(1);
  Add(StepDone{.step = 2});
  const CheckedTrace trace = Trace();
  EXPECT_EQ(trace.Slice("1 decode").end, 2e6);
  EXPECT_EQ(trace.Slice("2 decodes").start, 1e6);
  EXPECT_EQ(trace.Slice("2 decodes").end, 3e6);
  EXPECT_NE(trace.Slice("1 decode").row, trace.Slice("2 decodes").row);
}

TEST_F(TimelineOfToldDecisionsTest, APreemptionSaysWhatIsLostAndWhatMemoryWas) {
  Add(Arrive{.id = 1, .request = {.prompt_tokens = 300}},
      {Admit{.id = 1},
       RunStep{.step = 1, .chunks = {{.id = 1, .n = 300, .kv_len = 300}}}});
  Add(StepDone{.step = 1}, {StartDecode{1}});
  Add(DecodeProgress{.id = 1, .tokens = 40});
  Add(MemoryReading{{100, 9800}}, {Preempt{1}}, {.claimed_bytes = 50});
  const CheckedTrace trace = Trace();
  EXPECT_THAT(trace.Story("request 1"),
              ElementsAre("waiting", "admit", "prefill", "decoding", "preempt",
                          "waiting"));
  const nlohmann::json& args = trace.Instant("preempt").args;
  EXPECT_EQ(args["prompt_tokens_done"], 300);
  EXPECT_EQ(args["generated_tokens"], 40);
  EXPECT_EQ(args["live_bytes"], 9800);
  EXPECT_EQ(args["room_bytes"], 10'000 - 500 - 9800 - 50);
}

TEST_F(TimelineOfToldDecisionsTest, MomentsKeepTheirNanoseconds) {
  now_ = Instant(Duration(1'234'567'890'123'456'789));
  Add(Arrive{.id = 1});
  timeline_.Finish();
  EXPECT_THAT(text_, HasSubstr("\"ts\":1234567890123456.789,"));
}

TEST_F(TimelineOfToldDecisionsTest, AMomentThatGoesBackCountsAsTheLastOne) {
  now_ += seconds(2);
  Add(Arrive{.id = 1});
  now_ -= seconds(1);
  Add(Finished{1});
  EXPECT_EQ(Trace().Slice("request 1").end, 2e6);
}

TEST_F(TimelineOfToldDecisionsTest, WhatItNeverSawBeginIsLeftOut) {
  Add(StepDone{.step = 4});
  Add(ReclaimDone{.reclaim = 4});
  Add(Finished{4});
  Add(Wake{}, {Admit{5}, Preempt{5}, Reject{.id = 5}, Cancelled{6}});
  const CheckedTrace trace = Trace();
  EXPECT_TRUE(trace.slices.empty());
  EXPECT_TRUE(trace.instants.empty());
}

}  // namespace
}  // namespace tidegate
