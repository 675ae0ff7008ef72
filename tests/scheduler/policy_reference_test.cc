// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/policy_reference.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "scheduler/policy_keys.h"
#include "tests/testing/matchers.h"

namespace tidegate::internal {
namespace {

using ::testing::HasSubstr;

constexpr char kBegin[] = "<!-- generated from scheduler/policy_keys.cc -->\n";
constexpr char kEnd[] = "<!-- end of what is generated -->\n";

std::string ReadWhole(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

TEST(PolicyReferenceTest, TheDocumentHoldsWhatTheTableOfKeysSays) {
  const std::filesystem::path path =
      std::filesystem::path(TIDEGATE_SOURCE_DIR) / "docs" / "policy-file.md";
  const std::string text = ReadWhole(path);
  const std::size_t begin = text.find(kBegin);
  const std::size_t end = text.find(kEnd);
  ASSERT_NE(begin, std::string::npos) << path << " lacks " << kBegin;
  ASSERT_NE(end, std::string::npos) << path << " lacks " << kEnd;
  const std::size_t from = begin + sizeof(kBegin) - 1;
  const std::string wanted = "\n" + PolicyReference() + "\n";
  if (std::getenv("TIDEGATE_UPDATE") != nullptr) {
    std::ofstream(path, std::ios::binary)
        << text.substr(0, from) << wanted << text.substr(end);
    GTEST_SKIP() << "rewrote " << path;
  }
  EXPECT_EQ(text.substr(from, end - from), wanted)
      << path << " is stale; to rewrite it:\n  TIDEGATE_UPDATE=1 "
      << "build/release/bin/scheduler_tests "
      << "--gtest_filter=PolicyReferenceTest.*";
}

TEST(PolicyReferenceTest, EveryKeyIsInItOnceUnderItsTable) {
  const std::string text = PolicyReference();
  for (const PolicyKey& key : PolicyKeys()) {
    const std::size_t table =
        text.find("### `[" + std::string(key.table) + "]`");
    ASSERT_NE(table, std::string::npos) << key.table;
    const std::string section =
        text.substr(table, text.find("\n### ", table) - table);
    const std::string row = "\n| `" + std::string(key.name) + "` |";
    const std::size_t at = section.find(row);
    ASSERT_NE(at, std::string::npos) << key.table << "." << key.name;
    EXPECT_EQ(section.find(row, at + 1), std::string::npos)
        << key.table << "." << key.name;
  }
}

TEST(PolicyReferenceTest, ARangeAndARequiredKeyAreSaid) {
  const std::string text = PolicyReference();
  EXPECT_THAT(text, HasSubstr("; 1 to 64 |"));
  EXPECT_THAT(text, HasSubstr("| `name` | a string | **required** |"));
}

}  // namespace
}  // namespace tidegate::internal
