// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/policy_file.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/testing/matchers.h"
#include "tidegate/scheduler.h"

namespace tidegate {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::tidegate::testing::StatusIs;

constexpr Bytes kGib = Bytes{1} << 30;

TEST(PolicyFileTest, AnEmptyFileSaysNothing) {
  ASSERT_OK_AND_ASSIGN(const PolicyFile policy, ParsePolicyFile("", "p.toml"));
  EXPECT_FALSE(policy.ceiling.has_value());
  EXPECT_FALSE(policy.engine.has_value());
  EXPECT_FALSE(policy.chunk_policy.has_value());
  EXPECT_THAT(policy.warnings, IsEmpty());
}

TEST(PolicyFileTest, EveryTableReachesItsField) {
  ASSERT_OK_AND_ASSIGN(const PolicyFile policy, ParsePolicyFile(R"(
[model.shape]
q_heads = 8
kv_heads = 2
head_dim = 64
layers = 3
[engine]
name = "mlx"
version = "0.31.2"
device = "metal"
options = { attention = "sdpa", fraction = 0.9, slots = 4, force = true }
[memory]
ceiling = "36 GiB"
base = "20 GiB"
headroom = 1024
max_allocation = "9 GiB"
[estimator]
use = "tiled"
tile_q = 64
tile_k = "1k"
[chunk]
use = "fixed"
max = "2k"
floor = 128
quantum = 32
[admission]
use = "reserve"
queue_max = 7
[order]
use = "priority"
[cache]
capacity = "2 GiB"
block = 16
[pressure]
ladder = ["cache", "pool"]
)",
                                                                "p.toml"));
  ASSERT_TRUE(policy.model_shape.has_value());
  EXPECT_EQ(policy.model_shape->layers.size(), 3u);
  const EngineSpec engine{"mlx",
                          "0.31.2",
                          "metal",
                          {{"attention", "sdpa"},
                           {"force", "true"},
                           {"fraction", "0.9"},
                           {"slots", "4"}}};
  EXPECT_EQ(policy.engine, engine);
  EXPECT_EQ(policy.ceiling, 36 * kGib);
  EXPECT_EQ(policy.base, 20 * kGib);
  EXPECT_EQ(policy.headroom, 1024);
  EXPECT_EQ(policy.max_allocation, 9 * kGib);
  EXPECT_EQ(policy.estimator, "tiled");
  EXPECT_EQ(policy.tile_q, 64);
  EXPECT_EQ(policy.tile_k, 1024);
  EXPECT_EQ(policy.chunk_policy, "fixed");
  EXPECT_EQ(policy.chunk_max, 2048);
  EXPECT_EQ(policy.chunk_floor, 128);
  EXPECT_EQ(policy.chunk_quantum, 32);
  EXPECT_EQ(policy.admission_policy, "reserve");
  EXPECT_EQ(policy.queue_max, 7);
  EXPECT_EQ(policy.order_policy, "priority");
  EXPECT_EQ(policy.cache_capacity, 2 * kGib);
  EXPECT_EQ(policy.cache_block, 16);
  ASSERT_TRUE(policy.ladder.has_value());
  EXPECT_THAT(*policy.ladder, ElementsAre("cache", "pool"));
  EXPECT_THAT(policy.warnings, IsEmpty());
}

TEST(PolicyFileTest, ARelativePathStartsWhereTheFileLies) {
  ASSERT_OK_AND_ASSIGN(
      const PolicyFile policy,
      ParsePolicyFile("[model]\nconfig = \"../m/config.json\"\n",
                      "/a/b/p.toml"));
  EXPECT_EQ(policy.model_config, "/a/m/config.json");
}

TEST(PolicyFileTest, AnAbsolutePathStaysAsItIs) {
  ASSERT_OK_AND_ASSIGN(
      const PolicyFile policy,
      ParsePolicyFile("[model]\nconfig = \"/m/config.json\"\n", "/a/p.toml"));
  EXPECT_EQ(policy.model_config, "/m/config.json");
}

struct Warned {
  const char* name;
  const char* text;
  const char* warning;
};
class PolicyWarningTest : public ::testing::TestWithParam<Warned> {};

