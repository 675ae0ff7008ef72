// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <nlohmann/json.hpp>
#include <string>

#include "tests/testing/command.h"
#include "tests/testing/matchers.h"
#include "tools/arguments.h"

namespace tidegate::tools {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::tidegate::testing::Call;
using ::tidegate::testing::Outcome;
using ::tidegate::testing::ReadWhole;
using ::tidegate::testing::StatusIs;
using ::tidegate::testing::TemporaryFolder;

const std::string kConfig =
    TIDEGATE_SOURCE_DIR "/tests/data/configs/gemma-3-27b.json";

std::string Policy(const std::string& config, const std::string& option) {
  return "[model]\nconfig = \"" + config +
         "\"\n[engine]\nname = \"mlx\"\nversion = \"0.31.2\"\ndevice = "
         "\"metal\"\noptions = { kv_cache = \"" +
         option +
         "\" }\n[memory]\nceiling = \"36 GiB\"\nbase = \"16 GiB\"\n"
         "[chunk]\nmax = \"1k\"\nfloor = 128\n";
}

Outcome Check(const std::string& file, bool json = false) {
  Arguments args;
  args.files = {file};
  args.json = json;
  return Call(RunPolicyCheck, args);
}

TEST(PolicyCommandTest, ACeilingBelowTheWeightsIsAnError) {
  const TemporaryFolder folder;
  folder.Write("config.json", ReadWhole(kConfig));
  folder.Write("model.safetensors.index.json",
               "{\"metadata\": {\"total_size\": 54864830464}, "
               "\"weight_map\": {}}");
  const std::string file = folder.Write(
      "p.toml",
      "[model]\nconfig = \"config.json\"\n[engine]\nname = \"mlx\"\n"
      "version = \"0.31.2\"\ndevice = \"metal\"\n"
      "[memory]\nceiling = \"36 GiB\"\n");
  const Outcome outcome = Check(file);
  EXPECT_THAT(outcome.status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr(file), HasSubstr("36.00 GiB"),
                             HasSubstr("51.10 GiB"))));
}

TEST(PolicyCommandTest, SaysWhatIsInEffect) {
  const TemporaryFolder folder;
  const std::string file = folder.Write("p.toml", Policy(kConfig, "prealloc"));
  const Outcome outcome = Check(file);
  EXPECT_EQ(outcome.code, kExitDone);
  EXPECT_EQ(outcome.err, "");
  EXPECT_THAT(
      outcome.out,
      AllOf(HasSubstr(file + ": no complaints\n"),
            HasSubstr("gemma3_text, 62 layers"),
            HasSubstr("mlx@0.31.2/metal, kv_cache = prealloc"),
            HasSubstr("36.00 GiB"),
            HasSubstr("throttle, at most 1,024 tokens, floor 128, quantum 64"),
            HasSubstr("reserve"), HasSubstr("fcfs"),
            HasSubstr("pool, then cache, then model, then preempt")));
}

TEST(PolicyCommandTest, AProbeIsASettingAndNoComplaint) {
  const TemporaryFolder folder;
  const std::string file =
      folder.Write("p.toml", "[memory]\nprobe = \"nvml\"\n");
  const Outcome outcome = Check(file, true);
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["warnings"], nlohmann::json::array());
  EXPECT_THAT(Check(file).out, HasSubstr("nvml"));
}

TEST(PolicyCommandTest, JsonHasSettingsAndWarnings) {
  const TemporaryFolder folder;
  const auto json = nlohmann::json::parse(
      Check(folder.Write("p.toml", Policy(kConfig, "grow")), true).out);
  EXPECT_EQ(json["settings"]["ceiling"], "36.00 GiB");
  EXPECT_EQ(json["settings"]["largest_allocation"], "no limit");
  EXPECT_EQ(json["settings"]["prefix_cache"], "none");
  EXPECT_EQ(json["warnings"], nlohmann::json::array());
}

TEST(PolicyCommandTest, AProfileOfTimesIsReadToo) {
  const TemporaryFolder folder;
  const std::string text = "[time]\nuse = \"table\"\nprofile = \"times.csv\"\n";
  const std::string file = folder.Write("p.toml", text);
  const Outcome missing = Check(file);
  EXPECT_EQ(missing.code, kExitDone);
  EXPECT_THAT(missing.err, HasSubstr("checked without it: "));
  EXPECT_THAT(missing.err, HasSubstr("cannot read the time profile"));
  folder.Write("times.csv", "part,n\n");
  EXPECT_THAT(Check(file).status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("times.csv:1: column kv_len: expected")));
}

TEST(PolicyCommandTest, SettingsWithoutEffectAreWarnings) {
  const TemporaryFolder folder;
  const Outcome outcome =
      Check(folder.Write("p.toml", "[chunk]\nmax = 1024\nfloor = 2048\n"));
  EXPECT_EQ(outcome.code, kExitDone);
  EXPECT_THAT(outcome.err, HasSubstr("p.toml:3:9: chunk.floor: has no effect"));
  EXPECT_THAT(outcome.out, HasSubstr("valid, with 1 warning\n"));
}

TEST(PolicyCommandTest, AModelThatLiesElsewhereIsAWarning) {
  const TemporaryFolder folder;
  const Outcome outcome =
      Check(folder.Write("p.toml", Policy("elsewhere.json", "grow")));
  EXPECT_EQ(outcome.code, kExitDone);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("checked without it"),
                                 HasSubstr("elsewhere.json")));
}

TEST(PolicyCommandTest, AnOptionThatTheEngineDoesNotHaveIsAnError) {
  const TemporaryFolder folder;
  const std::string file = folder.Write("p.toml", Policy(kConfig, "prealoc"));
  EXPECT_THAT(Check(file).status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr(file), HasSubstr("kv_cache"),
                             HasSubstr("expected one of grow, concat"))));
}

TEST(PolicyCommandTest, AFileThatIsAbsentIsAnError) {
  EXPECT_THAT(
      Check("/nonexistent/p.toml").status,
      StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nonexistent/p.toml")));
}

}  // namespace
}  // namespace tidegate::tools
