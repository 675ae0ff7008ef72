// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A policy as it is written: the file, the files that it includes and the
// environment as one tree, whose every value knows where it stands. Nothing
// here knows what a key means.

#ifndef TIDEGATE_SCHEDULER_POLICY_DOCUMENT_H_
#define TIDEGATE_SCHEDULER_POLICY_DOCUMENT_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "estimators/toml_reader.h"
#include "scheduler/policy_keys.h"
#include "tidegate/policy_file.h"

namespace tidegate::internal {

// One [[model_override]]: its own tables, without `match`.
struct PolicyOverride {
  ModelMatch match;
  TomlNode settings;
  std::string place;  // "FILE:LINE:COLUMN: model_override[0]"
};

struct PolicyDocument {
  std::string file;
  TomlNode root;  // without `include` and `model_override`
  // In the order in which they stand, those of included files first.
  std::vector<PolicyOverride> overrides;
  std::vector<std::string> files;  // `file` first
};

// Deeper, or more of them, is a mistake and not a policy.
inline constexpr std::size_t kIncludeDepthMax = 8;
inline constexpr std::size_t kIncludedFilesMax = 64;

// Puts the files together and fills in the environment. Each file is checked
// key by key before it is merged, so that a mistake shows even where another
// file replaces the value.
absl::StatusOr<PolicyDocument> ReadPolicyDocument(TomlNode root,
                                                  const std::string& file,
                                                  const PolicySources& sources);

// `over` wins, key by key; a list is replaced as a whole.
void MergeSettings(TomlNode* into, const TomlNode& over);

// "FILE:LINE:COLUMN: " of a value, in `file` where it does not say.
std::string PlaceOf(const TomlNode& node, std::string_view file);

// Replaces each ${NAME} and ${NAME:-DEFAULT} of every string; $${ stands for
// ${. The error names the key.
absl::Status FillEnvironment(TomlNode* node, const std::string& path,
                             const std::string& file,
                             const PolicySources& sources);

// The overrides of one file, in whose tree `list` stands. Checks their keys.
absl::StatusOr<std::vector<PolicyOverride>> ReadOverrides(
    const TomlNode& list, const std::string& file);

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_POLICY_DOCUMENT_H_
