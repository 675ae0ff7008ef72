// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/catalogue_parse.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string>

#include "estimators/text.h"
#include "estimators/toml_reader.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

constexpr std::string_view kLaws[] = {"mlx", "torch", "llama.cpp", "generic"};
constexpr std::string_view kTypes[] = {"integer", "number"};
constexpr std::string_view kMaskNames[] = {"none",  "causal", "bool",
                                           "float", "array",  "lower_right"};
constexpr std::string_view kComputeNames[] = {"fp32", "fp16", "bf16"};

// Dimensions and token counts in a rule; also keeps products small.
constexpr std::int64_t kCountMax = 1'000'000'000;

// Reads a list of words out of `words` as their positions.
template <typename T>
void ReadWords(TomlReader& reader, std::string_view key,
               std::span<const std::string_view> words, std::vector<T>* out) {
  std::vector<std::string> names;
  if (!reader.Optional(key, &names)) return;
  if (names.empty()) return reader.Error(key, "expected at least one word");
  for (const std::string& name : names) {
    const auto at = std::find(words.begin(), words.end(), name);
    if (at == words.end()) {
      return reader.Error(
          key, Concat("unknown word \"", name, "\"", Suggest(name, words)));
    }
    out->push_back(static_cast<T>(at - words.begin()));
  }
}

void ReadVersion(TomlReader& reader, std::string_view key,
                 std::optional<EngineVersion>* out) {
  std::string text;
  if (!reader.Optional(key, &text)) return;
  *out = EngineVersion::Parse(text);
  if (!out->has_value()) {
    reader.Error(key, Concat("expected a version such as \"0.31.2\", got \"",
                             text, "\""));
  }
}

CatalogueOption ReadOption(TomlReader reader, std::string_view name) {
  CatalogueOption option;
  option.name = name;
  int type = 0;
  if (reader.Word("type", kTypes, &type)) {
    option.type = type == 0 ? CatalogueOption::Type::kInteger
                            : CatalogueOption::Type::kNumber;
    option.min = 0;
    option.max = 1e15;  // exact as a double, and above any count of bytes
    reader.Optional("min", &option.min);
    reader.Optional("max", &option.max);
  } else {
    reader.Required("values", &option.values);
  }
  reader.Required("default", &option.default_value);
  reader.Required("doc", &option.doc);
  if (reader.Finish().ok()) {
    const absl::Status status =
        CheckOptionValue(option, option.default_value, "default");
    if (!status.ok()) reader.Error("default", std::string(status.message()));
  }
  return option;
}

void ReadHeadDims(TomlReader& reader, CatalogueRule* rule) {
  std::vector<std::int64_t> dims;
  if (reader.Optional("head_dims", &dims)) {
    for (const std::int64_t dim : dims) rule->head_dims.push_back({dim, dim});
  }
  const TomlNode* pairs = reader.Raw("head_dim_pairs");
  if (pairs == nullptr) return;
  for (const TomlNode& pair : pairs->items) {
    if (pair.items.size() != 2 ||
        pair.items[0].kind != TomlNode::Kind::kInteger ||
        pair.items[1].kind != TomlNode::Kind::kInteger) {
      break;
    }
    rule->head_dims.push_back({pair.items[0].integer, pair.items[1].integer});
  }
  if (pairs->items.empty() ||
      rule->head_dims.size() != dims.size() + pairs->items.size()) {
    reader.Error("head_dim_pairs", "expected pairs [D, Dv] of integers");
  }
}

// options = { attention = "flash" }, or a list of values.
void ReadRuleOptions(TomlReader& reader, const CatalogueEngine& engine,
                     CatalogueRule* rule) {
  TomlReader options = reader.Table("options");
  std::vector<std::string_view> names;
  for (const CatalogueOption& option : engine.options) {
    names.push_back(option.name);
  }
  for (const std::string_view name : options.Keys()) {
    const CatalogueOption* option = engine.FindOption(name);
    if (option == nullptr) {
      return options.Error(
          name, Concat("the engine has no such option", Suggest(name, names)));
    }
    std::vector<std::string> values(1);
    const TomlNode* raw = options.Raw(name);
    if (raw == nullptr) return;  // an earlier error stands
    const bool read = raw->kind == TomlNode::Kind::kArray
                          ? options.Optional(name, &values)
                          : options.Optional(name, &values[0]);
    if (!read) return;
    for (const std::string& value : values) {
      const absl::Status status = CheckOptionValue(*option, value, name);
      if (!status.ok()) {
        return options.Error(name, std::string(status.message()));
      }
    }
    rule->options[std::string(name)] = std::move(values);
  }
}

