// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A policy file is read in three passes: every key by the table in
// policy_keys.h, then the tables that must agree with each other, then the
// settings that are right but change nothing.

#include "tidegate/policy_file.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <map>
#include <sstream>
#include <utility>

#include "estimators/json_reader.h"
#include "estimators/read_file.h"
#include "estimators/text.h"
#include "estimators/toml_reader.h"
#include "scheduler/policy_keys.h"
#include "scheduler/units.h"
#include "tidegate/status.h"

namespace tidegate {
namespace {

using internal::Concat;
using internal::InvalidArgument;
using internal::JsonValue;
using internal::PolicyDraft;
using internal::PolicyKey;
using internal::PolicyType;
using internal::PolicyValue;
using internal::TomlEntry;
using internal::TomlNode;
using internal::TomlReader;
using std::string_view;

// Reads one document. Lives as long as the call.
class Reader {
 public:
  Reader(const TomlNode& root, const std::string& file)
      : root_(root), file_(file), reader_(root, file) {}

  absl::StatusOr<PolicyFile> Read();

 private:
  TomlReader* ReaderOf(std::string_view table);
  const TomlNode* NodeOf(std::string_view table, std::string_view key) const;
  bool Said(std::string_view table, std::string_view key) const {
    return NodeOf(table, key) != nullptr;
  }
  // "FILE:LINE:COLUMN: TABLE.KEY: " of a key that the document holds.
  std::string At(std::string_view table, std::string_view key) const;

  void ReadKey(const PolicyKey& key);
  bool ReadValue(const PolicyKey& key, TomlReader& in, PolicyValue* value);
  bool ReadWord(const PolicyKey& key, TomlReader& in, const std::string& word);
  bool ReadOptions(const PolicyKey& key, TomlReader& in, PolicyValue* value);
  bool InRange(const PolicyKey& key, TomlReader& in, std::int64_t value);

  absl::Status CheckModel();
  absl::Status CheckMemory();
  absl::Status CheckTime();
  absl::Status CheckEstimator();
  void Warn(std::string_view table, std::string_view key, std::string_view why);
  void WarnAboutEffects();
  // A path as the file means it: relative ones start where the file lies.
  void Anchor(std::optional<std::string>* path) const;
  void AnchorPlugins();

  const TomlNode& root_;
  const std::string& file_;
  TomlReader reader_;
  std::map<std::string, TomlReader, std::less<>> tables_;
  PolicyDraft draft_;
};

TomlReader* Reader::ReaderOf(std::string_view table) {
  const auto found = tables_.find(table);
  if (found != tables_.end()) return &found->second;
  const std::size_t dot = table.rfind('.');
  TomlReader child =
      dot == std::string_view::npos
          ? reader_.Table(table)
          : ReaderOf(table.substr(0, dot))->Table(table.substr(dot + 1));
  return &tables_.emplace(std::string(table), std::move(child)).first->second;
}

const TomlNode* Reader::NodeOf(std::string_view table,
                               std::string_view key) const {
  const TomlNode* node = &root_;
  while (node != nullptr && !table.empty()) {
    const std::size_t dot = std::min(table.find('.'), table.size());
    node = node->Find(table.substr(0, dot));
    table.remove_prefix(std::min(dot + 1, table.size()));
  }
  return node == nullptr || key.empty() ? node : node->Find(key);
}

std::string Reader::At(std::string_view table, std::string_view key) const {
  const TomlNode* node = NodeOf(table, key);
  const int line = node == nullptr ? 1 : std::max(node->line, 1);
  const int column = node == nullptr ? 1 : std::max(node->column, 1);
  return Concat(file_, ":", line, ":", column, ": ", table,
                key.empty() ? "" : ".", key, ": ");
}

bool Reader::InRange(const PolicyKey& key, TomlReader& in, std::int64_t value) {
  if (value >= key.min && value <= key.max) return true;
  const bool open = key.max == std::numeric_limits<std::int64_t>::max();
  in.Error(key.name,
           Concat("expected ", open ? "at least " : "", key.min,
                  open ? "" : Concat(" to ", key.max), ", got ", value));
  return false;
}

bool Reader::ReadWord(const PolicyKey& key, TomlReader& in,
                      const std::string& word) {
  if (std::find(key.words.begin(), key.words.end(), word) != key.words.end()) {
    return true;
  }
  if (key.plugin && word.starts_with(internal::kPluginWord)) {
    if (word.size() > internal::kPluginWord.size()) return true;
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
                            internal::Suggest(word, key.words)));
  return false;
}

bool Reader::ReadOptions(const PolicyKey& key, TomlReader& in,
                         PolicyValue* value) {
  const TomlNode* node = in.Raw(key.name);
  if (node == nullptr) return false;
  if (node->kind != TomlNode::Kind::kTable) {
    in.Error(key.name, Concat("expected ", DescribeType(key), ", got ",
                              internal::KindName(node->kind)));
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
                                internal::KindName(option.kind)));
      return false;
    }
    value->options.emplace(entry.key, std::move(text));
  }
  return true;
}

