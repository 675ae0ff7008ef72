// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// plan and explain: the same verdict, in numbers and in words.

#include <nlohmann/json.hpp>
#include <string>

#include "tests/testing/command.h"
#include "tests/testing/matchers.h"
#include "tools/arguments.h"

namespace tidegate::tools {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using ::tidegate::testing::Call;
using ::tidegate::testing::Outcome;
using ::tidegate::testing::StatusIs;
using ::tidegate::testing::TemporaryFolder;
using ::tidegate::testing::Verb;

constexpr std::int64_t kGiB = std::int64_t{1} << 30;

Arguments Llama(const std::string& engine, const std::string& prompt,
                const std::string& ceiling) {
  Arguments args;
  args.model = TIDEGATE_SOURCE_DIR "/tests/data/configs/llama-3.1-8b.json";
  args.engine = engine;
  args.prompt = prompt;
  args.base = "16 GiB";
  args.ceiling = ceiling;
  return args;
}

nlohmann::json Json(Verb verb, Arguments args, int code) {
  args.json = true;
  const Outcome outcome = Call(verb, args);
  EXPECT_THAT(outcome.status, ::tidegate::testing::IsOk());
  EXPECT_EQ(outcome.code, code);
  return nlohmann::json::parse(outcome.out);
}

const Arguments kFits = Llama("mlx@0.31.2/metal", "9000", "36 GiB");
const Arguments kTooLarge = Llama("mlx@0.31.2/metal", "256k", "36 GiB");

TEST(PlanCommandTest, AnAdmittedPromptIsChunksThatJoin) {
  const nlohmann::json plan = Json(RunPlan, kFits, kExitDone);
  EXPECT_EQ(plan["verdict"], "admit");
  EXPECT_TRUE(plan["code"].is_null());
  ASSERT_EQ(plan["chunks"].size(), 5);
  std::int64_t at = 0;
  for (const auto& chunk : plan["chunks"]) {
    EXPECT_EQ(chunk["start"], at);
    at += chunk["n"].get<std::int64_t>();
    EXPECT_EQ(chunk["kv_len"], at);
    EXPECT_GT(chunk["transient_bytes"], 0);
  }
  EXPECT_EQ(at, 9000);
  EXPECT_GT(plan["peak_bytes"], 16 * kGiB);
  EXPECT_LE(plan["peak_bytes"], 36 * kGiB);
  EXPECT_GT(plan["largest_prompt_that_fits"], 9000);
}

TEST(PlanCommandTest, ARefusedPromptExitsWithThreeAndShowsItsArithmetic) {
  const nlohmann::json plan = Json(RunPlan, kTooLarge, kExitRefused);
  EXPECT_EQ(plan["verdict"], "reject");
  EXPECT_EQ(plan["code"], "too_large");
  EXPECT_EQ(plan["chunks"], nlohmann::json::array());
  EXPECT_THAT(plan["reason"].get<std::string>(),
              HasSubstr("36.00 GiB ceiling - 0 B headroom"));
  const auto& sum = plan["arithmetic"];
  EXPECT_GT(sum["live_bytes"].get<std::int64_t>() +
                sum["claims_bytes"].get<std::int64_t>() +
                sum["resident_bytes"].get<std::int64_t>() +
                sum["transient_bytes"].get<std::int64_t>(),
            sum["ceiling_bytes"].get<std::int64_t>() -
                sum["headroom_bytes"].get<std::int64_t>());
}

TEST(PlanCommandTest, TheLargestPromptThatFitsFitsAndOneMoreDoesNot) {
  const std::int64_t largest =
      Json(RunPlan, kTooLarge, kExitRefused)["largest_prompt_that_fits"];
  ASSERT_GT(largest, 0);
  Arguments args = kTooLarge;
  args.prompt = std::to_string(largest);
  EXPECT_EQ(Json(RunPlan, args, kExitDone)["verdict"], "admit");
  args.prompt = std::to_string(largest + 1);
  EXPECT_EQ(Json(RunPlan, args, kExitRefused)["verdict"], "reject");
}

TEST(PlanCommandTest, ACallThatTheEngineRefusesIsUnsupported) {
  Arguments args = Llama("torch@2.11.0/cuda-sm90", "9000", "36 GiB");
  args.engine_options = {"attention=flash"};
  args.mask = "bool";
  EXPECT_EQ(Json(RunPlan, args, kExitRefused)["code"], "unsupported");
}

TEST(PlanCommandTest, CachedTokensAreNotComputed) {
  Arguments args = kFits;
  args.cached = "8192";
  const nlohmann::json plan = Json(RunPlan, args, kExitDone);
  ASSERT_EQ(plan["chunks"].size(), 1);
  EXPECT_EQ(plan["chunks"][0]["start"], 8192);
}

TEST(PlanCommandTest, ChunkFlagsBoundTheWidth) {
  Arguments args = kFits;
  args.chunk_max = "1k";
  args.chunk_floor = "1";
  for (const auto& chunk : Json(RunPlan, args, kExitDone)["chunks"]) {
    EXPECT_LE(chunk["n"], 1024);
  }
}

TEST(PlanCommandTest, TheLargestAllocationIsALimitOfItsOwn) {
  Arguments args = Llama("mlx@0.31.2/cpu", "60k", "80 GiB");
  EXPECT_EQ(Json(RunPlan, args, kExitDone)["verdict"], "admit");
  args.max_allocation = "512 MiB";
  const nlohmann::json plan = Json(RunPlan, args, kExitRefused);
  EXPECT_EQ(plan["code"], "too_large");
  EXPECT_EQ(plan["arithmetic"]["max_allocation_bytes"], 512 << 20);
  EXPECT_GT(plan["arithmetic"]["largest_allocation_bytes"], 512 << 20);
}

TEST(PlanCommandTest, HeadroomIsKeptBack) {
  Arguments args = kFits;
  args.headroom = "19 GiB";
  const nlohmann::json plan = Json(RunPlan, args, kExitRefused);
  EXPECT_EQ(plan["arithmetic"]["headroom_bytes"], 19 * kGiB);
}

TEST(PlanCommandTest, FlagsReplaceThePolicyFile) {
  const TemporaryFolder folder;
  Arguments args = kFits;
  args.ceiling.reset();
  args.policy = folder.Write("p.toml", "[memory]\nceiling = \"17 GiB\"\n");
  EXPECT_EQ(Json(RunPlan, args, kExitRefused)["code"], "too_large");
  args.ceiling = "36 GiB";
  EXPECT_EQ(Json(RunPlan, args, kExitDone)["verdict"], "admit");
}

TEST(PlanCommandTest, TextSaysTheVerdictTheChunksAndTheArithmetic) {
  const Outcome outcome = Call(RunPlan, kFits);
  EXPECT_EQ(outcome.code, kExitDone);
  EXPECT_THAT(
      outcome.out,
      AllOf(StartsWith("Admitted: 9,000 tokens in 5 chunks; memory peaks at "),
            HasSubstr("      0 to 8,192  2,048       4  216.00 MiB\n"
                      "  8,192 to 9,000    808       1   85.22 MiB\n"),
            HasSubstr("Tightest chunk: 16.00 GiB live + 0 B claims + "),
            HasSubstr("\nLargest prompt that fits: ")));
}

TEST(PlanCommandTest, AMissingCeilingNamesTheFlag) {
  Arguments args = kFits;
  args.ceiling.reset();
  EXPECT_THAT(Call(RunPlan, args).status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       StartsWith("missing --ceiling: ")));
}

