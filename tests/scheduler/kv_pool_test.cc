// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// KV blocks of an engine that reserved them when it started: a budget beside
// the bytes.

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/testing/hand_driven_scheduler.h"
#include "tests/testing/matchers.h"

namespace tidegate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::tidegate::testing::HandDrivenScheduler;
using ::tidegate::testing::StatusIs;

// 100 blocks of 16 tokens: 1600 tokens.
class KvPoolTest : public HandDrivenScheduler {
 protected:
  KvPoolTest() {
    options_.kv_pool = {.blocks = 100, .block_tokens = 16};
    options_.step.decode = StepShape::Decode::kMixed;
    options_.chunk = {.max = 512, .floor = 16, .quantum = 16};
  }
  std::vector<Action> Ran(std::vector<RequestId> finished = {}) {
    StepDone done{.step = std::exchange(running_, std::nullopt)->step};
    for (const RequestId id : finished) done.decodes.push_back({id, 1, true});
    return Send(done);
  }
  KvBlocks Blocks() { return scheduler().Stats().kv_blocks; }
};

TEST_F(KvPoolTest, SequencesTakeBlocksAndNoBytes) {
  Submit(1, 100, 20);
  EXPECT_EQ(running_->price.resident_bytes, 0);
  EXPECT_GT(running_->price.transient_bytes, 0);
  Ran();
  EXPECT_EQ(Blocks().held, 7);  // ceil(100 / 16)
  EXPECT_EQ(scheduler().Stats().resident_bytes, 0);
}

TEST_F(KvPoolTest, AdmissionPromisesBlocksOfPromptAndOutput) {
  const std::vector<Action> actions = Submit(1, 100, 20);
  ASSERT_THAT(Of<Admit>(actions), SizeIs(1));
  EXPECT_EQ(Of<Admit>(actions)[0].claim_blocks, 8);  // ceil(120 / 16)
  EXPECT_EQ(Of<Admit>(actions)[0].claim_bytes, 0);
}

// vllm #39734: a queue behind a request that the pool can never hold.
TEST_F(KvPoolTest, WhatIsLargerThanThePoolIsRefusedOnArrivalInBlocks) {
  const std::vector<Action> actions = Submit(1, 1590, 30);
  ASSERT_THAT(Of<Reject>(actions), SizeIs(1));
  const Reject reject = Of<Reject>(actions)[0];
  EXPECT_EQ(reject.code, RefusalCode::kTooLarge);
  EXPECT_EQ(reject.arithmetic.unit, Unit::kKvBlocks);
  EXPECT_EQ(reject.largest_prompt_that_fits, 1570);
  EXPECT_THAT(reject.reason, HasSubstr("102 blocks resident"));
  EXPECT_THAT(reject.reason, HasSubstr("100 blocks ceiling"));
}

TEST_F(KvPoolTest, AFullPoolWithoutOutputIsUsedToItsLastBlock) {
  Submit(1, 1600);
  while (running_.has_value() && !running_->chunks.empty()) Ran();
  EXPECT_EQ(Blocks().held, 100);
  EXPECT_EQ(scheduler().Stats().rejected, 0);
}

TEST_F(KvPoolTest, WhoFindsNoBlocksWaitsForAnEnd) {
  Submit(1, 800, 100);
  Submit(2, 800, 100);
  Ran();
  Ran();  // the prompt of 1, whose 57 blocks are its own
  EXPECT_EQ(scheduler().Stats().waiting, 1);
  EXPECT_THAT(running_->decodes, ElementsAre(1));
  const std::vector<Action> actions = Ran({1});
  ASSERT_THAT(Of<Admit>(actions), SizeIs(1));
  EXPECT_EQ(Of<Admit>(actions)[0].id, 2);
}

TEST_F(KvPoolTest, BlocksComeBackWithEveryEnd) {
  Submit(1, 400, 50);
  Submit(2, 400, 50);
  Ran();
  Send(Cancel{1});
  Ran();
  Ran({2});
  EXPECT_EQ(Blocks().held, 0);
  EXPECT_EQ(Blocks().claims, 0);
}

TEST_F(KvPoolTest, BytesStillBindWhereBlocksAreFree) {
  options_.memory.ceiling = 600;  // a step of 4 bytes a token
  Submit(1, 1000);
  ASSERT_TRUE(running_.has_value());
  EXPECT_LE(running_->price.transient_bytes, 600);
  EXPECT_EQ(running_->chunks[0].bound, Bound::kMemory);
}

TEST_F(KvPoolTest, BlocksThatOthersUseAreNotPromised) {
  scheduler();
  Send(MemoryReading{.live_bytes = {}, .kv_blocks = 60});
  Submit(1, 800);
  EXPECT_FALSE(running_.has_value());
  Send(MemoryReading{.live_bytes = {}, .kv_blocks = 40});
  ASSERT_TRUE(running_.has_value());
  EXPECT_EQ(Blocks().used, 40);
}

