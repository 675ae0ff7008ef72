// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What the C ABI costs: the same prices from the same code, once compiled in
// behind Estimator's virtual calls and once from a shared object behind its
// adapter, which checks every answer.

#include <benchmark/benchmark.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "bench/models.h"
#include "estimators/resident_model.h"
#include "estimators/text.h"
#include "examples/plugins/paged_tiles/paged_tiles.cc"
#include "plugins/instance.h"
#include "tidegate/plugins.h"
#include "tidegate/status.h"

namespace tidegate {
namespace {

constexpr char kModel[] = "llama-3.1-8b.json";

ModelShape Shape() {
  auto config = LoadModelConfig(
      internal::Concat(TIDEGATE_SOURCE_DIR "/examples/models/", kModel), {});
  TG_CHECK(config.ok());
  return config->shape;
}

// The plug-in's class without an ABI around it.
class Direct final : public Estimator {
 public:
  explicit Direct(const ModelShape& shape)
      : setup_({}, shape, {}),
        tiles_(::plugin::Setup(*setup_.get())),
        resident_(shape, false) {}

  std::string_view Name() const override { return "direct"; }
  PriceTotals Total(const StepQuery& step) const override {
    const tidegate_step asked{
        .struct_size = sizeof(tidegate_step),
        .reserved = 0,
        .chunks = reinterpret_cast<const tidegate_chunk*>(step.chunks.data()),
        .chunk_count = static_cast<std::int64_t>(step.chunks.size()),
        .decode_tokens = step.decode_tokens,
        .decode_kv_len = step.decode_kv_len,
        .logits_rows = step.logits_rows};
    const Bytes transient = tiles_.Price(asked).transient_bytes;
    return {.transient_bytes = transient,
            .resident_bytes = resident_.Growth(step),
            .largest_allocation_bytes = transient};
  }
  absl::StatusOr<Price> Explain(const StepQuery&) const override {
    return Price{};
  }
  std::string RouteName(const StepQuery&) const override { return "direct"; }
  void Breakpoints(Axis, Tokens, Tokens, Tokens, MaskKind,
                   std::vector<Tokens>*) const override {}
  bool Assumed() const override { return false; }
  TransientTiming Timing() const override { return TransientTiming::kPerStep; }
  bool KvPreallocated() const override { return false; }
  Bytes SequenceBytes(Tokens tokens, Tokens chunk) const override {
    return resident_.SequenceBytes(tokens, chunk);
  }

 private:
  internal::PluginSetup setup_;
  PagedTiles tiles_;
  internal::ResidentModel resident_;
};

std::unique_ptr<Estimator> FromSharedObject(const PluginOptions& options) {
  PolicyFile policy;
  policy.estimator = internal::Concat("plugin:", TIDEGATE_BENCH_PLUGIN);
  static std::optional<Plugins> plugins;
  auto loaded = Plugins::Load(policy, options);
  if (!loaded.ok()) {
    std::fprintf(stderr, "%s\n",
                 std::string(loaded.status().message()).c_str());
  }
  TG_CHECK(loaded.ok());
  plugins.emplace(*std::move(loaded));
  auto made =
      plugins->CreateEstimator({.shape = Shape(), .use = *policy.estimator});
  TG_CHECK(made.ok());
  return std::move(made->estimator);
}

void Walk(benchmark::State& state, const Estimator& estimator) {
  Tokens kv_len = 4096;
  for (auto _ : state) {
    const Chunk chunk{.n = 2048, .kv_len = kv_len};
    benchmark::DoNotOptimize(estimator.Total({.chunks = {&chunk, 1}}));
    kv_len = kv_len == 1'000'000 ? 4096 : kv_len + 1;
  }
}

void PluginDirect(benchmark::State& state) {
  const std::unique_ptr<Estimator> direct = std::make_unique<Direct>(Shape());
  Walk(state, *direct);
}
void PluginThroughAbi(benchmark::State& state) {
  Walk(state, *FromSharedObject({}));
}
void PluginThroughAbiTimed(benchmark::State& state) {
  Walk(state, *FromSharedObject({.clock = [] {
         return std::chrono::duration_cast<Duration>(
             std::chrono::steady_clock::now().time_since_epoch());
       }}));
}
BENCHMARK(PluginDirect);
BENCHMARK(PluginThroughAbi);
BENCHMARK(PluginThroughAbiTimed);

}  // namespace
}  // namespace tidegate
