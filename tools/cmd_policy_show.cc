// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate policy show: every setting in effect, and where it comes from.
//
// The file is read twice: once for what is right, and once as it is written,
// since the first reading does not keep what was said and what was not.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "estimators/read_file.h"
#include "estimators/text.h"
#include "estimators/toml_reader.h"
#include "scheduler/policy_keys.h"
#include "scheduler/units.h"
#include "tidegate/catalogue.h"
#include "tidegate/model_config.h"
#include "tidegate/plugins.h"
#include "tidegate/policy_file.h"
#include "tidegate/status.h"
#include "tools/arguments.h"
#include "tools/inputs.h"
#include "tools/output.h"

namespace tidegate::tools {
namespace {

using internal::Concat;
using internal::PolicyKey;
using internal::PolicyType;
using internal::TomlEntry;
using internal::TomlNode;

struct Shown {
  std::string key;
  std::string text;
  // Bytes, tokens, counts and nanoseconds, where the value is a number.
  std::optional<std::int64_t> number;
  std::string origin;  // file, default, engine, model
  int line = 0;        // in the file; 0 elsewhere
  std::string note;
};

const TomlNode* Find(const TomlNode& root, std::string_view table,
                     std::string_view key) {
  const TomlNode* node = &root;
  while (node != nullptr && !table.empty()) {
    const std::size_t dot = std::min(table.find('.'), table.size());
    node = node->Find(table.substr(0, dot));
    table.remove_prefix(std::min(dot + 1, table.size()));
  }
  return node == nullptr ? nullptr : node->Find(key);
}

std::string Plain(const TomlNode& node) {
  switch (node.kind) {
    case TomlNode::Kind::kString:
      return node.string;
    case TomlNode::Kind::kInteger:
      return std::to_string(node.integer);
    case TomlNode::Kind::kFloat:
      return Number(node.number, 4);
    case TomlNode::Kind::kBoolean:
      return node.boolean ? "true" : "false";
    case TomlNode::Kind::kArray: {
      std::string list;
      for (const TomlNode& item : node.items) {
        list += Concat(list.empty() ? "" : ", ", Plain(item));
      }
      return list.empty() ? "nothing" : list;
    }
    case TomlNode::Kind::kTable:
    case TomlNode::Kind::kTime:
      break;
  }
  return "";
}

// As people read it, and as a number where it is one.
void Interpret(const PolicyKey& key, Shown* shown) {
  std::int64_t number = 0;
  Duration duration{};
  switch (key.type) {
    case PolicyType::kBytes:
      if (!internal::ParseBytes(shown->text, &number)) return;
      shown->text = internal::FormatBytes(number);
      break;
    case PolicyType::kTokens:
      if (!internal::ParseTokens(shown->text, &number)) return;
      shown->text = TokenCount(number);
      break;
    case PolicyType::kCount:
      if (!internal::ParseTokens(shown->text, &number)) return;
      shown->text = Grouped(number);
      break;
    case PolicyType::kDuration:
      if (!internal::ParseDuration(shown->text, &duration)) return;
      number = duration.count();
      break;
    default:
      return;
  }
  shown->number = number;
}

// Options of the engine: what the file says, and the rest by the engine's own
// defaults.
void AddOptions(const PolicyFile& policy, const TomlNode* said,
                std::vector<Shown>* list) {
  if (!policy.engine.has_value()) return;
  const absl::StatusOr<ResolvedEngine> engine =
      Catalogue::Builtin().Resolve(*policy.engine);
  const auto& options =
      engine.ok() ? engine->spec.options : policy.engine->options;
  for (const auto& [name, value] : options) {
    const TomlNode* node = said == nullptr ? nullptr : said->Find(name);
    list->push_back({.key = Concat("engine.options.", name),
                     .text = value,
                     .number = std::nullopt,
                     .origin = node == nullptr ? "engine" : "file",
                     .line = node == nullptr ? 0 : node->line,
                     .note = ""});
  }
}

void AddPluginOptions(const PolicyKey& key, const TomlNode& said,
                      std::vector<Shown>* list) {
  for (const TomlEntry& entry : said.entries) {
    list->push_back({.key = Concat(key.table, ".options.", entry.key),
                     .text = Plain(entry.value),
                     .number = std::nullopt,
                     .origin = "file",
                     .line = entry.value.line,
                     .note = ""});
  }
}

// What the plug-ins say that they are; one that cannot be loaded is an error.
absl::StatusOr<std::vector<PluginReport>> AddPlugins(const PolicyFile& policy,
                                                     std::vector<Shown>* list) {
  TG_ASSIGN_OR_RETURN(const Plugins plugins, Plugins::Load(policy));
  for (Shown& shown : *list) {
    for (const PluginReport& plugin : plugins.Loaded()) {
      if (shown.key != Concat(plugin.kind, ".use")) continue;
      shown.note = Concat(plugin.name, " ", plugin.version, "; ",
                          plugin.fallback, " replaces it if it fails");
    }
  }
  return plugins.Loaded();
}

void PutPlugins(const std::vector<PluginReport>& plugins, JsonWriter& json) {
  json.BeginArray("plugins");
  for (const PluginReport& plugin : plugins) {
    json.BeginObject();
    json.Put("kind", plugin.kind);
    json.Put("name", plugin.name);
    json.Put("version", plugin.version);
    json.Put("file", plugin.file);
    json.Put("fallback", plugin.fallback);
    json.End();
  }
  json.End();
}

// Weights and types come from the model where the file leaves them open.
void FillFromModel(const PolicyFile& policy, std::vector<Shown>* list) {
  if (!policy.model_config.has_value()) return;
  const absl::StatusOr<ModelConfig> config =
      LoadModelConfig(*policy.model_config, policy.model_overrides);
  if (!config.ok()) return;
  for (Shown& shown : *list) {
    if (shown.origin != "default") continue;
    if (shown.key == "memory.base" && config->shape.weight_bytes.has_value()) {
      shown.number = *config->shape.weight_bytes;
      shown.text = internal::FormatBytes(*shown.number);
      shown.origin = "model";
    } else if (shown.key == "model.compute_dtype") {
      const ComputeType type = config->shape.compute;
      shown.text = type == ComputeType::kFp32   ? "fp32"
                   : type == ComputeType::kFp16 ? "fp16"
                                                : "bf16";
      shown.origin = "model";
    }
  }
}

std::vector<Shown> Collect(const PolicyFile& policy, const TomlNode& root) {
  std::vector<Shown> list;
  for (const PolicyKey& key : internal::PolicyKeys()) {
    const TomlNode* node = Find(root, key.table, key.name);
    // An inline shape is all or nothing.
    if (key.table == "model.shape" && !policy.model_shape.has_value()) continue;
    if (key.type == PolicyType::kOptions) {
      if (key.table == "engine") {
        AddOptions(policy, node, &list);
      } else if (node != nullptr) {
        AddPluginOptions(key, *node, &list);
      }
      continue;
    }
    Shown shown{.key = Concat(key.table, ".", key.name),
                .text = node != nullptr ? Plain(*node)
                        : key.required  ? "not stated"
                                        : std::string(key.fallback),
                .number = std::nullopt,
                .origin = node != nullptr ? "file" : "default",
                .line = node != nullptr ? node->line : 0,
                .note = ""};
    Interpret(key, &shown);
    if (node != nullptr && !key.no_effect.empty()) {
      shown.note = Concat("no effect: ", key.no_effect);
    }
    list.push_back(std::move(shown));
  }
  FillFromModel(policy, &list);
  return list;
}

}  // namespace

absl::StatusOr<int> RunPolicyShow(const Arguments& args, Streams& io) {
  if (args.files.size() != 1) {
    return internal::InvalidArgument("expected one policy file, got ",
                                     args.files.size());
  }
  const std::string& file = args.files.front();
  TG_ASSIGN_OR_RETURN(const PolicyFile policy, LoadPolicyFile(file));
  TG_ASSIGN_OR_RETURN(const std::string text,
                      internal::ReadFile(file, "policy file"));
  TG_ASSIGN_OR_RETURN(const TomlNode root, internal::ParseToml(text, file));
  std::vector<Shown> list = Collect(policy, root);
  TG_ASSIGN_OR_RETURN(const std::vector<PluginReport> plugins,
                      AddPlugins(policy, &list));
  if (args.json) {
    JsonWriter json;
    json.Put("file", std::string_view(file));
    json.BeginArray("settings");
    for (const Shown& shown : list) {
      json.BeginObject();
      json.Put("key", std::string_view(shown.key));
      if (shown.number.has_value()) {
        json.Put("value", *shown.number);
      } else {
        json.Put("value", std::string_view(shown.text));
      }
      json.Put("text", std::string_view(shown.text));
      json.Put("origin", std::string_view(shown.origin));
      if (shown.line > 0) {
        json.Put("line", shown.line);
      } else {
        json.PutNull("line");
      }
      json.End();
    }
    json.End();
    PutPlugins(plugins, json);
    json.BeginArray("warnings");
    for (const std::string& warning : policy.warnings) {
      json.Put("", std::string_view(warning));
    }
    json.End();
    io.out << json.ToString();
    return kExitDone;
  }
  PrintWarnings(policy.warnings, io.err);
  TextTable table({"setting", "value", "from"},
                  {Align::kLeft, Align::kLeft, Align::kLeft});
  for (const Shown& shown : list) {
    std::string value = shown.text;
    if (!shown.note.empty()) value += Concat(" (", shown.note, ")");
    table.Add({shown.key, std::move(value),
               shown.line > 0 ? Concat(shown.origin, ", line ", shown.line)
                              : shown.origin});
  }
  io.out << table.ToString();
  return kExitDone;
}

}  // namespace tidegate::tools
