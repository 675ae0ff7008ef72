// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/table_law.h"

#include "estimators/text.h"

namespace tidegate::internal {

TableLaw::Answer TableLaw::At(const Chunk& chunk) const {
  const TablePrice price = table_.At(chunk.n, chunk.kv_len, chunk.mask);
  Answer answer{.term = "rows",
                .transient = price.transient,
                .largest = price.largest,
                .route = price.route,
                .covered = price.covered};
  if (price.covered) return answer;
  answer.term = "beyond_rows";
  TotalsSink sink;
  unfused_.Emit({.chunks = {&chunk, 1}}, sink);
  const PriceTotals unfused = sink.Totals(0);
  if (unfused.transient_bytes > answer.transient) {
    answer.term = "unfused_formula";
    answer.transient = unfused.transient_bytes;
    answer.route = -1;
  }
  answer.largest = std::max(answer.largest, unfused.largest_allocation_bytes);
  return answer;
}

void TableLaw::Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi,
                           MaskKind mask, std::vector<Tokens>* out) const {
  const auto answer = [&](Tokens v) {
    Chunk chunk{.n = v, .kv_len = fixed, .mask = mask};
    if (axis == Axis::kKvLen) chunk = {.n = fixed, .kv_len = v, .mask = mask};
    if (axis == Axis::kChunk) chunk.kv_len = SatAdd(fixed, v);
    return At(chunk);
  };
  // Nothing falls but at a line of rows and behind it.
  const auto consider = [&](Tokens v) {
    if (v <= lo || v > hi || v < 2) return;
    const Answer before = answer(v - 1);
    const Answer after = answer(v);
    if (after.transient < before.transient || after.largest < before.largest) {
      out->push_back(v);
    }
  };
  const auto lines = [&](const std::vector<Tokens>& values, Tokens start) {
    for (const Tokens value : values) {
      consider(value - start);
      consider(value + 1 - start);
    }
  };
  for (const PriceGrid* grid : table_.GridsOf(mask)) {
    if (axis != Axis::kKvLen) lines(grid->n_lines(), 0);
    if (axis == Axis::kKvLen) lines(grid->kv_lines(), 0);
    if (axis == Axis::kChunk) lines(grid->kv_lines(), fixed);
  }
}

std::string TableLaw::RouteName(const StepQuery& step) const {
  Answer dearest;
  bool first = true;
  ForEachChunk(step, decode_mask_, [&](const Chunk& chunk) {
    const Answer answer = At(chunk);
    if (first || answer.transient > dearest.transient) dearest = answer;
    first = false;
  });
  if (dearest.route < 0) return "table.unfused_formula";
  const std::string& name =
      table_.routes()[static_cast<std::size_t>(dearest.route)];
  return name.empty() ? "table" : Concat("table.", name);
}

bool TableLaw::Assumed(const StepQuery& step) const {
  bool covered = true;
  ForEachChunk(step, decode_mask_, [&](const Chunk& chunk) {
    covered = covered && At(chunk).covered;
  });
  return !covered;
}

Bytes TableLaw::Resident(const StepQuery& step) const {
  if (!table_.resident_per_token().has_value()) return resident_.Growth(step);
  Tokens tokens = step.decode_tokens;
  for (const Chunk& chunk : step.chunks) tokens = SatAdd(tokens, chunk.n);
  return SatMul(tokens, *table_.resident_per_token());
}

Bytes TableLaw::SequenceBytes(Tokens tokens, Tokens chunk) const {
  if (!table_.resident_per_token().has_value()) {
    return resident_.SequenceBytes(tokens, chunk);
  }
  return SatMul(std::max<Tokens>(tokens, 0), *table_.resident_per_token());
}

}  // namespace tidegate::internal
