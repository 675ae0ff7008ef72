// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Two recorded runs of vLLM 0.19.0, replayed under its own rule with composed
// step times. No number here was fitted to the recordings.

#include "tests/testing/vllm_replay.h"

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "tests/testing/matchers.h"
#include "tests/testing/measured_times.h"

namespace tidegate {
namespace {

using ::tidegate::testing::NumberTable;
using ::tidegate::testing::ReplayedRequest;
using ::tidegate::testing::ServingSimProfile;
using ::tidegate::testing::SharedFile;
using ::tidegate::testing::VllmOptions;
using ::tidegate::testing::VllmReplay;

struct Means {
  double ttft = 0;
  double tpot = 0;
  double latency = 0;
};

Means MeansOf(const std::vector<ReplayedRequest>& requests) {
  Means sum;
  double decoding = 0;
  for (const ReplayedRequest& request : requests) {
    sum.ttft += request.first_s - request.arrival_s;
    sum.latency += request.last_s - request.arrival_s;
    if (request.output < 2) continue;
    sum.tpot += (request.last_s - request.first_s) /
                static_cast<double>(request.output - 1);
    ++decoding;
  }
  const auto count = static_cast<double>(requests.size());
  return {sum.ttft / count, sum.tpot / decoding, sum.latency / count};
}

// Nearest rank over the requests.
double TtftPercentile(const std::vector<ReplayedRequest>& requests,
                      std::size_t percent) {
  std::vector<double> values;
  for (const ReplayedRequest& request : requests) {
    values.push_back(request.first_s - request.arrival_s);
  }
  std::sort(values.begin(), values.end());
  return values[(values.size() * percent + 99) / 100 - 1];
}

// The recorded run: arrivals and lengths, with what the engine did of them.
std::vector<ReplayedRequest> Recorded(const std::string& name) {
  std::vector<ReplayedRequest> requests;
  const std::string path =
      SharedFile("profiles/llmservingsim/run_" + name + "_requests.csv");
  if (path.empty()) return requests;
  const NumberTable table(path);
  for (std::size_t i = 0; i < table.rows(); ++i) {
    requests.push_back({.arrival_s = table.Number(i, "arrival_s"),
                        .prompt = table.Count(i, "prompt_tokens"),
                        .output = table.Count(i, "output_tokens"),
                        .first_s = table.Number(i, "first_token_s"),
                        .last_s = table.Number(i, "last_token_s")});
  }
  return requests;
}

// Relative errors of the means.
Means Errors(const std::string& name, const std::string& profile_name,
             const VllmOptions& options) {
  const std::vector<ReplayedRequest> recorded = Recorded(name);
  const auto timer = CreateStepTimer(ServingSimProfile(profile_name, 32));
  TG_CHECK(timer.ok());
  VllmReplay replay(recorded, options, **timer);
  const Means real = MeansOf(recorded);
  const std::vector<ReplayedRequest>& replayed = replay.Run();
  const Means found = MeansOf(replayed);
  const Means errors = {found.ttft / real.ttft - 1, found.tpot / real.tpot - 1,
                        found.latency / real.latency - 1};
  std::printf(
      "  %s, %lld blocks: TTFT %.3f s (recorded %.3f, %+.1f %%), TPOT %.2f ms "
      "(%.2f, %+.1f %%), latency %.2f s (%.2f, %+.1f %%); %lld steps, %lld "
      "preemptions, %lld steps extrapolated\n",
      name.c_str(), static_cast<long long>(options.blocks), found.ttft,
      real.ttft, 100 * errors.ttft, 1e3 * found.tpot, 1e3 * real.tpot,
      100 * errors.tpot, found.latency, real.latency, 100 * errors.latency,
      static_cast<long long>(replay.steps()),
      static_cast<long long>(replay.preemptions()),
      static_cast<long long>(replay.extrapolated()));
  for (const std::size_t percent : {50, 90, 99}) {
    std::printf("    TTFT p%zu %.3f s (recorded %.3f)\n", percent,
                TtftPercentile(replayed, percent),
                TtftPercentile(recorded, percent));
  }
  return errors;
}

constexpr char kRtx4090[] = "rtx4090_llama3.1-8b";
constexpr char kRtx4090Profile[] = "rtx4090_llama3.1-8b_tp1";
constexpr char kRtxPro[] = "rtxpro6000_llama3.1-8b";
constexpr char kRtxProProfile[] = "rtxpro6000_llama3.1-8b_tp1";

// One of vLLM's blocks is the null block, which no request gets.
constexpr std::int64_t kBlocks4090 = 2588 - 1;

TEST(VllmReplayTest, AMemoryBoundRunIsMet) {
  if (Recorded(kRtx4090).empty()) GTEST_SKIP() << "the run is not at hand";
  const Means errors =
      Errors(kRtx4090, kRtx4090Profile, {.blocks = kBlocks4090});
  EXPECT_NEAR(errors.ttft, 0, 0.10);
  EXPECT_NEAR(errors.tpot, 0, 0.05);
}

TEST(VllmReplayTest, AComputeBoundRunIsMet) {
  if (Recorded(kRtxPro).empty()) GTEST_SKIP() << "the run is not at hand";
  // 96 GB: its cache never fills, and its recorded use reads 0 %.
  const Means errors = Errors(kRtxPro, kRtxProProfile,
                              {.max_running = 128, .blocks = 1'000'000});
  EXPECT_NEAR(errors.ttft, 0, 0.10);
  EXPECT_NEAR(errors.tpot, 0, 0.05);
}

// With the cache as large as if activations were free, (0.9 * 24 GiB -
// 16,060,522,496) / 131,072 tokens in blocks of 16, LLMServingSim's own numbers
// become -20.7 %, +12.9 % and -12.5 %.
TEST(VllmReplayTest, IgnoringActivationsMovesTheMemoryBoundRun) {
  if (Recorded(kRtx4090).empty()) GTEST_SKIP() << "the run is not at hand";
  constexpr std::int64_t kBlind =
      (9 * (std::int64_t{24} << 30) / 10 - std::int64_t{16'060'522'496}) /
      131'072 / 16;
  static_assert(kBlind * 16 == 54'400);
  const Means blind = Errors(kRtx4090, kRtx4090Profile, {.blocks = kBlind});
  EXPECT_NEAR(blind.ttft, -0.207, 0.02);
  EXPECT_NEAR(blind.tpot, 0.129, 0.02);
  EXPECT_NEAR(blind.latency, -0.125, 0.02);
}

}  // namespace
}  // namespace tidegate
