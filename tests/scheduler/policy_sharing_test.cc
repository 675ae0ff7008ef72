// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Policies of several files, models, tenants and machines.

#include <map>
#include <string>

#include "estimators/text.h"
#include "tests/testing/matchers.h"
#include "tidegate/policy_file.h"
#include "tidegate/tenants.h"

namespace tidegate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::tidegate::testing::StatusIs;

using Texts = std::map<std::string, std::string>;

absl::StatusOr<PolicyFile> Read(const std::string& text,
                                const Texts& files = {},
                                const Texts& variables = {}) {
  PolicySources sources;
  sources.read = [&](const std::string& path) -> absl::StatusOr<std::string> {
    const auto found = files.find(path);
    if (found == files.end()) {
      return absl::NotFoundError("cannot read " + path);
    }
    return found->second;
  };
  sources.environment =
      [&](std::string_view name) -> std::optional<std::string> {
    const auto found = variables.find(std::string(name));
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
  return ParsePolicyFile(text, "dir/p.toml", sources);
}

TEST(PolicySharingTest, WhatIncludesReplacesWhatIsIncludedKeyByKey) {
  ASSERT_OK_AND_ASSIGN(
      const PolicyFile policy,
      Read("include = [\"a.toml\", \"b.toml\"]\n[chunk]\nmax = 512\n",
           {{"dir/a.toml",
             "[memory]\nceiling = 100\nheadroom = 1\n[chunk]\nmax = 256\n"},
            {"dir/b.toml", "[memory]\nceiling = 200\n"}}));
  EXPECT_EQ(policy.ceiling, 200);
  EXPECT_EQ(policy.headroom, 1);
  EXPECT_EQ(policy.chunk_max, 512);
  EXPECT_THAT(policy.files,
              ElementsAre("dir/p.toml", "dir/a.toml", "dir/b.toml"));
}

TEST(PolicySharingTest, APathStartsAtTheFileInWhichItStands) {
  ASSERT_OK_AND_ASSIGN(
      const PolicyFile policy,
      Read("include = \"sub/a.toml\"\n",
           {{"dir/sub/a.toml", "[model]\nconfig = \"config.json\"\n"}}));
  EXPECT_EQ(policy.model_config, "dir/sub/config.json");
}

TEST(PolicySharingTest, AVariableGivesTextsSizesAndCounts) {
  ASSERT_OK_AND_ASSIGN(
      const PolicyFile policy,
      Read("[memory]\nceiling = \"${C}\"\nbase = \"${B:-1 GiB}\"\n"
           "[admission]\nqueue_max = \"${Q}\"\n"
           "[model]\nconfig = \"/m/${M}/$${x}.json\"\n",
           {}, {{"C", "36 GiB"}, {"Q", "7"}, {"M", "llama"}}));
  EXPECT_EQ(policy.ceiling, Bytes{36} << 30);
  EXPECT_EQ(policy.base, Bytes{1} << 30);
  EXPECT_EQ(policy.queue_max, 7);
  EXPECT_EQ(policy.model_config, "/m/llama/${x}.json");
}

constexpr char kOverrides[] = R"([memory]
ceiling = "10 GiB"
[chunk]
max = 2048
[[model_override]]
match = { model_type = "gemma*" }
[model_override.chunk]
max = 1024
[[model_override]]
match = { name = "*27b*", layers = 62 }
[model_override.chunk]
max = 512
)";

TEST(PolicySharingTest, OfOverridesThatMatchTheLastOneWins) {
  ASSERT_OK_AND_ASSIGN(const PolicyFile policy, Read(kOverrides));
  EXPECT_EQ(policy.chunk_max, 2048);
  ASSERT_OK_AND_ASSIGN(const PolicyFile both,
                       PolicyForModel(policy, {.name = "gemma-3-27b",
                                               .model_type = "gemma3_text",
                                               .layers = 62}));
  EXPECT_EQ(both.chunk_max, 512);
  EXPECT_EQ(both.ceiling, Bytes{10} << 30);
  EXPECT_THAT(both.warnings, IsEmpty());
}

