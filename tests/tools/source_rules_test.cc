// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Rules of CONTRIBUTING.md that a machine can check, as tests over the source
// text.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "tests/testing/matchers.h"

namespace tidegate {
namespace {

namespace fs = std::filesystem;

struct SourceFile {
  std::string path;  // relative to the root
  std::string text;
};

const std::vector<SourceFile>& Sources() {
  static const auto* const files = [] {
    auto* all = new std::vector<SourceFile>;
    const fs::path root = TIDEGATE_SOURCE_DIR;
    for (const char* folder :
         {"include", "estimators", "policies", "scheduler", "plugins",
          "simulator", "service", "tools", "bench", "examples", "tests"}) {
      for (const auto& entry :
           fs::recursive_directory_iterator(root / folder)) {
        const std::string extension = entry.path().extension().string();
        if (extension != ".h" && extension != ".cc") continue;
        std::ifstream in(entry.path());
        std::stringstream text;
        text << in.rdbuf();
        all->push_back({fs::relative(entry.path(), root).string(), text.str()});
      }
    }
    std::sort(all->begin(), all->end(),
              [](const auto& a, const auto& b) { return a.path < b.path; });
    return all;
  }();
  return *files;
}

std::vector<std::string> Offenders(
    const std::function<bool(const SourceFile&)>& breaks_rule) {
  std::vector<std::string> paths;
  for (const SourceFile& file : Sources()) {
    if (breaks_rule(file)) paths.push_back(file.path);
  }
  return paths;
}

bool Contains(const SourceFile& file, std::string_view needle) {
  return file.text.find(needle) != std::string::npos;
}

TEST(SourceRulesTest, TheTreeIsFound) { EXPECT_GT(Sources().size(), 50u); }

TEST(SourceRulesTest, EveryFileNamesItsLicence) {
  EXPECT_THAT(Offenders([](const SourceFile& file) {
                return file.text.substr(0, 200).find(
                           "SPDX-License-Identifier: Apache-2.0") ==
                       std::string::npos;
              }),
              ::testing::IsEmpty());
}

TEST(SourceRulesTest, NoFileIsSeveralIdeasInOneRoom) {
  EXPECT_THAT(Offenders([](const SourceFile& file) {
                return std::count(file.text.begin(), file.text.end(), '\n') >
                       700;
              }),
              ::testing::IsEmpty());
}

TEST(SourceRulesTest, DependenciesPointOneWay) {
  const std::vector<std::string> order = {
      "estimators", "policies", "scheduler", "plugins",
      "simulator",  "service",  "tools"};
  EXPECT_THAT(
      Offenders([&](const SourceFile& file) {
        const std::string folder = file.path.substr(0, file.path.find('/'));
        const auto at = std::find(order.begin(), order.end(), folder);
        if (at == order.end()) return false;
        return std::any_of(at + 1, order.end(), [&](const std::string& later) {
          return Contains(file, "#include \"" + later + "/");
        });
      }),
      ::testing::IsEmpty());
}

TEST(SourceRulesTest, TheServiceDoesNotSeeTheSimulator) {
  EXPECT_THAT(Offenders([](const SourceFile& file) {
                return file.path.starts_with("service/") &&
                       (Contains(file, "#include \"simulator/") ||
                        Contains(file, "tidegate/simulator.h"));
              }),
              ::testing::IsEmpty());
}

TEST(SourceRulesTest, AsioIsSeenByServiceAndWatcherAlone) {
  EXPECT_THAT(Offenders([](const SourceFile& file) {
                const bool user = file.path.starts_with("examples/") ||
                                  file.path.starts_with("tests/");
                return !user && file.path != "service/service.cc" &&
                       file.path != "service/policy_watcher.cc" &&
                       file.path != "include/tidegate/service.h" &&
                       Contains(file, "boost/asio");
              }),
              ::testing::IsEmpty());
}

TEST(SourceRulesTest, PublicHeadersReachNoHeavyLibrary) {
  EXPECT_THAT(
      Offenders([](const SourceFile& file) {
        if (!file.path.starts_with("include/")) return false;
        SourceFile rest = file;
        // The service's coroutines are Asio's: these two and no more.
        if (file.path == "include/tidegate/service.h") {
          for (const std::string allowed : {"<boost/asio/any_io_executor.hpp>",
                                            "<boost/asio/awaitable.hpp>"}) {
            rest.text.erase(rest.text.find(allowed), allowed.size());
          }
        }
        return Contains(rest, "<boost") || Contains(file, "nlohmann") ||
               Contains(file, "toml++") || Contains(file, "CLI/") ||
               Contains(file, "flat_hash_map");
      }),
      ::testing::IsEmpty());
}

TEST(SourceRulesTest, TheCoreReadsNoClockThreadRandomSourceOrFile) {
  EXPECT_THAT(
      Offenders([](const SourceFile& file) {
        const bool core = file.path.starts_with("policies/") ||
                          (file.path.starts_with("scheduler/") &&
                           file.path.find("policy_file") == std::string::npos);
        if (!core) return false;
        return Contains(file, "<thread>") || Contains(file, "<random>") ||
               Contains(file, "<fstream>") || Contains(file, "system_clock") ||
               Contains(file, "steady_clock");
      }),
      ::testing::IsEmpty());
}

TEST(SourceRulesTest, NothingThrows) {
  EXPECT_THAT(Offenders([](const SourceFile& file) {
                // Plug-ins may: their wrapper catches it.
                if (file.path.starts_with("tests/") ||
                    file.path.starts_with("examples/plugins/")) {
                  return false;
                }
                return Contains(file, "throw ");
              }),
              ::testing::IsEmpty());
}

}  // namespace
}  // namespace tidegate
