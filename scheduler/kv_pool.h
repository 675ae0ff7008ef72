// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A pool of KV blocks as a budget of its own: engines that reserve all KV when
// they start have bytes for what steps need, and blocks for what sequences
// hold. The same policies and the same planner decide in both; prices here are
// blocks, and no step has a transient.
//
// Thread-safety: none.

#ifndef TIDEGATE_SCHEDULER_KV_POOL_H_
#define TIDEGATE_SCHEDULER_KV_POOL_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "estimators/wrapped_estimator.h"
#include "scheduler/ledger.h"
#include "scheduler/memory_state.h"
#include "tidegate/estimator.h"
#include "tidegate/scheduler.h"

namespace tidegate::internal {

// Blocks of `block_tokens` tokens instead of bytes.
class BlockEstimator final : public Estimator {
 public:
  explicit BlockEstimator(Tokens block_tokens) : block_tokens_(block_tokens) {}

  std::string_view Name() const override { return "kv_blocks"; }
  PriceTotals Total(const StepQuery& step) const override;
  absl::StatusOr<Price> Explain(const StepQuery& step) const override;
  std::string RouteName(const StepQuery& /*step*/) const override {
    return "kv_blocks";
  }
  void Breakpoints(Axis /*axis*/, Tokens /*fixed*/, Tokens /*lo*/,
                   Tokens /*hi*/, MaskKind /*mask*/,
                   std::vector<Tokens>* /*out*/) const override {}
  bool Assumed() const override { return false; }
  TransientTiming Timing() const override { return TransientTiming::kPerStep; }
  bool KvPreallocated() const override { return false; }
  Bytes SequenceBytes(Tokens tokens, Tokens /*chunk*/) const override {
    return CeilDiv(tokens, block_tokens_);
  }

 private:
  const Tokens block_tokens_;
};

// An estimator's prices where all KV lies in the pool: no sequence grows.
class PooledEstimator final : public WrappedEstimator {
 public:
  explicit PooledEstimator(std::shared_ptr<const Estimator> base)
      : WrappedEstimator(*base), owned_(std::move(base)) {}

  PriceTotals Total(const StepQuery& step) const override;
  absl::StatusOr<Price> Explain(const StepQuery& step) const override;
  Bytes MayNeed(const StepQuery& step) const override {
    return base().MayNeed(step);
  }
  bool KvPreallocated() const override { return false; }
  Bytes SequenceBytes(Tokens /*tokens*/, Tokens /*chunk*/) const override {
    return 0;
  }

 private:
  const std::shared_ptr<const Estimator> owned_;
};

class KvPool {
 public:
  explicit KvPool(const KvPoolOptions& options)
      : memory({.ceiling = options.blocks}, {}, {}),
        prices_(options.block_tokens),
        block_tokens_(options.block_tokens) {}

  Ledger ledger;
  MemoryState memory;  // in blocks; what others hold is `elsewhere`

  const Estimator& prices() const { return prices_; }
  Bytes Live() const { return memory.Live(ledger.resident()); }
  // Blocks by which a sequence grows.
  Bytes Growth(Tokens before, Tokens after) const {
    return CeilDiv(after, block_tokens_) - CeilDiv(before, block_tokens_);
  }
  // Tokens that a sequence of `tokens` comes to with `blocks` more.
  Tokens Reach(Tokens tokens, Bytes blocks) const {
    return SatMul(SatAdd(CeilDiv(tokens, block_tokens_), blocks),
                  block_tokens_);
  }

 private:
  const BlockEstimator prices_;
  const Tokens block_tokens_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_KV_POOL_H_
