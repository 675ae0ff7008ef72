// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/catalogue.h"

#include <string>
#include <vector>

#include "tests/testing/matchers.h"
#include "tidegate/status.h"

namespace tidegate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using tidegate::testing::IsOk;
using tidegate::testing::StatusIs;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

constexpr std::string_view kSmall = R"(
[engine]
name = "acme"
aliases = ["acme-serve"]
law = "mlx"
oldest = "1.0"
newest = "2.3"
devices = ["npu", "gpu-*"]
[engine.options.force]
values = ["true", "false"]
default = "false"
doc = "forces"
[engine.options.depth]
type = "integer"
min = 1
max = 9
default = "2"
doc = "depth"
[[rule]]
kernel = "unsupported"
reason = "causal is for the first chunk only"
masks = ["causal"]
options = { force = "true" }
n_max = 4
source = "a.cc"
[[rule]]
kernel = "mlx.full"
since = "1.2"
n_min = 16
kv_len_min = 100
source = "b.cc"
[[rule]]
kernel = "mlx.unfused"
source = "c.cc"
)";

constexpr AttentionFacts kFacts{
    .q_heads = 8, .kv_heads = 8, .head_dim = 64, .head_dim_v = 64};

Catalogue Small() {
  const CatalogueText text{"acme.toml", kSmall};
  absl::StatusOr<Catalogue> catalogue = Catalogue::Parse({&text, 1});
  EXPECT_THAT(catalogue, IsOk());
  return *catalogue;
}

RouteTable Bound(const Catalogue& catalogue, const EngineSpec& spec) {
  absl::StatusOr<ResolvedEngine> engine = catalogue.Resolve(spec);
  EXPECT_THAT(engine, IsOk());
  absl::StatusOr<RouteTable> table =
      catalogue.Bind(*engine, kFacts, ComputeType::kBf16, {});
  EXPECT_THAT(table, IsOk());
  return *table;
}

// Parses kSmall with `from` replaced by `to`.
absl::Status ParseWith(std::string_view from, std::string_view to) {
  std::string text(kSmall);
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
  const CatalogueText file{"acme.toml", text};
  return Catalogue::Parse({&file, 1}).status();
}

TEST(EngineVersionTest, ComparesNumbersAndNotText) {
  EXPECT_GT(EngineVersion::Parse("0.30.10"), EngineVersion::Parse("0.30.9"));
  EXPECT_EQ(EngineVersion::Parse("0.31"), EngineVersion::Parse("0.31.0"));
}

TEST(EngineVersionTest, LeavesOutWhatFollowsTheNumbers) {
  const auto release = EngineVersion::Parse("0.31.2");
  for (const char* text : {"v0.31.2", "0.31.2.post1", "0.31.2rc1",
                           "0.31.2+cu130", "0.31.2.dev20260101"}) {
    EXPECT_EQ(EngineVersion::Parse(text), release) << text;
  }
  EXPECT_EQ(EngineVersion::Parse("b5200"), EngineVersion::Parse("5200"));
}

TEST(EngineVersionTest, IsEmptyForTextWithoutANumber) {
  for (const char* text : {"", "main", "v", "-1.2"}) {
    EXPECT_EQ(EngineVersion::Parse(text), std::nullopt) << text;
  }
}

TEST(CatalogueTest, BuiltinKnowsTheThreeEngines) {
  std::vector<std::string> names;
  for (const CatalogueEngine& engine : Catalogue::Builtin().engines()) {
    names.push_back(engine.name);
    for (const CatalogueRule& rule : engine.rules) {
      EXPECT_FALSE(rule.source.empty()) << engine.name;
      EXPECT_FALSE(DescribeRule(rule).empty()) << engine.name;
    }
  }
  EXPECT_THAT(names, ElementsAre("mlx", "torch", "llama.cpp"));
}

TEST(CatalogueTest, FindsAnEngineByItsAlias) {
  const Catalogue catalogue = Small();
  ASSERT_OK_AND_ASSIGN(const ResolvedEngine engine,
                       catalogue.Resolve({"acme-serve", "2.0", "npu", {}}));
  EXPECT_EQ(engine.spec.name, "acme");
  EXPECT_FALSE(engine.assumed);
  EXPECT_THAT(engine.warnings, IsEmpty());
}

