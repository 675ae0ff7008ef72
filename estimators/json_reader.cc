// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/json_reader.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <set>
#include <utility>

#include "estimators/text.h"
#include "nlohmann/json.hpp"

namespace tidegate::internal {
namespace {

// Deep enough for any config (they nest 5 levels), shallow enough that no
// recursion over the value can exhaust a stack.
constexpr std::size_t kMaxDepth = 64;
// Longest piece of the user's text that a message repeats.
constexpr std::size_t kMaxQuoted = 40;
// Keys are longer: they are paths.
constexpr std::size_t kMaxKey = 120;

// Without control characters, and not longer than `limit`: a message is one
// line, whatever the bytes were.
std::string Printable(std::string_view text, std::size_t limit = kMaxQuoted) {
  std::string out;
  for (char c : text.substr(0, limit)) {
    const auto byte = static_cast<unsigned char>(c);
    out.push_back(byte < 0x20 || byte == 0x7f ? ' ' : c);
  }
  if (text.size() <= limit) return out;
  // A cut must not leave half of a UTF-8 sequence.
  while (!out.empty() &&
         (static_cast<unsigned char>(out.back()) & 0xc0) == 0x80) {
    out.pop_back();
  }
  if (!out.empty() && static_cast<unsigned char>(out.back()) >= 0xc0) {
    out.pop_back();
  }
  return out + "...";
}

absl::Status KeyError(std::string_view file, std::string_view key,
                      std::string_view expected, std::string_view got) {
  return InvalidArgument(file, ": key ", Printable(key, kMaxKey), ": expected ",
                         expected, ", got ", got);
}

// Python's json module writes bare NaN and Infinity, and published configs
// have them (Nemotron-H: "time_step_limit": [0.0, Infinity]). They become
// strings, which no number is read from.
std::string QuoteBareNonFinite(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 16);
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      out.push_back(c);
      if (c == '\\' && i + 1 < text.size()) out.push_back(text[++i]);
      if (c == '"') in_string = false;
      continue;
    }
    bool replaced = false;
    for (std::string_view word : {"NaN", "-Infinity", "Infinity"}) {
      if (text.substr(i, word.size()) != word) continue;
      out.append(Concat("\"", word, "\""));
      i += word.size() - 1;
      replaced = true;
      break;
    }
    if (replaced) continue;
    in_string = c == '"';
    out.push_back(c);
  }
  return out;
}

