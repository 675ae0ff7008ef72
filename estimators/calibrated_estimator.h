// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Another estimator's prices, corrected by a Calibrator. Both must outlive it;
// prices follow the calibrator as it learns.
//
// A correction belongs to a route. Where the route changes between two widths
// or lengths, the corrected price may fall although the static one does not, so
// such places are breakpoints too.

#ifndef TIDEGATE_ESTIMATORS_CALIBRATED_ESTIMATOR_H_
#define TIDEGATE_ESTIMATORS_CALIBRATED_ESTIMATOR_H_

#include <vector>

#include "estimators/calibrator.h"
#include "estimators/wrapped_estimator.h"
#include "tidegate/estimator.h"

namespace tidegate::internal {

class CalibratedEstimator final : public WrappedEstimator {
 public:
  CalibratedEstimator(const Estimator& base, const Calibrator& calibrator)
      : WrappedEstimator(base), calibrator_(calibrator) {}

  std::string_view Name() const override { return "calibrated"; }
  PriceTotals Total(const StepQuery& step) const override;
  absl::StatusOr<Price> Explain(const StepQuery& step) const override;
  void Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi, MaskKind mask,
                   std::vector<Tokens>* out) const override;
  Bytes MayNeed(const StepQuery& step) const override;

 private:
  void Correct(const StepQuery& step, PriceTotals* totals) const;

  const Calibrator& calibrator_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_CALIBRATED_ESTIMATOR_H_
