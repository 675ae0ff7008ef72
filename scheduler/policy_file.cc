// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/policy_file.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <limits>
#include <memory>
#include <sstream>
#include <utility>

#include "estimators/read_file.h"
#include "estimators/text.h"
#include "scheduler/policy_document.h"
#include "scheduler/policy_reader.h"
#include "scheduler/units.h"
#include "tidegate/status.h"

namespace tidegate {
namespace internal {

using std::string_view;

namespace {

bool ParseWhole(std::string_view text, std::int64_t* value) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, *value);
  return error == std::errc() && stop == end;
}

}  // namespace

TomlReader* PolicyReader::ReaderOf(std::string_view table) {
  const auto found = tables_.find(table);
  if (found != tables_.end()) return &found->second;
  const std::size_t dot = table.rfind('.');
  TomlReader child =
      dot == std::string_view::npos
          ? reader_.Table(table)
          : ReaderOf(table.substr(0, dot))->Table(table.substr(dot + 1));
  return &tables_.emplace(std::string(table), std::move(child)).first->second;
}

const TomlNode* PolicyReader::NodeOf(std::string_view table,
                                     std::string_view key) const {
  const TomlNode* node = &root_;
  while (node != nullptr && !table.empty()) {
    const std::size_t dot = std::min(table.find('.'), table.size());
    node = node->Find(table.substr(0, dot));
    table.remove_prefix(std::min(dot + 1, table.size()));
  }
  return node == nullptr || key.empty() ? node : node->Find(key);
}

std::string PolicyReader::At(std::string_view table,
                             std::string_view key) const {
  const TomlNode* node = NodeOf(table, key);
  return Concat(PlaceOf(node == nullptr ? root_ : *node, file_), table,
                key.empty() ? "" : ".", key, ": ");
}

bool PolicyReader::InRange(const PolicyKey& key, TomlReader& in,
                           std::int64_t value) {
  if (value >= key.min && value <= key.max) return true;
  const bool open = key.max == std::numeric_limits<std::int64_t>::max();
  in.Error(key.name,
           Concat("expected ", open ? "at least " : "", key.min,
                  open ? "" : Concat(" to ", key.max), ", got ", value));
  return false;
}

bool PolicyReader::ReadWord(const PolicyKey& key, TomlReader& in,
                            const std::string& word) {
  if (std::find(key.words.begin(), key.words.end(), word) != key.words.end()) {
    return true;
  }
  if (key.plugin && word.starts_with(kPluginWord)) {
    if (word.size() > kPluginWord.size()) return true;
    in.Error(key.name,
             "expected the path of a shared object behind \"plugin:\", got "
             "nothing");
    return false;
  }
  std::string list;
  for (std::string_view known : key.words) {
    list += Concat(list.empty() ? "" : ", ", known);
  }
  in.Error(key.name, Concat("expected one of ", list, ", got \"", word, "\"",
                            Suggest(word, key.words)));
  return false;
}

bool PolicyReader::ReadOptions(const PolicyKey& key, TomlReader& in,
                               PolicyValue* value) {
  const TomlNode* node = in.Raw(key.name);
  if (node == nullptr) return false;
  if (node->kind != TomlNode::Kind::kTable) {
    in.Error(key.name, Concat("expected ", DescribeType(key), ", got ",
                              KindName(node->kind)));
    return false;
  }
  for (const TomlEntry& entry : node->entries) {
    const TomlNode& option = entry.value;
    std::string text;
    if (option.kind == TomlNode::Kind::kString) {
      text = option.string;
    } else if (option.kind == TomlNode::Kind::kInteger) {
      text = std::to_string(option.integer);
    } else if (option.kind == TomlNode::Kind::kBoolean) {
      text = option.boolean ? "true" : "false";
    } else if (option.kind == TomlNode::Kind::kFloat) {
      // The shortest form that reads back: 0.9 and not 0.900000.
      std::ostringstream shortest;
      shortest << option.number;
      text = shortest.str();
    } else {
      in.Error(key.name, Concat("option ", entry.key,
                                ": expected a string, number or boolean, got ",
                                KindName(option.kind)));
      return false;
    }
    value->options.emplace(entry.key, std::move(text));
  }
  return true;
}

