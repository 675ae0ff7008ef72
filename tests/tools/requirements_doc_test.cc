// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// docs/requirements.md against the sources: no row is lost, and whatever it
// names as evidence exists.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "tests/testing/matchers.h"

namespace tidegate {
namespace {

namespace fs = std::filesystem;

using ::testing::AnyOf;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int kMemoryGuards = 58;  // R01 to R58
constexpr int kOtherEngines = 29;  // P01 to P29

std::string ReadText(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

fs::path Root() { return TIDEGATE_SOURCE_DIR; }

const std::string& Document() {
  static const auto* const text =
      new std::string(ReadText(Root() / "docs" / "requirements.md"));
  return *text;
}

struct Row {
  std::string id;
  std::string thread;
  std::string requirement;
  std::string status;
  std::string evidence;
};

std::string_view Trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

// Lines that start with a cell like R01.
std::vector<Row> Rows() {
  const std::regex first_cell(R"(^\| [A-Z][0-9]+ \|)");
  std::vector<Row> rows;
  std::istringstream in(Document());
  for (std::string line; std::getline(in, line);) {
    if (!std::regex_search(line, first_cell)) continue;
    std::vector<std::string> cells;
    std::stringstream rest(line.substr(1));
    for (std::string cell; std::getline(rest, cell, '|');) {
      cells.emplace_back(Trimmed(cell));
    }
    EXPECT_EQ(cells.size(), 5u) << line;
    cells.resize(5);
    rows.push_back({cells[0], cells[1], cells[2], cells[3], cells[4]});
  }
  return rows;
}

// The first two groups of every match, joined with a dot; of one group alone.
std::set<std::string> Matches(const std::string& text,
                              const std::regex& pattern) {
  std::set<std::string> found;
  for (std::sregex_iterator it(text.begin(), text.end(), pattern), end;
       it != end; ++it) {
    found.insert(it->size() > 2 ? it->str(1) + "." + it->str(2) : it->str(1));
  }
  return found;
}

// "Suite.Test" of every test under tests/.
std::set<std::string> TestsInTheSources() {
  const std::regex definition(R"(\bTEST(?:_F|_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\))");
  std::set<std::string> tests;
  for (const auto& entry : fs::recursive_directory_iterator(Root() / "tests")) {
    if (entry.path().extension() != ".cc") continue;
    tests.merge(Matches(ReadText(entry.path()), definition));
  }
  return tests;
}

std::set<std::string> ShippedScenarios() {
  std::set<std::string> ids;
  for (const auto& entry :
       fs::directory_iterator(Root() / "tests" / "data" / "scenarios")) {
    if (entry.path().extension() != ".jsonl") continue;
    std::ifstream in(entry.path());
    for (std::string line; std::getline(in, line);) {
      if (line.empty()) continue;
      ids.insert(nlohmann::json::parse(line)["id"].get<std::string>());
    }
  }
  return ids;
}

std::vector<std::string> Missing(const std::set<std::string>& named,
                                 const std::set<std::string>& existing) {
  std::vector<std::string> missing;
  std::set_difference(named.begin(), named.end(), existing.begin(),
                      existing.end(), std::back_inserter(missing));
  return missing;
}

TEST(RequirementsDocTest, HasEveryRowOnceAndInOrder) {
  std::vector<std::string> expected;
  const auto add = [&](char group, int count) {
    for (int i = 1; i <= count; ++i) {
      expected.push_back(group + std::string(i < 10 ? "0" : "") +
                         std::to_string(i));
    }
  };
  add('R', kMemoryGuards);
  add('P', kOtherEngines);
  std::vector<std::string> ids;
  for (const Row& row : Rows()) ids.push_back(row.id);
  EXPECT_THAT(ids, ElementsAreArray(expected));
}

TEST(RequirementsDocTest, EveryRowHasAThreadAStatusAndAReason) {
  for (const Row& row : Rows()) {
    EXPECT_THAT(row.thread, HasSubstr("#")) << row.id;
    EXPECT_THAT(row.requirement, Not(IsEmpty())) << row.id;
    EXPECT_THAT(row.status, AnyOf("covered", "partly", "open")) << row.id;
    EXPECT_THAT(row.evidence, Not(IsEmpty())) << row.id;
  }
}

TEST(RequirementsDocTest, CountsWhatTheRowsSay) {
  const std::vector<Row> rows = Rows();
  std::map<std::string, int> counts;
  for (const Row& row : rows) ++counts[row.status];
  EXPECT_THAT(Document(),
              HasSubstr("Of " + std::to_string(rows.size()) + " rows " +
                        std::to_string(counts["covered"]) + " are covered, " +
                        std::to_string(counts["partly"]) + " partly and " +
                        std::to_string(counts["open"]) + " open."));
}

TEST(RequirementsDocTest, EveryTestThatItNamesExists) {
  const std::set<std::string> named =
      Matches(Document(), std::regex(R"(`([A-Z]\w*Test)\.(\w+)`)"));
  EXPECT_GT(named.size(), 50u);
  EXPECT_THAT(Missing(named, TestsInTheSources()), IsEmpty());
}

// Those with a dagger are not shipped.
TEST(RequirementsDocTest, EveryShippedScenarioThatItNamesExists) {
  const std::set<std::string> named = Matches(
      Document(), std::regex("`([a-z0-9.]+(?:-[a-z0-9.]+)+)`(?!\u2020)"));
  EXPECT_THAT(named, Not(IsEmpty()));
  EXPECT_THAT(Missing(named, ShippedScenarios()), IsEmpty());
}

TEST(RequirementsDocTest, EveryFileThatItNamesExists) {
  const std::set<std::string> named = Matches(
      Document(),
      std::regex(
          R"(`((?:docs|include|estimators|policies|scheduler|simulator|tests|tools)/[\w./]*)`)"));
  EXPECT_THAT(named, Not(IsEmpty()));
  for (const std::string& path : named) {
    EXPECT_TRUE(fs::exists(Root() / path)) << path;
  }
}

}  // namespace
}  // namespace tidegate
