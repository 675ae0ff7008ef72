// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A formula of the user's as a law: docs/policy-file.md lists the variables.
//
// An expression's value is rounded up to whole bytes and saturates. One that
// has no value, or a negative one, at a step that was not tried when it was
// loaded is priced as kBytesMax, so that it fits nowhere.
//
// Sequences of one step add up; decode tokens are one chunk of as many tokens
// at their longest kv length.
//
// Immutable after construction; thread-safe.

#ifndef TIDEGATE_ESTIMATORS_FORMULA_LAW_H_
#define TIDEGATE_ESTIMATORS_FORMULA_LAW_H_

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "estimators/expression.h"
#include "estimators/price_sink.h"
#include "estimators/resident_model.h"
#include "estimators/table_law.h"
#include "tidegate/estimator.h"

namespace tidegate::internal {

struct FormulaVariable {
  std::string_view name;
  std::string_view doc;
};

// Every variable that a formula may name, for messages and documentation.
std::span<const FormulaVariable> FormulaVariables();

// Whether the text is an expression over those variables. Bytes per token may
// name neither n nor kv_len, a fixed part not n. InvalidArgument
// "at character N: …".
absl::Status CheckFormula(std::string_view text, bool per_token, bool fixed);

class FormulaLaw {
 public:
  // Tries the formula over lengths and widths up to kTokensMax: a sample that
  // has no value, is negative or infinite, or falls where no breakpoint is
  // declared, is InvalidArgument that names it.
  static absl::StatusOr<FormulaLaw> Create(const FormulaOptions& options,
                                           const ModelShape& shape,
                                           std::int64_t score_bytes,
                                           ResidentModel resident);

  template <typename Sink>
  void Emit(const StepQuery& step, Sink& sink) const {
    sink.BeginPart("formula");
    ForEachChunk(step, MaskKind::kNone, [&](const Chunk& chunk) {
      const PriceTotals price = At(chunk);
      const Bytes varying = price.transient_bytes - price.fixed_in_n_bytes;
      if (price.fixed_in_n_bytes > 0) {
        sink.AddManyFixed(
            "fixed", price.fixed_in_n_bytes,
            std::min(price.fixed_in_n_bytes, price.largest_allocation_bytes));
      }
      sink.AddMany("transient", varying, price.largest_allocation_bytes);
    });
    sink.EndPart();
  }

  void Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi, MaskKind mask,
                   std::vector<Tokens>* out) const;
  std::string RouteName(const StepQuery&) const { return "formula"; }
  Bytes Resident(const StepQuery& step) const;
  Bytes SequenceBytes(Tokens tokens, Tokens chunk) const;

 private:
  static constexpr std::size_t kVariables = 20;
  using Values = std::array<double, kVariables>;

  explicit FormulaLaw(ResidentModel resident)
      : resident_(std::move(resident)) {}
  static absl::StatusOr<FormulaLaw> Make(const FormulaOptions& options,
                                         const ModelShape& shape,
                                         std::int64_t score_bytes,
                                         ResidentModel resident);
  static Values ValuesOf(const ModelShape& shape, std::int64_t score_bytes);
  Values At(Tokens n, Tokens kv_len, MaskKind mask) const;
  // Transient, largest allocation and fixed part.
  PriceTotals At(const Chunk& chunk) const;
  absl::Status Try(const Expression& expression, std::string_view key,
                   bool along_n) const;

  Values values_{};  // of the model; n, kv_len and mask are the step's
  std::shared_ptr<const Expression> transient_;
  std::shared_ptr<const Expression> largest_;  // null: the transient
  std::shared_ptr<const Expression> fixed_;    // null: 0
  std::optional<Bytes> resident_per_token_;    // unset: as the shape says
  std::vector<Tokens> breakpoints_n_;
  std::vector<Tokens> breakpoints_kv_;
  ResidentModel resident_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_FORMULA_LAW_H_
