// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/report.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/testing/matchers.h"

namespace tidegate::tools {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kOpen =
    "<script type=\"application/json\" id=\"data\">";

// What stands between the tags of the data element, as a browser cuts it.
std::string DataElement(const std::string& page) {
  const std::size_t from = page.find(kOpen) + kOpen.size();
  return page.substr(from, page.find("</script", from) - from);
}

ReportRun OneRun(const std::string& policy) {
  ReportRun run{.policy = policy, .trace = "t.csv", .ceiling_bytes = 100};
  run.result.emplace();
  run.result->requests = 3;
  run.result->ceiling_bytes = 100;
  run.result->tokens_per_s = 1.0 / 3;
  run.result->refusals["too_large"] = 1;
  return run;
}

std::string PageOf(const std::string& title, const ReportRun& run) {
  return ReportPage(title, {&run, 1});
}

TEST(ReportPageTest, TheDataAreTheRunsAsJson) {
  const std::vector<ReportRun> runs = {OneRun("a"), OneRun("b")};
  const json data = json::parse(DataElement(ReportPage("t", runs)));
  ASSERT_EQ(data["runs"].size(), 2u);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    JsonWriter writer;
    PutRun(runs[i], writer);
    EXPECT_EQ(data["runs"][i], json::parse(writer.ToString()));
  }
}

TEST(ReportPageTest, ANameCannotEndTheScript) {
  for (const std::string name :
       {"</script><script>alert(1)</script>", "<!--<script>", "{{data}}",
        "\"'&\\ \xE2\x80\xA8", "</SCRIPT >"}) {
    const std::string page = PageOf(name, OneRun(name));
    const json data = json::parse(DataElement(page));
    EXPECT_EQ(data["runs"][0]["policy"], name);
    EXPECT_EQ(DataElement(page).find('<'), std::string::npos);
    // Title and heading hold it as text.
    EXPECT_EQ(page.find("<script>alert"), std::string::npos);
  }
}

TEST(ReportPageTest, AFailedRunSaysWhy) {
  ReportRun run{.policy = "p", .trace = "t", .error = "at 5 ns: <broken>"};
  const json data = json::parse(DataElement(ReportPage("t", {&run, 1})));
  EXPECT_EQ(data["runs"][0]["error"], "at 5 ns: <broken>");
}

TEST(ReportPageTest, NothingIsFetched) {
  const std::string page = PageOf("t", OneRun("a"));
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  EXPECT_EQ(page.find("<link"), std::string::npos);
  EXPECT_EQ(page.find("<script src"), std::string::npos);
  EXPECT_EQ(page.find("{{"), std::string::npos);
}

TEST(ReportPageTest, TheWholeLibraryIsThere) {
  const std::string page = PageOf("t", OneRun("a"));
  EXPECT_THAT(page, HasSubstr("Licensed to the Apache Software Foundation"));
  EXPECT_GT(page.size(), 1'030'855u);
  EXPECT_LT(page.size(), 1'100'000u);
}

TEST(MinMaxPositionsTest, FewPointsAreAllKept) {
  const std::vector<double> y = {3, 1, 2};
  EXPECT_THAT(MinMaxPositions(y, 3), ElementsAre(0, 1, 2));
}

TEST(MinMaxPositionsTest, NoPointsAreNone) {
  EXPECT_THAT(MinMaxPositions({}, 10), ::testing::IsEmpty());
}

TEST(MinMaxPositionsTest, SpikesAndEndsSurvive) {
  std::vector<double> y(100'000, 5.0);
  y[31'415] = 100;
  y[27'182] = -100;
  y.front() = 6;
  y.back() = 7;
  const std::vector<std::size_t> kept = MinMaxPositions(y, 200);
  EXPECT_LE(kept.size(), 200u);
  EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end()));
  for (const std::size_t at : {0, 27'182, 31'415, 99'999}) {
    EXPECT_TRUE(std::binary_search(kept.begin(), kept.end(), at)) << at;
  }
}

TEST(MinMaxPositionsTest, NoPositionIsKeptTwice) {
  for (std::size_t size = 1; size < 60; ++size) {
    std::vector<double> y;
    for (std::size_t i = 0; i < size; ++i) y.push_back((i * 7) % 11);
    for (std::size_t points = 1; points < 70; ++points) {
      const std::vector<std::size_t> kept = MinMaxPositions(y, points);
      EXPECT_EQ(
          std::adjacent_find(kept.begin(), kept.end(), std::greater_equal<>()),
          kept.end());
      EXPECT_EQ(kept.back(), size - 1);
      EXPECT_LT(kept.back(), size);
    }
  }
}

TEST(MakeChartsTest, DistributionsRiseToOne) {
  SimulationResult result;
  for (int i = 1; i <= 1000; ++i) {
    RequestRecord record;
    record.ttft_s = 0.001 * (1001 - i);
    result.records.push_back(record);
  }
  const Charts charts = MakeCharts(result, 100);
  ASSERT_EQ(charts.ttft.x.size(), 100u);
  EXPECT_TRUE(std::is_sorted(charts.ttft.x.begin(), charts.ttft.x.end()));
  EXPECT_DOUBLE_EQ(charts.ttft.x.front(), 0.001);
  EXPECT_DOUBLE_EQ(charts.ttft.y.front(), 0.001);
  EXPECT_DOUBLE_EQ(charts.ttft.x.back(), 1);
  EXPECT_DOUBLE_EQ(charts.ttft.y.back(), 1);
  EXPECT_TRUE(charts.itl.x.empty());
}

TEST(MakeChartsTest, TheHighestUseOfMemoryIsDrawn) {
  SimulationResult result;
  for (int i = 0; i < 5000; ++i) {
    result.series.push_back(
        {Instant(std::chrono::seconds(i)), 10, i == 3333 ? 99 : 20, 64});
  }
  const Charts charts = MakeCharts(result, 50);
  const auto top = std::max_element(charts.peak.y.begin(), charts.peak.y.end());
  EXPECT_EQ(*top, 99);
  EXPECT_EQ(
      charts.peak.x[static_cast<std::size_t>(top - charts.peak.y.begin())],
      3333);
}

}  // namespace
}  // namespace tidegate::tools