// Builds a JsonValue from parse events and stops at the first thing refused.
class TreeBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  TreeBuilder(std::string_view text, std::string_view file)
      : text_(text), file_(file) {}

  bool null() override { return Put({}); }
  bool boolean(bool value) override {
    JsonValue v;
    v.type = JsonValue::Type::kBool;
    v.boolean = value;
    return Put(std::move(v));
  }
  bool number_integer(number_integer_t value) override {
    JsonValue v;
    v.type = JsonValue::Type::kInt;
    v.integer = value;
    v.number = static_cast<double>(value);
    v.text = std::to_string(value);
    return Put(std::move(v));
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (value <= static_cast<number_unsigned_t>(
                     std::numeric_limits<std::int64_t>::max())) {
      return number_integer(static_cast<number_integer_t>(value));
    }
    return number_float(static_cast<double>(value), std::to_string(value));
  }
  bool number_float(number_float_t value, const string_t& written) override {
    JsonValue v;
    v.type = JsonValue::Type::kNumber;
    v.number = value;
    v.text = written;
    return Put(std::move(v));
  }
  bool string(string_t& value) override {
    JsonValue v;
    v.type = JsonValue::Type::kString;
    v.text = std::move(value);
    return Put(std::move(v));
  }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override {
    return Open(JsonValue::Type::kObject);
  }
  bool start_array(std::size_t) override {
    return Open(JsonValue::Type::kArray);
  }
  bool key(string_t& name) override {
    if (!seen_.back().insert(name).second) {
      return Refuse(KeyError(file_, Path(name), "it once", "it twice"));
    }
    open_.back().keys.push_back(std::move(name));
    return true;
  }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool parse_error(std::size_t position, const std::string& last_token,
                   const nlohmann::json::exception& error) override {
    std::size_t line = 1;
    std::size_t column = 0;
    const std::size_t end = std::min(position, text_.size());
    for (std::size_t i = 0; i < end; ++i) {
      ++column;
      if (text_[i] == '\n' && i + 1 < end) {
        ++line;
        column = 0;
      }
    }
    // The token is empty or a NUL at the end of the text.
    const bool at_end = position > text_.size() || last_token.empty() ||
                        last_token.front() == '\0';
    if (at_end) ++column;  // just after the last character
    // 406: a number no double can hold; it has no place of its own.
    const std::string got = error.id == 406 ? "a number out of range"
                            : at_end        ? "the end of the text"
                                     : Concat("'", Printable(last_token), "'");
    return Refuse(InvalidArgument(file_, ": line ", line, ", column ", column,
                                  ": expected JSON, got ", got));
  }

  absl::Status status() const { return status_; }
  JsonValue TakeRoot() { return std::move(root_); }

 private:
  bool Refuse(absl::Status status) {
    if (status_.ok()) status_ = std::move(status);
    return false;
  }
  std::string Path(std::string_view last) const {
    std::string path;
    for (std::size_t i = 0; i < open_.size() && i < 3; ++i) {
      if (open_[i].keys.empty() || i + 1 == open_.size()) continue;
      path += open_[i].keys.back() + ".";
    }
    return Concat(path, last);
  }
  bool Open(JsonValue::Type type) {
    if (open_.size() == kMaxDepth) {
      const std::string key = open_.front().keys.empty()
                                  ? "(top level)"
                                  : open_.front().keys.back();
      return Refuse(KeyError(file_, key,
                             Concat("at most ", kMaxDepth, " levels"), "more"));
    }
    open_.emplace_back();
    open_.back().type = type;
    seen_.emplace_back();
    return true;
  }
  bool Close() {
    JsonValue done = std::move(open_.back());
    open_.pop_back();
    seen_.pop_back();
    return Put(std::move(done));
  }
  bool Put(JsonValue value) {
    (open_.empty() ? root_ : open_.back().items.emplace_back()) =
        std::move(value);
    return true;
  }

  std::string_view text_;
  std::string file_;
  absl::Status status_;
  JsonValue root_;
  std::vector<JsonValue> open_;              // containers not yet closed
  std::vector<std::set<std::string>> seen_;  // keys of each of them
};

}  // namespace

const JsonValue* JsonValue::Find(std::string_view key) const {
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (keys[i] == key) {
      return items[i].type == Type::kNull ? nullptr : &items[i];
    }
  }
  return nullptr;
}

std::string Describe(const JsonValue& value) {
  switch (value.type) {
    case JsonValue::Type::kNull:
      return "null";
    case JsonValue::Type::kBool:
      return value.boolean ? "true" : "false";
    case JsonValue::Type::kInt:
    case JsonValue::Type::kNumber:
      return Printable(value.text);
    case JsonValue::Type::kString:
      return Quote(value.text);
    case JsonValue::Type::kArray:
      return "an array";
    case JsonValue::Type::kObject:
      return "an object";
  }
  return "";
}

std::string Quote(std::string_view text) {
  return Concat("\"", Printable(text), "\"");
}

absl::StatusOr<JsonValue> ParseJsonObject(std::string_view text,
                                          std::string_view file) {
  const std::string json = QuoteBareNonFinite(text);
  TreeBuilder builder(json, file);
  // Events report every failure; this catches what memory or the library
  // itself may throw, since nothing may leave through this interface.
  try {
    nlohmann::json::sax_parse(json.begin(), json.end(), &builder);
  } catch (const std::exception& error) {
    return InvalidArgument(file, ": expected JSON, got text that cannot be ",
                           "read: ", Printable(error.what()));
  }
  if (!builder.status().ok()) return builder.status();
  JsonValue root = builder.TakeRoot();
  if (!root.IsObject()) {
    return KeyError(file, "(top level)", "an object", Describe(root));
  }
  return root;
}

std::string_view ObjectReader::FirstOf(
    std::initializer_list<std::string_view> keys) const {
  for (std::string_view key : keys) {
    if (Has(key)) return key;
  }
  return *keys.begin();
}

void ObjectReader::Fail(std::string_view key, std::string_view expected,
                        std::string_view got) {
  if (ok()) status_ = KeyError(file_, Concat(prefix_, key), expected, got);
}

