// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Plug-ins that were loaded and then misbehave: each with its outcome. The
// driver of the simulator judges every run: a step dearer than its room, a
// request without an answer or a byte left in the ledger is an error.

#include <memory>
#include <string>
#include <vector>

#include "tests/plugins/plugin_testing.h"
#include "tidegate/estimator.h"

namespace tidegate {
namespace {

using ::testing::AllOf;
using testing::BusyTrace;
using ::testing::Gt;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::Made;
using testing::PluginFile;
using testing::StatusIs;

struct Misdeed {
  std::string kind;
  std::string does;
  std::string first_fault;  // a part of it
};

std::string NameOf(const ::testing::TestParamInfo<Misdeed>& test) {
  return test.param.kind + "_" + test.param.does;
}

struct Ran {
  SimulationResult result;
  PluginReport report;
};

absl::StatusOr<Ran> RunWith(const std::string& kind, const std::string& does,
                            const std::string& more = "") {
  const PluginFile file("hostile");
  TG_ASSIGN_OR_RETURN(
      Made made,
      testing::Make(kind, file.path(),
                    internal::Concat("does = \"", does, "\"", more)));
  SimulatorOptions options;
  options.scheduler = std::move(made.options);
  // Decoding outgrows what was promised, so that somebody is preempted.
  if (kind == "pressure") options.scheduler.admission_policy = "optimistic";
  TG_ASSIGN_OR_RETURN(SimulationResult result, Simulate(BusyTrace(), options));
  return Ran{std::move(result), made.plugins.Reports().front()};
}

class MisbehavingPolicy : public ::testing::TestWithParam<Misdeed> {};

TEST_P(MisbehavingPolicy, IsOverruledCountedAndReplaced) {
  ASSERT_OK_AND_ASSIGN(const Ran ran,
                       RunWith(GetParam().kind, GetParam().does));
  EXPECT_EQ(ran.result.out_of_memory, 0);
  EXPECT_LE(ran.result.peak_bytes, ran.result.ceiling_bytes);
  EXPECT_EQ(ran.result.finished, 60);
  EXPECT_THAT(ran.report.first_fault, HasSubstr(GetParam().first_fault));
  EXPECT_GE(ran.report.faults, kPluginFaultsMax);
  EXPECT_TRUE(ran.report.replaced);
  const std::vector<std::string> warnings = PluginWarnings({&ran.report, 1});
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_THAT(warnings[0],
              AllOf(HasSubstr(GetParam().kind + " plug-in hostile 1: "),
                    HasSubstr(ran.report.fallback + " has replaced it")));
}

INSTANTIATE_TEST_SUITE_P(
    Every, MisbehavingPolicy,
    ::testing::Values(
        Misdeed{"order", "nan", "key: not a number, for request "},
        Misdeed{"order", "infinite", "key: infinite, for request "},
        Misdeed{"order", "throw", "an exception was thrown inside"},
        Misdeed{"order", "throw_again", "key: an exception was thrown inside"},
        Misdeed{"chunk", "max", "9223372036854775807 tokens are more than"},
        Misdeed{"chunk", "negative", "width: -5 tokens are negative"},
        Misdeed{"chunk", "unset", "width: n was left unset"},
        Misdeed{"chunk", "throw", "width: an exception was thrown inside"},
        Misdeed{"chunk", "beyond", " tokens are "},
        Misdeed{"chunk", "narrow", "1 tokens are fewer than chunk.floor = 256"},
        Misdeed{"admission", "always", "and chunks are beyond the room of "},
        Misdeed{"admission", "max", "output_tokens: expected 0 to "},
        Misdeed{"admission", "negative", "output_tokens: expected 0 to "},
        Misdeed{"admission", "unset", "output_tokens: expected 0 to "},
        Misdeed{"admission", "throw",
                "output_tokens: an exception was thrown inside"}),
    NameOf);

// What they may do, however unwise.
class UnwisePolicy : public ::testing::TestWithParam<Misdeed> {};

TEST_P(UnwisePolicy, DecidesWithinWhatFits) {
  // An estimator is sampled when it is loaded, and must be good until then.
  ASSERT_OK_AND_ASSIGN(
      const Ran ran,
      RunWith(GetParam().kind, GetParam().does,
              GetParam().kind == "estimator" ? ", after = 60000" : ""));
  EXPECT_EQ(ran.result.out_of_memory, 0);
  EXPECT_LE(ran.result.peak_bytes, ran.result.ceiling_bytes);
  EXPECT_EQ(ran.result.finished + ran.result.rejected, 60);
  EXPECT_THAT(ran.report.calls, Gt(0));
}

INSTANTIATE_TEST_SUITE_P(Every, UnwisePolicy,
                         ::testing::Values(Misdeed{"order", "random", ""},
                                           Misdeed{"order", "nothing", ""},
                                           Misdeed{"estimator", "random", ""},
                                           Misdeed{"chunk", "random", ""},
                                           Misdeed{"chunk", "nothing", ""},
                                           Misdeed{"chunk", "wait", ""},
                                           Misdeed{"chunk", "most", ""},
                                           Misdeed{"admission", "random", ""},
                                           Misdeed{"admission", "never", ""},
                                           Misdeed{"admission", "nothing", ""}),
                         NameOf);

// The chunks of a policy that asks for more than fits are those of throttle.
TEST(MisbehavingChunk, NeverMakesAStepExceedItsPrice) {
  ASSERT_OK_AND_ASSIGN(const Ran beyond, RunWith("chunk", "beyond"));
  ASSERT_OK_AND_ASSIGN(const Ran throttle, RunWith("chunk", "nothing"));
  EXPECT_EQ(throttle.report.faults, 0);
  EXPECT_EQ(beyond.result.chunks, throttle.result.chunks);
  EXPECT_EQ(beyond.result.peak_bytes, throttle.result.peak_bytes);
}

class MisbehavingPressure : public ::testing::TestWithParam<Misdeed> {};

TEST_P(MisbehavingPressure, IsOverruledAndReplaced) {
  const PluginFile file("hostile");
  ASSERT_OK_AND_ASSIGN(
      const Made made,
      testing::Make("pressure", file.path(),
                    internal::Concat("does = \"", GetParam().does, "\"")));
  const PressurePolicy& policy = *made.options.custom_pressure;
  EXPECT_EQ(policy.Patience(), std::chrono::milliseconds(1));
  const PlanRequest request{.prompt_tokens = 10};
  const RequestView much{.id = 1, .request = &request, .done = 9};
  const RequestView little{.id = 2, .request = &request, .done = 1};
  // Without keys the lower id goes first; replaced, who has least to lose.
  EXPECT_TRUE(policy.PreemptBefore(much, little));
  for (int i = 0; i < kPluginFaultsMax / 2 - 1; ++i) {
    policy.PreemptBefore(much, little);
  }
  const PluginReport report = made.plugins.Reports().front();
  EXPECT_EQ(report.faults, kPluginFaultsMax);
  EXPECT_TRUE(report.replaced);
  EXPECT_THAT(report.first_fault, HasSubstr(GetParam().first_fault));
  EXPECT_FALSE(policy.PreemptBefore(much, little));
  EXPECT_TRUE(policy.PreemptBefore(little, much));
}

INSTANTIATE_TEST_SUITE_P(
    Every, MisbehavingPressure,
    ::testing::Values(Misdeed{"pressure", "nan", "key: not a number"},
                      Misdeed{"pressure", "infinite", "key: infinite"},
                      Misdeed{"pressure", "throw", "an exception was thrown"}),
    NameOf);

class MisbehavingEstimator : public ::testing::TestWithParam<Misdeed> {};

TEST_P(MisbehavingEstimator, IsRefusedWhenItIsLoaded) {
  const PluginFile file("hostile");
  EXPECT_THAT(
      testing::Make("estimator", file.path(),
                    internal::Concat("does = \"", GetParam().does, "\"")),
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr(file.path() + ": estimator hostile: "),
                     HasSubstr(GetParam().first_fault))));
}

