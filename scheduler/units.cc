// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/units.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>

namespace tidegate::internal {
namespace {

constexpr std::string_view kDigits = "0123456789";

std::string_view Trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// Takes the leading digits of `text` as a number. False when there are none or
// more than 15, which is above every limit here and cannot overflow.
bool TakeNumber(std::string_view& text, std::int64_t* value) {
  const std::size_t n = std::min(text.find_first_not_of(kDigits), text.size());
  if (n == 0 || n > 15) return false;
  *value = 0;
  for (char c : text.substr(0, n)) *value = *value * 10 + (c - '0');
  text.remove_prefix(n);
  return true;
}

struct Unit {
  std::string_view name;
  std::int64_t size;
};

constexpr std::array<Unit, 5> kTokenUnits = {
    {{"", 1}, {"k", 1 << 10}, {"K", 1 << 10}, {"m", 1 << 20}, {"M", 1 << 20}}};
constexpr std::array<Unit, 4> kTimeUnits = {
    {{"ns", 1}, {"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}}};
constexpr std::int64_t kDay = 86'400'000'000'000;

}  // namespace

bool ParseTokens(std::string_view text, Tokens* tokens) {
  text = Trim(text);
  std::int64_t number = 0;
  if (!TakeNumber(text, &number)) return false;
  const std::string_view name = Trim(text);
  for (const Unit& unit : kTokenUnits) {
    if (name != unit.name || number > kTokensMax / unit.size) continue;
    *tokens = number * unit.size;
    return true;
  }
  return false;
}

bool ParseDuration(std::string_view text, Duration* duration) {
  text = Trim(text);
  std::int64_t whole = 0;
  if (!TakeNumber(text, &whole)) return false;
  std::string_view fraction;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    const std::size_t n =
        std::min(text.find_first_not_of(kDigits), text.size());
    if (n == 0 || n > 9) return false;
    fraction = text.substr(0, n);
    text.remove_prefix(n);
  }
  const std::string_view name = Trim(text);
  for (const Unit& unit : kTimeUnits) {
    if (name != unit.name || whole > kDay / unit.size) continue;
    std::int64_t total = whole * unit.size;
    std::int64_t place = unit.size;
    for (char digit : fraction) {
      if (place % 10 != 0 && digit != '0') return false;
      place /= 10;
      total += place * (digit - '0');
    }
    if (total > kDay) return false;
    *duration = Duration(total);
    return true;
  }
  return false;
}

}  // namespace tidegate::internal
