// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate engines: what the catalogue knows.

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "estimators/text.h"
#include "tidegate/catalogue.h"
#include "tidegate/status.h"
#include "tools/arguments.h"
#include "tools/inputs.h"
#include "tools/output.h"
#include "tools/price_output.h"

namespace tidegate::tools {
namespace {

using internal::Concat;

std::string Join(const std::vector<std::string>& words,
                 std::string_view between) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text += between;
    text += word;
  }
  return text;
}

// "true | false", "0 to 1,000,000".
std::string Values(const CatalogueOption& option) {
  if (option.type == CatalogueOption::Type::kWord) {
    return Join(option.values, " | ");
  }
  if (option.type == CatalogueOption::Type::kInteger) {
    return Concat(Grouped(static_cast<std::int64_t>(option.min)), " to ",
                  Grouped(static_cast<std::int64_t>(option.max)));
  }
  return Concat(Number(option.min, 3), " to ", Number(option.max, 3));
}

std::string KernelName(const CatalogueRule& rule) {
  return rule.kernel.empty() ? "(does not run)" : rule.kernel;
}

std::string RuleConditions(const CatalogueRule& rule) {
  const std::string conditions = DescribeRule(rule);
  return conditions.empty() ? "every other call" : conditions;
}

// `text` in lines of at most kWidth columns, the second and later ones
// indented.
void PrintWrapped(std::string_view text, std::size_t indent,
                  std::ostream& out) {
  constexpr std::size_t kWidth = 96;
  std::size_t column = 0;
  const std::string padding(indent, ' ');
  while (!text.empty()) {
    const std::size_t space = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, space);
    text.remove_prefix(std::min(space + 1, text.size()));
    if (column > 0 && column + 1 + word.size() > kWidth - indent) {
      out << "\n";
      column = 0;
    }
    if (column == 0) {
      out << padding << word;
      column = word.size();
    } else {
      out << " " << word;
      column += 1 + word.size();
    }
  }
  out << "\n";
}

void PrintSummary(const Catalogue& catalogue, std::ostream& out) {
  TextTable table(
      {"engine", "versions", "devices", "options", "routes"},
      {Align::kLeft, Align::kLeft, Align::kLeft, Align::kRight, Align::kRight});
  for (const CatalogueEngine& engine : catalogue.engines()) {
    table.Add({engine.name, Concat(engine.oldest, " to ", engine.newest),
               Join(engine.devices, ", "), Concat(engine.options.size()),
               Concat(engine.rules.size())});
  }
  out << table.ToString() << "\n"
      << "`tidegate engines NAME` lists an engine's options and routes. Name "
         "one as\nNAME@VERSION/DEVICE. A newer version takes the last known "
         "routes, any other engine\nis priced as if its scores were written "
         "out: both are marked as assumed.\n";
}

void PrintEngine(const CatalogueEngine& engine, std::ostream& out) {
  out << engine.name;
  if (!engine.aliases.empty()) out << ", also " << Join(engine.aliases, ", ");
  out << "\n"
      << "  versions  " << engine.oldest << " to " << engine.newest;
  if (!engine.named_versions.empty()) {
    out << ", also " << Join(engine.named_versions, ", ");
  }
  out << "\n  devices   " << Join(engine.devices, ", ") << "\n"
      << "  law       " << engine.law << "\n"
      << "  from      " << engine.file << "\n";
  if (!engine.options.empty()) {
    out << "\nOptions (--engine-option KEY=VALUE)\n";
    for (const CatalogueOption& option : engine.options) {
      out << "\n  " << option.name << ": " << Values(option) << " (default "
          << option.default_value << ")\n";
      PrintWrapped(option.doc, 6, out);
    }
  }
  if (engine.rules.empty()) return;
  out << "\nRoutes: the first whose conditions hold decides (n query tokens, K "
         "kv length, D head dim,\nG query heads per kv head)\n";
  for (const CatalogueRule& rule : engine.rules) {
    out << "\n  " << KernelName(rule) << "\n";
    PrintWrapped(RuleConditions(rule), 6, out);
    if (!rule.reason.empty()) {
      PrintWrapped(Concat("reason: ", rule.reason), 6, out);
    }
    PrintWrapped(Concat("source: ", rule.source), 6, out);
  }
}

