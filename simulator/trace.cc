// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <array>
#include <charconv>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>

#include "estimators/json_reader.h"
#include "estimators/read_file.h"
#include "estimators/text.h"
#include "tidegate/simulator.h"
#include "tidegate/status.h"

namespace tidegate {
namespace {

using internal::Concat;
using internal::InvalidArgument;
using internal::Quote;

constexpr auto kColumns = std::to_array<std::string_view>(
    {"arrival_s", "prompt_tokens", "cached_tokens", "output_tokens",
     "session"});
enum Column { kArrival, kPrompt, kCached, kOutput, kSession };

// Nanoseconds of an arrival are an int64: 292 years. A century is already a
// slip of units, and leaves room for whatever the simulation adds.
constexpr std::int64_t kArrivalSecondsMax = 3'155'760'000;

// One line of the file, cut at its commas.
class Row {
 public:
  Row(std::string_view file, int line, std::string_view text)
      : file_(file), line_(line), text_(text) {}

  // Errors name the first column that is missing or the one too many.
  absl::Status Cut() {
    std::string_view rest = text_;
    for (std::size_t i = 0; i < kColumns.size(); ++i) {
      const std::size_t comma = rest.find(',');
      fields_[i] = rest.substr(0, comma);
      const bool last = i + 1 == kColumns.size();
      if (last && comma != std::string_view::npos) {
        return Error(kColumns[i], "the end of the line",
                     Quote(rest.substr(comma)));
      }
      if (!last && comma == std::string_view::npos) {
        return Error(kColumns[i + 1], "a field", "the end of the line");
      }
      rest.remove_prefix(last ? rest.size() : comma + 1);
    }
    return absl::OkStatus();
  }

  absl::Status CheckHeader() const {
    for (std::size_t i = 0; i < kColumns.size(); ++i) {
      if (fields_[i] == kColumns[i]) continue;
      return Error(kColumns[i], "this name in the header", Quote(fields_[i]));
    }
    return absl::OkStatus();
  }

  absl::Status Integer(Column column, std::int64_t low, std::int64_t high,
                       std::int64_t* value) const {
    const std::string_view field = fields_[column];
    const char* const end = field.data() + field.size();
    const auto [stop, error] = std::from_chars(field.data(), end, *value);
    if (error == std::errc() && stop == end && *value >= low &&
        *value <= high) {
      return absl::OkStatus();
    }
    return Error(kColumns[column],
                 Concat("an integer from ", low, " to ", high), Quote(field));
  }

  // Decimal seconds, exact to the nanosecond.
  absl::Status Seconds(Column column, Instant* value) const {
    const std::string_view field = fields_[column];
    const std::size_t dot = field.find('.');
    const std::string_view whole = field.substr(0, dot);
    const std::string_view fraction =
        dot == std::string_view::npos ? "0" : field.substr(dot + 1);
    std::int64_t seconds = 0;
    std::int64_t nanoseconds = 0;
    const bool good = Digits(whole, &seconds) && fraction.size() <= 9 &&
                      Digits(fraction, &nanoseconds) &&
                      seconds <= kArrivalSecondsMax;
    if (!good) {
      return Error(kColumns[column],
                   "seconds with at most 9 decimals, such as 12.345",
                   Quote(field));
    }
    for (std::size_t i = fraction.size(); i < 9; ++i) nanoseconds *= 10;
    *value = Instant(std::chrono::seconds(seconds) +
                     std::chrono::nanoseconds(nanoseconds));
    return absl::OkStatus();
  }

  absl::Status Error(std::string_view column, std::string_view expected,
                     std::string_view got) const {
    return InvalidArgument(file_, ":", line_, ": column ", column,
                           ": expected ", expected, ", got ", got);
  }
  absl::Status Error(Column column, std::string_view expected) const {
    return Error(kColumns[column], expected, Quote(fields_[column]));
  }

 private:
  // from_chars alone would take a sign.
  static bool Digits(std::string_view text, std::int64_t* value) {
    if (text.empty() ||
        text.find_first_not_of("0123456789") != std::string_view::npos) {
      return false;
    }
    const auto [stop, error] =
        std::from_chars(text.data(), text.data() + text.size(), *value);
    return error == std::errc() && stop == text.data() + text.size();
  }

  std::string_view file_;
  int line_;
  std::string_view text_;
  std::array<std::string_view, kColumns.size()> fields_;
};

absl::Status ReadRow(const Row& row, const Trace& before, TraceRow* out) {
  TG_RETURN_IF_ERROR(row.Seconds(kArrival, &out->arrival));
  TG_RETURN_IF_ERROR(row.Integer(kPrompt, 1, kTokensMax, &out->prompt_tokens));
  TG_RETURN_IF_ERROR(row.Integer(kCached, 0, kTokensMax, &out->cached_tokens));
  TG_RETURN_IF_ERROR(row.Integer(kOutput, 0, kTokensMax, &out->output_tokens));
  TG_RETURN_IF_ERROR(
      row.Integer(kSession, std::numeric_limits<std::int64_t>::min(),
                  std::numeric_limits<std::int64_t>::max(), &out->session));
  if (out->cached_tokens >= out->prompt_tokens) {
    return row.Error(kCached,
                     Concat("less than the ", out->prompt_tokens,
                            " prompt_tokens: one is always left to compute"));
  }
  if (!before.rows.empty() && out->arrival < before.rows.back().arrival) {
    return row.Error(kArrival, "no arrival before that of the line above");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Trace> ParseTrace(std::string_view text, std::string_view file) {
  Trace trace;
  int line = 0;
  while (!text.empty()) {
    const std::size_t newline = text.find('\n');
    std::string_view content = text.substr(0, newline);
    text.remove_prefix(newline == std::string_view::npos ? text.size()
                                                         : newline + 1);
    if (content.ends_with('\r')) content.remove_suffix(1);
    Row row(file, ++line, content);
    TG_RETURN_IF_ERROR(row.Cut());
    if (line == 1) {
      TG_RETURN_IF_ERROR(row.CheckHeader());
      continue;
    }
    TraceRow parsed;
    TG_RETURN_IF_ERROR(ReadRow(row, trace, &parsed));
    trace.rows.push_back(parsed);
  }
  // A trace without requests answers every question with zero: a mistake that
  // would look like a result.
  if (trace.rows.empty()) {
    return InvalidArgument(file, ":", line + 1, ": column arrival_s: expected ",
                           line == 0 ? "the header" : "a first request",
                           ", got the end of the file");
  }
  return trace;
}

absl::StatusOr<Trace> LoadTrace(const std::string& path) {
  TG_ASSIGN_OR_RETURN(const std::string text,
                      internal::ReadFile(path, "trace"));
  return ParseTrace(text, path);
}

}  // namespace tidegate
