// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/scenario_reader.h"

#include <algorithm>
#include <cmath>

#include "estimators/text.h"
#include "tidegate/catalogue.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// Thirty years of virtual time: beyond it a number is a slip of units.
constexpr double kSecondsMax = 1e9;

bool IsNumber(const JsonValue& value) {
  return value.type == JsonValue::Type::kInt ||
         value.type == JsonValue::Type::kNumber;
}

const JsonValue& EmptyObject() {
  static const JsonValue empty{.type = JsonValue::Type::kObject};
  return empty;
}

}  // namespace

std::string OneOf(std::span<const std::string_view> words) {
  std::string list = "one of ";
  for (std::size_t i = 0; i < words.size(); ++i) {
    list += Concat(i > 0 ? ", " : "", words[i]);
  }
  return list;
}

ScenarioReader::ScenarioReader(const JsonValue& object, std::string_view place,
                               std::string_view prefix,
                               std::span<const std::string_view> known)
    : in_(object, place, prefix) {
  for (const std::string& key : object.keys) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::string_view near = DidYouMean(key, known);
    in_.Fail(key, OneOf(known),
             near.empty() ? "an unknown key"
                          : Concat("an unknown key; did you mean ", near, "?"));
    return;
  }
}

ScenarioReader ScenarioReader::Child(std::string_view key,
                                     std::span<const std::string_view> known) {
  const JsonValue* value = in_.Find(key);
  if (value != nullptr && !value->IsObject()) {
    in_.FailAt(key, "an object");
    value = nullptr;
  }
  return ScenarioReader(value == nullptr ? EmptyObject() : *value, in_.file(),
                        Concat(in_.prefix(), key, "."), known);
}

void ScenarioReader::Each(
    std::string_view key,
    const std::function<absl::Status(const JsonValue& item,
                                     const std::string& prefix)>& read) {
  const JsonValue* list = in_.Find(key);
  if (list == nullptr || !status().ok()) return;
  if (list->type != JsonValue::Type::kArray) return in_.FailAt(key, "an array");
  for (std::size_t i = 0; i < list->items.size(); ++i) {
    const std::string name = Concat(key, "[", i, "]");
    if (!list->items[i].IsObject()) {
      return in_.Fail(name, "an object", Describe(list->items[i]));
    }
    status_ = read(list->items[i], Concat(in_.prefix(), name, "."));
    if (!status_.ok()) return;
  }
}

std::int64_t ScenarioReader::Int(std::string_view key, std::int64_t low,
                                 std::int64_t high) {
  return in_.Int(key, low, high);
}

std::int64_t ScenarioReader::IntOr(std::string_view key, std::int64_t fallback,
                                   std::int64_t low, std::int64_t high) {
  return in_.IntOr(key, fallback, low, high);
}

std::optional<std::int64_t> ScenarioReader::OptionalInt(std::string_view key,
                                                        std::int64_t low,
                                                        std::int64_t high) {
  if (!in_.Has(key)) return std::nullopt;
  return in_.Int(key, low, high);
}

std::string ScenarioReader::Text(std::string_view key) {
  std::string text = in_.StringOrEmpty(key);
  if (text.empty()) in_.FailAt(key, "a string that is not empty");
  return text;
}

double ScenarioReader::NumberOr(std::string_view key, double fallback,
                                double low, double high) {
  const JsonValue* value = in_.Find(key);
  if (value == nullptr) return fallback;
  if (IsNumber(*value) && value->number >= low && value->number <= high) {
    return value->number;
  }
  // 1e9 rather than 1000000000.000000.
  const auto shown = [](double bound) {
    return std::to_string(static_cast<std::int64_t>(bound));
  };
  in_.FailAt(key,
             low > 0 && low < 1
                 ? Concat("a number above 0, up to ", shown(high))
                 : Concat("a number from ", shown(low), " to ", shown(high)));
  return fallback;
}

Duration ScenarioReader::Seconds(std::string_view key) {
  if (!in_.Has(key)) in_.FailAt(key, "seconds");
  return SecondsOr(key, Duration{});
}

Duration ScenarioReader::SecondsOr(std::string_view key, Duration fallback) {
  if (!in_.Has(key)) return fallback;
  return Duration(std::llround(NumberOr(key, 0, 0, kSecondsMax) * 1e9));
}

std::optional<Duration> ScenarioReader::OptionalSeconds(std::string_view key) {
  if (!in_.Has(key)) return std::nullopt;
  return Seconds(key);
}

std::size_t ScenarioReader::WordOr(std::string_view key,
                                   std::span<const std::string_view> words) {
  const JsonValue* value = in_.Find(key);
  if (value == nullptr) return 0;
  const auto found = value->type == JsonValue::Type::kString
                         ? std::find(words.begin(), words.end(), value->text)
                         : words.end();
  if (found != words.end()) {
    return static_cast<std::size_t>(found - words.begin());
  }
  const std::string_view near = DidYouMean(value->text, words);
  in_.Fail(key, OneOf(words),
           near.empty()
               ? Describe(*value)
               : Concat(Describe(*value), "; did you mean \"", near, "\"?"));
  return 0;
}

MaskKind ScenarioReader::MaskOrCausal() {
  constexpr std::string_view kWords[] = {"causal", "array"};
  return WordOr("mask", kWords) == 0 ? MaskKind::kCausal : MaskKind::kArray;
}

Range ScenarioReader::Bounds() {
  Range range{OptionalInt("at_least"), OptionalInt("at_most")};
  if (!range.at_least && !range.at_most) {
    in_.Fail("at_most", "at_least, at_most or both", "neither");
  } else if (range.at_least.value_or(0) > range.at_most.value_or(kBytesMax)) {
    in_.FailAt("at_most", Concat("at least at_least = ", *range.at_least));
  }
  return range;
}

}  // namespace tidegate::internal
