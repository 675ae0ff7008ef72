// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What a user reads when something is wrong: the real binary, exit code 2, one
// line that names the file, the place in it, and what was expected.

#include <algorithm>
#include <string>
#include <vector>

#include "tests/testing/command.h"
#include "tests/testing/matchers.h"

namespace tidegate::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using ::tidegate::testing::Outcome;
using ::tidegate::testing::RunBinary;
using ::tidegate::testing::TemporaryFolder;

struct Bad {
  std::string name;
  std::vector<std::string> args;
  // Parts of the line, in this order.
  std::vector<std::string> parts;
  std::string file = "";  // written before the run, and named in `args`
  std::string text = "";
};

void PrintTo(const Bad& bad, std::ostream* out) { *out << bad.name; }

constexpr char kConfig[] =
    "{\n  \"model_type\": \"qwen3\",\n  \"hidden_size\": 1024,\n"
    "  \"intermediate_size\": 4096,\n  \"num_attention_heads\": 8,\n"
    "  \"num_key_value_heads\": 2,\n  \"num_hidden_layers\": 2,\n"
    "  \"vocab_size\": 32000,\n  \"torch_dtype\": \"bfloat16\"\n}\n";

using Words = std::vector<std::string>;

Words Join(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// A verb on a good model and engine, and more flags.
Words Price(const Words& more) {
  return Join(
      {"price", "--model", "config.json", "--engine", "mlx@0.31.2/metal"},
      more);
}
Words Plan(const Words& more) {
  return Join({"plan", "--model", "config.json", "--engine", "mlx@0.31.2/metal",
               "--prompt", "4096"},
              more);
}
Words Simulate(const Words& more) {
  return Join({"simulate", "--model", "config.json", "--engine",
               "mlx@0.31.2/metal", "--ceiling", "8 GiB", "--base", "0"},
              more);
}

std::vector<Bad> CommandLines() {
  return {
      {"NoVerb", {}, {"tidegate: expected a verb: price, plan"}},
      {"UnknownVerb",
       {"prise"},
       {"tidegate: expected a verb: ", "got \"prise\"", "did you mean price?"}},
      {"UnknownSecondVerb",
       {"policy", "chekc"},
       {"tidegate policy: expected a verb: check", "\"chekc\""}},
      {"UnknownFlag",
       Price({"--n", "5", "--kvlen", "5"}),
       {"tidegate price: --kvlen: unknown flag", "did you mean --kv-len?"}},
      {"FlagOfAnotherVerb",
       {"engines", "--ceiling", "1"},
       {"tidegate engines: --ceiling: unknown flag"}},
      {"FlagBeforeTheVerb",
       {"--model", "config.json", "price"},
       {"tidegate price: --model: expected after the verb"}},
      {"FlagWithoutValue",
       Price({"--n"}),
       {"tidegate price: --n: expected a value"}},
      {"FlagForAValue",
       {"price", "--model", "--n", "5"},
       {"--model: expected a value, got the flag --n"}},
      {"FlagTwice",
       Price({"--n", "5", "--n", "6"}),
       {"--n: expected once, got it 2 times"}},
      {"ValueForASwitch",
       Price({"--n", "5", "--json=maybe"}),
       {"--json", "expected no value"}},
      {"WordTooMany", Price({"--n", "5", "6"}), {"expected no \"6\" here"}},
      {"MissingN", Price({}), {"tidegate price: missing --n: ", "tokens"}},
      {"ZeroN", Price({"--n", "0"}), {"--n: expected 1 to 100000000", "\"0\""}},
      {"NegativeN", Price({"--n", "-5"}), {"--n: expected 1 to", "\"-5\""}},
      {"HugeN",
       Price({"--n", "1000000000"}),
       {"--n: expected 1 to 100000000 tokens", "\"1000000000\""}},
      {"OverflowingN",
       Price({"--n", "99999999999999999999999"}),
       {"--n: expected 1 to", "\"99999999999999999999999\""}},
      {"NIsNoNumber", Price({"--n", "1e9"}), {"--n: expected", "\"1e9\""}},
      {"EmptyN", Price({"--n", ""}), {"--n: expected", "\"\""}},
      {"KvLenBelowN",
       Price({"--n", "512", "--kv-len", "511"}),
       {"--kv-len: expected at least --n = 512", "got 511"}},
      {"UnknownMask",
       Price({"--n", "5", "--mask", "casual"}),
       {"--mask: expected none, causal, bool, float", "\"casual\"",
        "did you mean \"causal\"?"}},
      {"NoEngine",
       {"price", "--model", "config.json", "--n", "5"},
       {"missing --engine: NAME@VERSION/DEVICE"}},
      {"HalfAnEngine",
       {"price", "--model", "config.json", "--engine", "mlx", "--n", "5"},
       {"--engine: expected NAME@VERSION/DEVICE", "\"mlx\""}},
      {"EngineOptionWithoutValue",
       Price({"--n", "5", "--engine-option", "force"}),
       {"--engine-option: expected KEY=VALUE", "\"force\""}},
      {"UnknownEngineOption",
       Price({"--n", "5", "--engine-option", "forced=true"}),
       {"forced", "force"}},
      {"UnknownEngineOptionValue",
       Price({"--n", "5", "--engine-option", "force=maybe"}),
       {"force", "expected one of true, false", "\"maybe\""}},
      {"UnknownEstimator",
       Price({"--n", "5", "--estimator", "fuzed"}),
       {"expected fused, tiled, unfused, catalog, table, formula or calibrated",
        "\"fuzed\""}},
      {"UnknownKvDtype",
       Price({"--n", "5", "--kv-dtype", "fp5"}),
       {"--kv-dtype: ", "expected", "fp5"}},
      {"NoModel",
       {"price", "--engine", "mlx@0.31.2/metal", "--n", "5"},
       {"missing --model"}},
      {"ModelThatIsNotThere",
       {"price", "--model", "absent.json", "--engine", "mlx@1/metal", "--n",
        "5"},
       {"absent.json", "no such file"}},
      {"ModelThatIsAFolder",
       {"price", "--model", ".", "--engine", "mlx@1/metal", "--n", "5"},
       {"tidegate price: .: expected a file"}},
      {"CatalogueThatIsNotThere",
       Price({"--n", "5", "--catalogue", "absent.toml"}),
       {"absent.toml: cannot read the file"}},
      {"NoCeiling", Plan({"--base", "0"}), {"missing --ceiling: bytes"}},
      {"ZeroCeiling",
       Plan({"--ceiling", "0"}),
       {"--ceiling: expected bytes above 0", "\"0\""}},
      {"NegativeCeiling",
       Plan({"--ceiling", "-1"}),
       {"--ceiling: expected bytes above 0", "\"-1\""}},
      {"CeilingWithoutNumber",
       Plan({"--ceiling", "GiB"}),
       {"--ceiling: expected bytes", "\"GiB\""}},
      {"CeilingOfNoUnit",
       Plan({"--ceiling", "36 parsecs"}),
       {"--ceiling: expected bytes", "\"36 parsecs\""}},
      {"OverflowingBase",
       Plan({"--ceiling", "8 GiB", "--base", "99 EiB"}),
       {"--base: expected bytes", "\"99 EiB\""}},
      {"ZeroMaxAllocation",
       Plan({"--ceiling", "8 GiB", "--max-allocation", "0"}),
       {"--max-allocation: expected bytes above 0"}},
      {"ZeroQuantum",
       Plan({"--ceiling", "8 GiB", "--chunk-quantum", "0"}),
       {"--chunk-quantum: expected 1 to"}},
      {"CachedAbovePrompt",
       Plan({"--ceiling", "8 GiB", "--cached", "4097"}),
       {"--cached: expected at most --prompt = 4096", "got 4097"}},
      {"UnknownEngineName",
       {"engines", "torcg"},
       {"tidegate engines: NAME: expected one of mlx, torch, llama.cpp",
        "did you mean \"torch\"?"}},
      {"NothingToValidate",
       {"validate"},
       {"tidegate validate: nothing to validate"}},
      {"NothingToReplay", {"replay"}, {"tidegate replay: nothing to replay"}},
      {"NothingToCheck",
       {"policy", "check"},
       {"tidegate policy check: expected one policy file"}},
      {"PolicyThatIsNotThere",
       {"policy", "check", "absent.toml"},
       {"absent.toml: cannot read the policy file"}},
      {"NoTrace", Simulate({}), {"tidegate simulate: missing --trace"}},
      {"NothingToCompare",
       {"compare"},
       {"tidegate compare: missing --policies"}},
      {"ComparedOnNoTrace",
       {"compare", "--policies", "rival:nobody", "--trace", "absent.csv"},
       {"tidegate compare: --policies: rival", "nobody"}},
      {"RequestsThatAreNoNumber",
       Simulate({"--trace", "absent.csv", "--requests", "all"}),
       {"tidegate simulate: --requests: expected an integer from 1 to",
        "got \"all\""}},
      {"ServiceLevelThatIsNoTime",
       Simulate({"--trace", "absent.csv", "--slo-ttft", "fast"}),
       {"tidegate simulate: --slo-ttft: expected a number above 0",
        "got \"fast\""}},
      {"TraceThatIsNotThere",
       Simulate({"--trace", "absent.csv"}),
       {"absent.csv"}},
      {"ScenariosThatAreNotThere",
       {"replay", "absent.jsonl"},
       {"absent.jsonl"}},
  };
}

Bad Config(const std::string& name, const std::string& text,
           const std::vector<std::string>& parts) {
  return {name,
          {"price", "--model", "bad.json", "--engine", "mlx@0.31.2/metal",
           "--n", "5"},
          parts,
          "bad.json",
          text};
}

// kConfig with `from` replaced.
std::string With(const std::string& from, const std::string& to) {
  std::string text = kConfig;
  const std::size_t at = text.find(from);
  return text.replace(at, from.size(), to);
}

std::vector<Bad> Configs() {
  return {
      Config("ConfigIsEmpty", "", {"bad.json: line 1", "expected JSON"}),
      Config("ConfigIsCutShort", "{\n \"hidden_size\": 10",
             {"bad.json: line 2, column 19", "expected JSON"}),
      Config("ConfigIsAnArray", "[1, 2]",
             {"bad.json: key (top level)", "expected an object"}),
      Config("ConfigWithZeroHeads",
             With("\"num_attention_heads\": 8", "\"num_attention_heads\": 0"),
             {"bad.json: key num_attention_heads: expected an integer from 1",
              "got 0"}),
      Config("ConfigWithHeadsThatDoNotDivide",
             With("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3"),
             {"bad.json", "num_key_value_heads", "3"}),
      Config("ConfigWithTextForANumber",
             With("\"hidden_size\": 1024", "\"hidden_size\": \"wide\""),
             {"bad.json: key hidden_size: expected an integer", "\"wide\""}),
      Config("ConfigWithoutLayers", With("  \"num_hidden_layers\": 2,\n", ""),
             {"bad.json: key num_hidden_layers: expected", "nothing"}),
      Config("ConfigThatOverflows",
             With("\"hidden_size\": 1024", "\"hidden_size\": 1e400"),
             {"bad.json: line 3", "number out of range"}),
  };
}

Bad PolicyText(const std::string& name, const std::string& text,
               const std::vector<std::string>& parts) {
  return {name, {"policy", "check", "bad.toml"}, parts, "bad.toml", text};
}

std::vector<Bad> Policies() {
  return {
      PolicyText("PolicyIsNoToml", "[memory\nceiling = 1\n",
                 {"tidegate policy check: bad.toml:1:"}),
      PolicyText("PolicyWithUnknownTable", "\n[memori]\nceiling = 1\n",
                 {"bad.toml:2:", "memori", "did you mean", "memory"}),
      PolicyText("PolicyWithUnknownKey", "[memory]\nceilling = \"36 GiB\"\n",
                 {"bad.toml:2:1: ", "ceilling", "did you mean", "ceiling"}),
      PolicyText(
          "PolicyWithBytesOfNoUnit", "[memory]\nceiling = \"36 parsecs\"\n",
          {"bad.toml:2:", "memory.ceiling: expected bytes", "36 parsecs"}),
      PolicyText("PolicyWithNegativeTokens", "[chunk]\n\nmax = -2048\n",
                 {"bad.toml:3:", "chunk.max: expected", "-2048"}),
      PolicyText("PolicyWithUnknownWord", "[chunk]\nuse = \"throtle\"\n",
                 {"bad.toml:2:", "chunk.use: expected one of fixed, throttle",
                  "did you mean \"throttle\"?"}),
      PolicyText("PolicyWithTheWrongType", "[order]\nuse = 3\n",
                 {"bad.toml:2:", "order.use: expected", "3"}),
      PolicyText("PolicyWhoseBaseFillsTheCeiling",
                 "[memory]\nceiling = \"8 GiB\"\nbase = \"8 GiB\"\n",
                 {"bad.toml:2:", "memory.ceiling: expected more than base"}),
      PolicyText("PolicyWithAKeyTwice", "[memory]\nbase = 1\nbase = 2\n",
                 {"bad.toml:3:", "base"}),
      {"PolicyGivenToAnotherVerb",
       {"price", "--policy", "bad.toml", "--n", "5"},
       {"tidegate price: bad.toml:2:", "engine.version"},
       "bad.toml",
       "[engine]\nversion = 3\nname = \"mlx\"\ndevice = \"metal\"\n"},
  };
}

Bad Row(const std::string& name, const std::string& row,
        const std::vector<std::string>& parts) {
  return {name, Simulate({"--trace", "bad.csv"}), parts, "bad.csv",
          "arrival_s,prompt_tokens,cached_tokens,output_tokens,session\n"
          "0,100,0,10,1\n" +
              row + "\n"};
}

std::vector<Bad> Files() {
  return {
      {"TraceWithAnotherHeader",
       Simulate({"--trace", "bad.csv"}),
       {"tidegate simulate: bad.csv:1: column arrival_s: expected", "\"time\""},
       "bad.csv",
       "time,prompt_tokens,cached_tokens,output_tokens,session\n"
       "1,2,0,1,1\n"},
      Row("TraceWithTooFewFields", "1,100,0,10", {"bad.csv:3", "expected"}),
      Row("TraceWithTextForTokens", "1,many,0,10,1",
          {"bad.csv:3: column prompt_tokens: expected", "\"many\""}),
      Row("TraceWithNoPrompt", "1,0,0,10,1",
          {"bad.csv:3: column prompt_tokens: expected", "0"}),
      Row("TraceWithMoreCachedThanPrompt", "1,100,200,10,1",
          {"bad.csv:3: column cached_tokens: expected", "200"}),
      Row("TraceThatGoesBack", "-1,100,0,10,1",
          {"bad.csv:3: column arrival_s: expected", "-1"}),
      {"OutIsAFile",
       Simulate({"--trace", "bad.csv", "--out", "config.json"}),
       {"--out: expected a folder, cannot create config.json"},
       "bad.csv",
       "arrival_s,prompt_tokens,cached_tokens,output_tokens,session\n"
       "0,100,0,10,1\n"},
      {"TableOfAnotherKind",
       {"validate", "bad.csv"},
       {"tidegate validate: bad.csv: nothing to validate: its columns"},
       "bad.csv",
       "a,b\n1,2\n"},
      {"TableWithABadRow",
       {"validate", "bad.csv"},
       {"bad.csv:2: column n: expected a whole number from 1", "\"x\""},
       "bad.csv",
       "model,layers_measured,attn,cache,n,L,torch,device,transient_bytes\n"
       "m,2,sdpa,dynamic,x,1,2.11,H200,1\n"},
      {"CatalogueWithUnknownKey",
       Price({"--n", "5", "--catalogue", "bad.toml"}),
       {"bad.toml:2:1: engine.nmae: unknown key"},
       "bad.toml",
       "[engine]\nnmae = 1\nname = \"mlx\"\nlaw = \"mlx\"\noldest = \"1.0\"\n"
       "newest = \"2.0\"\ndevices = [\"cpu\"]\n"},
      {"ScenarioThatIsNoJson",
       {"replay", "bad.jsonl"},
       {"tidegate replay: bad.jsonl:1"},
       "bad.jsonl",
       "not json\n"},
  };
}

std::vector<Bad> All() {
  std::vector<Bad> all = CommandLines();
  for (const auto& more : {Configs(), Policies(), Files()}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

class BadInputTest : public ::testing::TestWithParam<Bad> {};

TEST_P(BadInputTest, IsOneLineAndExitCodeTwo) {
  const Bad& bad = GetParam();
  const TemporaryFolder folder;
  folder.Write("config.json", kConfig);
  if (!bad.file.empty()) folder.Write(bad.file, bad.text);
  const Outcome outcome = RunBinary(folder, bad.args);
  EXPECT_EQ(outcome.code, 2) << outcome.err;
  EXPECT_THAT(outcome.out, IsEmpty());
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1)
      << outcome.err;
  EXPECT_THAT(outcome.err, StartsWith("tidegate"));
  std::size_t at = 0;
  for (const std::string& part : bad.parts) {
    at = outcome.err.find(part, at);
    ASSERT_NE(at, std::string::npos)
        << "expected \"" << part << "\" in its place in: " << outcome.err;
    at += part.size();
  }
}

INSTANTIATE_TEST_SUITE_P(Inputs, BadInputTest, ::testing::ValuesIn(All()),
                         [](const ::testing::TestParamInfo<Bad>& test) {
                           return test.param.name;
                         });

}  // namespace
}  // namespace tidegate::tools
