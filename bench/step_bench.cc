// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A whole step's decision where decode tokens ride along: the end of a step
// with so many decoding requests is recorded, who finished leaves, newcomers
// are admitted, and the next step is put together, its list of decodes
// included.

#include <benchmark/benchmark.h>

#include "bench/mixed_loop.h"

namespace tidegate {
namespace {

constexpr Tokens kOutput = 256;

void Step(bench::MixedLoop* loop) {
  loop->End(loop->Answer());
  loop->Refill();
}

void MixedStep(benchmark::State& state) {
  const std::int64_t running = state.range(0);
  bench::MixedLoop loop(running, state.range(1), 1 + running / 100, kOutput);
  // Until as many decode as may, at different places of their outputs.
  for (Tokens i = 0; i < 2 * kOutput; ++i) Step(&loop);
  std::int64_t decodes = 0;
  for (auto _ : state) {
    decodes += loop.decodes();
    Step(&loop);
  }
  state.counters["decodes"] = benchmark::Counter(
      static_cast<double>(decodes), benchmark::Counter::kAvgIterations);
}
BENCHMARK(MixedStep)
    ->Args({100, 10'000})
    ->Args({1000, 100})
    ->Args({1000, 10'000})
    ->Args({1000, 100'000})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace tidegate