TEST(PlanCommandTest, ABaseThatNobodyStatedIsAWarning) {
  Arguments args = kFits;
  args.base.reset();
  EXPECT_THAT(Call(RunPlan, args).err, HasSubstr("--base is not given"));
  EXPECT_EQ(Json(RunPlan, args, kExitDone)["warnings"].size(), 1);
}

TEST(PlanCommandTest, AProbeIsSaidToHaveNoEffect) {
  const TemporaryFolder folder;
  Arguments args = kFits;
  args.policy = folder.Write("p.toml", "[memory]\nprobe = \"cgroup\"\n");
  for (const auto verb : {RunPlan, RunExplain}) {
    const auto warnings = Json(verb, args, kExitDone)["warnings"];
    ASSERT_EQ(warnings.size(), 1);
    EXPECT_THAT(warnings[0].get<std::string>(),
                StartsWith("memory.probe: \"cgroup\" has no effect here: "));
  }
}

TEST(PlanCommandTest, MoreCachedThanPromptIsAnError) {
  Arguments args = kFits;
  args.cached = "9001";
  EXPECT_THAT(
      Call(RunPlan, args).status,
      StatusIs(absl::StatusCode::kInvalidArgument,
               "--cached: expected at most --prompt = 9000 tokens, got 9001"));
}