bool PolicyReader::ReadValue(const PolicyKey& key, TomlReader& in,
                             PolicyValue* value) {
  switch (key.type) {
    case PolicyType::kText:
      return in.Optional(key.name, &value->text);
    case PolicyType::kWord:
      return in.Optional(key.name, &value->text) &&
             ReadWord(key, in, value->text);
    case PolicyType::kBytes:
      return in.Bytes(key.name, &value->integer) &&
             InRange(key, in, value->integer);
    case PolicyType::kCount: {
      // The environment has texts only.
      const TomlNode* node = in.Peek(key.name);
      if (node != nullptr && !node->environment.empty() &&
          ParseWhole(node->string, &value->integer)) {
        in.Ignore(key.name);
        return InRange(key, in, value->integer);
      }
      return in.Optional(key.name, &value->integer) &&
             InRange(key, in, value->integer);
    }
    case PolicyType::kWords: {
      if (!in.Optional(key.name, &value->words)) return false;
      for (auto word = value->words.begin(); word != value->words.end();
           ++word) {
        if (!ReadWord(key, in, *word)) return false;
        if (std::find(value->words.begin(), word, *word) != word) {
          in.Error(key.name, Concat("expected each word once, got \"", *word,
                                    "\" twice"));
          return false;
        }
      }
      return true;
    }
    case PolicyType::kTokenList: {
      if (!in.Optional(key.name, &value->integers)) return false;
      return std::all_of(
          value->integers.begin(), value->integers.end(),
          [&](std::int64_t one) { return InRange(key, in, one); });
    }
    case PolicyType::kOptions:
      return ReadOptions(key, in, value);
    case PolicyType::kTokens:
    case PolicyType::kDuration:
    case PolicyType::kElement:
      break;
  }
  // The types that are a number or a string with a unit.
  const TomlNode* node = in.Raw(key.name);
  if (node == nullptr) return false;
  Duration duration{};
  const bool is_string = node->kind == TomlNode::Kind::kString;
  const bool is_integer = node->kind == TomlNode::Kind::kInteger;
  bool good = false;
  if (key.type == PolicyType::kTokens) {
    value->integer = node->integer;
    good =
        is_integer || (is_string && ParseTokens(node->string, &value->integer));
  } else if (key.type == PolicyType::kDuration) {
    good = is_string && ParseDuration(node->string, &duration);
    value->integer = duration.count();
  } else {
    std::ostringstream number;
    number << node->number;
    value->text = is_string ? node->string : number.str();
    good = is_string || is_integer || node->kind == TomlNode::Kind::kFloat;
  }
  if (!good) {
    const std::string got = is_string ? Concat("\"", node->string, "\"")
                                      : std::string(KindName(node->kind));
    in.Error(key.name, Concat("expected ", DescribeType(key), ", got ", got));
    return false;
  }
  return key.type != PolicyType::kTokens || InRange(key, in, value->integer);
}

void PolicyReader::Require(const PolicyKey& key, TomlReader* in) {
  if (partial_ || !key.required || !in->status().ok() || !Said(key.table, "") ||
      Said(key.table, key.name)) {
    return;
  }
  // Names the key or its misspelling, which no other key's name is.
  for (const PolicyKey& other : PolicyKeys()) {
    if (other.table == key.table) in->Ignore(other.name);
  }
  std::string none;
  in->Required(key.name, &none);
}

void PolicyReader::ReadKey(const PolicyKey& key, TomlReader* in) {
  PolicyValue value;
  if (!ReadValue(key, *in, &value)) return Require(key, in);
  if (!key.no_effect.empty()) Warn(key.table, key.name, key.no_effect);
  if (key.store == nullptr) return;
  const absl::Status stored = key.store(key, value, &draft_);
  if (!stored.ok()) in->Error(key.name, std::string(stored.message()));
}

void PolicyReader::ReadTenants() {
  TomlReader tenants = reader_.Table(kTenantTable);
  TenantPolicies& all = draft_.policy.tenants;
  const auto read = [&](std::string_view name) {
    TomlReader one = tenants.Table(name);
    for (const PolicyKey& key : TenantKeys()) ReadKey(key, &one);
    // The first error is shared by all readers of the tree.
    one.Finish().IgnoreError();
  };
  if (tenants.Has("*")) {
    read("*");
    all.others = draft_.tenant;
  }
  for (const std::string_view name : tenants.Keys()) {
    if (name == "*") continue;
    if (name.empty()) {
      tenants.Error(name, "expected the name of a tenant, got \"\"");
      return;
    }
    // What a tenant's table leaves open, that of all others says.
    draft_.tenant = all.others;
    read(name);
    all.named.emplace(name, draft_.tenant);
  }
}

void PolicyReader::ReadKeys() {
  reader_.Ignore(IncludeKey().name);
  reader_.Ignore(kOverrideTable);
  for (const PolicyKey& key : PolicyKeys()) ReadKey(key, ReaderOf(key.table));
  ReadTenants();
}

