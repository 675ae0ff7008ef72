// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/rivals/true_prices.h"

#include <string>
#include <utility>
#include <vector>

#include "simulator/hidden_error.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

class Scaled final : public Estimator {
 public:
  explicit Scaled(const WorldOptions& world)
      : truth_(world.truth),
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
  std::string RouteName(const StepQuery& step) const override {
    return truth_->RouteName(step);
  }
  void Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi, MaskKind mask,
                   std::vector<Tokens>* out) const override {
    truth_->Breakpoints(axis, fixed, lo, hi, mask, out);
  }
  bool Assumed() const override { return truth_->Assumed(); }
  TransientTiming Timing() const override { return truth_->Timing(); }
  bool KvPreallocated() const override { return truth_->KvPreallocated(); }
  Bytes SequenceBytes(Tokens tokens, Tokens chunk) const override {
    return truth_->SequenceBytes(tokens, chunk);
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