bool Reader::ReadValue(const PolicyKey& key, TomlReader& in,
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
    case PolicyType::kCount:
      return in.Optional(key.name, &value->integer) &&
             InRange(key, in, value->integer);
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
    good = is_integer ||
           (is_string && internal::ParseTokens(node->string, &value->integer));
  } else if (key.type == PolicyType::kDuration) {
    good = is_string && internal::ParseDuration(node->string, &duration);
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

void Reader::ReadKey(const PolicyKey& key) {
  TomlReader* in = ReaderOf(key.table);
  PolicyValue value;
  if (!ReadValue(key, *in, &value)) {
    if (key.required && in->status().ok() && Said(key.table, "") &&
        !Said(key.table, key.name)) {
      // Names the key or its misspelling, which no other key's name is.
      for (const PolicyKey& other : internal::PolicyKeys()) {
        if (other.table == key.table) in->Ignore(other.name);
      }
      in->Required(key.name, &value.text);
    }
    return;
  }
  if (!key.no_effect.empty()) Warn(key.table, key.name, key.no_effect);
  if (key.store == nullptr) return;
  const absl::Status stored = key.store(key, value, &draft_);
  if (!stored.ok()) in->Error(key.name, std::string(stored.message()));
}

void Reader::Warn(std::string_view table, std::string_view key,
                  std::string_view why) {
  draft_.policy.warnings.push_back(
      Concat(At(table, key), "has no effect: ", why));
}

absl::Status Reader::CheckModel() {
  PolicyFile& policy = draft_.policy;
  if (!Said("model.shape", "")) return absl::OkStatus();
  for (std::string_view key : {"config", "compute_dtype", "kv_dtype"}) {
    if (!Said("model", key)) continue;
    return InvalidArgument(At("model", key), "contradicts [model.shape]: ",
                           key == "config" ? "expected one of the two"
                                           : "expected it inside that table");
  }
  absl::StatusOr<ModelConfig> shape = ParseInlineShape(
      Concat("{", draft_.shape_members, "}"), At("model.shape", ""));
  if (!shape.ok()) {
    // Keys are checked one by one; what is left is how they fit together.
    const std::string message(shape.status().message());
    const std::string place = At("model.shape", "");
    return InvalidArgument(place, message.starts_with(place + ": ")
                                      ? message.substr(place.size() + 2)
                                      : message);
  }
  policy.model_shape = std::move(shape->shape);
  return absl::OkStatus();
}

absl::Status Reader::CheckMemory() {
  const PolicyFile& policy = draft_.policy;
  if (!policy.ceiling.has_value()) return absl::OkStatus();
  const Bytes base = policy.base.value_or(0);
  const Bytes headroom = policy.headroom.value_or(0);
  if (*policy.ceiling > SatAdd(base, headroom)) return absl::OkStatus();
  return InvalidArgument(
      At("memory", "ceiling"), "expected more than base + headroom, got ",
      internal::FormatBytes(*policy.ceiling), " against ",
      internal::FormatBytes(base), " + ", internal::FormatBytes(headroom));
}

absl::Status Reader::CheckTime() {
  constexpr std::string_view kFormula[] = {"fixed_ps", "per_kv_ps",
                                           "per_token_ps", "per_pair_as"};
  if (!Said("time", "")) return absl::OkStatus();
  const std::string use = draft_.policy.time_source.value_or("");
  if (use.empty()) {
    return InvalidArgument(At("time", ""),
                           "expected use, table or formula, got nothing");
  }
  if (use == "table" && !Said("time", "profile")) {
    return InvalidArgument(At("time", "use"),
                           "expected time.profile beside it, a CSV of measured "
                           "step times, got nothing");
  }
  if (use == "formula" && !draft_.policy.time_formula.has_value()) {
    return InvalidArgument(At("time", "use"),
                           "expected one of time.fixed_ps, time.per_kv_ps, "
                           "time.per_token_ps, time.per_pair_as beside it, got "
                           "nothing");
  }
  const std::string why = Concat("time.use is ", use);
  if (use == "formula" && Said("time", "profile")) Warn("time", "profile", why);
  for (std::string_view key : kFormula) {
    if (use == "table" && Said("time", key)) Warn("time", key, why);
  }
  return absl::OkStatus();
}

// What an estimator cannot do without.
absl::Status Reader::CheckEstimator() {
  const std::string use = draft_.policy.estimator.value_or("catalog");
  for (const auto& [word, key] :
       {std::pair<string_view, string_view>{"table", "table"},
        {"formula", "transient"}}) {
    if (use != word || Said("estimator", key)) continue;
    return InvalidArgument(At("estimator", "use"), "\"", word,
                           "\" takes its prices from estimator.", key,
                           ", which is missing");
  }
  return absl::OkStatus();
}

void Reader::WarnAboutEffects() {
  const PolicyFile& policy = draft_.policy;
  const std::string estimator = policy.estimator.value_or("catalog");
  const std::string with = Concat("estimator.use is ", estimator);
  for (std::string_view key : {"tile_q", "tile_k"}) {
    if (Said("estimator", key) && estimator != "tiled") {
      Warn("estimator", key, with);
    }
  }
  constexpr std::pair<string_view, string_view> kOfOneEstimator[] = {
      {"table", "table"},
      {"transient", "formula"},
      {"largest_allocation", "formula"},
      {"fixed", "formula"},
      {"resident_per_token", "formula"},
      {"breakpoints_n", "formula"},
      {"breakpoints_kv", "formula"},
      {"profile", "calibrated"}};
  for (const auto& [key, use] : kOfOneEstimator) {
    if (Said("estimator", key) && estimator != use) {
      Warn("estimator", key, with);
    }
  }
  if (policy.unknown_score_bytes.has_value() &&
      (estimator == "fused" || estimator == "tiled")) {
    Warn("estimator", "unknown_score_bytes", with);
  }
  if (policy.max_allocation.has_value() && policy.ceiling.has_value() &&
      *policy.max_allocation >= *policy.ceiling) {
    Warn("memory", "max_allocation", "the ceiling is not above it");
  }
  if (Said("chunk", "floor") &&
      *policy.chunk_floor > policy.chunk_max.value_or(ChunkLimits{}.max)) {
    Warn("chunk", "floor",
         Concat("chunk.max = ", policy.chunk_max.value_or(ChunkLimits{}.max),
                " is below it and wins"));
  }
  if (policy.cache_block.has_value() &&
      policy.cache_capacity.value_or(0) == 0) {
    Warn("cache", "block", "there is no cache without cache.capacity");
  }
}

void Reader::Anchor(std::optional<std::string>* path) const {
  if (!path->has_value()) return;
  const std::filesystem::path given(**path);
  if (given.is_absolute()) return;
  *path = (std::filesystem::path(file_).parent_path() / given)
              .lexically_normal()
              .string();
}

// Where a plug-in lies, and options that no plug-in is given.
void Reader::AnchorPlugins() {
  PolicyFile& policy = draft_.policy;
  const std::pair<string_view, std::optional<std::string>*> kinds[] = {
      {"estimator", &policy.estimator},
      {"chunk", &policy.chunk_policy},
      {"admission", &policy.admission_policy},
      {"order", &policy.order_policy},
      {"pressure", &policy.pressure_policy}};
  for (const auto& [table, use] : kinds) {
    if (use->has_value() && (*use)->starts_with(internal::kPluginWord)) {
      std::optional<std::string> object =
          (*use)->substr(internal::kPluginWord.size());
      Anchor(&object);
      *use = Concat(internal::kPluginWord, *object);
    } else if (Said(table, "options")) {
      Warn(table, "options", Concat(table, ".use is no plug-in"));
    }
  }
}

absl::StatusOr<PolicyFile> Reader::Read() {
  for (const PolicyKey& key : internal::PolicyKeys()) ReadKey(key);
  // Inner tables first: each names its own unknown keys.
  for (auto table = tables_.rbegin(); table != tables_.rend(); ++table) {
    TG_RETURN_IF_ERROR(table->second.Finish());
  }
  TG_RETURN_IF_ERROR(reader_.Finish());
  TG_RETURN_IF_ERROR(CheckModel());
  TG_RETURN_IF_ERROR(CheckMemory());
  TG_RETURN_IF_ERROR(CheckTime());
  TG_RETURN_IF_ERROR(CheckEstimator());
  draft_.policy.formula.file = file_;
  if (Said("engine", "")) draft_.policy.engine = std::move(draft_.engine);
  WarnAboutEffects();
  Anchor(&draft_.policy.model_config);
  Anchor(&draft_.policy.catalogue);
  Anchor(&draft_.policy.time_profile);
  Anchor(&draft_.policy.table);
  Anchor(&draft_.policy.profile);
  AnchorPlugins();
  return std::move(draft_.policy);
}

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
  const TomlNode root = ToToml(value);
  absl::StatusOr<PolicyFile> policy = Reader(root, file).Read();
  if (!policy.ok()) {
    const std::string message(policy.status().message());
    return InvalidArgument(WithoutPlace(message, file));
  }
  for (std::string& warning : policy->warnings) {
    warning = WithoutPlace(warning, file);
  }
  return policy;
}

absl::StatusOr<PolicyFile> ParsePolicyFile(std::string_view text,
                                           const std::string& file) {
  TG_ASSIGN_OR_RETURN(const TomlNode root, internal::ParseToml(text, file));
  return Reader(root, file).Read();
}

absl::StatusOr<std::shared_ptr<const StepTimer>> MakeStepTimer(
    const PolicyFile& policy) {
  if (!policy.time_source.has_value()) {
    return std::shared_ptr<const StepTimer>();
  }
  if (*policy.time_source == "formula") {
    return CreateStepTimer(policy.time_formula.value_or(TimeModel{}));
  }
  TG_ASSIGN_OR_RETURN(const TimeProfile profile,
                      LoadTimeProfile(policy.time_profile.value_or("")));
  return CreateStepTimer(profile);
}

absl::StatusOr<PolicyFile> LoadPolicyFile(const std::string& path) {
  TG_ASSIGN_OR_RETURN(const std::string text,
                      internal::ReadFile(path, "policy file"));
  return ParsePolicyFile(text, path);
}

}  // namespace tidegate
