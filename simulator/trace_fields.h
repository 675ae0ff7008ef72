// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// One line of a trace in CSV, cut at its commas (nothing in these files is
// quoted), and its fields read one by one. Errors are InvalidArgument
// "FILE:LINE: column C: expected …, got …".

#ifndef TIDEGATE_SIMULATOR_TRACE_FIELDS_H_
#define TIDEGATE_SIMULATOR_TRACE_FIELDS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// Nanoseconds of an arrival are an int64: 292 years. A century is already a
// slip of units, and leaves room for whatever the simulation adds.
inline constexpr std::int64_t kArrivalSecondsMax = 3'155'760'000;

// "12.345": seconds, exact to the nanosecond, with at most 9 decimals and no
// sign or exponent.
std::optional<Duration> ParseSeconds(std::string_view text);

std::vector<std::string_view> SplitAtCommas(std::string_view line);

class TraceFields {
 public:
  // `columns` are the names in the header; both views must outlive this.
  TraceFields(std::string_view file, std::int64_t line,
              const std::vector<std::string>& columns)
      : file_(file), line_(line), columns_(&columns) {}

  // Errors name the first column that is missing or the one too many.
  absl::Status Cut(std::string_view text);

  std::string_view text(std::size_t column) const { return fields_[column]; }
  absl::Status Integer(std::size_t column, std::int64_t low, std::int64_t high,
                       std::int64_t* value) const;
  absl::Status Seconds(std::size_t column, Duration* value) const;
  // A finite number from `low`.
  absl::Status Number(std::size_t column, double low, double* value) const;

  // With the field as what was got.
  absl::Status Error(std::size_t column, std::string_view expected) const;
  absl::Status Error(std::string_view column, std::string_view expected,
                     std::string_view got) const;

 private:
  std::string_view file_;
  std::int64_t line_;
  const std::vector<std::string>* columns_;
  std::vector<std::string_view> fields_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SIMULATOR_TRACE_FIELDS_H_
