// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The device on which schedulers are tested by hand: one byte of KV and four
// bytes of transient a token, 10,000 bytes under the ceiling, chunks of up to
// 1,024.

#ifndef TIDEGATE_TESTS_TESTING_SMALL_DEVICE_H_
#define TIDEGATE_TESTS_TESTING_SMALL_DEVICE_H_

#include <memory>
#include <utility>

#include "tests/testing/fake_estimator.h"
#include "tidegate/scheduler.h"

namespace tidegate::testing {

inline std::shared_ptr<FakeEstimator> SmallEstimator() {
  auto estimator = std::make_shared<FakeEstimator>();
  estimator->kernels = {{.n_last = kTokensMax, .per_n = 4}};
  return estimator;
}

inline SchedulerOptions SmallDevice(
    std::shared_ptr<const Estimator> estimator = SmallEstimator()) {
  SchedulerOptions options;
  options.estimator = std::move(estimator);
  options.memory = {.ceiling = 10'000};
  options.chunk = {.max = 1024, .floor = 64, .quantum = 64};
  return options;
}

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_SMALL_DEVICE_H_
