// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/rivals.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "estimators/json_reader.h"
#include "estimators/text.h"
#include "tidegate/rivals.h"
#include "tidegate/status.h"

namespace tidegate::tools {
namespace {

using internal::InvalidArgument;
using internal::Quote;

std::vector<std::string_view> SplitAtColons(std::string_view text) {
  std::vector<std::string_view> pieces;
  while (true) {
    const std::size_t colon = text.find(':');
    pieces.push_back(text.substr(0, colon));
    if (colon == std::string_view::npos) return pieces;
    text.remove_prefix(colon + 1);
  }
}

// "KEY=INTEGER" of what the rival is started with.
absl::Status SetFact(std::string_view where, std::string_view text,
                     RivalFacts* facts) {
  const std::size_t equals = std::min(text.find('='), text.size());
  const std::string_view key = text.substr(0, equals);
  const std::string_view number =
      text.substr(std::min(equals + 1, text.size()));
  std::int64_t value = 0;
  const char* const end = number.data() + number.size();
  const auto [stop, error] = std::from_chars(number.data(), end, value);
  if (error != std::errc() || stop != end || value < 0) {
    return InvalidArgument(where, ": expected KEY=INTEGER after the name, got ",
                           Quote(text));
  }
  constexpr std::array<std::string_view, 6> kKeys = {
      "sequences", "step_tokens", "page",
      "context",   "activation",  "long_prefill_threshold"};
  if (key == "sequences") {
    facts->sequences = value;
  } else if (key == "step_tokens") {
    facts->step_tokens = value;
  } else if (key == "page") {
    facts->page = value;
  } else if (key == "context") {
    facts->context = value;
  } else if (key == "activation") {
    facts->activation_bytes = value;
  } else if (key == "long_prefill_threshold") {
    facts->long_prefill_threshold = value;
  } else {
    return internal::UnknownWord(where, key, kKeys);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RivalRule> FindRival(std::string_view where,
                                    std::string_view name) {
  const std::vector<std::string_view> pieces = SplitAtColons(name);
  const std::vector<std::string_view> known = RivalNames();
  if (std::find(known.begin(), known.end(), pieces.front()) == known.end()) {
    return internal::UnknownWord(where, pieces.front(), known);
  }
  RivalFacts given;
  bool has_context = false;
  for (std::size_t i = 1; i < pieces.size(); ++i) {
    TG_RETURN_IF_ERROR(SetFact(where, pieces[i], &given));
    has_context = has_context || pieces[i].starts_with("context=");
  }
  return [name = std::string(pieces.front()), given, has_context](
             const ModelShape& shape, SimulatorOptions* options) {
    RivalFacts facts = given;
    facts.shape = shape;
    if (!has_context) {
      facts.context = shape.max_position.value_or(facts.context);
    }
    return ApplyRival(name, facts, options);
  };
}

}  // namespace tidegate::tools