void ObjectReader::FailAt(std::string_view key, std::string_view expected) {
  const JsonValue* value = Find(key);
  Fail(key, expected, value == nullptr ? "nothing" : Describe(*value));
}

std::int64_t ObjectReader::Whole(const JsonValue* value, const std::string& key,
                                 std::int64_t low, std::int64_t high) {
  if (value != nullptr) {
    if (value->type == JsonValue::Type::kInt && value->integer >= low &&
        value->integer <= high) {
      return value->integer;
    }
    // `high` is far below 2^53, so that the comparison is exact.
    if (value->type == JsonValue::Type::kNumber &&
        std::trunc(value->number) == value->number &&
        value->number >= static_cast<double>(low) &&
        value->number <= static_cast<double>(high)) {
      return static_cast<std::int64_t>(value->number);
    }
  }
  Fail(key, Concat("an integer from ", low, " to ", high),
       value == nullptr ? "nothing" : Describe(*value));
  return low;
}

std::int64_t ObjectReader::Int(std::string_view key, std::int64_t low,
                               std::int64_t high) {
  return Whole(Find(key), std::string(key), low, high);
}

std::int64_t ObjectReader::IntOr(std::string_view key, std::int64_t fallback,
                                 std::int64_t low, std::int64_t high) {
  return Has(key) ? Int(key, low, high) : fallback;
}

bool ObjectReader::BoolOr(std::string_view key, bool fallback) {
  const JsonValue* value = Find(key);
  if (value == nullptr) return fallback;
  if (value->type == JsonValue::Type::kBool) return value->boolean;
  FailAt(key, "true or false");
  return fallback;
}

std::string ObjectReader::StringOrEmpty(std::string_view key) {
  const JsonValue* value = Find(key);
  if (value == nullptr) return "";
  if (value->type == JsonValue::Type::kString) return value->text;
  FailAt(key, "a string");
  return "";
}

const JsonValue* ObjectReader::Array(std::string_view key, std::int64_t count) {
  const JsonValue* value = Find(key);
  if (value == nullptr || value->type != JsonValue::Type::kArray) {
    FailAt(key, "an array");
    return nullptr;
  }
  if (static_cast<std::int64_t>(value->items.size()) != count) {
    Fail(key, Concat(count, " entries, one a layer"),
         Concat(value->items.size()));
    return nullptr;
  }
  return value;
}

std::vector<std::string> ObjectReader::Strings(std::string_view key,
                                               std::int64_t count) {
  std::vector<std::string> out(count);
  const JsonValue* array = Array(key, count);
  if (array == nullptr) return out;
  for (std::size_t i = 0; i < array->items.size(); ++i) {
    const JsonValue& item = array->items[i];
    if (item.type != JsonValue::Type::kString) {
      Fail(Concat(key, "[", i, "]"), "a string", Describe(item));
      return out;
    }
    out[i] = item.text;
  }
  return out;
}

std::vector<std::int64_t> ObjectReader::Ints(std::string_view key,
                                             std::int64_t count,
                                             std::int64_t low,
                                             std::int64_t high) {
  std::vector<std::int64_t> out(count, low);
  const JsonValue* array = Array(key, count);
  if (array == nullptr) return out;
  for (std::size_t i = 0; i < array->items.size(); ++i) {
    out[i] = Whole(&array->items[i], Concat(key, "[", i, "]"), low, high);
  }
  return out;
}

std::int64_t ObjectReader::IntAt(std::string_view key, std::int64_t index,
                                 std::int64_t count, std::int64_t low,
                                 std::int64_t high) {
  const JsonValue* array = Array(key, count);
  if (array == nullptr) return low;
  return Whole(&array->items[index], Concat(key, "[", index, "]"), low, high);
}

std::vector<std::int64_t> ObjectReader::IntsOrEmpty(std::string_view key,
                                                    std::int64_t low,
                                                    std::int64_t high) {
  const JsonValue* value = Find(key);
  if (value == nullptr) return {};
  if (value->type != JsonValue::Type::kArray) {
    FailAt(key, "an array");
    return {};
  }
  return Ints(key, static_cast<std::int64_t>(value->items.size()), low, high);
}

}  // namespace tidegate::internal
