// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "estimators/expression.h"
#include "estimators/formula_law.h"
#include "tests/testing/matchers.h"
#include "tests/testing/shapes.h"
#include "tidegate/estimator.h"

namespace tidegate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::tidegate::internal::Expression;
using ::tidegate::testing::FullMixer;
using ::tidegate::testing::StatusIs;

absl::StatusOr<CreatedEstimator> Make(const FormulaOptions& formula) {
  EstimatorOptions options;
  options.shape.name = "shape";
  options.shape.hidden = 512;
  options.shape.vocab = 1000;
  options.shape.kv_element = ElementSize::OfBytes(2);
  options.shape.mixers = {FullMixer(8, 2, 64)};
  options.shape.feed_forwards = {FeedForward{.intermediate = 1536}};
  options.shape.layers = {Layer{}, Layer{}};
  options.use = "formula";
  options.formula = formula;
  return CreateEstimator(options);
}

PriceTotals Total(const Estimator& estimator, const Chunk& chunk) {
  return estimator.Total({.chunks = {&chunk, 1}});
}

TEST(FormulaEstimatorTest, TheVariablesAreTheStepsAndTheModels) {
  ASSERT_OK_AND_ASSIGN(
      const CreatedEstimator made,
      Make({.transient = "q_heads * n * kv_len * score_bytes + hidden + "
                         "intermediate + vocab + layers + kv_heads + head_dim "
                         "+ value_dim + dtype_bytes + kv_bytes"}));
  EXPECT_EQ(Total(*made.estimator, {.n = 100, .kv_len = 300}).transient_bytes,
            8 * 100 * 300 * 2 + 512 + 1536 + 1000 + 2 + 2 + 64 + 64 + 2 + 2);
}

TEST(FormulaEstimatorTest, AMaskOfUnknownTypePromotesScores) {
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator made,
                       Make({.transient = "n * kv_len * score_bytes"}));
  EXPECT_EQ(
      Total(*made.estimator, {.n = 10, .kv_len = 10, .mask = MaskKind::kArray})
          .transient_bytes,
      400);
}

TEST(FormulaEstimatorTest, FractionsAreRoundedUp) {
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator made,
                       Make({.transient = "n / 3"}));
  EXPECT_EQ(Total(*made.estimator, {.n = 10, .kv_len = 10}).transient_bytes, 4);
}

TEST(FormulaEstimatorTest, WhatNoDeviceHasSaturates) {
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator made,
                       Make({.transient = "n * 1e30"}));
  EXPECT_EQ(Total(*made.estimator, {.n = 1, .kv_len = 1}).transient_bytes,
            kBytesMax);
}

TEST(FormulaEstimatorTest, EveryExpressionReachesItsField) {
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator made,
                       Make({.transient = "1000 + n",
                             .largest_allocation = "500 + n",
                             .fixed = "700 + kv_len * 0",
                             .resident_per_token = "kv_per_token + 8"}));
  const PriceTotals price = Total(*made.estimator, {.n = 10, .kv_len = 20});
  EXPECT_EQ(price.transient_bytes, 1010);
  EXPECT_EQ(price.largest_allocation_bytes, 510);
  EXPECT_EQ(price.fixed_in_n_bytes, 700);
  // 2 layers of 2 heads of 64 elements, keys and values of two bytes.
  EXPECT_EQ(price.resident_bytes, 10 * (2 * 2 * 64 * 2 * 2 + 8));
  EXPECT_EQ(made.estimator->SequenceBytes(10, 10), price.resident_bytes);
}

TEST(FormulaEstimatorTest, TheTermsSumToTheTransient) {
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator made,
                       Make({.transient = "1000 + n", .fixed = "700"}));
  const Chunk chunk{.n = 10, .kv_len = 20};
  ASSERT_OK_AND_ASSIGN(const Price price,
                       made.estimator->Explain({.chunks = {&chunk, 1}}));
  ASSERT_EQ(price.parts.size(), 1u);
  ASSERT_EQ(price.parts[0].terms.size(), 2u);
  EXPECT_EQ(price.parts[0].terms[0].bytes, 700);
  EXPECT_EQ(price.parts[0].terms[1].bytes, 310);
  EXPECT_EQ(price.route, "formula");
}

TEST(FormulaEstimatorTest, DeclaredBreakpointsAreTold) {
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator made,
                       Make({.transient = "n >= 1024 ? n : n * kv_len",
                             .breakpoints_n = {1024},
                             .breakpoints_kv = {5000}}));
  std::vector<Tokens> found;
  made.estimator->Breakpoints(Axis::kN, 9000, 1, 2048, MaskKind::kCausal,
                              &found);
  EXPECT_THAT(found, ElementsAre(1024));
  found.clear();
  made.estimator->Breakpoints(Axis::kChunk, 4000, 1, 2048, MaskKind::kCausal,
                              &found);
  EXPECT_THAT(found, ElementsAre(1000, 1024));
}

TEST(FormulaEstimatorTest, ManyThreadsGetTheSameAnswers) {
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator made,
                       Make({.transient = "q_heads * n * kv_len"}));
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (Tokens n = 1; n < 2000; ++n) {
        const Tokens kv_len = n + static_cast<Tokens>(t) * 1000;
        if (Total(*made.estimator, {.n = n, .kv_len = kv_len})
                .transient_bytes != 8 * n * kv_len) {
          ++wrong[t];
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, ElementsAre(0, 0, 0, 0));
}