TEST_F(KvPoolTest, WhoWaitsForBlocksThatNobodyGivesBackIsAnswered) {
  scheduler();
  Send(MemoryReading{.live_bytes = {}, .kv_blocks = 60});
  const std::vector<Action> waits = Submit(1, 800);
  ASSERT_THAT(Of<WakeAt>(waits), SizeIs(1));
  Advance(std::chrono::seconds(31));
  const std::vector<Action> actions = Send(Wake{});
  ASSERT_THAT(Of<Reject>(actions), SizeIs(1));
  EXPECT_EQ(Of<Reject>(actions)[0].code, RefusalCode::kOverloaded);
  EXPECT_THAT(Of<Reject>(actions)[0].reason, HasSubstr("KV pool has 40"));
}

TEST_F(KvPoolTest, ASharedPrefixIsChargedOnce) {
  Send(Arrive{.id = 1,
              .request = {.prompt_tokens = 1200, .cached_tokens = 800},
              .prefix_blocks = 50});
  // Its prefix is the same one, and pinned already.
  Send(Arrive{.id = 2,
              .request = {.prompt_tokens = 1100, .cached_tokens = 800}});
  EXPECT_EQ(Blocks().held, 50);
  EXPECT_EQ(scheduler().Stats().waiting, 1);  // behind the first one's prompt
  Ran();
  EXPECT_EQ(scheduler().Stats().waiting, 0);
  EXPECT_EQ(Blocks().held + Blocks().claims, 50 + 25 + 19);
}

TEST_F(KvPoolTest, OptimistsWhoOutgrowThePoolMakeWay) {
  options_.admission_policy = "optimistic";
  options_.kv_pool.blocks = 20;
  // Those before used hardly any of their output.
  for (RequestId id = 100; id < 170; ++id) {
    Submit(id, 16, 300);
    Ran();
    while (running_.has_value()) Ran({id});
  }
  Submit(1, 100, 200);
  Submit(2, 100, 200);
  std::int64_t steps = 0;
  std::map<RequestId, int> decoded;
  while (scheduler().Stats().finished < 72) {
    ASSERT_LT(++steps, 3000);
    ASSERT_LE(Blocks().held, 20);
    if (!running_.has_value()) {
      Advance(std::chrono::seconds(1));
      Send(Wake{});
      continue;
    }
    std::vector<RequestId> finished;
    for (const RequestId id : running_->decodes) {
      if (++decoded[id] >= 199) finished.push_back(id);
    }
    for (const Preempt& preempt : Of<Preempt>(Ran(finished))) {
      decoded[preempt.id] = 0;
    }
  }
  EXPECT_EQ(scheduler().Stats().finished, 72);
  EXPECT_GE(scheduler().Stats().preemptions, 1);
}

TEST_F(KvPoolTest, ABankerOfBlocksAdmitsWhatCanFinishInSomeOrder) {
  options_.admission_policy = "bankers";
  Submit(1, 900);
  Submit(2, 900);
  Ran();
  std::int64_t steps = 0;
  while (running_.has_value()) {
    ASSERT_LT(++steps, 200);
    ASSERT_LE(Blocks().held, 100);
    std::vector<RequestId> finished = running_->decodes;
    for (const StepChunk& chunk : running_->chunks) {
      if (chunk.kv_len == 900) finished.push_back(chunk.id);
    }
    Ran(finished);
  }
  EXPECT_EQ(scheduler().Stats().finished, 2);
}

TEST_F(KvPoolTest, AnImageTakesBytesAndNoBlocks) {
  PlanRequest request{.prompt_tokens = 300};
  request.encodes.push_back({.start = 10,
                             .length = 200,
                             .transient_bytes = 3000,
                             .output_bytes = 2000});
  Send(Arrive{.id = 1, .request = request});
  ASSERT_TRUE(running_.has_value());
  EXPECT_THAT(running_->encodes, SizeIs(1));
  Ran();
  EXPECT_EQ(Blocks().held, 19);
}

TEST_F(KvPoolTest, ThePoolIsTheOneThatTheEngineStartedWith) {
  scheduler();
  auto other = std::make_shared<SchedulerOptions>(options_);
  other->kv_pool.blocks = 200;
  EXPECT_THAT(Refused(PolicyChanged{other}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("kv_pool: expected the pool")));
}

TEST_F(KvPoolTest, BlocksOfNoPoolAreRefused) {
  options_.kv_pool = {};
  scheduler();
  EXPECT_THAT(Refused(MemoryReading{.live_bytes = {10}, .kv_blocks = 3}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("kv_blocks: expected none")));
}

}  // namespace
}  // namespace tidegate
