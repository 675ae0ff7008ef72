// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Whole runs in worlds that differ from what is believed, and how far a run is
// from that of an oracle which knows true bytes and times.

#ifndef TIDEGATE_TESTS_TESTING_WORLDS_H_
#define TIDEGATE_TESTS_TESTING_WORLDS_H_

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "tests/testing/matchers.h"
#include "tests/testing/shapes.h"
#include "tidegate/estimator.h"
#include "tidegate/model_shape.h"
#include "tidegate/rivals.h"
#include "tidegate/simulator.h"
#include "tidegate/status.h"

namespace tidegate::testing {

inline constexpr Bytes kWorldGiB = Bytes{1} << 30;

// examples/head_dim_256_mixed.toml: attention layers of 256 wide heads, which
// MLX 0.31.2 computes unfused, so that transients grow with n times K.
inline ModelShape UnfusedShape() {
  ModelShape shape = AttentionOnly(FullMixer(16, 4, 256));
  shape.layers.assign(8, Layer{});
  return shape;
}

inline std::shared_ptr<const Estimator> WorldEstimator(const ModelShape& shape,
                                                       EngineSpec engine = {
                                                           .name = "mlx",
                                                           .version = "0.31.2",
                                                           .device = "metal"}) {
  auto created = CreateEstimator({.shape = shape, .engine = std::move(engine)});
  TG_CHECK(created.ok());
  return std::move(created->estimator);
}

// An engine that mixes prompts and decode tokens, prices of its own estimator
// corrected by what is measured.
inline SimulatorOptions UnfusedWorld(Bytes ceiling) {
  SimulatorOptions options;
  options.scheduler.estimator = WorldEstimator(UnfusedShape());
  options.scheduler.calibrate = true;
  options.scheduler.memory = {.ceiling = ceiling, .base = 18 * kWorldGiB};
  options.scheduler.order_policy = "fair";
  options.scheduler.step = {.sequences = 256,
                            .decode = StepShape::Decode::kMixed};
  options.cache.capacity = 0;
  return options;
}

struct TraceSpec {
  int requests = 200;
  double per_s = 0.5;
  // Lengths are log-normal: median and the spread of the logarithm.
  double prompt_median = 12'000;
  double prompt_sigma = 1.1;
  Tokens prompt_max = 160'000;
  double output_median = 120;
  double output_sigma = 0.8;
};

// Poisson arrivals, drawn by hand so that every library draws the same.
inline Trace DrawTrace(std::uint64_t seed, const TraceSpec& spec = {}) {
  std::mt19937_64 random(seed);
  const auto even = [&] {
    return (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53;
  };
  const auto normal = [&] {
    return std::sqrt(-2 * std::log(even())) *
           std::cos(6.283185307179586 * even());
  };
  Trace trace;
  double at = 0;
  for (int i = 0; i < spec.requests; ++i) {
    const auto length = [&](double median, double sigma, Tokens most) {
      return std::clamp<Tokens>(
          std::llround(median * std::exp(sigma * normal())), 1, most);
    };
    TraceRow row;
    row.arrival = Instant(Duration(std::llround(at * 1e9)));
    row.prompt_tokens =
        length(spec.prompt_median, spec.prompt_sigma, spec.prompt_max);
    row.output_tokens = length(spec.output_median, spec.output_sigma, 2'000);
    row.session = i;
    trace.rows.push_back(row);
    at += -std::log(even()) / spec.per_s;
  }
  return trace;
}

// Plays a trace under the rule of a rival, or Tidegate's where `rival` is
// empty.
inline SimulationResult PlayWorld(std::string_view rival, const Trace& trace,
                                  SimulatorOptions options) {
  if (!rival.empty()) {
    EXPECT_THAT(ApplyRival(rival, {}, &options), IsOk()) << rival;
  }
  absl::StatusOr<SimulationResult> result = Simulate(trace, options);
  EXPECT_TRUE(result.ok()) << rival << ": " << result.status();
  return result.value_or(SimulationResult{});
}

// Requests from `first` on that the oracle finishes and the other run does not.
inline std::int64_t FalseRefusals(const SimulationResult& run,
                                  const SimulationResult& oracle,
                                  std::size_t first = 0) {
  std::int64_t count = 0;
  for (std::size_t i = first; i < oracle.records.size(); ++i) {
    if (oracle.records[i].outcome == RequestOutcome::kFinished &&
        run.records[i].outcome != RequestOutcome::kFinished) {
      ++count;
    }
  }
  return count;
}

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_WORLDS_H_