void PutOption(const CatalogueOption& option, JsonWriter& json) {
  json.BeginObject();
  json.Put("name", std::string_view(option.name));
  if (option.type == CatalogueOption::Type::kWord) {
    json.Put("type", "word");
    PutStrings("values", option.values, json);
  } else {
    const bool integer = option.type == CatalogueOption::Type::kInteger;
    json.Put("type", integer ? "integer" : "number");
    json.Put("min", option.min);
    json.Put("max", option.max);
  }
  json.Put("default", std::string_view(option.default_value));
  json.Put("doc", std::string_view(option.doc));
  json.End();
}

void PutEngine(const CatalogueEngine& engine, JsonWriter& json) {
  json.BeginObject();
  json.Put("name", std::string_view(engine.name));
  PutStrings("aliases", engine.aliases, json);
  json.Put("law", std::string_view(engine.law));
  json.Put("file", std::string_view(engine.file));
  json.Put("oldest", std::string_view(engine.oldest));
  json.Put("newest", std::string_view(engine.newest));
  PutStrings("named_versions", engine.named_versions, json);
  PutStrings("devices", engine.devices, json);
  json.BeginArray("options");
  for (const CatalogueOption& option : engine.options) PutOption(option, json);
  json.End();
  json.BeginArray("routes");
  for (const CatalogueRule& rule : engine.rules) {
    json.BeginObject();
    json.Put("kernel", rule.kernel.empty() ? std::string_view("unsupported")
                                           : std::string_view(rule.kernel));
    json.Put("conditions", std::string_view(RuleConditions(rule)));
    if (!rule.reason.empty()) json.Put("reason", std::string_view(rule.reason));
    json.Put("source", std::string_view(rule.source));
    json.End();
  }
  json.End();
  json.End();
}

absl::StatusOr<const CatalogueEngine*> FindEngine(const Catalogue& catalogue,
                                                  const std::string& name) {
  std::vector<std::string_view> names;
  std::string list;
  for (const CatalogueEngine& engine : catalogue.engines()) {
    if (engine.name == name ||
        std::find(engine.aliases.begin(), engine.aliases.end(), name) !=
            engine.aliases.end()) {
      return &engine;
    }
    names.push_back(engine.name);
    list += Concat(list.empty() ? "" : ", ", engine.name);
  }
  return internal::InvalidArgument("NAME: expected one of ", list, ", got \"",
                                   name, "\"", internal::Suggest(name, names));
}

}  // namespace

absl::StatusOr<int> RunEngines(const Arguments& args, Streams& io) {
  Catalogue catalogue = Catalogue::Builtin();
  if (args.catalogue.has_value()) {
    TG_ASSIGN_OR_RETURN(const std::string text, ReadFile(*args.catalogue));
    TG_ASSIGN_OR_RETURN(catalogue, catalogue.With(text, *args.catalogue));
  }
  const CatalogueEngine* only = nullptr;
  if (args.name.has_value()) {
    TG_ASSIGN_OR_RETURN(only, FindEngine(catalogue, *args.name));
  }
  if (args.json) {
    JsonWriter json;
    json.BeginArray("engines");
    for (const CatalogueEngine& engine : catalogue.engines()) {
      if (only == nullptr || only == &engine) PutEngine(engine, json);
    }
    json.End();
    io.out << json.ToString();
  } else if (only != nullptr) {
    PrintEngine(*only, io.out);
  } else {
    PrintSummary(catalogue, io.out);
  }
  return kExitDone;
}

}  // namespace tidegate::tools
