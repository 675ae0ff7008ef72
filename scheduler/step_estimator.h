// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What one more chunk costs in a step that holds others already.
//
// Its transient is that of the whole step, which is what must fit; its resident
// growth is its own. Breakpoints are those of the chunk alone: what others add
// to a kernel's row counts can move them, so a width that was found here is
// priced once more before it runs.
//
// Refers to the base and the step, which must outlive it.

#ifndef TIDEGATE_SCHEDULER_STEP_ESTIMATOR_H_
#define TIDEGATE_SCHEDULER_STEP_ESTIMATOR_H_

#include "estimators/wrapped_estimator.h"
#include "scheduler/step.h"
#include "tidegate/estimator.h"

namespace tidegate::internal {

class StepEstimator final : public WrappedEstimator {
 public:
  StepEstimator(const Estimator& base, const Step& step);

  PriceTotals Total(const StepQuery& step) const override;
  absl::StatusOr<Price> Explain(const StepQuery& step) const override;
  std::string RouteName(const StepQuery& step) const override;
  Bytes MayNeed(const StepQuery& step) const override;

 private:
  // The step with these chunks besides.
  template <typename Ask>
  auto Joined(const StepQuery& more, const Ask& ask) const;

  const Step& step_;
  Bytes resident_ = 0;  // growth of what the step holds already
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_STEP_ESTIMATOR_H_
