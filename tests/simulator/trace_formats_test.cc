// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Traces as they are published. Derived columns are compared with those that
// the uniform files of shared/traces state.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/testing/matchers.h"
#include "tests/testing/shared_files.h"
#include "tidegate/simulator.h"

namespace tidegate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::tidegate::testing::StatusIs;

constexpr char kAzure[] = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
constexpr char kBurst[] =
    "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n";
constexpr char kSessions[] =
    "session,agent,t_s,input_tokens,output_tokens,prefix_hit_tokens,api_time_s,"
    "think_time_s\n";

Instant At(std::int64_t nanoseconds) { return Instant(Duration(nanoseconds)); }

void ExpectError(const std::string& text, const std::string& message) {
  EXPECT_THAT(ParseTrace(text, "t"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
}

TEST(TraceFormatsTest, AzureTimesCountFromTheFirstRequestToTheNanosecond) {
  ASSERT_OK_AND_ASSIGN(
      const Trace trace,
      ParseTrace(std::string(kAzure) + "2023-11-16 23:59:59.9799600,4808,10\r\n"
                                       "2023-11-17 00:00:00.0319601,3180,8\r\n",
                 "azure.csv"));
  EXPECT_THAT(trace.rows, ElementsAre(TraceRow{.prompt_tokens = 4808,
                                               .output_tokens = 10,
                                               .session = 0},
                                      TraceRow{.arrival = At(52'000'100),
                                               .prompt_tokens = 3180,
                                               .output_tokens = 8,
                                               .session = 1}));
  EXPECT_THAT(trace.warnings, IsEmpty());
}

TEST(TraceFormatsTest, AzureOf2024HasAZone) {
  ASSERT_OK_AND_ASSIGN(
      const Trace trace,
      ParseTrace(std::string(kAzure) +
                     "2024-05-10 00:00:00.009930+00:00,2162,5\n"
                     "2024-05-10T00:00:01Z,2399,6\n",
                 "azure.csv"));
  EXPECT_EQ(trace.rows[1].arrival, At(990'070'000));
}

TEST(TraceFormatsTest, ADayThatDoesNotExistIsAnError) {
  ExpectError(std::string(kAzure) + "2023-02-29 00:00:00,1,1\n",
              "t:2: column TIMESTAMP: expected a date and a time such as "
              "2023-11-16 18:17:03.9799600, got \"2023-02-29 00:00:00\"");
}

TEST(TraceFormatsTest, TextInPlaceOfATimeIsAnError) {
  for (const char* time : {"", "yesterday", "2023-11-16", "2023-11-16 24:00:00",
                           "2023-11-16 18:17:xx", "-023-11-16 18:17:03"}) {
    ExpectError(std::string(kAzure) + time + ",1,1\n",
                "t:2: column TIMESTAMP: expected a date and a time");
  }
}

TEST(TraceFormatsTest, AzureOutOfOrderIsAnError) {
  ExpectError(std::string(kAzure) +
                  "2023-11-16 18:17:03,1,1\n2023-11-16 18:17:02,1,1\n",
              "t:3: column TIMESTAMP: expected no arrival before that of the "
              "line above");
}

TEST(TraceFormatsTest, BurstGptColumnsAreFoundByName) {
  ASSERT_OK_AND_ASSIGN(
      const Trace trace,
      ParseTrace(std::string(kBurst) + "5,ChatGPT,472,18,490,Conversation log\n"
                                       "45.5,GPT-4,1087,230,1317,API log\n",
                 "burst.csv"));
  EXPECT_THAT(trace.rows, ElementsAre(TraceRow{.prompt_tokens = 472,
                                               .output_tokens = 18,
                                               .session = 0},
                                      TraceRow{.arrival = At(40'500'000'000),
                                               .prompt_tokens = 1087,
                                               .output_tokens = 230,
                                               .session = 1}));
}

TEST(TraceFormatsTest, BurstGptSessionsAreKept) {
  ASSERT_OK_AND_ASSIGN(
      const Trace trace,
      ParseTrace("Timestamp,Session ID,Request tokens,Response tokens\n"
                 "0,abc,5,1\n1,,6,1\n2,abc,7,1\n3,def,7,1\n",
                 "burst.csv"));
  EXPECT_EQ(trace.rows[0].session, trace.rows[2].session);
  EXPECT_NE(trace.rows[0].session, trace.rows[1].session);
  EXPECT_NE(trace.rows[0].session, trace.rows[3].session);
  EXPECT_NE(trace.rows[1].session, trace.rows[3].session);
}

TEST(TraceFormatsTest, BurstGptWithoutPromptTokensIsAnError) {
  ExpectError(std::string(kBurst) + "5,ChatGPT,0,18,18,API log\n",
              "t:2: column Request tokens: expected an integer from 1 to");
}

TEST(TraceFormatsTest, LengthsArriveOneASecondAndSayIt) {
  ASSERT_OK_AND_ASSIGN(
      const Trace trace,
      ParseTrace(
          "num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n"
          "3772,54,3826,69.8\n2015,156,2171,12.9\n",
          "lengths.csv"));
  EXPECT_THAT(trace.rows, ElementsAre(TraceRow{.prompt_tokens = 3772,
                                               .output_tokens = 54,
                                               .session = 0},
                                      TraceRow{.arrival = At(1'000'000'000),
                                               .prompt_tokens = 2015,
                                               .output_tokens = 156,
                                               .session = 1}));
  EXPECT_THAT(trace.warnings, ElementsAre(HasSubstr("one request arrives")));
}

TEST(TraceFormatsTest, SessionsWithTheirOwnClocksAreInterleaved) {
  ASSERT_OK_AND_ASSIGN(
      const Trace trace,
      ParseTrace(std::string(kSessions) + "0001,main,10.0,100,5,0,1.0,\n"
                                          "0001,agent_001,1.0,9,1,0,1.0,\n"
                                          "0001,main,15.0,110,5,64,1.0,\n"
                                          "0001,main,999.0,120,5,192,1.0,\n"
                                          "0002,main,0.0,50,5,0,1.0,\n",
                 "s.csv"));
  // The pause of 984 s is cut to 120 s; the second session starts at 60 s; a
  // hit leaves one token to compute.
  EXPECT_THAT(trace.rows, ElementsAre(TraceRow{.prompt_tokens = 100,
                                               .output_tokens = 5,
                                               .session = 1},
                                      TraceRow{.arrival = At(5'000'000'000),
                                               .prompt_tokens = 110,
                                               .cached_tokens = 64,
                                               .output_tokens = 5,
                                               .session = 1},
                                      TraceRow{.arrival = At(60'000'000'000),
                                               .prompt_tokens = 50,
                                               .output_tokens = 5,
                                               .session = 2},
                                      TraceRow{.arrival = At(125'000'000'000),
                                               .prompt_tokens = 120,
                                               .cached_tokens = 119,
                                               .output_tokens = 5,
                                               .session = 1}));
}

std::string Mooncake(int time, int input, const std::string& ids) {
  return "{\"timestamp\": " + std::to_string(time) +
         ", \"input_length\": " + std::to_string(input) +
         ", \"output_length\": 7, \"hash_ids\": [" + ids + "]}\n";
}

TEST(TraceFormatsTest, MooncakeBlocksGiveThePrefixAndTheSession) {
  ASSERT_OK_AND_ASSIGN(
      const Trace trace,
      ParseTrace(Mooncake(100, 1500, "0,1,2") + Mooncake(127, 1400, "0,3,4") +
                     Mooncake(3100, 2048, "0,1,2,5") +
                     Mooncake(3100, 1024, "0,3"),
                 "m.jsonl"));
  // Block 0 alone is a system prompt and makes no conversation.
  EXPECT_THAT(trace.rows, ElementsAre(TraceRow{.prompt_tokens = 1500,
                                               .output_tokens = 7,
                                               .session = 0},
                                      TraceRow{.arrival = At(27'000'000),
                                               .prompt_tokens = 1400,
                                               .cached_tokens = 512,
                                               .output_tokens = 7,
                                               .session = 1},
                                      TraceRow{.arrival = At(3'000'000'000),
                                               .prompt_tokens = 2048,
                                               .cached_tokens = 1536,
                                               .output_tokens = 7,
                                               .session = 0},
                                      TraceRow{.arrival = At(3'000'000'000),
                                               .prompt_tokens = 1024,
                                               .cached_tokens = 1023,
                                               .output_tokens = 7,
                                               .session = 1}));
}

TEST(TraceFormatsTest, MooncakeErrorsNameTheLineAndTheKey) {
  const std::string good = Mooncake(5, 512, "0");
  ExpectError(good + Mooncake(6, 513, "0"),
              "t:2: key hash_ids: expected 2 ids, one for each 512 tokens of "
              "input_length, got 1");
  ExpectError(good + Mooncake(4, 512, "0"),
              "t:2: key timestamp: expected no time before that of the line "
              "above, got 4");
  ExpectError(good + "{\"timestamp\": 7}\n",
              "t:2: key input_length: expected an integer");
  ExpectError(good +
                  "{\"timestamp\": 7, \"input_length\": 5, \"output_length\": "
                  "1}\n",
              "t:2: key hash_ids: expected a list of ids, got nothing");
  ExpectError(good + "{\"timestamp\": \"x\", \"input_length\": 5}\n",
              "t:2: key timestamp: expected milliseconds of at least 0");
  ExpectError(good + "{\"timestamp\": 7", "t:2");
  ExpectError(good + "\n", "t:2");
}

TEST(TraceFormatsTest, AHeaderOfNoFormatIsAnError) {
  ExpectError("time,prompt\n1,2\n",
              "t:1: column arrival_s: expected this name in the header, or the "
              "columns of another format");
}

TEST(TraceFormatsTest, RowsWithoutAHeaderAreAnError) {
  ExpectError("0,100,0,10,1\n",
              "t:1: column arrival_s: expected this name in the header, or the "
              "columns of another format (Azure: TIMESTAMP,");
}

TEST(TraceFormatsTest, AByteOrderMarkIsNoPartOfTheHeader) {
  ASSERT_OK_AND_ASSIGN(const Trace trace,
                       ParseTrace("\xEF\xBB\xBF" + std::string(kAzure) +
                                      "2023-11-16 18:17:03,1,1\n",
                                  "t"));
  EXPECT_EQ(trace.rows.size(), 1u);
}

TEST(TraceFormatsTest, AFileWithoutLineBreaksIsNotReadWhole) {
  ExpectError(std::string((16 << 20) + 1, 'x'),
              "t:1: expected a line of at most 16 MiB");
}

TEST(TraceFormatsTest, OnlyTheFirstRequestsAreRead) {
  // What follows is wrong and is not looked at.
  ASSERT_OK_AND_ASSIGN(
      const Trace trace,
      ParseTrace(std::string(kAzure) +
                     "2023-11-16 18:17:03,1,1\n2023-11-16 18:17:04,2,1\nbad\n",
                 "t", {.requests_max = 2}));
  EXPECT_EQ(trace.rows.size(), 2u);
}

TEST(TraceFormatsTest, SessionsAreCutAfterTheyAreSorted) {
  ASSERT_OK_AND_ASSIGN(
      const Trace trace,
      ParseTrace(std::string(kSessions) + "1,main,0,100,5,0,,\n" +
                     "1,main,100,110,5,0,,\n" + "2,main,0,120,5,0,,\n",
                 "t", {.requests_max = 2}));
  ASSERT_EQ(trace.rows.size(), 2u);
  EXPECT_EQ(trace.rows[1].prompt_tokens, 120);
}

TEST(TraceFormatsTest, NoRequestsAtAllCannotBeAskedFor) {
  EXPECT_THAT(ParseTrace("", "t", {.requests_max = 0}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("requests_max: expected 1 to")));
}

// ServeGen: a window of ten minutes without requests, and one with 60.
class ServeGenTest : public ::testing::Test {
 protected:
  // Of its own: tests run beside each other.
  ServeGenTest()
      : folder_(
            ::testing::TempDir() + "servegen_" +
            ::testing::UnitTest::GetInstance()->current_test_info()->name() +
            "/") {
    std::filesystem::create_directories(folder_);
  }
  ~ServeGenTest() override { std::filesystem::remove_all(folder_); }
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ + name) << text;
    return folder_ + name;
  }
  std::string folder_;
};

constexpr char kDataset[] =
    R"({"0": {"input_tokens": "{100: 0.25, 300: 0.75}",
              "output_tokens": "{7: 1.0}"}})";

TEST_F(ServeGenTest, RequestsAreDrawnFromRatesAndLengths) {
  Write("a-dataset.json", kDataset);
  const std::string path =
      Write("a-trace.csv", "0,0,0,,0,0\n600,10,2,Gamma,0.25,4\n");
  ASSERT_OK_AND_ASSIGN(const Trace trace, LoadTrace(path));
  ASSERT_EQ(trace.rows.size(), 6000u);
  EXPECT_EQ(trace.rows.front().arrival, Instant{});
  EXPECT_LT(trace.rows.back().arrival, Instant(std::chrono::seconds(600)));
  std::int64_t long_prompts = 0;
  for (const TraceRow& row : trace.rows) {
    EXPECT_TRUE(row.prompt_tokens == 100 || row.prompt_tokens == 300);
    EXPECT_EQ(row.output_tokens, 7);
    long_prompts += row.prompt_tokens == 300 ? 1 : 0;
  }
  // 4,500 expected, standard deviation 33.5: five of them.
  EXPECT_NEAR(static_cast<double>(long_prompts), 4500, 168);
}

TEST_F(ServeGenTest, GapsHaveTheVariationOfTheirDistribution) {
  Write("a-dataset.json", kDataset);
  // Gamma with shape 0.25: variance over squared mean is 4. Weibull with shape
  // 1 is exponential: 1.
  for (const auto& [line, variation] : {std::pair{"0,50,2,Gamma,0.25,1", 4.0},
                                        std::pair{"0,50,1,Weibull,1,1", 1.0}}) {
    const std::string path = Write("a-trace.csv", std::string(line) + "\n");
    ASSERT_OK_AND_ASSIGN(const Trace trace, LoadTrace(path));
    double sum = 0;
    double squares = 0;
    for (std::size_t i = 1; i < trace.rows.size(); ++i) {
      const double gap = static_cast<double>(
          (trace.rows[i].arrival - trace.rows[i - 1].arrival).count());
      sum += gap;
      squares += gap * gap;
    }
    const auto count = static_cast<double>(trace.rows.size() - 1);
    const double mean = sum / count;
    EXPECT_NEAR(squares / count / mean / mean - 1, variation, variation * 0.1)
        << line;
  }
}

TEST_F(ServeGenTest, ASeedGivesOneTrace) {
  Write("a-dataset.json", kDataset);
  const std::string path = Write("a-trace.csv", "0,1,2,Weibull,0.7,4\n");
  ASSERT_OK_AND_ASSIGN(const Trace first, LoadTrace(path, {.seed = 3}));
  ASSERT_OK_AND_ASSIGN(const Trace again, LoadTrace(path, {.seed = 3}));
  ASSERT_OK_AND_ASSIGN(const Trace other, LoadTrace(path, {.seed = 4}));
  EXPECT_EQ(first.rows, again.rows);
  EXPECT_NE(first.rows, other.rows);
}

TEST_F(ServeGenTest, NoMoreAreDrawnThanAskedFor) {
  Write("a-dataset.json", kDataset);
  const std::string path = Write("a-trace.csv", "0,10,2,Gamma,0.25,4\n");
  ASSERT_OK_AND_ASSIGN(const Trace trace, LoadTrace(path, {.requests_max = 5}));
  EXPECT_EQ(trace.rows.size(), 5u);
}

TEST_F(ServeGenTest, AnotherDistributionIsAnError) {
  Write("a-dataset.json", kDataset);
  const std::string path = Write("a-trace.csv", "0,10,2,Pareto,0.25,4\n");
  EXPECT_THAT(LoadTrace(path),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("a-trace.csv:1: column 4 (distribution): "
                                 "expected Gamma or Weibull, got \"Pareto\"")));
}

TEST_F(ServeGenTest, LengthsThatAreMissingAreAnError) {
  const std::string path = Write("a-trace.csv", "0,10,2,Gamma,0.25,4\n");
  EXPECT_THAT(LoadTrace(path),
              StatusIs(absl::StatusCode::kNotFound,
                       HasSubstr("a-dataset.json: cannot read the ServeGen")));
  Write("a-dataset.json",
        R"({"0": {"input_tokens": "{}", "output_tokens": "{1: 1}"}})");
  EXPECT_THAT(LoadTrace(path),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("a-trace.csv:1: column 1 (start): expected "
                                 "lengths of this moment")));
  Write("a-dataset.json",
        R"({"0": {"input_tokens": "{1: x}", "output_tokens": "{1: 1}"}})");
  EXPECT_THAT(LoadTrace(path),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("a-dataset.json: key 0.input_tokens: expected "
                                 "a text such as")));
}

// The originals beside the uniform files that were derived from them.
std::string Shared(const std::string& name) {
  return testing::SharedFile("traces/" + name);
}

struct Pair {
  const char* original;
  const char* uniform;
};
void PrintTo(const Pair& pair, std::ostream* out) { *out << pair.original; }

class OriginalTest : public ::testing::TestWithParam<Pair> {};

TEST_P(OriginalTest, GivesTheRowsOfTheUniformFile) {
  const std::string original = Shared(GetParam().original);
  const std::string uniform = Shared(GetParam().uniform);
  if (original.empty() || uniform.empty()) {
    GTEST_SKIP() << GetParam().original << " is not at hand";
  }
  ASSERT_OK_AND_ASSIGN(const Trace got, LoadTrace(original));
  ASSERT_OK_AND_ASSIGN(const Trace want, LoadTrace(uniform));
  ASSERT_EQ(got.rows.size(), want.rows.size());
  for (std::size_t i = 0; i < got.rows.size(); ++i) {
    TraceRow row = got.rows[i];
    // Uniform files have three decimals.
    const Duration apart = row.arrival - want.rows[i].arrival;
    ASSERT_LE(apart, std::chrono::microseconds(500)) << i;
    ASSERT_GE(apart, -std::chrono::microseconds(500)) << i;
    row.arrival = want.rows[i].arrival;
    // Uniform files have at least one token of output.
    row.output_tokens = std::max<Tokens>(row.output_tokens, 1);
    ASSERT_EQ(row, want.rows[i]) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shared, OriginalTest,
    ::testing::Values(
        Pair{"azure_llm_2023_code.csv", "requests/azure_code.csv"},
        Pair{"azure_llm_2023_conv_rows_1_10000.csv", "requests/azure_conv.csv"},
        Pair{"mooncake_conversation_rows_1_6000.jsonl",
             "requests/mooncake_conversation.csv"},
        Pair{"mooncake_synthetic.jsonl", "requests/mooncake_synthetic.csv"},
        Pair{"agentic_coding_sessions_0001_0450.csv",
             "requests/agentic_coding.csv"}));

TEST(SharedTracesTest, LengthsAreRead) {
  const std::string path =
      Shared("arxiv_summarization_lengths_rows_1_14000.csv");
  if (path.empty()) GTEST_SKIP() << "not at hand";
  ASSERT_OK_AND_ASSIGN(const Trace trace, LoadTrace(path));
  EXPECT_EQ(trace.rows.size(), 14000u);
}

TEST(SharedTracesTest, ServeGenGivesItsRateAndItsLengths) {
  const std::string path = Shared("servegen/m-mid_chunk-91-trace.csv");
  if (path.empty()) GTEST_SKIP() << "not at hand";
  ASSERT_OK_AND_ASSIGN(const Trace trace, LoadTrace(path));
  // Sum of rate x 600 over the windows: 78,644.
  EXPECT_NEAR(static_cast<double>(trace.rows.size()), 78644, 500);
  std::vector<double> prompts;
  for (const TraceRow& row : trace.rows) {
    prompts.push_back(static_cast<double>(row.prompt_tokens));
  }
  EXPECT_GT(PercentilesOf(prompts).p50, 1000);
}

}  // namespace
}  // namespace tidegate
