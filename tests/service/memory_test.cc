// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What the service reads of memory, when, and what it makes of it.

#include <atomic>
#include <utility>

#include "tests/service/harness.h"

namespace tidegate {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::tidegate::testing::Eventually;

// Live memory as tests set it: one device, or an error.
class MemoryTest : public testing::ServiceFixture {
 protected:
  // Before what the probe reads goes.
  ~MemoryTest() override {
    service_.reset();
    threads_.Join();
  }
  static MemoryProbeReading Used(std::vector<Bytes> used) {
    MemoryProbeReading reading;
    for (const Bytes bytes : used) {
      reading.devices.push_back({.name = "test",
                                 .used_bytes = bytes,
                                 .limit_bytes = {},
                                 .process_bytes = {}});
    }
    return reading;
  }
  void Set(absl::StatusOr<MemoryProbeReading> reading) {
    const std::lock_guard lock(mutex_);
    reading_ = std::move(reading);
  }
  void UseProbe() {
    auto probe = CreateMemoryProbe("callback", {.callback = [this] {
                                     ++reads_;
                                     const std::lock_guard lock(mutex_);
                                     return reading_;
                                   }});
    ASSERT_THAT(probe, testing::IsOk());
    options_.probe = *std::move(probe);
  }

  std::atomic<int> reads_{0};