// Where a plug-in lies, and options that no plug-in is given.
void PolicyReader::AnchorPlugins() {
  PolicyFile& policy = draft_.policy;
  const std::pair<string_view, std::optional<std::string>*> kinds[] = {
      {"estimator", &policy.estimator},
      {"chunk", &policy.chunk_policy},
      {"admission", &policy.admission_policy},
      {"order", &policy.order_policy},
      {"pressure", &policy.pressure_policy}};
  for (const auto& [table, use] : kinds) {
    if (use->has_value() && (*use)->starts_with(kPluginWord)) {
      std::optional<std::string> object = (*use)->substr(kPluginWord.size());
      Anchor(table, "use", &object);
      *use = Concat(kPluginWord, *object);
    } else if (Said(table, "options")) {
      Warn(table, "options", Concat(table, ".use is no plug-in"));
    }
  }
}

absl::Status PolicyReader::FinishTables() {
  // Inner tables first: each names its own unknown keys.
  for (auto table = tables_.rbegin(); table != tables_.rend(); ++table) {
    TG_RETURN_IF_ERROR(table->second.Finish());
  }
  return reader_.Finish();
}

absl::Status PolicyReader::CheckKeys() {
  partial_ = true;
  ReadKeys();
  return FinishTables();
}

absl::StatusOr<ModelMatch> PolicyReader::ReadMatch() {
  for (const PolicyKey& key : MatchKeys()) ReadKey(key, &reader_);
  TG_RETURN_IF_ERROR(reader_.Finish());
  return draft_.match;
}

void PolicyReader::Anchor(std::string_view table, std::string_view key,
                          std::optional<std::string>* path) const {
  if (!path->has_value()) return;
  const std::filesystem::path given(**path);
  if (given.is_absolute()) return;
  const TomlNode* node = NodeOf(table, key);
  const bool elsewhere = node != nullptr && node->origin != nullptr;
  const std::filesystem::path file(elsewhere ? node->origin->file : file_);
  *path = (file.parent_path() / given).lexically_normal().string();
}

absl::StatusOr<PolicyFile> PolicyReader::Read() {
  ReadKeys();
  TG_RETURN_IF_ERROR(FinishTables());
  TG_RETURN_IF_ERROR(CheckModel());
  TG_RETURN_IF_ERROR(CheckMemory());
  TG_RETURN_IF_ERROR(CheckTime());
  TG_RETURN_IF_ERROR(CheckEstimator());
  draft_.policy.formula.file = file_;
  if (Said("engine", "")) draft_.policy.engine = std::move(draft_.engine);
  WarnAboutEffects();
  WarnAboutTenants();
  Anchor("model", "config", &draft_.policy.model_config);
  Anchor("estimator", "catalogue", &draft_.policy.catalogue);
  Anchor("time", "profile", &draft_.policy.time_profile);
  Anchor("estimator", "table", &draft_.policy.table);
  Anchor("estimator", "profile", &draft_.policy.profile);
  AnchorPlugins();
  return std::move(draft_.policy);
}

absl::StatusOr<ModelMatch> ReadModelMatch(const TomlNode& match,
                                          const std::string& file,
                                          const std::string& owner) {
  if (match.kind != TomlNode::Kind::kTable) {
    return InvalidArgument(PlaceOf(match, file), owner,
                           ".match: expected a table, got ",
                           KindName(match.kind));
  }
  return PolicyReader(match, file, Concat(owner, ".match")).ReadMatch();
}

absl::StatusOr<PolicyFile> ReadPolicy(TomlNode root, const std::string& file,
                                      const PolicySources& sources) {
  TG_ASSIGN_OR_RETURN(PolicyDocument document,
                      ReadPolicyDocument(std::move(root), file, sources));
  TG_ASSIGN_OR_RETURN(PolicyFile policy,
                      PolicyReader(document.root, file).Read());
  // Each must be right with the rest, whichever model comes.
  for (const PolicyOverride& one : document.overrides) {
    TomlNode merged = document.root;
    MergeSettings(&merged, one.settings);
    TG_RETURN_IF_ERROR(PolicyReader(merged, file).Read().status());
  }
  policy.files = document.files;
  policy.document = std::make_shared<const PolicyDocument>(std::move(document));
  return policy;
}

}  // namespace internal

absl::StatusOr<PolicyFile> ParsePolicyFile(std::string_view text,
                                           const std::string& file,
                                           const PolicySources& sources) {
  TG_ASSIGN_OR_RETURN(internal::TomlNode root, internal::ParseToml(text, file));
  return internal::ReadPolicy(std::move(root), file, sources);
}

absl::StatusOr<PolicyFile> LoadPolicyFile(const std::string& path,
                                          PolicySources sources) {
  if (sources.read == nullptr) {
    sources.read = [](const std::string& file) {
      return internal::ReadFile(file, "policy file");
    };
  }
  TG_ASSIGN_OR_RETURN(const std::string text, sources.read(path));
  return ParsePolicyFile(text, path, sources);
}

}  // namespace tidegate
