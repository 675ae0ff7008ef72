// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// PlanLoad: with which n_ubatch and n_ctx should an engine be loaded that pays
// its transients then?
//
//   LoadRequest request{.memory = {.ceiling = 24 * kGiB, .base = 16 * kGiB}};
//   absl::StatusOr<LoadPlan> plan = PlanLoad(estimator, request);
//   if (plan->fits) Load(plan->chosen.n_ubatch, plan->chosen.n_ctx);
//
// llama.cpp reserves its compute buffer and its KV cache when a context is
// created, for the widest step (n_ubatch) against the whole context (n_ctx). A
// narrower chunk frees nothing later: what fits is decided here, and chunks
// only bound how long a step takes.
//
// Thread-safety: pure functions.

#ifndef TIDEGATE_LOAD_PLAN_H_
#define TIDEGATE_LOAD_PLAN_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tidegate/estimator.h"
#include "tidegate/plan.h"
#include "tidegate/types.h"

namespace tidegate {

// What a context of one size takes from the device.
struct LoadCost {
  // Compute buffer; with the option "scratch", what the CPU backend adds too.
  Bytes transient_bytes = 0;
  Bytes kv_bytes = 0;  // the whole cache
  Bytes largest_allocation_bytes = 0;

  Bytes Need() const { return SatAdd(transient_bytes, kv_bytes); }
  friend bool operator==(const LoadCost&, const LoadCost&) = default;
};

// One width, and the longest context that fits beside it.
struct LoadChoice {
  Tokens n_ubatch = 0;
  // A multiple of 256, except where it is LoadRequest::n_ctx_max itself. 0: not
  // even 256 tokens fit.
  Tokens n_ctx = 0;
  LoadCost cost;  // of n_ctx; where that is 0, of 256 tokens
  friend bool operator==(const LoadChoice&, const LoadChoice&) = default;
};

struct LoadRequest {
  // base: live without the context, so weights and what others hold.
  MemoryLimits memory;
  // Widths to choose from; empty: 32, 64, … 2048.
  std::vector<Tokens> widths;
  // The context that is wanted; 0: as long as fits.
  Tokens n_ctx = 0;
  // Never longer than this, the model's own limit; 0: no limit.
  Tokens n_ctx_max = 0;
  // Rows of logits in one step (n_outputs_max of llama.cpp); 0: one for each
  // token of it, as llama.cpp reserves unless told otherwise.
  Tokens outputs = 0;
};

struct LoadPlan {
  bool fits = false;
  // Where a context is wanted: the widest n_ubatch at which it fits, and n_ctx
  // is what was wanted, rounded up to 256. Otherwise: of the widths whose
  // context is within 2 % of the longest, the widest. Where nothing fits: the
  // cheapest that was tried.
  LoadChoice chosen;
  std::vector<LoadChoice> choices;  // ascending in n_ubatch
  std::string reason;               // one sentence with its arithmetic
};

// `estimator` must not have a fixed n_ubatch or n_ctx among its engine options.
// InvalidArgument names the field, and an engine that pays per step.
absl::StatusOr<LoadPlan> PlanLoad(const Estimator& estimator,
                                  const LoadRequest& request);

// What one context costs: as PlanLoad() counts it.
LoadCost PriceLoad(const Estimator& estimator, Tokens n_ubatch, Tokens n_ctx,
                   Tokens outputs);

}  // namespace tidegate

#endif  // TIDEGATE_LOAD_PLAN_H_
