// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// ${NAME} in the strings of a policy file.

#include <algorithm>
#include <optional>
#include <string>

#include "estimators/text.h"
#include "scheduler/policy_document.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

bool IsNameCharacter(char c, bool first) {
  return c == '_' || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
         (!first && c >= '0' && c <= '9');
}

// "NAME" or "NAME:-DEFAULT", between the braces.
struct Reference {
  std::string_view name;
  std::optional<std::string_view> fallback;
};

std::optional<Reference> ParseReference(std::string_view inside) {
  std::size_t end = 0;
  while (end < inside.size() && IsNameCharacter(inside[end], end == 0)) ++end;
  if (end == 0) return std::nullopt;
  Reference reference{inside.substr(0, end), std::nullopt};
  const std::string_view rest = inside.substr(end);
  if (rest.empty()) return reference;
  if (!rest.starts_with(":-")) return std::nullopt;
  reference.fallback = rest.substr(2);
  return reference;
}

// One string. Errors are what the caller's place precedes.
absl::StatusOr<std::string> Fill(std::string_view text,
                                 const PolicySources& sources,
                                 std::string* names) {
  std::string out;
  while (true) {
    const std::size_t at = text.find("${");
    if (at == std::string_view::npos) break;
    if (at > 0 && text[at - 1] == '$') {
      out += text.substr(0, at - 1);
      out += "${";
      text.remove_prefix(at + 2);
      continue;
    }
    out += text.substr(0, at);
    text.remove_prefix(at + 2);
    const std::size_t brace = text.find('}');
    const std::optional<Reference> reference =
        brace == std::string_view::npos ? std::nullopt
                                        : ParseReference(text.substr(0, brace));
    if (!reference.has_value()) {
      return InvalidArgument(
          "expected ${NAME} or ${NAME:-DEFAULT}, got \"${",
          text.substr(0, std::min(text.size(), std::size_t{40})),
          "\"; $${ stands for ${ itself");
    }
    if (sources.environment == nullptr) {
      return InvalidArgument("expected no variable, got ${", reference->name,
                             "}: nothing here reads the environment");
    }
    const std::optional<std::string> value =
        sources.environment(reference->name);
    if (!value.has_value() && !reference->fallback.has_value()) {
      return InvalidArgument("expected the variable ", reference->name,
                             " in the environment, which is not set; ${",
                             reference->name, ":-VALUE} states a default");
    }
    if (value.has_value()) {
      if (std::any_of(value->begin(), value->end(),
                      [](unsigned char c) { return c < 0x20 || c == 0x7f; })) {
        return InvalidArgument("expected text in the variable ",
                               reference->name,
                               ", got one with a control character");
      }
      *names += Concat(names->empty() ? "" : ", ", reference->name);
    }
    out += value.has_value() ? std::string_view(*value) : *reference->fallback;
    text.remove_prefix(brace + 1);
  }
  out += text;
  return out;
}

}  // namespace

absl::Status FillEnvironment(TomlNode* node, const std::string& path,
                             const std::string& file,
                             const PolicySources& sources) {
  if (node->kind == TomlNode::Kind::kString &&
      node->string.find("${") != std::string::npos) {
    absl::StatusOr<std::string> filled =
        Fill(node->string, sources, &node->environment);
    if (!filled.ok()) {
      return InvalidArgument(PlaceOf(*node, file), path, ": ",
                             std::string(filled.status().message()));
    }
    node->string = *std::move(filled);
  }
  for (TomlEntry& entry : node->entries) {
    TG_RETURN_IF_ERROR(FillEnvironment(
        &entry.value, path.empty() ? entry.key : Concat(path, ".", entry.key),
        file, sources));
  }
  for (TomlNode& item : node->items) {
    TG_RETURN_IF_ERROR(FillEnvironment(&item, path, file, sources));
  }
  return absl::OkStatus();
}

}  // namespace tidegate::internal