CatalogueRule ReadRule(TomlReader reader, const CatalogueEngine& engine) {
  CatalogueRule rule;
  reader.Required("kernel", &rule.kernel);
  reader.Required("source", &rule.source);
  reader.Optional("reason", &rule.reason);
  if (rule.kernel == "unsupported") {
    rule.kernel.clear();
    if (rule.reason.empty()) {
      reader.Error("kernel", "\"unsupported\" needs a reason");
    }
  }
  if (reader.Optional("devices", &rule.devices)) {
    for (const std::string& device : rule.devices) {
      bool covered = false;
      for (const std::string& pattern : engine.devices) {
        covered = covered || DeviceMatches(pattern, device);
      }
      if (!covered) {
        reader.Error("devices",
                     Concat("the engine has no device \"", device, "\""));
      }
    }
  }
  ReadVersion(reader, "since", &rule.since);
  ReadVersion(reader, "before", &rule.before);
  ReadRuleOptions(reader, engine, &rule);

  ReadHeadDims(reader, &rule);
  reader.Integer("head_dim_max", 1, kCountMax, &rule.head_dim_max);
  reader.Integer("head_dim_multiple_of", 1, kCountMax,
                 &rule.head_dim_multiple_of);
  reader.Optional("equal_head_dims", &rule.equal_head_dims);
  ReadWords(reader, "compute", kComputeNames, &rule.compute);
  reader.Optional("grouped", &rule.grouped);

  reader.Integer("n_min", 1, kCountMax, &rule.n_min);
  reader.Integer("n_max", 1, kCountMax, &rule.n_max);
  reader.Integer("n_times_group_max", 1, kCountMax, &rule.n_times_group_max);
  reader.Integer("kv_len_min", 1, kCountMax, &rule.kv_len_min);
  reader.Integer("kv_len_max", 1, kCountMax, &rule.kv_len_max);
  reader.Optional("n_at_most_kv_len", &rule.n_at_most_kv_len);
  reader.Optional("n_equals_kv_len", &rule.n_equals_kv_len);
  ReadWords(reader, "masks", kMaskNames, &rule.masks);
  reader.Finish().IgnoreError();  // the readers share it
  return rule;
}

}  // namespace

bool DeviceMatches(std::string_view pattern, std::string_view device) {
  if (!pattern.ends_with('*')) return pattern == device;
  pattern.remove_suffix(1);
  return device.starts_with(pattern);
}

absl::Status CheckOptionValue(const CatalogueOption& option,
                              std::string_view value, std::string_view where) {
  if (option.type == CatalogueOption::Type::kWord) {
    std::string list;
    std::vector<std::string_view> values;
    for (const std::string& allowed : option.values) {
      if (allowed == value) return absl::OkStatus();
      list += Concat(list.empty() ? "" : ", ", allowed);
      values.push_back(allowed);
    }
    return InvalidArgument(where, ": expected one of ", list, ", got \"", value,
                           "\"", Suggest(value, values));
  }
  double number = 0;
  const char* end = value.data() + value.size();
  bool ok = false;
  if (option.type == CatalogueOption::Type::kInteger) {
    std::int64_t integer = 0;
    const auto [stop, error] = std::from_chars(value.data(), end, integer);
    ok = error == std::errc() && stop == end;
    number = static_cast<double>(integer);
  } else {
    const auto [stop, error] = std::from_chars(value.data(), end, number);
    ok = error == std::errc() && stop == end && std::isfinite(number);
  }
  if (ok && number >= option.min && number <= option.max) {
    return absl::OkStatus();
  }
  const bool integer = option.type == CatalogueOption::Type::kInteger;
  const auto show = [integer](double bound) {
    return integer ? std::to_string(static_cast<std::int64_t>(bound))
                   : std::to_string(bound);
  };
  return InvalidArgument(
      where, ": expected ", integer ? "an integer" : "a number", " from ",
      show(option.min), " to ", show(option.max), ", got \"", value, "\"");
}

bool MatchesEverything(const CatalogueRule& rule) {
  CatalogueRule plain;
  plain.kernel = rule.kernel;
  return rule.devices.empty() && !rule.since && !rule.before &&
         rule.options.empty() && rule.head_dims.empty() &&
         rule.head_dim_max == plain.head_dim_max &&
         rule.head_dim_multiple_of == 1 && !rule.equal_head_dims &&
         rule.compute.empty() && !rule.grouped && rule.n_min == 1 &&
         rule.n_max == plain.n_max &&
         rule.n_times_group_max == plain.n_times_group_max &&
         rule.kv_len_min == 1 && rule.kv_len_max == plain.kv_len_max &&
         !rule.n_at_most_kv_len && !rule.n_equals_kv_len && rule.masks.empty();
}

absl::StatusOr<CatalogueEngine> ParseCatalogueEngine(std::string_view text,
                                                     std::string_view file) {
  TG_ASSIGN_OR_RETURN(const TomlNode root, ParseToml(text, file));
  TomlReader reader(root, file);
  CatalogueEngine engine;
  engine.file = file;

  if (!reader.Has("engine")) reader.Error("engine", "missing table");
  TomlReader head = reader.Table("engine");
  head.Required("name", &engine.name);
  head.Optional("aliases", &engine.aliases);
  head.Optional("named_versions", &engine.named_versions);
  int law = 0;
  if (!head.Has("law")) head.Error("law", "missing key");
  if (head.Word("law", kLaws, &law)) engine.law = kLaws[law];
  std::optional<EngineVersion> oldest;
  std::optional<EngineVersion> newest;
  head.Required("oldest", &engine.oldest);
  head.Required("newest", &engine.newest);
  ReadVersion(head, "oldest", &oldest);
  ReadVersion(head, "newest", &newest);
  if (oldest && newest && *newest < *oldest) {
    head.Error("newest", "expected a version that is not before oldest");
  }
  if (head.Required("devices", &engine.devices) && engine.devices.empty()) {
    head.Error("devices", "expected at least one device");
  }
  TomlReader options = head.Table("options");
  for (const std::string_view name : options.Keys()) {
    engine.options.push_back(ReadOption(options.Table(name), name));
  }
  TG_RETURN_IF_ERROR(head.Finish());

  for (TomlReader rule : reader.Tables("rule")) {
    engine.rules.push_back(ReadRule(std::move(rule), engine));
  }
  TG_RETURN_IF_ERROR(reader.Finish());
  if (engine.rules.empty() || !MatchesEverything(engine.rules.back())) {
    reader.Error("rule", "the last rule must match every call");
  }
  TG_RETURN_IF_ERROR(reader.Finish());
  return engine;
}

}  // namespace tidegate::internal
