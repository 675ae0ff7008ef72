// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Compares prices with measured rows.
//
//   absl::StatusOr<ValidationReport> report =
//       ValidateFiles({"attn_h100.csv"}, {});
//   report->total.under;   // rows priced below their measurement
//
// Every row is priced from its shape and the catalogue alone, by the estimator
// that all decisions use; nothing is fitted to the file. Four kinds of table
// are told apart by their header, whatever the file is called: one attention
// call (torch or MLX), building a mask, a chunk through a whole model, and
// llama.cpp's compute buffers.
//
// A priced row is *under* when price + 2 MiB is below the measurement: an
// allocator may round so much. Rows under 16 MiB are judged for that only; of
// the others the ratio price / measured is reported.
//
// Thread-safety: pure but for reading the files.

#ifndef TIDEGATE_TOOLS_VALIDATE_H_
#define TIDEGATE_TOOLS_VALIDATE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tidegate/types.h"

namespace tidegate::tools {

// What an allocator may add to a row: torch hands out blocks with up to 1 MiB
// to spare, and a peak seldom holds more than two such.
inline constexpr Bytes kRoundingAllowed = Bytes{2} << 20;

// Below this the rounding outweighs what a price could get wrong.
inline constexpr Bytes kRatioFrom = Bytes{16} << 20;

struct ValidateOptions {
  // llama.cpp: measured and priced with the CPU backend's scratch for two
  // threads (work_bytes_2t); rows that lack it are skipped.
  bool with_scratch = false;
  // Text of a catalogue file that replaces one engine's routes, and its name.
  std::string catalogue;
  std::string catalogue_file;
  // Text of a profile by which prices are corrected, and its name.
  std::string profile;
  std::string profile_file;
};

struct ValidationCounts {
  std::int64_t rows = 0;   // judged for under
  std::int64_t under = 0;  // priced below the measurement
  // price / measured of rows from 16 MiB on, by nearest rank; empty without
  // such rows.
  std::int64_t ratio_rows = 0;
  std::optional<double> p50;
  std::optional<double> p95;
  std::optional<double> max;
  // Rows for which the catalogue says otherwise than what was seen: a call
  // that was refused and should run, one that ran and should not, or another
  // kernel than the one that torch chose.
  std::int64_t route_wrong = 0;
  // Model rows that ran out of memory: they state no bound.
  std::int64_t skipped_oom = 0;
  // Refused calls that the catalogue refuses too, and rows that say nothing
  // about a route or a price (a mask that no engine option expresses).
  std::int64_t not_priced = 0;
};

struct ValidationGroup : ValidationCounts {
  std::string file;    // as given
  std::string engine;  // NAME@VERSION/DEVICE
  std::string kernel;  // route, mask builder, or attention/cache of a model
};

// The row with the largest shortfall, and with the largest ratio.
struct ValidationOutlier {
  std::string file;
  std::int64_t line = 0;
  std::int64_t price_bytes = 0;
  std::int64_t measured_bytes = 0;
};

struct ValidationReport {
  std::vector<ValidationGroup> groups;  // by file, then engine and kernel
  ValidationCounts total;
  std::optional<ValidationOutlier> most_under;
  std::optional<ValidationOutlier> most_over;
};

// InvalidArgument for a column that cannot be read ("FILE:LINE: column C: …")
// and for a table of another kind ("FILE: nothing to validate"); NotFound for a
// file that cannot be read.
absl::StatusOr<ValidationReport> ValidateFiles(
    const std::vector<std::string>& files, const ValidateOptions& options);

// A table for people.
std::string ToText(const ValidationReport& report);
// {"groups": [{file, engine, kernel, rows, …}], "total": {rows, under, p50,
// p95, max, route_wrong, skipped_oom, …}}; a quantile without rows is null.
std::string ToJson(const ValidationReport& report);

// 0 after a report, whatever it says; 2 when the input was bad.
int ExitCode(const absl::StatusOr<ValidationReport>& report);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_VALIDATE_H_
