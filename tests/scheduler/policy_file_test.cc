// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/policy_file.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/testing/matchers.h"

namespace tidegate {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::tidegate::testing::StatusIs;

constexpr Bytes kGib = Bytes{1} << 30;

struct BadFile {
  const char* name;
  const char* text;
  const char* message;
};

class BadPolicyFileTest : public ::testing::TestWithParam<BadFile> {};

TEST_P(BadPolicyFileTest, IsRefusedWithItsPlaceAndWhatWasExpected) {
  EXPECT_THAT(ParsePolicyFile(GetParam().text, "p.toml"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       std::string(GetParam().message)));
}

const BadFile kBadFiles[] = {
    {"AnUnknownTableSuggestsTheNearest",
     "[memorry]\n"
     "ceiling = \"1 GiB\"\n",
     "p.toml:1:2: memorry: unknown key; did you mean \"memory\"?"},
    {"AnUnknownTableWithoutNeighbour",
     "[qwertyuiop]\n"
     "a = 1\n",
     "p.toml:1:2: qwertyuiop: unknown key"},
    {"AnUnknownKeySuggestsTheNearest",
     "[memory]\n"
     "celing = \"36 GiB\"\n",
     "p.toml:2:1: memory.celing: unknown key; did you mean \"ceiling\"?"},
    {"AnUnknownKeyOfAnInlineShape",
     "[model.shape]\n"
     "q_heads = 1\n"
     "kv_heads = 1\n"
     "head_dims = 64\n"
     "layers = 1\n",
     "p.toml:4:1: model.shape.head_dims: unknown key; did you mean "
     "\"head_dim\"?"},
    {"AKeyOutsideItsTable", "ceiling = \"36 GiB\"\n",
     "p.toml:1:1: ceiling: unknown key"},
    {"ATableWhereAKeyIs",
     "[memory.ceiling]\n"
     "a = 1\n",
     "p.toml:1:1: memory.ceiling: expected bytes, such as \"36 GiB\" or 4096, "
     "got a table"},
    {"AKeyWhereATableIs", "memory = 5\n",
     "p.toml:1:10: memory: expected a table, got 5"},
    {"BytesAsANumberWithAFraction",
     "[memory]\n"
     "ceiling = 1.5\n",
     "p.toml:2:11: memory.ceiling: expected bytes, such as \"36 GiB\" or 4096, "
     "got 1.500000"},
    {"BytesInAnUnknownUnit",
     "[memory]\n"
     "ceiling = \"36 GB iB\"\n",
     "p.toml:2:11: memory.ceiling: expected bytes, such as \"36 GiB\" or 4096, "
     "got \"36 GB iB\""},
    {"BytesBelowZero",
     "[memory]\n"
     "base = -1\n",
     "p.toml:2:8: memory.base: expected bytes, such as \"36 GiB\" or 4096, got "
     "-1"},
    {"ACeilingOfZero",
     "[memory]\n"
     "ceiling = 0\n",
     "p.toml:2:11: memory.ceiling: expected at least 1, got 0"},
    {"BytesAsABoolean",
     "[memory]\n"
     "  headroom = true\n",
     "p.toml:2:14: memory.headroom: expected bytes, such as \"36 GiB\" or "
     "4096, got true"},
    {"TokensWithAFraction",
     "[chunk]\n"
     "max = 2.5\n",
     "p.toml:2:7: chunk.max: expected tokens, such as 2048 or \"8k\", got a "
     "number"},
    {"TokensInAnUnknownUnit",
     "[chunk]\n"
     "max = \"2g\"\n",
     "p.toml:2:7: chunk.max: expected tokens, such as 2048 or \"8k\", got "
     "\"2g\""},
    {"TokensOfZero",
     "[chunk]\n"
     "quantum = 0\n",
     "p.toml:2:11: chunk.quantum: expected 1 to 100000000, got 0"},
    {"MoreTokensThanAnySequence",
     "[chunk]\n"
     "floor = 100000001\n",
     "p.toml:2:9: chunk.floor: expected 1 to 100000000, got 100000001"},
    {"AnUnknownWordWithANeighbour",
     "[chunk]\n"
     "use = \"throtle\"\n",
     "p.toml:2:7: chunk.use: expected one of fixed, throttle, equal_time, "
     "efficient, got \"throtle\"; did you mean \"throttle\"?"},
    {"AProbeThatDoesNotExist", "[memory]\nprobe = \"nvlm\"\n",
     "p.toml:2:9: memory.probe: expected one of none, nvml, amdgpu, "
     "amdgpu_gtt, cgroup, proc, got \"nvlm\"; did you mean \"nvml\"?"},
    {"AProbeThatOnlyAProgramHas", "[memory]\nprobe = \"callback\"\n",
     "p.toml:2:9: memory.probe: expected one of none, nvml, amdgpu, "
     "amdgpu_gtt, cgroup, proc, got \"callback\""},
    {"AProbeThatIsNoWord", "[memory]\nprobe = 1\n",
     "p.toml:2:9: memory.probe: expected a string, got 1"},
    {"AnUnknownWord",
     "[order]\n"
     "use = \"random\"\n",
     "p.toml:2:7: order.use: expected one of fcfs, priority, shortest, fair, "
     "got "
     "\"random\""},
    {"AWordOfALaterVersion",
     "[estimator]\n"
     "use = \"table\"\n",
     "p.toml:2:7: estimator.use: expected one of fused, tiled, unfused, "
     "catalog, calibrated, got \"table\", which this version does not have"},
    {"APluginOfALaterVersion",
     "[chunk]\n"
     "use = \"plugin:mine.so\"\n",
     "p.toml:2:7: chunk.use: expected one of fixed, throttle, equal_time, "
     "efficient, got \"plugin:mine.so\", which this version does not have"},
    {"AWordAsANumber",
     "[order]\n"
     "use = 1\n",
     "p.toml:2:7: order.use: expected a string, got 1"},
    {"ACountBeyondItsRange",
     "[estimator]\n"
     "use = \"unfused\"\n"
     "unknown_score_bytes = 65\n",
     "p.toml:3:23: estimator.unknown_score_bytes: expected 1 to 64, got 65"},
    {"ACountAsText",
     "[admission]\n"
     "queue_max = \"8\"\n",
     "p.toml:2:13: admission.queue_max: expected an integer, got \"8\""},
    {"ACountBelowZero",
     "[admission]\n"
     "queue_max = -1\n",
     "p.toml:2:13: admission.queue_max: expected at least 0, got -1"},
    {"AnUnknownSourceOfTime",
     "[time]\n"
     "use = \"tabel\"\n",
     "p.toml:2:7: time.use: expected one of table, formula, got \"tabel\"; did "
     "you mean \"table\"?"},
    {"ATableOfTimesWithoutAFile",
     "[time]\n"
     "use = \"table\"\n",
     "p.toml:2:7: time.use: expected time.profile beside it, a CSV of measured "
     "step times, got nothing"},
    {"AFormulaWithoutNumbers",
     "[time]\n"
     "use = \"formula\"\n",
     "p.toml:2:7: time.use: expected one of time.fixed_ps, time.per_kv_ps, "
     "time.per_token_ps, time.per_pair_as beside it, got nothing"},
    {"ANegativeCoefficient",
     "[time]\n"
     "use = \"formula\"\n"
     "per_pair_as = -4\n",
     "p.toml:3:15: time.per_pair_as: expected at least 0, got -4"},
    {"AProfileWithoutUse",
     "[time]\n"
     "profile = \"h.csv\"\n",
     "p.toml:1:1: time: expected use, table or formula, got nothing"},
    {"ADurationWithoutUnit",
     "[chunk]\n"
     "decode_stall = 200\n",
     "p.toml:2:16: chunk.decode_stall: expected a time, such as \"200 ms\" or "
     "\"0.25 s\", got an integer"},
    {"ADurationInAnUnknownUnit",
     "[chunk]\n"
     "decode_stall = \"1 fortnight\"\n",
     "p.toml:2:16: chunk.decode_stall: expected a time, such as \"200 ms\" or "
     "\"0.25 s\", got \"1 fortnight\""},
    {"ALadderThatIsNoArray",
     "[pressure]\n"
     "ladder = \"pool\"\n",
     "p.toml:2:10: pressure.ladder: expected an array, got \"pool\""},
    {"ARungThatDoesNotExist",
     "[pressure]\n"
     "ladder = [\"pool\", \"caches\"]\n",
     "p.toml:2:10: pressure.ladder: expected one of pool, cache, model, "
     "preempt, got \"caches\"; did you mean \"cache\"?"},
    {"ARungTwice",
     "[pressure]\n"
     "ladder = [\"pool\", \"cache\", \"pool\"]\n",
     "p.toml:2:10: pressure.ladder: expected each word once, got \"pool\" "
     "twice"},
    {"ARungThatIsNoText",
     "[pressure]\n"
     "ladder = [\"pool\", 1]\n",
     "p.toml:2:19: pressure.ladder: expected strings, got 1"},
    {"AnEngineWithoutAVersion",
     "[engine]\n"
     "name = \"mlx\"\n"
     "device = \"metal\"\n",
     "p.toml:1:1: engine.version: missing key"},
    {"AnEngineWithoutAName",
     "[engine]\n"
     "name = \"\"\n"
     "version = \"1\"\n"
     "device = \"metal\"\n",
     "p.toml:2:8: engine.name: expected a name, got \"\""},
    {"AnEngineWithAMisspeltKey",
     "[engine]\n"
     "name = \"mlx\"\n"
     "versoin = \"1\"\n"
     "device = \"metal\"\n",
     "p.toml:3:1: engine.versoin: unknown key; did you mean \"version\"?"},
    {"OptionsThatAreNoTable",
     "[engine]\n"
     "name = \"mlx\"\n"
     "version = \"1\"\n"
     "device = \"metal\"\n"
     "options = \"sdpa\"\n",
     "p.toml:5:11: engine.options: expected a table of strings, numbers and "
     "booleans, got a string"},
    {"AnOptionThatIsAnArray",
     "[engine]\n"
     "name = \"mlx\"\n"
     "version = \"1\"\n"
     "device = \"metal\"\n"
     "options = { a = [1] }\n",
     "p.toml:5:11: engine.options: option a: expected a string, number or "
     "boolean, got an array"},
    {"AComputeTypeThatIsNone",
     "[model]\n"
     "compute_dtype = \"fp7\"\n",
     "p.toml:2:17: model.compute_dtype: expected fp32, fp16 or bf16, got "
     "\"fp7\""},
    {"AKvTypeThatIsNone",
     "[model]\n"
     "kv_dtype = \"tiny\"\n",
     "p.toml:2:12: model.kv_dtype: expected fp32, fp16, bf16, fp8, int8, int4, "
     "q8_0 or a number of bytes from 0.125 to 8, got \"tiny\""},
    {"AConfigBesideAShape",
     "[model]\n"
     "config = \"c.json\"\n"
     "[model.shape]\n"
     "q_heads = 1\n"
     "kv_heads = 1\n"
     "head_dim = 64\n"
     "layers = 1\n",
     "p.toml:2:10: model.config: contradicts [model.shape]: expected one of "
     "the two"},
    {"AComputeTypeBesideAShape",
     "[model]\n"
     "compute_dtype = \"fp16\"\n"
     "[model.shape]\n"
     "q_heads = 1\n"
     "kv_heads = 1\n"
     "head_dim = 64\n"
     "layers = 1\n",
     "p.toml:2:17: model.compute_dtype: contradicts [model.shape]: expected it "
     "inside that table"},
    {"AShapeWithoutItsHeads",
     "[model.shape]\n"
     "kv_heads = 1\n"
     "head_dim = 64\n"
     "layers = 1\n",
     "p.toml:1:1: model.shape.q_heads: missing key"},
    {"HeadsThatDoNotDivide",
     "[model.shape]\n"
     "q_heads = 5\n"
     "kv_heads = 2\n"
     "head_dim = 64\n"
     "layers = 1\n",
     "p.toml:1:1: model.shape: key kv_heads: expected a divisor of the 5 "
     "q_heads, got 2"},
    {"ACeilingNotAboveBaseAndHeadroom",
     "[memory]\n"
     "ceiling = \"20 GiB\"\n"
     "base = \"18 GiB\"\n"
     "headroom = \"2 GiB\"\n",
     "p.toml:2:11: memory.ceiling: expected more than base + headroom, got "
     "20.00 GiB against 18.00 GiB + 2.00 GiB"},
    {"AKeyTwice",
     "[chunk]\n"
     "max = 1\n"
     "max = 2\n",
     "p.toml:3:7: Error while parsing key-value pair: cannot redefine existing "
     "integer 'max'"},
    {"ALineThatIsNoToml",
     "[chunk]\n"
     "max 2048\n",
     "p.toml:2:5: Error while parsing key-value pair: expected '=', saw '2'"},
};

INSTANTIATE_TEST_SUITE_P(Files, BadPolicyFileTest,
                         ::testing::ValuesIn(kBadFiles),
                         [](const auto& info) { return info.param.name; });

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
  EXPECT_GE(files, 2);
}

}  // namespace
}  // namespace tidegate
