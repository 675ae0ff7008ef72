// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/replay.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/testing/matchers.h"
#include "tests/testing/shared_files.h"

namespace tidegate {
namespace {

using ::tidegate::testing::StatusIs;

// A model of 8,192 bytes of KV a token on an engine whose attention is fused.
constexpr char kHead[] =
    R"("model": {"shape": {"q_heads": 32, "kv_heads": 8, "head_dim": 128,
        "layers": 2}},
       "engine": {"name": "mlx", "version": "0.31.2", "device": "metal"},)";
constexpr char kMemory[] =
    R"("memory": {"ceiling": 4000000000, "base": 1000},)";
constexpr char kWorld[] =
    R"("world": {"tokens_per_s": 1000, "chunk_overhead_s": 0,
                 "decode_tokens_per_s": 10},)";
constexpr char kArrival[] =
    R"("events": [{"at": 1, "arrive": {"id": "r", "prompt_tokens": 4096,
                   "output_tokens": 10}}],)";

std::string Line(const std::string& body) {
  std::string line = R"({"id": "s", )" + body + "}";
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line + "\n";
}

std::string Scenario(const std::string& expect) {
  return Line(std::string(kHead) + kMemory + kWorld + kArrival +
              R"("expect": )" + expect);
}

std::string Replay(const std::string& text) {
  std::string out;
  const absl::StatusOr<ReplayCounts> counts =
      ReplayText(text, "f.jsonl", [&](std::string_view line) {
        out += line;
        out += '\n';
      });
  EXPECT_THAT(counts, testing::IsOk());
  return out;
}

std::string ReplayExpect(const std::string& expect) {
  return Replay(Scenario(expect));
}

TEST(ReplayTest, WhatIsExpectedAndComesPasses) {
  EXPECT_EQ(ReplayExpect(R"({"out_of_memory": 0, "requests": {"r":
                {"outcome": "finished", "chunk_at_least": 2048,
                 "chunk_at_most": 2048, "largest_chunk_at_least": 2048,
                 "steps_at_most": 2, "wait_at_most_s": 0,
                 "finished_by_s": 6.096}}, "finish_order": ["r"],
                "reclaims_at_most": 0, "kv_bytes_per_token": 8192})"),
            "PASS s\n");
}

TEST(ReplayTest, AnotherOutcomeFails) {
  EXPECT_EQ(ReplayExpect(R"({"requests": {"r": {"outcome": "rejected",
                             "rejected_code": "too_large"}}})"),
            "FAIL s: r.outcome: expected rejected, got finished; "
            "r.rejected_code: expected too_large, got finished\n");
}

TEST(ReplayTest, MoreStepsThanExpectedFail) {
  EXPECT_EQ(ReplayExpect(R"({"requests": {"r": {"steps_at_most": 1}}})"),
            "FAIL s: r.steps: expected at most 1, got 2\n");
}

TEST(ReplayTest, ANarrowerChunkThanExpectedFails) {
  EXPECT_EQ(ReplayExpect(R"({"requests": {"r": {"chunk_at_least": 2049}}})"),
            "FAIL s: r.chunk[0]: expected at least 2049, got 2048\n");
}

TEST(ReplayTest, AWiderChunkThanExpectedFails) {
  EXPECT_EQ(ReplayExpect(R"({"requests": {"r": {"chunk_at_most": 2047}}})"),
            "FAIL s: r.chunk[0]: expected at most 2047, got 2048\n");
}

TEST(ReplayTest, NoChunkAsWideAsExpectedFails) {
  EXPECT_EQ(
      ReplayExpect(R"({"requests": {"r": {"largest_chunk_at_least": 4096}}})"),
      "FAIL s: r.largest_chunk: expected at least 4096, got 2048\n");
}

TEST(ReplayTest, ALaterEndThanExpectedFails) {
  EXPECT_EQ(ReplayExpect(R"({"requests": {"r": {"finished_by_s": 6.09}}})"),
            "FAIL s: r.finished_s: expected at most 6.090 s, got 6.096 s\n");
}

TEST(ReplayTest, AHigherPeakThanExpectedFails) {
  EXPECT_THAT(ReplayExpect(R"({"peak_at_most": 5000})"),
              ::testing::MatchesRegex(
                  "FAIL s: peak_bytes: expected at most 5000, got [0-9]+\n"));
}

TEST(ReplayTest, FewerReclaimsThanExpectedFail) {
  EXPECT_EQ(ReplayExpect(R"({"reclaims_at_least": 1})"),
            "FAIL s: reclaims: expected at least 1, got 0\n");
}

TEST(ReplayTest, AnotherKvSlopeFails) {
  EXPECT_EQ(ReplayExpect(R"({"kv_bytes_per_token": 8000})"),
            "FAIL s: kv_bytes_per_token: expected 8000, got 8192\n");
}

TEST(ReplayTest, KvBytesOutsideTheirBoundsFail) {
  EXPECT_EQ(ReplayExpect(R"({"kv_bytes": [{"tokens": 100, "chunk": 10,
                                           "at_most": 819199}]})"),
            "FAIL s: kv_bytes of 100 tokens in chunks of 10: expected at most "
            "819199, got 819200\n");
}

TEST(ReplayTest, APriceOutsideItsBoundsFails) {
  EXPECT_THAT(
      ReplayExpect(R"({"prices": [{"n": 64, "kv_len": 640, "mask": "array",
                       "at_least": 1000000000000}]})"),
      ::testing::MatchesRegex(
          "FAIL s: price of n = 64, kv_len = 640, mask = array: expected at "
          "least 1000000000000, got [0-9]+\n"));
}

