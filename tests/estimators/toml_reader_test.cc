// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/toml_reader.h"

#include <string>
#include <vector>

#include "tests/testing/matchers.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tidegate::testing::IsOk;
using tidegate::testing::StatusIs;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// Parses and reads one table with `read`, then finishes it.
template <typename Read>
absl::Status ReadTable(std::string_view text, Read read) {
  TG_ASSIGN_OR_RETURN(const TomlNode root, ParseToml(text, "f.toml"));
  TomlReader reader(root, "f.toml");
  read(reader);
  return reader.Finish();
}

TEST(TomlReaderTest, ReadsEachKindOfValue) {
  std::string name;
  bool on = false;
  std::int64_t count = 0;
  double ratio = 0;
  std::vector<std::string> words;
  std::vector<std::int64_t> numbers;
  EXPECT_THAT(ReadTable("name = \"a\"\non = true\ncount = 0x10\nratio = 2\n"
                        "words = [\"x\", \"y\"]\nnumbers = [1, 2]\n",
                        [&](TomlReader& reader) {
                          reader.Required("name", &name);
                          reader.Required("on", &on);
                          reader.Required("count", &count);
                          reader.Required("ratio", &ratio);
                          reader.Required("words", &words);
                          reader.Required("numbers", &numbers);
                        }),
              IsOk());
  EXPECT_EQ(name, "a");
  EXPECT_TRUE(on);
  EXPECT_EQ(count, 16);
  EXPECT_EQ(ratio, 2.0);
  EXPECT_THAT(words, ElementsAre("x", "y"));
  EXPECT_THAT(numbers, ElementsAre(1, 2));
}

TEST(TomlReaderTest, LeavesAnAbsentOptionalValueAsItWas) {
  std::int64_t count = 7;
  EXPECT_THAT(ReadTable("",
                        [&](TomlReader& reader) {
                          EXPECT_FALSE(reader.Optional("count", &count));
                        }),
              IsOk());
  EXPECT_EQ(count, 7);
}

TEST(TomlReaderTest, NamesTheLineAndColumnOfAWrongKind) {
  std::int64_t count = 0;
  EXPECT_THAT(
      ReadTable("a = 1\ncount = \"ten\"\n",
                [&](TomlReader& reader) { reader.Optional("count", &count); }),
      StatusIs(kInvalid,
               "f.toml:2:9: count: expected an integer, got "
               "\"ten\""));
}

TEST(TomlReaderTest, RefusesAnUnknownKeyAndSuggestsTheNearest) {
  std::int64_t floor = 0;
  EXPECT_THAT(ReadTable("[chunk]\nflor = 256\n",
                        [&](TomlReader& reader) {
                          TomlReader chunk = reader.Table("chunk");
                          chunk.Optional("floor", &floor);
                          chunk.Finish().IgnoreError();
                        }),
              StatusIs(kInvalid,
                       "f.toml:2:1: chunk.flor: unknown key; did you mean "
                       "\"floor\"?"));
}

TEST(TomlReaderTest, SuggestsWhatAMissingKeyWasProbablyMistypedAs) {
  std::string name;
  EXPECT_THAT(
      ReadTable("nam = \"a\"\n",
                [&](TomlReader& reader) { reader.Required("name", &name); }),
      StatusIs(kInvalid, HasSubstr("f.toml:1:1: nam: unknown key; did you "
                                   "mean \"name\"?")));
}

TEST(TomlReaderTest, SaysThatARequiredKeyIsMissing) {
  std::string name;
  EXPECT_THAT(
      ReadTable("",
                [&](TomlReader& reader) { reader.Required("name", &name); }),
      StatusIs(kInvalid, HasSubstr("name: missing key")));
}

TEST(TomlReaderTest, RefusesAnIntegerOutsideItsRange) {
  std::int64_t max = 0;
  EXPECT_THAT(ReadTable("max = 0",
                        [&](TomlReader& reader) {
                          reader.Integer("max", 1, 10, &max);
                        }),
              StatusIs(kInvalid,
                       "f.toml:1:7: max: expected an integer from 1 "
                       "to 10, got 0"));
}

TEST(TomlReaderTest, RefusesANumberThatIsNotFinite) {
  double ratio = 0;
  EXPECT_THAT(
      ReadTable("ratio = nan",
                [&](TomlReader& reader) { reader.Optional("ratio", &ratio); }),
      StatusIs(kInvalid, HasSubstr("expected a finite number")));
}

