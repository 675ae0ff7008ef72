// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/testing/matchers.h"
#include "tests/testing/shapes.h"
#include "tidegate/estimator.h"

namespace tidegate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::tidegate::testing::FullMixer;
using ::tidegate::testing::StatusIs;

ModelShape Shape() {
  ModelShape shape;
  shape.name = "shape";
  shape.kv_element = ElementSize::OfBytes(2);
  shape.mixers = {FullMixer(8, 2, 64)};
  shape.feed_forwards = {FeedForward{.kind = FeedForwardKind::kNone}};
  shape.layers = {Layer{}};
  return shape;
}

absl::StatusOr<CreatedEstimator> Make(const std::string& csv) {
  EstimatorOptions options;
  options.shape = Shape();
  options.use = "table";
  options.table = csv;
  options.table_file = "rows.csv";
  return CreateEstimator(options);
}

Price Explained(const Estimator& estimator, const Chunk& chunk) {
  const absl::StatusOr<Price> price =
      estimator.Explain({.chunks = {&chunk, 1}});
  EXPECT_TRUE(price.ok()) << price.status();
  return price.ok() ? *price : Price{};
}

Bytes Transient(const Estimator& estimator, const Chunk& chunk) {
  return estimator.Total({.chunks = {&chunk, 1}}).transient_bytes;
}

// Rows of a kernel that fuses from 1024 query tokens on, as MLX 0.32.2 does on
// an M5 for a head dim of 128; bytes are made up.
const char kTwoRoutes[] =
    "n,kv_len,route,transient_bytes\n"
    "512,4096,unfused,40000000\n"
    "512,8192,unfused,80000000\n"
    "1024,4096,fused,10000000\n"
    "1024,8192,fused,11000000\n"
    "2048,4096,fused,20000000\n"
    "2048,8192,fused,22000000\n";

TEST(TableEstimatorTest, ARowCostsWhatItWasMeasuredAt) {
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator made, Make(kTwoRoutes));
  const Price price = Explained(*made.estimator, {.n = 2048, .kv_len = 4096});
  EXPECT_EQ(price.transient_bytes, 20'000'000);
  EXPECT_EQ(price.route, "table.fused");
  EXPECT_FALSE(price.assumed);
}

TEST(TableEstimatorTest, BetweenRowsTheNextOneUpCounts) {
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator made, Make(kTwoRoutes));
  EXPECT_EQ(Transient(*made.estimator, {.n = 1025, .kv_len = 4097}),
            22'000'000);
  EXPECT_EQ(Transient(*made.estimator, {.n = 2048, .kv_len = 8192}),
            22'000'000);
}

TEST(TableEstimatorTest, WhereTheRouteMayChangeTheDearestCountsAndIsAssumed) {
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator made, Make(kTwoRoutes));
  // No unfused row is as wide: 80,000,000 * 1024 / 512.
  const Price price = Explained(*made.estimator, {.n = 513, .kv_len = 8192});
  EXPECT_EQ(price.transient_bytes, 160'000'000);
  EXPECT_EQ(price.route, "table.unfused");
  EXPECT_TRUE(price.assumed);
}

TEST(TableEstimatorTest, AFallOfThePriceIsABreakpoint) {
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator made, Make(kTwoRoutes));
  std::vector<Tokens> found;
  made.estimator->Breakpoints(Axis::kN, 8192, 512, 2048, MaskKind::kCausal,
                              &found);
  EXPECT_THAT(found, ElementsAre(1024));
  found.clear();
  made.estimator->Breakpoints(Axis::kKvLen, 2048, 4096, 8192, MaskKind::kCausal,
                              &found);
  EXPECT_THAT(found, IsEmpty());
}

TEST(TableEstimatorTest, BeyondTheRowsItIsExtendedInProportionOrUnfused) {
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator made, Make(kTwoRoutes));
  // Unfused formula: 8 heads * 4096 * 16384 * 2 bytes and more, against
  // 22,000,000 * 4096 / 2048 * 16384 / 8192.
  const Price far = Explained(*made.estimator, {.n = 4096, .kv_len = 16384});
  EXPECT_GE(far.transient_bytes, Bytes{8} * 4096 * 16384 * 2);
  EXPECT_EQ(far.route, "table.unfused_formula");
  EXPECT_TRUE(far.assumed);
  // The rows of 512 tokens are dearer than the formula.
  const Price longer = Explained(
      *made.estimator, {.n = 16, .kv_len = 16384, .mask = MaskKind::kNone});
  EXPECT_EQ(longer.transient_bytes, 160'000'000);
  EXPECT_TRUE(longer.assumed);
}

