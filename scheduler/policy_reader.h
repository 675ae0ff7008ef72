// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A policy is read in three passes: every key by the table in policy_keys.h,
// then the tables that must agree with each other, then the settings that are
// right but change nothing.

#ifndef TIDEGATE_SCHEDULER_POLICY_READER_H_
#define TIDEGATE_SCHEDULER_POLICY_READER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "estimators/toml_reader.h"
#include "scheduler/policy_keys.h"
#include "tidegate/policy_file.h"

namespace tidegate::internal {

// Reads one tree of settings. Lives as long as the call.
class PolicyReader {
 public:
  // Both must outlive the reader. `path` is where the tree hangs, for messages.
  PolicyReader(const TomlNode& root, const std::string& file,
               std::string_view path = "")
      : root_(root), file_(file), reader_(root, file, path) {}

  absl::StatusOr<PolicyFile> Read();
  // What can be said of a part of a policy: that each of its keys is one and
  // has a value of its type.
  absl::Status CheckKeys();
  // The tree as the `match` of an override.
  absl::StatusOr<ModelMatch> ReadMatch();

 private:
  TomlReader* ReaderOf(std::string_view table);
  const TomlNode* NodeOf(std::string_view table, std::string_view key) const;
  bool Said(std::string_view table, std::string_view key) const {
    return NodeOf(table, key) != nullptr;
  }
  // "FILE:LINE:COLUMN: TABLE.KEY: " of a key that the document holds.
  std::string At(std::string_view table, std::string_view key) const;

  void ReadKey(const PolicyKey& key, TomlReader* in);
  void ReadKeys();
  void ReadTenants();
  absl::Status FinishTables();
  bool ReadValue(const PolicyKey& key, TomlReader& in, PolicyValue* value);
  bool ReadWord(const PolicyKey& key, TomlReader& in, const std::string& word);
  bool ReadOptions(const PolicyKey& key, TomlReader& in, PolicyValue* value);
  bool InRange(const PolicyKey& key, TomlReader& in, std::int64_t value);

  void Require(const PolicyKey& key, TomlReader* in);

  absl::Status CheckModel();
  absl::Status CheckMemory();
  absl::Status CheckTime();
  absl::Status CheckEstimator();
  void Warn(std::string_view table, std::string_view key, std::string_view why);
  void WarnAboutEffects();
  void WarnAboutTenants();
  // A path as the file in which it stands means it: relative ones start there.
  void Anchor(std::string_view table, std::string_view key,
              std::optional<std::string>* path) const;
  void AnchorPlugins();

  const TomlNode& root_;
  const std::string& file_;
  TomlReader reader_;
  bool partial_ = false;  // nothing is missing
  std::map<std::string, TomlReader, std::less<>> tables_;
  PolicyDraft draft_;
};

// `match` of the override that messages call `owner`.
absl::StatusOr<ModelMatch> ReadModelMatch(const TomlNode& match,
                                          const std::string& file,
                                          const std::string& owner);

// The whole way: from the tree of one file to a policy.
absl::StatusOr<PolicyFile> ReadPolicy(TomlNode root, const std::string& file,
                                      const PolicySources& sources);

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_POLICY_READER_H_
