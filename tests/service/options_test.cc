// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A service as a policy file asks for it.

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/service/harness.h"

namespace tidegate {
namespace {

using ::tidegate::testing::IsOk;
using ::tidegate::testing::StatusIs;

absl::StatusOr<ServiceOptions> Options(const std::string& memory,
                                       const MemoryProbeOptions& probe = {}) {
  const auto policy = ParsePolicyFile("[memory]\n" + memory, "p.toml");
  if (!policy.ok()) return policy.status();
  return MakeServiceOptions(*policy, testing::SmallEstimator(), 7, probe);
}

TEST(MakeServiceOptionsTest, ThePolicyNamesTheProbe) {
  for (const char* name : {"nvml", "amdgpu", "amdgpu_gtt", "cgroup", "proc"}) {
    const auto options =
        Options("ceiling = 10000\nprobe = \"" + std::string(name) + "\"\n");
    ASSERT_THAT(options, IsOk());
    ASSERT_NE(options->probe, nullptr);
    EXPECT_EQ(options->probe->Name(), name);
  }
}

TEST(MakeServiceOptionsTest, NoneAndNoWordAreNoProbe) {
  for (const char* line : {"", "probe = \"none\"\n"}) {
    const auto options = Options(std::string("ceiling = 10000\n") + line);
    ASSERT_THAT(options, IsOk());
    EXPECT_EQ(options->probe, nullptr);
  }
}

TEST(MakeServiceOptionsTest, TheSchedulerIsThatOfThePolicy) {
  const auto options = Options("ceiling = 10000\nheadroom = 100\n");
  ASSERT_THAT(options, IsOk());
  EXPECT_EQ(options->scheduler.memory.ceiling, 10'000);
  EXPECT_EQ(options->scheduler.memory.headroom, 100);
  EXPECT_EQ(options->scheduler.memory.base, 7);
}

TEST(MakeServiceOptionsTest, WithoutACeilingThereAreNone) {
  EXPECT_THAT(Options("probe = \"proc\"\n"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       ::testing::HasSubstr("ceiling")));
}

TEST(MakeServiceOptionsTest, AProbeThatDoesNotExistIsNamed) {
  PolicyFile policy;
  policy.ceiling = 10'000;
  policy.probe = "nvlm";
  EXPECT_THAT(MakeServiceOptions(policy, testing::SmallEstimator(), 0),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       ::testing::HasSubstr("did you mean 'nvml'?")));
}

class PolicyServiceTest : public testing::ServiceFixture {};

TEST_F(PolicyServiceTest, ThePolicysProbeIsWhatDecides) {
  const std::filesystem::path root =
      std::filesystem::path(::testing::TempDir()) / "policy_service_test";
  std::filesystem::create_directories(root / "proc" / "self");
  std::ofstream(root / "proc" / "meminfo")
      << "MemTotal: 100 kB\nMemAvailable: 96 kB\n";
  std::ofstream(root / "proc" / "self" / "statm") << "765 32 404 5 0 123 0\n";
  auto options = Options(
      "ceiling = 10000\nprobe = \"proc\"\n[chunk]\n"
      "max = 1024\nfloor = 64\n",
      {.root = root.string()});
  ASSERT_THAT(options, IsOk());
  options_.scheduler = std::move(options->scheduler);
  options_.probe = std::move(options->probe);
  // 4,096 bytes are live, not 7: 5,904 of room and five bytes a token.
  auto client = Submit(1, 5000);
  auto step = engine_->TakeStep();
  EXPECT_EQ(step.step.room_bytes, 5904);
  ASSERT_TRUE(EventuallyOpen(1));
  EXPECT_EQ(service().Metrics().memory_state, ProbeState::kKnown);
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace tidegate
