// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/validate.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "tests/testing/matchers.h"
#include "tools/csv.h"

namespace tidegate::tools {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::tidegate::testing::StatusIs;

// Excerpts of measured tables; tests/data/validate/README.md has the sources.
std::string Data(std::string_view file) {
  return std::string(TIDEGATE_SOURCE_DIR "/tests/data/validate/") +
         std::string(file);
}

// A file that lives as long as the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text) {
    static int count = 0;
    const std::string test =
        ::testing::UnitTest::GetInstance()->current_test_info()->name();
    path_ = (std::filesystem::path(::testing::TempDir()) /
             (test + std::to_string(count++) + ".csv"))
                .string();
    std::ofstream(path_, std::ios::binary) << text;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

constexpr std::string_view kHeader =
    "backend,chosen,dtype,q_heads,kv_heads,gqa,head_dim,head_dim_v,n,L,mask,"
    "tile,status,reason,transient_bytes,needed_at_least_bytes,device,torch\n";

// A table of one attention row. cuDNN with 32 heads of 128 over 2048 queries
// needs its output of 16 MiB and three small blocks.
std::string AttentionRow(std::string_view n, std::string_view status,
                         std::string_view measured, std::string_view needed) {
  std::string text(kHeader);
  text += "CUDNN,,bf16,32,8,enable_gqa,128,128,";
  text += n;
  text += ",65536,none,,";
  text += status;
  text += ",,";
  text += measured;
  text += ",";
  text += needed;
  text += ",NVIDIA H100 80GB HBM3,2.11.0+cu130\n";
  return text;
}
constexpr std::int64_t kOutput = 2048 * 32 * 128 * 2;

TEST(CsvTest, ReadsQuotesLineBreaksAndCarriageReturns) {
  ASSERT_OK_AND_ASSIGN(
      const CsvTable table,
      ParseCsv("a,b,c\r\n1,\"x, \"\"y\"\"\nz\",\r\n\r\n2.0,\"\",q\r\n", "t"));
  ASSERT_EQ(table.rows(), 2);
  EXPECT_EQ(*table.Text(0, "b"), "x, \"y\"\nz");
  EXPECT_EQ(*table.Text(0, "c"), "");
  EXPECT_EQ(*table.Integer(1, "a"), 2);
  EXPECT_EQ(*table.Text(1, "c"), "q");
  // The quoted line break and the blank line count.
  EXPECT_EQ(table.line(1), 5);
  EXPECT_TRUE(table.Has("a"));
  EXPECT_FALSE(table.Has("d"));
}

TEST(CsvTest, NamesFileLineAndColumnOfWhatItCannotRead) {
  ASSERT_OK_AND_ASSIGN(const CsvTable table,
                       ParseCsv("a,b\n1,2\n1.5,-3\n", "rows.csv"));
  const auto invalid = absl::StatusCode::kInvalidArgument;
  EXPECT_THAT(table.Integer(1, "a"),
              StatusIs(invalid,
                       "rows.csv:3: column a: expected a whole number "
                       "from 0, got \"1.5\""));
  EXPECT_THAT(table.Integer(1, "b"),
              StatusIs(invalid, HasSubstr("rows.csv:3: column b")));
  EXPECT_THAT(table.Text(0, "z"),
              StatusIs(invalid, HasSubstr("column z: expected text, got no "
                                          "such column")));
  EXPECT_THAT(table.Word(0, "a", {"x", "y"}),
              StatusIs(invalid, HasSubstr("expected one of x, y, got \"1\"")));
}

TEST(CsvTest, RefusesBrokenTables) {
  const auto invalid = absl::StatusCode::kInvalidArgument;
  EXPECT_THAT(ParseCsv("", "t"), StatusIs(invalid, HasSubstr("header row")));
  EXPECT_THAT(ParseCsv("a,b\n1\n", "t"),
              StatusIs(invalid, "t:2: expected 2 fields, got 1"));
  EXPECT_THAT(ParseCsv("a,a\n", "t"),
              StatusIs(invalid, HasSubstr("each name once")));
  EXPECT_THAT(ParseCsv("a\n\"x\n", "t"),
              StatusIs(invalid, "t:2: unfinished quote"));
  EXPECT_THAT(ParseCsv("a\n\"x\"y\n", "t"),
              StatusIs(invalid, HasSubstr("after a closing quote")));
  EXPECT_THAT(ReadCsv("/nonexistent/rows.csv"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("rows.csv")));
}

TEST(ValidateTest, PricesEveryKindOfTable) {
  for (const auto& [file, rows, not_priced] :
       {std::tuple{"attention_torch.csv", 17, 7},
        {"masks_torch.csv", 5, 0},
        {"attention_mlx.csv", 12, 2},
        {"compute_buffers_llamacpp.csv", 8, 0}}) {
    ASSERT_OK_AND_ASSIGN(const ValidationReport report,
                         ValidateFiles({Data(file)}, {}));
    EXPECT_EQ(report.total.rows, rows) << file;
    EXPECT_EQ(report.total.under, 0) << file;
    EXPECT_EQ(report.total.route_wrong, 0) << file;
    EXPECT_EQ(report.total.not_priced, not_priced) << file;
    EXPECT_FALSE(report.groups.empty()) << file;
  }
}

// Whole models: a law may round up, but hardly ever down.
TEST(ValidateTest, PricesWholeModelsWithinTheirLimits) {
  ASSERT_OK_AND_ASSIGN(
      const ValidationReport report,
      ValidateFiles({TIDEGATE_SOURCE_DIR "/tests/data/h200/model_h200.csv"},
                    {}));
  const ValidationCounts& total = report.total;
  EXPECT_EQ(total.rows, 662);
  EXPECT_LE(static_cast<double>(total.under),
            0.005 * static_cast<double>(total.rows))
      << ToText(report);
  EXPECT_EQ(total.route_wrong, 0);
  EXPECT_EQ(total.skipped_oom, 0);
  ASSERT_TRUE(total.p95.has_value());
  EXPECT_LE(*total.p95, 1.30) << ToText(report);
}

TEST(ValidateTest, AModelWithoutItsConfigIsAnErrorThatNamesIt) {
  const TemporaryFile file(
      "model,layers_measured,attn,cache,n,L,torch,device,transient_bytes\n"
      "nobody,2,sdpa,dynamic,512,1024,2.11.0,NVIDIA H200,1000\n");
  EXPECT_THAT(
      ValidateFiles({file.path()}, {}),
      StatusIs(absl::StatusCode::kNotFound, HasSubstr("models/nobody.json")));
}

TEST(ValidateTest, TellsTablesByTheirHeader) {
  ASSERT_OK_AND_ASSIGN(
      const ValidationReport mixed,
      ValidateFiles({Data("masks_torch.csv"), Data("attention_mlx.csv")}, {}));
  EXPECT_EQ(mixed.groups.front().file, Data("masks_torch.csv"));
  EXPECT_EQ(mixed.groups.front().engine, "torch@2.11.0/cuda-sm90");
  EXPECT_EQ(mixed.groups.back().kernel, "mlx.unfused");
  EXPECT_EQ(ExitCode(mixed), 0);

  const TemporaryFile other("chunk,n_ctx,chunk_ms\n1,2,3\n");
  const auto report = ValidateFiles({other.path()}, {});
  EXPECT_THAT(report, StatusIs(absl::StatusCode::kInvalidArgument,
                               HasSubstr("nothing to validate")));
  EXPECT_EQ(ExitCode(report), 2);
  EXPECT_THAT(ValidateFiles({}, {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("nothing to validate")));
}

TEST(ValidateTest, AllowsTwoMebibytesOfRounding) {
  const auto under = [](std::int64_t measured) {
    const TemporaryFile file(
        AttentionRow("2048", "ok", std::to_string(measured), ""));
    const auto report = ValidateFiles({file.path()}, {});
    EXPECT_THAT(report, ::tidegate::testing::IsOk());
    return report->total.under;
  };
  // The price is the output and three blocks of 512 bytes.
  EXPECT_EQ(under(kOutput + 1536 + (2 << 20)), 0);
  EXPECT_EQ(under(kOutput + 1536 + (2 << 20) + 1), 1);
}

TEST(ValidateTest, SmallRowsCountForUnderOnly) {
  const TemporaryFile file(AttentionRow("1024", "ok", "8000000", ""));
  ASSERT_OK_AND_ASSIGN(const ValidationReport report,
                       ValidateFiles({file.path()}, {}));
  EXPECT_EQ(report.total.rows, 1);
  EXPECT_EQ(report.total.ratio_rows, 0);
  EXPECT_FALSE(report.total.p95.has_value());
  const auto json = nlohmann::json::parse(ToJson(report));
  EXPECT_TRUE(json["total"]["p95"].is_null());
}

TEST(ValidateTest, AnOutOfMemoryRowIsALowerBoundWithoutRounding) {
  const auto under = [](std::int64_t needed) {
    const TemporaryFile file(
        AttentionRow("2048", "oom", "", std::to_string(needed)));
    const auto report = ValidateFiles({file.path()}, {});
    EXPECT_THAT(report, ::tidegate::testing::IsOk());
    EXPECT_EQ(report->total.rows, 1);
    return report->total.under;
  };
  EXPECT_EQ(under(kOutput), 0);
  EXPECT_EQ(under(kOutput + 2000), 1);
}

TEST(ValidateTest, ARefusedCallThatTheCatalogueRunsIsAWrongRoute) {
  const TemporaryFile file(AttentionRow("2048", "unsupported", "", ""));
  ASSERT_OK_AND_ASSIGN(const ValidationReport report,
                       ValidateFiles({file.path()}, {}));
  EXPECT_EQ(report.total.route_wrong, 1);
  EXPECT_EQ(report.total.rows, 0);
}

TEST(ValidateTest, AnUnreadableColumnIsAnError) {
  const auto invalid = absl::StatusCode::kInvalidArgument;
  const TemporaryFile n(AttentionRow("many", "ok", "1", ""));
  const auto report = ValidateFiles({n.path()}, {});
  EXPECT_THAT(report,
              StatusIs(invalid, HasSubstr(n.path() + ":2: column n: expected a "
                                                     "whole number from 1, got "
                                                     "\"many\"")));
  EXPECT_EQ(ExitCode(report), 2);
  const TemporaryFile status(AttentionRow("512", "fine", "1", ""));
  EXPECT_THAT(ValidateFiles({status.path()}, {}),
              StatusIs(invalid, HasSubstr("column status: expected one of")));
  const TemporaryFile measured(AttentionRow("512", "ok", "", ""));
  EXPECT_THAT(ValidateFiles({measured.path()}, {}),
              StatusIs(invalid, HasSubstr("column transient_bytes")));
  const TemporaryFile length(AttentionRow("99999999", "ok", "1", ""));
  EXPECT_THAT(ValidateFiles({length.path()}, {}),
              StatusIs(invalid, HasSubstr("column L: expected n to")));
}

TEST(ValidateTest, ScratchIsMeasuredAndPricedTogether) {
  const std::string file = Data("compute_buffers_llamacpp.csv");
  ASSERT_OK_AND_ASSIGN(const ValidationReport report,
                       ValidateFiles({file}, {.with_scratch = true}));
  EXPECT_EQ(report.total.rows, 8);
  EXPECT_EQ(report.total.under, 0);
}

TEST(ValidateTest, AReplacedCatalogueDecidesTheRoutes) {
  ValidateOptions options;
  options.catalogue_file = "mine.toml";
  options.catalogue = R"(
[engine]
name = "mlx"
law = "mlx"
oldest = "0.20"
newest = "0.40"
devices = ["cpu"]
[engine.options.kv_cache]
values = ["grow", "prealloc"]
default = "grow"
doc = "as built in"
[[rule]]
kernel = "mlx.full"
source = "a test"
)";
  ASSERT_OK_AND_ASSIGN(const ValidationReport report,
                       ValidateFiles({Data("attention_mlx.csv")}, options));
  EXPECT_EQ(report.groups.back().kernel, "mlx.full");
}

TEST(ValidateTest, JsonHasTheFixedNames) {
  ASSERT_OK_AND_ASSIGN(const ValidationReport report,
                       ValidateFiles({Data("attention_torch.csv")}, {}));
  const auto json = nlohmann::json::parse(ToJson(report));
  for (const char* name :
       {"rows", "under", "p50", "p95", "max", "route_wrong", "skipped_oom"}) {
    EXPECT_TRUE(json["total"].contains(name)) << name;
    EXPECT_TRUE(json["groups"][0].contains(name)) << name;
  }
  for (const char* name : {"file", "engine", "kernel"}) {
    EXPECT_TRUE(json["groups"][0][name].is_string()) << name;
  }
  EXPECT_EQ(json["total"]["rows"], report.total.rows);
}

TEST(ValidateTest, TextHasALineForEachGroupAndTheTotal) {
  ASSERT_OK_AND_ASSIGN(const ValidationReport report,
                       ValidateFiles({Data("attention_torch.csv")}, {}));
  EXPECT_THAT(ToText(report),
              AllOf(HasSubstr("route wrong"), HasSubstr("torch.flash"),
                    HasSubstr("total")));
}

}  // namespace
}  // namespace tidegate::tools
