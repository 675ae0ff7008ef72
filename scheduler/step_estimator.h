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

#include "scheduler/step.h"
#include "tidegate/estimator.h"

namespace tidegate::internal {

class StepEstimator final : public Estimator {
 public:
  StepEstimator(const Estimator& base, const Step& step);

  std::string_view Name() const override { return base_.Name(); }
  PriceTotals Total(const StepQuery& step) const override;
  absl::StatusOr<Price> Explain(const StepQuery& step) const override;
  std::string RouteName(const StepQuery& step) const override;
  void Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi, MaskKind mask,
                   std::vector<Tokens>* out) const override {
    base_.Breakpoints(axis, fixed, lo, hi, mask, out);
  }
  Bytes MayNeed(const StepQuery& step) const override;
  bool Assumed() const override { return base_.Assumed(); }
  TransientTiming Timing() const override { return base_.Timing(); }
  bool KvPreallocated() const override { return base_.KvPreallocated(); }
  Bytes SequenceBytes(Tokens tokens, Tokens chunk) const override {
    return base_.SequenceBytes(tokens, chunk);
  }

 private:
  // The step with these chunks besides.
  template <typename Ask>
  auto Joined(const StepQuery& more, const Ask& ask) const;

  const Estimator& base_;
  const Step& step_;
  Bytes resident_ = 0;  // growth of what the step holds already
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_STEP_ESTIMATOR_H_
