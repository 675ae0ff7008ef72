// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A price and its arithmetic, for people and as JSON.

#ifndef TIDEGATE_TOOLS_PRICE_OUTPUT_H_
#define TIDEGATE_TOOLS_PRICE_OUTPUT_H_

#include <string>
#include <string_view>
#include <vector>

#include "tidegate/estimator.h"
#include "tools/output.h"

namespace tidegate::tools {

// The part whose bytes are the transient; null where nothing is transient.
const Part* BindingPart(const Price& price);

// The part's terms in the order of their first mention; those of one name are
// added up, since JSON has each key once.
std::vector<Term> MergedTerms(const Part& part);

// A line for each part, largest first, and for each of its terms. The binding
// part is marked.
std::string PartTable(const Price& price);

// transient_bytes, resident_bytes, largest_allocation_bytes, fixed_in_n_bytes,
// route, assumed, parts, binding_part (null where nothing is transient), terms.
void PutPrice(const Price& price, JsonWriter& json);

// {name: bytes}.
void PutTerms(std::string_view key, const Part* part, JsonWriter& json);

void PutStrings(std::string_view key, const std::vector<std::string>& strings,
                JsonWriter& json);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_PRICE_OUTPUT_H_
