// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/calibrated_estimator.h"

#include <algorithm>
#include <string>
#include <utility>

#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// Routes are looked at in this many places of a range, and the change between
// two that differ is then found exactly. Engines have routes that are far wider
// than a sixteenth of a chunk's range, or that begin at its ends.
constexpr Tokens kProbes = 16;

}  // namespace

void CalibratedEstimator::Correct(const StepQuery& step,
                                  PriceTotals* totals) const {
  // A step that does not run stays beyond every budget.
  if (!calibrator_.active() || totals->transient_bytes == kBytesMax) return;
  const Correction correction = calibrator_.For(base().RouteName(step));
  const Bytes corrected = correction.Apply(totals->transient_bytes);
  // What is measured beyond the price does not shrink with the chunk as far as
  // it is the fixed part.
  totals->fixed_in_n_bytes = std::clamp<Bytes>(
      SatAdd(totals->fixed_in_n_bytes, correction.fixed), 0, corrected);
  totals->transient_bytes = corrected;
}

PriceTotals CalibratedEstimator::Total(const StepQuery& step) const {
  PriceTotals totals = base().Total(step);
  Correct(step, &totals);
  return totals;
}

Bytes CalibratedEstimator::MayNeed(const StepQuery& step) const {
  const Bytes price = base().Total(step).transient_bytes;
  const std::string route = base().RouteName(step);
  if (calibrator_.Knows(route)) return calibrator_.For(route).Apply(price);
  return SatMul(price, 2);
}

absl::StatusOr<Price> CalibratedEstimator::Explain(
    const StepQuery& step) const {
  TG_ASSIGN_OR_RETURN(Price price, base().Explain(step));
  const Bytes before = price.transient_bytes;
  Correct(step, &price);
  const Bytes difference = price.transient_bytes - before;
  if (difference == 0) return price;
  // The terms still sum to the transient: the correction is one of them, and
  // below the static price a part of its own, since terms are not negative.
  if (difference > 0) {
    for (Part& part : price.parts) {
      if (part.name != price.binding_part) continue;
      part.bytes = price.transient_bytes;
      part.terms.push_back({"measured_beyond_price", difference});
    }
  } else {
    price.binding_part = "measured";
    price.parts.insert(price.parts.begin(),
                       {.name = "measured",
                        .bytes = price.transient_bytes,
                        .terms = {{"measured", price.transient_bytes}}});
  }
  return price;
}

void CalibratedEstimator::Breakpoints(Axis axis, Tokens fixed, Tokens lo,
                                      Tokens hi, MaskKind mask,
                                      std::vector<Tokens>* out) const {
  const auto first = static_cast<std::ptrdiff_t>(out->size());
  base().Breakpoints(axis, fixed, lo, hi, mask, out);
  if (!calibrator_.active() || lo >= hi) return;
  const auto route_at = [&](Tokens v) {
    Chunk chunk{.n = v, .kv_len = fixed, .mask = mask};
    if (axis == Axis::kKvLen) chunk = {.n = fixed, .kv_len = v, .mask = mask};
    if (axis == Axis::kChunk) chunk.kv_len = fixed + v;
    return base().RouteName({.chunks = {&chunk, 1}});
  };
  Tokens from = lo;
  std::string route = route_at(lo);
  for (Tokens probe = 1; probe <= kProbes; ++probe) {
    const Tokens to = lo + (hi - lo) / kProbes * probe +
                      (hi - lo) % kProbes * probe / kProbes;
    if (to == from) continue;
    std::string next = route_at(to);
    while (next != route) {
      // Every change up to `to`, one after the other.
      Tokens same = from;
      Tokens other = to;
      while (other - same > 1) {
        const Tokens middle = same + (other - same) / 2;
        (route_at(middle) == route ? same : other) = middle;
      }
      out->push_back(other);
      from = other;
      route = route_at(other);
    }
    from = to;
    route = std::move(next);
  }
  std::sort(out->begin() + first, out->end());
  out->erase(std::unique(out->begin() + first, out->end()), out->end());
}

}  // namespace tidegate::internal
