// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/step_estimator.h"

#include <algorithm>
#include <boost/container/small_vector.hpp>

#include "tidegate/status.h"

namespace tidegate::internal {

StepEstimator::StepEstimator(const Estimator& base, const Step& step)
    : WrappedEstimator(base), step_(step) {
  if (!step.empty()) resident_ = base.Total(step.query()).resident_bytes;
}

template <typename Ask>
auto StepEstimator::Joined(const StepQuery& more, const Ask& ask) const {
  boost::container::small_vector<Chunk, 16> chunks(step_.priced.begin(),
                                                   step_.priced.end());
  chunks.insert(chunks.end(), more.chunks.begin(), more.chunks.end());
  StepQuery joined = step_.query();
  joined.chunks = {chunks.data(), chunks.size()};
  joined.decode_tokens = SatAdd(joined.decode_tokens, more.decode_tokens);
  joined.decode_kv_len = std::max(joined.decode_kv_len, more.decode_kv_len);
  return ask(joined);
}

PriceTotals StepEstimator::Total(const StepQuery& step) const {
  PriceTotals totals =
      Joined(step, [this](const StepQuery& all) { return base().Total(all); });
  totals.transient_bytes = step_.encode.Transient(totals.transient_bytes);
  totals.resident_bytes = std::max<Bytes>(0, totals.resident_bytes - resident_);
  return totals;
}

Bytes StepEstimator::MayNeed(const StepQuery& step) const {
  return Joined(step,
                [this](const StepQuery& all) { return base().MayNeed(all); });
}

absl::StatusOr<Price> StepEstimator::Explain(const StepQuery& step) const {
  absl::StatusOr<Price> price = Joined(
      step, [this](const StepQuery& all) { return base().Explain(all); });
  TG_RETURN_IF_ERROR(price.status());
  price->transient_bytes = step_.encode.Transient(price->transient_bytes);
  price->resident_bytes = std::max<Bytes>(0, price->resident_bytes - resident_);
  return price;
}

std::string StepEstimator::RouteName(const StepQuery& step) const {
  return Joined(step,
                [this](const StepQuery& all) { return base().RouteName(all); });
}

}  // namespace tidegate::internal
