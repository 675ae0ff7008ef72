// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/time_formula.h"

#include <memory>

#include "tidegate/step_time.h"

namespace tidegate {
namespace {

class FormulaTimer final : public StepTimer {
 public:
  explicit FormulaTimer(const TimeModel& model) : model_(model) {}

  StepTime Of(const StepWork& work) const override {
    Duration sum{};
    TimeModel model = model_;
    const auto add = [&](Tokens n, Tokens before) {
      sum = Duration(SatAdd(sum.count(), model.Of(n, before).count()));
      model.fixed_ps = 0;  // once a step
    };
    for (const Chunk& chunk : work.chunks) add(chunk.n, chunk.kv_len - chunk.n);
    for (const Tokens kv_len : work.decode_kv_lens) add(1, kv_len - 1);
    return {.took = sum};
  }

  TimeModel Model() const override { return model_; }

 private:
  TimeModel model_;
};

}  // namespace

std::shared_ptr<const StepTimer> CreateStepTimer(const TimeModel& model) {
  return std::make_shared<const FormulaTimer>(model);
}

}  // namespace tidegate
