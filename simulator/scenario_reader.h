// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Reads one object of a scenario: an ObjectReader that knows its keys, and the
// kinds of value that scenarios add (seconds, numbers, nested objects).
//
// Thread-safety: none.

#ifndef TIDEGATE_SIMULATOR_SCENARIO_READER_H_
#define TIDEGATE_SIMULATOR_SCENARIO_READER_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "estimators/json_reader.h"
#include "simulator/scenario.h"
#include "tidegate/types.h"

namespace tidegate::internal {

class ScenarioReader {
 public:
  // A key of `object` that is not in `known` is the reader's first failure.
  ScenarioReader(const JsonValue& object, std::string_view place,
                 std::string_view prefix,
                 std::span<const std::string_view> known);

  // The member as an object of its own; an empty object when it is absent.
  ScenarioReader Child(std::string_view key,
                       std::span<const std::string_view> known);
  // Calls `read` for each item of the array under `key`, with its object and
  // the prefix of its keys ("events[3]."). Nothing when it is absent.
  void Each(std::string_view key,
            const std::function<absl::Status(const JsonValue& item,
                                             const std::string& prefix)>& read);

  bool Has(std::string_view key) const { return in_.Has(key); }
  const JsonValue* Find(std::string_view key) const { return in_.Find(key); }

  std::int64_t Int(std::string_view key, std::int64_t low, std::int64_t high);
  std::int64_t IntOr(std::string_view key, std::int64_t fallback,
                     std::int64_t low, std::int64_t high);
  // Unset when the key is absent.
  std::optional<std::int64_t> OptionalInt(std::string_view key,
                                          std::int64_t low = 0,
                                          std::int64_t high = kBytesMax);
  std::string Text(std::string_view key);  // not empty
  double NumberOr(std::string_view key, double fallback, double low,
                  double high);
  // Seconds, at least 0.
  Duration Seconds(std::string_view key);
  Duration SecondsOr(std::string_view key, Duration fallback);
  std::optional<Duration> OptionalSeconds(std::string_view key);
  // One of `words`: its index; 0 when the key is absent.
  std::size_t WordOr(std::string_view key,
                     std::span<const std::string_view> words);
  MaskKind MaskOrCausal();
  Range Bounds();  // at_least, at_most

  void Fail(std::string_view key, std::string_view expected,
            std::string_view got) {
    in_.Fail(key, expected, got);
  }
  void FailAt(std::string_view key, std::string_view expected) {
    in_.FailAt(key, expected);
  }
  const absl::Status& status() const {
    return status_.ok() ? in_.status() : status_;
  }

 private:
  ObjectReader in_;
  absl::Status status_;  // of the items of an array
};

// "expected one of a, b, c"; with the nearest word where one is near.
std::string OneOf(std::span<const std::string_view> words);

// `events` and `expect`: in scenario_events.cc and scenario_expect.cc.
absl::Status ReadEvents(ScenarioReader& in, const std::string& place,
                        Scenario* scenario);
absl::Status ReadExpect(const JsonValue& json, const std::string& place,
                        Scenario* scenario);

}  // namespace tidegate::internal

#endif  // TIDEGATE_SIMULATOR_SCENARIO_READER_H_
