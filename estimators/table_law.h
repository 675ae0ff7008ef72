// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Prices of measured rows (price_table.h) as a law.
//
// Beyond what the rows cover, the price is the larger of their extension in
// proportion and the unfused formula of the model: another kernel may run
// there, and that one is the dearest that is known. Such prices are assumed.
//
// Sequences of one step add up; decode tokens are one chunk of as many tokens
// at their longest kv length.
//
// Immutable after construction; thread-safe.

#ifndef TIDEGATE_ESTIMATORS_TABLE_LAW_H_
#define TIDEGATE_ESTIMATORS_TABLE_LAW_H_

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "estimators/generic_law.h"
#include "estimators/price_sink.h"
#include "estimators/price_table.h"
#include "estimators/resident_model.h"
#include "tidegate/estimator.h"

namespace tidegate::internal {

// Chunks of a step, those that decode taken as one.
template <typename Visit>
void ForEachChunk(const StepQuery& step, MaskKind decode_mask, Visit visit) {
  for (const Chunk& chunk : step.chunks) visit(chunk);
  if (step.decode_tokens > 0) {
    visit(Chunk{.n = step.decode_tokens,
                .kv_len = std::max(step.decode_kv_len, step.decode_tokens),
                .mask = decode_mask});
  }
}

class TableLaw {
 public:
  TableLaw(PriceTable table, const ModelShape& shape, std::int64_t score_bytes,
           ResidentModel resident)
      : table_(std::move(table)),
        unfused_(shape, {.kernel = GenericKernel::kUnfused,
                         .score_bytes = score_bytes}),
        resident_(std::move(resident)),
        decode_mask_(table_.HasMask(MaskKind::kNone) ? MaskKind::kNone
                                                     : MaskKind::kCausal) {}

  template <typename Sink>
  void Emit(const StepQuery& step, Sink& sink) const {
    sink.BeginPart("table");
    ForEachChunk(step, decode_mask_, [&](const Chunk& chunk) {
      const Answer answer = At(chunk);
      sink.AddMany(answer.term, answer.transient, answer.largest);
    });
    sink.EndPart();
  }

  void Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi, MaskKind mask,
                   std::vector<Tokens>* out) const;
  // "table", and the row's route behind a dot; of the dearest chunk.
  std::string RouteName(const StepQuery& step) const;
  // Whether a part of the price is beyond the rows.
  bool Assumed(const StepQuery& step) const;
  Bytes Resident(const StepQuery& step) const;
  Bytes SequenceBytes(Tokens tokens, Tokens chunk) const;

  const std::vector<std::string>& warnings() const { return table_.warnings(); }

 private:
  struct Answer {
    std::string_view term;
    Bytes transient = 0;
    Bytes largest = 0;
    int route = 0;  // of the table; -1: the unfused formula
    bool covered = true;
  };
  Answer At(const Chunk& chunk) const;

  PriceTable table_;
  GenericLaw unfused_;
  ResidentModel resident_;
  MaskKind decode_mask_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_TABLE_LAW_H_
