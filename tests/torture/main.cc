// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate-torture: the random harnesses on as many seeds as there is time for.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "tests/torture/harnesses.h"
#include "tests/torture/runner.h"

namespace tidegate::torture {
namespace {

int Main(int argc, char** argv) {
  TortureOptions options;
  options.jobs =
      std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  std::string harness = "both";
  bool json = false;
  CLI::App app{
      "Feeds schedulers with random events and random scenarios, faults of "
      "every kind among them, and checks every law. Exit 0: all held; 1: one "
      "broke, and the last line replays its seed; 2: bad input."};
  app.footer("Example: tidegate-torture --seeds 10000 --first 1");
  app.add_option("--seeds", options.seeds, "How many seeds")
      ->capture_default_str()
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 53));
  app.add_option("--first", options.first, "The first of them")
      ->capture_default_str()
      ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{1} << 53));
  app.add_option("--jobs", options.jobs, "Threads; all cores where not given")
      ->check(CLI::Range(1, 1024));
  app.add_option("--harness", harness, "events, scenarios or both")
      ->capture_default_str()
      ->check(CLI::IsMember({"events", "scenarios", "both"}));
  int longest = static_cast<int>(options.longest.count());
  app.add_option("--longest", longest,
                 "Seconds of processor time after which a seed counts as one "
                 "that never ends")
      ->capture_default_str()
      ->check(CLI::Range(1, 86'400));
  app.add_flag("--json", json, "One JSON object instead of text");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    std::cerr << "tidegate-torture: " << error.what() << "\n";
    return 2;
  }
  options.json = json;
  options.longest = std::chrono::seconds(longest);
  options.progress = isatty(STDERR_FILENO) == 1;
  std::vector<Harness> harnesses;
  if (harness != "scenarios") harnesses.push_back(EventsHarness());
  if (harness != "events") {
    const std::string configs =
        std::string(TIDEGATE_SOURCE_DIR) + "/tests/data/configs";
    if (!std::filesystem::is_directory(configs)) {
      std::cerr << "tidegate-torture: scenarios need " << configs
                << ", which is not there; --harness events does without\n";
      return 2;
    }
    harnesses.push_back(ScenariosHarness());
  }
  return RunTorture(options, harnesses, std::cout, std::cerr);
}

}  // namespace
}  // namespace tidegate::torture

int main(int argc, char** argv) { return tidegate::torture::Main(argc, argv); }
