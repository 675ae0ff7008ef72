// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/calibrate_page.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "estimators/profile.h"
#include "tests/testing/command.h"
#include "tests/testing/matchers.h"
#include "tools/arguments.h"

namespace tidegate::tools {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;
using ::tidegate::testing::Call;
using ::tidegate::testing::Outcome;
using ::tidegate::testing::ReadWhole;
using ::tidegate::testing::StatusIs;
using ::tidegate::testing::TemporaryFolder;

constexpr Bytes kMib = Bytes{1} << 20;
const std::string kH200 = TIDEGATE_SOURCE_DIR "/tests/data/h200/model_h200.csv";

// What stands between the tags of the data element, as a browser cuts it.
std::string DataElement(const std::string& page) {
  constexpr std::string_view kOpen =
      "<script type=\"application/json\" id=\"data\">";
  const std::size_t from = page.find(kOpen) + kOpen.size();
  return page.substr(from, page.find("</script", from) - from);
}

CalibrationRow Row(const std::string& model, Bytes price, Bytes measured) {
  return {.engine = {.name = "mystery", .version = "1", .device = "gpu"},
          .model = model,
          .label = model,
          .route = "r",
          .price = {.n = 64,
                    .kv_len = price / kMib,
                    .static_bytes = price,
                    .measured_bytes = measured}};
}

// Rows a fifth above their price, one of them far above the others.
std::vector<CalibrationRow> SkewedRows() {
  std::vector<CalibrationRow> rows;
  for (Bytes i = 1; i <= 30; ++i) {
    rows.push_back(Row("m", 100 * i * kMib, 120 * i * kMib));
  }
  rows[9].price.measured_bytes *= 3;
  return rows;
}

json PageData(const Calibrated& calibrated, const std::string& title = "t") {
  return json::parse(DataElement(CalibrationPage(title, calibrated)));
}

class CalibratedH200Test : public ::testing::Test {
 protected:
  void SetUp() override {
    Arguments args;
    args.files = {kH200};
    args.out = folder_.Path("p.toml");
    args.date = "2026-01-31";
    args.json = true;
    outcome_ = Call(RunCalibrate, args);
    ASSERT_EQ(outcome_.code, kExitDone) << outcome_.status;
    page_ = json::parse(DataElement(ReadWhole(folder_.Path("p.html"))));
  }

