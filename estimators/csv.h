// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Reads tables in CSV with a header row: quoted fields ("" is a quote inside
// one, and a line break may be), LF or CRLF, columns by name in any order.
//
//   absl::StatusOr<CsvTable> table = ParseCsv(text, "rows.csv");
//   absl::StatusOr<std::int64_t> n = table->Integer(0, "n");
//
// Errors are InvalidArgument "FILE:LINE: column C: expected …, got …".

#ifndef TIDEGATE_ESTIMATORS_CSV_H_
#define TIDEGATE_ESTIMATORS_CSV_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tidegate::internal {

class CsvTable {
 public:
  const std::string& file() const { return file_; }
  std::size_t rows() const { return rows_.size(); }
  // Line of the file, from 1, on which a row starts.
  std::size_t line(std::size_t row) const { return rows_[row].line; }

  bool Has(std::string_view column) const;
  // Names of the columns, sorted.
  std::vector<std::string> Columns() const;

  // The field as it stands; an error only when the column is missing.
  absl::StatusOr<std::string> Text(std::size_t row,
                                   std::string_view column) const;
  // One of `words`.
  absl::StatusOr<std::string> Word(std::size_t row, std::string_view column,
                                   const std::vector<std::string>& words) const;
  // A whole number from `min` up to 2^62. "512.0" counts as whole: tables that
  // went through a data frame write integers so where a column has gaps.
  absl::StatusOr<std::int64_t> Integer(std::size_t row, std::string_view column,
                                       std::int64_t min = 0) const;
  // The same, where an empty field is allowed.
  absl::StatusOr<std::optional<std::int64_t>> OptionalInteger(
      std::size_t row, std::string_view column, std::int64_t min = 0) const;

  // "FILE:LINE: column C: expected `expected`, got "…"".
  absl::Status Error(std::size_t row, std::string_view column,
                     std::string_view expected) const;

 private:
  friend absl::StatusOr<CsvTable> ParseCsv(std::string_view text,
                                           std::string_view file);
  struct Row {
    std::size_t line = 0;
    std::vector<std::string> fields;
  };
  const std::string* Field(std::size_t row, std::string_view column) const;

  std::string file_;
  std::map<std::string, std::size_t, std::less<>> columns_;
  std::vector<Row> rows_;
};

// `file` names the table in messages. Blank lines are skipped. An error: no
// header, a name twice in it, an unfinished quote, a row with another number of
// fields.
absl::StatusOr<CsvTable> ParseCsv(std::string_view text, std::string_view file);

// Reads the file. NotFound when it cannot be read.
absl::StatusOr<CsvTable> ReadCsv(const std::string& path);

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_CSV_H_
