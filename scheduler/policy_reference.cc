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
  std::string text;
  std::string_view table;
  for (const PolicyKey& key : PolicyKeys()) {
    if (key.table != table) {
      table = key.table;
      text += Concat(text.empty() ? "" : "\n", "### `[", table, "]`\n\n",
                     "| key | value | when absent | meaning |\n",
                     "|---|---|---|---|\n");
    }
    text += Row(key);
  }
  return text;
}

}  // namespace tidegate::internal
