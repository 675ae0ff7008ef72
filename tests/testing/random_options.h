// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A device, an engine and policies drawn from a seed, tight for prompts of a
// few hundred tokens.

#ifndef TIDEGATE_TESTS_TESTING_RANDOM_OPTIONS_H_
#define TIDEGATE_TESTS_TESTING_RANDOM_OPTIONS_H_

#include <algorithm>
#include <cstdint>
#include <memory>

#include "tests/testing/draws.h"
#include "tests/testing/fake_estimator.h"
#include "tidegate/scheduler.h"

namespace tidegate::testing {

struct RandomOptions {
  SchedulerOptions options;
  bool truthful = false;      // readings say what is so
  Bytes unpriced_growth = 0;  // of every token
  Tokens prompt_max = 400;    // prompts are drawn up to it

  static StepShape Shape(Draws& draws) {
    StepShape shape;
    shape.sequences = draws.In(1, 4);
    shape.decode = static_cast<StepShape::Decode>(draws.In(0, 2));
    if (draws.Percent(30)) shape.tokens = draws.In(20, 300);
    if (draws.Percent(30)) shape.decodes = draws.In(1, 3);
    if (draws.Percent(30)) shape.in_flight = draws.In(2, 3);
    return shape;
  }

  // `long_prompts`: on a device that has room for ten million tokens.
  static RandomOptions Draw(Draws& draws, bool long_prompts) {
    RandomOptions drawn;
    SchedulerOptions& options = drawn.options;
    auto estimator = std::make_shared<FakeEstimator>(
        FakeEstimator::Random(draws.engine(), 400));
    if (long_prompts) {
      // Otherwise nothing but refusals comes of it.
      estimator->preallocated = false;
      for (FakeEstimator::Kernel& kernel : estimator->kernels) {
        kernel.per_n_kv = 0;
      }
    }
    estimator->kv_per_token = std::max<Bytes>(1, estimator->kv_per_token);
    options.estimator = estimator;
    drawn.truthful = draws.Percent(50);
    options.calibrate = draws.Percent(30);
    options.memory = {.ceiling = draws.In(50, 20'000),
                      .base = draws.In(0, 4000)};
    if (draws.Percent(20)) options.memory.headroom = draws.In(0, 500);
    if (draws.Percent(20)) options.memory.max_allocation = draws.In(1, 8000);
    options.chunk = {.max = draws.In(8, 200),
                     .floor = draws.In(1, 100),
                     .quantum = draws.In(1, 64)};
    if (long_prompts) {
      options.memory.ceiling = draws.In(10'000'000, 200'000'000);
      options.chunk = {.max = 262'144, .floor = 16'384, .quantum = 16'384};
    }
    if (draws.Percent(15)) {
      // Enough, in chunks of such a width that it is noticed.
      drawn.truthful = true;
      drawn.unpriced_growth = draws.In(64, 300);
      options.memory.ceiling = draws.In(10'000, 400'000);
      options.chunk.max = draws.In(130, 400);
    }
    options.order_policy = draws.Of({"fcfs", "priority", "fair"});
    if (draws.Percent(15)) options.chunk_policy = "fixed";
    if (draws.Percent(15)) options.admission_policy = "bankers";
    if (draws.Percent(15)) options.admission_policy = "optimistic";
    if (draws.Percent(20)) options.queue_max = draws.In(1, 4);
    if (draws.Percent(20)) options.ladder = {"cache", "pool"};
    if (draws.Percent(10)) options.ladder = {};
    if (draws.Percent(20)) options.running_max = draws.In(1, 4);
    if (draws.Percent(60)) options.step = Shape(draws);
    if (draws.Percent(20)) {
      options.kv_pool = {.blocks = draws.In(1, 120),
                         .block_tokens = draws.In(1, 40)};
    }
    for (std::int64_t left = draws.Percent(20) ? draws.In(1, 3) : 0; left > 0;
         --left) {
      options.ranks.push_back({.ceiling = draws.In(50, options.memory.ceiling),
                               .base = draws.In(0, 49)});
    }
    if (!long_prompts && draws.Percent(15)) drawn.StraddleABoundary(draws);
    // Where a step is too short for the chunks.
    if (!Scheduler::Create(options).ok()) options.step.tokens = 0;
    return drawn;
  }

 private:
  // Prices fall where another kernel starts, and only some of the widths beyond
  // fit, neither the narrowest chunk nor the widest: who overlooks the boundary
  // or takes prices for monotone is wrong about most prompts here.
  void StraddleABoundary(Draws& draws) {
    SchedulerOptions& device = options;
    auto fake = std::make_shared<FakeEstimator>();
    const Tokens edge = draws.In(4, 40);  // widest chunk of the dear kernel
    const Tokens fits = draws.In(edge + 1, 2 * edge + 8);
    const FakeEstimator::Kernel cheap = {.n_last = kTokensMax,
                                         .fixed = draws.In(0, 100),
                                         .per_n = draws.In(2, 12)};
    const Bytes need = cheap.fixed + cheap.per_n * fits;
    fake->kernels = {{.n_last = edge,
                      .fixed = need + draws.In(1, 400),
                      .per_n = draws.In(0, 6)},
                     cheap};
    if (draws.Percent(30)) {
      // A third kernel, wider still, that is as dear.
      fake->kernels[1].n_last = fits + draws.In(0, 20);
      fake->kernels.push_back({.n_last = kTokensMax,
                               .fixed = need + draws.In(1, 400),
                               .per_n = draws.In(0, 6)});
    }
    fake->kv_per_token = draws.In(1, 2);
    prompt_max = std::min<Tokens>(160, draws.In(1, 4) * fits);
    device.estimator = fake;
    device.calibrate = false;
    device.chunk_policy = "throttle";
    device.chunk = {.max = fits + draws.In(1, 60),
                    .floor = draws.In(1, edge),
                    .quantum = draws.Percent(50) ? 1 : draws.In(1, 8)};
    device.ranks.clear();
    device.kv_pool = {};
    device.memory = {.base = draws.In(0, 1000)};
    device.memory.ceiling =
        device.memory.base + fake->kv_per_token * prompt_max + need;
    if (draws.Percent(20)) device.memory.ceiling += draws.In(0, 200);
    unpriced_growth = 0;
  }
};

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_RANDOM_OPTIONS_H_
