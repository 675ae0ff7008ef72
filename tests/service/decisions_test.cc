// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What a service tells of its decisions: lines, an observer, histograms.

#include <mutex>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/service/harness.h"
#include "tests/testing/trace_checker.h"
#include "tidegate/timeline.h"

namespace tidegate {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::tidegate::testing::Eventually;

class DecisionsTest : public testing::ServiceFixture {
 protected:
  ~DecisionsTest() override {
    service_.reset();
    threads_.Join();
  }
  // A prompt of two chunks and two tokens, half a second each.
  void ServeOne() {
    auto client = Submit(1, 1500, 10);
    for (int i = 0; i < 2; ++i) {
      auto step = engine_->TakeStep();
      clock_->Advance(milliseconds(500));
      step.done.Complete(StepOutcome::Done());
    }
    auto decode = engine_->TakeDecode();
    decode.handle.Generated(1);
    decode.handle.Generated(1);
    decode.handle.Finish();
    EXPECT_EQ(client.Get().outcome, Outcome::kFinished);
  }
};

TEST_F(DecisionsTest, TheLogHasALineForEachDecision) {
  std::mutex mutex;
  std::vector<std::string> lines;
  options_.decision_log = [&](std::string_view line) {
    const std::lock_guard lock(mutex);
    lines.emplace_back(line);
  };
  ServeOne();
  std::vector<std::string> told;
  const std::lock_guard lock(mutex);
  for (const std::string& line : lines) {
    const auto json = nlohmann::json::parse(line);
    std::string words = json["event"].get<std::string>();
    for (const auto& action : json["actions"]) {
      words += " " + action["action"].get<std::string>();
    }
    told.push_back(words);
  }
  // The tokens led to nothing.
  EXPECT_THAT(told, ElementsAre("arrive admit run_step", "step_done run_step",
                                "step_done start_decode", "finished"));
}

TEST_F(DecisionsTest, ATimelineIsFedByTheObserver) {
  std::string text;
  Timeline timeline(options_.scheduler.memory,
                    [&](std::string_view piece) { text += piece; });
  options_.on_decision = [&](const Decision& decision) {
    timeline.Add(decision);
  };
  ServeOne();
  service_.reset();
  threads_.Join();
  timeline.Finish();
  const testing::CheckedTrace trace(text);
  EXPECT_THAT(trace.Story("request 1"),
              ElementsAre("waiting", "admit", "prefill", "decoding"));
  EXPECT_EQ(trace.Slice("request 1").args["generated_tokens"], 2);
  EXPECT_EQ(trace.Slice("prefill").end, 1e6);
}

TEST_F(DecisionsTest, ALogThatThrowsIsCountedAndChangesNothing) {
  options_.decision_log = [](std::string_view) {
    throw std::runtime_error("disk full");
  };
  options_.on_decision = [](const Decision&) { throw 1; };
  ServeOne();
  EXPECT_TRUE(Eventually([&] { return service().Metrics().open == 0; }));
  // Four lines and six events, the two tokens among them.
  EXPECT_EQ(service().Metrics().engine_exceptions, 4 + 6);
}

TEST_F(DecisionsTest, HistogramsHaveWidthsTimesAndRoom) {
  ServeOne();
  const std::string text = PrometheusText(service().Metrics());
  for (const char* sample :
       {"chunk_tokens_bucket{le=\"512\"} 1\n",
        "chunk_tokens_bucket{le=\"1024\"} 2\n", "chunk_tokens_sum 1500\n",
        "step_duration_seconds_bucket{le=\"0.25\"} 0\n",
        "step_duration_seconds_bucket{le=\"0.5\"} 2\n",
        "step_duration_seconds_sum 1\n", "time_to_admission_seconds_sum 0\n",
        "time_to_admission_seconds_count 1\n",
        "time_to_first_token_seconds_sum 1\n",
        "time_to_first_token_seconds_count 1\n",
        // 10,000, and 1,024 less for the second.
        "step_room_bytes_sum 18976\n", "room_bytes 8976\n"}) {
    EXPECT_THAT(text, HasSubstr(std::string("tidegate_") + sample));
  }
}

TEST_F(DecisionsTest, AFirstTokenIsCountedOnceThoughItIsComputedAgain) {
  options_.scheduler.order_policy = "fair";
  auto first = Submit(1, 1000, 1000);
  engine_->TakeStep().done.Complete(StepOutcome::Done());
  auto decode = engine_->TakeDecode();
  auto second = Submit(2, 3000);
  auto step = engine_->TakeStep();
  // Room for neither while both are there.
  service().Tell(CeilingChanged{3400});
  const auto go_on = [&] {
    if (clock_->armed()) clock_->Advance(seconds(1));
    step.done.Complete(StepOutcome::Done());
    std::this_thread::yield();
    if (engine_->steps() > 0) step = engine_->TakeStep();
  };
  while (engine_->preemptions() == 0) go_on();
  ASSERT_EQ(engine_->TakePreempted(), 1u);
  service().Tell(CeilingChanged{10'000});
  while (service().Metrics().prompt_tokens < 1000 + 3000 + 1000) go_on();
  EXPECT_EQ(service().Metrics().seconds_to_first_token.count(), 2);
  EXPECT_EQ(service().Metrics().seconds_to_admission.count(), 2);
}

}  // namespace
}  // namespace tidegate
