// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Plug-ins as a host sees them: the shared objects that a policy file names,
// and what the program offers itself, loaded, checked and watched. Authors of
// plug-ins need plugin.h or plugin.hpp instead.
//
//   absl::StatusOr<Plugins> plugins = Plugins::Load(policy);
//   auto made = plugins->CreateEstimator(estimator_options);
//   auto options = MakeSchedulerOptions(policy, std::move(made->estimator), b);
//   plugins->Apply(shape, engine, &*options);
//   …
//   for (const PluginReport& report : plugins->Reports()) log(report);
//
// Where the policy names none, this is what CreateEstimator() of estimator.h
// and the names in SchedulerOptions give.
//
// A shared object is code: it runs with all rights of the process, from the
// moment it is loaded, and a crash in it is a crash of the process. The library
// is tidegate_plugins; docs/plugins.md has the rules.
//
// Thread-safety: none but for Reports(); what was made is as thread-safe as its
// kind.

#ifndef TIDEGATE_PLUGINS_H_
#define TIDEGATE_PLUGINS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tidegate/engine.h"
#include "tidegate/estimator.h"
#include "tidegate/model_shape.h"
#include "tidegate/plugin.h"
#include "tidegate/policy_file.h"
#include "tidegate/scheduler.h"
#include "tidegate/types.h"

namespace tidegate {

// After so many faults the built-in replaces a plug-in for good.
inline constexpr std::int64_t kPluginFaultsMax = 8;

struct PluginOptions {
  // Where given, calls are timed by it: every policy's, and of an estimator's,
  // which take nanoseconds, each of the first 64 and one in 64 after that, all
  // once one was slow. Any clock that does not go back; called from whichever
  // thread asks the plug-in.
  std::function<Duration()> clock;
  // A call that takes longer is slow.
  Duration slow = std::chrono::milliseconds(10);
  // Whether a slow call behind a slow one is a fault. Its answer still counts;
  // a simulation that must not depend on the machine says no.
  bool slow_is_fault = true;
};

// A plug-in that is no shared object but an object of this program: one that a
// binding to another language made.
struct InProcessPlugin {
  // Its tables, which live as long as whatever is made of them.
  std::shared_ptr<const tidegate_plugin> plugin;
  // Asked in place of the tables' create(), which cannot know the object.
  std::function<std::int32_t(const tidegate_setup* setup, void** self,
                             tidegate_message* why)>
      create;
};
// By the name behind "plugin:" in `use`; looked up before any file.
using InProcessPlugins = std::map<std::string, InProcessPlugin, std::less<>>;

// What one plug-in is, and what became of it.
struct PluginReport {
  std::string kind;  // estimator, chunk, admission, order, pressure
  std::string name;
  std::string version;
  std::string file;
  std::int64_t calls = 0;
  // Answers that were overruled: none, no number, negative, beyond what is
  // possible; and slow calls, where those are faults.
  std::int64_t faults = 0;
  std::string first_fault;  // in words; empty without any
  std::int64_t slow_calls = 0;
  Duration slowest{};     // of the timed ones
  std::string fallback;   // the built-in that overrules and replaces it
  bool replaced = false;  // for good, after kPluginFaultsMax
};

class Plugins {
 public:
  // Loads what the policy names. Of each problem one error, "estimator.use:
  // PATH: why": NotFound where there is no such file, PermissionDenied where
  // others can write it or its folder, InvalidArgument where it is no plug-in
  // of this version or does not offer the kind.
  static absl::StatusOr<Plugins> Load(const PolicyFile& policy,
                                      const PluginOptions& options = {},
                                      const InProcessPlugins& in_process = {});

  // Whether `policy` names any.
  static bool NamedBy(const PolicyFile& policy);

  Plugins(Plugins&&) noexcept;
  Plugins& operator=(Plugins&&) noexcept;
  ~Plugins();

  // CreateEstimator() of estimator.h, where options.use may be the plug-in that
  // was loaded. InvalidArgument when it refuses its options or the model, and
  // with the arithmetic when its prices cannot be: samples are taken of what is
  // negative and of what falls between breakpoints.
  absl::StatusOr<CreatedEstimator> CreateEstimator(
      const EstimatorOptions& options);

  // Makes the policies that `options` names and that are plug-ins, and puts
  // them into custom_*; the scheduler makes built-in ones itself. Where the
  // estimator is a plug-in, `calibrate` is set: it is trusted until measured,
  // and then bounded by the calibrator. InvalidArgument as above.
  absl::Status Apply(const ModelShape& shape, const EngineSpec& engine,
                     SchedulerOptions* options);

  // What was loaded, with counts of zero, in the order of the policy file's
  // kinds.
  const std::vector<PluginReport>& Loaded() const;

  // One for each plug-in in use, in the order of the policy file's kinds. May
  // be called from any thread.
  std::vector<PluginReport> Reports() const;

 private:
  struct State;
  explicit Plugins(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// One line for each plug-in with faults or with many slow calls: what operators
// should know of.
std::vector<std::string> PluginWarnings(std::span<const PluginReport> reports);

// Counters in the Prometheus text exposition format, version 0.0.4; appended to
// PrometheusText() of service_metrics.h they are one page.
std::string PluginMetricsText(std::span<const PluginReport> reports);

}  // namespace tidegate

#endif  // TIDEGATE_PLUGINS_H_