TEST(CatalogueTest, FillsInTheDefaultsOfOptions) {
  const Catalogue catalogue = Small();
  ASSERT_OK_AND_ASSIGN(
      const ResolvedEngine engine,
      catalogue.Resolve({"acme", "2.0", "npu", {{"depth", "7"}}}));
  EXPECT_EQ(engine.Option("force"), "false");
  EXPECT_EQ(engine.IntegerOption("depth", 0), 7);
}

TEST(CatalogueTest, RefusesAnOptionThatTheEngineDoesNotHave) {
  EXPECT_THAT(
      Small().Resolve({"acme", "2.0", "npu", {{"forse", "true"}}}),
      StatusIs(kInvalid, HasSubstr("engine.options.forse: acme has no such "
                                   "option; did you mean \"force\"?")));
}

TEST(CatalogueTest, RefusesAValueThatTheOptionDoesNotHave) {
  EXPECT_THAT(Small().Resolve({"acme", "2.0", "npu", {{"force", "tru"}}}),
              StatusIs(kInvalid, HasSubstr("did you mean \"true\"?")));
  EXPECT_THAT(Small().Resolve({"acme", "2.0", "npu", {{"depth", "10"}}}),
              StatusIs(kInvalid, HasSubstr("expected an integer from 1 to 9")));
  EXPECT_THAT(Small().Resolve({"acme", "2.0", "npu", {{"depth", "2x"}}}),
              StatusIs(kInvalid, HasSubstr("got \"2x\"")));
}

TEST(CatalogueTest, AssumesTheNewestRoutesForANewerVersion) {
  const Catalogue catalogue = Small();
  ASSERT_OK_AND_ASSIGN(const ResolvedEngine engine,
                       catalogue.Resolve({"acme", "2.4", "npu", {}}));
  EXPECT_TRUE(engine.assumed);
  EXPECT_THAT(engine.warnings, ElementsAre(HasSubstr("newer")));
  const RouteTable table = Bound(catalogue, {"acme", "2.4", "npu", {}});
  EXPECT_EQ(table.Find(16, 100, MaskKind::kNone).kernel, "mlx.full");
  EXPECT_TRUE(table.Find(16, 100, MaskKind::kNone).assumed);
}

TEST(CatalogueTest, AssumesTheOldestRoutesForAnOlderVersion) {
  const Catalogue catalogue = Small();
  ASSERT_OK_AND_ASSIGN(const ResolvedEngine engine,
                       catalogue.Resolve({"acme", "0.9", "npu", {}}));
  EXPECT_TRUE(engine.assumed);
  EXPECT_THAT(engine.warnings, ElementsAre(HasSubstr("older")));
  EXPECT_EQ(Bound(catalogue, {"acme", "0.9", "npu", {}})
                .Find(16, 100, MaskKind::kNone)
                .kernel,
            "mlx.unfused");
}

TEST(CatalogueTest, AssumesTheNewestRoutesForAVersionWithoutANumber) {
  ASSERT_OK_AND_ASSIGN(const ResolvedEngine engine,
                       Small().Resolve({"acme", "main", "npu", {}}));
  EXPECT_TRUE(engine.assumed);
  EXPECT_THAT(engine.warnings, ElementsAre(HasSubstr("not a version")));
}

TEST(CatalogueTest, TakesANamedVersionAsTheNewest) {
  ASSERT_OK_AND_ASSIGN(const ResolvedEngine engine,
                       Catalogue::Builtin().Resolve(
                           {"llama.cpp", "whisper.cpp@4834a2327", "cpu", {}}));
  EXPECT_FALSE(engine.assumed);
}

TEST(CatalogueTest, PricesAnUnknownEngineAsUnfused) {
  const Catalogue catalogue = Small();
  ASSERT_OK_AND_ASSIGN(const ResolvedEngine engine,
                       catalogue.Resolve({"acne", "1", "npu", {{"a", "b"}}}));
  EXPECT_EQ(engine.law, "generic");
  EXPECT_TRUE(engine.assumed);
  EXPECT_THAT(engine.warnings, ElementsAre(HasSubstr("did you mean")));
  const RouteTable table = Bound(catalogue, {"acne", "1", "npu", {}});
  EXPECT_EQ(table.Find(1, 1, MaskKind::kArray).kernel, "unfused");
}

