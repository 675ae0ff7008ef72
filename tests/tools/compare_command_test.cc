// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/testing/command.h"
#include "tests/testing/matchers.h"
#include "tidegate/rivals.h"
#include "tools/arguments.h"
#include "tools/compare.h"
#include "tools/compared_policy.h"

namespace tidegate::tools {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::tidegate::testing::Call;
using ::tidegate::testing::Outcome;
using ::tidegate::testing::ReadWhole;
using ::tidegate::testing::StatusIs;
using ::tidegate::testing::TemporaryFolder;

constexpr char kHeader[] =
    "arrival_s,prompt_tokens,cached_tokens,output_tokens,session\n";

std::string Policy(const std::string& chunk) {
  return "[model]\nconfig = \"" TIDEGATE_SOURCE_DIR
         "/tests/data/configs/llama-3.1-8b.json\"\n"
         "[engine]\nname = \"mlx\"\nversion = \"0.31.2\"\ndevice = \"metal\"\n"
         "[memory]\nceiling = \"36 GiB\"\nbase = \"16 GiB\"\n[chunk]\n" +
         chunk;
}

std::string Rows(int count, int every_ms, Tokens prompt) {
  std::string rows = kHeader;
  for (int i = 0; i < count; ++i) {
    const int ms = i * every_ms;
    rows += std::to_string(ms / 1000) + "." +
            std::to_string(1000 + ms % 1000).substr(1) + "," +
            std::to_string(prompt + 100 * (i % 5)) + ",0,8," +
            std::to_string(i) + "\n";
  }
  return rows;
}

// Two policies and two traces.
class CompareCommandTest : public ::testing::Test {
 protected:
  CompareCommandTest() {
    wide_ = folder_.Write("wide.toml", Policy("max = 2048\n"));
    narrow_ = folder_.Write("narrow.toml", Policy("max = 512\n"));
    args_.policies = wide_ + "," + narrow_;
    args_.traces = {folder_.Write("short.csv", Rows(20, 300, 900)),
                    folder_.Write("long.csv", Rows(10, 2000, 9000))};
  }

  json Runs(const Arguments& args, int code = kExitDone) const {
    Arguments with_json = args;
    with_json.json = true;
    const Outcome outcome = Call(RunCompare, with_json);
    EXPECT_THAT(outcome.status, ::tidegate::testing::IsOk());
    EXPECT_EQ(outcome.code, code);
    return outcome.out.empty() ? json() : json::parse(outcome.out)["runs"];
  }

