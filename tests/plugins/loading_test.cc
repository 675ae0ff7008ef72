// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What is not loaded, and the reason that is given.

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/plugins/plugin_testing.h"
#include "tidegate/plugin.h"

namespace tidegate {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::PluginFile;
using testing::PolicyWith;
using ::testing::StartsWith;
using testing::StatusIs;

absl::Status LoadStatus(const std::string& path,
                        const std::string& kind = "order") {
  const absl::StatusOr<PolicyFile> policy = PolicyWith(kind, path);
  if (!policy.ok()) return policy.status();
  return Plugins::Load(*policy).status();
}

struct Refusal {
  std::string object;
  std::string why;
};

class BrokenObject : public ::testing::TestWithParam<Refusal> {};

TEST_P(BrokenObject, IsRefusedWithItsReason) {
  const PluginFile file(GetParam().object);
  EXPECT_THAT(LoadStatus(file.path()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(StartsWith("order.use: " + file.path() + ": "),
                             HasSubstr(GetParam().why))));
}

INSTANTIATE_TEST_SUITE_P(
    Every, BrokenObject,
    ::testing::Values(
        Refusal{"broken_unresolved",
                "cannot be loaded: undefined symbol: "
                "tidegate_test_nobody_defines_this"},
        Refusal{"broken_symbol", "exports no tidegate_plugin_v1"},
        Refusal{"broken_null", "tidegate_plugin_v1() returned nothing"},
        Refusal{"broken_major",
                "is built for version 2.7 of the plug-in ABI, this is version "
                "1.0"},
        Refusal{"broken_minor",
                "needs version 1.9 of the plug-in ABI, this is version 1.0"},
        Refusal{"broken_size", "its descriptor has 24 bytes of at least 72"},
        Refusal{"broken_name", "its name is not 1 to 64 of a-z"},
        Refusal{"broken_version", "its version is not 1 to 64 visible"},
        Refusal{"broken_table_size",
                "its table \"order\" has 16 bytes of at least 40"},
        Refusal{"broken_function",
                "its table \"order\" lacks a function: create, destroy and key "
                "are required"},
        Refusal{"broken_breakpoints",
                "its table \"estimator\" lacks a function: create, destroy and "
                "price, and breakpoints unless its flags say MONOTONE, are "
                "required"}),
    [](const auto& test) { return test.param.object; });

TEST(PluginLoading, AMissingFileIsNotFound) {
  EXPECT_THAT(LoadStatus("/nowhere/at/all.so"),
              StatusIs(absl::StatusCode::kNotFound,
                       "order.use: /nowhere/at/all.so: no such file"));
}

TEST(PluginLoading, AFolderIsNoPlugin) {
  const PluginFile file("grown");
  EXPECT_THAT(LoadStatus(file.folder()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("expected a file")));
}

TEST(PluginLoading, ATextFileIsNoPlugin) {
  const PluginFile file("grown");
  std::ofstream(file.path()) << "#include <stdio.h> and so on";
  EXPECT_THAT(LoadStatus(file.path()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("is no shared object")));
}

// The loader itself would map what is not there, and the process would end at
// the first access.
TEST(PluginLoading, ATruncatedFileIsRefusedWhereverItIsCut) {
  const PluginFile file("grown");
  const auto size = std::filesystem::file_size(file.path());
  for (int part = 0; part < 16; ++part) {
    const PluginFile cut("grown");
    std::filesystem::resize_file(cut.path(), size * part / 64);
    EXPECT_THAT(LoadStatus(cut.path()),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         ::testing::AnyOf(HasSubstr("is truncated"),
                                          HasSubstr("is no shared object"))))
        << part;
  }
}

TEST(PluginLoading, WhatOthersCanWriteIsNotLoaded) {
  const PluginFile file("grown");
  for (const mode_t mode : {0775, 0757, 0777}) {
    ASSERT_EQ(chmod(file.path().c_str(), mode), 0);
    EXPECT_THAT(LoadStatus(file.path()),
                StatusIs(absl::StatusCode::kPermissionDenied,
                         HasSubstr("others than its owner can write it")));
  }
  ASSERT_EQ(chmod(file.path().c_str(), 0700), 0);
  EXPECT_THAT(LoadStatus(file.path()), IsOk());
}

TEST(PluginLoading, AFolderThatEverybodyCanWriteIsNotLoadedFrom) {
  const PluginFile file("grown");
  ASSERT_EQ(chmod(file.folder().c_str(), 0777), 0);
  EXPECT_THAT(LoadStatus(file.path()),
              StatusIs(absl::StatusCode::kPermissionDenied,
                       HasSubstr("everybody can write its folder")));
}

