// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/judge.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "estimators/text.h"
#include "tidegate/catalogue.h"
#include "tidegate/estimator.h"
#include "tidegate/scheduler.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// The mixer whose heads the formulas of the world are about: the widest full
// attention. A model that has none attends through its widest window.
const Mixer* AttentionOf(const ModelShape& shape) {
  const Mixer* widest = nullptr;
  const auto rank = [](const Mixer& mixer) {
    return std::pair(mixer.kind != MixerKind::kSliding,
                     mixer.q_heads * mixer.head_dim);
  };
  for (std::size_t i = 0; i < shape.mixers.size(); ++i) {
    const Mixer& mixer = shape.mixers[i];
    if (shape.MixerCount(static_cast<int>(i)) == 0 ||
        mixer.kind == MixerKind::kLinear || mixer.kind == MixerKind::kNone) {
      continue;
    }
    if (widest == nullptr || rank(mixer) > rank(*widest)) widest = &mixer;
  }
  return widest;
}

absl::StatusOr<RouteTable> RoutesOf(const EstimatorOptions& options,
                                    const Mixer& mixer) {
  TG_ASSIGN_OR_RETURN(
      const Catalogue catalogue,
      Catalogue::BuiltinWith(options.catalogue, options.catalogue_file));
  TG_ASSIGN_OR_RETURN(const ResolvedEngine engine,
                      catalogue.Resolve(options.engine));
  return catalogue.Bind(engine,
                        {.q_heads = mixer.q_heads,
                         .kv_heads = mixer.kv_heads,
                         .head_dim = mixer.head_dim,
                         .head_dim_v = mixer.head_dim_v},
                        options.shape.compute, {});
}

std::string Seconds(Duration duration) {
  // Milliseconds are enough for people, and rounding must not hide a miss.
  const std::int64_t ms = CeilDiv(duration.count(), std::int64_t{1'000'000});
  std::string fraction = std::to_string(ms % 1000);
  fraction.insert(0, 3 - fraction.size(), '0');
  return Concat(ms / 1000, ".", fraction, " s");
}

// Collects what was not met.
class Verdicts {
 public:
  void AtLeast(std::string_view what, std::int64_t bound, std::int64_t value) {
    if (value < bound) {
      Add(Concat(what, ": expected at least ", bound, ", got ", value));
    }
  }
  void AtMost(std::string_view what, std::int64_t bound, std::int64_t value) {
    if (value > bound) {
      Add(Concat(what, ": expected at most ", bound, ", got ", value));
    }
  }
  void Within(std::string_view what, const Range& range, std::int64_t value) {
    if (range.at_least) AtLeast(what, *range.at_least, value);
    if (range.at_most) AtMost(what, *range.at_most, value);
  }
  void Equal(std::string_view what, std::string_view expected,
             std::string_view got) {
    if (expected != got) {
      Add(Concat(what, ": expected ", expected, ", got ", got));
    }
  }
  void Add(std::string failure) { failures_.push_back(std::move(failure)); }
  std::vector<std::string> Take() { return std::move(failures_); }

 private:
  std::vector<std::string> failures_;
};

std::string Describe(const DrivenRequest& request) {
  if (request.outcome != Outcome::kRejected) {
    return std::string(OutcomeName(request.outcome));
  }
  return Concat(OutcomeName(request.outcome), " (",
                RefusalCodeName(request.refusal), ")");
}

void JudgeChunks(const ExpectedRequest& expected, const std::string& id,
                 const std::vector<Tokens>& widths, Verdicts& verdicts) {
  if (expected.steps_at_most) {
    verdicts.AtMost(Concat(id, ".steps"), *expected.steps_at_most,
                    static_cast<std::int64_t>(widths.size()));
  }
  // One failure each, of the first chunk that breaks the bound: a hundred
  // lines about one cause help nobody.
  for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
    if (expected.chunk_at_least && widths[i] < *expected.chunk_at_least) {
      verdicts.AtLeast(Concat(id, ".chunk[", i, "]"), *expected.chunk_at_least,
                       widths[i]);
      break;
    }
  }
  for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
    if (expected.chunk_at_most && widths[i] > *expected.chunk_at_most) {
      verdicts.AtMost(Concat(id, ".chunk[", i, "]"), *expected.chunk_at_most,
                      widths[i]);
      break;
    }
  }
  if (expected.largest_chunk_at_least) {
    verdicts.AtLeast(
        Concat(id, ".largest_chunk"), *expected.largest_chunk_at_least,
        widths.empty() ? 0 : *std::max_element(widths.begin(), widths.end()));
  }
}