TEST(ExplainCommandTest, JsonHoldsWhatPlanSays) {
  for (const Arguments& args : {kFits, kTooLarge}) {
    const int code = Call(RunPlan, args).code;
    const nlohmann::json plan = Json(RunPlan, args, code);
    const nlohmann::json explained = Json(RunExplain, args, code);
    for (const auto& [key, value] : plan.items()) {
      EXPECT_EQ(explained[key], value) << key;
    }
  }
}

TEST(ExplainCommandTest, JsonNamesModelEngineRouteAndSource) {
  const nlohmann::json json = Json(RunExplain, kTooLarge, kExitRefused);
  EXPECT_EQ(json["model"], "llama");
  EXPECT_THAT(json["model_source"].get<std::string>(),
              HasSubstr("llama-3.1-8b.json"));
  EXPECT_EQ(json["engine"], "mlx@0.31.2/metal");
  EXPECT_EQ(json["assumed"], false);
  EXPECT_EQ(json["paid_at_load"], false);
  ASSERT_EQ(json["routes"].size(), 1);
  EXPECT_EQ(json["routes"][0]["kernel"], "mlx.full");
  EXPECT_THAT(json["routes"][0]["source"].get<std::string>(),
              HasSubstr("scaled_dot_product_attention.cpp"));
  EXPECT_EQ(json["layers"][0]["count"], 32);
  EXPECT_EQ(json["kv_bytes_per_token"], 128 * 1024);
  EXPECT_EQ(json["limits"]["room_bytes"], 20 * kGiB);
}

TEST(ExplainCommandTest, ThePriceIsThatOfTheTightestChunk) {
  const nlohmann::json json = Json(RunExplain, kTooLarge, kExitRefused);
  EXPECT_EQ(json["price"]["transient_bytes"],
            json["arithmetic"]["transient_bytes"]);
  std::int64_t sum = 0;
  for (const auto& [name, bytes] : json["price"]["terms"].items()) {
    sum += bytes.get<std::int64_t>();
  }
  EXPECT_EQ(sum, json["price"]["transient_bytes"]);
}

// The routes that explain shows must be those that the price took.
TEST(ExplainCommandTest, TheRouteOfThePriceIsAmongThoseOfTheLayers) {
  for (const char* engine :
       {"mlx@0.31.2/metal", "mlx@0.32.2/cpu", "other@1/gpu"}) {
    for (const char* model :
         {"llama-3.1-8b", "gemma-2-9b", "gemma-3-27b", "deepseek-v3",
          "gpt-oss-20b", "qwen3-next-80b-a3b"}) {
      Arguments args = Llama(engine, "4096", "8000 GiB");
      args.model = std::string(TIDEGATE_SOURCE_DIR "/tests/data/configs/") +
                   model + ".json";
      const nlohmann::json json = Json(RunExplain, args, kExitDone);
      bool found = false;
      for (const auto& route : json["routes"]) {
        found = found || route["kernel"] == json["price"]["route"];
      }
      EXPECT_TRUE(found) << model << " on " << engine << ": "
                         << json["price"]["route"] << " not in "
                         << json["routes"];
    }
  }
}

