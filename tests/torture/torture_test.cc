// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/testing/command.h"
#include "tests/testing/matchers.h"
#include "tests/testing/shrink.h"
#include "tests/torture/catch_abort.h"
#include "tests/torture/harnesses.h"
#include "tests/torture/runner.h"
#include "tidegate/status.h"

namespace tidegate::torture {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::tidegate::testing::ReadWhole;
using ::tidegate::testing::Shrink;
using ::tidegate::testing::TemporaryFolder;

// Fails, stops or hangs at one seed.
Harness BadAt(std::uint64_t bad, std::function<SeedResult()> how) {
  return {.name = "made-up",
          .run =
              [=](std::uint64_t seed) {
                if (seed == bad) return how();
                SeedResult result;
                result.counts.events = 1;
                return result;
              },
          .explain =
              [](std::uint64_t seed) {
                return "  shortest run of " + std::to_string(seed) + "\n";
              }};
}

struct Ran {
  int code = 0;
  std::string out;
  std::string err;
};
Ran Torture(const TortureOptions& options, const Harness& harness) {
  std::ostringstream out;
  std::ostringstream err;
  const int code = RunTorture(options, {harness}, out, err);
  return {code, out.str(), err.str()};
}

TEST(TortureTest, AllSeedsRunWhenEveryLawHolds) {
  const Ran ran = Torture({.first = 5, .seeds = 40, .jobs = 3, .json = true},
                          BadAt(1000, [] { return SeedResult{}; }));
  EXPECT_EQ(ran.code, 0);
  const auto json = nlohmann::json::parse(ran.out);
  EXPECT_EQ(json["done"], 40);
  EXPECT_EQ(json["held"], true);
  EXPECT_EQ(json["harnesses"]["made-up"]["events"], 40);
}

TEST(TortureTest, ABrokenLawEndsWithTheLineThatReplaysIt) {
  const Ran ran =
      Torture({.seeds = 40, .jobs = 2},
              BadAt(17, [] { return SeedResult{.wrong = "a law"}; }));
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.out, HasSubstr("made-up of seed 17: a law\n"
                                 "  shortest run of 17\n"));
  EXPECT_THAT(ran.out, EndsWith("\ntidegate-torture --seeds 1 --first 17 "
                                "--harness made-up\n"));
}

TEST(TortureTest, AnInvariantThatStopsTheProcessStillNamesItsSeed) {
  const Ran ran = Torture({.seeds = 40, .jobs = 2}, BadAt(17, [] {
                            TG_CHECK(1 + 1 == 3);
                            return SeedResult{};
                          }));
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.out, HasSubstr("of seed 17: stopped by signal 6"));
  EXPECT_THAT(ran.out, HasSubstr("--first 17"));
}

TEST(TortureTest, ACrashStillNamesItsSeed) {
  const Ran ran = Torture({.seeds = 40, .jobs = 2, .json = true}, BadAt(17, [] {
                            raise(SIGSEGV);
                            return SeedResult{};
                          }));
  EXPECT_EQ(ran.code, 1);
  const auto json = nlohmann::json::parse(ran.out);
  EXPECT_EQ(json["seed"], 17);
  EXPECT_EQ(json["replay"],
            "tidegate-torture --seeds 1 --first 17 --harness made-up");
}

TEST(TortureTest, ASeedThatDoesNotEndIsNamed) {
  const Ran ran =
      Torture({.seeds = 40, .jobs = 2, .longest = std::chrono::seconds(0)},
              BadAt(17, [] {
                std::atomic<bool> forever{true};
                while (forever) std::this_thread::yield();
                return SeedResult{};
              }));
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.out, HasSubstr("of seed 17: still running after 0 s"));
}

