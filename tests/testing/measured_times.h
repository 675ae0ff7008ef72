// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Public timing tables as time profiles, without a detour over a file, and what
// predictions come to.

#ifndef TIDEGATE_TESTS_TESTING_MEASURED_TIMES_H_
#define TIDEGATE_TESTS_TESTING_MEASURED_TIMES_H_

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "estimators/csv.h"
#include "tests/testing/shared_files.h"
#include "tidegate/status.h"
#include "tidegate/step_time.h"

namespace tidegate::testing {

// A table whose fields are known to be well formed.
class NumberTable {
 public:
  explicit NumberTable(const std::string& path) {
    auto table = internal::ReadCsv(path);
    TG_CHECK(table.ok());
    table_ = *std::move(table);
  }
  std::size_t rows() const { return table_.rows(); }
  std::string Text(std::size_t row, const char* column) const {
    auto text = table_.Text(row, column);
    TG_CHECK(text.ok());
    return *std::move(text);
  }
  bool Empty(std::size_t row, const char* column) const {
    return Text(row, column).empty();
  }
  double Number(std::size_t row, const char* column) const {
    const std::string text = Text(row, column);
    double value = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), value);
    TG_CHECK(error == std::errc() && end == text.data() + text.size());
    return value;
  }
  Tokens Count(std::size_t row, const char* column) const {
    return std::llround(Number(row, column));
  }

 private:
  internal::CsvTable table_;
};

// The profile of LLMServingSim's tables of one layer: `name` is such as
// "rtx4090_llama3.1-8b_tp1". layernorm occurs twice a layer. Empty when the
// tables are not at hand.
inline TimeProfile ServingSimProfile(const std::string& name, int layers) {
  TimeProfile profile;
  const std::string base = "profiles/llmservingsim/" + name;
  const std::string dense = SharedFile(base + "_dense.csv");
  if (dense.empty()) return profile;
  std::map<Tokens, double> tokens;
  const NumberTable linear(dense);
  for (std::size_t i = 0; i < linear.rows(); ++i) {
    const std::string layer = linear.Text(i, "layer");
    const bool once = layer == "embedding" || layer == "final_layernorm";
    tokens[linear.Count(i, "tokens")] +=
        linear.Number(i, "time_us") * (once                   ? 1
                                       : layer == "layernorm" ? 2 * layers
                                                              : layers);
  }
  std::map<Tokens, double> sequences;
  const NumberTable heads(SharedFile(base + "_per_sequence.csv"));
  for (std::size_t i = 0; i < heads.rows(); ++i) {
    sequences[heads.Count(i, "sequences")] += heads.Number(i, "time_us");
  }
  for (const auto& [n, us] : tokens) {
    profile.rows.push_back({.part = TimePart::kTokens, .n = n, .us = us});
  }
  for (const auto& [n, us] : sequences) {
    profile.rows.push_back({.part = TimePart::kSequences, .n = n, .us = us});
  }
  const NumberTable attention(SharedFile(base + "_attention.csv"));
  for (std::size_t i = 0; i < attention.rows(); ++i) {
    const Tokens n = attention.Count(i, "prefill_chunk");
    profile.rows.push_back(
        {.part = TimePart::kAttention,
         .n = n,
         .kv_len = n == 0 ? 0 : n + attention.Count(i, "kv_prefill"),
         .decodes = attention.Count(i, "n_decode"),
         .decode_kv_len = attention.Count(i, "kv_decode"),
         .us = layers * attention.Number(i, "time_us")});
  }
  return profile;
}

// Relative errors, as shares.
struct Errors {
  std::vector<double> values;
  void Add(double predicted, double measured) {
    values.push_back(std::abs(predicted / measured - 1));
  }
  // Nearest rank.
  double Percentile(double percent) const {
    TG_CHECK(!values.empty());
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    const double rank =
        std::ceil(percent / 100 * static_cast<double>(sorted.size()));
    return sorted[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
  }
  double Median() const { return Percentile(50); }
  double P90() const { return Percentile(90); }
  double Worst() const { return Percentile(100); }
};

inline double Millis(Duration time) {
  return static_cast<double>(time.count()) * 1e-6;
}

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_MEASURED_TIMES_H_