TEST_P(PolicyWarningTest, ASettingWithoutEffectIsAWarning) {
  ASSERT_OK_AND_ASSIGN(const PolicyFile policy,
                       ParsePolicyFile(GetParam().text, "p.toml"));
  EXPECT_THAT(policy.warnings, ElementsAre(GetParam().warning));
}

const Warned kWarned[] = {
    {"AFloorAboveTheMaximum", "[chunk]\nmax = 128\nfloor = 256\n",
     "p.toml:3:9: chunk.floor: has no effect: chunk.max = 128 is below it and "
     "wins"},
    {"ATileWithoutTiles", "[estimator]\ntile_q = 64\n",
     "p.toml:2:10: estimator.tile_q: has no effect: estimator.use is catalog"},
    {"ScoreBytesOfAFusedFormula",
     "[estimator]\nuse = \"fused\"\nunknown_score_bytes = 4\n",
     "p.toml:3:23: estimator.unknown_score_bytes: has no effect: estimator.use "
     "is fused"},
    {"AnAllocationThatTheCeilingBounds",
     "[memory]\nceiling = 10\nmax_allocation = 10\n",
     "p.toml:3:18: memory.max_allocation: has no effect: the ceiling is not "
     "above it"},
    {"ABlockWithoutACache", "[cache]\nblock = 16\n",
     "p.toml:2:9: cache.block: has no effect: there is no cache without "
     "cache.capacity"},
    {"ACoefficientOfATable",
     "[time]\nuse = \"table\"\nprofile = \"h.csv\"\nfixed_ps = 1\n",
     "p.toml:4:12: time.fixed_ps: has no effect: time.use is table"},
    {"AProfileOfAFormula",
     "[time]\nuse = \"formula\"\nprofile = \"h.csv\"\nfixed_ps = 1\n",
     "p.toml:3:11: time.profile: has no effect: time.use is formula"},
};

INSTANTIATE_TEST_SUITE_P(Files, PolicyWarningTest, ::testing::ValuesIn(kWarned),
                         [](const auto& info) { return info.param.name; });

TEST(PolicyTimeTest, WithoutATableOfTimeThereIsNoTimer) {
  ASSERT_OK_AND_ASSIGN(const PolicyFile policy, ParsePolicyFile("", "p.toml"));
  ASSERT_OK_AND_ASSIGN(const auto timer, MakeStepTimer(policy));
  EXPECT_EQ(timer, nullptr);
}

TEST(PolicyTimeTest, AFormulaIsTheTimerAndItsModel) {
  ASSERT_OK_AND_ASSIGN(
      const PolicyFile policy,
      ParsePolicyFile("[time]\nuse = \"formula\"\nfixed_ps = 5_000_000\n"
                      "per_kv_ps = 2\nper_token_ps = 3\nper_pair_as = 4\n",
                      "p.toml"));
  ASSERT_OK_AND_ASSIGN(const auto timer, MakeStepTimer(policy));
  EXPECT_EQ(timer->Model(), (TimeModel{.fixed_ps = 5'000'000,
                                       .per_kv_ps = 2,
                                       .per_token_ps = 3,
                                       .per_pair_as = 4}));
}

TEST(PolicyTimeTest, AProfileIsReadFromWhereThePolicyLies) {
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / "policy_time";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "times.csv")
      << "part,n,kv_len,decodes,decode_kv_len,time_us\n"
         "step,64,64,,,1000\nstep,128,128,,,1500\n";
  ASSERT_OK_AND_ASSIGN(
      const PolicyFile policy,
      ParsePolicyFile("[time]\nuse = \"table\"\nprofile = \"times.csv\"\n",
                      (folder / "p.toml").string()));
  ASSERT_OK_AND_ASSIGN(const auto timer, MakeStepTimer(policy));
  const Chunk chunk{.n = 128, .kv_len = 128};
  EXPECT_EQ(timer->Of({.chunks = {&chunk, 1}}).took,
            std::chrono::microseconds(1500));
}

TEST(PolicyTimeTest, AProfileThatIsNotThereIsNotFound) {
  ASSERT_OK_AND_ASSIGN(
      const PolicyFile policy,
      ParsePolicyFile("[time]\nuse = \"table\"\nprofile = \"none.csv\"\n",
                      "/nowhere/p.toml"));
  EXPECT_THAT(MakeStepTimer(policy),
              StatusIs(absl::StatusCode::kNotFound,
                       "/nowhere/none.csv: cannot read the time profile"));
}

