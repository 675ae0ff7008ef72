// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// `events` of a scenario.

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "estimators/text.h"
#include "simulator/scenario_reader.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

using std::string_view;

constexpr auto kEventKeys = std::to_array<string_view>(
    {"at", "arrive", "cancel", "base", "ceiling", "observe"});
constexpr auto kArriveKeys = std::to_array<string_view>(
    {"id", "prompt_tokens", "cached_tokens", "max_output_tokens",
     "output_tokens", "mask", "spans", "encodes", "priority", "tenant"});
constexpr auto kEncodeKeys = std::to_array<string_view>(
    {"start", "length", "transient", "output", "took_s"});
constexpr auto kObserveKeys =
    std::to_array<string_view>({"n", "kv_len", "transient"});

constexpr std::int64_t kPriorityMax = std::int64_t{1} << 53;

std::size_t FindRequest(const Scenario& scenario, string_view id) {
  const auto found = std::find_if(
      scenario.requests.begin(), scenario.requests.end(),
      [&](const ScenarioRequest& request) { return request.id == id; });
  return static_cast<std::size_t>(found - scenario.requests.begin());
}

// [[start, length], …]
void ReadSpans(ScenarioReader& in, std::vector<Span>* spans) {
  const JsonValue* list = in.Find("spans");
  if (list == nullptr) return;
  const auto is_token = [](const JsonValue& value) {
    return value.type == JsonValue::Type::kInt && value.integer >= 0 &&
           value.integer <= kTokensMax;
  };
  bool good = list->type == JsonValue::Type::kArray;
  for (const JsonValue& item : list->items) {
    good = good && item.type == JsonValue::Type::kArray &&
           item.items.size() == 2 && is_token(item.items[0]) &&
           is_token(item.items[1]);
    if (good) spans->push_back({item.items[0].integer, item.items[1].integer});
  }
  if (!good) in.FailAt("spans", "an array of [start, length]");
}

absl::Status ReadEncodes(ScenarioReader& in, const std::string& place,
                         std::vector<EncodeItem>* encodes) {
  if (!in.Has("encodes")) return absl::OkStatus();
  in.Each("encodes", [&](const JsonValue& value, const std::string& prefix) {
    ScenarioReader item(value, place, prefix, kEncodeKeys);
    encodes->push_back({.start = item.Int("start", 0, kTokensMax),
                        .length = item.Int("length", 1, kTokensMax),
                        .transient_bytes = item.Int("transient", 0, kBytesMax),
                        .output_bytes = item.Int("output", 1, kBytesMax),
                        .took = item.SecondsOr("took_s", Duration{})});
    return item.status();
  });
  return in.status();
}

absl::Status ReadArrive(ScenarioReader& event, const std::string& place,
                        Scenario* scenario, TimedInput* timed) {
  ScenarioReader in = event.Child("arrive", kArriveKeys);
  TG_RETURN_IF_ERROR(event.status());
  ScenarioRequest request;
  request.id = in.Text("id");
  if (FindRequest(*scenario, request.id) < scenario->requests.size()) {
    in.FailAt("id", "an id that no other request has");
  }
  // A prompt that contradicts itself is for the scheduler to refuse.
  DrivenRequest& driven = request.driven;
  PlanRequest& asked = driven.arrive.request;
  asked.prompt_tokens = in.Int("prompt_tokens", 0, kTokensMax);
  asked.cached_tokens = in.IntOr("cached_tokens", 0, 0, kTokensMax);
  driven.output_tokens = in.IntOr("output_tokens", 0, 0, kTokensMax);
  asked.max_output_tokens =
      in.IntOr("max_output_tokens", driven.output_tokens, 0, kTokensMax);
  driven.output_tokens =
      std::min(driven.output_tokens, asked.max_output_tokens);
  asked.mask = in.MaskOrCausal();
  ReadSpans(in, &asked.uncuttable);
  TG_RETURN_IF_ERROR(ReadEncodes(in, place, &asked.encodes));
  if (in.Find("tenant") != nullptr) driven.arrive.tenant = in.Text("tenant");
  driven.arrive.priority = in.IntOr("priority", 0, -kPriorityMax, kPriorityMax);
  TG_RETURN_IF_ERROR(in.status());
  timed->input = ArriveInput{scenario->requests.size()};
  scenario->requests.push_back(std::move(request));
  return absl::OkStatus();
}

absl::Status ReadObserve(ScenarioReader& event, TimedInput* timed) {
  ScenarioReader in = event.Child("observe", kObserveKeys);
  TG_RETURN_IF_ERROR(event.status());
  Observe observe;
  observe.chunk.n = in.Int("n", 1, kTokensMax);
  observe.chunk.kv_len = in.Int("kv_len", 1, kTokensMax);
  observe.transient_bytes = in.Int("transient", 0, kBytesMax);
  if (observe.chunk.kv_len < observe.chunk.n) {
    in.FailAt("kv_len", Concat("at least n = ", observe.chunk.n));
  }
  timed->input = observe;
  return in.status();
}

}  // namespace

absl::Status ReadEvents(ScenarioReader& top, const std::string& place,
                        Scenario* scenario) {
  // A cancel may stand before its request; both are known at the end.
  struct PendingCancel {
    std::size_t input;
    std::string id;
    std::string prefix;
  };
  std::vector<PendingCancel> cancels;
  top.Each("events", [&](const JsonValue& item, const std::string& prefix) {
    ScenarioReader event(item, place, prefix, kEventKeys);
    TimedInput timed;
    timed.at = Instant(event.Seconds("at"));
    string_view what;
    for (string_view key : kEventKeys) {
      if (key == "at" || !event.Has(key)) continue;
      if (!what.empty()) event.Fail(key, "one event", Concat("also ", what));
      what = key;
    }
    if (what.empty()) {
      event.Fail("arrive", "arrive, cancel, base, ceiling or observe",
                 "none of them");
    }
    TG_RETURN_IF_ERROR(event.status());
    if (what == "arrive") {
      TG_RETURN_IF_ERROR(ReadArrive(event, place, scenario, &timed));
    } else if (what == "observe") {
      TG_RETURN_IF_ERROR(ReadObserve(event, &timed));
    } else if (what == "cancel") {
      cancels.push_back(
          {scenario->inputs.size(), event.Text("cancel"), prefix});
    } else if (what == "base") {
      timed.input = BaseInput{event.Int("base", 0, Bytes{1} << 60)};
    } else {
      timed.input = CeilingInput{event.Int("ceiling", 1, Bytes{1} << 60)};
    }
    scenario->inputs.push_back(std::move(timed));
    return event.status();
  });
  TG_RETURN_IF_ERROR(top.status());
  for (const PendingCancel& cancel : cancels) {
    const std::size_t request = FindRequest(*scenario, cancel.id);
    if (request == scenario->requests.size()) {
      return InvalidArgument(place, ": key ", cancel.prefix,
                             "cancel: expected the id of a request, got ",
                             Quote(cancel.id));
    }
    scenario->inputs[cancel.input].input = CancelInput{request};
  }
  std::stable_sort(
      scenario->inputs.begin(), scenario->inputs.end(),
      [](const TimedInput& a, const TimedInput& b) { return a.at < b.at; });
  return absl::OkStatus();
}

}  // namespace tidegate::internal