void JudgeRequest(const ExpectedRequest& expected, const std::string& id,
                  const DrivenRequest& request, Verdicts& verdicts) {
  if (expected.outcome && *expected.outcome != request.outcome) {
    verdicts.Add(Concat(id, ".outcome: expected ",
                        OutcomeName(*expected.outcome), ", got ",
                        Describe(request)));
  }
  if (expected.rejected_code && (request.outcome != Outcome::kRejected ||
                                 *expected.rejected_code != request.refusal)) {
    verdicts.Add(Concat(id, ".rejected_code: expected ",
                        RefusalCodeName(*expected.rejected_code), ", got ",
                        Describe(request)));
  }
  if (expected.work_before_rejection && request.outcome == Outcome::kRejected) {
    verdicts.AtMost(Concat(id, ".work_before_rejection"),
                    *expected.work_before_rejection, request.computed);
  }
  JudgeChunks(expected, id, request.widths, verdicts);
  if (expected.wait_at_most) {
    const bool started = request.first_chunk.has_value();
    const Duration wait =
        started ? *request.first_chunk - request.arrived : Duration{};
    if (!started || wait > *expected.wait_at_most) {
      verdicts.Add(Concat(id, ".wait_s: expected at most ",
                          Seconds(*expected.wait_at_most), ", got ",
                          started ? Seconds(wait) : "no chunk"));
    }
  }
  if (expected.finished_by) {
    const bool finished = request.outcome == Outcome::kFinished;
    const Duration end = request.ended - Instant{};
    if (!finished || end > *expected.finished_by) {
      verdicts.Add(Concat(id, ".finished_s: expected at most ",
                          Seconds(*expected.finished_by), ", got ",
                          finished ? Seconds(end) : Describe(request)));
    }
  }
}

// Of the requests that the expectation names; others may end in between.
void JudgeFinishOrder(const Scenario& scenario, const Driver& driver,
                      Verdicts& verdicts) {
  const std::vector<std::size_t>& expected = scenario.expect.finish_order;
  const auto names = [&](const std::vector<std::size_t>& order) {
    std::string list;
    for (const std::size_t index : order) {
      if (std::find(expected.begin(), expected.end(), index) ==
          expected.end()) {
        continue;
      }
      list += Concat(list.empty() ? "" : ", ", scenario.requests[index].id);
    }
    return Concat("[", list, "]");
  };
  if (expected.empty()) return;
  verdicts.Equal("finish_order", names(expected),
                 names(driver.totals().finish_order));
}

void JudgePrices(const Scenario& scenario, const Scheduler& scheduler,
                 Verdicts& verdicts) {
  for (const ExpectedPrice& expected : scenario.expect.prices) {
    const std::string what = Concat("price of n = ", expected.chunk.n,
                                    ", kv_len = ", expected.chunk.kv_len,
                                    ", mask = ", MaskName(expected.chunk.mask));
    const absl::StatusOr<Price> price =
        scheduler.Prices().Explain({.chunks = {&expected.chunk, 1}});
    if (!price.ok()) {
      verdicts.Add(Concat(what, ": expected a price, got ",
                          std::string(price.status().message())));
      continue;
    }
    verdicts.Within(what, expected.transient_bytes, price->transient_bytes);
  }
}

void JudgeKv(const Scenario& scenario, const Estimator& estimator,
             Verdicts& verdicts) {
  if (scenario.expect.kv_bytes_per_token) {
    const Bytes expected = *scenario.expect.kv_bytes_per_token;
    verdicts.Equal("kv_bytes_per_token", std::to_string(expected),
                   std::to_string(scenario.shape.KvBytesPerToken()));
  }
  for (const ExpectedKvBytes& expected : scenario.expect.kv_bytes) {
    verdicts.Within(Concat("kv_bytes of ", expected.tokens,
                           " tokens in chunks of ", expected.chunk),
                    expected.bytes,
                    estimator.SequenceBytes(expected.tokens, expected.chunk));
  }
}

