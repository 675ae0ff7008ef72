// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// An estimator over another: everything but the prices is the other's, until a
// subclass says otherwise.

#ifndef TIDEGATE_ESTIMATORS_WRAPPED_ESTIMATOR_H_
#define TIDEGATE_ESTIMATORS_WRAPPED_ESTIMATOR_H_

#include <string>
#include <string_view>
#include <vector>

#include "tidegate/estimator.h"

namespace tidegate::internal {

class WrappedEstimator : public Estimator {
 public:
  // `base` must outlive it.
  explicit WrappedEstimator(const Estimator& base) : base_(base) {}

  std::string_view Name() const override { return base_.Name(); }
  std::string RouteName(const StepQuery& step) const override {
    return base_.RouteName(step);
  }
  void Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi, MaskKind mask,
                   std::vector<Tokens>* out) const override {
    base_.Breakpoints(axis, fixed, lo, hi, mask, out);
  }
  bool Assumed() const override { return base_.Assumed(); }
  TransientTiming Timing() const override { return base_.Timing(); }
  bool KvPreallocated() const override { return base_.KvPreallocated(); }
  Bytes SequenceBytes(Tokens tokens, Tokens chunk) const override {
    return base_.SequenceBytes(tokens, chunk);
  }

 protected:
  const Estimator& base() const { return base_; }

 private:
  const Estimator& base_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_WRAPPED_ESTIMATOR_H_
