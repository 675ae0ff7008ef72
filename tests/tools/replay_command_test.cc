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
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::tidegate::testing::Call;
using ::tidegate::testing::Outcome;
using ::tidegate::testing::ReadWhole;
using ::tidegate::testing::StatusIs;
using ::tidegate::testing::TemporaryFolder;

const std::string kScenarios =
    TIDEGATE_SOURCE_DIR "/tests/data/scenarios/price_formulas.jsonl";

// The first scenario of the file, and the same with another answer.
std::string FirstLine() {
  const std::string text = ReadWhole(kScenarios);
  return text.substr(0, text.find('\n') + 1);
}
std::string WrongLine() {
  auto json = nlohmann::ordered_json::parse(FirstLine());
  json["id"] = "wrong-on-purpose";
  // Two bytes for a price of gigabytes.
  json["expect"]["prices"][0]["at_least"] = 1;
  json["expect"]["prices"][0]["at_most"] = 2;
  return json.dump() + "\n";
}

Arguments Files(const std::vector<std::string>& files) {
  Arguments args;
  args.files = files;
  return args;
}

TEST(ReplayCommandTest, EndsWithTheCountsAndExitsWithZero) {
  const Outcome outcome = Call(RunReplay, Files({kScenarios}));
  EXPECT_EQ(outcome.code, kExitDone);
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("PASS "), EndsWith("10 passed, 0 failed\n")));
}

TEST(ReplayCommandTest, AFailedScenarioSaysWhatCameAndExitsWithOne) {
  const TemporaryFolder folder;
  const std::string file =
      folder.Write("mixed.jsonl", FirstLine() + WrongLine());
  const Outcome outcome = Call(RunReplay, Files({file}));
  EXPECT_EQ(outcome.code, kExitFailed);
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("FAIL wrong-on-purpose: "),
                                 EndsWith("1 passed, 1 failed\n")));
}

TEST(ReplayCommandTest, JsonListsEveryScenario) {
  const TemporaryFolder folder;
  Arguments args =
      Files({folder.Write("mixed.jsonl", FirstLine() + WrongLine())});
  args.json = true;
  const Outcome outcome = Call(RunReplay, args);
  EXPECT_EQ(outcome.code, kExitFailed);
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["passed"], 1);
  EXPECT_EQ(json["failed"], 1);
  ASSERT_EQ(json["scenarios"].size(), 2);
  EXPECT_EQ(json["scenarios"][0]["passed"], true);
  EXPECT_EQ(json["scenarios"][1]["id"], "wrong-on-purpose");
  EXPECT_EQ(json["scenarios"][1]["passed"], false);
  EXPECT_NE(json["scenarios"][1]["message"], "");
}

TEST(ReplayCommandTest, NothingToReplayIsAnError) {
  EXPECT_THAT(Call(RunReplay, {}).status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("nothing to replay")));
}

}  // namespace
}  // namespace tidegate::tools
