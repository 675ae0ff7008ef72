// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <chrono>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>

#include "tests/testing/command.h"
#include "tests/testing/matchers.h"
#include "tests/testing/trace_checker.h"
#include "tools/arguments.h"
#include "tools/progress.h"

namespace tidegate::tools {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::tidegate::testing::Call;
using ::tidegate::testing::Outcome;
using ::tidegate::testing::ReadWhole;
using ::tidegate::testing::StatusIs;
using ::tidegate::testing::TemporaryFolder;

// The second request shares 1,280 tokens with the first; the third fits no
// device of 36 GiB.
constexpr char kTrace[] =
    "arrival_s,prompt_tokens,cached_tokens,output_tokens,session\n"
    "0,1500,0,10,1\n"
    "10,3000,1280,10,1\n"
    "20,400000,0,10,2\n";

Arguments Llama(const TemporaryFolder& folder) {
  Arguments args;
  args.model = TIDEGATE_SOURCE_DIR "/tests/data/configs/llama-3.1-8b.json";
  args.engine = "mlx@0.31.2/metal";
  args.ceiling = "36 GiB";
  args.base = "16 GiB";
  args.trace = folder.Write("trace.csv", kTrace);
  return args;
}

nlohmann::json Json(Arguments args) {
  args.json = true;
  const Outcome outcome = Call(RunSimulate, args);
  EXPECT_THAT(outcome.status, ::tidegate::testing::IsOk());
  EXPECT_EQ(outcome.code, kExitDone);
  return nlohmann::json::parse(outcome.out);
}

TEST(SimulateCommandTest, JsonCountsWhatCameOfEveryRequest) {
  const TemporaryFolder folder;
  const nlohmann::json json = Json(Llama(folder));
  EXPECT_EQ(json["requests"], 3);
  EXPECT_EQ(json["finished"], 2);
  EXPECT_EQ(json["rejected"], 1);
  EXPECT_EQ(json["cancelled"], 0);
  EXPECT_EQ(json["out_of_memory"], 0);
  EXPECT_EQ(json["refusals"], nlohmann::json({{"too_large", 1}}));
  // 1,500 in one chunk, 3,000 in two.
  EXPECT_EQ(json["chunks"], 3);
  EXPECT_EQ(json["computed_tokens"], 4500);
  EXPECT_GT(json["tokens_per_s"], 0.0);
  EXPECT_GT(json["ttft_p50_s"], 0.0);
  EXPECT_GE(json["ttft_p99_s"], json["ttft_p50_s"]);
  EXPECT_GT(json["peak_bytes"], std::int64_t{16} << 30);
  EXPECT_EQ(json["ceiling_bytes"], std::int64_t{36} << 30);
}

TEST(SimulateCommandTest, ThePolicyFileSaysHowLongStepsTake) {
  const TemporaryFolder folder;
  Arguments args = Llama(folder);
  folder.Write("times.csv",
               "part,n,kv_len,decodes,decode_kv_len,time_us\n"
               "step,1,1,,,2000000\nstep,2048,2048,,,2000000\n");
  args.policy = folder.Write(
      "p.toml", "[time]\nuse = \"table\"\nprofile = \"times.csv\"\n");
  // Two seconds a chunk: 1,500 tokens take one, 3,000 two.
  const nlohmann::json json = Json(args);
  EXPECT_NEAR(json["ttft_p50_s"], 2.0, 0.01);
  EXPECT_NEAR(json["ttft_p99_s"], 4.0, 0.01);
}

TEST(SimulateCommandTest, AMistakeInAProfileIsNamed) {
  const TemporaryFolder folder;
  Arguments args = Llama(folder);
  const std::string profile =
      folder.Write("times.csv",
                   "part,n,kv_len,decodes,decode_kv_len,time_us\n"
                   "step,64,32,,,5\n");
  args.policy = folder.Write(
      "p.toml", "[time]\nuse = \"table\"\nprofile = \"times.csv\"\n");
  EXPECT_THAT(Call(RunSimulate, args).status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       profile + ":2: column kv_len: expected at least n, "
                                 "which is 64, got \"32\""));
}

TEST(SimulateCommandTest, ThePolicyFileSaysHowLargeTheCacheIs) {
  const TemporaryFolder folder;
  Arguments args = Llama(folder);
  EXPECT_EQ(Json(args)["cache_hit_tokens"], 0);
  args.policy =
      folder.Write("p.toml", "[cache]\ncapacity = \"4 GiB\"\nblock = 256\n");
  const nlohmann::json json = Json(args);
  EXPECT_EQ(json["cache_hit_tokens"], 1280);
  EXPECT_EQ(json["computed_tokens"], 4500 - 1280);
}

TEST(SimulateCommandTest, TheCeilingOfTheCommandLineWins) {
  const TemporaryFolder folder;
  Arguments args = Llama(folder);
  args.policy = folder.Write("p.toml", "[memory]\nceiling = \"36 GiB\"\n");
  args.ceiling = "80 GiB";
  const nlohmann::json json = Json(args);
  EXPECT_EQ(json["rejected"], 0);
  EXPECT_EQ(json["ceiling_bytes"], std::int64_t{80} << 30);
}