TEST(TableEstimatorTest, OneWarningSaysWhatTheRowsSpan) {
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator made, Make(kTwoRoutes));
  EXPECT_THAT(made.warnings,
              ElementsAre("rows.csv: rows span n 512 to 2048 and kv_len 4096 "
                          "to 8192: prices beyond them are assumed, not "
                          "measured"));
}

TEST(TableEstimatorTest, AnotherMaskThanTheRowsHaveIsAssumed) {
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator made,
                       Make("n,kv_len,mask,transient_bytes\n"
                            "64,64,causal,9000000\n"));
  EXPECT_FALSE(Explained(*made.estimator, {.n = 64, .kv_len = 64}).assumed);
  const Price other = Explained(
      *made.estimator, {.n = 64, .kv_len = 64, .mask = MaskKind::kBool});
  EXPECT_TRUE(other.assumed);
  EXPECT_EQ(other.transient_bytes, 9'000'000);
}

TEST(TableEstimatorTest, TheLargestAllocationAndResidentBytesAreRead) {
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator made,
                       Make("n,kv_len,transient_bytes,largest_allocation_bytes,"
                            "resident_bytes_per_token\n"
                            "64,64,9000,4000,100\n64,128,9100,,120\n"));
  const Price near = Explained(*made.estimator, {.n = 64, .kv_len = 64});
  EXPECT_EQ(near.largest_allocation_bytes, 4000);
  EXPECT_EQ(near.resident_bytes, 64 * 120);
  EXPECT_EQ(made.estimator->SequenceBytes(10, 10), 1200);
  EXPECT_EQ(Explained(*made.estimator, {.n = 64, .kv_len = 128})
                .largest_allocation_bytes,
            9100);
}

TEST(TableEstimatorTest, ChunksOfOneStepAddUp) {
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator made, Make(kTwoRoutes));
  const std::vector<Chunk> chunks = {{.n = 1024, .kv_len = 4096},
                                     {.n = 2048, .kv_len = 8192}};
  EXPECT_EQ(made.estimator->Total({.chunks = chunks}).transient_bytes,
            10'000'000 + 22'000'000);
}

TEST(TableEstimatorTest, RowsThatFallOnOneRouteAreToldAndTheHigherCounts) {
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator made,
                       Make("n,kv_len,transient_bytes\n"
                            "64,128,9000000\n"
                            "128,128,5000000\n"));
  ASSERT_EQ(made.warnings.size(), 2u);
  EXPECT_THAT(made.warnings[0],
              HasSubstr("n 128, kv_len 128: measured below n 64, kv_len 128"));
  EXPECT_EQ(Transient(*made.estimator, {.n = 64, .kv_len = 128}), 9'000'000);
  EXPECT_EQ(Transient(*made.estimator, {.n = 128, .kv_len = 128}), 9'000'000);
}

struct BadTable {
  const char* name;
  const char* csv;
  const char* message;
};

class BadTableTest : public ::testing::TestWithParam<BadTable> {};

