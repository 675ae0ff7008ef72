// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// From the command line to what the library takes: the policy file is read
// first, then flags replace what it says, then model, engine and estimator are
// made. Missing information is an error that names the flag.

#ifndef TIDEGATE_TOOLS_INPUTS_H_
#define TIDEGATE_TOOLS_INPUTS_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tidegate/estimator.h"
#include "tidegate/plan.h"
#include "tidegate/plugins.h"
#include "tidegate/policy_file.h"
#include "tools/arguments.h"

namespace tidegate::tools {

struct Inputs {
  PolicyFile policy;  // flags included
  ModelShape shape;
  std::string model_source;  // path of the config, or "inline shape"
  EngineSpec engine;         // empty where a formula needs none
  EstimatorOptions estimator_options;
  std::unique_ptr<Estimator> estimator;
  std::shared_ptr<Plugins> plugins;  // never null; those that it names
  std::vector<std::string> warnings;
};

// How commands watch plug-ins: slow calls are told, and decide nothing, so that
// a result does not depend on the machine.
PluginOptions ToolPluginOptions();

// InvalidArgument or NotFound as the reader of each part says.
absl::StatusOr<Inputs> LoadInputs(const Arguments& args);

// The same from a policy that is already merged. `plugins` are those of the
// calling program that it may name.
absl::StatusOr<Inputs> LoadInputs(PolicyFile policy,
                                  const InProcessPlugins& plugins = {});

// A policy file with ${NAME} from this process's environment, and with its
// [[model_override]] applied where a model is known: that of `model`, a
// config.json, or else the file's own. A config that cannot be read is left to
// whoever needs it.
absl::StatusOr<PolicyFile> LoadPolicy(const std::string& path,
                                      const std::optional<std::string>& model);

// The policy file, if any, overlaid with the flags.
absl::StatusOr<PolicyFile> MergePolicy(const Arguments& args);
// Replaces what flags say in a policy that was read.
absl::Status OverlayFlags(const Arguments& args, PolicyFile* policy);

// Limits that a plan needs. A missing ceiling is an error; settings without
// effect, and a base that nobody stated, become warnings.
absl::StatusOr<MemoryLimits> ReadMemoryLimits(
    const Inputs& inputs, std::vector<std::string>* warnings);
ChunkLimits ReadChunkLimits(const PolicyFile& policy);

// A policy's probe is for services: what only computes says that it has none.
void WarnOfProbe(const PolicyFile& policy, std::vector<std::string>* warnings);

// ValidateLimits(); its warnings are kept unless the policy file gave the same.
absl::Status CheckLimits(const MemoryLimits& memory, const ChunkLimits& chunk,
                         const PolicyFile& policy,
                         std::vector<std::string>* warnings);

// Flags that are counts of tokens: "4096", "8k". An absent one is an error, or
// `fallback` where there is one.
absl::StatusOr<Tokens> ReadTokens(const std::optional<std::string>& value,
                                  std::string_view flag,
                                  std::optional<Tokens> fallback,
                                  Tokens min = 0);
absl::StatusOr<MaskKind> ReadMask(const Arguments& args);

// Whole file. NotFound when it cannot be read, InvalidArgument for a directory.
absl::StatusOr<std::string> ReadFile(const std::string& path);

// One line each, "warning: …".
void PrintWarnings(const std::vector<std::string>& warnings, std::ostream& err);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_INPUTS_H_
