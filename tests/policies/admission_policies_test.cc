// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <memory>
#include <vector>

#include "tests/testing/fake_estimator.h"
#include "tests/testing/matchers.h"
#include "tidegate/policy.h"

namespace tidegate {
namespace {

using ::tidegate::testing::FakeEstimator;
using ::tidegate::testing::IsOk;
using ::tidegate::testing::StatusIs;

// One byte of KV and four of transient a token, 10,000 bytes under the ceiling.
class ReserveTest : public ::testing::Test {
 protected:
  ReserveTest() { estimator_.kernels = {{.n_last = kTokensMax, .per_n = 4}}; }

  AdmissionPolicy::Answer Decide(const PlanRequest& request) {
    const RequestView view{
        .id = 1, .request = &request, .done = request.cached_tokens};
    auto policy = CreateAdmissionPolicy("reserve");
    EXPECT_THAT(policy, IsOk());
    auto answer = (*policy)->Decide({.estimator = estimator_,
                                     .request = view,
                                     .memory = memory_,
                                     .limits = limits_,
                                     .admitted = prefilling_});
    EXPECT_THAT(answer, IsOk());
    return *std::move(answer);
  }

  FakeEstimator estimator_;
  MemoryView memory_{.limits = {.ceiling = 10'000}};
  ChunkLimits limits_{.max = 1024, .floor = 64, .quantum = 64};
  std::vector<RequestView> prefilling_;
};

TEST_F(ReserveTest, ClaimsThePromptAndTheOutputBudget) {
  const auto answer = Decide({.prompt_tokens = 3000, .max_output_tokens = 500});
  EXPECT_EQ(answer.verdict, Verdict::kAdmit);
  EXPECT_EQ(answer.claim, 3500);
}

TEST_F(ReserveTest, ClaimsNoCachedToken) {
  EXPECT_EQ(Decide({.prompt_tokens = 3000, .cached_tokens = 1000}).claim, 2000);
}

TEST_F(ReserveTest, ClaimsTheWidestChunkThatAWindowMayKeep) {
  estimator_.kv_per_token = 0;
  estimator_.window = 64;
  estimator_.window_per_token = 2;
  EXPECT_EQ(Decide({.prompt_tokens = 3000}).claim, 2 * (63 + 1024));
}

TEST_F(ReserveTest, WaitsWhileOthersHoldWhatItNeeds) {
  memory_.limits.base = 8'000;
  EXPECT_EQ(Decide({.prompt_tokens = 3000}).verdict, Verdict::kWait);
}

TEST_F(ReserveTest, WaitsWhileOthersWerePromisedWhatItNeeds) {
  memory_.claimed = 8'000;
  EXPECT_EQ(Decide({.prompt_tokens = 3000}).verdict, Verdict::kWait);
}

TEST_F(ReserveTest, RejectsWhatAnIdleDeviceCouldNotRun) {
  memory_.idle_base = 8'000;
  memory_.limits.base = 8'000;
  const auto answer = Decide({.prompt_tokens = 3000});
  EXPECT_EQ(answer.verdict, Verdict::kReject);
  EXPECT_EQ(answer.plan.code, RefusalCode::kTooLarge);
  EXPECT_EQ(answer.plan.arithmetic.live, 8'000);
}

// The other one needs 64 tokens' transient beside its own last bytes: 256.
TEST_F(ReserveTest, WaitsWhenAPromptThatWasPromisedCouldNotFinishBesideIt) {
  const PlanRequest other{.prompt_tokens = 4032};
  prefilling_ = {{.id = 7,
                  .request = &other,
                  .done = 3968,
                  .last_chunk = 1024,
                  .admitted = true,
                  .claim = 64}};
  limits_ = {.max = 64, .floor = 64, .quantum = 64};
  memory_.limits.base = 3'968;
  memory_.claimed = 64;
  const PlanRequest small{.prompt_tokens = 10, .max_output_tokens = 5'702};
  EXPECT_EQ(Decide(small).verdict, Verdict::kAdmit);
  const PlanRequest larger{.prompt_tokens = 10, .max_output_tokens = 5'703};
  EXPECT_EQ(Decide(larger).verdict, Verdict::kWait);
}

TEST_F(ReserveTest, AContradictionIsAnError) {
  const PlanRequest request{.prompt_tokens = 0};
  const RequestView view{.id = 1, .request = &request};
  auto policy = CreateAdmissionPolicy("reserve");
  ASSERT_THAT(policy, IsOk());
  EXPECT_THAT((*policy)->Decide({.estimator = estimator_,
                                 .request = view,
                                 .memory = memory_,
                                 .limits = limits_,
                                 .admitted = prefilling_}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "prompt_tokens: expected 1 to 100000000, got 0"));
}

TEST_F(ReserveTest, AnUnknownNameIsAnError) {
  EXPECT_THAT(
      CreateAdmissionPolicy("greedy"),
      StatusIs(absl::StatusCode::kInvalidArgument,
               "admission.use: expected reserve, bankers or optimistic, "
               "got \"greedy\""));
}

}  // namespace
}  // namespace tidegate
