// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// An arithmetic expression over named variables, read once and evaluated many
// times:
//
//   TG_ASSIGN_OR_RETURN(auto area, Expression::Parse("a * b", {"a", "b"}));
//   const double values[] = {3, 4};
//   area->Evaluate(values);   // 12
//
// The language is muParser's (https://beltoforion.de/en/muparser): + - * / ^,
// comparisons, && ||, c ? x : y, min, max, sqrt, abs, exp, ln, log2 and so on,
// and here also floor(x), ceil(x) and roundup(x, multiple). What it allows
// beyond that is refused: assignments, and commas that separate nothing.
// Numbers are doubles: whole numbers are exact up to 2^53.
//
// muParser is seen by expression.cc alone: its exceptions end there.
//
// Thread-safety: Evaluate() is const and may be called from any thread. The
// parser keeps its stack in itself, so one evaluation runs at a time.

#ifndef TIDEGATE_ESTIMATORS_EXPRESSION_H_
#define TIDEGATE_ESTIMATORS_EXPRESSION_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tidegate::internal {

class Expression {
 public:
  // `variables` in the order in which Evaluate() takes their values.
  // InvalidArgument "at character N: expected …, got …"; an unknown name comes
  // with the nearest one that is known.
  static absl::StatusOr<std::shared_ptr<const Expression>> Parse(
      std::string_view text, std::span<const std::string_view> variables);

  ~Expression();
  Expression(const Expression&) = delete;
  Expression& operator=(const Expression&) = delete;

  // NaN where the expression has no value. As many values as variables.
  double Evaluate(std::span<const double> values) const;

  // Whether the text names variable `index`.
  bool Uses(std::size_t index) const;

  // Longer ones are a mistake, and the parser recurses.
  static constexpr std::size_t kLengthMax = 4096;
  static constexpr int kDepthMax = 64;

 private:
  struct Parser;
  explicit Expression(std::unique_ptr<Parser> parser);
  std::unique_ptr<Parser> parser_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_EXPRESSION_H_
