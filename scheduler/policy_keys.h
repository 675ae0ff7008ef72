// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Every key of a policy file, once: parsing, messages and documentation all
// come from this table, so none can know a key that the others do not.

#ifndef TIDEGATE_SCHEDULER_POLICY_KEYS_H_
#define TIDEGATE_SCHEDULER_POLICY_KEYS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "tidegate/policy_file.h"
#include "tidegate/tenants.h"

namespace tidegate::internal {

// How `use` names a plug-in: this, then the path of a shared object.
inline constexpr std::string_view kPluginWord = "plugin:";

// How a value is written.
enum class PolicyType {
  kText,       // a string
  kWord,       // one of `words`
  kBytes,      // an integer, or a string with a unit
  kTokens,     // an integer, or a string such as "8k"
  kCount,      // an integer
  kDuration,   // a string with a unit
  kElement,    // a type's name, or a number of bytes per element
  kWords,      // an array of `words`
  kTokenList,  // an array of integers
  kOptions,    // a table of strings, integers, numbers and booleans
};

// What the document says, once the type and the range are checked.
struct PolicyValue {
  std::string text;                    // kText, kWord, kElement
  std::vector<std::string> words;      // kWords
  std::vector<std::int64_t> integers;  // kTokenList
  std::int64_t integer = 0;            // kBytes, kTokens, kCount; nanoseconds
  std::map<std::string, std::string, std::less<>> options;
};

// For which models a [[model_override]] holds: for those of which everything
// is so that is set. The texts may hold * and ?.
struct ModelMatch {
  std::optional<std::string> model_type;
  std::optional<std::string> name;
  std::optional<std::int64_t> layers;
};

// What has been read so far.
struct PolicyDraft {
  PolicyFile policy;
  EngineSpec engine;
  // Members of the inline shape as JSON, for ParseInlineShape().
  std::string shape_members;
  TenantLimits tenant;  // of the table that is being read
  ModelMatch match;     // the same
};

struct PolicyKey {
  std::string_view table;  // "memory"; "model.shape" lies in [model]
  std::string_view name;
  PolicyType type = PolicyType::kText;
  std::string_view unit;  // for documentation
  // Inclusive range of kBytes, kTokens and kCount.
  std::int64_t min = 0;
  std::int64_t max = 0;
  std::span<const std::string_view> words;  // kWord, kWords
  bool plugin = false;                      // or "plugin:PATH"
  std::string_view fallback;                // what holds when the key is absent
  bool required = false;                    // where its table is present
  // Why setting it changes nothing in this version; empty: it has effect.
  std::string_view no_effect;
  std::string_view doc;
  // Takes the value; an error becomes one at the key. Null without effect.
  absl::Status (*store)(const PolicyKey& key, const PolicyValue& value,
                        PolicyDraft* draft) = nullptr;
};

// In the order in which documentation lists them: by table.
std::span<const PolicyKey> PolicyKeys();
// Its first part: what there is.
std::span<const PolicyKey> WorldKeys();
// Those of each [tenant.NAME], and of `match` in each [[model_override]].
std::span<const PolicyKey> TenantKeys();
std::span<const PolicyKey> MatchKeys();
// What may stand at the top of a file beside tables, for documentation: the
// reader of documents takes it out (policy_document.h).
const PolicyKey& IncludeKey();

inline constexpr std::string_view kTenantTable = "tenant";
inline constexpr std::string_view kOverrideTable = "model_override";

// "bytes", "tokens", "one of fixed, throttle": for messages and documentation.
std::string DescribeType(const PolicyKey& key);

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_POLICY_KEYS_H_