TEST(PolicyJsonTest, TheSameKeysAreReadFromJson) {
  ASSERT_OK_AND_ASSIGN(
      const PolicyFile policy,
      ParsePolicyJson(R"({"chunk": {"max": 512, "floor": null}})", "s"));
  EXPECT_EQ(policy.chunk_max, 512);
  EXPECT_FALSE(policy.chunk_floor.has_value());
}

TEST(PolicyJsonTest, AnErrorNamesTheKeyWithoutAPlace) {
  EXPECT_THAT(
      ParsePolicyJson(R"({"chunk": {"maxx": 512}})", "s"),
      StatusIs(absl::StatusCode::kInvalidArgument,
               "s: key chunk.maxx: unknown key; did you mean \"max\"?"));
}

TEST(PolicyFileTest, AFileThatDoesNotExistIsNotFound) {
  EXPECT_THAT(LoadPolicyFile("/nowhere/p.toml"),
              StatusIs(absl::StatusCode::kNotFound,
                       "/nowhere/p.toml: cannot read the policy file"));
}

TEST(PolicyFileTest, AFolderIsNoPolicyFile) {
  EXPECT_THAT(LoadPolicyFile("/"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "/: expected a policy file, got a directory"));
}

TEST(PolicyFileTest, EveryShippedFileIsReadWithoutComplaint) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(
           TIDEGATE_SOURCE_DIR "/policy_files")) {
    ASSERT_OK_AND_ASSIGN(const PolicyFile policy,
                         LoadPolicyFile(entry.path().string()));
    EXPECT_THAT(policy.warnings, IsEmpty()) << entry.path();
    ++files;
  }
  EXPECT_GE(files, 9);
}

TEST(PolicyFileTest, KeysOfAnotherEstimatorHaveNoEffect) {
  ASSERT_OK_AND_ASSIGN(const PolicyFile policy,
                       ParsePolicyFile("[estimator]\n"
                                       "table = \"rows.csv\"\n"
                                       "transient = \"n\"\n"
                                       "profile = \"p.toml\"\n",
                                       "p.toml"));
  EXPECT_THAT(
      policy.warnings,
      ElementsAre(
          "p.toml:2:9: estimator.table: has no effect: estimator.use is "
          "catalog",
          "p.toml:3:13: estimator.transient: has no effect: estimator.use is "
          "catalog",
          "p.toml:4:11: estimator.profile: has no effect: estimator.use is "
          "catalog"));
}

TEST(PolicyFileTest, FilesOfAnEstimatorLieBesideThePolicyFile) {
  ASSERT_OK_AND_ASSIGN(
      const PolicyFile policy,
      ParsePolicyFile("[estimator]\nuse = \"table\"\ntable = \"rows.csv\"\n",
                      "/etc/tidegate/p.toml"));
  EXPECT_EQ(policy.table, "/etc/tidegate/rows.csv");
}

TEST(PolicyFileTest, AProfileIsACorrectionAndNothingIsLearnedOnTopOfIt) {
  ASSERT_OK_AND_ASSIGN(const PolicyFile learned,
                       ParsePolicyFile("[memory]\nceiling = 9\n[estimator]\n"
                                       "use = \"calibrated\"\n",
                                       "p.toml"));
  ASSERT_OK_AND_ASSIGN(
      const PolicyFile fitted,
      ParsePolicyFile("[memory]\nceiling = 9\n[estimator]\n"
                      "use = \"calibrated\"\nprofile = \"x.toml\"\n",
                      "p.toml"));
  ASSERT_OK_AND_ASSIGN(const SchedulerOptions learns,
                       MakeSchedulerOptions(learned, nullptr, 0));
  ASSERT_OK_AND_ASSIGN(const SchedulerOptions does_not,
                       MakeSchedulerOptions(fitted, nullptr, 0));
  EXPECT_TRUE(learns.calibrate);
  EXPECT_FALSE(does_not.calibrate);
}

}  // namespace
}  // namespace tidegate