INSTANTIATE_TEST_SUITE_P(
    Every, MisbehavingEstimator,
    ::testing::Values(
        Misdeed{"estimator", "max",
                "price: transient_bytes = 9223372036854775807 is beyond any "
                "device, for n = 1, kv_len = "},
        Misdeed{"estimator", "negative",
                "price: transient_bytes = -5 is negative, for n = 1"},
        Misdeed{"estimator", "unset",
                "price: transient_bytes was left unset, for n = 1"},
        Misdeed{"estimator", "throw",
                "price: an exception was thrown inside the plug-in"},
        Misdeed{"estimator", "falls",
                "transient_bytes falls from 698368 (n = 682, kv_len = 683) to "
                "523776 (n = 1023, kv_len = 1024), and no breakpoint lies "
                "between them"},
        Misdeed{"estimator", "shrinks",
                "sequence_bytes falls from 682000 (682 tokens) to 5"},
        Misdeed{"estimator", "bad_breakpoints", "breakpoints: "},
        Misdeed{"estimator", "many_breakpoints",
                "breakpoints: a count of 1000000, expected 0 to 100000"}),
    NameOf);

// Good at load, and bad later: the catalogue's price counts.
class LaterMisbehavingEstimator : public ::testing::TestWithParam<Misdeed> {};