TEST(PolicySharingTest, AnOverrideThatMatchesNothingIsAWarning) {
  ASSERT_OK_AND_ASSIGN(const PolicyFile policy, Read(kOverrides));
  ASSERT_OK_AND_ASSIGN(
      const PolicyFile one,
      PolicyForModel(policy,
                     {.name = "x", .model_type = "gemma3_text", .layers = 62}));
  EXPECT_EQ(one.chunk_max, 1024);
  EXPECT_THAT(
      one.warnings,
      ElementsAre(
          "dir/p.toml:9:1: model_override[1]: matches no model here: this one "
          "is \"x\", model_type \"gemma3_text\", 62 layers"));
}

TEST(PolicySharingTest, ATenantTakesFromAllOthersWhatItLeavesOpen) {
  ASSERT_OK_AND_ASSIGN(
      const PolicyFile policy,
      Read("[order]\nuse = \"fair\"\n[tenant.acme]\nweight = 4\n"
           "[tenant.\"*\"]\nqueue_max = 8\n"));
  EXPECT_EQ(policy.tenants.Of("acme"),
            (TenantLimits{.weight = 4, .queue_max = 8}));
  EXPECT_EQ(policy.tenants.Of("zeta"), TenantLimits{.queue_max = 8});
  EXPECT_EQ(policy.tenants.Of(""), TenantLimits{});
  EXPECT_THAT(policy.warnings, IsEmpty());
}

TEST(PolicySharingTest, AWeightWithoutFairOrderIsAWarning) {
  ASSERT_OK_AND_ASSIGN(const PolicyFile policy,
                       Read("[tenant.acme]\nweight = 4\n"));
  EXPECT_THAT(policy.warnings,
              ElementsAre("dir/p.toml:2:10: tenant.acme.weight: has no effect: "
                          "order.use is fcfs"));
}

struct Broken {
  const char* name;
  const char* text;
  const char* message;
};

class BrokenSharingTest : public ::testing::TestWithParam<Broken> {};

TEST_P(BrokenSharingTest, IsRefusedWithItsFileAndPlace) {
  const Texts files = {{"dir/loop.toml", "include = [\"p.toml\"]\n"},
                       {"dir/self.toml", "include = [\"self.toml\"]\n"},
                       {"dir/typo.toml", "\n[memory]\nceling = 1\n"},
                       {"dir/text.toml", "[chunk]\nmax = \"wide\"\n"},
                       {"dir/low.toml", "[memory]\nceiling = 5\n"}};
  const absl::Status status =
      Read(GetParam().text, files, {{"BAD", "5 apples"}}).status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().message));
}

