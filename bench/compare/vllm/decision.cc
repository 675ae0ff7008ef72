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
#include <vector>

#include "bench/mixed_loop.h"

namespace tidegate {
namespace {

constexpr std::int64_t kRunning = 1000;
constexpr int kSteps = 600;

double CpuMicroseconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 +
         static_cast<double>(now.tv_nsec) / 1e3;
}

void Measure(std::int64_t requests) {
  const std::int64_t running = std::min(requests, kRunning);
  bench::MixedLoop loop(running, requests - running, running, 0);
  std::vector<double> took;
  while (static_cast<int>(took.size()) < kSteps) {
    const bool all = loop.decodes() == running;
    const Event done = loop.Answer();
    const double began = CpuMicroseconds();
    loop.End(done);
    const double ended = CpuMicroseconds();
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
