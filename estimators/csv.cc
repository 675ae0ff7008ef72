// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/csv.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <utility>

#include "estimators/text.h"
#include "tidegate/status.h"

namespace tidegate::internal {

namespace {

// Splits text into records, one field at a time.
class Reader {
 public:
  Reader(std::string_view text, std::string_view file)
      : text_(text), file_(file) {}

  bool AtEnd() const { return at_ >= text_.size(); }
  std::size_t line() const { return line_; }

  // One record, without its line break.
  absl::StatusOr<std::vector<std::string>> Next() {
    std::vector<std::string> fields;
    while (true) {
      std::string field;
      if (!AtEnd() && text_[at_] == '"') {
        TG_RETURN_IF_ERROR(Quoted(&field));
      } else {
        while (!AtEnd() && text_[at_] != ',' && text_[at_] != '\n') {
          field.push_back(text_[at_++]);
        }
        if ((AtEnd() || text_[at_] == '\n') && field.ends_with('\r')) {
          field.pop_back();
        }
      }
      fields.push_back(std::move(field));
      if (AtEnd()) return fields;
      const char next = text_[at_++];
      if (next == '\n') {
        ++line_;
        return fields;
      }
    }
  }

 private:
  absl::Status Quoted(std::string* field) {
    const std::size_t start = line_;
    ++at_;
    while (true) {
      if (AtEnd()) {
        return InvalidArgument(file_, ":", start, ": unfinished quote");
      }
      const char c = text_[at_++];
      if (c == '\n') ++line_;
      if (c != '"') {
        field->push_back(c);
      } else if (!AtEnd() && text_[at_] == '"') {
        field->push_back('"');
        ++at_;
      } else {
        break;
      }
    }
    if (!AtEnd() && text_[at_] == '\r') ++at_;
    if (AtEnd() || text_[at_] == ',' || text_[at_] == '\n') {
      return absl::OkStatus();
    }
    return InvalidArgument(file_, ":", line_,
                           ": expected a comma after a closing quote");
  }

  std::string_view text_;
  std::string_view file_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
};

// A whole number, written as one or with zeros behind a point.
std::optional<std::int64_t> ParseWhole(std::string_view text) {
  const std::size_t point = text.find('.');
  if (point != std::string_view::npos) {
    const std::string_view zeros = text.substr(point + 1);
    if (zeros.find_first_not_of('0') != std::string_view::npos) {
      return std::nullopt;
    }
    text = text.substr(0, point);
  }
  std::int64_t value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

}  // namespace

std::vector<std::string> CsvTable::Columns() const {
  std::vector<std::string> names;
  for (const auto& [name, index] : columns_) names.push_back(name);
  return names;
}

bool CsvTable::Has(std::string_view column) const {
  return columns_.find(column) != columns_.end();
}

const std::string* CsvTable::Field(std::size_t row,
                                   std::string_view column) const {
  const auto at = columns_.find(column);
  return at == columns_.end() ? nullptr : &rows_[row].fields[at->second];
}

absl::Status CsvTable::Error(std::size_t row, std::string_view column,
                             std::string_view expected) const {
  const std::string* field = Field(row, column);
  return InvalidArgument(
      file_, ":", rows_[row].line, ": column ", column, ": expected ", expected,
      ", got ",
      field == nullptr ? "no such column" : Concat("\"", *field, "\""));
}

absl::StatusOr<std::string> CsvTable::Text(std::size_t row,
                                           std::string_view column) const {
  const std::string* field = Field(row, column);
  if (field == nullptr) return Error(row, column, "text");
  return *field;
}

absl::StatusOr<std::string> CsvTable::Word(
    std::size_t row, std::string_view column,
    const std::vector<std::string>& words) const {
  const std::string* field = Field(row, column);
  if (field != nullptr &&
      std::find(words.begin(), words.end(), *field) != words.end()) {
    return *field;
  }
  std::string expected;
  for (const std::string& word : words) {
    expected += expected.empty() ? word : Concat(", ", word);
  }
  return Error(row, column, Concat("one of ", expected));
}

absl::StatusOr<std::int64_t> CsvTable::Integer(std::size_t row,
                                               std::string_view column,
                                               std::int64_t min) const {
  // Sums of a few values then still fit.
  constexpr std::int64_t kMost = std::int64_t{1} << 62;
  const std::string* field = Field(row, column);
  const std::optional<std::int64_t> value =
      field == nullptr ? std::nullopt : ParseWhole(*field);
  if (!value || *value < min || *value > kMost) {
    return Error(row, column, Concat("a whole number from ", min));
  }
  return *value;
}

absl::StatusOr<std::optional<std::int64_t>> CsvTable::OptionalInteger(
    std::size_t row, std::string_view column, std::int64_t min) const {
  const std::string* field = Field(row, column);
  if (field != nullptr && field->empty()) {
    return std::optional<std::int64_t>();
  }
  TG_ASSIGN_OR_RETURN(const std::int64_t value, Integer(row, column, min));
  return std::optional<std::int64_t>(value);
}

absl::StatusOr<CsvTable> ParseCsv(std::string_view text,
                                  std::string_view file) {
  // Spreadsheets put a byte-order mark in front.
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  CsvTable table;
  table.file_ = file;
  Reader reader(text, file);
  while (!reader.AtEnd()) {
    const std::size_t line = reader.line();
    TG_ASSIGN_OR_RETURN(std::vector<std::string> fields, reader.Next());
    if (fields.size() == 1 && fields[0].empty()) continue;
    if (table.columns_.empty()) {
      for (std::size_t i = 0; i < fields.size(); ++i) {
        if (!table.columns_.try_emplace(fields[i], i).second) {
          return InvalidArgument(file, ":", line, ": column ", fields[i],
                                 ": expected each name once");
        }
      }
      continue;
    }
    if (fields.size() != table.columns_.size()) {
      return InvalidArgument(file, ":", line, ": expected ",
                             table.columns_.size(), " fields, got ",
                             fields.size());
    }
    table.rows_.push_back({line, std::move(fields)});
  }
  if (table.columns_.empty()) {
    return InvalidArgument(file, ": expected a header row, got an empty file");
  }
  return table;
}

absl::StatusOr<CsvTable> ReadCsv(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return absl::NotFoundError(Concat(path, ": cannot be read"));
  }
  const std::string text((std::istreambuf_iterator<char>(in)),
                         std::istreambuf_iterator<char>());
  return ParseCsv(text, path);
}

}  // namespace tidegate::internal
