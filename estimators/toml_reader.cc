// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/toml_reader.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "estimators/text.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// Where the scanner of RefuseOddBytes is.
enum class Region { kCode, kComment, kString };

absl::Status ErrorIn(std::string_view file, int line, int column,
                     std::string_view message) {
  return InvalidArgument(file, ":", line, ":", column, ": ", message);
}

std::string HexByte(unsigned char byte) {
  constexpr char kDigits[] = "0123456789abcdef";
  return {'0', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
}

// toml++ 3.3 marks as unreachable a case that some non-ASCII characters
// outside strings do reach, so they stop here; control characters are not TOML
// anywhere.
absl::Status RefuseOddBytes(std::string_view text, std::string_view file) {
  Region region = Region::kCode;
  char quote = 0;
  bool triple = false;
  int line = 1;
  int column = 1;
  for (std::size_t i = 0; i < text.size(); ++i, ++column) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool crlf =
        byte == '\r' && i + 1 < text.size() && text[i + 1] == '\n';
    if ((byte < 0x20 && byte != '\n' && byte != '\t' && !crlf) ||
        byte == 0x7f) {
      return ErrorIn(file, line, column,
                     Concat("control character ", HexByte(byte)));
    }
    if (byte >= 0x80 && region == Region::kCode) {
      return ErrorIn(file, line, column,
                     "character outside ASCII: only strings and comments may "
                     "hold one");
    }
    const bool three = text.substr(i).starts_with(std::string(3, text[i]));
    if (byte == '\n') {
      ++line;
      column = 0;
      if (region == Region::kComment ||
          (region == Region::kString && !triple)) {
        region = Region::kCode;
      }
    } else if (region == Region::kCode) {
      if (byte == '#') {
        region = Region::kComment;
      } else if (byte == '"' || byte == '\'') {
        region = Region::kString;
        quote = text[i];
        triple = three;
        const int skip = triple ? 2 : 0;
        i += skip;
        column += skip;
      }
    } else if (region == Region::kString) {
      if (byte == '\\' && quote == '"' && i + 1 < text.size() &&
          (text[i + 1] == '"' || text[i + 1] == '\\')) {
        ++i;
        ++column;
      } else if (text[i] == quote && (!triple || three)) {
        region = Region::kCode;
        // Up to two quotes may stand before the closing three.
        int skip = triple ? 2 : 0;
        while (triple && i + skip + 1 < text.size() &&
               text[i + skip + 1] == quote && skip < 4) {
          ++skip;
        }
        i += skip;
        column += skip;
      }
    }
  }
  return absl::OkStatus();
}

TomlNode Convert(const toml::node& node) {
  TomlNode out;
  out.line = static_cast<int>(node.source().begin.line);
  out.column = static_cast<int>(node.source().begin.column);
  if (const toml::table* table = node.as_table()) {
    out.kind = TomlNode::Kind::kTable;
    for (const auto& [key, value] : *table) {
      out.entries.push_back(
          {.key = std::string(key.str()),
           .line = static_cast<int>(key.source().begin.line),
           .column = static_cast<int>(key.source().begin.column),
           .value = Convert(value)});
    }
    std::stable_sort(out.entries.begin(), out.entries.end(),
                     [](const TomlEntry& a, const TomlEntry& b) {
                       return std::pair(a.line, a.column) <
                              std::pair(b.line, b.column);
                     });
  } else if (const toml::array* array = node.as_array()) {
    out.kind = TomlNode::Kind::kArray;
    for (const toml::node& item : *array) out.items.push_back(Convert(item));
  } else if (const auto* text = node.as_string()) {
    out.kind = TomlNode::Kind::kString;
    out.string = text->get();
  } else if (const auto* integer = node.as_integer()) {
    out.kind = TomlNode::Kind::kInteger;
    out.integer = integer->get();
    out.number = static_cast<double>(integer->get());
  } else if (const auto* number = node.as_floating_point()) {
    out.kind = TomlNode::Kind::kFloat;
    out.number = number->get();
  } else if (const auto* boolean = node.as_boolean()) {
    out.kind = TomlNode::Kind::kBoolean;
    out.boolean = boolean->get();
  } else {
    out.kind = TomlNode::Kind::kTime;
  }
  return out;
}

std::string Shown(const TomlNode& node) {
  switch (node.kind) {
    case TomlNode::Kind::kString:
      return Concat("\"", node.string, "\"");
    case TomlNode::Kind::kInteger:
      return std::to_string(node.integer);
    case TomlNode::Kind::kBoolean:
      return node.boolean ? "true" : "false";
    case TomlNode::Kind::kFloat:
      return std::to_string(node.number);
    default:
      return std::string(KindName(node.kind));
  }
}

}  // namespace