TEST(CatalogueTest, PricesAnUnknownDeviceAsUnfused) {
  ASSERT_OK_AND_ASSIGN(const ResolvedEngine engine,
                       Small().Resolve({"acme", "2.0", "abacus", {}}));
  EXPECT_EQ(engine.law, "generic");
  EXPECT_TRUE(engine.assumed);
  EXPECT_THAT(engine.warnings, ElementsAre(HasSubstr("abacus")));
}

TEST(CatalogueTest, MatchesADeviceByItsTail) {
  ASSERT_OK_AND_ASSIGN(const ResolvedEngine engine,
                       Small().Resolve({"acme", "2.0", "gpu-7", {}}));
  EXPECT_FALSE(engine.assumed);
}

TEST(CatalogueTest, SaysWhyACallDoesNotRun) {
  const RouteTable table =
      Bound(Small(), {"acme", "2.0", "npu", {{"force", "true"}}});
  const Route& route = table.Find(4, 10, MaskKind::kCausal);
  EXPECT_FALSE(route.supported);
  EXPECT_EQ(route.kernel, "unsupported");
  EXPECT_EQ(route.reason, "causal is for the first chunk only");
  EXPECT_TRUE(table.Find(5, 10, MaskKind::kCausal).supported);
  EXPECT_TRUE(table.Find(4, 10, MaskKind::kBool).supported);
}

TEST(CatalogueTest, RefusesAKernelWithoutAFormula) {
  const Catalogue catalogue = Small();
  ASSERT_OK_AND_ASSIGN(const ResolvedEngine engine,
                       catalogue.Resolve({"acme", "2.0", "npu", {}}));
  constexpr std::string_view kKernels[] = {"mlx.unfused"};
  EXPECT_THAT(catalogue.Bind(engine, kFacts, ComputeType::kBf16, kKernels),
              StatusIs(kInvalid, HasSubstr("\"mlx.full\"")));
}

TEST(CatalogueTest, NumbersKernelsAsTheirFormulasAreListed) {
  const Catalogue catalogue = Small();
  ASSERT_OK_AND_ASSIGN(const ResolvedEngine engine,
                       catalogue.Resolve({"acme", "2.0", "npu", {}}));
  constexpr std::string_view kKernels[] = {"x", "mlx.unfused", "mlx.full"};
  ASSERT_OK_AND_ASSIGN(
      const RouteTable table,
      catalogue.Bind(engine, kFacts, ComputeType::kBf16, kKernels));
  EXPECT_EQ(table.Find(16, 100, MaskKind::kNone).id, 2);
  EXPECT_EQ(table.Find(15, 100, MaskKind::kNone).id, 1);
}

TEST(CatalogueTest, ReplacesTheEngineOfTheSameName) {
  std::string text(kSmall);
  text.replace(text.find("\"acme\""), 6, "\"mlx\"");
  ASSERT_OK_AND_ASSIGN(const Catalogue catalogue,
                       Catalogue::Builtin().With(text, "mine.toml"));
  EXPECT_EQ(catalogue.engines().size(), 3);
  EXPECT_EQ(catalogue.engines()[0].newest, "2.3");
  EXPECT_THAT(catalogue.Resolve({"torch", "2.11", "cuda-sm90", {}}), IsOk());
}

TEST(CatalogueFormatTest, NamesThePlaceOfAMistake) {
  EXPECT_THAT(ParseWith("n_min = 16", "n_mim = 16"),
              StatusIs(kInvalid,
                       "acme.toml:29:1: rule[1].n_mim: unknown key; "
                       "did you mean \"n_min\"?"));
  EXPECT_THAT(ParseWith("masks = [\"causal\"]", "masks = [\"casual\"]"),
              StatusIs(kInvalid, HasSubstr("did you mean \"causal\"?")));
  EXPECT_THAT(ParseWith("since = \"1.2\"", "since = \"new\""),
              StatusIs(kInvalid, HasSubstr("expected a version")));
  EXPECT_THAT(ParseWith("law = \"mlx\"", "law = \"mlxx\""),
              StatusIs(kInvalid, HasSubstr("did you mean \"mlx\"?")));
  EXPECT_THAT(ParseWith("{ force = \"true\" }", "{ farce = \"true\" }"),
              StatusIs(kInvalid, HasSubstr("did you mean \"force\"?")));
}

