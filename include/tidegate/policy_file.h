// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Policy file: how an operator configures Tidegate. TOML; every key is checked,
// an unknown one is an error with line, column and a suggestion.
//
//   absl::StatusOr<PolicyFile> policy = LoadPolicyFile("policy.toml");
//   for (const std::string& warning : policy->warnings) log(warning);
//
// Thread-safety: pure functions.

#ifndef TIDEGATE_POLICY_FILE_H_
#define TIDEGATE_POLICY_FILE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tidegate/engine.h"
#include "tidegate/estimator.h"
#include "tidegate/model_config.h"
#include "tidegate/plan.h"
#include "tidegate/step_time.h"
#include "tidegate/tenants.h"
#include "tidegate/time_model.h"

namespace tidegate {

namespace internal {
struct PolicyDocument;
}  // namespace internal
// What a plug-in is given: keys and values as text.
using PluginOptionTable = std::map<std::string, std::string, std::less<>>;

// A policy file's contents. Unset optionals take the defaults noted here; they
// stay unset so that the command line can tell "not said" from "said".
struct PolicyFile {
  // [model]: config names a config.json, relative to the policy file.
  std::optional<std::string> model_config;
  std::optional<ModelShape> model_shape;  // an inline shape instead
  ModelOverrides model_overrides;         // compute_dtype, kv_dtype

  std::optional<EngineSpec> engine;

  // [memory]
  std::optional<Bytes> ceiling;
  std::optional<Bytes> base;      // default: weight bytes if known, else 0
  std::optional<Bytes> headroom;  // default 0
  std::optional<Bytes> max_allocation;
  std::optional<std::int64_t> kv_blocks;  // default 0: no pool
  std::optional<Tokens> kv_block;         // default 16
  std::optional<std::string> probe;       // default "none"; CreateMemoryProbe()
  std::optional<Duration> reading_lag;    // default 0

  // [estimator]
  std::optional<std::string> estimator;  // default "catalog"
  std::optional<Tokens> tile_q;
  std::optional<Tokens> tile_k;
  std::optional<std::int64_t> unknown_score_bytes;
  std::optional<std::string> catalogue;  // file that overrides the built-in one
  std::optional<std::string> table;      // CSV of measured rows
  FormulaOptions formula;
  std::optional<std::string> profile;  // written by `tidegate calibrate`
  // Here and below: where `use` is "plugin:PATH", what the plug-in is given.
  // PATH is that of the shared object, anchored at the policy file (plugins.h).
  PluginOptionTable estimator_options;

  // [chunk]
  std::optional<std::string> chunk_policy;  // default "throttle"
  std::optional<Tokens> chunk_max;
  std::optional<Tokens> chunk_floor;
  std::optional<Tokens> chunk_quantum;
  std::optional<Duration> decode_stall;
  PluginOptionTable chunk_options;

  // [step]: what the engine takes into one forward pass.
  std::optional<std::int64_t> step_sequences;  // default 1
  std::optional<std::string> step_decode;      // default "engine"
  std::optional<Tokens> step_tokens;           // default 0: chunk.max
  std::optional<std::int64_t> step_decodes;    // default 0: all
  std::optional<std::int64_t> step_in_flight;  // default 1
  // [time]: "table" with the profile's path, or "formula".
  std::optional<std::string> time_source;  // default none
  std::optional<std::string> time_profile;
  std::optional<TimeModel> time_formula;

  // [admission], [order]
  std::optional<std::string> admission_policy;  // default "reserve"
  std::optional<std::int64_t> queue_max;
  std::optional<std::int64_t> running_max;
  PluginOptionTable admission_options;
  std::optional<std::string> order_policy;  // default "fcfs"
  PluginOptionTable order_options;

  // [pressure]
  std::optional<std::string> pressure_policy;  // default "cheapest"
  std::optional<std::vector<std::string>> ladder;
  PluginOptionTable pressure_options;

  // [cache]: a prefix cache for simulation; capacity in bytes, block in tokens.
  std::optional<Bytes> cache_capacity;
  std::optional<Tokens> cache_block;

  TenantPolicies tenants;  // [tenant.NAME]

  std::vector<std::string> warnings;

  // The file and those that it includes, as they were opened. Whoever reloads a
  // policy watches them.
  std::vector<std::string> files;
  // What was read, for PolicyForModel() and `tidegate policy show`.
  std::shared_ptr<const internal::PolicyDocument> document;
};

// Where a policy may look beyond its own text. What is not set is not there:
// then `include`, or ${NAME}, is an error with its place.
struct PolicySources {
  // The text of a file that `include` names.
  std::function<absl::StatusOr<std::string>(const std::string& path)> read;
  // A variable of the environment; nullopt: not set.
  std::function<std::optional<std::string>(std::string_view name)> environment;
};

// What [[model_override]] is matched against.
struct PolicyModel {
  std::string name;  // folder of its config.json, or the file without .json
  std::string model_type;
  std::int64_t layers = 0;
};
// `config_path` may be empty: then the model has no name.
PolicyModel DescribeModel(const ModelShape& shape,
                          const std::string& config_path);

// The policy as it is for this model: every [[model_override]] that matches
// replaces what it states, in the order of the file, so that the last one wins.
// What was changed in `policy` since it was read is lost. Overrides that do not
// match are a warning. InvalidArgument as ParsePolicyFile(), where two matching
// overrides contradict each other.
absl::StatusOr<PolicyFile> PolicyForModel(const PolicyFile& policy,
                                          const PolicyModel& model);

// What the policy asks for of an estimator of this model on this engine. Reads
// the catalogue, table and profile that it names: NotFound when one cannot be
// read.
absl::StatusOr<EstimatorOptions> MakeEstimatorOptions(const PolicyFile& policy,
                                                      ModelShape shape,
                                                      EngineSpec engine);

// What [time] says; null where it says nothing. Its Model() is what a scheduler
// starts from, the timer itself how long a simulated step takes. Reads the
// profile that the policy names: NotFound when that cannot be read,
// InvalidArgument "PROFILE:LINE: column C: …" when it is none.
absl::StatusOr<std::shared_ptr<const StepTimer>> MakeStepTimer(
    const PolicyFile& policy);

// `text` is TOML; `file` names it in messages and anchors relative paths.
// InvalidArgument: "FILE:LINE:COLUMN: TABLE.KEY: expected …, got …".
// Of an included file, FILE is that one; of a cycle the message has the chain.
absl::StatusOr<PolicyFile> ParsePolicyFile(std::string_view text,
                                           const std::string& file,
                                           const PolicySources& sources = {});
// Reads files of this machine unless `sources` reads others. NotFound when one
// cannot be read. The library never asks the environment by itself: pass
// `sources.environment`.
absl::StatusOr<PolicyFile> LoadPolicyFile(const std::string& path,
                                          PolicySources sources = {});

// The same keys as a JSON object, tables as nested objects; null counts as not
// said. For scenarios and programs. InvalidArgument: "FILE: key KEY: expected
// …, got …".
absl::StatusOr<PolicyFile> ParsePolicyJson(std::string_view json,
                                           const std::string& file);

}  // namespace tidegate

#endif  // TIDEGATE_POLICY_FILE_H_
