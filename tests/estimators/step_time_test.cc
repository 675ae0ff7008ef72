// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/step_time.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "estimators/measured_grid.h"
#include "tests/testing/matchers.h"

namespace tidegate {
namespace {

using ::testing::HasSubstr;
using ::tidegate::testing::StatusIs;

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
constexpr char kHeader[] = "part,n,kv_len,decodes,decode_kv_len,time_us\n";

TimeRow StepRow(Tokens n, Tokens kv_len, double us) {
  return {.n = n, .kv_len = kv_len, .us = us};
}

std::shared_ptr<const StepTimer> Timer(std::vector<TimeRow> rows) {
  const auto timer = CreateStepTimer(TimeProfile{std::move(rows)});
  EXPECT_TRUE(timer.ok()) << timer.status();
  return *timer;
}

StepTime OfChunk(const StepTimer& timer, Tokens n, Tokens kv_len) {
  const Chunk chunk{.n = n, .kv_len = kv_len};
  return timer.Of({.chunks = {&chunk, 1}});
}

double Micros(const StepTime& time) {
  return static_cast<double>(time.took.count()) * 1e-3;
}

// 100 us + 2 us a token + 10 ns a pair.
double Law(Tokens n, Tokens before) {
  const double dn = static_cast<double>(n);
  const double dk = static_cast<double>(before);
  return 100 + 2 * dn + 0.01 * (2 * dk * dn + dn * dn);
}

std::vector<TimeRow> LawRows() {
  std::vector<TimeRow> rows;
  for (const Tokens n : {64, 256, 1024}) {
    for (const Tokens before : {0, 1000, 8000}) {
      rows.push_back(StepRow(n, before + n, Law(n, before)));
    }
  }
  return rows;
}

TEST(MeasuredGridTest, IsLinearBetweenNeighboursAndFlatOutside) {
  const internal::MeasuredGrid grid(
      {{{1, 10}, 1.0}, {{1, 20}, 3.0}, {{3, 10}, 5.0}, {{3, 30}, 9.0}});
  const auto at = [&](double x, double y) {
    const double point[] = {x, y};
    return grid.At(point);
  };
  EXPECT_DOUBLE_EQ(at(1, 10).value, 1);
  EXPECT_DOUBLE_EQ(at(1, 15).value, 2);
  EXPECT_DOUBLE_EQ(at(3, 20).value, 7);
  EXPECT_DOUBLE_EQ(at(2, 15).value, 4);  // 2 and 6
  EXPECT_TRUE(at(2, 15).inside);
  EXPECT_DOUBLE_EQ(at(9, 99).value, 9);
  EXPECT_FALSE(at(9, 20).inside);
  // 25 lies past what was measured with the lower neighbour.
  EXPECT_FALSE(at(2, 25).inside);
  EXPECT_FALSE(at(0, 15).inside);
}

TEST(StepTimeTest, EveryMeasuredRowIsMetExactly) {
  const std::vector<TimeRow> rows = {
      StepRow(64, 64, 300), StepRow(64, 640, 150), StepRow(72, 72, 900),
      StepRow(512, 4096, 1234.567)};
  const auto timer = Timer(rows);
  for (const TimeRow& row : rows) {
    const StepTime time = OfChunk(*timer, row.n, row.kv_len);
    EXPECT_NEAR(Micros(time), row.us, 0.001);
    EXPECT_FALSE(time.extrapolated);
  }
}

TEST(StepTimeTest, BetweenRowsTimeGrowsAsTheLawDoes) {
  const auto timer = Timer(LawRows());
  for (const auto& [n, before] : std::vector<std::pair<Tokens, Tokens>>{
           {640, 0}, {640, 4000}, {100, 7000}, {256, 500}}) {
    const StepTime time = OfChunk(*timer, n, n + before);
    EXPECT_NEAR(Micros(time), Law(n, before), 0.01 * Law(n, before));
    EXPECT_FALSE(time.extrapolated);
  }
}

TEST(StepTimeTest, OutsideTheRowsTheLawGoesOnAndSaysSo) {
  const auto timer = Timer(LawRows());
  for (const auto& [n, before] : std::vector<std::pair<Tokens, Tokens>>{
           {4096, 0}, {1024, 64'000}, {16, 100}}) {
    const StepTime time = OfChunk(*timer, n, n + before);
    EXPECT_NEAR(Micros(time), Law(n, before), 0.02 * Law(n, before));
    EXPECT_TRUE(time.extrapolated);
  }
}

TEST(StepTimeTest, AnEdgeBetweenTilesIsNotSmoothed) {
  const auto timer = Timer({StepRow(128, 128, 600), StepRow(256, 256, 764),
                            StepRow(264, 264, 1067), StepRow(512, 512, 1256)});
  EXPECT_NEAR(
      Micros(OfChunk(*timer, 264, 264)) / Micros(OfChunk(*timer, 256, 256)),
      1.397, 0.001);
  EXPECT_LT(Micros(OfChunk(*timer, 255, 255)), 764);
}

TEST(StepTimeTest, TheMedianOfRepeatedRowsCounts) {
  const auto timer = Timer({StepRow(64, 64, 100), StepRow(64, 64, 7400),
                            StepRow(64, 64, 104), StepRow(128, 128, 200)});
  EXPECT_NEAR(Micros(OfChunk(*timer, 64, 64)), 104, 0.001);
}

TEST(StepTimeTest, ChunksOfOneStepShareItsFixedCost) {
  const auto timer = Timer(LawRows());
  const Chunk chunks[] = {{.n = 256, .kv_len = 256}, {.n = 64, .kv_len = 1064}};
  EXPECT_NEAR(Micros(timer->Of({.chunks = chunks})),
              Law(256, 0) + Law(64, 1000) - 100, 2);
}

std::vector<TimeRow> Parts() {
  return {{.part = TimePart::kFixed, .us = 50},
          {.part = TimePart::kTokens, .n = 100, .us = 1000},
          {.part = TimePart::kTokens, .n = 200, .us = 1500},
          {.part = TimePart::kSequences, .n = 1, .us = 20},
          {.part = TimePart::kSequences, .n = 10, .us = 29},
          {.part = TimePart::kAttention, .n = 100, .kv_len = 100, .us = 300},
          {.part = TimePart::kAttention, .n = 200, .kv_len = 200, .us = 900},
          {.part = TimePart::kAttention,
           .decodes = 4,
           .decode_kv_len = 1000,
           .us = 80},
          {.part = TimePart::kAttention,
           .decodes = 8,
           .decode_kv_len = 1000,
           .us = 120}};
}

TEST(StepTimeTest, AStepIsTheSumOfItsParts) {
  const auto timer = Timer(Parts());
  EXPECT_NEAR(Micros(OfChunk(*timer, 100, 100)), 50 + 1000 + 20 + 300, 0.01);
  EXPECT_NEAR(Micros(OfChunk(*timer, 200, 200)), 50 + 1500 + 20 + 900, 0.01);
  const Tokens four[] = {500, 1500, 1000, 1000};  // 1000 on average
  const StepTime decode = timer->Of({.decode_kv_lens = four});
  // 50 + law of tokens at 4, 23 of four sequences, 80 of their attention.
  EXPECT_TRUE(decode.extrapolated);  // 4 tokens lie below the table
  EXPECT_GT(Micros(decode), 50 + 23 + 80);
}

TEST(StepTimeTest, WhatAMixedStepMeasuredReplacesTheSum) {
  std::vector<TimeRow> rows = Parts();
  rows.push_back({.part = TimePart::kAttention,
                  .n = 100,
                  .kv_len = 100,
                  .decodes = 4,
                  .decode_kv_len = 1000,
                  .us = 340});
  const auto timer = Timer(rows);
  const Chunk chunk{.n = 100, .kv_len = 100};
  const Tokens four[] = {1000, 1000, 1000, 1000};
  const StepTime mixed =
      timer->Of({.chunks = {&chunk, 1}, .decode_kv_lens = four});
  // 1020 us of 104 tokens, 24 of five sequences.
  EXPECT_NEAR(Micros(mixed), 50 + 1020 + 24 + 340, 1);
  EXPECT_FALSE(mixed.extrapolated);
}

TEST(StepTimeTest, DecodingThatWasNotMeasuredIsFlagged) {
  const auto timer = Timer(LawRows());
  const Chunk chunk{.n = 256, .kv_len = 256};
  const Tokens decodes[] = {1001, 1001};
  const StepTime alone = timer->Of({.chunks = {&chunk, 1}});
  const StepTime mixed =
      timer->Of({.chunks = {&chunk, 1}, .decode_kv_lens = decodes});
  EXPECT_TRUE(mixed.extrapolated);
  EXPECT_NEAR(Micros(mixed) - Micros(alone), 2 * (Law(1, 1000) - 100), 1);
}

TEST(StepTimeTest, NothingToDoTakesNoTime) {
  EXPECT_EQ(Timer(LawRows())->Of({}).took, Duration::zero());
  EXPECT_EQ(CreateStepTimer(TimeModel{.fixed_ps = 5})->Of({}).took,
            Duration::zero());
}

TEST(StepTimeTest, TheModelOfATableIsTheLawBehindIt) {
  const TimeModel model = Timer(LawRows())->Model();
  for (const Tokens n : {64, 512, 1024}) {
    for (const Tokens before : {0, 3000}) {
      EXPECT_NEAR(static_cast<double>(model.Of(n, before).count()) * 1e-3,
                  Law(n, before), 0.01 * Law(n, before));
    }
  }
}

TEST(StepTimeTest, TheFormulaCountsItsFixedCostOnce) {
  const TimeModel model{.fixed_ps = 1'000'000,
                        .per_kv_ps = 1000,
                        .per_token_ps = 10'000,
                        .per_pair_as = 0};
  const auto timer = CreateStepTimer(model);
  const Chunk chunks[] = {{.n = 10, .kv_len = 10}, {.n = 5, .kv_len = 105}};
  const Tokens decodes[] = {51};
  // 1000 ns + 10*10 + (5*10 + 100*1) + (1*10 + 50*1).
  EXPECT_EQ(timer->Of({.chunks = chunks, .decode_kv_lens = decodes}).took,
            Duration(1310));
  EXPECT_EQ(timer->Model(), model);
}

TEST(StepTimeTest, TheLongestSequencesNeitherOverflowNorFall) {
  const auto timer = Timer({StepRow(64, 64, 1e12), StepRow(128, 128, 1e12)});
  const std::vector<Tokens> decodes(1000, kTokensMax);
  const Chunk chunk{.n = kTokensMax, .kv_len = kTokensMax};
  const StepTime time =
      timer->Of({.chunks = {&chunk, 1}, .decode_kv_lens = decodes});
  EXPECT_GE(time.took, Duration(1'000'000'000'000'000));
  EXPECT_TRUE(time.extrapolated);
}

// Whatever was measured, and however oddly: a step takes some time, more work
// in more sequences no less than the dearest of them, and the same again.
TEST(StepTimeTest, OddMeasurementsGiveNoOddAnswers) {
  std::mt19937_64 random(7);
  const auto below = [&](std::uint64_t n) {
    return static_cast<Tokens>(random() % n);
  };
  for (int round = 0; round < 200; ++round) {
    const TimePart part =
        round % 2 == 0 ? TimePart::kStep : TimePart::kAttention;
    std::vector<TimeRow> rows;
    const auto us = [&] { return 1e-3 + static_cast<double>(below(5000)); };
    for (Tokens i = 0; i < 1 + below(12); ++i) {
      const Tokens n = 1 + below(4000);
      rows.push_back({part, n, n + below(100'000), 0, 0, us()});
      if (i > 2) rows.push_back({part, 0, 0, 1 + below(200), 1 + n, us()});
      if (i > 4) {
        rows.push_back({part, n, 2 * n, 1 + below(200), 1 + below(9000), us()});
      }
    }
    if (part == TimePart::kAttention) {
      rows.push_back(
          {.part = TimePart::kTokens, .n = 1 + below(4000), .us = us()});
    }
    const auto timer = Timer(rows);
    ASSERT_NE(timer, nullptr);
    for (int step = 0; step < 20; ++step) {
      std::vector<Chunk> chunks;
      std::vector<Tokens> decodes;
      Duration dearest{};
      for (Tokens i = below(6); i >= 0; --i) {
        const Tokens n = 1 + below(8000);
        chunks.push_back({.n = n, .kv_len = n + below(200'000)});
        if (part == TimePart::kStep) {
          dearest = std::max(dearest,
                             timer->Of({.chunks = {&chunks.back(), 1}}).took);
        }
      }
      EXPECT_GE(timer->Of({.chunks = chunks}).took,
                std::max(dearest, Duration(1)));
      for (Tokens i = below(40); i > 0; --i) decodes.push_back(1 + below(9000));
      const StepWork work{.chunks = chunks, .decode_kv_lens = decodes};
      EXPECT_GT(timer->Of(work).took, Duration::zero());
      EXPECT_EQ(timer->Of(work).took, timer->Of(work).took);
    }
  }
}

TEST(TimeProfileTest, ReadsEveryPart) {
  ASSERT_OK_AND_ASSIGN(const TimeProfile profile,
                       ParseTimeProfile(std::string(kHeader) +
                                            "fixed,,,,,12.5\n"
                                            "tokens,2048,,,,181000\n"
                                            "sequences,16,,,,900\n"
                                            "attention,512,4608,,,2000\n"
                                            "attention,,,16,2048,300\n"
                                            "attention,512,4608,16,2048,2200\n",
                                        "p.csv"));
  ASSERT_EQ(profile.rows.size(), 6u);
  EXPECT_EQ(profile.rows[5].part, TimePart::kAttention);
  EXPECT_EQ(profile.rows[5].n, 512);
  EXPECT_EQ(profile.rows[5].kv_len, 4608);
  EXPECT_EQ(profile.rows[5].decodes, 16);
  EXPECT_EQ(profile.rows[5].decode_kv_len, 2048);
  EXPECT_DOUBLE_EQ(profile.rows[5].us, 2200);
}

struct BadProfile {
  const char* text;  // behind the header
  const char* message;
};

void PrintTo(const BadProfile& bad, std::ostream* out) { *out << bad.text; }

class BadTimeProfileTest : public ::testing::TestWithParam<BadProfile> {};

TEST_P(BadTimeProfileTest, IsRefusedWithFileLineAndColumn) {
  EXPECT_THAT(ParseTimeProfile(std::string(kHeader) + GetParam().text, "p.csv"),
              StatusIs(kInvalid, HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    Rows, BadTimeProfileTest,
    ::testing::Values(
        BadProfile{"stp,1,1,,,5\n",
                   "p.csv:2: column part: expected one of fixed, tokens, "
                   "sequences, attention, step, got \"stp\""},
        BadProfile{"step,64,64,,,0\n",
                   "p.csv:2: column time_us: expected a number above 0, got "
                   "\"0\""},
        BadProfile{"step,64,64,,,nan\n", "p.csv:2: column time_us"},
        BadProfile{"step,64,64,,,1e300\n",
                   "p.csv:2: column time_us: expected at most 1e12"},
        BadProfile{"step,64,63,,,5\n",
                   "p.csv:2: column kv_len: expected at least n, which is 64, "
                   "got \"63\""},
        BadProfile{"step,64,,,,5\n", "p.csv:2: column kv_len: expected"},
        BadProfile{"step,64,900000000,,,5\n",
                   "p.csv:2: column kv_len: expected at most 100000000"},
        BadProfile{"step,-1,64,,,5\n", "p.csv:2: column n: expected"},
        BadProfile{"step,,,,,5\n",
                   "p.csv:2: column n: expected tokens of a chunk, or decodes"},
        BadProfile{"step,64,64,4,,5\n",
                   "p.csv:2: column decode_kv_len: expected"},
        BadProfile{"tokens,64,64,,,5\n",
                   "p.csv:2: column kv_len: expected nothing or 0 in such a "
                   "row, got \"64\""},
        BadProfile{"fixed,1,,,,5\n", "p.csv:2: column n: expected nothing"},
        BadProfile{"step,64,64,,5\n", "p.csv:2: expected 6 fields, got 5"},
        BadProfile{"", "p.csv: part attention: expected rows of single chunks"},
        BadProfile{"attention,64,64,,,5\n",
                   "p.csv: part tokens: expected rows, got none"},
        BadProfile{"step,64,64,,,5\ntokens,64,,,,5\n",
                   "p.csv: part step: expected whole steps alone, or tokens "
                   "and attention; got both"},
        BadProfile{"step,64,64,,,5\nstep,64,64,2,100,6\n",
                   "p.csv: part step: expected rows of decoding alone"},
        BadProfile{"step,64,64,,,5\nfixed,,,,,5\nfixed,,,,,5\n",
                   "p.csv: part fixed: expected one row at most"}));

TEST(TimeProfileTest, AnUnknownOrMissingColumnIsNamed) {
  EXPECT_THAT(
      ParseTimeProfile("part,n,kv_lens,decodes,decode_kv_len,time_us\n",
                       "p.csv"),
      StatusIs(kInvalid, HasSubstr("p.csv:1: column kv_lens: unknown; did you "
                                   "mean \"kv_len\"?")));
  EXPECT_THAT(ParseTimeProfile("part,n,kv_len,decodes,time_us\n", "p.csv"),
              StatusIs(kInvalid, HasSubstr("p.csv:1: column decode_kv_len: "
                                           "expected in the header")));
  EXPECT_THAT(ParseTimeProfile("", "p.csv"),
              StatusIs(kInvalid, HasSubstr("p.csv")));
}

TEST(TimeProfileTest, AFileThatIsNotThereIsNotFound) {
  EXPECT_THAT(LoadTimeProfile("/nonexistent/h100.csv"),
              StatusIs(absl::StatusCode::kNotFound,
                       HasSubstr("cannot read the time profile")));
}

}  // namespace
}  // namespace tidegate