TEST(TomlReaderTest, ReadsBytesFromTextAndFromIntegers) {
  std::int64_t a = 0;
  std::int64_t b = 0;
  EXPECT_THAT(ReadTable("a = \"2 GiB\"\nb = 4096\n",
                        [&](TomlReader& reader) {
                          reader.Bytes("a", &a);
                          reader.Bytes("b", &b);
                        }),
              IsOk());
  EXPECT_EQ(a, std::int64_t{2} << 30);
  EXPECT_EQ(b, 4096);
}

TEST(TomlReaderTest, RefusesNegativeBytes) {
  std::int64_t bytes = 0;
  EXPECT_THAT(ReadTable("a = -1",
                        [&](TomlReader& reader) { reader.Bytes("a", &bytes); }),
              StatusIs(kInvalid, HasSubstr("a: expected bytes")));
}

TEST(TomlReaderTest, SuggestsAWord) {
  constexpr std::string_view kWords[] = {"fixed", "throttle"};
  int use = 0;
  EXPECT_THAT(
      ReadTable("use = \"throtle\"",
                [&](TomlReader& reader) { reader.Word("use", kWords, &use); }),
      StatusIs(kInvalid, HasSubstr("did you mean \"throttle\"?")));
}

TEST(TomlReaderTest, KeepsTheFirstOfSeveralErrors) {
  std::int64_t a = 0;
  EXPECT_THAT(ReadTable("a = true\nb = true\n",
                        [&](TomlReader& reader) {
                          reader.Optional("a", &a);
                          reader.Optional("b", &a);
                        }),
              StatusIs(kInvalid, HasSubstr("f.toml:1:5: a: ")));
}

TEST(TomlReaderTest, NumbersTheTablesOfAnArray) {
  std::vector<std::int64_t> values;
  EXPECT_THAT(ReadTable("[[rule]]\nn = 1\n[[rule]]\nn = 2\nm = 3\n",
                        [&](TomlReader& reader) {
                          for (TomlReader& rule : reader.Tables("rule")) {
                            std::int64_t n = 0;
                            rule.Required("n", &n);
                            values.push_back(n);
                            rule.Finish().IgnoreError();
                          }
                        }),
              StatusIs(kInvalid, HasSubstr("f.toml:5:1: rule[1].m: unknown")));
  EXPECT_THAT(values, ElementsAre(1, 2));
}

TEST(ParseTomlTest, KeepsTheOrderOfTheDocument) {
  ASSERT_OK_AND_ASSIGN(const TomlNode root, ParseToml("z = 1\na = 2\n", "f"));
  EXPECT_THAT(TomlReader(root, "f").Keys(), ElementsAre("z", "a"));
}

TEST(ParseTomlTest, NamesThePlaceOfASyntaxError) {
  EXPECT_THAT(ParseToml("a = 1\n[!\n", "f.toml"),
              StatusIs(kInvalid, HasSubstr("f.toml:2:2: ")));
}

TEST(ParseTomlTest, RefusesCharactersOutsideAsciiOutsideStrings) {
  EXPECT_THAT(ParseToml("a = 1\nb\xC3\xA4 = 2\n", "f.toml"),
              StatusIs(kInvalid, HasSubstr("f.toml:2:2: character outside")));
}

TEST(ParseTomlTest, TakesCharactersOutsideAsciiInStringsAndComments) {
  for (const std::string_view text :
       {"a = \"\xC3\xA4\" # \xC3\xA4\n", "a = '\xC3\xA4'\n",
        "a = \"\"\"\n\xC3\xA4 \"quoted\" \xC3\xA4\"\"\"\"\n# \xC3\xA4\n",
        "a = '''\n\xC3\xA4'''\n", "a = \"\\\"\xC3\xA4\"\n",
        "\xEF\xBB\xBF"
        "a = 1\n"}) {
    EXPECT_THAT(ParseToml(text, "f.toml"), IsOk()) << text;
  }
}

TEST(ParseTomlTest, SeesTheEndOfAStringBehindAnEscapedBackslash) {
  EXPECT_THAT(ParseToml("a = \"\\\\\" \xC3\xA4\n", "f.toml"),
              StatusIs(kInvalid, HasSubstr("f.toml:1:10: character outside")));
}

TEST(ParseTomlTest, RefusesControlCharacters) {
  EXPECT_THAT(ParseToml("a = \"\x01\"\n", "f.toml"),
              StatusIs(kInvalid, HasSubstr("control character 0x01")));
  EXPECT_THAT(ParseToml("a = 1\r\nb = 2\r\n", "f.toml"), IsOk());
}

TEST(ParseTomlTest, RefusesAFileOfManyMegabytes) {
  EXPECT_THAT(ParseToml(std::string(kTomlBytesMax + 1, ' '), "f.toml"),
              StatusIs(kInvalid, HasSubstr("expected at most")));
}

}  // namespace
}  // namespace tidegate::internal
