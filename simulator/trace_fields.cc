// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/trace_fields.h"

#include <charconv>
#include <chrono>
#include <cmath>
#include <system_error>

#include "estimators/json_reader.h"
#include "estimators/text.h"

namespace tidegate::internal {
namespace {

template <typename T>
bool ParseWhole(std::string_view text, T* value) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, *value);
  return error == std::errc() && stop == end;
}

// from_chars alone would take a sign.
bool ParseDigits(std::string_view text, std::int64_t* value) {
  return !text.empty() &&
         text.find_first_not_of("0123456789") == std::string_view::npos &&
         ParseWhole(text, value);
}

}  // namespace

std::optional<Duration> ParseSeconds(std::string_view text) {
  const std::size_t dot = text.find('.');
  const std::string_view whole = text.substr(0, dot);
  const std::string_view fraction =
      dot == std::string_view::npos ? "0" : text.substr(dot + 1);
  std::int64_t seconds = 0;
  std::int64_t nanoseconds = 0;
  if (!ParseDigits(whole, &seconds) || fraction.size() > 9 ||
      !ParseDigits(fraction, &nanoseconds) || seconds > kArrivalSecondsMax) {
    return std::nullopt;
  }
  for (std::size_t i = fraction.size(); i < 9; ++i) nanoseconds *= 10;
  return std::chrono::seconds(seconds) + std::chrono::nanoseconds(nanoseconds);
}

std::vector<std::string_view> SplitAtCommas(std::string_view line) {
  std::vector<std::string_view> fields;
  while (true) {
    const std::size_t comma = line.find(',');
    fields.push_back(line.substr(0, comma));
    if (comma == std::string_view::npos) return fields;
    line.remove_prefix(comma + 1);
  }
}

absl::Status TraceFields::Cut(std::string_view text) {
  fields_ = SplitAtCommas(text);
  const std::size_t expected = columns_->size();
  if (fields_.size() < expected) {
    return Error((*columns_)[fields_.size()], "a field", "the end of the line");
  }
  if (fields_.size() > expected) {
    // Everything after the last field that belongs there, its comma included.
    const std::size_t from =
        static_cast<std::size_t>(fields_[expected].data() - text.data()) - 1;
    return Error(columns_->back(), "the end of the line",
                 Quote(text.substr(from)));
  }
  return absl::OkStatus();
}

absl::Status TraceFields::Integer(std::size_t column, std::int64_t low,
                                  std::int64_t high,
                                  std::int64_t* value) const {
  if (ParseWhole(fields_[column], value) && *value >= low && *value <= high) {
    return absl::OkStatus();
  }
  return Error(column, Concat("an integer from ", low, " to ", high));
}

absl::Status TraceFields::Seconds(std::size_t column, Duration* value) const {
  if (const std::optional<Duration> seconds = ParseSeconds(fields_[column])) {
    *value = *seconds;
    return absl::OkStatus();
  }
  return Error(column, "seconds with at most 9 decimals, such as 12.345");
}

absl::Status TraceFields::Number(std::size_t column, double low,
                                 double* value) const {
  if (ParseWhole(fields_[column], value) && std::isfinite(*value) &&
      *value >= low) {
    return absl::OkStatus();
  }
  return Error(column, low > 0 ? "a number above 0" : "a number of at least 0");
}

absl::Status TraceFields::Error(std::size_t column,
                                std::string_view expected) const {
  return Error((*columns_)[column], expected, Quote(fields_[column]));
}

absl::Status TraceFields::Error(std::string_view column,
                                std::string_view expected,
                                std::string_view got) const {
  return InvalidArgument(file_, ":", line_, ": column ", column, ": expected ",
                         expected, ", got ", got);
}

}  // namespace tidegate::internal
