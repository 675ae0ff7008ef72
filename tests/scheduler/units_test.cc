// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/units.h"

#include <chrono>
#include <string_view>

#include "tests/testing/matchers.h"

namespace tidegate::internal {
namespace {

Tokens TokensOf(std::string_view text) {
  Tokens tokens = -1;
  return ParseTokens(text, &tokens) ? tokens : -1;
}

Duration DurationOf(std::string_view text) {
  Duration duration(-1);
  return ParseDuration(text, &duration) ? duration : Duration(-1);
}

constexpr Duration kNone(-1);

TEST(UnitsTest, TokensMayHaveABinaryUnit) {
  EXPECT_EQ(TokensOf("2048"), 2048);
  EXPECT_EQ(TokensOf("8k"), 8192);
  EXPECT_EQ(TokensOf("8K"), 8192);
  EXPECT_EQ(TokensOf("2m"), 2097152);
  EXPECT_EQ(TokensOf("2M"), 2097152);
}

TEST(UnitsTest, SpacesAroundANumberAndItsUnitAreIgnored) {
  EXPECT_EQ(TokensOf("  8 k "), 8192);
  EXPECT_EQ(DurationOf(" 200  ms "), std::chrono::milliseconds(200));
}

TEST(UnitsTest, TheLongestSequenceIsTheLastThatIsRead) {
  EXPECT_EQ(TokensOf("100000000"), kTokensMax);
  EXPECT_EQ(TokensOf("100000001"), -1);
  EXPECT_EQ(TokensOf("95M"), 99614720);
  EXPECT_EQ(TokensOf("96M"), -1);
}

TEST(UnitsTest, WhatIsNoNumberOfTokensIsRefused) {
  for (const std::string_view text :
       {"", " ", "k", "-1", "1.5k", "8kb", "8 k k", "0x10", "1e3",
        "9999999999999999999"}) {
    EXPECT_EQ(TokensOf(text), -1) << text;
  }
}

TEST(UnitsTest, ADurationIsExactToTheNanosecond) {
  EXPECT_EQ(DurationOf("0.25 s"), std::chrono::milliseconds(250));
  EXPECT_EQ(DurationOf("1.5us"), std::chrono::nanoseconds(1500));
  EXPECT_EQ(DurationOf("0.123456789 s"), std::chrono::nanoseconds(123456789));
  EXPECT_EQ(DurationOf("7ns"), std::chrono::nanoseconds(7));
}

TEST(UnitsTest, AFractionOfANanosecondIsRefusedUnlessItIsZero) {
  EXPECT_EQ(DurationOf("1.5ns"), kNone);
  EXPECT_EQ(DurationOf("1.0ns"), std::chrono::nanoseconds(1));
  EXPECT_EQ(DurationOf("0.0001us"), kNone);
}

TEST(UnitsTest, ADayIsTheLongestDuration) {
  EXPECT_EQ(DurationOf("86400 s"), std::chrono::hours(24));
  EXPECT_EQ(DurationOf("86400.1 s"), kNone);
  EXPECT_EQ(DurationOf("86401 s"), kNone);
}

TEST(UnitsTest, WhatIsNoDurationIsRefused) {
  for (const std::string_view text :
       {"", "200", "ms", "-1 s", "1. s", ".5 s", "1 m", "1 h", "1 s s",
        "0.1234567890 s"}) {
    EXPECT_EQ(DurationOf(text), kNone) << text;
  }
}

}  // namespace
}  // namespace tidegate::internal