  void ExpectBadInput(const Arguments& args, const std::string& message) const {
    EXPECT_THAT(
        Call(RunCompare, args).status,
        StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  }

  TemporaryFolder folder_;
  std::string wide_;
  std::string narrow_;
  Arguments args_;
};

TEST_F(CompareCommandTest, EveryPolicyMeetsEveryTrace) {
  const json runs = Runs(args_);
  ASSERT_EQ(runs.size(), 4u);
  std::vector<std::pair<std::string, std::string>> met;
  for (const json& run : runs) met.emplace_back(run["policy"], run["trace"]);
  EXPECT_THAT(
      met, ::testing::ElementsAre(::testing::Pair(wide_, args_.traces[0]),
                                  ::testing::Pair(narrow_, args_.traces[0]),
                                  ::testing::Pair(wide_, args_.traces[1]),
                                  ::testing::Pair(narrow_, args_.traces[1])));
  EXPECT_EQ(runs[0]["load"], 1);
  EXPECT_EQ(runs[0]["seed"], 0);
  EXPECT_EQ(runs[0]["ceiling_bytes"], std::int64_t{36} << 30);
  EXPECT_EQ(runs[0]["requests"], 20);
  EXPECT_EQ(runs[3]["requests"], 10);
  // 9,000 to 9,400 tokens: 5 chunks of 2,048, 18 or 19 of 512.
  EXPECT_EQ(runs[2]["chunks"], 50);
  EXPECT_EQ(runs[3]["chunks"], 184);
}

TEST_F(CompareCommandTest, ARunIsWhatSimulateSays) {
  const json runs = Runs(args_);
  Arguments single;
  single.policy = narrow_;
  single.trace = args_.traces[1];
  single.json = true;
  const json summary = json::parse(Call(RunSimulate, single).out);
  for (const auto& [key, value] : summary.items()) {
    EXPECT_EQ(runs[3][key], value) << key;
  }
}

TEST_F(CompareCommandTest, TheNumberOfThreadsChangesNothing) {
  args_.loads = "1,2";
  args_.seeds = "2";
  args_.jobs = "1";
  const json one = Runs(args_);
  EXPECT_EQ(one.size(), 16u);
  args_.jobs = "7";
  EXPECT_EQ(Runs(args_), one);
}

TEST_F(CompareCommandTest, CeilingsAndLoadsAreSwept) {
  args_.traces.pop_back();
  args_.ceiling = "20 GiB,36 GiB";
  args_.loads = "0.5,4";
  const json runs = Runs(args_);
  ASSERT_EQ(runs.size(), 8u);
  EXPECT_EQ(runs[0]["ceiling_bytes"], std::int64_t{20} << 30);
  EXPECT_EQ(runs[7]["ceiling_bytes"], std::int64_t{36} << 30);
  EXPECT_EQ(runs[0]["load"], 0.5);
  EXPECT_EQ(runs[2]["load"], 4);
  // The last of 20 requests, 300 ms apart, comes after 5.7 s.
  EXPECT_GT(runs[0]["span_s"], 11.4);
  EXPECT_LT(runs[2]["span_s"], runs[0]["span_s"]);
  EXPECT_GE(runs[2]["ttft_p99_s"], runs[0]["ttft_p99_s"]);
}

TEST_F(CompareCommandTest, SeedsShuffleTheGapsBetweenArrivals) {
  std::string rows = kHeader;
  for (int i = 0; i < 40; ++i) {
    rows +=
        std::to_string(i * i / 4) + ",40000,0,8," + std::to_string(i) + "\n";
  }
  args_.traces = {folder_.Write("gaps.csv", rows)};
  args_.policies = wide_;
  args_.seeds = "3";
  const json runs = Runs(args_);
  ASSERT_EQ(runs.size(), 3u);
  EXPECT_EQ(runs[1]["seed"], 1);
  EXPECT_NE(runs[0]["ttft_p90_s"], runs[1]["ttft_p90_s"]);
  EXPECT_NE(runs[1]["ttft_p90_s"], runs[2]["ttft_p90_s"]);
}

TEST_F(CompareCommandTest, OnlyTheFirstRequestsOfEachTrace) {
  args_.requests = "5";
  for (const json& run : Runs(args_)) EXPECT_EQ(run["requests"], 5);
}

TEST_F(CompareCommandTest, ServiceLevelsDecideWhatIsGood) {
  args_.slo_ttft = "0.0001";
  const json runs = Runs(args_);
  EXPECT_EQ(runs[0]["slo_ttft_s"], 0.0001);
  EXPECT_EQ(runs[0]["good_requests"], 0);
  EXPECT_GT(runs[0]["finished"], 0);
}

TEST_F(CompareCommandTest, ARunThatFailsLeavesTheOthers) {
  // Arrivals of the longer trace would lie centuries apart.
  args_.traces = {
      args_.traces[0],
      folder_.Write("one.csv", std::string(kHeader) + "0,500,0,8,1\n")};
  args_.loads = "0.000000001";
  args_.out = folder_.Path("out");
  const json runs = Runs(args_, kExitFailed);
  ASSERT_EQ(runs.size(), 4u);
  EXPECT_THAT(runs[0]["error"].get<std::string>(),
              HasSubstr("--load: expected arrivals within a century"));
  EXPECT_FALSE(runs[0].contains("requests"));
  EXPECT_FALSE(runs[2].contains("error"));
  EXPECT_EQ(runs[2]["finished"], 1);
  EXPECT_THAT(ReadWhole(*args_.out + "/report.html"),
              HasSubstr("expected arrivals within a century"));

  args_.out.reset();
  const Outcome text = Call(RunCompare, args_);
  EXPECT_EQ(text.code, kExitFailed);
  EXPECT_THAT(text.out,
              AllOf(HasSubstr("failed: trace short, policy wide: --load"),
                    HasSubstr("1 of 1")));
}

TEST_F(CompareCommandTest, OutHoldsTheRunsAndThePage) {
  args_.out = folder_.Path("deep/out");
  const json runs = Runs(args_);
  EXPECT_EQ(json::parse(ReadWhole(*args_.out + "/compare.json"))["runs"], runs);
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(*args_.out + "/runs")) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  EXPECT_THAT(names, ::testing::ElementsAre(
                         "00001-wide-short.json", "00002-narrow-short.json",
                         "00003-wide-long.json", "00004-narrow-long.json"));
  json run = json::parse(ReadWhole(*args_.out + "/runs/" + names[3]));
  const json records = run["records"];
  EXPECT_EQ(run["charts"].size(), 5u);
  for (const char* key : {"records", "charts", "inputs"}) run.erase(key);
  EXPECT_EQ(run, runs[3]);
  EXPECT_EQ(records["rows"].size(), 10u);
  EXPECT_EQ(records["columns"][5], "ttft_s");
  std::vector<double> ttft;
  for (const json& row : records["rows"]) ttft.push_back(row[5]);
  EXPECT_EQ(*std::max_element(ttft.begin(), ttft.end()), runs[3]["ttft_p99_s"]);
}

TEST_F(CompareCommandTest, RunsOneByOneGiveTheSameTableAndPage) {
  args_.out = folder_.Path("whole");
  args_.loads = "1,2";
  args_.seeds = "2";
  const std::string table = Call(RunCompare, args_).out;
  const std::string whole = *args_.out;

  args_.out = folder_.Path("parts");
  args_.resume = true;
  const auto tasks = CompareTasks(args_);
  ASSERT_THAT(tasks.status(), testing::IsOk());
  ASSERT_EQ(tasks->size(), 16u);
  std::filesystem::create_directories(*args_.out + "/runs");
  for (const CompareTask& task : *tasks) {
    const auto text = CompareOne(args_, task.at);
    ASSERT_THAT(text.status(), testing::IsOk());
    EXPECT_EQ(*text, ReadWhole(whole + "/runs/" + task.file));
    std::ofstream(*args_.out + "/runs/" + task.file) << *text;
  }
  EXPECT_TRUE(CompareTasks(args_)->empty());
  const std::string parts = Call(RunCompare, args_).out;
  EXPECT_EQ(parts.substr(0, parts.find("Written")),
            table.substr(0, table.find("Written")));
  for (const char* file : {"/compare.json", "/report.html"}) {
    EXPECT_EQ(ReadWhole(*args_.out + file), ReadWhole(whole + file)) << file;
  }
}

TEST_F(CompareCommandTest, ResumingMakesOnlyWhatIsMissingOrOfOtherInputs) {
  args_.out = folder_.Path("out");
  const json runs = Runs(args_);
  args_.resume = true;
  const auto missing = [&] {
    std::vector<std::string> files;
    const auto tasks = CompareTasks(args_);
    EXPECT_THAT(tasks.status(), testing::IsOk());
    for (const CompareTask& task : *tasks) files.push_back(task.file);
    return files;
  };
  EXPECT_THAT(missing(), ::testing::IsEmpty());
  const std::string first = *args_.out + "/runs/00001-wide-short.json";
  // Cut off, as by a full disk.
  std::filesystem::resize_file(first, std::filesystem::file_size(first) / 2);
  std::filesystem::remove(*args_.out + "/runs/00004-narrow-long.json");
  EXPECT_THAT(missing(), ::testing::ElementsAre("00001-wide-short.json",
                                                "00004-narrow-long.json"));
  EXPECT_EQ(Runs(args_), runs);
  EXPECT_THAT(missing(), ::testing::IsEmpty());

  std::ofstream(wide_, std::ios::app) << "\n# another policy now\n";
  EXPECT_THAT(missing(), ::testing::ElementsAre("00001-wide-short.json",
                                                "00003-wide-long.json"));
  args_.chunk_max = "512";
  EXPECT_EQ(missing().size(), 4u);
}

TEST_F(CompareCommandTest, ResumingWithoutAFolderIsAnError) {
  args_.resume = true;
  ExpectBadInput(args_, "--resume: expected --out beside it");
  const auto none = CompareOne(args_, 99);
  EXPECT_EQ(none.status().message(), "run: expected 0 to 3, got 99");
}

TEST_F(CompareCommandTest, TheTableHasAColumnForWhatVaries) {
  const Outcome plain = Call(RunCompare, args_);
  EXPECT_THAT(plain.out,
              AllOf(HasSubstr("trace"), HasSubstr("narrow"), HasSubstr("long"),
                    Not(HasSubstr("ceiling")), Not(HasSubstr("seed"))));
  args_.ceiling = "20 GiB,36 GiB";
  args_.traces.pop_back();
  EXPECT_THAT(Call(RunCompare, args_).out,
              AllOf(HasSubstr("ceiling"), HasSubstr("20.00 GiB"),
                    Not(HasSubstr("trace"))));
}

TEST_F(CompareCommandTest, ProgressIsDrawnOnRequestAndWiped) {
  args_.progress = true;
  const Outcome outcome = Call(RunCompare, args_);
  EXPECT_THAT(outcome.err, HasSubstr("%"));
  EXPECT_EQ(outcome.err.back(), '\r');
}

TEST_F(CompareCommandTest, ListsThatAreNoneAreErrors) {
  Arguments args = args_;
  args.policies = wide_ + ",";
  ExpectBadInput(args, "--policies: expected a list separated by commas");
  args.policies = wide_ + "," + wide_;
  ExpectBadInput(args, "--policies: expected each once");
  args.policies.reset();
  ExpectBadInput(args, "missing --policies");
  args = args_;
  args.traces.clear();
  ExpectBadInput(args, "missing --trace");
  args = args_;
  args.traces.push_back(args.traces[0]);
  ExpectBadInput(args, "--trace: expected each once");
}

TEST_F(CompareCommandTest, NumbersThatAreNoneAreErrors) {
  Arguments args = args_;
  args.loads = "1,0";
  ExpectBadInput(args, "--load: expected a number above 0, got \"0\"");
  args.loads = "1,x";
  ExpectBadInput(args, "--load: expected a number above 0, got \"x\"");
  args = args_;
  args.seeds = "0";
  ExpectBadInput(args, "--seeds: expected an integer from 1 to 10000");
  args.seeds = "9999";
  ExpectBadInput(args, "expected at most 10000 runs");
  args = args_;
  args.jobs = "-1";
  ExpectBadInput(args, "--jobs: expected an integer from 1 to 1024");
  args = args_;
  args.requests = "1e3";
  ExpectBadInput(args, "--requests: expected an integer from 1 to");
  args = args_;
  args.slo_itl = "-2";
  ExpectBadInput(args, "--slo-itl: expected a number above 0, got \"-2\"");
}

TEST_F(CompareCommandTest, AnErrorOfAPolicyNamesItAndItsCeiling) {
  args_.ceiling = "36 GiB,much";
  ExpectBadInput(args_, wide_ + " with a ceiling of much: --ceiling: expected");
}

TEST_F(CompareCommandTest, APolicyFileThatDoesNotExistIsNotFound) {
  args_.policies = wide_ + ",nowhere.toml";
  EXPECT_THAT(Call(RunCompare, args_).status,
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("nowhere.toml")));
}

TEST(ComparedPolicyTest, AnUnknownRivalIsAnErrorThatSaysWhatThereIs) {
  EXPECT_THAT(
      LoadComparedPolicy("rival:no-such-engine"),
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("--policies: rival"),
                     HasSubstr("no-such-engine"), HasSubstr("expected"))));
}

TEST(ComparedPolicyTest, EveryRivalThatIsNamedCanBeLoaded) {
  for (const std::string_view name : RivalNames()) {
    const std::string full = "rival:" + std::string(name);
    ASSERT_OK_AND_ASSIGN(const NamedPolicy policy, LoadComparedPolicy(full));
    EXPECT_EQ(policy.name, full);
    EXPECT_TRUE(policy.rival != nullptr);
  }
}

}  // namespace
}  // namespace tidegate::tools
