// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/torture/harnesses.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "estimators/text.h"
#include "simulator/scenario.h"
#include "tests/testing/event_judge.h"
#include "tests/testing/law_checker.h"
#include "tests/testing/random_events.h"
#include "tests/testing/random_scenarios.h"
#include "tests/testing/shrink.h"
#include "tests/torture/catch_abort.h"
#include "tidegate/decision_log.h"

namespace tidegate::torture {
namespace {

using internal::Concat;
using testing::EventJudge;
using testing::FakeEstimator;
using testing::RandomEvents;
using testing::TimedEvent;
using Events = std::vector<TimedEvent>;

constexpr int kShrinkTries = 3000;

// The law that these events break, or the invariant that stops them; empty
// where they break none. `text` receives the whole of it.
std::string LawBrokenBy(const SchedulerOptions& options, const Events& events,
                        std::string* text) {
  // Left behind when an invariant stops it: its state is not to be touched.
  auto* judge = new EventJudge(options);
  const std::string aborted = CatchAbort([&] {
    for (const TimedEvent& e : events) judge->Send(e.event, e.when);
    judge->Drain();
  });
  *text = aborted.empty() ? judge->wrong() : aborted;
  const std::string law = aborted.empty() ? judge->law() : aborted;
  if (aborted.empty()) delete judge;
  return law;
}

std::string Describe(const SchedulerOptions& options) {
  const auto& estimator = static_cast<const FakeEstimator&>(*options.estimator);
  std::string text = Concat(
      "  options: ceiling ", options.memory.ceiling, ", base ",
      options.memory.base, ", headroom ", options.memory.headroom,
      options.memory.max_allocation.has_value()
          ? Concat(", max_allocation ", *options.memory.max_allocation)
          : std::string(),
      ", ranks ", options.ranks.size(), ", chunk ", options.chunk.max, "/",
      options.chunk.floor, "/", options.chunk.quantum, " ",
      options.chunk_policy, ", ", options.admission_policy, ", ",
      options.order_policy, options.calibrate ? ", calibrated" : "",
      ", queue_max ", options.queue_max, ", running_max ", options.running_max,
      ", step ", options.step.sequences, " prompts, ", options.step.tokens,
      " tokens, ", options.step.decodes, " decodes, ", options.step.in_flight,
      " in flight, decode ", static_cast<int>(options.step.decode), ", ladder");
  for (const std::string& rung : options.ladder) text += " " + rung;
  text += Concat("\n  prices: kv ", estimator.kv_per_token, ", window ",
                 estimator.window, " x ", estimator.window_per_token,
                 estimator.preallocated ? ", preallocated" : "",
                 ", other kernels from kv length ", estimator.route_kv_len);
  for (const FakeEstimator::Kernel& k : estimator.kernels) {
    text += Concat("; up to ", k.n_last, ": ", k.fixed, " + ", k.per_n, " n + ",
                   k.per_kv, " K + ", k.per_n_kv, " nK");
  }
  return text + "\n";
}

std::string ExplainEvents(std::uint64_t seed) {
  auto* run = new RandomEvents(seed);
  const std::string aborted = CatchAbort([&] { run->Run(); });
  const std::string law = aborted.empty() ? run->judge().law() : aborted;
  const SchedulerOptions options = run->options();
  const Events all = run->judge().sent();
  if (aborted.empty()) delete run;
  std::string text;
  if (LawBrokenBy(options, all, &text) != law) {
    return Concat("  ", law, "\n  (sent again, the ", all.size(),
                  " events do not break it)\n");
  }
  const Events few = testing::Shrink<TimedEvent>(
      all,
      [&](const Events& events) {
        std::string ignored;
        return LawBrokenBy(options, events, &ignored) == law;
      },
      kShrinkTries);
  LawBrokenBy(options, few, &text);
  std::string lines =
      Concat("  ", few.size(), " of ", all.size(),
             " events break it; then a well-behaved engine drains:\n",
             Describe(options));
  for (const TimedEvent& e : few) {
    lines += "  " + EventLine(e.event, e.when);
  }
  return lines + "  " + text + (text.ends_with('\n') ? "" : "\n");
}

SeedResult RunScenario(std::uint64_t seed, std::string* json,
                       std::string* log) {
  *json = testing::RandomScenario(seed).Draw().dump();
  const auto scenario = internal::ParseScenario(*json, "random.jsonl:1");
  if (!scenario.ok())
    return {.wrong = std::string(scenario.status().message())};
  testing::LawChecker checker(*scenario);
  SeedResult result;
  const std::vector<std::string> broken = checker.Run();
  if (log != nullptr) *log = checker.log();
  for (const std::string& law : broken) {
    result.wrong += (result.wrong.empty() ? "" : "; ") + law;
  }
  result.counts.requests = static_cast<std::int64_t>(scenario->requests.size());
  result.counts.chunks = checker.chunks();
  return result;
}

}  // namespace

Harness EventsHarness() {
  return {.name = "events",
          .run =
              [](std::uint64_t seed) {
                RandomEvents events(seed);
                std::string wrong = events.Run();
                return SeedResult{std::move(wrong), events.counts()};
              },
          .explain = ExplainEvents};
}

Harness ScenariosHarness() {
  return {.name = "scenarios",
          .run =
              [](std::uint64_t seed) {
                std::string json;
                return RunScenario(seed, &json, nullptr);
              },
          .explain =
              [](std::uint64_t seed) {
                std::string* json = new std::string;
                std::string* log = new std::string;
                SeedResult* result = new SeedResult;
                const std::string aborted =
                    CatchAbort([&] { *result = RunScenario(seed, json, log); });
                return Concat("  ", aborted.empty() ? result->wrong : aborted,
                              "\n", *log, "  for `tidegate replay`: ", *json,
                              "\n");
              }};
}

}  // namespace tidegate::torture
