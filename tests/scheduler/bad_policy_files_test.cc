// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Broken policy files and the one line that each of them gets.

#include <string>

#include "tests/testing/matchers.h"
#include "tidegate/policy_file.h"

namespace tidegate {
namespace {

using ::tidegate::testing::StatusIs;

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
    {"AnUnknownWord",
     "[order]\n"
     "use = \"random\"\n",
     "p.toml:2:7: order.use: expected one of fcfs, priority, shortest, fair, "
     "got "
     "\"random\""},
    {"APluginWithoutAPath",
     "[estimator]\n"
     "use = \"plugin:\"\n",
     "p.toml:2:7: estimator.use: expected the path of a shared object behind "
     "\"plugin:\", got nothing"},
    {"AnEstimatorWithANeighbour",
     "[estimator]\n"
     "use = \"tabel\"\n",
     "p.toml:2:7: estimator.use: expected one of fused, tiled, unfused, "
     "catalog, table, formula, calibrated, got \"tabel\"; did you mean "
     "\"table\"?"},
    {"ATableEstimatorWithoutItsTable",
     "[estimator]\n"
     "use = \"table\"\n",
     "p.toml:2:7: estimator.use: \"table\" takes its prices from "
     "estimator.table, which is missing"},
    {"AFormulaEstimatorWithoutItsFormula",
     "[estimator]\n"
     "use = \"formula\"\n"
     "fixed = \"1\"\n",
     "p.toml:2:7: estimator.use: \"formula\" takes its prices from "
     "estimator.transient, which is missing"},
    {"AFormulaWithAnUnknownName",
     "[estimator]\n"
     "use = \"formula\"\n"
     "transient = \"n * kvlen\"\n",
     "p.toml:3:13: estimator.transient: at character 5: unknown name "
     "\"kvlen\"; did you mean \"kv_len\"?"},
    {"AFormulaThatAssigns",
     "[estimator]\n"
     "use = \"formula\"\n"
     "transient = \"n = 2\"\n",
     "p.toml:3:13: estimator.transient: at character 3: expected == to "
     "compare: nothing is assigned"},
    {"AFormulaAsANumber",
     "[estimator]\n"
     "use = \"formula\"\n"
     "transient = 5\n",
     "p.toml:3:13: estimator.transient: expected a string, got 5"},
    {"AFixedPartWithN",
     "[estimator]\n"
     "use = \"formula\"\n"
     "transient = \"n\"\n"
     "fixed = \"n\"\n",
     "p.toml:4:9: estimator.fixed: expected what no narrower chunk avoids, got "
     "n in it"},
    {"ABreakpointOfNothing",
     "[estimator]\n"
     "use = \"formula\"\n"
     "transient = \"n\"\n"
     "breakpoints_n = [257, 0]\n",
     "p.toml:4:17: estimator.breakpoints_n: expected 2 to 100000000, got 0"},
    {"BreakpointsThatAreNoArray",
     "[estimator]\n"
     "breakpoints_kv = 5\n",
     "p.toml:2:18: estimator.breakpoints_kv: expected an array, got 5"},
    {"APluginOptionThatIsATable",
     "[chunk]\n"
     "use = \"plugin:mine.so\"\n"
     "options = { deep = { er = 1 } }\n",
     "p.toml:3:11: chunk.options: option deep: expected a string, number or "
     "boolean, got a table"},
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
    {"AProbeThatDoesNotExist", "[memory]\nprobe = \"nvlm\"\n",
     "p.toml:2:9: memory.probe: expected one of none, nvml, amdgpu, "
     "amdgpu_gtt, cgroup, proc, got \"nvlm\"; did you mean \"nvml\"?"},
    {"AProbeThatOnlyAProgramHas", "[memory]\nprobe = \"callback\"\n",
     "p.toml:2:9: memory.probe: expected one of none, nvml, amdgpu, "
     "amdgpu_gtt, cgroup, proc, got \"callback\""},
    {"AProbeThatIsNoWord", "[memory]\nprobe = 1\n",
     "p.toml:2:9: memory.probe: expected a string, got 1"},
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

}  // namespace
}  // namespace tidegate