const Broken kBroken[] = {
    {"ACycleWithItsChain", "include = [\"loop.toml\"]\n",
     "dir/loop.toml:1:12: include: expected no cycle, got dir/p.toml includes "
     "dir/loop.toml includes dir/p.toml"},
    {"AFileThatIncludesItself", "include = [\"self.toml\"]\n",
     "dir/self.toml:1:12: include: expected no cycle, got dir/p.toml includes "
     "dir/self.toml includes dir/self.toml"},
    {"AFileThatIsNotThere", "include = [\"none.toml\"]\n",
     "dir/p.toml:1:12: include: cannot read dir/none.toml"},
    {"ANumberForAFile", "include = [5]\n",
     "dir/p.toml:1:12: include: expected the name of a policy file, got an "
     "integer"},
    {"AMistakeInAnIncludedFile", "include = [\"typo.toml\"]\n",
     "dir/typo.toml:3:1: memory.celing: unknown key; did you mean "
     "\"ceiling\"?"},
    {"AMistakeThatIsReplaced", "include = [\"text.toml\"]\n[chunk]\nmax = 64\n",
     "dir/text.toml:2:7: chunk.max: expected tokens"},
    {"FilesThatContradictEachOther",
     "include = [\"low.toml\"]\n[memory]\nbase = 9\n",
     "dir/low.toml:2:11: memory.ceiling: expected more than base + headroom"},
    {"AVariableThatIsNotSet", "[memory]\nceiling = \"${NONE}\"\n",
     "dir/p.toml:2:11: memory.ceiling: expected the variable NONE in the "
     "environment, which is not set"},
    {"AVariableWithoutAnEnd", "[memory]\nceiling = \"${BAD\"\n",
     "dir/p.toml:2:11: memory.ceiling: expected ${NAME} or ${NAME:-DEFAULT}"},
    {"AVariableOfAnotherType", "[memory]\nceiling = \"${BAD}\"\n",
     "dir/p.toml:2:11: memory.ceiling: expected bytes"},
    {"AnOverrideWithoutAMatch", "[[model_override]]\n[model_override.chunk]\n",
     "dir/p.toml:1:1: model_override[0].match: expected model_type, name or "
     "layers, got nothing"},
    {"AnUnknownMatch", "[[model_override]]\nmatch = { modeltype = \"x\" }\n",
     "dir/p.toml:2:11: model_override[0].match.modeltype: unknown key; did you "
     "mean \"model_type\"?"},
    {"AnUnknownKeyOfAnOverride",
     "[[model_override]]\nmatch = { layers = 2 }\n[model_override.chunk]\n"
     "maxx = 5\n",
     "dir/p.toml:4:1: model_override[0].chunk.maxx: unknown key; did you mean "
     "\"max\"?"},
    {"AModelInAnOverride",
     "[[model_override]]\nmatch = { layers = 2 }\n[model_override.model]\n"
     "config = \"c\"\n",
     "dir/p.toml:4:10: model_override[0].model.config: expected no model"},
    {"AnOverrideThatContradictsTheRest",
     "[memory]\nceiling = 9\n[[model_override]]\nmatch = { layers = 2 }\n"
     "[model_override.memory]\nbase = 9\n",
     "dir/p.toml:2:11: memory.ceiling: expected more than base + headroom"},
    {"AnUnknownKeyOfATenant", "[tenant.acme]\nwieght = 2\n",
     "dir/p.toml:2:1: tenant.acme.wieght: unknown key; did you mean "
     "\"weight\"?"},
    {"AWeightOfZero", "[tenant.acme]\nweight = 0\n",
     "dir/p.toml:2:10: tenant.acme.weight: expected 1 to 1000000, got 0"},
};

INSTANTIATE_TEST_SUITE_P(Files, BrokenSharingTest, ::testing::ValuesIn(kBroken),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

TEST(PolicySharingTest, TextAloneReadsNeitherFilesNorTheEnvironment) {
  EXPECT_THAT(ParsePolicyFile("include = [\"a.toml\"]\n", "p.toml"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("p.toml:1:12: include: expected no other "
                                 "file")));
  EXPECT_THAT(ParsePolicyFile("[memory]\nceiling = \"${A}\"\n", "p.toml"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("nothing here reads the environment")));
}

TEST(TenantsTest, TwiceTheWeightIsServedTwiceAsMuch) {
  TenantPolicies tenants;
  tenants.named["big"] = {.weight = 2};
  const auto order = CreateFairOrder(tenants);
  const RequestView big{.id = 1, .tenant = "big", .tenant_served = 199};
  const RequestView small{.id = 2, .tenant = "small", .tenant_served = 100};
  EXPECT_TRUE(order->Before(big, small, {}));
  const RequestView more{.id = 1, .tenant = "big", .tenant_served = 201};
  EXPECT_FALSE(order->Before(more, small, {}));
  EXPECT_TRUE(order->Before(small, more, {}));
}

TEST(TenantsTest, APriorityIsAddedWithoutOverflow) {
  TenantPolicies tenants;
  tenants.named["vip"] = {.priority = 10};
  EXPECT_EQ(tenants.PriorityOf("vip", 5), 15);
  EXPECT_EQ(tenants.PriorityOf("else", 5), 5);
  EXPECT_EQ(tenants.PriorityOf("vip", INT64_MAX - 1), INT64_MAX);
}

}  // namespace
}  // namespace tidegate