TEST_P(BadTableTest, IsRefusedWithItsPlace) {
  EXPECT_THAT(Make(GetParam().csv), StatusIs(absl::StatusCode::kInvalidArgument,
                                             HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    Tables, BadTableTest,
    ::testing::Values(
        BadTable{"Empty", "", "rows.csv: expected a header row"},
        BadTable{"HeaderAlone", "n,kv_len,transient_bytes\n",
                 "rows.csv: expected rows, got none"},
        BadTable{"WithoutAColumn", "n,transient_bytes\n1,2\n",
                 "rows.csv: column kv_len: missing; got the columns n, "
                 "transient_bytes"},
        BadTable{"MisspeltColumn",
                 "n,kv_len,transient_bytes,largest_allocation_byte\n1,1,2,2\n",
                 "column largest_allocation_byte: unknown; did you mean "
                 "\"largest_allocation_bytes\"?"},
        BadTable{"ShorterThanWide", "n,kv_len,transient_bytes\n9,8,2\n",
                 "rows.csv:2: column kv_len: expected n to 100000000 tokens, "
                 "got \"8\""},
        BadTable{"NoTokens", "n,kv_len,transient_bytes\n0,8,2\n",
                 "rows.csv:2: column n: expected"},
        BadTable{"Negative", "n,kv_len,transient_bytes\n8,8,-2\n",
                 "rows.csv:2: column transient_bytes: expected"},
        BadTable{"UnknownMask", "n,kv_len,mask,transient_bytes\n8,8,tri,2\n",
                 "rows.csv:2: column mask: expected none, causal"},
        BadTable{"TwoRoutesAtOnePlace",
                 "n,kv_len,route,transient_bytes\n8,8,a,2\n8,8,b,3\n",
                 "rows.csv:3: column route: expected \"a\", as an earlier row"},
        BadTable{"TooFewFields", "n,kv_len,transient_bytes\n8,8\n",
                 "rows.csv:2: expected 3 fields, got 2"}),
    [](const auto& info) { return info.param.name; });

// A law that never falls on one route, with steps and slopes of its own.
Bytes Law(const std::vector<Bytes>& c, Tokens n, Tokens k) {
  return c[0] + c[1] * n + c[2] * k + c[3] * n * k / 64 +
         (n > c[4] ? c[5] : 0) + (k > c[6] ? c[7] : 0);
}

TEST(TableEstimatorTest, NeverUnderPricesAMonotoneLawInsideItsRows) {
  std::mt19937_64 random(7);
  const auto upto = [&](Bytes high) {
    return static_cast<Bytes>(random() % static_cast<std::uint64_t>(high + 1));
  };
  for (int round = 0; round < 40; ++round) {
    const std::vector<Bytes> law = {upto(1000), upto(50),    upto(50),
                                    upto(20),   upto(128),   upto(100000),
                                    upto(256),  upto(100000)};
    std::string csv = "n,kv_len,transient_bytes\n";
    std::vector<std::pair<Tokens, Tokens>> rows = {{1, 1}, {128, 256}};
    for (int i = 0; i < 12; ++i) {
      const Tokens n = 1 + upto(127);
      rows.emplace_back(n, n + upto(256 - n));
    }
    for (const auto& [n, k] : rows) {
      csv += std::to_string(n) + "," + std::to_string(k) + "," +
             std::to_string(Law(law, n, k)) + "\n";
    }
    ASSERT_OK_AND_ASSIGN(const CreatedEstimator made, Make(csv));
    for (Tokens n = 1; n <= 128; n += 3) {
      for (Tokens k = n; k <= 256; k += 5) {
        ASSERT_GE(Transient(*made.estimator, {.n = n, .kv_len = k}),
                  Law(law, n, k))
            << csv << "at " << n << ", " << k;
      }
    }
    for (const auto& [n, k] : rows) {
      EXPECT_EQ(Transient(*made.estimator, {.n = n, .kv_len = k}),
                Law(law, n, k));
    }
  }
}

// Between breakpoints nothing falls, on any axis, whatever the rows are.
TEST(TableEstimatorTest, NeverFallsBetweenItsBreakpoints) {
  std::mt19937_64 random(11);
  const auto upto = [&](Tokens high) {
    return static_cast<Tokens>(random() % static_cast<std::uint64_t>(high + 1));
  };
  for (int round = 0; round < 60; ++round) {
    std::map<std::pair<Tokens, Tokens>, std::pair<int, Bytes>> rows;
    for (Tokens i = 0; i < 2 + upto(14); ++i) {
      const Tokens n = 1 + upto(40);
      rows[{n, n + upto(80)}] = {static_cast<int>(upto(2)), upto(100000)};
    }
    std::string csv = "n,kv_len,route,transient_bytes\n";
    for (const auto& [at, row] : rows) {
      csv += std::to_string(at.first) + "," + std::to_string(at.second) + ",r" +
             std::to_string(row.first) + "," + std::to_string(row.second) +
             "\n";
    }
    ASSERT_OK_AND_ASSIGN(const CreatedEstimator made, Make(csv));
    for (const Axis axis : {Axis::kN, Axis::kKvLen, Axis::kChunk}) {
      const Tokens fixed = axis == Axis::kN ? 150 : 1 + upto(30);
      const Tokens lo = axis == Axis::kKvLen ? fixed : 1;
      const Tokens hi = 150;
      const auto price = [&](Tokens v) {
        Chunk chunk{.n = v, .kv_len = fixed};
        if (axis == Axis::kKvLen) chunk = {.n = fixed, .kv_len = v};
        if (axis == Axis::kChunk) chunk = {.n = v, .kv_len = fixed + v};
        return made.estimator->Total({.chunks = {&chunk, 1}});
      };
      std::vector<Tokens> breaks;
      made.estimator->Breakpoints(axis, fixed, lo, hi, MaskKind::kCausal,
                                  &breaks);
      EXPECT_TRUE(std::is_sorted(breaks.begin(), breaks.end()));
      for (Tokens v = lo + 1; v <= hi; ++v) {
        if (std::binary_search(breaks.begin(), breaks.end(), v)) continue;
        ASSERT_GE(price(v).transient_bytes, price(v - 1).transient_bytes)
            << csv << "axis " << static_cast<int>(axis) << " fixed " << fixed
            << " at " << v;
        ASSERT_GE(price(v).largest_allocation_bytes,
                  price(v - 1).largest_allocation_bytes)
            << csv << "axis " << static_cast<int>(axis) << " at " << v;
      }
    }
  }
}

}  // namespace
}  // namespace tidegate
