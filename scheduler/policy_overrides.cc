// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// [[model_override]]: what one policy file says of some models only.

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "estimators/text.h"
#include "scheduler/policy_document.h"
#include "scheduler/policy_reader.h"
#include "tidegate/status.h"

namespace tidegate {
namespace internal {
namespace {

// * stands for any characters, ? for one. Linear but for the last star.
bool MatchesPattern(std::string_view pattern, std::string_view text) {
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = std::string_view::npos;
  std::size_t resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() &&
               (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool Matches(const ModelMatch& match, const PolicyModel& model) {
  if (match.model_type.has_value() &&
      !MatchesPattern(*match.model_type, model.model_type)) {
    return false;
  }
  if (match.name.has_value() && !MatchesPattern(*match.name, model.name)) {
    return false;
  }
  return !match.layers.has_value() || *match.layers == model.layers;
}

void Mark(TomlNode* node, const std::string& part) {
  TomlOrigin origin = node->origin == nullptr ? TomlOrigin{} : *node->origin;
  origin.part = part;
  node->origin = std::make_shared<const TomlOrigin>(std::move(origin));
  for (TomlEntry& entry : node->entries) Mark(&entry.value, part);
  for (TomlNode& item : node->items) Mark(&item, part);
}

// A model is what is matched: an override cannot name another one.
absl::Status RefuseModel(const TomlNode& settings, const std::string& name,
                         const std::string& file) {
  const TomlNode* model = settings.Find("model");
  if (model == nullptr) return absl::OkStatus();
  for (const char* key : {"config", "shape"}) {
    const TomlNode* value = model->Find(key);
    if (value == nullptr) continue;
    return InvalidArgument(PlaceOf(*value, file), name, ".model.", key,
                           ": expected no model: match says for which ones "
                           "this holds");
  }
  return absl::OkStatus();
}

absl::StatusOr<PolicyOverride> ReadOne(TomlNode item, const std::string& name,
                                       const std::string& file) {
  PolicyOverride one;
  one.place = Concat(PlaceOf(item, file), name);
  if (item.kind != TomlNode::Kind::kTable) {
    return InvalidArgument(one.place, ": expected a table, got ",
                           KindName(item.kind));
  }
  const TomlNode* match = item.Find("match");
  if (match == nullptr || match->entries.empty()) {
    return InvalidArgument(
        match == nullptr ? one.place : Concat(PlaceOf(*match, file), name),
        ".match: expected model_type, name or layers, got nothing");
  }
  TG_ASSIGN_OR_RETURN(one.match, ReadModelMatch(*match, file, name));
  for (const TomlEntry& entry : item.entries) {
    if (entry.key != "match") one.settings.entries.push_back(entry);
  }
  one.settings.line = item.line;
  one.settings.column = item.column;
  one.settings.origin = item.origin;
  TG_RETURN_IF_ERROR(RefuseModel(one.settings, name, file));
  TG_RETURN_IF_ERROR(PolicyReader(one.settings, file, name).CheckKeys());
  Mark(&one.settings, name);
  return one;
}

}  // namespace

absl::StatusOr<std::vector<PolicyOverride>> ReadOverrides(
    const TomlNode& list, const std::string& file) {
  if (list.kind != TomlNode::Kind::kArray) {
    return InvalidArgument(PlaceOf(list, file), kOverrideTable,
                           ": expected tables, such as [[model_override]], "
                           "got ",
                           KindName(list.kind));
  }
  std::vector<PolicyOverride> overrides;
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    TG_ASSIGN_OR_RETURN(
        PolicyOverride one,
        ReadOne(list.items[i], Concat(kOverrideTable, "[", i, "]"), file));
    overrides.push_back(std::move(one));
  }
  return overrides;
}

}  // namespace internal

PolicyModel DescribeModel(const ModelShape& shape,
                          const std::string& config_path) {
  std::filesystem::path path(config_path);
  PolicyModel model = {
      .name = path.stem().string(),
      .model_type = shape.model_type,
      .layers = static_cast<std::int64_t>(shape.layers.size())};
  if (path.filename() != "config.json") return model;
  std::error_code unknown;
  path = std::filesystem::absolute(path, unknown).lexically_normal();
  model.name = path.parent_path().filename().string();
  return model;
}

absl::StatusOr<PolicyFile> PolicyForModel(const PolicyFile& policy,
                                          const PolicyModel& model) {
  using internal::Concat;
  if (policy.document == nullptr || policy.document->overrides.empty()) {
    return policy;
  }
  auto document = std::make_shared<internal::PolicyDocument>(*policy.document);
  std::string idle;
  for (const internal::PolicyOverride& one : policy.document->overrides) {
    if (internal::Matches(one.match, model)) {
      internal::MergeSettings(&document->root, one.settings);
    } else {
      idle += Concat(idle.empty() ? "" : "; ", one.place);
    }
  }
  TG_ASSIGN_OR_RETURN(
      PolicyFile applied,
      internal::PolicyReader(document->root, document->file).Read());
  applied.files = policy.files;
  applied.document = std::move(document);
  if (!idle.empty()) {
    applied.warnings.push_back(
        Concat(idle, ": matches no model here: this one is \"", model.name,
               "\", model_type \"", model.model_type, "\", ", model.layers,
               model.layers == 1 ? " layer" : " layers"));
  }
  return applied;
}

}  // namespace tidegate
