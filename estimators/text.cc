// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

namespace tidegate::internal {
namespace {

// Case, '-' and '_' are how people misremember a key, not another key.
char Fold(char c) {
  if (c == '-') return '_';
  return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
}

// Letters inserted, dropped or replaced, and neighbours swapped, each letter
// touched once (optimal string alignment).
std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);  // of a without its last two
  std::vector<std::size_t> last(b.size() + 1);    // without its last letter
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  const auto same = [&](std::size_t i, std::size_t j) {
    return Fold(a[i - 1]) == Fold(b[j - 1]);
  };
  for (std::size_t i = 1; i <= a.size(); ++i) {
    before.swap(last);
    last.swap(row);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min(
          {last[j - 1] + (same(i, j) ? 0 : 1), last[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && same(i, j - 1) && same(i - 1, j)) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
  }
  return row.back();
}

// Holds any product of a number and a unit below.
__extension__ using Wide = __int128;

struct Unit {
  std::string_view name;
  std::int64_t bytes;
};

constexpr std::array<Unit, 13> kUnits = {{
    {"b", 1},
    {"kb", 1'000},
    {"mb", 1'000'000},
    {"gb", 1'000'000'000},
    {"tb", 1'000'000'000'000},
    {"pb", 1'000'000'000'000'000},
    {"eb", 1'000'000'000'000'000'000},
    {"kib", std::int64_t{1} << 10},
    {"mib", std::int64_t{1} << 20},
    {"gib", std::int64_t{1} << 30},
    {"tib", std::int64_t{1} << 40},
    {"pib", std::int64_t{1} << 50},
    {"eib", std::int64_t{1} << 60},
}};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

std::string_view TakeDigits(std::string_view& text) {
  std::size_t n = 0;
  while (n < text.size() && IsDigit(text[n])) ++n;
  const std::string_view digits = text.substr(0, n);
  text.remove_prefix(n);
  return digits;
}

void TrimSpaces(std::string_view& text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
}

}  // namespace

std::string_view DidYouMean(std::string_view word,
                            std::span<const std::string_view> candidates) {
  // One slip in three letters is a typo; more is another word. So words of one
  // or two letters have none.
  std::size_t best = word.size() / 3 + 1;
  std::string_view nearest;
  for (std::string_view candidate : candidates) {
    const std::size_t distance = EditDistance(word, candidate);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

std::string Suggest(std::string_view word,
                    std::span<const std::string_view> candidates) {
  const std::string_view near = DidYouMean(word, candidates);
  return near.empty() ? "" : Concat("; did you mean \"", near, "\"?");
}

absl::Status UnknownWord(std::string_view key, std::string_view word,
                         std::span<const std::string_view> words) {
  std::string list;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const bool last = i + 1 == words.size();
    list += Concat(i == 0 ? "" : last ? " or " : ", ", words[i]);
  }
  return InvalidArgument(key, ": expected ", list, ", got \"", word, "\"",
                         Suggest(word, words));
}

std::string Grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  const std::size_t first = number < 0 ? 1 : 0;
  for (std::size_t i = digits.size(); i > first + 3; i -= 3) {
    digits.insert(i - 3, ",");
  }
  return digits;
}

std::string TokenCount(std::int64_t tokens) {
  return Concat(Grouped(tokens), tokens == 1 ? " token" : " tokens");
}

std::string FormatBytes(std::int64_t bytes) {
  constexpr std::array<const char*, 7> kNames = {"B",   "KiB", "MiB", "GiB",
                                                 "TiB", "PiB", "EiB"};
  // Also right for the lowest value, whose negation does not fit.
  const std::uint64_t magnitude = bytes < 0
                                      ? 0 - static_cast<std::uint64_t>(bytes)
                                      : static_cast<std::uint64_t>(bytes);
  const char* sign = bytes < 0 ? "-" : "";
  if (magnitude < 1024) return Concat(sign, magnitude, " B");
  double value = static_cast<double>(magnitude);
  std::size_t unit = 0;
  // 1023.995 rounds to 1024.00, which reads better in the next unit.
  while (value >= 1023.995 && unit + 1 < kNames.size()) {
    value /= 1024;
    ++unit;
  }
  char text[48];
  std::snprintf(text, sizeof(text), "%s%.2f %s", sign, value, kNames[unit]);
  return text;
}

bool ParseBytes(std::string_view text, std::int64_t* bytes) {
  TrimSpaces(text);
  const std::string_view whole = TakeDigits(text);
  if (whole.empty()) return false;
  std::string_view fraction;
  if (!text.empty() && text.front() == '.') {
    text.remove_prefix(1);
    fraction = TakeDigits(text);
    if (fraction.empty()) return false;
  }
  TrimSpaces(text);

  std::string name;
  for (char c : text) name.push_back(Fold(c));
  std::int64_t unit = 1;
  if (!name.empty()) {
    const auto* found =
        std::find_if(kUnits.begin(), kUnits.end(),
                     [&](const Unit& u) { return u.name == name; });
    if (found == kUnits.end()) return false;
    unit = found->bytes;
  }

  // In integers throughout: a double has no exact 0.1 GB. More digits than
  // these cannot give a whole number of bytes that fits.
  while (!fraction.empty() && fraction.back() == '0') fraction.remove_suffix(1);
  if (whole.size() > 19 || fraction.size() > 18) return false;
  Wide scaled = 0;
  Wide scale = 1;
  for (char c : whole) scaled = scaled * 10 + (c - '0');
  if (scaled > std::numeric_limits<std::int64_t>::max()) return false;
  scaled *= unit;
  Wide part = 0;
  for (char c : fraction) {
    part = part * 10 + (c - '0');
    scale *= 10;
  }
  part *= unit;
  if (part % scale != 0) return false;
  scaled += part / scale;
  if (scaled > std::numeric_limits<std::int64_t>::max()) return false;
  *bytes = static_cast<std::int64_t>(scaled);
  return true;
}

}  // namespace tidegate::internal
