// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate policy schema: policy files as JSON Schema, from the table that
// reads them.

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "estimators/text.h"
#include "scheduler/policy_keys.h"
#include "tools/arguments.h"

namespace tidegate::tools {
namespace {

using internal::Concat;
using internal::PolicyKey;
using internal::PolicyType;
using nlohmann::ordered_json;

// What units.cc and text.cc read. A schema cannot say that a fraction must come
// to a whole number, nor bound a text that holds one.
constexpr char kBytesPattern[] =
    "^ *[0-9]{1,19}(\\.[0-9]+)? *([bB]|[kKmMgGtTpPeE][iI]?[bB])? *$";
constexpr char kTokensPattern[] = "^ *[0-9]{1,15} *[kKmM]? *$";
constexpr char kPluginPattern[] = "^plugin:.+$";
constexpr char kDurationPattern[] =
    "^ *[0-9]{1,15}(\\.[0-9]{1,9})? *(ns|us|ms|s) *$";

ordered_json Integer(const PolicyKey& key) {
  ordered_json schema = {{"type", "integer"}, {"minimum", key.min}};
  if (key.max != std::numeric_limits<std::int64_t>::max()) {
    schema["maximum"] = key.max;
  }
  return schema;
}

ordered_json Words(const PolicyKey& key) {
  ordered_json words = ordered_json::array();
  for (const std::string_view word : key.words) {
    words.push_back(std::string(word));
  }
  return {{"enum", std::move(words)}};
}

ordered_json Or(ordered_json one, const char* pattern) {
  return {
      {"anyOf", {std::move(one), {{"type", "string"}, {"pattern", pattern}}}}};
}

// A text that the environment completes: its value is checked when it is read.
constexpr char kVariablePattern[] = "\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\\}";

ordered_json PlainSchema(const PolicyKey& key) {
  switch (key.type) {
    case PolicyType::kText:
      return {{"type", "string"}};
    case PolicyType::kWord:
      return key.plugin ? Or(Words(key), kPluginPattern) : Words(key);
    case PolicyType::kBytes:
      return Or(Integer(key), kBytesPattern);
    case PolicyType::kTokens:
      return Or(Integer(key), kTokensPattern);
    case PolicyType::kCount:
      return Integer(key);
    case PolicyType::kDuration:
      return {{"type", "string"}, {"pattern", kDurationPattern}};
    case PolicyType::kElement:
      return {{"type", {"string", "number"}}};
    case PolicyType::kWords:
      return {{"type", "array"}, {"items", Words(key)}, {"uniqueItems", true}};
    case PolicyType::kTokenList:
      return {{"type", "array"}, {"items", Integer(key)}};
    case PolicyType::kOptions:
      return {{"type", "object"},
              {"additionalProperties",
               {{"type", {"string", "number", "boolean"}}}}};
  }
  return ordered_json::object();
}

ordered_json ValueSchema(const PolicyKey& key) {
  switch (key.type) {
    case PolicyType::kWord:
    case PolicyType::kBytes:
    case PolicyType::kTokens:
    case PolicyType::kCount:
    case PolicyType::kDuration:
      return Or(PlainSchema(key), kVariablePattern);
    default:
      return PlainSchema(key);  // a text, or a list
  }
}

std::string Description(const PolicyKey& key) {
  std::string text(key.doc);
  if (!key.required) text += Concat(" When absent: ", key.fallback, ".");
  if (!key.no_effect.empty()) {
    text += Concat(" Without effect: ", key.no_effect, ".");
  }
  return text;
}

ordered_json EmptyTable() {
  return {{"type", "object"},
          {"properties", ordered_json::object()},
          {"additionalProperties", false}};
}

// The schema of "model.shape" inside that of "model", made where it is missing.
ordered_json& TableAt(ordered_json& root, std::string_view path) {
  ordered_json* table = &root;
  while (!path.empty()) {
    const std::size_t dot = std::min(path.find('.'), path.size());
    ordered_json& inner =
        (*table)["properties"][std::string(path.substr(0, dot))];
    if (inner.is_null()) inner = EmptyTable();
    table = &inner;
    path.remove_prefix(std::min(dot + 1, path.size()));
  }
  return *table;
}

void AddKey(const PolicyKey& key, ordered_json* table) {
  ordered_json value = ValueSchema(key);
  value["description"] = Description(key);
  (*table)["properties"][std::string(key.name)] = std::move(value);
}

// Every table, none of whose keys has to be there.
ordered_json Optional(ordered_json tables) {
  tables.erase("required");
  for (ordered_json& table : tables["properties"]) {
    if (table.contains("properties")) table = Optional(std::move(table));
  }
  return tables;
}

void AddShared(ordered_json* root) {
  ordered_json tenant = EmptyTable();
  for (const PolicyKey& key : internal::TenantKeys()) AddKey(key, &tenant);
  (*root)["properties"][std::string(internal::kTenantTable)] = {
      {"type", "object"},
      {"description", "One table for each tenant; \"*\": all others."},
      {"additionalProperties", std::move(tenant)}};

  // An override is every table again; the model is what it is matched by.
  ordered_json one = Optional(EmptyTable());
  one["properties"] = Optional(*root)["properties"];
  one["properties"]["model"]["properties"].erase("config");
  one["properties"]["model"]["properties"].erase("shape");
  ordered_json match = EmptyTable();
  match["minProperties"] = 1;
  for (const PolicyKey& key : internal::MatchKeys()) AddKey(key, &match);
  one["properties"]["match"] = std::move(match);
  one["required"] = {"match"};
  (*root)["properties"][std::string(internal::kOverrideTable)] = {
      {"type", "array"},
      {"description",
       "Settings for some models: those of every table that matches replace "
       "what the file says, the last one above all."},
      {"items", std::move(one)}};

  const PolicyKey& include = internal::IncludeKey();
  const ordered_json name = {{"type", "string"}, {"minLength", 1}};
  (*root)["properties"][std::string(include.name)] = {
      {"anyOf", {name, {{"type", "array"}, {"items", name}}}},
      {"description", Description(include)}};
}

}  // namespace

absl::StatusOr<int> RunPolicySchema(const Arguments& /*args*/, Streams& io) {
  ordered_json root = {
      {"$schema", "https://json-schema.org/draft/2020-12/schema"},
      {"title", "Tidegate policy file"},
      {"description",
       "Written in TOML; the same settings as a JSON object are read too."}};
  root.update(EmptyTable());
  for (const PolicyKey& key : internal::PolicyKeys()) {
    ordered_json& table = TableAt(root, key.table);
    AddKey(key, &table);
    if (key.required) table["required"].push_back(std::string(key.name));
  }
  AddShared(&root);
  io.out << root.dump(2) << "\n";
  return kExitDone;
}

}  // namespace tidegate::tools
