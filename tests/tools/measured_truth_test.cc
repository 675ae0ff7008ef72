// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Prices against every measured table, where these are at hand: in the folder
// that the environment variable TIDEGATE_SHARED names, or in shared/ beside
// the source tree. Skipped elsewhere; the tables are too large to ship.

#include <chrono>
#include <filesystem>
#include <string>

#include "tests/testing/matchers.h"
#include "tests/testing/shared_files.h"
#include "tools/validate.h"

namespace tidegate::tools {
namespace {

// Path of a table, or empty when it is not at hand.
std::string Truth(const std::string& name) {
  return testing::SharedFile("truth/" + name);
}

struct Target {
  const char* file;
  bool with_scratch;
  double under_share;  // of the judged rows
  double p95;
  double max;
};

void PrintTo(const Target& target, std::ostream* out) { *out << target.file; }

class MeasuredTruthTest : public ::testing::TestWithParam<Target> {};

TEST_P(MeasuredTruthTest, MeetsItsTarget) {
  const Target& target = GetParam();
  const std::string file = Truth(target.file);
  if (file.empty()) GTEST_SKIP() << target.file << " is not at hand";
  const auto start = std::chrono::steady_clock::now();
  ASSERT_OK_AND_ASSIGN(
      const ValidationReport report,
      ValidateFiles({file}, {.with_scratch = target.with_scratch}));
  const std::chrono::duration<double> took =
      std::chrono::steady_clock::now() - start;

  const ValidationCounts& total = report.total;
  ASSERT_GT(total.rows, 0);
  EXPECT_LE(static_cast<double>(total.under),
            target.under_share * static_cast<double>(total.rows))
      << ToText(report);
  EXPECT_EQ(total.route_wrong, 0) << ToText(report);
  ASSERT_TRUE(total.p95 && total.max);
  EXPECT_LE(*total.p95, target.p95) << ToText(report);
  EXPECT_LT(*total.max, target.max) << ToText(report);
#ifdef NDEBUG
  EXPECT_LT(took.count(), 2.0);
#endif
}

// One call or one buffer is arithmetic and should hit; a whole model or a graph
// leaves room for what its law does not know.
INSTANTIATE_TEST_SUITE_P(
    Tables, MeasuredTruthTest,
    ::testing::Values(Target{"h100/attn_h100.csv", false, 0, 1.01, 1.1},
                      Target{"h100/masks_h100.csv", false, 0, 1.001, 1.01},
                      Target{"mlx/attn_mlx_cpu.csv", false, 0.005, 1.03, 2.0},
                      Target{"h100/model_h100.csv", false, 0.005, 1.30, 2.0},
                      Target{"llamacpp/llamacpp_compute_buffers.csv", false,
                             0.005, 1.30, 2.0},
                      Target{"llamacpp/llamacpp_compute_buffers.csv", true,
                             0.005, 1.30, 2.0}));

// Tables of other kinds are refused by their header.
TEST(OtherTablesTest, HaveNothingToValidate) {
  for (const char* name :
       {"h100/throughput_h100.csv", "h100/throughput_chunks_h100.csv",
        "llamacpp/llamacpp_decode.csv",
        "llamacpp/llamacpp_decode_repeats.csv"}) {
    const std::string file = Truth(name);
    if (file.empty()) GTEST_SKIP() << name << " is not at hand";
    EXPECT_THAT(ValidateFiles({file}, {}),
                ::tidegate::testing::StatusIs(
                    absl::StatusCode::kInvalidArgument,
                    ::testing::HasSubstr("nothing to validate")));
  }
}

}  // namespace
}  // namespace tidegate::tools
