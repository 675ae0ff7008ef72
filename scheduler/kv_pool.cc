// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/kv_pool.h"

#include "tidegate/status.h"

namespace tidegate::internal {

PriceTotals BlockEstimator::Total(const StepQuery& step) const {
  PriceTotals totals;
  for (const Chunk& chunk : step.chunks) {
    totals.resident_bytes += CeilDiv(chunk.kv_len, block_tokens_) -
                             CeilDiv(chunk.kv_len - chunk.n, block_tokens_);
  }
  return totals;
}

absl::StatusOr<Price> BlockEstimator::Explain(const StepQuery& step) const {
  Price price;
  static_cast<PriceTotals&>(price) = Total(step);
  price.route = RouteName(step);
  return price;
}

PriceTotals PooledEstimator::Total(const StepQuery& step) const {
  PriceTotals totals = base().Total(step);
  totals.resident_bytes = 0;
  return totals;
}

absl::StatusOr<Price> PooledEstimator::Explain(const StepQuery& step) const {
  TG_ASSIGN_OR_RETURN(Price price, base().Explain(step));
  price.resident_bytes = 0;
  return price;
}

}  // namespace tidegate::internal
