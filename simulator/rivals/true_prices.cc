// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/rivals/true_prices.h"

#include <string>
#include <utility>
#include <vector>

#include "estimators/wrapped_estimator.h"
#include "simulator/hidden_error.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

class Scaled final : public WrappedEstimator {
 public:
  explicit Scaled(const WorldOptions& world)
      : WrappedEstimator(*world.truth),
        truth_(world.truth),
        factor_(world.price_error.factor * (1 + world.price_error.spread)),
        fixed_(world.fixed_bytes),
        per_token_(world.per_token_bytes) {}

  std::string_view Name() const override { return "true"; }
  PriceTotals Total(const StepQuery& step) const override {
    PriceTotals totals = truth_->Total(step);
    Tokens tokens = step.decode_tokens;
    for (const Chunk& chunk : step.chunks) tokens += chunk.n;
    totals.transient_bytes = Correct(
        SatAdd(totals.transient_bytes, fixed_, SatMul(per_token_, tokens)));
    totals.largest_allocation_bytes = Correct(totals.largest_allocation_bytes);
    totals.fixed_in_n_bytes =
        std::min(totals.transient_bytes,
                 Correct(SatAdd(totals.fixed_in_n_bytes, fixed_)));
    return totals;
  }
  absl::StatusOr<Price> Explain(const StepQuery& step) const override {
    TG_ASSIGN_OR_RETURN(Price price, truth_->Explain(step));
    static_cast<PriceTotals&>(price) = Total(step);
    price.binding_part = "true";
    price.parts = {
        {"true", price.transient_bytes, {{"true", price.transient_bytes}}}};
    return price;
  }

 private:
  Bytes Correct(Bytes bytes) const { return ScaledBytes(bytes, factor_); }

  std::shared_ptr<const Estimator> truth_;
  double factor_ = 1;
  Bytes fixed_ = 0;
  Bytes per_token_ = 0;
};

}  // namespace

std::shared_ptr<const Estimator> TruePrices(const WorldOptions& world) {
  TG_CHECK(world.truth != nullptr);
  if (world.price_error.factor == 1 && world.price_error.spread == 0 &&
      world.fixed_bytes == 0 && world.per_token_bytes == 0) {
    return world.truth;
  }
  return std::make_shared<Scaled>(world);
}

}  // namespace tidegate::internal
