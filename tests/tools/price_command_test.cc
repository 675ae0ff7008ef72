// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <nlohmann/json.hpp>
#include <string>

#include "tests/testing/command.h"
#include "tests/testing/matchers.h"
#include "tools/arguments.h"

namespace tidegate::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::tidegate::testing::Call;
using ::tidegate::testing::Outcome;
using ::tidegate::testing::StatusIs;
using ::tidegate::testing::TemporaryFolder;

const std::string kConfigs = TIDEGATE_SOURCE_DIR "/tests/data/configs/";

Arguments Llama() {
  Arguments args;
  args.model = kConfigs + "llama-3.1-8b.json";
  args.engine = "mlx@0.31.2/metal";
  args.n = "2048";
  args.kv_len = "32k";
  return args;
}

nlohmann::json Json(Arguments args) {
  args.json = true;
  const Outcome outcome = Call(RunPrice, args);
  EXPECT_THAT(outcome.status, ::tidegate::testing::IsOk());
  EXPECT_EQ(outcome.code, kExitDone);
  return nlohmann::json::parse(outcome.out);
}

std::int64_t Sum(const nlohmann::json& terms) {
  std::int64_t sum = 0;
  for (const auto& [name, bytes] : terms.items())
    sum += bytes.get<std::int64_t>();
  return sum;
}

TEST(PriceCommandTest, JsonIsTheWholePrice) {
  // By hand, from the widths in the config.
  constexpr std::int64_t kMiB = 1 << 20;
  const nlohmann::json price = Json(Llama());
  EXPECT_EQ(price["n"], 2048);
  EXPECT_EQ(price["kv_len"], 32768);
  EXPECT_EQ(price["mask"], "causal");
  // Three buffers of 2048 x 14336 in bf16, and three rows of 4096 beside them.
  EXPECT_EQ(price["transient_bytes"], 3 * 56 * kMiB + 3 * 16 * kMiB);
  // 128 KiB of KV a token.
  EXPECT_EQ(price["resident_bytes"], 2048 * 128 * 1024);
  EXPECT_EQ(price["largest_allocation_bytes"], 56 * kMiB);
  EXPECT_EQ(price["fixed_in_n_bytes"], 0);
  EXPECT_EQ(price["route"], "mlx.full");
  EXPECT_EQ(price["assumed"], false);
  EXPECT_EQ(price["binding_part"], "feed_forward");
  EXPECT_EQ(price["warnings"], nlohmann::json::array());
}

TEST(PriceCommandTest, TermsOfTheBindingPartSumToTheTransient) {
  for (const char* engine : {"mlx@0.31.2/metal", "torch@2.11.0/cuda-sm90",
                             "llama.cpp@b6000/cuda", "other@1.0/gpu"}) {
    for (const char* model : {"llama-3.1-8b", "gemma-3-27b", "deepseek-v3",
                              "qwen3-next-80b-a3b", "gpt-oss-20b"}) {
      Arguments args = Llama();
      args.model = kConfigs + model + ".json";
      args.engine = engine;
      const nlohmann::json price = Json(args);
      EXPECT_GT(price["transient_bytes"], 0) << model << engine;
      EXPECT_EQ(Sum(price["terms"]), price["transient_bytes"])
          << model << " on " << engine;
    }
  }
}

TEST(PriceCommandTest, EveryPartIsTheSumOfItsTermsAndNoneIsAboveTheTransient) {
  const nlohmann::json price = Json(Llama());
  ASSERT_GT(price["parts"].size(), 2);
  for (const auto& part : price["parts"]) {
    EXPECT_EQ(Sum(part["terms"]), part["bytes"]) << part["name"];
    EXPECT_LE(part["bytes"], price["transient_bytes"]) << part["name"];
  }
}

TEST(PriceCommandTest, KvLenDefaultsToTheChunk) {
  Arguments args = Llama();
  args.kv_len.reset();
  EXPECT_EQ(Json(args)["kv_len"], 2048);
}

