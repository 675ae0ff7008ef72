// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/text.h"
#include "scheduler/policy_keys.h"

namespace tidegate::internal {
namespace {

using std::string_view;

std::string Join(std::span<const string_view> words) {
  std::string list;
  for (string_view word : words) {
    list += Concat(list.empty() ? "" : ", ", word);
  }
  return list;
}

}  // namespace

std::string DescribeType(const PolicyKey& key) {
  switch (key.type) {
    case PolicyType::kText:
      return "a string";
    case PolicyType::kWord:
      return Concat("one of ", Join(key.words),
                    key.plugin ? ", plugin:PATH" : "");
    case PolicyType::kBytes:
      return "bytes, such as \"36 GiB\" or 4096";
    case PolicyType::kTokens:
      return "tokens, such as 2048 or \"8k\"";
    case PolicyType::kCount:
      return "an integer";
    case PolicyType::kDuration:
      return "a time, such as \"200 ms\" or \"0.25 s\"";
    case PolicyType::kElement:
      return "a type such as \"fp8\", or bytes per element";
    case PolicyType::kWords:
      return Concat("an array of ", Join(key.words));
    case PolicyType::kTokenList:
      return "an array of tokens, such as [257, 1025]";
    case PolicyType::kOptions:
      return "a table of strings, numbers and booleans";
  }
  return "a value";
}

}  // namespace tidegate::internal