TEST(ExplainCommandTest, TextNamesEverythingThatTheVerdictDependsOn) {
  const Outcome outcome = Call(RunExplain, kTooLarge);
  EXPECT_EQ(outcome.code, kExitRefused);
  EXPECT_THAT(
      outcome.out,
      AllOf(StartsWith("Refused (too_large): "),
            HasSubstr("Largest prompt that fits: "),
            HasSubstr("engine     mlx@0.31.2/metal\n"),
            HasSubstr("32 x full attention, 32 q heads, 8 kv heads, head dim "
                      "128\n"),
            HasSubstr("KV: 128.00 KiB for each further token\n"),
            HasSubstr("full attention: mlx.full, from mlx/backend/metal/"),
            HasSubstr("known to the catalogue: not assumed"),
            HasSubstr("  + resident"), HasSubstr("too small by ")));
  EXPECT_THAT(outcome.out, HasSubstr("Where the transient comes from: "));
}

TEST(ExplainCommandTest, SaysAtOnceWhenTheFixedBytesAloneExceedTheRoom) {
  // Repeated kv heads span everything attended to, whatever the chunk: 1.5 GiB
  // here, and 1 GiB is left.
  Arguments args = Llama("torch@2.11.0/cuda-sm90", "100000", "17 GiB");
  args.cached = "99000";
  const nlohmann::json json = Json(RunExplain, args, kExitRefused);
  const auto& sum = json["arithmetic"];
  const std::int64_t room = sum["ceiling_bytes"].get<std::int64_t>() -
                            sum["live_bytes"].get<std::int64_t>() -
                            sum["resident_bytes"].get<std::int64_t>();
  ASSERT_EQ(json["fixed_alone_too_large"],
            sum["fixed_in_n_bytes"].get<std::int64_t>() > room);
  ASSERT_TRUE(json["fixed_alone_too_large"].get<bool>()) << sum;
  EXPECT_THAT(Call(RunExplain, args).out,
              HasSubstr("\nNo chunk is narrow enough: "));
}

TEST(ExplainCommandTest, AnAdmittedPromptHasItsChunks) {
  const Outcome outcome = Call(RunExplain, kFits);
  EXPECT_EQ(outcome.code, kExitDone);
  EXPECT_THAT(outcome.out,
              AllOf(StartsWith("Admitted: 9,000 tokens"), HasSubstr("to spare"),
                    HasSubstr("\nChunks\n")));
  EXPECT_THAT(outcome.out, Not(HasSubstr("No chunk is narrow enough")));
}

TEST(ExplainCommandTest, AnUnsupportedCallHasAReasonAndNoArithmetic) {
  Arguments args = Llama("torch@2.11.0/cuda-sm90", "9000", "36 GiB");
  args.engine_options = {"attention=flash"};
  args.mask = "bool";
  const Outcome outcome = Call(RunExplain, args);
  EXPECT_EQ(outcome.code, kExitRefused);
  EXPECT_THAT(outcome.out,
              AllOf(StartsWith("Refused (unsupported): "),
                    HasSubstr("does not run: FlashAttention takes no mask"),
                    Not(HasSubstr("EiB")), Not(HasSubstr("Arithmetic"))));
}

TEST(ExplainCommandTest, AssumedPricesAndWarningsAreSaid) {
  const Outcome outcome =
      Call(RunExplain, Llama("other@1.0/gpu", "4096", "36 GiB"));
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("no proven bound"), HasSubstr("\nWarnings\n")));
}

}  // namespace
}  // namespace tidegate::tools
