// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/policy_document.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>

#include "estimators/text.h"
#include "scheduler/policy_reader.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

void Stamp(TomlNode* node, const std::shared_ptr<const TomlOrigin>& origin) {
  node->origin = origin;
  for (TomlEntry& entry : node->entries) Stamp(&entry.value, origin);
  for (TomlNode& item : node->items) Stamp(&item, origin);
}

// Takes the value under `key` out of the table; false when it is not there.
bool TakeOut(TomlNode* table, std::string_view key, TomlNode* value) {
  const auto found =
      std::find_if(table->entries.begin(), table->entries.end(),
                   [&](const TomlEntry& entry) { return entry.key == key; });
  if (found == table->entries.end()) return false;
  *value = std::move(found->value);
  table->entries.erase(found);
  return true;
}

// Puts one document together. Lives as long as the call.
class Assembler {
 public:
  explicit Assembler(const PolicySources& sources) : sources_(sources) {}

  absl::Status Add(TomlNode root, const std::string& file);
  PolicyDocument Take() { return std::move(document_); }

 private:
  absl::Status Include(const TomlNode& list, const std::string& file);
  absl::Status IncludeOne(const TomlNode& name, const std::string& file);
  // "a.toml includes b.toml includes a.toml"
  std::string Chain(const std::string& last) const;

  const PolicySources& sources_;
  std::vector<std::string> open_;  // the files that are being read
  PolicyDocument document_;
};

std::string Assembler::Chain(const std::string& last) const {
  std::string chain;
  for (const std::string& file : open_) chain += Concat(file, " includes ");
  return chain + last;
}

absl::Status Assembler::IncludeOne(const TomlNode& name,
                                   const std::string& file) {
  const std::string place = Concat(PlaceOf(name, file), "include: ");
  if (name.kind != TomlNode::Kind::kString || name.string.empty()) {
    return InvalidArgument(place, "expected the name of a policy file, got ",
                           name.kind == TomlNode::Kind::kString
                               ? std::string_view("\"\"")
                               : KindName(name.kind));
  }
  if (sources_.read == nullptr) {
    return InvalidArgument(place,
                           "expected no other file: nothing here reads "
                           "files");
  }
  std::filesystem::path path(name.string);
  if (path.is_relative()) {
    path = std::filesystem::path(file).parent_path() / path;
  }
  const std::string other = path.lexically_normal().string();
  if (std::find(open_.begin(), open_.end(), other) != open_.end()) {
    return InvalidArgument(place, "expected no cycle, got ", Chain(other));
  }
  if (open_.size() > kIncludeDepthMax) {
    return InvalidArgument(place, "expected at most ", kIncludeDepthMax,
                           " files inside each other, got ", Chain(other));
  }
  if (document_.files.size() > kIncludedFilesMax) {
    return InvalidArgument(place, "expected at most ", kIncludedFilesMax,
                           " included files");
  }
  const absl::StatusOr<std::string> text = sources_.read(other);
  if (!text.ok()) {
    return absl::Status(text.status().code(),
                        Concat(place, std::string(text.status().message())));
  }
  TG_ASSIGN_OR_RETURN(TomlNode root, ParseToml(*text, other));
  return Add(std::move(root), other);
}

absl::Status Assembler::Include(const TomlNode& list, const std::string& file) {
  if (list.kind == TomlNode::Kind::kString) return IncludeOne(list, file);
  if (list.kind != TomlNode::Kind::kArray) {
    return InvalidArgument(PlaceOf(list, file),
                           "include: expected an array of policy files, got ",
                           KindName(list.kind));
  }
  for (const TomlNode& name : list.items) {
    TG_RETURN_IF_ERROR(IncludeOne(name, file));
  }
  return absl::OkStatus();
}

absl::Status Assembler::Add(TomlNode root, const std::string& file) {
  open_.push_back(std::filesystem::path(file).lexically_normal().string());
  document_.files.push_back(file);
  Stamp(&root, std::make_shared<TomlOrigin>(TomlOrigin{file, ""}));
  TG_RETURN_IF_ERROR(FillEnvironment(&root, "", file, sources_));
  TomlNode value;
  // What is included comes first: what stands here replaces it.
  if (TakeOut(&root, IncludeKey().name, &value)) {
    TG_RETURN_IF_ERROR(Include(value, file));
  }
  std::vector<PolicyOverride> overrides;
  if (TakeOut(&root, kOverrideTable, &value)) {
    TG_ASSIGN_OR_RETURN(overrides, ReadOverrides(value, file));
  }
  TG_RETURN_IF_ERROR(PolicyReader(root, file).CheckKeys());
  MergeSettings(&document_.root, root);
  for (PolicyOverride& one : overrides) {
    document_.overrides.push_back(std::move(one));
  }
  open_.pop_back();
  return absl::OkStatus();
}

}  // namespace

std::string PlaceOf(const TomlNode& node, std::string_view file) {
  return Concat(
      node.origin == nullptr ? file : std::string_view(node.origin->file), ":",
      std::max(node.line, 1), ":", std::max(node.column, 1), ": ");
}

void MergeSettings(TomlNode* into, const TomlNode& over) {
  into->line = over.line;
  into->column = over.column;
  into->origin = over.origin;
  for (const TomlEntry& entry : over.entries) {
    const auto found = std::find_if(
        into->entries.begin(), into->entries.end(),
        [&](const TomlEntry& old) { return old.key == entry.key; });
    if (found == into->entries.end()) {
      into->entries.push_back(entry);
    } else if (found->value.kind == TomlNode::Kind::kTable &&
               entry.value.kind == TomlNode::Kind::kTable) {
      MergeSettings(&found->value, entry.value);
    } else {
      *found = entry;
    }
  }
}

absl::StatusOr<PolicyDocument> ReadPolicyDocument(
    TomlNode root, const std::string& file, const PolicySources& sources) {
  Assembler assembler(sources);
  TG_RETURN_IF_ERROR(assembler.Add(std::move(root), file));
  PolicyDocument document = assembler.Take();
  document.file = file;
  return document;
}

}  // namespace tidegate::internal