struct BadFormula {
  const char* name;
  FormulaOptions formula;
  const char* message;
};
void PrintTo(const BadFormula& bad, std::ostream* out) { *out << bad.name; }

class BadFormulaTest : public ::testing::TestWithParam<BadFormula> {};

TEST_P(BadFormulaTest, IsRefusedWithWhatIsWrong) {
  EXPECT_THAT(Make(GetParam().formula),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    Formulas, BadFormulaTest,
    ::testing::Values(
        BadFormula{"Missing", {}, "estimator.transient: missing"},
        BadFormula{"UnknownName",
                   {.transient = "q_head * n"},
                   "at character 1: unknown name \"q_head\"; did you mean "
                   "\"q_heads\"?"},
        BadFormula{"Assignment",
                   {.transient = "n = 5"},
                   "at character 3: expected == to compare"},
        BadFormula{"LooseComma",
                   {.transient = "n, kv_len"},
                   "a comma between a function's arguments only"},
        BadFormula{"CommaInPlainParentheses",
                   {.transient = "(n, kv_len)"},
                   "a comma between a function's arguments only"},
        BadFormula{"OpenParenthesis", {.transient = "(n"}, "Missing paren"},
        BadFormula{"ClosedTwice",
                   {.transient = "n)"},
                   "at character 2: expected no \")\" here"},
        BadFormula{"Text", {.transient = "\"n\""}, "at character 1: expected"},
        BadFormula{"NotAscii",
                   {.transient = "n × 2"},
                   "at character 3: expected ASCII text"},
        BadFormula{"Negative",
                   {.transient = "n - 100"},
                   "got -99 at n = 1, kv_len = 1"},
        BadFormula{"Infinite",
                   {.transient = "n / (kv_len - 3)"},
                   "at n = 1, kv_len = 1"},
        BadFormula{"NoNumber",
                   {.transient = "sqrt(n - kv_len)"},
                   "got no number at n = 1, kv_len = 2"},
        BadFormula{"FallsInN",
                   {.transient = "n >= 1024 ? n : n * kv_len"},
                   "expected no less at n = 1024, kv_len = 1024 than at n = "
                   "1023, kv_len = 1024, got 1024 against 1047552; where a "
                   "price may fall, say so in breakpoints_n"},
        BadFormula{"FallsInKvLen",
                   {.transient = "kv_len >= 4096 ? n : n * kv_len"},
                   "say so in breakpoints_kv"},
        BadFormula{"FixedWithN",
                   {.transient = "n", .fixed = "n"},
                   "estimator.fixed: expected what no narrower chunk avoids"},
        BadFormula{"ResidentWithLength",
                   {.transient = "n", .resident_per_token = "kv_len"},
                   "estimator.resident_per_token: expected bytes of every "
                   "token alike, got kv_len in it"},
        BadFormula{"ResidentNegative",
                   {.transient = "n", .resident_per_token = "0 - layers"},
                   "estimator.resident_per_token: expected bytes, 0 or more, "
                   "got -2"},
        BadFormula{"BreakpointOfNothing",
                   {.transient = "n", .breakpoints_n = {1}},
                   "estimator.breakpoints_n: expected 2 to 100000000, got 1"}),
    [](const auto& info) { return info.param.name; });

TEST(FormulaEstimatorTest, ADeclaredBreakpointAllowsItsFallOnly) {
  EXPECT_TRUE(
      Make({.transient = "n >= 1024 ? n : n * kv_len", .breakpoints_n = {1024}})
          .ok());
  EXPECT_FALSE(
      Make({.transient = "n >= 1024 ? n : n * kv_len", .breakpoints_n = {1100}})
          .ok());
}

TEST(ExpressionTest, NestsNoDeeperAndIsNoLongerThanItSays) {
  const std::string_view names[] = {"n"};
  const std::string deep(65, '(');
  EXPECT_THAT(Expression::Parse(deep + "n" + std::string(65, ')'), names),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("at most 64 parentheses")));
  EXPECT_THAT(Expression::Parse(std::string(5000, 'n'), names),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("at most 4096 characters")));
}

TEST(ExpressionTest, ItsOwnFunctionsRoundUp) {
  const std::string_view names[] = {"n"};
  ASSERT_OK_AND_ASSIGN(
      const auto expression,
      Expression::Parse("roundup(n, 64) + floor(n / 4) + ceil(n / 4)", names));
  const double values[] = {65};
  EXPECT_EQ(expression->Evaluate(values), 128 + 16 + 17);
}

TEST(FormulaVariablesTest, EveryVariableIsInTheDocument) {
  std::ifstream in(TIDEGATE_SOURCE_DIR "/docs/policy-file.md");
  const std::string text((std::istreambuf_iterator<char>(in)),
                         std::istreambuf_iterator<char>());
  for (const internal::FormulaVariable& variable :
       internal::FormulaVariables()) {
    EXPECT_THAT(text, HasSubstr("| `" + std::string(variable.name) + "` | " +
                                std::string(variable.doc) + " |"));
  }
}

}  // namespace
}  // namespace tidegate
