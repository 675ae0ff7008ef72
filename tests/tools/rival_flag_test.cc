// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// simulate --rival.

#include <string>

#include "tests/testing/command.h"
#include "tests/testing/matchers.h"

namespace tidegate {
namespace {

using testing::Call;
using ::testing::HasSubstr;
using testing::Outcome;

// One long prompt, on attention whose scores are written out.
tools::Arguments Simulation(const testing::TemporaryFolder& folder) {
  tools::Arguments args;
  args.policy =
      std::string(TIDEGATE_SOURCE_DIR) + "/examples/head_dim_256.toml";
  args.trace = folder.Write(
      "trace.csv",
      "arrival_s,prompt_tokens,cached_tokens,output_tokens,session\n"
      "0,60000,0,1,1\n");
  args.ceiling = "24 GiB";
  args.json = true;
  return args;
}

TEST(RivalFlagTest, TheWorldIsPricedByThePolicyAndTheRivalBelievesLess) {
  const testing::TemporaryFolder folder;
  tools::Arguments args = Simulation(folder);
  const Outcome tidegate = Call(tools::RunSimulate, args);
  EXPECT_EQ(tidegate.code, tools::kExitDone);
  EXPECT_THAT(tidegate.out, HasSubstr("\"finished\": 1,"));
  EXPECT_THAT(tidegate.out, HasSubstr("\"out_of_memory\": 0,"));
  args.rival = "vllm";
  const Outcome vllm = Call(tools::RunSimulate, args);
  EXPECT_EQ(vllm.code, tools::kExitDone);
  EXPECT_THAT(vllm.out, HasSubstr("\"rejected\": 1,"));
  EXPECT_THAT(vllm.out, HasSubstr("\"out_of_memory\": 9,"));
}

TEST(RivalFlagTest, KeysAfterTheNameSayHowItIsStarted) {
  const testing::TemporaryFolder folder;
  tools::Arguments args = Simulation(folder);
  // What it keeps for activations is enough for narrow steps.
  args.rival = "vllm:step_tokens=256:activation=1073741824";
  const Outcome narrow = Call(tools::RunSimulate, args);
  EXPECT_EQ(narrow.code, tools::kExitDone);
  EXPECT_THAT(narrow.out, HasSubstr("\"finished\": 1,"));
  EXPECT_THAT(narrow.out, HasSubstr("\"chunks\": 235,"));
}

TEST(RivalFlagTest, AKeyThatIsNoneAndAValueThatIsNoneAreErrors) {
  const testing::TemporaryFolder folder;
  tools::Arguments args = Simulation(folder);
  const auto error = [&](const char* rival) {
    args.rival = rival;
    return std::string(Call(tools::RunSimulate, args).status.message());
  };
  EXPECT_THAT(error("vllm:sequence=3"),
              HasSubstr("did you mean \"sequences\"?"));
  for (const char* rival :
       {"vllm:sequences=x", "vllm:sequences=", "vllm:sequences",
        "vllm:", "vllm:page=-1", "vllm:page=99999999999999999999"}) {
    EXPECT_THAT(error(rival), HasSubstr("expected KEY=INTEGER")) << rival;
  }
}

TEST(RivalFlagTest, AnUnknownRivalIsAnErrorThatSuggestsOne) {
  const testing::TemporaryFolder folder;
  tools::Arguments args = Simulation(folder);
  args.rival = "vlm";
  EXPECT_THAT(Call(tools::RunSimulate, args).status,
              testing::StatusIs(absl::StatusCode::kInvalidArgument,
                                HasSubstr("did you mean \"vllm\"?")));
}

}  // namespace
}  // namespace tidegate