TEST(SimulateCommandTest, TheSameTraceGivesTheSameBytes) {
  const TemporaryFolder folder;
  Arguments args = Llama(folder);
  for (const char* name : {"a", "b"}) {
    args.out = folder.Path(name);
    EXPECT_EQ(Call(RunSimulate, args).code, kExitDone);
  }
  for (const char* file : {"summary.json", "events.jsonl", "timeline.json"}) {
    const std::string first = ReadWhole(folder.Path(std::string("a/") + file));
    EXPECT_THAT(first, Not(IsEmpty()));
    EXPECT_EQ(first, ReadWhole(folder.Path(std::string("b/") + file)));
  }
}

TEST(SimulateCommandTest, OutHoldsTheSummaryAndTheEventLog) {
  const TemporaryFolder folder;
  Arguments args = Llama(folder);
  args.out = folder.Path("runs/first");
  const nlohmann::json printed = Json(args);
  EXPECT_EQ(nlohmann::json::parse(ReadWhole(*args.out + "/summary.json")),
            printed);
  std::istringstream lines(ReadWhole(*args.out + "/events.jsonl"));
  std::int64_t arrivals = 0;
  std::int64_t last = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto event = nlohmann::json::parse(line);
    if (event.value("event", "") == "arrive") ++arrivals;
    EXPECT_GE(event["t"].get<std::int64_t>(), last);
    last = event["t"];
  }
  EXPECT_EQ(arrivals, 3);
}

TEST(SimulateCommandTest, OutHoldsATimelineOfEveryRequestAndStep) {
  const TemporaryFolder folder;
  Arguments args = Llama(folder);
  args.out = folder.Path("run");
  const nlohmann::json printed = Json(args);
  const ::tidegate::testing::CheckedTrace trace(
      ReadWhole(*args.out + "/timeline.json"));
  for (const char* finished : {"request 1", "request 2"}) {
    EXPECT_THAT(trace.Story(finished),
                ElementsAre("waiting", "admit", "prefill", "decoding"));
    EXPECT_EQ(trace.Slice(finished).args["outcome"], "finished");
    EXPECT_EQ(trace.Slice(finished).args["generated_tokens"], 10);
  }
  EXPECT_THAT(trace.Story("request 3"), ElementsAre("waiting", "reject"));
  // One chunk of 1,500 tokens, two of 3,000.
  EXPECT_THAT(trace.Names("device"),
              ElementsAre("prefill 1,500", "prefill 2,048", "prefill 952"));
  EXPECT_EQ(trace.Slice("prefill 952").args["kv_len"], 3000);
  // Queue and claims of the scheduler's own, not of the log's.
  EXPECT_THAT(trace.counters.at("claims"), ::testing::Contains(Gt(0)));
  EXPECT_EQ(trace.counters.at("claims").back(), 0);
  EXPECT_EQ(trace.counters.at("live").back(), std::int64_t{16} << 30);
}

TEST(SimulateCommandTest, AProbeIsSaidToHaveNoEffect) {
  const TemporaryFolder folder;
  Arguments args = Llama(folder);
  for (const auto& [probe, warned] :
       {std::pair("nvml", true), std::pair("none", false)}) {
    args.policy = folder.Write(
        "p.toml", "[memory]\nprobe = \"" + std::string(probe) + "\"\n");
    const Outcome outcome = Call(RunSimulate, args);
    EXPECT_EQ(outcome.code, kExitDone);
    EXPECT_EQ(outcome.err,
              warned ? "warning: memory.probe: \"nvml\" has no effect here: a "
                       "service reads it, this command reads no device and "
                       "takes live memory before any request from "
                       "memory.base\n"
                     : "");
  }
}

TEST(SimulateCommandTest, AnOutputFolderThatCannotBeIsAnError) {
  const TemporaryFolder folder;
  Arguments args = Llama(folder);
  args.out = folder.Path("trace.csv");
  EXPECT_THAT(Call(RunSimulate, args).status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("--out: expected a folder, cannot create " +
                                 *args.out)));
}

TEST(SimulateCommandTest, TextIsATableWithTheRefusals) {
  const TemporaryFolder folder;
  const Outcome outcome = Call(RunSimulate, Llama(folder));
  EXPECT_EQ(outcome.err, "");
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("  requests"), HasSubstr("1 too_large"),
                    HasSubstr("of the ceiling of 36.00 GiB")));
}

TEST(SimulateCommandTest, ProgressIsDrawnOnRequestAndWiped) {
  const TemporaryFolder folder;
  Arguments args = Llama(folder);
  args.progress = true;
  const Outcome outcome = Call(RunSimulate, args);
  EXPECT_THAT(outcome.err, HasSubstr("%"));
  EXPECT_EQ(outcome.err.back(), '\r');
}

TEST(ProgressLineTest, ShowsPercentAndTheTimeThatIsLeft) {
  using Seconds = std::chrono::duration<double>;
  EXPECT_EQ(ProgressLine(0, Seconds(0)),
            "[------------------------------]   0 %");
  EXPECT_EQ(ProgressLine(0.5, Seconds(12)),
            "[###############---------------]  50 %, 12 s left");
  EXPECT_EQ(ProgressLine(0.1, Seconds(100)),
            "[###---------------------------]  10 %, 15 min 0 s left");
  EXPECT_EQ(ProgressLine(0.25, Seconds(3600)),
            "[#######-----------------------]  25 %, 3 h 0 min left");
  EXPECT_EQ(ProgressLine(1, Seconds(3)),
            "[##############################] 100 %");
}

}  // namespace
}  // namespace tidegate::tools
