// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The command line under test: verbs called as functions, or the real binary
// in a process of its own.

#ifndef TIDEGATE_TESTS_TESTING_COMMAND_H_
#define TIDEGATE_TESTS_TESTING_COMMAND_H_

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tools/arguments.h"

namespace tidegate::testing {

inline std::string ReadWhole(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// A folder that lives as long as the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    static int count = 0;
    const ::testing::TestInfo* test =
        ::testing::UnitTest::GetInstance()->current_test_info();
    std::string name = std::string(test->test_suite_name()) + "." +
                       test->name() + "." + std::to_string(getpid()) + "." +
                       std::to_string(count++);
    for (char& c : name) {
      if (c == '/') c = '_';
    }
    path_ = std::filesystem::path(::testing::TempDir()) / name;
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string Path(const std::string& name) const {
    return (path_ / name).string();
  }
  // Writes a file and returns its path.
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
    return Path(name);
  }

 private:
  std::filesystem::path path_;
};

struct Outcome {
  int code = -1;
  absl::Status status;  // of a verb that was called as a function
  std::string out;
  std::string err;
};

using Verb = absl::StatusOr<int> (*)(const tools::Arguments&, tools::Streams&);

inline Outcome Call(Verb verb, const tools::Arguments& args) {
  std::ostringstream out;
  std::ostringstream err;
  tools::Streams io{.out = out, .err = err};
  const absl::StatusOr<int> code = verb(args, io);
  return {.code = code.ok() ? *code : -1,
          .status = code.status(),
          .out = out.str(),
          .err = err.str()};
}

// Runs the binary in `folder`, so that messages show names as they were typed.
inline Outcome RunBinary(const TemporaryFolder& folder,
                         const std::vector<std::string>& args) {
  const auto quoted = [](const std::string& word) {
    std::string text = "'";
    for (const char c : word)
      text += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return text + "'";
  };
  std::string command =
      "cd " + quoted(folder.Path("")) + " && " + quoted(TIDEGATE_BINARY);
  for (const std::string& arg : args) command += " " + quoted(arg);
  command += " >.stdout 2>.stderr </dev/null";
  const int status = std::system(command.c_str());
  return {.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
          .status = absl::OkStatus(),
          .out = ReadWhole(folder.Path(".stdout")),
          .err = ReadWhole(folder.Path(".stderr"))};
}

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_COMMAND_H_
