// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate policy show: every setting in effect, and where it comes from.
//
// Values are taken as they are written, from the document that the policy keeps
// of its files: what was read does not say what was said.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "estimators/text.h"
#include "estimators/toml_reader.h"
#include "scheduler/policy_document.h"
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
#include "tools/price_output.h"

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
  std::string origin;  // file, environment, default, engine, model
  std::string file;    // the one in which it stands; empty elsewhere
  int line = 0;        // in it
  // Variables that it is of, and the [[model_override]] in which it stands.
  std::string environment;
  std::string part;
  std::string note;
};

// Where a value comes from that stands in a file.
void SetOrigin(const TomlNode& node, Shown* shown) {
  shown->line = node.line;
  if (node.origin != nullptr) {
    shown->file = node.origin->file;
    shown->part = node.origin->part;
  }
  shown->environment = node.environment;
  for (const TomlNode& item : node.items) {
    if (item.environment.empty()) continue;
    if (!shown->environment.empty()) shown->environment += ", ";
    shown->environment += item.environment;
  }
  shown->origin = shown->environment.empty() ? "file" : "environment";
}

// "p.toml, line 7", "environment CEILING (p.toml, line 7)", "default".
std::string From(const Shown& shown) {
  if (shown.line == 0) return shown.origin;
  std::string place = Concat(shown.file, ", line ", shown.line);
  if (!shown.part.empty()) place += Concat(", ", shown.part);
  if (shown.environment.empty()) return place;
  return Concat("environment ", shown.environment, " (", place, ")");
}

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
    Shown shown;
    shown.key = Concat("engine.options.", name);
    shown.text = value;
    shown.origin = "engine";
    if (node != nullptr) SetOrigin(*node, &shown);
    list->push_back(std::move(shown));
  }
}

void AddPluginOptions(const PolicyKey& key, const TomlNode& said,
                      std::vector<Shown>* list) {
  for (const TomlEntry& entry : said.entries) {
    Shown shown;
    shown.key = Concat(key.table, ".options.", entry.key);
    shown.text = Plain(entry.value);
    SetOrigin(entry.value, &shown);
    list->push_back(std::move(shown));
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

Shown Show(const PolicyKey& key, std::string name, const TomlNode* node) {
  Shown shown;
  shown.key = std::move(name);
  shown.origin = "default";
  if (node == nullptr) {
    shown.text = key.required ? "not stated" : std::string(key.fallback);
  } else {
    shown.text = Plain(*node);
    SetOrigin(*node, &shown);
    if (!key.no_effect.empty()) {
      shown.note = Concat("no effect: ", key.no_effect);
    }
  }
  Interpret(key, &shown);
  return shown;
}

// What a tenant's own table leaves open, that of all others says.
void AddTenants(const TomlNode& root, std::vector<Shown>* list) {
  const TomlNode* tenants = root.Find(internal::kTenantTable);
  if (tenants == nullptr) return;
  const TomlNode* others = tenants->Find("*");
  for (const TomlEntry& tenant : tenants->entries) {
    for (const PolicyKey& key : internal::TenantKeys()) {
      const TomlNode* node = tenant.value.Find(key.name);
      if (node == nullptr && others != nullptr) node = others->Find(key.name);
      list->push_back(Show(
          key, Concat(internal::kTenantTable, ".", tenant.key, ".", key.name),
          node));
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
    list.push_back(Show(key, Concat(key.table, ".", key.name), node));
  }
  AddTenants(root, &list);
  FillFromModel(policy, &list);
  return list;
}

void PutText(std::string_view key, const std::string& text, JsonWriter& json) {
  if (text.empty()) {
    json.PutNull(key);
  } else {
    json.Put(key, std::string_view(text));
  }
}

}  // namespace

absl::StatusOr<int> RunPolicyShow(const Arguments& args, Streams& io) {
  if (args.files.size() != 1) {
    return internal::InvalidArgument("expected one policy file, got ",
                                     args.files.size());
  }
  const std::string& file = args.files.front();
  TG_ASSIGN_OR_RETURN(const PolicyFile policy, LoadPolicy(file, args.model));
  std::vector<Shown> list = Collect(policy, policy.document->root);
  TG_ASSIGN_OR_RETURN(const std::vector<PluginReport> plugins,
                      AddPlugins(policy, &list));
  if (args.json) {
    JsonWriter json;
    json.Put("file", std::string_view(file));
    PutStrings("files", policy.files, json);
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
      PutText("file", shown.file, json);
      if (shown.line > 0) {
        json.Put("line", shown.line);
      } else {
        json.PutNull("line");
      }
      PutText("environment", shown.environment, json);
      PutText("override", shown.part, json);
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
    table.Add({shown.key, std::move(value), From(shown)});
  }
  io.out << table.ToString();
  return kExitDone;
}

}  // namespace tidegate::tools