TEST_P(LaterMisbehavingEstimator, IsOverruledByTheCatalogueAndReplaced) {
  const PluginFile file("hostile");
  const std::string options =
      internal::Concat("does = \"", GetParam().does, "\", after = 400000");
  ASSERT_OK_AND_ASSIGN(const Made made,
                       testing::Make("estimator", file.path(), options));
  EXPECT_TRUE(made.options.calibrate);
  const Estimator& estimator = *made.options.estimator;
  const Chunk chunk{.n = 512, .kv_len = 4096};
  const StepQuery step{.chunks = {&chunk, 1}};
  const auto report = [&] { return made.plugins.Reports().front(); };
  ASSERT_EQ(report().faults, 0);
  const PriceTotals own = estimator.Total(step);
  EXPECT_EQ(own.transient_bytes, 512 * 1024);
  EXPECT_EQ(own.resident_bytes, 512 * 1000);
  for (int i = 0; i < 1'000'000 && report().faults == 0; ++i) {
    estimator.Total(step);
  }
  EXPECT_THAT(report().first_fault, HasSubstr(GetParam().first_fault));
  EXPECT_FALSE(report().replaced);
  // What the catalogue says of this model and engine.
  ASSERT_OK_AND_ASSIGN(const PolicyFile policy,
                       testing::PolicyWith("estimator", file.path(), options));
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator catalog,
                       CreateEstimator({.shape = *policy.model_shape,
                                        .engine = *policy.engine}));
  EXPECT_EQ(estimator.Total(step).transient_bytes,
            catalog.estimator->Total(step).transient_bytes);
  // What requests hold goes on being counted as before.
  EXPECT_EQ(estimator.Total(step).resident_bytes, 512 * 1000);
  for (int i = 0; i < kPluginFaultsMax; ++i) estimator.Total(step);
  EXPECT_TRUE(report().replaced);
  EXPECT_EQ(estimator.RouteName(step), catalog.estimator->RouteName(step));
  const std::int64_t calls = report().calls;
  estimator.Total(step);
  EXPECT_EQ(report().calls, calls);
}

INSTANTIATE_TEST_SUITE_P(
    Every, LaterMisbehavingEstimator,
    ::testing::Values(
        Misdeed{"estimator", "max", "transient_bytes = 9223372036854775807"},
        Misdeed{"estimator", "negative", "transient_bytes = -5 is negative"},
        Misdeed{"estimator", "unset", "transient_bytes was left unset"},
        Misdeed{"estimator", "throw", "price: an exception was thrown"}),
    NameOf);

TEST(EstimatorPlugin, TermsThatDoNotAddUpAreOverruled) {
  const PluginFile file("hostile");
  ASSERT_OK_AND_ASSIGN(const Made made, testing::Make("estimator", file.path(),
                                                      "does = \"bad_terms\""));
  const Chunk chunk{.n = 512, .kv_len = 4096};
  ASSERT_OK_AND_ASSIGN(const Price price, made.options.estimator->Explain(
                                              {.chunks = {&chunk, 1}}));
  ASSERT_EQ(price.parts.size(), 1u);
  EXPECT_EQ(price.parts[0].terms[0].bytes, 512 * 1024);
  EXPECT_EQ(price.route, "hostile");
  EXPECT_EQ(made.plugins.Reports().front().first_fault,
            "terms: 1 that add up to 1, the transient is 524288");
}

TEST(EstimatorPlugin, ARouteThatIsNoNameIsOverruled) {
  const PluginFile file("hostile");
  ASSERT_OK_AND_ASSIGN(const Made made, testing::Make("estimator", file.path(),
                                                      "does = \"bad_route\""));
  const Chunk chunk{.n = 512, .kv_len = 4096};
  EXPECT_EQ(made.options.estimator->RouteName({.chunks = {&chunk, 1}}),
            "hostile");
  EXPECT_EQ(made.plugins.Reports().front().faults, 1);
}

// A clock that says that every call took this long.
PluginOptions SlowBy(Duration step, bool is_fault) {
  auto now = std::make_shared<Duration>(0);
  return {.clock = [now, step] { return *now += step; },
          .slow_is_fault = is_fault};
}

