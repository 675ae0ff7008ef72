// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Makes an Estimator of a law (price_sink.h): totals and explanation run the
// same Emit, so the number that decides is the one that is shown.
//
// A law may also have
//
//   std::string Unsupported(const StepQuery&) const;   // empty: the step runs
//
// Explain then refuses what does not run, with the reason alone, since the
// status code says the rest; Emit prices it as kBytesMax, so that
// it fits nowhere. And
//
//   Bytes Resident(const StepQuery&) const;   // growth that stays
//
//   Bytes SequenceBytes(Tokens tokens, Tokens chunk) const;
//
// where an engine keeps something else than the shape says; without them the
// growth comes from ResidentModel. And
//
//   bool Assumed(const StepQuery&) const;
//
// where a bound is proven for some steps only.

#ifndef TIDEGATE_ESTIMATORS_LAW_ESTIMATOR_H_
#define TIDEGATE_ESTIMATORS_LAW_ESTIMATOR_H_

#include <algorithm>
#include <concepts>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "estimators/price_sink.h"
#include "estimators/resident_model.h"
#include "estimators/text.h"
#include "tidegate/estimator.h"
#include "tidegate/status.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// What an estimator answers besides prices.
struct EstimatorTraits {
  std::string name;
  bool assumed = false;
  TransientTiming timing = TransientTiming::kPerStep;
  bool kv_preallocated = false;
};

template <typename Law>
concept HasUnsupported = requires(const Law& law, const StepQuery& step) {
  { law.Unsupported(step) } -> std::convertible_to<std::string>;
};

template <typename Law>
concept HasResident = requires(const Law& law, const StepQuery& step) {
  { law.Resident(step) } -> std::convertible_to<Bytes>;
};

template <typename Law>
concept HasSequenceBytes = requires(const Law& law) {
  { law.SequenceBytes(Tokens{}, Tokens{}) } -> std::convertible_to<Bytes>;
};

template <typename Law>
concept HasAssumed = requires(const Law& law, const StepQuery& step) {
  { law.Assumed(step) } -> std::convertible_to<bool>;
};

template <typename Law>
class LawEstimator final : public Estimator {
 public:
  LawEstimator(Law law, ResidentModel resident, EstimatorTraits traits)
      : law_(std::move(law)),
        resident_(std::move(resident)),
        traits_(std::move(traits)) {}

  std::string_view Name() const override { return traits_.name; }

  PriceTotals Total(const StepQuery& step) const override {
    TotalsSink sink;
    law_.Emit(step, sink);
    return sink.Totals(Resident(step));
  }

  absl::StatusOr<Price> Explain(const StepQuery& step) const override {
    TG_RETURN_IF_ERROR(ValidateStep(step));
    if constexpr (HasUnsupported<Law>) {
      const std::string reason = law_.Unsupported(step);
      if (!reason.empty()) {
        return absl::UnimplementedError(reason);
      }
    }
    TermsSink sink;
    law_.Emit(step, sink);
    Price price = sink.Take(Resident(step));
    price.route = law_.RouteName(step);
    price.assumed = traits_.assumed;
    if constexpr (HasAssumed<Law>) {
      price.assumed = price.assumed || law_.Assumed(step);
    }
    return price;
  }

  std::string RouteName(const StepQuery& step) const override {
    return law_.RouteName(step);
  }

  void Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi, MaskKind mask,
                   std::vector<Tokens>* out) const override {
    const auto first = static_cast<std::ptrdiff_t>(out->size());
    law_.Breakpoints(axis, fixed, lo, hi, mask, out);
    // Several kinds of layer may break at the same place.
    std::sort(out->begin() + first, out->end());
    out->erase(std::unique(out->begin() + first, out->end()), out->end());
  }

  bool Assumed() const override { return traits_.assumed; }
  TransientTiming Timing() const override { return traits_.timing; }
  bool KvPreallocated() const override { return traits_.kv_preallocated; }
  Bytes SequenceBytes(Tokens tokens, Tokens chunk) const override {
    if constexpr (HasSequenceBytes<Law>) {
      return law_.SequenceBytes(tokens, chunk);
    } else {
      return resident_.SequenceBytes(tokens, chunk);
    }
  }

  const Law& law() const { return law_; }

 private:
  Bytes Resident(const StepQuery& step) const {
    if (traits_.kv_preallocated) return 0;
    if constexpr (HasResident<Law>) {
      return law_.Resident(step);
    } else {
      return resident_.Growth(step);
    }
  }

  Law law_;
  ResidentModel resident_;
  EstimatorTraits traits_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_LAW_ESTIMATOR_H_