 private:
  std::mutex mutex_;
  absl::StatusOr<MemoryProbeReading> reading_ = Used({0});
};

TEST_F(MemoryTest, WithoutAProbeMemoryIsOff) {
  auto client = Submit(1, 2000);
  engine_->TakeStep();
  EXPECT_TRUE(Eventually([&] { return service().Metrics().open == 1; }));
  EXPECT_EQ(service().Metrics().memory_state, ProbeState::kOff);
  EXPECT_EQ(service().Metrics().probe_reads, 0);
}

TEST_F(MemoryTest, ZeroIsANumber) {
  UseProbe();
  auto client = Submit(1, 2000);
  auto step = engine_->TakeStep();
  ASSERT_TRUE(EventuallyOpen(1));
  const ServiceMetrics metrics = service().Metrics();
  EXPECT_EQ(metrics.memory_state, ProbeState::kKnown);
  ASSERT_EQ(metrics.memory.size(), 1u);
  EXPECT_EQ(metrics.memory[0].used_bytes, 0);
}

TEST_F(MemoryTest, AnUnknownReadingIsCountedAndChangesNothing) {
  UseProbe();
  Set(absl::UnavailableError("no driver"));
  auto client = Submit(1, 2000);
  EXPECT_EQ(engine_->TakeStep().step.chunks[0].n, 1024);
  ASSERT_TRUE(EventuallyOpen(1));
  const ServiceMetrics metrics = service().Metrics();
  EXPECT_EQ(metrics.memory_state, ProbeState::kUnknown);
  EXPECT_GE(metrics.probe_failures, 1);
  EXPECT_THAT(metrics.probe_error, HasSubstr("no driver"));
  EXPECT_TRUE(metrics.memory.empty());
}

TEST_F(MemoryTest, TheFirstChunkIsDecidedOnAFreshReading) {
  UseProbe();
  // 2,000 bytes of room; each token takes five.
  Set(Used({8000}));
  auto client = Submit(1, 1000);
  EXPECT_EQ(engine_->TakeStep().step.chunks[0].n, 384);
}

TEST_F(MemoryTest, TheFullestDeviceDecides) {
  UseProbe();
  Set(Used({0, 8000, 100}));
  auto client = Submit(1, 1000);
  EXPECT_EQ(engine_->TakeStep().step.chunks[0].n, 384);
}

TEST_F(MemoryTest, AStepWithoutAMeasurementIsFollowedByAReading) {
  UseProbe();
  auto client = Submit(1, 9000);
  auto step = engine_->TakeStep();
  EXPECT_EQ(step.step.chunks[0].n, 1024);
  Set(Used({1024 + 6676}));
  step.done.Complete(StepOutcome::Done());
  step = engine_->TakeStep();
  EXPECT_EQ(step.step.chunks[0].n, 448);
  EXPECT_EQ(step.step.chunks[0].bound, Bound::kMemory);
}

TEST_F(MemoryTest, AnEngineThatMeasuredIsBelievedInstead) {
  UseProbe();
  auto client = Submit(1, 9000);
  auto step = engine_->TakeStep();
  const int before = reads_;
  step.done.Complete(StepOutcome::Done({.live_bytes = {1024 + 6676}}));
  step = engine_->TakeStep();  // Kept: a dropped step would be read after.
  EXPECT_EQ(step.step.chunks[0].n, 448);
  EXPECT_EQ(reads_, before);
}

TEST_F(MemoryTest, NothingIsReadWhileAStepRuns) {
  UseProbe();
  auto client = Submit(1, 9000);
  auto step = engine_->TakeStep();
  const int before = reads_;
  clock_->Advance(seconds(10));
  service().Tell(CeilingChanged{10'000});
  auto refused = Submit(2, 20'000);
  refused.Get();
  EXPECT_EQ(reads_, before);
}

TEST_F(MemoryTest, WhileRequestsWaitMemoryIsReadAtTheInterval) {
  UseProbe();
  options_.probe_interval = milliseconds(100);
  Submit(9, 20'000).Get();  // Never fits; the device is seen empty.
  clock_->Advance(milliseconds(100));
  // Another program takes memory for a while: the request waits for it.
  Set(Used({9900}));
  auto client = Submit(1, 1000);
  ASSERT_TRUE(EventuallyOpen(1));
  Set(Used({0}));
  ASSERT_TRUE(Eventually([&] { return clock_->armed(); }));
  clock_->Advance(milliseconds(100));
  EXPECT_EQ(engine_->TakeStep().step.chunks[0].n, 1000);
}

TEST_F(MemoryTest, AnEngineMayReadMemoryItself) {
  engine_->on_read =
      [&]() -> absl::StatusOr<std::optional<MemoryProbeReading>> {
    return Used({8000});
  };
  auto client = Submit(1, 1000);
  EXPECT_EQ(engine_->TakeStep().step.chunks[0].n, 384);
}

TEST_F(MemoryTest, AReadThatThrowsIsUnknown) {
  engine_->on_read =
      [&]() -> absl::StatusOr<std::optional<MemoryProbeReading>> {
    throw std::runtime_error("driver gone");
  };
  auto client = Submit(1, 1000);
  EXPECT_EQ(engine_->TakeStep().step.chunks[0].n, 1000);
  ASSERT_TRUE(EventuallyOpen(1));
  EXPECT_EQ(service().Metrics().memory_state, ProbeState::kUnknown);
  EXPECT_THAT(service().Metrics().probe_error, HasSubstr("driver gone"));
}

TEST_F(MemoryTest, AReclaimIsFollowedByAReadingThatShowsIt) {
  UseProbe();
  Set(Used({6000}));
  service().Tell(Reclaimable{.kind = "pool", .bytes = 6000});
  auto client = Submit(1, 2000);
  auto reclaim = engine_->TakeReclaim();
  EXPECT_EQ(reclaim.what.kind, "pool");
  EXPECT_EQ(reclaim.what.bytes, 6000);
  Set(Used({0}));
  reclaim.done.Complete({.freed_bytes = 6000, .reclaimable_bytes = 0});
  EXPECT_EQ(engine_->TakeStep().step.chunks[0].n, 1024);
}

TEST_F(MemoryTest, ADroppedReclaimFreedNothingAndIsNotAskedAgain) {
  options_.scheduler.memory.base = 6000;
  service().Tell(Reclaimable{.kind = "pool", .bytes = 6000});
  auto client = Submit(1, 2000);
  { auto dropped = engine_->TakeReclaim(); }
  // The chunk is narrowed instead.
  EXPECT_EQ(engine_->TakeStep().step.chunks[0].n, 768);
  EXPECT_EQ(service().Metrics().scheduler.reclaims, 1);
}

}  // namespace
}  // namespace tidegate