  TemporaryFolder folder_;
  Outcome outcome_;
  json page_;
};

TEST_F(CalibratedH200Test, ThePageSaysWhatTheProfileSays) {
  ASSERT_OK_AND_ASSIGN(
      const internal::Profile profile,
      internal::ParseProfile(ReadWhole(folder_.Path("p.toml")), "p.toml"));
  EXPECT_EQ(page_["date"], profile.date);
  EXPECT_EQ(page_["files"], json(profile.files));
  ASSERT_EQ(page_["routes"].size(), profile.entries.size());
  ASSERT_EQ(page_["charts"].size(), profile.entries.size());
  for (std::size_t i = 0; i < profile.entries.size(); ++i) {
    const internal::ProfileEntry& entry = profile.entries[i];
    const json& route = page_["routes"][i];
    EXPECT_EQ(route["engine"], entry.engine);
    EXPECT_EQ(route["version"], entry.version);
    EXPECT_EQ(route["device"], entry.device);
    EXPECT_EQ(route["model"], entry.model);
    EXPECT_EQ(route["route"], entry.route);
    EXPECT_EQ(route["rows"], entry.rows);
    EXPECT_EQ(route["outliers"], entry.outliers);
    EXPECT_EQ(route["factor"].get<double>() * 65536,
              static_cast<double>(entry.correction.factor_65536));
    EXPECT_EQ(route["fixed_bytes"], entry.correction.fixed);
    EXPECT_EQ(route["residual_max_bytes"], entry.residual_max);
    // The profile states six decimals.
    EXPECT_NEAR(route["fitted_p50"], entry.fitted_p50, 1e-6);
    EXPECT_NEAR(route["fitted_p95"], entry.fitted_p95, 1e-6);
    EXPECT_NEAR(route["fitted_max"], entry.fitted_max, 1e-6);
  }
}

TEST_F(CalibratedH200Test, EveryRowIsDrawnAtThePriceOfTheProfile) {
  ASSERT_OK_AND_ASSIGN(
      const internal::Profile profile,
      internal::ParseProfile(ReadWhole(folder_.Path("p.toml")), "p.toml"));
  for (std::size_t i = 0; i < profile.entries.size(); ++i) {
    const internal::ProfileEntry& entry = profile.entries[i];
    const json& rows = page_["charts"][i]["rows"];
    EXPECT_EQ(rows.size(), static_cast<std::size_t>(entry.rows));
    std::int64_t outliers = 0;
    double max = 0;
    for (const json& row : rows) {
      EXPECT_EQ(row[4], entry.correction.Apply(row[2].get<Bytes>()));
      outliers += row[5].get<int>();
      if (row[5] == 0 && row[3] >= 16 * kMib) {
        max = std::max(max, row[4].get<double>() / row[3].get<double>());
      }
    }
    EXPECT_EQ(outliers, entry.outliers);
    EXPECT_NEAR(max, entry.fitted_max, 1e-6);
  }
}

TEST_F(CalibratedH200Test, ThePageHoldsWhatJsonPrints) {
  const json printed = json::parse(outcome_.out);
  EXPECT_EQ(page_["routes"], printed["routes"]);
  EXPECT_EQ(page_["refused"], printed["refused"]);
  EXPECT_EQ(printed["page"], folder_.Path("p.html"));
  EXPECT_EQ(printed["plot"], folder_.Path("p.plot.csv"));
}

TEST(CalibrationPageTest, TheLineRunsFromTheLowestPriceToTheHighest) {
  const Calibrated calibrated = Calibrate(SkewedRows());
  ASSERT_EQ(calibrated.profile.entries.size(), 1u);
  const json line = PageData(calibrated)["charts"][0]["line"];
  ASSERT_GT(line.size(), 10u);
  EXPECT_EQ(line.front()[0], 100 * kMib);
  EXPECT_EQ(line.back()[0], 3000 * kMib);
  for (const json& point : line) {
    EXPECT_EQ(point[1], calibrated.profile.entries[0].correction.Apply(
                            point[0].get<Bytes>()));
  }
}

TEST(CalibrationPageTest, OutliersAndUnderPricedRowsAreCounted) {
  const json data = PageData(Calibrate(SkewedRows()));
  const json& route = data["routes"][0];
  EXPECT_EQ(route["rows"], 30);
  EXPECT_EQ(route["outliers"], 1);
  EXPECT_EQ(data["charts"][0]["rows"][9][5], 1);
  // The outlier alone is measured above the price.
  EXPECT_EQ(route["rows_under"], 1);
  EXPECT_EQ(route["rows_below"], 29);
}

TEST(CalibrationPageTest, RowsWithoutAPriceAreNotDrawn) {
  std::vector<CalibrationRow> rows = SkewedRows();
  rows.push_back(Row("m", 0, 5));
  rows.push_back(Row("m", 5, 0));
  const json data = PageData(Calibrate(rows));
  EXPECT_EQ(data["routes"][0]["rows"], 30);
  EXPECT_EQ(data["charts"][0]["rows"].size(), 30u);
}

TEST(CalibrationPageTest, RowsOfOnePriceAreALineOfOnePoint) {
  const std::vector<CalibrationRow> rows(10, Row("m", 64 * kMib, 64 * kMib));
  EXPECT_EQ(PageData(Calibrate(rows))["charts"][0]["line"].size(), 1u);
}

TEST(CalibrationPageTest, ARefusedRouteSaysWhy) {
  std::vector<CalibrationRow> rows = SkewedRows();
  rows.push_back(Row("other", 5 * kMib, 5 * kMib));
  const json refused = PageData(Calibrate(rows))["refused"];
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0]["model"], "other");
  EXPECT_THAT(refused[0]["reason"].get<std::string>(),
              HasSubstr("too few rows"));
}

TEST(CalibrationPageTest, ANameCannotEndTheScript) {
  for (const std::string name :
       {"</script><script>alert(1)</script>", "<!--<script>", "{{data}}",
        "\"'&\\ \xE2\x80\xA8"}) {
    std::vector<CalibrationRow> rows = SkewedRows();
    for (CalibrationRow& row : rows) row.label = name;
    const Calibrated calibrated = Calibrate(rows);
    EXPECT_EQ(PageData(calibrated, name)["routes"][0]["label"], name);
    const std::string page = CalibrationPage(name, calibrated);
    EXPECT_EQ(DataElement(page).find('<'), std::string::npos);
    EXPECT_THAT(page, Not(HasSubstr("<script>alert")));
  }
}

TEST(CalibrationPageTest, NothingIsFetched) {
  const std::string page = CalibrationPage("t", Calibrate(SkewedRows()));
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  EXPECT_THAT(page, Not(HasSubstr("<link")));
  EXPECT_THAT(page, Not(HasSubstr("<script src")));
  EXPECT_THAT(page, Not(HasSubstr("{{")));
  EXPECT_THAT(page, HasSubstr("Licensed to the Apache Software Foundation"));
}

TEST(CalibrationPageTest, AProfileNamedAsThePageIsRefused) {
  const TemporaryFolder folder;
  Arguments args;
  args.files = {kH200};
  args.out = folder.Path("p.html");
  EXPECT_THAT(Call(RunCalibrate, args).status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("--out: expected the name of the profile")));
  EXPECT_FALSE(std::filesystem::exists(folder.Path("p.html")));
}

}  // namespace
}  // namespace tidegate::tools
