// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Known, unknown and off are three states: in what the scheduler decides, in
// when memory is read again, and in the metrics. And what a service does with
// a counter that stands still or lags.

#include <string>

#include "tests/service/harness.h"
#include "tests/testing/scripted_memory.h"

namespace tidegate {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::tidegate::testing::Answers;
using ::tidegate::testing::Eventually;

// A request of 1,000 tokens on 10,000 bytes, five a token: with 8,000 bytes
// live the first chunk has 384 tokens, on an empty device 1,000.
class MemoryStatesTest : public testing::ServiceFixture {
 protected:
  MemoryStatesTest() { options_.probe_interval = milliseconds(100); }
  // Before what the probe reads goes.
  ~MemoryStatesTest() override {
    service_.reset();
    threads_.Join();
  }
  void UseProbe() { options_.probe = memory_.Probe(); }
  void UseEngine() {
    engine_->on_read = [this] { return memory_.Read(); };
  }
  Tokens FirstChunk() {
    clients_.push_back(Submit(1, 1000));
    steps_.push_back(engine_->TakeStep());
    EXPECT_TRUE(EventuallyOpen(1));
    return steps_.back().step.chunks[0].n;
  }
  // After the clock moved so far that a reading is due.
  bool ReadsAgain() {
    const int before = memory_.reads();
    if (!Eventually([&] { return clock_->armed(); })) return false;
    clock_->Advance(milliseconds(100));
    return Eventually([&] { return memory_.reads() > before; });
  }
  bool EventuallyIs(ProbeState state) {
    return Eventually(
        [&] { return service().Metrics().memory_state == state; });
  }
  // A request that waits for memory that somebody else has.
  void SubmitOneThatWaits() {
    Submit(9, 20'000).Get();  // Never fits; the device is seen empty.
    clock_->Advance(milliseconds(100));
    memory_.Hold({9900});
    clients_.push_back(Submit(1, 1000));
    ASSERT_TRUE(EventuallyOpen(1));
    ASSERT_EQ(engine_->steps(), 0u);
  }
  std::string Text() { return PrometheusText(service().Metrics()); }

  testing::ScriptedMemory memory_;
  std::deque<testing::ClientCall> clients_;
  std::deque<testing::HandEngine::Step> steps_;
};

TEST_F(MemoryStatesTest, WhatIsKnownDecides) {
  UseProbe();
  memory_.Hold({8000});
  EXPECT_EQ(FirstChunk(), 384);
  EXPECT_THAT(
      Text(),
      AllOf(HasSubstr("tidegate_memory_state{state=\"known\"} 1\n"),
            HasSubstr("tidegate_memory_state{state=\"unknown\"} 0\n"),
            HasSubstr("tidegate_memory_state{state=\"off\"} 0\n"),
            HasSubstr("memory_used_bytes{device=\"scripted:0\"} 8000\n"),
            HasSubstr("tidegate_probe_failures_total 0\n")));
}

TEST_F(MemoryStatesTest, WhatIsUnknownLeavesTheBase) {
  UseProbe();
  options_.scheduler.memory.base = 7000;
  memory_.Script({Answers::kUnknown});
  // 3,000 bytes of room: neither those of a device of zero nor of none.
  EXPECT_EQ(FirstChunk(), 576);
  EXPECT_THAT(Text(),
              AllOf(HasSubstr("tidegate_memory_state{state=\"known\"} 0\n"),
                    HasSubstr("tidegate_memory_state{state=\"unknown\"} 1\n"),
                    HasSubstr("tidegate_probe_reads_total 1\n"),
                    HasSubstr("tidegate_probe_failures_total 1\n"),
                    Not(HasSubstr("memory_used_bytes"))));
}

TEST_F(MemoryStatesTest, WhatBecomesUnknownLeavesTheLastReading) {
  UseProbe();
  memory_.Script({Answers::kKnown, Answers::kUnknown});
  memory_.Hold({8000});
  EXPECT_EQ(FirstChunk(), 384);
  memory_.Hold({0});
  steps_.back().done.Complete(StepOutcome::Done());
  // 8,000 live and 384 of the step: 1,616 of room.
  steps_.push_back(engine_->TakeStep());
  EXPECT_LT(steps_.back().step.chunks[0].n, 384);
  ASSERT_TRUE(EventuallyIs(ProbeState::kUnknown));
  EXPECT_THAT(
      Text(),
      AllOf(HasSubstr("tidegate_memory_state{state=\"unknown\"} 1\n"),
            HasSubstr("memory_used_bytes{device=\"scripted:0\"} 8000\n"),
            HasSubstr("tidegate_probe_failures_total 1\n")));
}

TEST_F(MemoryStatesTest, WhatIsOffIsNotReadAndCounted) {
  UseEngine();
  memory_.Script({Answers::kOff});
  options_.scheduler.memory.base = 7000;
  memory_.Hold({9900});
  EXPECT_EQ(FirstChunk(), 576);
  EXPECT_THAT(Text(),
              AllOf(HasSubstr("tidegate_memory_state{state=\"off\"} 1\n"),
                    HasSubstr("tidegate_memory_state{state=\"unknown\"} 0\n"),
                    HasSubstr("tidegate_probe_reads_total 0\n"),
                    HasSubstr("tidegate_probe_failures_total 0\n"),
                    Not(HasSubstr("memory_used_bytes"))));
}

TEST_F(MemoryStatesTest, WhatIsUnknownIsReadAgainAtTheInterval) {
  UseEngine();
  memory_.Script({Answers::kKnown, Answers::kKnown, Answers::kUnknown});
  SubmitOneThatWaits();
  ASSERT_TRUE(ReadsAgain());
  ASSERT_TRUE(EventuallyIs(ProbeState::kUnknown));
  // The last known reading left no room and is still in force.
  EXPECT_EQ(engine_->steps(), 0u);
  memory_.Script({Answers::kKnown});
  memory_.Hold({0});
  ASSERT_TRUE(ReadsAgain());
  EXPECT_EQ(engine_->TakeStep().step.chunks[0].n, 1000);
}

TEST_F(MemoryStatesTest, WhatIsOffIsNotReadAgain) {
  UseEngine();
  memory_.Script({Answers::kKnown, Answers::kKnown, Answers::kOff});
  SubmitOneThatWaits();
  ASSERT_TRUE(ReadsAgain());
  ASSERT_TRUE(EventuallyIs(ProbeState::kOff));
  EXPECT_EQ(engine_->steps(), 0u);
  memory_.Script({Answers::kKnown});
  memory_.Hold({0});
  const int before = memory_.reads();
  for (int i = 0; i < 10; ++i) clock_->Advance(milliseconds(100));
  // Answered after whatever the clock rang.
  clients_.back().Cancel();
  clients_.back().Get();
  EXPECT_EQ(memory_.reads(), before);
}

TEST_F(MemoryStatesTest, AFrozenCounterHoldsARequestBack) {
  UseProbe();
  memory_.Script({Answers::kKnown, Answers::kKnown, Answers::kFrozen});
  SubmitOneThatWaits();
  memory_.Hold({0});
  ASSERT_TRUE(ReadsAgain());
  ASSERT_TRUE(ReadsAgain());
  EXPECT_EQ(engine_->steps(), 0u);
  EXPECT_THAT(Text(),
              AllOf(HasSubstr("memory_used_bytes{device=\"scripted:0\"} "
                              "9900\n"),
                    HasSubstr("tidegate_requests_waiting 1\n"),
                    HasSubstr("tidegate_probe_failures_total 0\n")));
  memory_.Script({Answers::kKnown});
  ASSERT_TRUE(ReadsAgain());
  EXPECT_EQ(engine_->TakeStep().step.chunks[0].n, 1000);
}

TEST_F(MemoryStatesTest, ACounterThatLagsIsWaitedFor) {
  UseProbe();
  SubmitOneThatWaits();
  memory_.LagBehind(1);
  memory_.Hold({0});
  ASSERT_TRUE(ReadsAgain());  // Still what was held before.
  EXPECT_EQ(engine_->steps(), 0u);
  memory_.Hold({0});
  ASSERT_TRUE(ReadsAgain());
  EXPECT_EQ(engine_->TakeStep().step.chunks[0].n, 1000);
}

}  // namespace
}  // namespace tidegate
