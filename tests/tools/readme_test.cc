// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// README.md and docs/simulation.md show a program and the output of commands.
// They are what the sources and the binary give today.

#include <filesystem>
#include <string>
#include <vector>

#include "tests/testing/command.h"
#include "tests/testing/matchers.h"

namespace tidegate {
namespace {

using ::testing::HasSubstr;
using ::tidegate::testing::Outcome;
using ::tidegate::testing::ReadWhole;
using ::tidegate::testing::RunBinary;
using ::tidegate::testing::TemporaryFolder;

const std::filesystem::path kRoot = TIDEGATE_SOURCE_DIR;

struct Shown {
  std::vector<std::string> words;  // without "tidegate"
  std::string output;
};

// The commands of the console blocks, each with what is printed under it.
std::vector<Shown> CommandsOf(const std::string& markdown) {
  const std::string open = "```console\n$ tidegate ";
  std::vector<Shown> found;
  for (std::size_t at = markdown.find(open); at != std::string::npos;
       at = markdown.find(open, at + 1)) {
    const std::size_t from = at + open.size();
    const std::size_t line = markdown.find('\n', from);
    const std::size_t end = markdown.find("```", line);
    Shown shown{.words = {},
                .output = markdown.substr(line + 1, end - line - 1)};
    std::istringstream words(markdown.substr(from, line - from));
    for (std::string word; words >> word;) shown.words.push_back(word);
    found.push_back(shown);
  }
  return found;
}

TEST(ReadmeTest, TheEmbeddingExampleIsTheCompiledFile) {
  const std::string source = ReadWhole(kRoot / "examples" / "embed.cc");
  const std::size_t code = source.find("#include");
  ASSERT_NE(code, std::string::npos);
  EXPECT_THAT(ReadWhole(kRoot / "README.md"),
              HasSubstr("```cpp\n" + source.substr(code) + "```\n"));
}

// Files of the repository, alone or in a list, wherever the command runs.
std::string WithRoot(std::string word) {
  for (const std::string folder : {"examples/", "policy_files/"}) {
    const std::string rooted = (kRoot / folder).string();
    for (std::size_t at = word.find(folder); at != std::string::npos;
         at = word.find(folder, at + rooted.size())) {
      word.replace(at, folder.size(), rooted);
    }
  }
  return word;
}

void ExpectCommandsOf(const std::string& file, std::size_t at_least) {
  const std::vector<Shown> commands = CommandsOf(ReadWhole(kRoot / file));
  ASSERT_GE(commands.size(), at_least);
  for (Shown shown : commands) {
    for (std::string& word : shown.words) word = WithRoot(word);
    const TemporaryFolder folder;
    const Outcome outcome = RunBinary(folder, shown.words);
    EXPECT_EQ(outcome.out, shown.output);
  }
}

TEST(ReadmeTest, EveryCommandPrintsWhatIsShown) {
  ExpectCommandsOf("README.md", 4);
}

TEST(ReadmeTest, TheComparisonPrintsWhatIsShown) {
  ExpectCommandsOf("docs/simulation.md", 1);
}

TEST(ReadmeTest, EveryLinkedFileExists) {
  for (const char* file :
       {"README.md", "docs/index.md", "docs/simulation.md"}) {
    const std::string text = ReadWhole(kRoot / file);
    int links = 0;
    for (std::size_t at = text.find("]("); at != std::string::npos;
         at = text.find("](", at + 1)) {
      std::string target = text.substr(at + 2, text.find(')', at) - at - 2);
      if (target.starts_with("http")) continue;
      target = target.substr(0, target.find('#'));
      if (target.empty()) continue;
      ++links;
      EXPECT_TRUE(
          std::filesystem::exists((kRoot / file).parent_path() / target))
          << file << " links to " << target;
    }
    EXPECT_GT(links, 1) << file;
  }
}

}  // namespace
}  // namespace tidegate
