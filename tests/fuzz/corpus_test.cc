// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Every input that fuzzing began with, or found, once more in the normal build.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/fuzz/targets.h"
#include "tests/testing/matchers.h"

namespace tidegate::testing {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> Inputs(const FuzzTarget& target) {
  std::vector<fs::path> inputs;
  const fs::path folder = fs::path(TIDEGATE_SOURCE_DIR) / "tests/fuzz/corpus" /
                          std::string(target.name);
  for (const auto& entry : fs::directory_iterator(folder)) {
    inputs.push_back(entry.path());
  }
  std::sort(inputs.begin(), inputs.end());
  return inputs;
}

std::string Read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

class CorpusTest : public ::testing::TestWithParam<FuzzTarget> {};

TEST_P(CorpusTest, NoInputCrashesItsReader) {
  const std::vector<fs::path> inputs = Inputs(GetParam());
  ASSERT_FALSE(inputs.empty());
  for (const fs::path& path : inputs) {
    SCOPED_TRACE(path.filename().string());
    GetParam().run(Read(path));
  }
}

TEST_P(CorpusTest, NoInputCutShortCrashesItsReader) {
  for (const fs::path& path : Inputs(GetParam())) {
    SCOPED_TRACE(path.filename().string());
    const std::string text = Read(path);
    // A prime number of cuts falls into every kind of token.
    const std::size_t step = std::max<std::size_t>(1, text.size() / 37);
    for (std::size_t size = 0; size < text.size(); size += step) {
      GetParam().run(text.substr(0, size));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Readers, CorpusTest,
                         ::testing::ValuesIn(FuzzTargets()),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

}  // namespace
}  // namespace tidegate::testing
