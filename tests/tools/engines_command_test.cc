// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <nlohmann/json.hpp>
#include <string>

#include "tests/testing/command.h"
#include "tests/testing/matchers.h"
#include "tidegate/catalogue.h"
#include "tools/arguments.h"

namespace tidegate::tools {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::tidegate::testing::Call;
using ::tidegate::testing::Outcome;
using ::tidegate::testing::StatusIs;
using ::tidegate::testing::TemporaryFolder;

nlohmann::json Json(Arguments args) {
  args.json = true;
  const Outcome outcome = Call(RunEngines, args);
  EXPECT_EQ(outcome.code, kExitDone);
  return nlohmann::json::parse(outcome.out);
}

TEST(EnginesCommandTest, JsonHoldsTheWholeCatalogue) {
  const nlohmann::json json = Json({});
  const auto engines = Catalogue::Builtin().engines();
  ASSERT_EQ(json["engines"].size(), engines.size());
  for (std::size_t i = 0; i < engines.size(); ++i) {
    const nlohmann::json& engine = json["engines"][i];
    EXPECT_EQ(engine["name"], engines[i].name);
    EXPECT_EQ(engine["newest"], engines[i].newest);
    EXPECT_EQ(engine["devices"], nlohmann::json(engines[i].devices));
    ASSERT_EQ(engine["options"].size(), engines[i].options.size());
    ASSERT_EQ(engine["routes"].size(), engines[i].rules.size());
    for (const auto& option : engine["options"]) {
      EXPECT_TRUE(option["doc"].is_string());
      EXPECT_TRUE(option["default"].is_string());
      EXPECT_TRUE(option.contains("values") || option.contains("max"));
    }
    for (const auto& route : engine["routes"]) {
      EXPECT_NE(route["kernel"], "");
      EXPECT_NE(route["conditions"], "");
      EXPECT_NE(route["source"], "");
    }
  }
}

TEST(EnginesCommandTest, ANameOrAnAliasPicksOne) {
  Arguments args;
  for (const char* name : {"mlx", "mlx-lm"}) {
    args.name = name;
    const nlohmann::json json = Json(args);
    ASSERT_EQ(json["engines"].size(), 1);
    EXPECT_EQ(json["engines"][0]["name"], "mlx");
  }
}

TEST(EnginesCommandTest, AnUnknownNameIsAnErrorWithASuggestion) {
  Arguments args;
  args.name = "mlxx";
  EXPECT_THAT(Call(RunEngines, args).status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("mlx, torch, llama.cpp"),
                             HasSubstr("did you mean \"mlx\"?"))));
}

TEST(EnginesCommandTest, TextListsEnginesAndPointsAtTheRest) {
  EXPECT_THAT(Call(RunEngines, {}).out,
              AllOf(HasSubstr("0.20 to 0.32.2"), HasSubstr("llama.cpp"),
                    HasSubstr("tidegate engines NAME")));
}

TEST(EnginesCommandTest, TextOfOneEngineHasOptionsRoutesAndSources) {
  Arguments args;
  args.name = "llama.cpp";
  EXPECT_THAT(Call(RunEngines, args).out,
              AllOf(HasSubstr("  flash_attn: true | false (default true)\n"),
                    HasSubstr("  n_ubatch: 0 to 100,000,000 (default 0)\n"),
                    HasSubstr("  llamacpp.unfused\n      flash_attn = false\n"),
                    HasSubstr("  llamacpp.flash\n      every call\n"),
                    HasSubstr("source: src/llama-graph.cpp, build_attn_mha")));
}

TEST(EnginesCommandTest, LinesStayReadable) {
  Arguments args;
  args.name = "mlx";
  std::istringstream lines(Call(RunEngines, args).out);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 100) << line;
  }
}

TEST(EnginesCommandTest, ACatalogueFileReplacesItsEngine) {
  const TemporaryFolder folder;
  Arguments args;
  args.name = "mlx";
  args.catalogue = folder.Write(
      "mine.toml",
      "[engine]\nname = \"mlx\"\nlaw = \"mlx\"\noldest = \"1.0\"\nnewest = "
      "\"2.0\"\ndevices = [\"cpu\"]\n[[rule]]\nkernel = \"mlx.full\"\nsource "
      "= \"a test\"\n");
  const nlohmann::json json = Json(args);
  EXPECT_EQ(json["engines"][0]["newest"], "2.0");
  EXPECT_EQ(json["engines"][0]["routes"].size(), 1);
}

}  // namespace
}  // namespace tidegate::tools
