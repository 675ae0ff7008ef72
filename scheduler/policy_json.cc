// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The keys of a policy file as a JSON object, for scenarios and programs.

#include <string>
#include <utility>

#include "estimators/json_reader.h"
#include "estimators/text.h"
#include "estimators/toml_reader.h"
#include "scheduler/policy_reader.h"
#include "tidegate/policy_file.h"
#include "tidegate/status.h"

namespace tidegate {
namespace {

using internal::Concat;
using internal::InvalidArgument;
using internal::JsonValue;
using internal::TomlNode;

// The tree that the same settings in TOML would give. A JSON text has no places
// worth naming: everything lies at 1:1.
TomlNode ToToml(const JsonValue& json) {
  TomlNode node;
  node.line = 1;
  node.column = 1;
  switch (json.type) {
    case JsonValue::Type::kNull:
      break;  // left out by the caller
    case JsonValue::Type::kBool:
      node.kind = TomlNode::Kind::kBoolean;
      node.boolean = json.boolean;
      break;
    case JsonValue::Type::kInt:
      node.kind = TomlNode::Kind::kInteger;
      node.integer = json.integer;
      node.number = json.number;
      break;
    case JsonValue::Type::kNumber:
      node.kind = TomlNode::Kind::kFloat;
      node.number = json.number;
      break;
    case JsonValue::Type::kString:
      node.kind = TomlNode::Kind::kString;
      node.string = json.text;
      break;
    case JsonValue::Type::kArray:
      node.kind = TomlNode::Kind::kArray;
      for (const JsonValue& item : json.items) {
        node.items.push_back(ToToml(item));
      }
      break;
    case JsonValue::Type::kObject:
      for (std::size_t i = 0; i < json.items.size(); ++i) {
        if (json.items[i].type == JsonValue::Type::kNull) continue;
        node.entries.push_back({json.keys[i], 1, 1, ToToml(json.items[i])});
      }
      break;
  }
  return node;
}

// "FILE:1:1: KEY: …" as messages about JSON are: "FILE: key KEY: …".
std::string WithoutPlace(std::string_view message, const std::string& file) {
  const std::string place = Concat(file, ":1:1: ");
  if (!message.starts_with(place)) return std::string(message);
  return Concat(file, ": key ", message.substr(place.size()));
}

}  // namespace

absl::StatusOr<PolicyFile> ParsePolicyJson(std::string_view json,
                                           const std::string& file) {
  TG_ASSIGN_OR_RETURN(const JsonValue value,
                      internal::ParseJsonObject(json, file));
  absl::StatusOr<PolicyFile> policy =
      internal::ReadPolicy(ToToml(value), file, {});
  if (!policy.ok()) {
    const std::string message(policy.status().message());
    return InvalidArgument(WithoutPlace(message, file));
  }
  for (std::string& warning : policy->warnings) {
    warning = WithoutPlace(warning, file);
  }
  return policy;
}

}  // namespace tidegate
