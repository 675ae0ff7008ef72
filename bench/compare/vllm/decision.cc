// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Tidegate's whole decision where decode tokens ride along, beside
// schedule_bench.py: the end of a step with so many decoding requests is
// recorded and the next one put together, its list of decodes included. A JSON
// line for each size: the median of CPU microseconds.
//
// tidegate_decision 100 1000 10000

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <variant>
#include <vector>

#include "bench/models.h"
#include "tidegate/scheduler.h"

namespace tidegate {
namespace {

constexpr Bytes kGiB = Bytes{1} << 30;
constexpr std::int64_t kRunning = 1000;
constexpr Tokens kPrompt = 512;
constexpr Tokens kOutput = 4096;
constexpr int kSteps = 600;

double CpuMicroseconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 +
         static_cast<double>(now.tv_nsec) / 1e3;
}

void Measure(std::int64_t requests) {
  const std::int64_t running = std::min(requests, kRunning);
  SchedulerOptions options;
  options.estimator =
      bench::MakeEstimator("llama-3.1-8b.json", "transformers@4.57.1/cuda");
  options.memory = {.ceiling = 16384 * kGiB, .base = 16 * kGiB};
  options.running_max = running;
  options.step = {.sequences = running,
                  .decode = StepShape::Decode::kMixed,
                  .tokens = running + 4 * kPrompt};
  auto scheduler = std::move(Scheduler::Create(options)).value();
  std::vector<Action> actions;
  RunStep run;
  Instant now{};
  const auto send = [&](const Event& event) {
    actions.clear();
    now += std::chrono::milliseconds(1);
    if (!scheduler->Handle(event, now, &actions).ok()) std::abort();
    for (Action& action : actions) {
      if (auto* step = std::get_if<RunStep>(&action)) run = std::move(*step);
    }
  };
  for (std::int64_t i = 1; i <= requests; ++i) {
    send(Arrive{
        .id = static_cast<RequestId>(i),
        .request = {.prompt_tokens = kPrompt, .max_output_tokens = kOutput}});
  }
  std::vector<double> took;
  while (static_cast<int>(took.size()) < kSteps) {
    const bool all = static_cast<std::int64_t>(run.decodes.size()) == running;
    StepDone done{.step = run.step};
    for (const RequestId id : run.decodes) {
      done.decodes.push_back({.id = id, .tokens = 1});
    }
    run = {};
    const Event event = std::move(done);
    const double began = CpuMicroseconds();
    send(event);
    const double ended = CpuMicroseconds();
    if (run.step == 0) std::abort();  // Nothing runs: nothing to time.
    if (all) took.push_back(ended - began);
  }
  std::nth_element(took.begin(), took.begin() + kSteps / 2, took.end());
  std::printf(
      "{\"what\": \"tidegate\", \"requests\": %lld, \"running\": %lld, "
      "\"decision_us\": %.2f}\n",
      static_cast<long long>(requests), static_cast<long long>(running),
      took[kSteps / 2]);
  std::fflush(stdout);
}

}  // namespace
}  // namespace tidegate

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) tidegate::Measure(std::atoll(argv[i]));
}
