// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The simulator itself, with vLLM's rule and composed step times, beside two
// recorded runs of vLLM 0.19.0. No number here was fitted to the recordings.

#include <cmath>
#include <cstdio>
#include <memory>
#include <string>

#include "tests/testing/fake_estimator.h"
#include "tests/testing/matchers.h"
#include "tests/testing/measured_times.h"
#include "tidegate/rivals.h"
#include "tidegate/simulator.h"

namespace tidegate {
namespace {

using testing::NumberTable;
using testing::ServingSimProfile;
using testing::SharedFile;

struct Recorded {
  Trace trace;
  double ttft_s = 0;
  double tpot_s = 0;
};

Recorded ReadRun(const std::string& path) {
  Recorded run;
  const NumberTable table(path);
  double decoding = 0;
  for (std::size_t i = 0; i < table.rows(); ++i) {
    const double arrival = table.Number(i, "arrival_s");
    const double first = table.Number(i, "first_token_s");
    const Tokens output = table.Count(i, "output_tokens");
    run.trace.rows.push_back(
        {.arrival = Instant(Duration(std::llround(arrival * 1e9))),
         .prompt_tokens = table.Count(i, "prompt_tokens"),
         .output_tokens = output,
         .session = static_cast<std::int64_t>(i)});
    run.ttft_s += first - arrival;
    if (output < 2) continue;
    run.tpot_s += (table.Number(i, "last_token_s") - first) /
                  static_cast<double>(output - 1);
    ++decoding;
  }
  run.ttft_s /= static_cast<double>(table.rows());
  run.tpot_s /= decoding;
  return run;
}

// Llama-3.1-8B: 131,072 bytes of KV a token; `tokens` of them are what the
// engine said at start that it has. Beside the pool lies what it keeps for
// activations, which a step that computes lost tokens again may use for them.
constexpr Bytes kActivations = Bytes{4} << 30;

SimulatorOptions Engine(const std::string& profile, Tokens tokens) {
  auto estimator = std::make_shared<testing::FakeEstimator>();
  estimator->kernels = {{.n_last = kTokensMax}};
  estimator->kv_per_token = 131'072;
  SimulatorOptions options;
  options.scheduler.estimator = estimator;
  options.scheduler.memory.ceiling =
      tokens * estimator->kv_per_token + kActivations;
  options.cache = {.capacity = std::nullopt, .block = 16};
  auto timer = CreateStepTimer(ServingSimProfile(profile, 32));
  TG_CHECK(timer.ok());
  options.world.timer = *std::move(timer);
  return options;
}

void ExpectMet(const std::string& name, Tokens tokens, std::int64_t sequences) {
  const std::string path =
      SharedFile("profiles/llmservingsim/run_" + name + "_requests.csv");
  if (path.empty()) GTEST_SKIP() << "the run is not at hand";
  const Recorded run = ReadRun(path);
  SimulatorOptions options = Engine(name + "_tp1", tokens);
  ASSERT_THAT(ApplyRival("vllm",
                         {.sequences = sequences,
                          .step_tokens = 2048,
                          .page = 16,
                          .activation_bytes = kActivations},
                         &options),
              testing::IsOk());
  ASSERT_OK_AND_ASSIGN(const SimulationResult result,
                       Simulate(run.trace, options));
  double ttft = 0;
  double tpot = 0;
  double decoding = 0;
  for (const RequestRecord& record : result.records) {
    ASSERT_EQ(record.outcome, RequestOutcome::kFinished);
    ttft += *record.ttft_s;
    if (record.output_tokens < 2) continue;
    const auto output = static_cast<double>(record.output_tokens);
    tpot += *record.itl_s * output / (output - 1);
    ++decoding;
  }
  ttft /= static_cast<double>(result.records.size());
  tpot /= decoding;
  std::printf(
      "  %s: TTFT %.3f s (recorded %.3f, %+.1f %%), TPOT %.2f ms (%.2f, "
      "%+.1f %%)\n",
      name.c_str(), ttft, run.ttft_s, 100 * (ttft / run.ttft_s - 1), 1e3 * tpot,
      1e3 * run.tpot_s, 100 * (tpot / run.tpot_s - 1));
  EXPECT_NEAR(ttft / run.ttft_s, 1, 0.10);
  EXPECT_NEAR(tpot / run.tpot_s, 1, 0.05);
}

// 2,588 blocks of 16, one of which is the null block.
TEST(RecordedRunsTest, ARunThatIsShortOfMemoryIsMet) {
  ExpectMet("rtx4090_llama3.1-8b", 2'587 * 16, 256);
}

TEST(RecordedRunsTest, ARunThatIsShortOfComputeIsMet) {
  ExpectMet("rtxpro6000_llama3.1-8b", 16'000'000, 128);
}

}  // namespace
}  // namespace tidegate
