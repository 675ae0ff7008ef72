// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Text tables and JSON for the command line.
//
//   TextTable table({"part", "bytes"}, {Align::kLeft, Align::kRight});
//   table.Add({"attention", "12.00 GiB"});
//   io.out << table.ToString();
//
//   JsonWriter json;
//   json.Put("verdict", "admit");
//   json.BeginArray("chunks"); … json.End();
//   io.out << json.ToString();

#ifndef TIDEGATE_TOOLS_OUTPUT_H_
#define TIDEGATE_TOOLS_OUTPUT_H_

#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "estimators/text.h"
#include "tidegate/estimator.h"
#include "tidegate/plan.h"

namespace tidegate::tools {

enum class Align { kLeft, kRight };

// Columns as wide as their widest cell, two spaces apart, indented by two.
class TextTable {
 public:
  TextTable(std::vector<std::string> header, std::vector<Align> align);
  // As many cells as the header has.
  void Add(std::vector<std::string> cells);
  std::string ToString() const;

 private:
  std::vector<std::vector<std::string>> rows_;  // the header first
  std::vector<Align> align_;
};

using internal::Grouped;
using internal::TokenCount;
// "0.125", "12.5": as many digits as matter.
std::string Number(double value, int decimals);
// "0.1", "10": as few digits as say it.
std::string Decimal(double value);

// Builds one JSON object, keys in the order in which they are put. Keys are
// ignored inside arrays.
class JsonWriter {
 public:
  JsonWriter();
  ~JsonWriter();

  void Put(std::string_view key, std::int64_t value);
  void Put(std::string_view key, double value);
  void Put(std::string_view key, bool value);
  void Put(std::string_view key, std::string_view value);
  void Put(std::string_view key, const char* value) {
    Put(key, std::string_view(value));
  }
  template <std::integral T>
  requires(!std::same_as<T, bool> &&
           !std::same_as<T, std::int64_t>) void Put(std::string_view key,
                                                    T value) {
    Put(key, static_cast<std::int64_t>(value));
  }
  void PutNull(std::string_view key);
  // Every End() closes the innermost Begin.
  void BeginObject(std::string_view key = "");
  void BeginArray(std::string_view key);
  void End();

  // Indented by two, with a final line break.
  std::string ToString() const;
  // The same on one line, without a line break.
  std::string ToLine() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Consecutive planned chunks of one width.
struct ChunkRange {
  Tokens start = 0;
  Tokens end = 0;  // exclusive
  Tokens n = 0;
  std::int64_t count = 0;
  Bytes transient_min = 0;
  Bytes transient_max = 0;
};
std::vector<ChunkRange> Ranges(const std::vector<PlannedChunk>& chunks);
// The ranges as a table. More than `rows_max` of them are cut in the middle.
std::string RangeTable(const std::vector<PlannedChunk>& chunks,
                       std::size_t rows_max);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_OUTPUT_H_