TEST(TortureTest, EventsAreCountedByKindOfFault) {
  const Harness events = EventsHarness();
  testing::TortureCounts counts;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    const SeedResult result = events.run(seed);
    EXPECT_THAT(result.wrong, IsEmpty());
    counts.Add(result.counts);
  }
  EXPECT_GT(counts.steps, 100);
  for (std::size_t i = 0; i < testing::kFaults; ++i) {
    if (i == static_cast<std::size_t>(testing::Fault::kBurst)) continue;
    EXPECT_GT(counts.faults[i], 0) << testing::kFaultNames[i];
  }
}

TEST(TortureTest, TheSameSeedGivesTheSameRunOnEveryThread) {
  for (const Harness& harness : {EventsHarness(), ScenariosHarness()}) {
    std::vector<SeedResult> alone;
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
      alone.push_back(harness.run(seed));
    }
    std::vector<std::thread> threads;
    std::atomic<int> differ{0};
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        for (std::uint64_t seed = 1; seed <= 12; ++seed) {
          const SeedResult again = harness.run(seed);
          const SeedResult& first = alone[seed - 1];
          if (again.wrong != first.wrong ||
              again.counts.events != first.counts.events ||
              again.counts.chunks != first.counts.chunks) {
            ++differ;
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(differ, 0) << harness.name;
  }
}

TEST(ShrinkTest, KeepsWhatIsNeededToFail) {
  std::vector<int> list;
  for (int i = 0; i < 100; ++i) list.push_back(i);
  const std::function<bool(const std::vector<int>&)> fails =
      [](const std::vector<int>& some) {
        return std::count(some.begin(), some.end(), 7) > 0 &&
               std::count(some.begin(), some.end(), 93) > 0;
      };
  EXPECT_THAT(Shrink(list, fails, 1000), ElementsAre(7, 93));
}

TEST(ShrinkTest, StopsWhenItHasTriedOftenEnough) {
  int tries = 0;
  const std::function<bool(const std::vector<int>&)> fails =
      [&](const std::vector<int>&) {
        ++tries;
        return false;
      };
  EXPECT_EQ(Shrink(std::vector<int>(50, 1), fails, 9).size(), 50u);
  EXPECT_EQ(tries, 9);
}

TEST(CatchAbortTest, AnswersTheInvariantThatBroke) {
  EXPECT_THAT(CatchAbort([] { TG_CHECK(2 + 2 == 5); }),
              HasSubstr("invariant broken: 2 + 2 == 5"));
  EXPECT_THAT(CatchAbort([] {}), IsEmpty());
  EXPECT_THAT(CatchAbort([] { raise(SIGFPE); }),
              HasSubstr("stopped by signal"));
}

Ran RunBinary(const std::string& args) {
  const TemporaryFolder folder;
  const std::string command = std::string(TIDEGATE_TORTURE) + " " + args +
                              " >" + folder.Path("out") + " 2>" +
                              folder.Path("err") + " </dev/null";
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1,
          ReadWhole(folder.Path("out")), ReadWhole(folder.Path("err"))};
}

TEST(TortureCommandTest, RunsBothHarnessesAndCounts) {
  const Ran ran = RunBinary("--seeds 8 --first 3 --jobs 2 --json");
  EXPECT_EQ(ran.code, 0) << ran.out << ran.err;
  EXPECT_EQ(ran.err, "");
  const auto json = nlohmann::json::parse(ran.out);
  EXPECT_EQ(json["done"], 8);
  EXPECT_GT(json["harnesses"]["events"]["steps"], 0);
  EXPECT_GT(json["harnesses"]["scenarios"]["chunks"], 0);
}

TEST(TortureCommandTest, BadFlagsAreOneLineAndExitTwo) {
  for (const char* args :
       {"--seeds 0", "--seeds x", "--jobs 0", "--jobs -1", "--first -1",
        "--harness none", "--nothing", "stray", "--seeds", "--jobs 1.5"}) {
    const Ran ran = RunBinary(args);
    EXPECT_EQ(ran.code, 2) << args;
    EXPECT_EQ(ran.out, "") << args;
    EXPECT_THAT(ran.err, ::testing::StartsWith("tidegate-torture: ")) << args;
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
  }
}

}  // namespace
}  // namespace tidegate::torture
