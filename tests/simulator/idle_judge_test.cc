// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The judge of work conservation: it accuses whoever leaves the device idle,
// and nobody else.

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "simulator/driver.h"
#include "tests/testing/worlds.h"
#include "tidegate/policy.h"

namespace tidegate {
namespace {

using internal::ArriveInput;
using internal::Driver;
using internal::DriverOptions;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::kWorldGiB;
using testing::StatusIs;
using testing::UnfusedWorld;

// `reserve`, which lets nobody in.
class NobodyStarts final : public AdmissionPolicy {
 public:
  NobodyStarts() : reserve_(*CreateAdmissionPolicy("reserve")) {}
  std::string_view Name() const override { return "nobody_starts"; }
  absl::StatusOr<Answer> Decide(const Question& question) const override {
    absl::StatusOr<Answer> answer = reserve_->Decide(question);
    if (answer.ok()) answer->verdict = Verdict::kWait;
    return answer;
  }
  bool MayGrow(const Question& question, Tokens n,
               Bytes resident) const override {
    return reserve_->MayGrow(question, n, resident);
  }
  Bytes DecodeClaim(const Estimator& estimator, const RequestView& request,
                    std::int64_t share) const override {
    return reserve_->DecodeClaim(estimator, request, share);
  }

 private:
  std::unique_ptr<AdmissionPolicy> reserve_;
};

// `throttle`, which rests after the first chunk of a prompt.
class OneChunkIsEnough final : public ChunkPolicy {
 public:
  OneChunkIsEnough() : throttle_(*CreateChunkPolicy("throttle")) {}
  std::string_view Name() const override { return "one_chunk_is_enough"; }
  ChunkLimits Reachable(const ChunkLimits& limits) const override {
    return throttle_->Reachable(limits);
  }
  Choice Next(const Question& question) const override {
    return question.request.done > 0 ? Choice{} : throttle_->Next(question);
  }

 private:
  std::unique_ptr<ChunkPolicy> throttle_;
};

// One prompt on a device that has ample room for it.
DriverOptions OnePrompt() {
  const SimulatorOptions world = UnfusedWorld(40 * kWorldGiB);
  DriverOptions options;
  options.scheduler = world.scheduler;
  options.world.options = world.world;
  options.world.options.truth = world.scheduler.estimator;
  options.world.ceiling = world.scheduler.memory.ceiling;
  options.world.base = world.scheduler.memory.base;
  internal::DrivenRequest request;
  request.arrive.request = {.prompt_tokens = 10'000, .max_output_tokens = 1};
  request.output_tokens = 1;
  options.requests.push_back(std::move(request));
  options.inputs.push_back({Instant{}, ArriveInput{0}});
  options.custom_conserve = true;
  return options;
}

TEST(IdleJudgeTest, AnAdmissionThatLetsNobodyInIsFoundOut) {
  DriverOptions options = OnePrompt();
  options.scheduler.custom_admission = std::make_shared<NobodyStarts>();
  EXPECT_THAT(Driver(options).Run(),
              StatusIs(absl::StatusCode::kInternal,
                       HasSubstr("the device was idle since 0 ns although a "
                                 "chunk of request 1 fits")));
}

TEST(IdleJudgeTest, AChunkPolicyThatRestsAmidAPromptIsFoundOut) {
  DriverOptions options = OnePrompt();
  options.scheduler.custom_chunk = std::make_shared<OneChunkIsEnough>();
  EXPECT_THAT(Driver(options).Run(),
              StatusIs(absl::StatusCode::kInternal,
                       HasSubstr("although a chunk of request 1 fits")));
}

TEST(IdleJudgeTest, RulesThatAreNotBuiltInMayWaitUnlessTheyAreHeldToIt) {
  DriverOptions options = OnePrompt();
  options.scheduler.custom_admission = std::make_shared<NobodyStarts>();
  options.custom_conserve = false;
  Driver driver(options);
  ASSERT_THAT(driver.Run(), IsOk());
  EXPECT_EQ(driver.requests()[0].outcome, internal::Outcome::kRejected);
}

TEST(IdleJudgeTest, WhoGoesOnIsNotAccused) {
  Driver driver(OnePrompt());
  ASSERT_THAT(driver.Run(), IsOk());
  EXPECT_EQ(driver.requests()[0].outcome, internal::Outcome::kFinished);
}

// Requests whose short answers let the optimistic admission promise little, and
// then some that use their whole budget and outgrow the pool of KV blocks.
SimulationResult OutgrowThePool(std::int64_t blocks,
                                const std::vector<TraceRow>& rows) {
  SimulatorOptions options = UnfusedWorld(78 * kWorldGiB);
  options.scheduler.memory.base = 40 * kWorldGiB;
  options.scheduler.kv_pool = {.blocks = blocks};
  options.scheduler.chunk = {.max = 64, .floor = 64, .quantum = 64};
  options.scheduler.step.sequences = 64;
  options.scheduler.admission_policy = "optimistic";
  options.scheduler.order_policy = "fcfs";
  options.max_output_tokens = 1'000;
  Trace trace;
  for (int i = 0; i < 10; ++i) {
    trace.rows.push_back({.arrival = Instant(std::chrono::milliseconds(10 * i)),
                          .prompt_tokens = 64,
                          .output_tokens = 8});
  }
  trace.rows.insert(trace.rows.end(), rows.begin(), rows.end());
  for (std::size_t i = 0; i < trace.rows.size(); ++i) {
    trace.rows[i].session = static_cast<std::int64_t>(i);
  }
  return testing::PlayWorld("", trace, options);
}

TraceRow At(int ms, Tokens prompt) {
  return {.arrival = Instant(std::chrono::milliseconds(ms)),
          .prompt_tokens = prompt,
          .output_tokens = 300};
}

// For up to five seconds nobody has a block, while bytes are ample.
TEST(IdleJudgeTest, APromptThatLacksBlocksOfThePoolMayWait) {
  std::vector<TraceRow> rows;
  for (int i = 0; i < 20; ++i) rows.push_back(At(20'000 + 50 * i, 64));
  rows.push_back(At(24'000, 1'000));
  EXPECT_EQ(OutgrowThePool(300, rows).finished, 31);
}

// Decode tokens in a step take blocks that no claim of theirs pays for.
TEST(IdleJudgeTest, AChunkLeavesTheBlocksOfTheDecodeTokensBesideIt) {
  EXPECT_EQ(
      OutgrowThePool(260, {At(20'005, 128), At(20'006, 64), At(20'343, 64),
                           At(20'547, 16), At(20'736, 128), At(20'746, 64),
                           At(20'811, 128), At(21'425, 3'000)})
          .finished,
      18);
}

}  // namespace
}  // namespace tidegate
