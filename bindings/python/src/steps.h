// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What whole steps cost, for engines that form their steps themselves:
// tidegate/_steps.py, which is the only caller, chooses widths by it. No
// requests and no ledger: the engine has those.

#ifndef TIDEGATE_BINDINGS_PYTHON_STEPS_H_
#define TIDEGATE_BINDINGS_PYTHON_STEPS_H_

#include <nanobind/nanobind.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/python/src/pull.h"
#include "tidegate/estimator.h"
#include "tidegate/plan.h"
#include "tidegate/plugins.h"
#include "tidegate/step_time.h"
#include "tidegate/time_model.h"

namespace tidegate::python {

// A forward pass: chunks as (n, kv_len), and decode tokens beside them with the
// longest length that one of them attends to and the sum of all such lengths.
struct StepTokens {
  std::vector<std::pair<Tokens, Tokens>> chunks;
  Tokens decodes = 0;
  Tokens decode_kv_len = 0;
  Tokens decode_kv_sum = 0;
};

// Thread-safety: Learn() may not run beside another call.
class Steps {
 public:
  // `setup.log` is not used.
  explicit Steps(const PullSetup& setup);

  // (transient, resident, largest allocation); zeros for a step without tokens.
  nanobind::tuple Price(const StepTokens& step) const;
  // Expected nanoseconds; nothing where no time model is known yet.
  std::optional<std::int64_t> Took(const StepTokens& step) const;
  // Steps that were measured replace what the policy says of time.
  void Learn(const StepTokens& step, std::int64_t took);
  // As Pull::Quote, on a device of which `base` bytes are taken; where
  // `pooled`, a pool of KV among them, of which sequences take their share.
  nanobind::dict Quote(const PlanRequest& request, bool pooled,
                       Bytes base) const;
  // What the policy states: limits, chunk widths, and settings by name.
  nanobind::dict Settings() const { return settings_; }

  const std::vector<std::string>& warnings() const { return warnings_; }
  const std::string& engine() const { return engine_; }

 private:
  // The longest prompt, below that of a request that was refused, with a plan.
  Tokens LargestPooled(const Estimator& prices, PlanRequest request,
                       const MemoryLimits& limits) const;

  std::vector<std::string> warnings_;
  std::string engine_;
  nanobind::dict settings_;
  std::shared_ptr<const Plugins> plugins_;
  std::shared_ptr<const Estimator> estimator_;
  std::unique_ptr<const Estimator> pooled_;
  std::shared_ptr<const StepTimer> timer_;
  TimeFit fit_;
  MemoryLimits limits_;
  ChunkLimits chunk_;
};

}  // namespace tidegate::python

#endif  // TIDEGATE_BINDINGS_PYTHON_STEPS_H_
