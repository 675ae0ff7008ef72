// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/text.h"

#include <array>
#include <cstdint>
#include <limits>

#include "tests/testing/matchers.h"

namespace tidegate::internal {
namespace {

constexpr std::array<std::string_view, 4> kKeys = {"q_heads", "kv_heads",
                                                   "head_dim", "hidden"};

TEST(TextTest, ATypoFindsTheNearestKey) {
  EXPECT_EQ(DidYouMean("kv_head", kKeys), "kv_heads");
  EXPECT_EQ(DidYouMean("haed_dim", kKeys), "head_dim");
}

TEST(TextTest, SwappedNeighboursAreOneSlip) {
  constexpr std::string_view kVerbs[] = {"plan", "price", "torch", "policy"};
  EXPECT_EQ(DidYouMean("pirce", kVerbs), "price");
  EXPECT_EQ(DidYouMean("torhc", kVerbs), "torch");
  EXPECT_EQ(DidYouMean("lpan", kVerbs), "plan");
}

TEST(TextTest, OneSlipInAWordOfTwoLettersIsAnotherWord) {
  constexpr std::string_view kShort[] = {"of", "max"};
  EXPECT_EQ(DidYouMean("fo", kShort), "");
  EXPECT_EQ(DidYouMean("on", kShort), "");
  EXPECT_EQ(DidYouMean("OF", kShort), "of");
  EXPECT_EQ(DidYouMean("mx", kShort), "");
  EXPECT_EQ(DidYouMean("mex", kShort), "max");
}

TEST(TextTest, CaseAndHyphensAreNotAnotherWord) {
  EXPECT_EQ(DidYouMean("Head-Dim", kKeys), "head_dim");
}

TEST(TextTest, AnUnrelatedWordFindsNothing) {
  EXPECT_EQ(DidYouMean("temperature", kKeys), "");
  EXPECT_EQ(DidYouMean("", kKeys), "");
  EXPECT_EQ(DidYouMean("x", {}), "");
}

TEST(TextTest, BytesBelowAKibibyteHaveNoFraction) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
}

TEST(TextTest, LargerAmountsHaveTwoDecimals) {
  EXPECT_EQ(FormatBytes(1024), "1.00 KiB");
  EXPECT_EQ(FormatBytes(32 << 20), "32.00 MiB");
  EXPECT_EQ(FormatBytes(13'679'470'837), "12.74 GiB");
}

TEST(TextTest, AnAmountThatRoundsToTheNextUnitIsGivenInIt) {
  EXPECT_EQ(FormatBytes((std::int64_t{1} << 30) - 1), "1.00 GiB");
  EXPECT_EQ(FormatBytes((1 << 20) - 1), "1.00 MiB");
}

TEST(TextTest, ExtremesAreFormatted) {
  EXPECT_EQ(FormatBytes(std::numeric_limits<std::int64_t>::max()), "8.00 EiB");
  EXPECT_EQ(FormatBytes(std::numeric_limits<std::int64_t>::min()), "-8.00 EiB");
  EXPECT_EQ(FormatBytes(-512), "-512 B");
}

struct Amount {
  std::string_view text;
  std::int64_t bytes;
};

TEST(TextTest, AmountsWithAUnitAreExact) {
  for (const Amount& a : {
           Amount{"4096", 4096},
           Amount{"0", 0},
           Amount{"512 B", 512},
           Amount{"36 GiB", std::int64_t{36} << 30},
           Amount{"36GiB", std::int64_t{36} << 30},
           Amount{" 512 MiB ", 512 << 20},
           Amount{"1.5 GB", 1'500'000'000},
           Amount{"0.1 GB", 100'000'000},
           Amount{"2 kb", 2000},
           Amount{"0.5 KiB", 512},
           Amount{"7 EiB", std::int64_t{7} << 60},
           Amount{"1.000 KiB", 1024},
           Amount{"9223372036854775807",
                  std::numeric_limits<std::int64_t>::max()},
       }) {
    std::int64_t bytes = -1;
    EXPECT_TRUE(ParseBytes(a.text, &bytes)) << a.text;
    EXPECT_EQ(bytes, a.bytes) << a.text;
  }
}

TEST(TextTest, WhatIsNoAmountIsRefusedAndChangesNothing) {
  for (std::string_view text : {"",
                                " ",
                                "GiB",
                                "-1",
                                "+1",
                                "1 GiBs",
                                "1,5 GB",
                                "1.",
                                ".5",
                                "1e9",
                                "0x10",
                                "nan",
                                "inf",
                                "1 2",
                                "0.3 B",
                                "0.0000001 KiB",
                                "8 EiB",
                                "9223372036854775808",
                                "99999999999999999999999",
                                "1 GiB GiB"}) {
    std::int64_t bytes = -1;
    EXPECT_FALSE(ParseBytes(text, &bytes)) << text;
    EXPECT_EQ(bytes, -1) << text;
  }
}

TEST(TextTest, PiecesAreJoinedWithNumbers) {
  EXPECT_EQ(Concat("a", std::string("b"), 3, std::int64_t{-4}), "ab3-4");
}

}  // namespace
}  // namespace tidegate::internal
