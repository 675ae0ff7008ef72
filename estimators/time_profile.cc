// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Reads the CSV of a time profile.

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "estimators/csv.h"
#include "estimators/read_file.h"
#include "estimators/text.h"
#include "tidegate/status.h"
#include "tidegate/step_time.h"

namespace tidegate {
namespace {

using internal::Concat;
using internal::CsvTable;
using internal::InvalidArgument;

constexpr auto kColumns = std::to_array<std::string_view>(
    {"part", "n", "kv_len", "decodes", "decode_kv_len", "time_us"});
constexpr auto kParts = std::to_array<std::string_view>(
    {"fixed", "tokens", "sequences", "attention", "step"});
// Sums of a thousand of them are still exact in nanoseconds.
constexpr double kMicrosMax = 1e12;

absl::Status CheckHeader(const CsvTable& table) {
  const std::string place =
      Concat(table.file(), ":", table.header_line(), ": ");
  const std::vector<std::string> columns = table.Columns();
  for (const std::string& column : columns) {
    if (std::find(kColumns.begin(), kColumns.end(), column) == kColumns.end()) {
      return InvalidArgument(place, "column ", column, ": unknown",
                             internal::Suggest(column, kColumns));
    }
  }
  for (std::string_view column : kColumns) {
    if (table.Has(column)) continue;
    return InvalidArgument(place, "column ", column,
                           ": expected in the header, which lacks it");
  }
  return absl::OkStatus();
}

// A count of a row that has one, and an empty field or 0 of one that has none.
absl::Status ReadCount(const CsvTable& table, std::size_t row,
                       std::string_view column, bool wanted, Tokens max,
                       Tokens* out) {
  if (wanted) {
    TG_ASSIGN_OR_RETURN(*out, table.Integer(row, column, 1));
    if (*out <= max) return absl::OkStatus();
    return table.Error(row, column, Concat("at most ", max));
  }
  TG_ASSIGN_OR_RETURN(const auto value, table.OptionalInteger(row, column));
  if (value.value_or(0) == 0) return absl::OkStatus();
  return table.Error(row, column, "nothing or 0 in such a row");
}

absl::StatusOr<TimeRow> ReadRow(const CsvTable& table, std::size_t row) {
  TimeRow read;
  TG_ASSIGN_OR_RETURN(const std::string part, table.Text(row, "part"));
  const auto known = std::find(kParts.begin(), kParts.end(), part);
  if (known == kParts.end()) {
    return table.Error(row, "part",
                       "one of fixed, tokens, sequences, attention, step");
  }
  read.part = static_cast<TimePart>(known - kParts.begin());
  bool chunk = false;
  bool decodes = false;
  if (read.part == TimePart::kAttention || read.part == TimePart::kStep) {
    TG_ASSIGN_OR_RETURN(const auto n, table.OptionalInteger(row, "n"));
    TG_ASSIGN_OR_RETURN(const auto d, table.OptionalInteger(row, "decodes"));
    chunk = n.value_or(0) > 0;
    decodes = d.value_or(0) > 0;
    if (!chunk && !decodes) {
      return table.Error(row, "n", "tokens of a chunk, or decodes beside it");
    }
  }
  const bool counted = chunk || read.part == TimePart::kTokens ||
                       read.part == TimePart::kSequences;
  TG_RETURN_IF_ERROR(ReadCount(table, row, "n", counted, kTokensMax, &read.n));
  TG_RETURN_IF_ERROR(
      ReadCount(table, row, "kv_len", chunk, kTokensMax, &read.kv_len));
  if (read.kv_len < read.n && chunk) {
    return table.Error(row, "kv_len", Concat("at least n, which is ", read.n));
  }
  TG_RETURN_IF_ERROR(
      ReadCount(table, row, "decodes", decodes, kTokensMax, &read.decodes));
  TG_RETURN_IF_ERROR(ReadCount(table, row, "decode_kv_len", decodes, kTokensMax,
                               &read.decode_kv_len));
  TG_ASSIGN_OR_RETURN(read.us, table.Positive(row, "time_us"));
  if (read.us > kMicrosMax) {
    return table.Error(row, "time_us", "at most 1e12 microseconds");
  }
  return read;
}

}  // namespace

absl::StatusOr<TimeProfile> ParseTimeProfile(std::string_view text,
                                             std::string_view file) {
  TG_ASSIGN_OR_RETURN(const CsvTable table, internal::ParseCsv(text, file));
  TG_RETURN_IF_ERROR(CheckHeader(table));
  TimeProfile profile;
  for (std::size_t row = 0; row < table.rows(); ++row) {
    TG_ASSIGN_OR_RETURN(const TimeRow read, ReadRow(table, row));
    profile.rows.push_back(read);
  }
  // A file that makes no profile is a mistake of the file.
  const auto timer = CreateStepTimer(profile);
  if (timer.ok()) return profile;
  return InvalidArgument(file, ": ", std::string(timer.status().message()));
}

absl::StatusOr<TimeProfile> LoadTimeProfile(const std::string& path) {
  TG_ASSIGN_OR_RETURN(const std::string text,
                      internal::ReadFile(path, "time profile"));
  return ParseTimeProfile(text, path);
}

}  // namespace tidegate
