// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// JSON as the config readers need it: strict about what would be misread
// silently (a key stated twice, nesting without end), lenient about what
// published files contain (Python's bare NaN and Infinity), and with errors
// that name the key.

#ifndef TIDEGATE_ESTIMATORS_JSON_READER_H_
#define TIDEGATE_ESTIMATORS_JSON_READER_H_

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tidegate::internal {

struct JsonValue {
  enum class Type { kNull, kBool, kInt, kNumber, kString, kArray, kObject };

  Type type = Type::kNull;
  bool boolean = false;
  std::int64_t integer = 0;
  double number = 0;  // kInt too
  std::string text;   // kString: its value; kInt, kNumber: as it was written
  std::vector<std::string> keys;  // kObject: keys of `items`
  std::vector<JsonValue> items;   // kObject, kArray

  // The member `key`; null when there is none or its value is null, which
  // config files use for "not stated".
  const JsonValue* Find(std::string_view key) const;
  bool IsObject() const { return type == Type::kObject; }
};

// One line for a message: numbers and short strings as written, otherwise what
// it is ("an array").
std::string Describe(const JsonValue& value);

// The user's own text for a message: quoted, printable, and cut when long.
std::string Quote(std::string_view text);

// The whole text as one value. Fails on a syntax error (with line and column),
// a duplicate key, more than 64 levels of nesting, or anything but an object
// at the top.
absl::StatusOr<JsonValue> ParseJsonObject(std::string_view text,
                                          std::string_view file);

// Reads members of one object. The first failure is kept and every later call
// answers the smallest value allowed, so that a caller reads all it needs and
// looks at status() once.
class ObjectReader {
 public:
  // `prefix` is put before every key in messages, as in "text_config.".
  // `object` must outlive the reader.
  ObjectReader(const JsonValue& object, std::string_view file,
               std::string_view prefix)
      : object_(&object), file_(file), prefix_(prefix) {}

  const JsonValue* Find(std::string_view key) const {
    return object_->Find(key);
  }
  bool Has(std::string_view key) const { return Find(key) != nullptr; }
  // The first of `keys` that is stated; the first one when none is, so that
  // it is the one named as missing.
  std::string_view FirstOf(std::initializer_list<std::string_view> keys) const;

  // Integers from `low` to `high`. A number written with a fraction counts
  // when it is whole: some converters write 4096.0.
  std::int64_t Int(std::string_view key, std::int64_t low, std::int64_t high);
  std::int64_t IntOr(std::string_view key, std::int64_t fallback,
                     std::int64_t low, std::int64_t high);
  bool BoolOr(std::string_view key, bool fallback);
  // Empty when the key is not stated.
  std::string StringOrEmpty(std::string_view key);
  // One entry a layer: exactly `count` of them.
  std::vector<std::string> Strings(std::string_view key, std::int64_t count);
  std::vector<std::int64_t> Ints(std::string_view key, std::int64_t count,
                                 std::int64_t low, std::int64_t high);
  // Entry `index` of such a list.
  std::int64_t IntAt(std::string_view key, std::int64_t index,
                     std::int64_t count, std::int64_t low, std::int64_t high);
  // A list of any length; empty when the key is not stated.
  std::vector<std::int64_t> IntsOrEmpty(std::string_view key, std::int64_t low,
                                        std::int64_t high);

  // Keeps "FILE: key KEY: expected EXPECTED, got GOT" unless a failure is
  // already kept.
  void Fail(std::string_view key, std::string_view expected,
            std::string_view got);
  // The same with the member's own value as GOT, "nothing" when it has none.
  void FailAt(std::string_view key, std::string_view expected);

  // Keeps the failure of a reader of a part of this object.
  void Absorb(const ObjectReader& part) {
    if (ok()) status_ = part.status();
  }

  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }
  const std::string& file() const { return file_; }
  const std::string& prefix() const { return prefix_; }
  const JsonValue& object() const { return *object_; }

 private:
  std::int64_t Whole(const JsonValue* value, const std::string& key,
                     std::int64_t low, std::int64_t high);
  const JsonValue* Array(std::string_view key, std::int64_t count);

  const JsonValue* object_;
  std::string file_;
  std::string prefix_;
  absl::Status status_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_JSON_READER_H_
