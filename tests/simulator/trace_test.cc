// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <string>

#include "tests/testing/matchers.h"
#include "tidegate/simulator.h"

namespace tidegate {
namespace {

using ::tidegate::testing::IsOk;
using ::tidegate::testing::StatusIs;

constexpr char kHeader[] =
    "arrival_s,prompt_tokens,cached_tokens,output_tokens,session\n";

absl::StatusOr<Trace> Parse(const std::string& rows) {
  return ParseTrace(kHeader + rows, "t.csv");
}

void ExpectError(const std::string& rows, const std::string& message) {
  EXPECT_THAT(Parse(rows),
              StatusIs(absl::StatusCode::kInvalidArgument, message));
}

TEST(TraceTest, ARowIsReadWhole) {
  ASSERT_OK_AND_ASSIGN(const Trace trace, Parse("0,100,64,7,-3\n"));
  EXPECT_THAT(trace.rows, ::testing::ElementsAre(TraceRow{.arrival = Instant{},
                                                          .prompt_tokens = 100,
                                                          .cached_tokens = 64,
                                                          .output_tokens = 7,
                                                          .session = -3}));
}

TEST(TraceTest, NineDecimalsOfASecondAreExactNanoseconds) {
  ASSERT_OK_AND_ASSIGN(const Trace trace, Parse("123456789.000000001,1,0,0,0"));
  EXPECT_EQ(trace.rows[0].arrival.time_since_epoch(),
            Duration(123456789'000'000'001));
}

TEST(TraceTest, FewerDecimalsAreFilledWithZeros) {
  ASSERT_OK_AND_ASSIGN(const Trace trace, Parse("1.25,1,0,0,0\n"));
  EXPECT_EQ(trace.rows[0].arrival.time_since_epoch(), Duration(1'250'000'000));
}

TEST(TraceTest, LinesMayEndInCarriageReturns) {
  ASSERT_OK_AND_ASSIGN(
      const Trace trace,
      ParseTrace("arrival_s,prompt_tokens,cached_tokens,output_tokens,session"
                 "\r\n0,5,0,1,0\r\n1,6,0,1,0\r\n",
                 "t.csv"));
  EXPECT_EQ(trace.rows.size(), 2u);
}

TEST(TraceTest, EqualArrivalsAreInOrder) {
  EXPECT_THAT(Parse("3,1,0,1,0\n3,1,0,1,0\n"), IsOk());
}

TEST(TraceTest, AnotherHeaderIsAnError) {
  EXPECT_THAT(
      ParseTrace("arrival_s,prompt,cached_tokens,output_tokens,session\n",
                 "t.csv"),
      StatusIs(absl::StatusCode::kInvalidArgument,
               "t.csv:1: column prompt_tokens: expected this name in the "
               "header, got \"prompt\""));
}

TEST(TraceTest, AnEmptyFileIsAnError) {
  EXPECT_THAT(ParseTrace("", "t.csv"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "t.csv:1: column arrival_s: expected the header, got "
                       "the end of the file"));
}

TEST(TraceTest, ATraceWithoutRequestsIsAnError) {
  ExpectError("",
              "t.csv:2: column arrival_s: expected a first request, got the "
              "end of the file");
}

TEST(TraceTest, AnEarlierArrivalIsAnError) {
  ExpectError("2,1,0,1,0\n1.9,1,0,1,0\n",
              "t.csv:3: column arrival_s: expected no arrival before that of "
              "the line above, got \"1.9\"");
}

TEST(TraceTest, APromptThatIsCachedWholeIsAnError) {
  ExpectError("0,64,64,1,0\n",
              "t.csv:2: column cached_tokens: expected less than the 64 "
              "prompt_tokens: one is always left to compute, got \"64\"");
}

TEST(TraceTest, ANegativeNumberOfTokensIsAnError) {
  ExpectError("0,-5,0,1,0\n",
              "t.csv:2: column prompt_tokens: expected an integer from 1 to "
              "100000000, got \"-5\"");
}

TEST(TraceTest, ANegativeArrivalIsAnError) {
  ExpectError("-1,5,0,1,0\n",
              "t.csv:2: column arrival_s: expected seconds with at most 9 "
              "decimals, such as 12.345, got \"-1\"");
}

TEST(TraceTest, TenDecimalsAreAnError) {
  ExpectError("0.0000000001,5,0,1,0\n",
              "t.csv:2: column arrival_s: expected seconds with at most 9 "
              "decimals, such as 12.345, got \"0.0000000001\"");
}

TEST(TraceTest, AnExponentIsNoArrival) {
  ExpectError("1e3,5,0,1,0\n",
              "t.csv:2: column arrival_s: expected seconds with at most 9 "
              "decimals, such as 12.345, got \"1e3\"");
}

TEST(TraceTest, ANumberWithATailIsAnError) {
  ExpectError("0,5,0,1x,0\n",
              "t.csv:2: column output_tokens: expected an integer from 0 to "
              "100000000, got \"1x\"");
}

TEST(TraceTest, AnEmptyFieldIsAnError) {
  ExpectError("0,5,,1,0\n",
              "t.csv:2: column cached_tokens: expected an integer from 0 to "
              "100000000, got \"\"");
}

TEST(TraceTest, AMissingFieldIsAnError) {
  ExpectError("0,5,0,1\n",
              "t.csv:2: column session: expected a field, got the end of the "
              "line");
}

TEST(TraceTest, AFieldTooManyIsAnError) {
  ExpectError("0,5,0,1,0,9\n",
              "t.csv:2: column session: expected the end of the line, got "
              "\",9\"");
}

TEST(TraceTest, AnEmptyLineIsAnError) {
  ExpectError("0,5,0,1,0\n\n",
              "t.csv:3: column prompt_tokens: expected a field, got the end of "
              "the line");
}

TEST(TraceTest, AFileThatDoesNotExistIsNotFound) {
  EXPECT_THAT(LoadTrace("no/such.csv"),
              StatusIs(absl::StatusCode::kNotFound,
                       "no/such.csv: cannot read the trace"));
}

TEST(TraceTest, TheShippedTracesAreRead) {
  for (const char* file : {"agentic_coding.csv", "mooncake_conversation.csv"}) {
    ASSERT_OK_AND_ASSIGN(const Trace trace,
                         LoadTrace(std::string(TIDEGATE_SOURCE_DIR) +
                                   "/examples/traces/" + file));
    EXPECT_EQ(trace.rows.size(), 600u) << file;
  }
}

}  // namespace
}  // namespace tidegate
