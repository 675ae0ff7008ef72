// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The pull interface as a Python class: numbers and tuples in and out. Waiting,
// locks and callbacks are in tidegate/_gate.py, which is the only caller.

#ifndef TIDEGATE_BINDINGS_PYTHON_PULL_H_
#define TIDEGATE_BINDINGS_PYTHON_PULL_H_

#include <nanobind/nanobind.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "bindings/python/src/flags.h"
#include "bindings/python/src/plugins.h"
#include "tidegate/memory_probe.h"
#include "tidegate/policy_file.h"
#include "tidegate/pull.h"
#include "tools/arguments.h"

namespace tidegate::python {

// What a Gate is made from.
struct PullSetup {
  Flags flags;
  // In place of a file that `flags` names.
  std::optional<std::string> policy_json;
  std::optional<std::string> model_json;
  // Called with each line of the decision log, or none.
  nanobind::object log;
  std::vector<std::shared_ptr<PythonPlugin>> plugins;
};

// The policy that `setup` names, with its flags and its model; the flags are
// left in `args`, what is to be said of the model in `warnings`. Throws.
PolicyFile ReadPolicyAndModel(const PullSetup& setup, tools::Arguments* args,
                              std::vector<std::string>* warnings);
// As tidegate.Arithmetic has it.
nanobind::dict ArithmeticDict(const Arithmetic& sum);

// Thread-safety: one call at a time.
class Pull {
 public:
  // A name in [engine] of the policy, or nothing.
  static std::optional<std::string> EngineOf(const PullSetup& setup);

  explicit Pull(const PullSetup& setup);

  void Submit(RequestId id, const PlanRequest& request, std::int64_t priority,
              std::string tenant, Bytes prefix_bytes, std::int64_t now);
  // False when there is no such request any more.
  bool Cancel(RequestId id, std::int64_t now);
  bool Finish(RequestId id, std::int64_t now);
  bool Decoded(RequestId id, Tokens tokens, std::int64_t now);

  // (kind, …) as module.cc lists them, or None.
  nanobind::object Next(std::int64_t now);
  std::optional<std::int64_t> NextWake() const;

  void Done(StepId step, std::vector<Bytes> peak, std::vector<Bytes> live,
            std::int64_t took, std::int64_t now);
  void Failed(StepId step, bool out_of_memory, std::int64_t now);
  void Reclaimed(ReclaimId reclaim, Bytes freed, std::int64_t now);
  void Tell(const Fact& fact, std::int64_t now);

  // Whether Price() and Quote() may be called beside other calls, since prices
  // are not corrected by what is measured.
  bool prices_are_fixed() const { return estimator_ != nullptr; }
  // Of the device, and what of it is taken: when idle, and now with promises.
  struct Bases {
    Bytes ceiling = 0;
    Bytes idle = 0;
    Bytes now = 0;
  };
  Bases MemoryBases() const;
  nanobind::dict Quote(const PlanRequest& request, const Bases& bases) const;
  nanobind::dict Price(Tokens n, Tokens kv_len, MaskKind mask) const;
  SchedulerStats Stats() const { return pull_->Stats(); }

  // The policy's probe: live bytes of each device; None: there is no probe.
  bool has_probe() const { return probe_ != nullptr; }
  std::vector<Bytes> ReadProbe();

  // What became of plug-ins, as `plugins` in the JSON of tidegate simulate.
  std::string PluginReports() const;

  const std::vector<std::string>& warnings() const { return warnings_; }
  const std::string& engine() const { return engine_; }

 private:
  const Estimator& Prices() const;

  std::vector<std::string> warnings_;
  std::string engine_;
  MemoryLimits limits_;
  ChunkLimits chunk_;  // what the chunk policy can reach
  std::shared_ptr<const Estimator> estimator_;  // null where prices move
  std::shared_ptr<const Plugins> plugins_;
  std::unique_ptr<MemoryProbe> probe_;
  std::unique_ptr<PullScheduler> pull_;
};

}  // namespace tidegate::python

#endif  // TIDEGATE_BINDINGS_PYTHON_PULL_H_
