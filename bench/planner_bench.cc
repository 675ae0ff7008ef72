// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A plan for a prompt of a million tokens: the fast path, the full search, and
// the loop that one would write first, which tries every width of the quantum
// from the widest down at each chunk and plans nothing.

#include <benchmark/benchmark.h>

#include "bench/models.h"
#include "tidegate/plan.h"

namespace tidegate {
namespace {

constexpr Tokens kPrompt = 1'000'000;
constexpr Bytes kGiB = Bytes{1} << 30;

struct Case {
  const char* model;
  const char* engine;
  Bytes ceiling;
};
// Memory never binds: every chunk is the widest.
constexpr Case kRoomy = {"llama-3.1-8b.json", "mlx@0.31.2/metal", 400 * kGiB};
// Scores grow with the length: chunks narrow from 2048 to 512 on the way.
constexpr Case kTight = {"qwen3.6-27b.json", "mlx@0.31.2/metal", 110 * kGiB};
// Head dim 256 on neural accelerators: fused from 1024 query tokens, unfused
// below, so that the price falls where the chunk grows.
constexpr Case kRoutes = {"qwen3.6-27b.json", "mlx@0.32.2/metal-nax",
                          110 * kGiB};

MemoryLimits LimitsOf(const Case& c) {
  return {.ceiling = c.ceiling, .base = 16 * kGiB};
}

void Plan(benchmark::State& state, const Case& c, bool force_search) {
  const auto estimator = bench::MakeEstimator(c.model, c.engine);
  const PlanRequest request{.prompt_tokens = kPrompt};
  std::size_t chunks = 0;
  for (auto _ : state) {
    const auto plan = PlanPrompt(
        *estimator, request, LimitsOf(c), {},
        {.want_largest_prompt = false, .force_search = force_search});
    chunks = plan->chunks.size();
    benchmark::DoNotOptimize(chunks);
  }
  state.counters["chunks"] = static_cast<double>(chunks);
}
BENCHMARK_CAPTURE(Plan, fast_path_roomy, kRoomy, false)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Plan, fast_path_tight, kTight, false)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Plan, fast_path_routes, kRoutes, false)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Plan, search_roomy, kRoomy, true)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Plan, search_tight, kTight, true)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Plan, search_routes, kRoutes, true)
    ->Unit(benchmark::kMicrosecond);

void NaiveLoop(benchmark::State& state, const Case& c) {
  const auto estimator = bench::MakeEstimator(c.model, c.engine);
  const MemoryLimits limits = LimitsOf(c);
  const ChunkLimits widths;
  std::int64_t chunks = 0;
  for (auto _ : state) {
    chunks = 0;
    for (Tokens done = 0; done < kPrompt; ++chunks) {
      Tokens n = std::min(widths.max, kPrompt - done);
      while (n > widths.quantum) {
        const Chunk chunk{.n = n, .kv_len = done + n};
        const PriceTotals price = estimator->Total({.chunks = {&chunk, 1}});
        const Bytes resident = estimator->SequenceBytes(done + n, n);
        if (limits.base + resident + price.transient_bytes <= limits.ceiling) {
          break;
        }
        n -= widths.quantum;
      }
      done += n;
    }
    benchmark::DoNotOptimize(chunks);
  }
  state.counters["chunks"] = static_cast<double>(chunks);
}
BENCHMARK_CAPTURE(NaiveLoop, roomy, kRoomy)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(NaiveLoop, tight, kTight)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(NaiveLoop, routes, kRoutes)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace tidegate
