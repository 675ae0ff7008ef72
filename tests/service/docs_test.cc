// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <fstream>
#include <sstream>
#include <string>

#include "tests/testing/matchers.h"

namespace tidegate {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream in(std::string(TIDEGATE_SOURCE_DIR) + "/" + path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

TEST(ServiceDocsTest, EveryCodeBlockIsInAnExampleThatRuns) {
  const std::string doc = ReadFile("docs/service.md");
  const std::string examples =
      ReadFile("examples/asio_service.cc") + ReadFile("examples/pull_loop.cc");
  const std::string open = "```cpp\n";
  int blocks = 0;
  for (std::size_t at = doc.find(open); at != doc.npos;
       at = doc.find(open, at + 1)) {
    const std::size_t start = at + open.size();
    const std::string block = doc.substr(start, doc.find("```", start) - start);
    EXPECT_NE(examples.find(block), examples.npos) << block;
    ++blocks;
  }
  EXPECT_EQ(blocks, 4);
}

}  // namespace
}  // namespace tidegate