Bytes HighestCeiling(const Scenario& scenario) {
  Bytes highest = scenario.ceiling;
  for (const TimedInput& input : scenario.inputs) {
    if (const auto* ceiling = std::get_if<CeilingInput>(&input.input)) {
      highest = std::max(highest, ceiling->ceiling);
    }
  }
  return highest;
}

void JudgeRun(const Scenario& scenario, Driver& driver, Verdicts& verdicts) {
  const Expectations& expect = scenario.expect;
  const DriverTotals& totals = driver.totals();
  verdicts.Equal("out_of_memory", std::to_string(expect.out_of_memory),
                 std::to_string(totals.out_of_memory));
  for (const ExpectedRequest& expected : expect.requests) {
    JudgeRequest(expected, scenario.requests[expected.request].id,
                 driver.requests()[expected.request], verdicts);
  }
  verdicts.AtMost("peak_bytes",
                  expect.peak_at_most.value_or(HighestCeiling(scenario)),
                  driver.world().peak());
  if (expect.reclaims_at_least) {
    verdicts.AtLeast("reclaims", *expect.reclaims_at_least, totals.reclaims);
  }
  if (expect.reclaims_at_most) {
    verdicts.AtMost("reclaims", *expect.reclaims_at_most, totals.reclaims);
  }
  JudgeFinishOrder(scenario, driver, verdicts);
}

}  // namespace

absl::StatusOr<DriverOptions> MakeDriverOptions(const Scenario& scenario) {
  TG_ASSIGN_OR_RETURN(
      const EstimatorOptions estimator_options,
      MakeEstimatorOptions(scenario.policy, scenario.shape, scenario.engine));
  TG_ASSIGN_OR_RETURN(CreatedEstimator created,
                      CreateEstimator(estimator_options));
  const std::shared_ptr<const Estimator> estimator =
      std::move(created.estimator);
  DriverOptions options;
  TG_ASSIGN_OR_RETURN(
      options.scheduler,
      MakeSchedulerOptions(scenario.policy, estimator, scenario.base));

  WorldSetup& world = options.world;
  world.options = scenario.world;
  world.options.truth = estimator;
  world.ceiling = scenario.ceiling;
  world.base = scenario.base;
  world.max_allocation = scenario.max_allocation;
  world.reclaimables = scenario.reclaimables;
  if (const Mixer* mixer = AttentionOf(scenario.shape)) {
    world.options.q_heads = mixer->q_heads;
    world.options.head_dim = mixer->head_dim;
    if (mixer->kind == MixerKind::kSliding) world.window = mixer->window;
    TG_ASSIGN_OR_RETURN(world.routes, RoutesOf(estimator_options, *mixer));
  } else {
    world.options.attention = WorldAttention::kFused;  // of no heads: nothing
  }
  for (const ScenarioRequest& request : scenario.requests) {
    options.requests.push_back(request.driven);
  }
  options.inputs = scenario.inputs;
  return options;
}

std::vector<std::string> RunScenario(const Scenario& scenario) {
  Verdicts verdicts;
  absl::StatusOr<DriverOptions> options = MakeDriverOptions(scenario);
  if (!options.ok()) {
    verdicts.Add(Concat("setup: ", std::string(options.status().message())));
    return verdicts.Take();
  }
  JudgeKv(scenario, *options->scheduler.estimator, verdicts);
  options->observed = [&](const Scheduler& scheduler) {
    JudgePrices(scenario, scheduler, verdicts);
  };
  Driver driver(*std::move(options));
  const absl::Status run = driver.Run();
  if (!run.ok()) {
    // What came of the requests means nothing after a broken promise.
    verdicts.Add(Concat("run: ", std::string(run.message())));
    return verdicts.Take();
  }
  JudgeRun(scenario, driver, verdicts);
  return verdicts.Take();
}

}  // namespace tidegate::internal