TEST(PluginLoading, WhatBelongsToAnotherUserIsNotLoaded) {
  if (geteuid() != 0) GTEST_SKIP() << "only root gives files away";
  const PluginFile file("grown");
  ASSERT_EQ(chown(file.path().c_str(), 65534, 65534), 0);
  EXPECT_THAT(LoadStatus(file.path()),
              StatusIs(absl::StatusCode::kPermissionDenied,
                       HasSubstr("belongs to user 65534")));
}

TEST(PluginLoading, AKindThatIsNotOfferedIsNamed) {
  const PluginFile file("grown");
  EXPECT_THAT(LoadStatus(file.path(), "chunk"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("plug-in grown offers order, and no chunk")));
}

TEST(PluginLoading, AnObjectOfALaterMinorVersionWorks) {
  const PluginFile file("grown");
  ASSERT_OK_AND_ASSIGN(auto made, testing::Make("order", file.path(), ""));
  EXPECT_EQ(made.options.custom_order->Name(), "plugin:grown@2.0");
  const PlanRequest shorter{.prompt_tokens = 10};
  const PlanRequest longer{.prompt_tokens = 20};
  EXPECT_TRUE(made.options.custom_order->Before(
      {.id = 2, .request = &longer}, {.id = 1, .request = &shorter}, {}));
}

TEST(PluginLoading, APathWithoutAFolderIsThatOfThePolicyFile) {
  const PluginFile file("grown");
  std::ofstream(file.folder() + "/p.toml")
      << "[order]\nuse = \"plugin:grown.so\"\n";
  ASSERT_OK_AND_ASSIGN(const PolicyFile policy,
                       LoadPolicyFile(file.folder() + "/p.toml"));
  EXPECT_EQ(*policy.order_policy, "plugin:" + file.path());
  EXPECT_THAT(Plugins::Load(policy).status(), IsOk());
}

TEST(PluginLoading, OptionsOfABuiltInHaveNoEffectAndThatIsSaid) {
  ASSERT_OK_AND_ASSIGN(
      const PolicyFile policy,
      ParsePolicyFile("[order]\nuse = \"fair\"\noptions = { a = 1 }\n",
                      "p.toml"));
  ASSERT_EQ(policy.warnings.size(), 1u);
  EXPECT_EQ(
      policy.warnings[0],
      "p.toml:3:11: order.options: has no effect: order.use is no plug-in");
}

TEST(PluginLoading, WhatAConstructorThrowsIsWhatTheOperatorReads) {
  const PluginFile file("hostile");
  EXPECT_THAT(testing::Make("order", file.path(), "does = \"refuse\""),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("plug-in hostile refuses: not on a "
                                 "Wednesday")));
  EXPECT_THAT(testing::Make("order", file.path(), "does = \"throw_int\""),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("refuses: its constructor threw")));
  EXPECT_THAT(testing::Make("order", file.path(), "dose = \"nan\""),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("refuses: unknown option \"dose\"")));
  EXPECT_THAT(testing::Make("order", file.path(), "after = \"x\""),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("refuses: option after: expected an integer, "
                                 "got \"x\"")));
  EXPECT_THAT(testing::Make("pressure", file.path(), "patience = -1"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("patience: expected 0 to 3600000000000 ns, "
                                 "got -1")));
}

// The layout is a promise: these are the sizes of version 1.0 on 64 bits.
TEST(PluginAbi, SizesOfVersion1DoNotChange) {
  EXPECT_EQ(sizeof(tidegate_plugin), 72u);
  EXPECT_EQ(sizeof(tidegate_setup), 72u);
  EXPECT_EQ(sizeof(tidegate_model), 120u);
  EXPECT_EQ(sizeof(tidegate_chunk), 24u);
  EXPECT_EQ(sizeof(tidegate_step), 48u);
  EXPECT_EQ(sizeof(tidegate_price), 32u);
  EXPECT_EQ(sizeof(tidegate_term), 56u);
  EXPECT_EQ(sizeof(tidegate_range), 40u);
  EXPECT_EQ(sizeof(tidegate_request), 136u);
  EXPECT_EQ(sizeof(tidegate_moment), 24u);
  EXPECT_EQ(sizeof(tidegate_estimator), 64u);
  EXPECT_EQ(sizeof(tidegate_order_policy), 40u);
  EXPECT_EQ(sizeof(tidegate_pressure_policy), 40u);
  EXPECT_EQ(sizeof(tidegate_chunk_policy), 32u);
  EXPECT_EQ(sizeof(tidegate_admission_policy), 40u);
  EXPECT_EQ(sizeof(tidegate_chunk_question), 96u);
  EXPECT_EQ(sizeof(tidegate_admission_question), 80u);
}

}  // namespace
}  // namespace tidegate
