// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/price_output.h"

#include <algorithm>

#include "estimators/text.h"

namespace tidegate::tools {

using internal::Concat;
using internal::FormatBytes;

std::vector<Term> MergedTerms(const Part& part) {
  std::vector<Term> merged;
  for (const Term& term : part.terms) {
    const auto same =
        std::find_if(merged.begin(), merged.end(),
                     [&](const Term& seen) { return seen.name == term.name; });
    if (same == merged.end()) {
      merged.push_back(term);
    } else {
      same->bytes = SatAdd(same->bytes, term.bytes);
    }
  }
  return merged;
}

const Part* BindingPart(const Price& price) {
  // Several sequences give several parts of one name: the largest binds.
  const Part* binding = nullptr;
  for (const Part& part : price.parts) {
    if (part.name != price.binding_part) continue;
    if (binding == nullptr || part.bytes > binding->bytes) binding = &part;
  }
  return binding;
}

std::string PartTable(const Price& price) {
  std::vector<const Part*> parts;
  for (const Part& part : price.parts) parts.push_back(&part);
  std::stable_sort(
      parts.begin(), parts.end(),
      [](const Part* a, const Part* b) { return a->bytes > b->bytes; });
  const Part* binding = BindingPart(price);
  TextTable table({"part and terms", "bytes", ""},
                  {Align::kLeft, Align::kRight, Align::kLeft});
  for (const Part* part : parts) {
    table.Add({part->name, FormatBytes(part->bytes),
               part == binding ? "<- binds: the transient" : ""});
    for (const Term& term : MergedTerms(*part)) {
      if (term.bytes == 0) continue;
      table.Add({Concat("  ", term.name), FormatBytes(term.bytes), ""});
    }
  }
  return table.ToString();
}

void PutTerms(std::string_view key, const Part* part, JsonWriter& json) {
  json.BeginObject(key);
  if (part != nullptr) {
    for (const Term& term : MergedTerms(*part)) json.Put(term.name, term.bytes);
  }
  json.End();
}

void PutPrice(const Price& price, JsonWriter& json) {
  json.Put("transient_bytes", price.transient_bytes);
  json.Put("resident_bytes", price.resident_bytes);
  json.Put("largest_allocation_bytes", price.largest_allocation_bytes);
  json.Put("fixed_in_n_bytes", price.fixed_in_n_bytes);
  json.Put("route", std::string_view(price.route));
  json.Put("assumed", price.assumed);
  json.BeginArray("parts");
  for (const Part& part : price.parts) {
    json.BeginObject();
    json.Put("name", std::string_view(part.name));
    json.Put("bytes", part.bytes);
    PutTerms("terms", &part, json);
    json.End();
  }
  json.End();
  const Part* binding = BindingPart(price);
  if (binding == nullptr) {
    json.PutNull("binding_part");
  } else {
    json.Put("binding_part", std::string_view(binding->name));
  }
  PutTerms("terms", binding, json);
}

void PutStrings(std::string_view key, const std::vector<std::string>& strings,
                JsonWriter& json) {
  json.BeginArray(key);
  for (const std::string& text : strings) json.Put("", std::string_view(text));
  json.End();
}

}  // namespace tidegate::tools