TEST(CatalogueFormatTest, RefusesALastRuleThatMatchesOnlySomeCalls) {
  EXPECT_THAT(ParseWith("source = \"c.cc\"", "source = \"c.cc\"\nn_max = 9"),
              StatusIs(kInvalid, HasSubstr("last rule must match every call")));
}

TEST(CatalogueFormatTest, RefusesAnUnsupportedRuleWithoutAReason) {
  EXPECT_THAT(ParseWith("reason = \"causal is for the first chunk only\"", ""),
              StatusIs(kInvalid, HasSubstr("needs a reason")));
}

TEST(CatalogueFormatTest, RefusesADefaultThatIsNoValue) {
  EXPECT_THAT(ParseWith("default = \"2\"", "default = \"12\""),
              StatusIs(kInvalid, HasSubstr("engine.options.depth.default")));
}

TEST(CatalogueFormatTest, RefusesADeviceThatTheEngineDoesNotHave) {
  EXPECT_THAT(ParseWith("n_max = 4", "devices = [\"tpu\"]"),
              StatusIs(kInvalid, HasSubstr("no device \"tpu\"")));
}

// Breakpoints are exactly the places where the route changes.
TEST(RouteTableTest, BreakpointsAreWhereTheRouteChanges) {
  const RouteTable tables[] = {
      Bound(Small(), {"acme", "2.0", "npu", {}}),
      Bound(Small(), {"acme", "2.0", "npu", {{"force", "true"}}}),
      Bound(Catalogue::Builtin(), {"mlx", "0.24.0", "metal", {}}),
      Bound(Catalogue::Builtin(), {"mlx", "0.31.2", "metal", {}})};
  constexpr Tokens kEnd = 160;
  for (const RouteTable& table : tables) {
    for (const Tokens window : {Tokens{0}, Tokens{90}}) {
      for (const Axis axis : {Axis::kN, Axis::kKvLen, Axis::kChunk}) {
        for (const Tokens fixed : {1, 16, 95, 130}) {
          for (const MaskKind mask : {MaskKind::kNone, MaskKind::kCausal}) {
            const auto kernel = [&](Tokens v) {
              const Tokens n = axis == Axis::kKvLen ? fixed : v;
              Tokens k = axis == Axis::kN       ? fixed
                         : axis == Axis::kKvLen ? v
                                                : fixed + v;
              if (window > 0) k = std::min(k, window - 1 + n);
              return table.Find(n, k, mask).kernel;
            };
            std::vector<Tokens> expected;
            for (Tokens v = 2; v <= kEnd; ++v) {
              if (kernel(v) != kernel(v - 1)) expected.push_back(v);
            }
            std::vector<Tokens> got;
            table.Breakpoints(axis, fixed, 1, kEnd, mask, window, &got);
            EXPECT_EQ(got, expected)
                << static_cast<int>(axis) << " " << fixed << " " << window;
          }
        }
      }
    }
  }
}

TEST(MaskTest, NamesCanBeReadBack) {
  for (const MaskKind mask :
       {MaskKind::kNone, MaskKind::kCausal, MaskKind::kBool, MaskKind::kFloat,
        MaskKind::kArray}) {
    EXPECT_EQ(ParseMask(MaskName(mask)), mask);
  }
  EXPECT_EQ(ParseMask("dense"), std::nullopt);
}

TEST(EngineTest, ParsesNameVersionAndDevice) {
  ASSERT_OK_AND_ASSIGN(const EngineSpec engine,
                       ParseEngine("mlx@0.31.2/metal-nax"));
  EXPECT_EQ(engine.name, "mlx");
  EXPECT_EQ(engine.version, "0.31.2");
  EXPECT_EQ(engine.device, "metal-nax");
  EXPECT_EQ(EngineName(engine), "mlx@0.31.2/metal-nax");
}

TEST(EngineTest, RefusesAnEngineWithAPartMissing) {
  for (const char* text :
       {"mlx", "mlx@0.31", "@1/cpu", "mlx@/cpu", "mlx/cpu", "mlx@1/", ""}) {
    EXPECT_THAT(ParseEngine(text),
                StatusIs(kInvalid, HasSubstr("NAME@VERSION/DEVICE")))
        << text;
  }
}

}  // namespace
}  // namespace tidegate
