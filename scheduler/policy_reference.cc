// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/policy_reference.h"

#include <cstdint>
#include <limits>
#include <string_view>

#include "estimators/text.h"
#include "scheduler/policy_keys.h"

namespace tidegate::internal {
namespace {

constexpr std::string_view kHeader =
    "| key | value | when absent | meaning |\n|---|---|---|---|\n";

// A bar would end the cell.
std::string Cell(std::string_view text) {
  std::string cell;
  for (const char c : text) {
    if (c == '|') cell += '\\';
    cell += c;
  }
  return cell;
}

std::string Range(const PolicyKey& key) {
  const bool ranged = key.type == PolicyType::kBytes ||
                      key.type == PolicyType::kTokens ||
                      key.type == PolicyType::kCount;
  if (!ranged) return "";
  if (key.max == std::numeric_limits<std::int64_t>::max()) {
    return Concat("; at least ", key.min);
  }
  return Concat("; ", key.min, " to ", key.max);
}

std::string Row(const PolicyKey& key) {
  std::string_view fallback = key.fallback;
  if (key.required) fallback = "**required**";
  std::string doc(key.doc);
  if (!key.no_effect.empty()) {
    doc += Concat(" *Without effect: ", key.no_effect, ".*");
  }
  return Concat("| `", key.name, "` | ", Cell(DescribeType(key)), Range(key),
                " | ", Cell(fallback), " | ", Cell(doc), " |\n");
}

}  // namespace

std::string PolicyReference() {
  std::string text = Concat("### At the top of a file\n\n", kHeader);
  PolicyKey include = IncludeKey();
  constexpr std::string_view kFiles[] = {"file names"};
  include.words = kFiles;
  text += Row(include);
  std::string_view table;
  const auto add = [&](std::span<const PolicyKey> keys, bool list = false) {
    for (const PolicyKey& key : keys) {
      if (key.table != table) {
        table = key.table;
        text += Concat("\n### `[", list ? "[model_override]]` match" : table,
                       list ? "" : "]`", "\n\n", kHeader);
      }
      text += Row(key);
    }
  };
  add(PolicyKeys());
  add(TenantKeys());
  add(MatchKeys(), true);
  return text;
}

}  // namespace tidegate::internal