const TomlNode* TomlNode::Find(std::string_view key) const {
  for (const TomlEntry& entry : entries) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

std::string_view KindName(TomlNode::Kind kind) {
  switch (kind) {
    case TomlNode::Kind::kTable:
      return "a table";
    case TomlNode::Kind::kArray:
      return "an array";
    case TomlNode::Kind::kString:
      return "a string";
    case TomlNode::Kind::kInteger:
      return "an integer";
    case TomlNode::Kind::kFloat:
      return "a number";
    case TomlNode::Kind::kBoolean:
      return "true or false";
    case TomlNode::Kind::kTime:
      return "a date or time";
  }
  return "a value";
}

absl::StatusOr<TomlNode> ParseToml(std::string_view text,
                                   std::string_view file) {
  if (text.size() > kTomlBytesMax) {
    return ErrorIn(file, 1, 1,
                   Concat("file of ", text.size(), " bytes, expected at most ",
                          kTomlBytesMax));
  }
  // A byte-order mark is what some editors put first, not a key.
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  TG_RETURN_IF_ERROR(RefuseOddBytes(text, file));
  try {
    return Convert(toml::parse(text, file));
  } catch (const toml::parse_error& error) {
    return ErrorIn(file, static_cast<int>(error.source().begin.line),
                   static_cast<int>(error.source().begin.column),
                   std::string_view(error.description()));
  }
}

TomlReader::TomlReader(const TomlNode& table, std::string_view file,
                       std::string_view path)
    : TomlReader(table, std::make_shared<Shared>(Shared{std::string(file), {}}),
                 std::string(path)) {}

TomlReader::TomlReader(const TomlNode& table, std::shared_ptr<Shared> shared,
                       std::string path)
    : table_(&table), shared_(std::move(shared)), path_(std::move(path)) {}

bool TomlReader::Has(std::string_view key) const {
  return table_->Find(key) != nullptr;
}

std::string TomlReader::PathOf(std::string_view key) const {
  if (path_.empty()) return std::string(key);
  if (key.empty()) return path_;
  return Concat(path_, ".", key);
}

void TomlReader::ErrorAt(const TomlNode& of, int line, int column,
                         std::string_view key, std::string_view message) {
  if (!shared_->status.ok()) return;
  shared_->status =
      ErrorIn(of.origin == nullptr ? shared_->file : of.origin->file, line,
              column, Concat(PathOf(key), ": ", message));
}

void TomlReader::Error(std::string_view key, std::string_view message) {
  for (const TomlEntry& entry : table_->entries) {
    if (entry.key == key) {
      const bool placed = entry.value.line != 0;
      return ErrorAt(entry.value, placed ? entry.value.line : entry.line,
                     placed ? entry.value.column : entry.column, key, message);
    }
  }
  ErrorAt(*table_, std::max(table_->line, 1), std::max(table_->column, 1), key,
          message);
}

void TomlReader::Expected(std::string_view key, std::string_view what,
                          const TomlNode& got) {
  Error(key, Concat("expected ", what, ", got ", Shown(got)));
}

void TomlReader::Missing(std::string_view key) {
  known_.emplace_back(key);
  // A mistyped key says more than a missing one.
  for (const TomlEntry& entry : table_->entries) {
    if (std::find(known_.begin(), known_.end(), entry.key) != known_.end()) {
      continue;
    }
    const std::string_view candidates[] = {key};
    if (!DidYouMean(entry.key, candidates).empty()) {
      return ErrorAt(entry.value, entry.line, entry.column, entry.key,
                     Concat("unknown key; did you mean \"", key, "\"?"));
    }
  }
  Error(key, "missing key");
}

void TomlReader::Ignore(std::string_view key) { known_.emplace_back(key); }

const TomlEntry* TomlReader::Take(std::string_view key) {
  known_.emplace_back(key);
  if (!shared_->status.ok()) return nullptr;
  for (const TomlEntry& entry : table_->entries) {
    if (entry.key == key) return &entry;
  }
  return nullptr;
}

const TomlNode* TomlReader::Raw(std::string_view key) {
  const TomlEntry* entry = Take(key);
  return entry == nullptr ? nullptr : &entry->value;
}

const TomlNode* TomlReader::TakeKind(std::string_view key,
                                     TomlNode::Kind kind) {
  const TomlNode* node = Raw(key);
  if (node == nullptr) return nullptr;
  if (node->kind != kind) {
    Expected(key, KindName(kind), *node);
    return nullptr;
  }
  return node;
}

bool TomlReader::Optional(std::string_view key, std::string* out) {
  const TomlNode* node = TakeKind(key, TomlNode::Kind::kString);
  if (node != nullptr) *out = node->string;
  return node != nullptr;
}

bool TomlReader::Optional(std::string_view key, bool* out) {
  const TomlNode* node = TakeKind(key, TomlNode::Kind::kBoolean);
  if (node != nullptr) *out = node->boolean;
  return node != nullptr;
}

bool TomlReader::Optional(std::string_view key, std::int64_t* out) {
  const TomlNode* node = TakeKind(key, TomlNode::Kind::kInteger);
  if (node != nullptr) *out = node->integer;
  return node != nullptr;
}

bool TomlReader::Optional(std::string_view key, double* out) {
  const TomlNode* node = Raw(key);
  if (node == nullptr) return false;
  const bool number = node->kind == TomlNode::Kind::kInteger ||
                      node->kind == TomlNode::Kind::kFloat;
  if (!number || !std::isfinite(node->number)) {
    Expected(key, "a finite number", *node);
    return false;
  }
  *out = node->number;
  return true;
}

bool TomlReader::Optional(std::string_view key, std::vector<std::string>* out) {
  const TomlNode* node = TakeKind(key, TomlNode::Kind::kArray);
  if (node == nullptr) return false;
  std::vector<std::string> values;
  for (const TomlNode& item : node->items) {
    if (item.kind != TomlNode::Kind::kString) {
      ErrorAt(item, item.line, item.column, key,
              Concat("expected strings, got ", Shown(item)));
      return false;
    }
    values.push_back(item.string);
  }
  *out = std::move(values);
  return true;
}

bool TomlReader::Optional(std::string_view key,
                          std::vector<std::int64_t>* out) {
  const TomlNode* node = TakeKind(key, TomlNode::Kind::kArray);
  if (node == nullptr) return false;
  std::vector<std::int64_t> values;
  for (const TomlNode& item : node->items) {
    if (item.kind != TomlNode::Kind::kInteger) {
      ErrorAt(item, item.line, item.column, key,
              Concat("expected integers, got ", Shown(item)));
      return false;
    }
    values.push_back(item.integer);
  }
  *out = std::move(values);
  return true;
}

bool TomlReader::Integer(std::string_view key, std::int64_t min,
                         std::int64_t max, std::int64_t* out) {
  std::int64_t value = 0;
  if (!Optional(key, &value)) return false;
  if (value < min || value > max) {
    const std::string what = max == std::numeric_limits<std::int64_t>::max()
                                 ? Concat("an integer of at least ", min)
                                 : Concat("an integer from ", min, " to ", max);
    Expected(key, what, *table_->Find(key));
    return false;
  }
  *out = value;
  return true;
}

bool TomlReader::Number(std::string_view key, double min, double max,
                        double* out) {
  double value = 0;
  if (!Optional(key, &value)) return false;
  if (value < min || value > max) {
    Expected(key,
             Concat("a number from ", std::to_string(min), " to ",
                    std::to_string(max)),
             *table_->Find(key));
    return false;
  }
  *out = value;
  return true;
}

bool TomlReader::Bytes(std::string_view key, std::int64_t* out) {
  const TomlNode* node = Raw(key);
  if (node == nullptr) return false;
  std::int64_t bytes = -1;
  if (node->kind == TomlNode::Kind::kInteger) {
    bytes = node->integer;
  } else if (node->kind == TomlNode::Kind::kString &&
             !ParseBytes(node->string, &bytes)) {
    bytes = -1;
  }
  if (bytes < 0) {
    Expected(key, "bytes, such as \"36 GiB\" or 4096", *node);
    return false;
  }
  *out = bytes;
  return true;
}

bool TomlReader::Word(std::string_view key,
                      std::span<const std::string_view> words, int* index) {
  const TomlNode* node = TakeKind(key, TomlNode::Kind::kString);
  if (node == nullptr) return false;
  std::string list;
  for (int i = 0; i < static_cast<int>(words.size()); ++i) {
    if (words[i] == node->string) {
      *index = i;
      return true;
    }
    list += Concat(i == 0 ? "" : ", ", words[i]);
  }
  Error(key, Concat("expected one of ", list, ", got \"", node->string, "\"",
                    Suggest(node->string, words)));
  return false;
}

TomlReader TomlReader::Table(std::string_view key) {
  static const TomlNode kEmpty;
  const TomlNode* node = TakeKind(key, TomlNode::Kind::kTable);
  return {node == nullptr ? kEmpty : *node, shared_, PathOf(key)};
}

std::vector<TomlReader> TomlReader::Tables(std::string_view key) {
  std::vector<TomlReader> tables;
  const TomlNode* node = TakeKind(key, TomlNode::Kind::kArray);
  if (node == nullptr) return tables;
  for (std::size_t i = 0; i < node->items.size(); ++i) {
    const TomlNode& item = node->items[i];
    if (item.kind != TomlNode::Kind::kTable) {
      ErrorAt(item, item.line, item.column, key,
              Concat("expected tables, got ", Shown(item)));
      return {};
    }
    tables.push_back(
        TomlReader(item, shared_, Concat(PathOf(key), "[", i, "]")));
  }
  return tables;
}

std::vector<std::string_view> TomlReader::Keys() const {
  std::vector<std::string_view> keys;
  for (const TomlEntry& entry : table_->entries) keys.push_back(entry.key);
  return keys;
}

absl::Status TomlReader::Finish() {
  if (!shared_->status.ok()) return shared_->status;
  const std::vector<std::string_view> known(known_.begin(), known_.end());
  for (const TomlEntry& entry : table_->entries) {
    if (std::find(known.begin(), known.end(), entry.key) != known.end()) {
      continue;
    }
    const std::string hint = Suggest(entry.key, known);
    ErrorAt(entry.value, entry.line, entry.column, entry.key,
            Concat("unknown key", hint));
    break;
  }
  return shared_->status;
}

}  // namespace tidegate::internal