TEST(ReplayTest, PricesAreJudgedWithoutRequests) {
  EXPECT_EQ(Replay(Line(std::string(kHead) + kMemory +
                        R"("expect": {"prices": [{"n": 64, "kv_len": 640,
                                                  "at_least": 1}]})")),
            "PASS s\n");
}

TEST(ReplayTest, WorkBeforeARejectionIsCounted) {
  EXPECT_EQ(Replay(Line(std::string(kHead) + kWorld + kArrival +
                        R"("memory": {"ceiling": 30000000, "base": 1000},
                     "expect": {"requests": {"r": {"outcome": "rejected",
                       "rejected_code": "too_large",
                       "work_before_rejection": 0}}})")),
            "PASS s\n");
}

TEST(ReplayTest, AReclaimTakesItsLag) {
  // 4096 tokens do not fit beside the pool: the first chunk begins 3 s late.
  const std::string scenario =
      std::string(kHead) + kWorld + kArrival +
      R"("memory": {"ceiling": 200000000, "base": 190000000,
                    "reclaimable": [{"kind": "pool", "bytes": 150000000,
                                     "lag_s": 3}]},)";
  EXPECT_EQ(Replay(Line(scenario + R"("expect": {"reclaims_at_least": 1,
              "requests": {"r": {"outcome": "finished",
                                 "wait_at_most_s": 3}}})")),
            "PASS s\n");
  EXPECT_EQ(Replay(Line(scenario + R"("expect": {"requests": {"r":
              {"wait_at_most_s": 2.9}}})")),
            "FAIL s: r.wait_s: expected at most 2.900 s, got 3.000 s\n");
}

TEST(ReplayTest, AWorldDearerThanThePriceFailsForItsFailures) {
  EXPECT_THAT(
      Replay(Line(std::string(kHead) + kMemory + kArrival +
                  R"("world": {"per_token_bytes": 3000000}, "expect": {})")),
      ::testing::MatchesRegex(
          "FAIL s: out_of_memory: expected 0, got [1-9][0-9]*\n"));
}

TEST(ReplayTest, ACancelledRequestIsCancelled) {
  EXPECT_EQ(Replay(Line(std::string(kHead) + kMemory + kWorld +
                        R"("events": [{"at": 0, "arrive": {"id": "r",
                             "prompt_tokens": 4096}}, {"at": 1, "cancel": "r"}],
                           "expect": {"requests": {"r":
                             {"outcome": "cancelled"}}})")),
            "PASS s\n");
}

TEST(ReplayTest, ABadLineIsNamedBeforeAnythingRuns) {
  std::string printed;
  EXPECT_THAT(ReplayText(Scenario("{}") + "{\"id\": 4}\n", "f.jsonl",
                         [&](std::string_view line) { printed += line; }),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       ::testing::StartsWith("f.jsonl:2: key id: expected ")));
  EXPECT_EQ(printed, "");
}

TEST(ReplayTest, AFileThatDoesNotExistIsNotFound) {
  const std::string paths[] = {"no/such.jsonl"};
  EXPECT_THAT(ReplayFiles(paths, [](std::string_view) {}),
              StatusIs(absl::StatusCode::kNotFound,
                       "no/such.jsonl: cannot read the scenario file"));
}

// Replays files; every line but those that pass.
std::vector<std::string> Shortcomings(const std::vector<std::string>& paths) {
  std::vector<std::string> lines;
  const absl::StatusOr<ReplayCounts> counts =
      ReplayFiles(paths, [&](std::string_view line) {
        if (!line.starts_with("PASS ")) lines.emplace_back(line);
      });
  if (!counts.ok()) lines.emplace_back(counts.status().message());
  return lines;
}

TEST(ReplayTest, ThePriceFormulasHold) {
  EXPECT_THAT(Shortcomings({std::string(TIDEGATE_SOURCE_DIR) +
                            "/tests/data/scenarios/price_formulas.jsonl"}),
              ::testing::ElementsAre("10 passed, 0 failed"));
}

TEST(ReplayTest, EveryScenarioOfTheRepositoryPasses) {
  const std::filesystem::path folder =
      std::string(TIDEGATE_SOURCE_DIR) + "/tests/data/scenarios";
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".jsonl") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  EXPECT_GE(paths.size(), 10u);
  for (const std::string& path : paths) {
    EXPECT_THAT(
        Shortcomings({path}),
        ::testing::ElementsAre(::testing::EndsWith(" passed, 0 failed")))
        << path;
  }
}

TEST(ReplayTest, EveryScenarioOfTheSharedCollectionPasses) {
  const std::filesystem::path folder = testing::SharedFile("scenarios");
  if (folder.empty()) GTEST_SKIP() << "shared/scenarios is not here";
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".jsonl") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  for (const std::string& path : paths) {
    const std::vector<std::string> lines = Shortcomings({path});
    // A word of a later version is reserved, and its scenarios wait for it.
    if (lines.size() == 1 &&
        lines[0].ends_with("which this version does not have")) {
      continue;
    }
    EXPECT_THAT(
        lines, ::testing::ElementsAre(::testing::EndsWith(" passed, 0 failed")))
        << path;
  }
}

}  // namespace
}  // namespace tidegate
