// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/profiled_estimator.h"

#include <utility>

#include "estimators/calibrated_estimator.h"
#include "estimators/text.h"

namespace tidegate::internal {
namespace {

// Owns what CalibratedEstimator only refers to.
class ProfiledEstimator final : public Estimator {
 public:
  ProfiledEstimator(std::unique_ptr<Estimator> base, Calibrator corrections)
      : base_(std::move(base)),
        corrections_(std::move(corrections)),
        corrected_(*base_, corrections_) {}

  std::string_view Name() const override { return corrected_.Name(); }
  PriceTotals Total(const StepQuery& step) const override {
    return corrected_.Total(step);
  }
  absl::StatusOr<Price> Explain(const StepQuery& step) const override {
    return corrected_.Explain(step);
  }
  std::string RouteName(const StepQuery& step) const override {
    return corrected_.RouteName(step);
  }
  void Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi, MaskKind mask,
                   std::vector<Tokens>* out) const override {
    corrected_.Breakpoints(axis, fixed, lo, hi, mask, out);
  }
  bool Assumed() const override { return corrected_.Assumed(); }
  TransientTiming Timing() const override { return corrected_.Timing(); }
  bool KvPreallocated() const override { return corrected_.KvPreallocated(); }
  Bytes SequenceBytes(Tokens tokens, Tokens chunk) const override {
    return corrected_.SequenceBytes(tokens, chunk);
  }

 private:
  const std::unique_ptr<Estimator> base_;
  const Calibrator corrections_;
  const CalibratedEstimator corrected_;
};

}  // namespace

std::unique_ptr<Estimator> CreateProfiledEstimator(
    std::unique_ptr<Estimator> base, const Profile& profile,
    const ModelShape& shape, const ResolvedEngine& engine,
    std::vector<std::string>* warnings) {
  const std::string model = ModelKey(shape);
  Calibrator corrections;
  std::string others;  // what the profile has instead
  bool found = false;
  for (const ProfileEntry& entry : profile.entries) {
    if (entry.engine == engine.spec.name &&
        entry.version == engine.spec.version &&
        entry.device == engine.spec.device && entry.model == model) {
      corrections.Set(entry.route, entry.correction);
      found = true;
      continue;
    }
    const std::string other =
        Concat(EngineName({entry.engine, entry.version, entry.device, {}}),
               " (", entry.model, ")");
    if (others.find(other) == std::string::npos) {
      others += Concat(others.empty() ? "" : "; ", other);
    }
  }
  if (!found) {
    warnings->push_back(Concat("estimator.profile has no effect: it knows ",
                               others, ", and not ", EngineName(engine.spec),
                               " (", model, ")"));
    return base;
  }
  return std::make_unique<ProfiledEstimator>(std::move(base),
                                             std::move(corrections));
}

}  // namespace tidegate::internal