TEST(SlowPlugin, IsReplacedWhereSlownessIsAFault) {
  const PluginFile file("hostile");
  ASSERT_OK_AND_ASSIGN(
      Made made, testing::Make("order", file.path(), "",
                               SlowBy(std::chrono::milliseconds(20), true)));
  SimulatorOptions options;
  options.scheduler = made.options;
  ASSERT_THAT(Simulate(BusyTrace(), options), IsOk());
  const PluginReport report = made.plugins.Reports().front();
  EXPECT_TRUE(report.replaced);
  EXPECT_EQ(report.slowest, std::chrono::milliseconds(20));
  EXPECT_EQ(report.first_fault,
            "one call after the other is slow: it took 20000 us, more than "
            "10000 us");
}

TEST(SlowPlugin, IsReportedAndDecidesOnWhereItIsNone) {
  const PluginFile file("hostile");
  ASSERT_OK_AND_ASSIGN(
      Made made, testing::Make("order", file.path(), "",
                               SlowBy(std::chrono::milliseconds(20), false)));
  SimulatorOptions options;
  options.scheduler = made.options;
  ASSERT_THAT(Simulate(BusyTrace(), options), IsOk());
  const PluginReport report = made.plugins.Reports().front();
  EXPECT_EQ(report.faults, 0);
  EXPECT_EQ(report.slow_calls, report.calls);
  EXPECT_THAT(PluginWarnings({&report, 1}),
              ::testing::ElementsAre(HasSubstr("slow calls")));
}

TEST(SlowPlugin, OneSlowCallIsTheMachines) {
  const PluginFile file("hostile");
  auto reads = std::make_shared<int>(0);
  PluginOptions watch{.clock = [reads] {
    // The fifth call alone takes a second.
    ++*reads;
    return Duration(*reads >= 10 ? 1'000'000'000 : 0);
  }};
  ASSERT_OK_AND_ASSIGN(const Made made,
                       testing::Make("order", file.path(), "", watch));
  const PlanRequest request{.prompt_tokens = 10};
  const RequestView view{.id = 1, .request = &request};
  for (int i = 0; i < 10; ++i)
    made.options.custom_order->Before(view, view, {});
  const PluginReport report = made.plugins.Reports().front();
  EXPECT_EQ(report.slow_calls, 1);
  EXPECT_EQ(report.faults, 0);
}

TEST(PluginReports, AreOnePageOfMetricsInPrometheusText) {
  const PluginReport report{.kind = "order",
                            .name = "deadline",
                            .version = "1\"0",
                            .calls = 12,
                            .faults = 9,
                            .replaced = true};
  EXPECT_THAT(
      PluginMetricsText({&report, 1}),
      AllOf(HasSubstr("# TYPE tidegate_plugin_faults_total counter\n"
                      "tidegate_plugin_faults_total{kind=\"order\",plugin="
                      "\"deadline\",version=\"1\\\"0\"} 9\n"),
            HasSubstr("tidegate_plugin_replaced{kind=\"order\",plugin="
                      "\"deadline\",version=\"1\\\"0\"} 1\n")));
  EXPECT_EQ(PluginMetricsText({}), "");
}

// Two schedulers with one policy do not share faults.
TEST(PluginReports, EachLoadCountsForItself) {
  const PluginFile file("hostile");
  ASSERT_OK_AND_ASSIGN(const Made bad,
                       testing::Make("order", file.path(), "does = \"nan\""));
  ASSERT_OK_AND_ASSIGN(const Made good,
                       testing::Make("order", file.path(), ""));
  const PlanRequest request{.prompt_tokens = 10};
  const RequestView view{.id = 1, .request = &request};
  bad.options.custom_order->Before(view, view, {});
  good.options.custom_order->Before(view, view, {});
  EXPECT_EQ(bad.plugins.Reports().front().faults, 2);
  EXPECT_EQ(good.plugins.Reports().front().faults, 0);
}

TEST(PluginReports, WithoutPluginsThereAreNone) {
  ASSERT_OK_AND_ASSIGN(const PolicyFile policy, ParsePolicyFile("", "p.toml"));
  EXPECT_FALSE(Plugins::NamedBy(policy));
  ASSERT_OK_AND_ASSIGN(const Plugins plugins, Plugins::Load(policy));
  EXPECT_TRUE(plugins.Reports().empty());
  EXPECT_TRUE(plugins.Loaded().empty());
}

}  // namespace
}  // namespace tidegate