TEST(PriceCommandTest, AnUnknownEngineIsAssumedWithOneWarning) {
  Arguments args = Llama();
  args.engine = "frobnicate@1.0/gpu";
  const nlohmann::json price = Json(args);
  EXPECT_EQ(price["assumed"], true);
  EXPECT_EQ(price["route"], "unfused");
  ASSERT_EQ(price["warnings"].size(), 1);
  EXPECT_THAT(price["warnings"][0].get<std::string>(), HasSubstr("frobnicate"));
}

TEST(PriceCommandTest, EngineOptionsChangeTheRoute) {
  Arguments args = Llama();
  args.engine_options = {"training=true"};
  EXPECT_EQ(Json(args)["route"], "mlx.unfused");
}

TEST(PriceCommandTest, KvDtypeNarrowsWhatStays) {
  Arguments args = Llama();
  args.kv_dtype = "fp8";
  EXPECT_EQ(Json(args)["resident_bytes"], 2048 * 64 * 1024);
}

TEST(PriceCommandTest, TextMarksTheBindingPart) {
  const Outcome outcome = Call(RunPrice, Llama());
  EXPECT_EQ(outcome.code, kExitDone);
  EXPECT_THAT(outcome.out,
              HasSubstr("2,048 tokens at a kv length of 32,768, mask causal\n"
                        "llama on mlx@0.31.2/metal, route mlx.full\n"));
  EXPECT_THAT(outcome.out,
              HasSubstr("  feed_forward         216.00 MiB  <- binds"));
  EXPECT_THAT(outcome.out, HasSubstr("    activations        168.00 MiB\n"));
  EXPECT_EQ(outcome.err, "");
}

TEST(PriceCommandTest, TextSaysWhenAPriceIsAssumed) {
  Arguments args = Llama();
  args.engine = "mlx@99.0/metal";
  const Outcome outcome = Call(RunPrice, args);
  EXPECT_THAT(outcome.out, HasSubstr("(assumed: no proven bound)"));
  EXPECT_THAT(outcome.err, HasSubstr("warning: mlx 99.0 is newer"));
}

TEST(PriceCommandTest, ATransientPaidAtLoadIsSaidToBe) {
  Arguments args = Llama();
  args.engine = "llama.cpp@b6000/cuda";
  EXPECT_THAT(Call(RunPrice, args).out,
              HasSubstr("reserved when the model loads"));
}

TEST(PriceCommandTest, ACallThatTheEngineRefusesFails) {
  Arguments args = Llama();
  args.engine = "torch@2.11.0/cuda-sm90";
  args.engine_options = {"attention=flash"};
  args.mask = "bool";
  const Outcome outcome = Call(RunPrice, args);
  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kUnimplemented);
}

TEST(PriceCommandTest, APolicyFileGivesModelAndEngine) {
  const TemporaryFolder folder;
  Arguments args;
  args.policy = folder.Write(
      "p.toml", "[model]\nconfig = \"" + kConfigs +
                    "llama-3.1-8b.json\"\n[engine]\nname = \"mlx\"\nversion = "
                    "\"0.31.2\"\ndevice = \"metal\"\n");
  args.n = "2048";
  args.kv_len = "32768";
  const nlohmann::json stated = Json(args);
  EXPECT_EQ(stated, Json(Llama()));
  args.engine = "mlx@0.31.2/cpu";
  EXPECT_EQ(Json(args)["route"], "mlx.unfused");
}

TEST(PriceCommandTest, AChunkLongerThanWhatItAttendsToIsAnError) {
  Arguments args = Llama();
  args.kv_len = "512";
  EXPECT_THAT(Call(RunPrice, args).status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "--kv-len: expected at least --n = 2048 tokens, since a "
                       "chunk attends to itself, got 512"));
}

TEST(PriceCommandTest, AbsurdModelsPriceAsMoreThanAnyDeviceHas) {
  Arguments args = Llama();
  args.estimator = "unfused";
  args.n = "100000000";
  args.kv_len = "100000000";
  const nlohmann::json price = Json(args);
  EXPECT_GT(price["transient_bytes"], std::int64_t{1} << 55);
}

}  // namespace
}  // namespace tidegate::tools
