// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// `expect` of a scenario.

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "estimators/text.h"
#include "simulator/scenario_reader.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

using std::string_view;

constexpr auto kExpectKeys = std::to_array<string_view>(
    {"requests", "out_of_memory", "peak_at_most", "reclaims_at_least",
     "reclaims_at_most", "finish_order", "prices", "kv_bytes_per_token",
     "kv_bytes"});
constexpr auto kRequestKeys = std::to_array<string_view>(
    {"outcome", "chunk_at_least", "chunk_at_most", "largest_chunk_at_least",
     "steps_at_most", "wait_at_most_s", "finished_by_s",
     "work_before_rejection", "rejected_code"});
constexpr auto kPriceKeys =
    std::to_array<string_view>({"n", "kv_len", "mask", "at_least", "at_most"});
constexpr auto kKvKeys =
    std::to_array<string_view>({"tokens", "chunk", "at_least", "at_most"});

std::vector<string_view> IdsOf(const Scenario& scenario) {
  std::vector<string_view> ids;
  for (const ScenarioRequest& request : scenario.requests) {
    ids.push_back(request.id);
  }
  return ids;
}

ExpectedRequest ReadRequest(ScenarioReader& in, std::size_t request) {
  constexpr string_view kOutcomes[] = {"finished", "rejected", "cancelled"};
  constexpr string_view kCodes[] = {"too_large", "overloaded", "unsupported"};
  ExpectedRequest expected;
  expected.request = request;
  if (in.Has("outcome")) {
    constexpr Outcome kValues[] = {Outcome::kFinished, Outcome::kRejected,
                                   Outcome::kCancelled};
    expected.outcome = kValues[in.WordOr("outcome", kOutcomes)];
  }
  if (in.Has("rejected_code")) {
    constexpr RefusalCode kValues[] = {RefusalCode::kTooLarge,
                                       RefusalCode::kOverloaded,
                                       RefusalCode::kUnsupported};
    expected.rejected_code = kValues[in.WordOr("rejected_code", kCodes)];
  }
  expected.chunk_at_least = in.OptionalInt("chunk_at_least");
  expected.chunk_at_most = in.OptionalInt("chunk_at_most");
  expected.largest_chunk_at_least = in.OptionalInt("largest_chunk_at_least");
  expected.steps_at_most = in.OptionalInt("steps_at_most");
  expected.work_before_rejection = in.OptionalInt("work_before_rejection");
  expected.wait_at_most = in.OptionalSeconds("wait_at_most_s");
  expected.finished_by = in.OptionalSeconds("finished_by_s");
  return expected;
}

absl::Status ReadRequests(ScenarioReader& expect, const std::string& place,
                          Scenario* scenario) {
  const JsonValue* requests = expect.Find("requests");
  if (requests == nullptr) return absl::OkStatus();
  const std::vector<string_view> ids = IdsOf(*scenario);
  // The ids are the keys: one that nobody has is an unknown key.
  const ScenarioReader by_id = expect.Child("requests", ids);
  TG_RETURN_IF_ERROR(expect.status());
  TG_RETURN_IF_ERROR(by_id.status());
  for (std::size_t i = 0; i < requests->keys.size(); ++i) {
    const std::string& id = requests->keys[i];
    if (!requests->items[i].IsObject()) {
      return InvalidArgument(place, ": key expect.requests.", id,
                             ": expected an object, got ",
                             Describe(requests->items[i]));
    }
    ScenarioReader in(requests->items[i], place,
                      Concat("expect.requests.", id, "."), kRequestKeys);
    const auto at = std::find(ids.begin(), ids.end(), id) - ids.begin();
    scenario->expect.requests.push_back(
        ReadRequest(in, static_cast<std::size_t>(at)));
    TG_RETURN_IF_ERROR(in.status());
  }
  return absl::OkStatus();
}

absl::Status ReadFinishOrder(ScenarioReader& expect, Scenario* scenario) {
  const JsonValue* order = expect.Find("finish_order");
  if (order == nullptr) return absl::OkStatus();
  if (order->type != JsonValue::Type::kArray) {
    expect.FailAt("finish_order", "an array of ids");
    return expect.status();
  }
  const std::vector<string_view> ids = IdsOf(*scenario);
  for (std::size_t i = 0; i < order->items.size(); ++i) {
    const JsonValue& id = order->items[i];
    const auto found = std::find(ids.begin(), ids.end(), id.text);
    if (id.type != JsonValue::Type::kString || found == ids.end()) {
      expect.Fail(Concat("finish_order[", i, "]"), "the id of a request",
                  Describe(id));
      return expect.status();
    }
    scenario->expect.finish_order.push_back(
        static_cast<std::size_t>(found - ids.begin()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadExpect(const JsonValue& json, const std::string& place,
                        Scenario* scenario) {
  ScenarioReader in(json, place, "expect.", kExpectKeys);
  TG_RETURN_IF_ERROR(in.status());
  Expectations& expect = scenario->expect;
  expect.out_of_memory = in.IntOr("out_of_memory", 0, 0, kBytesMax);
  expect.peak_at_most = in.OptionalInt("peak_at_most");
  expect.reclaims_at_least = in.OptionalInt("reclaims_at_least");
  expect.reclaims_at_most = in.OptionalInt("reclaims_at_most");
  expect.kv_bytes_per_token = in.OptionalInt("kv_bytes_per_token");
  in.Each("prices", [&](const JsonValue& item, const std::string& prefix) {
    ScenarioReader price(item, place, prefix, kPriceKeys);
    ExpectedPrice expected;
    expected.chunk.n = price.Int("n", 1, kTokensMax);
    expected.chunk.kv_len = price.Int("kv_len", 1, kTokensMax);
    expected.chunk.mask = price.MaskOrCausal();
    if (expected.chunk.kv_len < expected.chunk.n) {
      price.FailAt("kv_len", Concat("at least n = ", expected.chunk.n));
    }
    expected.transient_bytes = price.Bounds();
    expect.prices.push_back(expected);
    return price.status();
  });
  in.Each("kv_bytes", [&](const JsonValue& item, const std::string& prefix) {
    ScenarioReader kv(item, place, prefix, kKvKeys);
    ExpectedKvBytes expected;
    expected.tokens = kv.Int("tokens", 1, kTokensMax);
    expected.chunk = kv.Int("chunk", 1, kTokensMax);
    expected.bytes = kv.Bounds();
    expect.kv_bytes.push_back(expected);
    return kv.status();
  });
  TG_RETURN_IF_ERROR(in.status());
  TG_RETURN_IF_ERROR(ReadRequests(in, place, scenario));
  TG_RETURN_IF_ERROR(ReadFinishOrder(in, scenario));
  return in.status();
}

}  // namespace tidegate::internal
