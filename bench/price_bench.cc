// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// One price, once its route is resolved.

#include <benchmark/benchmark.h>

#include "bench/models.h"

namespace tidegate {
namespace {

constexpr char kDense[] = "llama-3.1-8b.json";
constexpr char kHybrid[] = "qwen3.6-27b.json";

void Price(benchmark::State& state, const char* model, const char* engine) {
  const auto estimator = bench::MakeEstimator(model, engine);
  Tokens kv_len = 4096;
  for (auto _ : state) {
    const Chunk chunk{.n = 2048, .kv_len = kv_len};
    benchmark::DoNotOptimize(estimator->Total({.chunks = {&chunk, 1}}));
    kv_len = kv_len == 1'000'000 ? 4096 : kv_len + 1;
  }
}
BENCHMARK_CAPTURE(Price, mlx_fused, kDense, "mlx@0.31.2/metal");
BENCHMARK_CAPTURE(Price, mlx_unfused, kHybrid, "mlx@0.31.2/metal");
BENCHMARK_CAPTURE(Price, torch_sdpa, kDense, "torch@2.11.0/cuda-sm90");
BENCHMARK_CAPTURE(Price, torch_hybrid, kHybrid, "torch@2.11.0/cuda-sm90");
BENCHMARK_CAPTURE(Price, llamacpp_flash, kDense, "llama.cpp@b6500/cpu");
BENCHMARK_CAPTURE(Price, unknown_engine, kDense, "acme@1.0/npu");

// The same with every part and term, as explanations need it.
void Explain(benchmark::State& state, const char* model, const char* engine) {
  const auto estimator = bench::MakeEstimator(model, engine);
  const Chunk chunk{.n = 2048, .kv_len = 100'000};
  for (auto _ : state) {
    benchmark::DoNotOptimize(estimator->Explain({.chunks = {&chunk, 1}}));
  }
}
BENCHMARK_CAPTURE(Explain, mlx_unfused, kHybrid, "mlx@0.31.2/metal");

}  // namespace
}  // namespace tidegate
