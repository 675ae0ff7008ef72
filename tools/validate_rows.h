// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Reads and prices the rows of one measured table.

#ifndef TIDEGATE_TOOLS_VALIDATE_ROWS_H_
#define TIDEGATE_TOOLS_VALIDATE_ROWS_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tidegate/estimator.h"
#include "tidegate/types.h"
#include "tools/csv.h"
#include "tools/validate.h"

namespace tidegate::tools {

enum class TableKind {
  kUnknown,
  kTorchAttention,
  kMlxAttention,
  kTorchMasks,
  kModel,
  kLlamaCppBuffers,
};

// By the header alone.
TableKind KindOf(const CsvTable& table);

enum class RowOutcome {
  kPriced,      // price and measurement
  kAtLeast,     // out of memory: `measured` is a lower bound
  kSkippedOom,  // out of memory, no bound
  kRouteWrong,  // the catalogue says otherwise than what was seen
  kNotPriced,
};

struct JudgedRow {
  std::string engine;
  std::string kernel;
  RowOutcome outcome = RowOutcome::kPriced;
  Bytes price = 0;
  Bytes measured = 0;
  // What a calibration keeps a row under and reads from it. Empty without an
  // estimator (building a mask).
  std::string route;
  std::string model;  // ModelKey()
  std::string label;  // what the table calls the model; may be empty
  EngineSpec spec;
  Tokens n = 0;
  Tokens kv_len = 0;
  Bytes transient = 0;  // part of the price; the rest is resident growth
};

// Makes estimators, one for each engine, option and shape that occurs.
class EstimatorCache {
 public:
  explicit EstimatorCache(const ValidateOptions& options) : options_(options) {}

  // `key` identifies what `make` would return; `make` is called once for it.
  absl::StatusOr<const Estimator*> Get(
      const std::string& key,
      const std::function<absl::StatusOr<EstimatorOptions>()>& make);

  // Fills in what a calibration reads of a row that `estimator` priced.
  void Describe(const Estimator& estimator, const StepQuery& step,
                std::string label, JudgedRow* row) const;

 private:
  struct Entry {
    std::unique_ptr<Estimator> estimator;
    std::string model;
    EngineSpec spec;
  };
  const ValidateOptions& options_;
  std::map<std::string, Entry, std::less<>> cache_;
  std::map<const Estimator*, const Entry*> by_estimator_;
};

// One row. InvalidArgument when a column cannot be read.
absl::StatusOr<JudgedRow> JudgeTorchAttention(const CsvTable& table,
                                              std::size_t row,
                                              EstimatorCache& cache);
absl::StatusOr<JudgedRow> JudgeMlxAttention(const CsvTable& table,
                                            std::size_t row,
                                            EstimatorCache& cache);
absl::StatusOr<JudgedRow> JudgeTorchMask(const CsvTable& table,
                                         std::size_t row);
absl::StatusOr<JudgedRow> JudgeModel(const CsvTable& table, std::size_t row,
                                     EstimatorCache& cache);
absl::StatusOr<JudgedRow> JudgeLlamaCpp(const CsvTable& table, std::size_t row,
                                        bool with_scratch,
                                        EstimatorCache& cache);

// Every row of a file, in order, with its line. Errors as ValidateFiles().
absl::Status JudgeFile(
    const std::string& file, const ValidateOptions& options,
    EstimatorCache& cache,
    const std::function<void(const JudgedRow&, std::size_t line)>& visit);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_VALIDATE_ROWS_H_
