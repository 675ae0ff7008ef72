// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Writes flat JSON as text, member by member: the log and the timeline write
// millions of small objects, and need neither a tree nor a locale.

#ifndef TIDEGATE_SCHEDULER_JSON_TEXT_H_
#define TIDEGATE_SCHEDULER_JSON_TEXT_H_

#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "tidegate/types.h"

namespace tidegate::internal {

class JsonText {
 public:
  // Objects and lists as members or as elements. The caller balances them.
  void Open(char bracket) {
    Comma();
    text_ += bracket;
    first_ = true;
  }
  void Close(char bracket) {
    text_ += bracket;
    first_ = false;
  }
  // What follows is its value.
  void Key(std::string_view key) {
    Comma();
    Quoted(key);
    text_ += ':';
    first_ = true;
  }

  // Elements of a list, or the value after Key().
  template <std::integral T>
  requires(!std::same_as<T, bool>) void Value(T value) {
    Comma();
    text_ += std::to_string(value);
  }
  template <std::same_as<bool> T>
  void Value(T value) {
    Comma();
    text_ += value ? "true" : "false";
  }
  void Value(std::string_view value) {
    Comma();
    Quoted(value);
  }
  // A number as the caller wrote it.
  void Raw(std::string_view number) {
    Comma();
    text_ += number;
  }

  template <typename T>
  void Member(std::string_view key, const T& value) {
    Key(key);
    Value(value);
  }
  template <typename T>
  void Member(std::string_view key, const std::optional<T>& value) {
    if (!value.has_value()) return;
    if constexpr (std::same_as<T, Duration>) {
      Member(key, value->count());
    } else {
      Member(key, *value);
    }
  }

  std::string Take() {
    first_ = true;
    return std::exchange(text_, {});
  }

 private:
  void Comma() {
    if (!std::exchange(first_, false)) text_ += ',';
  }

  // Control characters are escaped; what is no UTF-8 goes through as it is.
  void Quoted(std::string_view value) {
    constexpr char kDigits[] = "0123456789abcdef";
    text_ += '"';
    for (const char c : value) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') {
        text_ += '\\';
        text_ += c;
      } else if (byte < 0x20) {
        text_ += "\\u00";
        text_ += kDigits[byte >> 4];
        text_ += kDigits[byte & 15];
      } else {
        text_ += c;
      }
    }
    text_ += '"';
  }

  std::string text_;
  bool first_ = true;  // no comma before the next
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_JSON_TEXT_H_
