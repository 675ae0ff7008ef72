// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The real binary: help, version, exit codes, and where output goes.

#include <nlohmann/json.hpp>
#include <string>

#include "tests/testing/command.h"
#include "tests/testing/matchers.h"

namespace tidegate::tools {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::tidegate::testing::Outcome;
using ::tidegate::testing::RunBinary;
using ::tidegate::testing::TemporaryFolder;

const std::string kModel =
    TIDEGATE_SOURCE_DIR "/tests/data/configs/llama-3.1-8b.json";

TEST(CommandLineTest, VersionIsOneLine) {
  const TemporaryFolder folder;
  const Outcome outcome = RunBinary(folder, {"--version"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.out, MatchesRegex("tidegate [0-9]+\\.[0-9]+\\.[0-9]+\n"));
  EXPECT_THAT(outcome.err, IsEmpty());
}

TEST(CommandLineTest, HelpNamesEveryVerbAndTheExitCodes) {
  const TemporaryFolder folder;
  const Outcome outcome = RunBinary(folder, {"--help"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.err, IsEmpty());
  for (const char* verb : {"price", "plan", "explain", "simulate", "compare",
                           "replay", "validate", "engines", "policy"}) {
    EXPECT_THAT(outcome.out, HasSubstr(std::string("\n  ") + verb + " "));
  }
  EXPECT_THAT(outcome.out, HasSubstr("3 refused"));
}

TEST(CommandLineTest, EveryVerbHasHelpWithAnExample) {
  const TemporaryFolder folder;
  for (const char* verb : {"price", "plan", "explain", "simulate", "compare",
                           "replay", "validate", "engines"}) {
    const Outcome outcome = RunBinary(folder, {verb, "--help"});
    EXPECT_EQ(outcome.code, 0) << verb;
    EXPECT_THAT(outcome.out,
                AllOf(HasSubstr("--json"),
                      HasSubstr(std::string("Example:\n  tidegate ") + verb)));
  }
  EXPECT_THAT(RunBinary(folder, {"policy", "check", "--help"}).out,
              HasSubstr("Example:\n  tidegate policy check"));
}

TEST(CommandLineTest, JsonMayStandBeforeOrAfterTheVerb) {
  const TemporaryFolder folder;
  const Outcome before = RunBinary(folder, {"--json", "engines", "mlx"});
  const Outcome after = RunBinary(folder, {"engines", "mlx", "--json"});
  EXPECT_EQ(before.code, 0);
  EXPECT_EQ(before.out, after.out);
  EXPECT_EQ(nlohmann::json::parse(before.out)["engines"][0]["name"], "mlx");
}

TEST(CommandLineTest, FlagsReachTheVerb) {
  const TemporaryFolder folder;
  const Outcome outcome = RunBinary(
      folder, {"price", "--model=" + kModel, "--engine", "mlx@0.31.2/metal",
               "--engine-option", "training=true", "--engine-option",
               "kv_cache=prealloc", "--n", "2k", "--kv-len", "32768", "--mask",
               "array", "--kv-dtype", "fp8", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["n"], 2048);
  EXPECT_EQ(json["mask"], "array");
  EXPECT_EQ(json["route"], "mlx.unfused");
  // Allocated beforehand, whatever its type.
  EXPECT_EQ(json["resident_bytes"], 0);
}

TEST(CommandLineTest, ARefusedPromptExitsWithThree) {
  const TemporaryFolder folder;
  for (const char* verb : {"plan", "explain"}) {
    const Outcome outcome = RunBinary(
        folder, {verb, "--model", kModel, "--engine", "mlx@0.31.2/metal",
                 "--prompt", "128k", "--ceiling", "1 GiB", "--base", "0"});
    EXPECT_EQ(outcome.code, 3) << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("Refused (too_large)"));
  }
}

TEST(CommandLineTest, AnEngineThatRefusesTheCallExitsWithOne) {
  const TemporaryFolder folder;
  const Outcome outcome =
      RunBinary(folder, {"price", "--model", kModel, "--engine",
                         "torch@2.11.0/cuda-sm90", "--engine-option",
                         "attention=flash", "--n", "5", "--mask", "bool"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("tidegate price: "));
}

TEST(CommandLineTest, WarningsGoToStderrAndJsonStaysPure) {
  const TemporaryFolder folder;
  const Outcome outcome =
      RunBinary(folder, {"price", "--model", kModel, "--engine", "other@1/gpu",
                         "--n", "5", "--json"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("warning: "));
  EXPECT_EQ(nlohmann::json::parse(outcome.out)["assumed"], true);
}

TEST(CommandLineTest, AFullDiskIsAFailure) {
  const TemporaryFolder folder;
  const std::string command = std::string("'") + TIDEGATE_BINARY +
                              "' engines > /dev/full 2> '" +
                              folder.Path("err") + "'";
  const int status = std::system(command.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_THAT(::tidegate::testing::ReadWhole(folder.Path("err")),
              HasSubstr("cannot write to the standard output"));
}

}  // namespace
}  // namespace tidegate::tools
