// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What a verb gets: the command line as it was typed, and where to write.

#ifndef TIDEGATE_TOOLS_ARGUMENTS_H_
#define TIDEGATE_TOOLS_ARGUMENTS_H_

#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tidegate/plugins.h"

namespace tidegate {
struct SimulationResult;
}

namespace tidegate::tools {

// Exit codes, fixed so that scripts can rely on them.
inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitBadInput = 2;
inline constexpr int kExitRefused = 3;  // plan and explain only

// Values are kept as text: each verb reads those it needs, and a message can
// name the flag and show what was typed.
struct Arguments {
  bool json = false;

  std::optional<std::string> policy;
  std::optional<std::string> model;
  std::optional<std::string> engine;
  std::vector<std::string> engine_options;  // KEY=VALUE
  std::optional<std::string> estimator;
  std::optional<std::string> catalogue;
  std::optional<std::string> kv_dtype;

  std::optional<std::string> n;
  std::optional<std::string> kv_len;
  std::optional<std::string> mask;
  std::optional<std::string> prompt;
  std::optional<std::string> cached;
  std::optional<std::string> max_output;

  std::optional<std::string> ceiling;
  std::optional<std::string> base;
  std::optional<std::string> headroom;
  std::optional<std::string> max_allocation;
  std::optional<std::string> chunk_max;
  std::optional<std::string> chunk_floor;
  std::optional<std::string> chunk_quantum;

  std::optional<std::string> trace;
  std::optional<std::string> requests;
  std::optional<std::string> slo_ttft;
  std::optional<std::string> slo_itl;
  std::optional<std::string> rival;
  std::optional<std::string> out;
  bool progress = false;
  bool with_scratch = false;
  std::optional<std::string> profile;  // validate
  std::optional<std::string> date;     // calibrate

  // compare; lists are separated by commas.
  std::optional<std::string> policies;
  std::vector<std::string> traces;
  std::optional<std::string> loads;
  std::optional<std::string> seeds;
  std::optional<std::string> jobs;
  bool resume = false;

  // Of the calling program. Each replaces what the policy uses of its kind.
  InProcessPlugins plugins;

  std::vector<std::string> files;   // validate, calibrate, replay, policy
  std::optional<std::string> name;  // engines
};

// Results go to `out`, warnings and progress to `err`.
struct Streams {
  std::ostream& out;
  std::ostream& err;
  bool err_is_terminal = false;
  // Of simulate: what came of it, for callers in the same process.
  std::function<void(const SimulationResult&)> on_result;
};

// The verbs. Each returns its exit code, or a status: InvalidArgument and
// NotFound are bad input (2), everything else failed (1).
absl::StatusOr<int> RunPrice(const Arguments& args, Streams& io);
absl::StatusOr<int> RunPlan(const Arguments& args, Streams& io);
absl::StatusOr<int> RunExplain(const Arguments& args, Streams& io);
absl::StatusOr<int> RunEngines(const Arguments& args, Streams& io);
absl::StatusOr<int> RunValidate(const Arguments& args, Streams& io);
absl::StatusOr<int> RunSimulate(const Arguments& args, Streams& io);
absl::StatusOr<int> RunCompare(const Arguments& args, Streams& io);
absl::StatusOr<int> RunReplay(const Arguments& args, Streams& io);
absl::StatusOr<int> RunCalibrate(const Arguments& args, Streams& io);
absl::StatusOr<int> RunPolicyCheck(const Arguments& args, Streams& io);
absl::StatusOr<int> RunPolicySchema(const Arguments& args, Streams& io);
absl::StatusOr<int> RunPolicyShow(const Arguments& args, Streams& io);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_ARGUMENTS_H_
