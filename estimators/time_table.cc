// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The time of a step, composed from the parts that a profile measured.

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <optional>
#include <utility>

#include "estimators/corrected_law.h"
#include "estimators/text.h"
#include "estimators/time_formula.h"
#include "tidegate/status.h"
#include "tidegate/step_time.h"

namespace tidegate {
namespace {

using internal::ChunkFeatures;
using internal::CorrectedLaw;
using internal::FeatureRow;
using internal::GridPoint;
using internal::InvalidArgument;
using internal::Measured;
using internal::MeasuredGrid;

FeatureRow CountFeatures(double count, double) { return {1, 0, count, 0}; }

// Each sequence reads its own keys: batch times length is what moves.
FeatureRow DecodeFeatures(double batch, double kv_len) {
  return {1, kv_len, batch, batch * kv_len};
}

class TimeTable final : public StepTimer {
 public:
  struct Rows {
    double fixed_us = 0;
    Measured tokens;
    Measured sequences;
    Measured chunks;   // (n, tokens before it)
    Measured decodes;  // (sequences, kv_len)
    Measured mixed;    // both
  };
  explicit TimeTable(const Rows& rows);

  StepTime Of(const StepWork& work) const override;
  TimeModel Model() const override { return model_; }

 private:
  struct Sum {
    double us = 0;
    bool inside = true;
    void Add(const CorrectedLaw& law, double first, double second = 0) {
      if (law.empty()) return;
      const CorrectedLaw::Answer answer = law.At(first, second);
      us += answer.value;
      inside = inside && answer.inside;
    }
  };
  Sum ChunksOf(std::span<const Chunk> chunks) const;
  Sum DecodesOf(std::span<const Tokens> kv_lens) const;
  // One launch, so its cost counts once.
  double MixedOf(double chunks_us, double decodes_us) const {
    const double base = decodes_.empty()
                            ? chunks_.base()
                            : std::min(chunks_.base(), decodes_.base());
    return std::max({chunks_us + decodes_us - base, chunks_us, decodes_us});
  }

  double fixed_us_ = 0;
  CorrectedLaw tokens_;
  CorrectedLaw sequences_;
  CorrectedLaw chunks_;
  CorrectedLaw decodes_;
  // What a mixed step takes over what its two halves add up to.
  MeasuredGrid mixing_;
  TimeModel model_;
};

TimeTable::TimeTable(const Rows& rows)
    : fixed_us_(rows.fixed_us),
      tokens_(rows.tokens, CountFeatures),
      sequences_(rows.sequences, CountFeatures),
      chunks_(rows.chunks, ChunkFeatures),
      decodes_(rows.decodes, DecodeFeatures) {
  std::map<GridPoint, double> mixing;
  for (const auto& row : rows.mixed) {
    const GridPoint& point = row.first;
    const auto& values = row.second;
    const auto at = [&point](int axis) {
      return static_cast<double>(point[axis]);
    };
    mixing[point] =
        internal::MedianOf(values) / MixedOf(chunks_.At(at(0), at(1)).value,
                                             decodes_.At(at(2), at(3)).value);
  }
  if (!mixing.empty()) mixing_ = MeasuredGrid(mixing);

  std::vector<internal::TimedChunk> samples;
  for (const auto& [point, values] : rows.chunks) {
    const Chunk chunk{.n = point[0], .kv_len = point[0] + point[1]};
    samples.push_back({chunk, Of({.chunks = {&chunk, 1}}).took});
  }
  model_ = internal::FitTimeModel(samples);
}

// Chunks of one launch share its cost, and what each computes adds up.
TimeTable::Sum TimeTable::ChunksOf(std::span<const Chunk> chunks) const {
  Sum sum{.us = chunks_.base()};
  for (const Chunk& chunk : chunks) {
    const CorrectedLaw::Answer answer =
        chunks_.At(static_cast<double>(chunk.n),
                   static_cast<double>(chunk.kv_len - chunk.n));
    sum.us += std::max(answer.value - chunks_.base(), 0.0);
    sum.inside = sum.inside && answer.inside;
  }
  return sum;
}

TimeTable::Sum TimeTable::DecodesOf(std::span<const Tokens> kv_lens) const {
  Sum sum;
  if (!decodes_.empty()) {
    double total = 0;
    for (const Tokens kv_len : kv_lens) total += static_cast<double>(kv_len);
    const auto count = static_cast<double>(kv_lens.size());
    sum.Add(decodes_, count, total / count);
    return sum;
  }
  // Nothing was measured of decoding: what the law of chunks adds for a chunk
  // of one token.
  sum.inside = false;
  sum.us = chunks_.base();
  for (const Tokens kv_len : kv_lens) {
    sum.us +=
        chunks_.Law(1, static_cast<double>(kv_len - 1)) - chunks_.Law(0, 0);
  }
  return sum;
}

StepTime TimeTable::Of(const StepWork& work) const {
  const std::size_t sequences = work.chunks.size() + work.decode_kv_lens.size();
  if (sequences == 0) return {};
  double n = 0;
  double pairs = 0;
  for (const Chunk& chunk : work.chunks) {
    n += static_cast<double>(chunk.n);
    pairs += static_cast<double>(chunk.n) *
             static_cast<double>(chunk.kv_len - chunk.n);
  }
  Sum step{.us = fixed_us_};
  const auto decodes = static_cast<double>(work.decode_kv_lens.size());
  step.Add(tokens_, n + decodes);
  step.Add(sequences_, static_cast<double>(sequences));

  Sum chunks;
  if (!work.chunks.empty()) chunks = ChunksOf(work.chunks);
  Sum decoding;
  if (decodes > 0) decoding = DecodesOf(work.decode_kv_lens);
  step.inside = step.inside && chunks.inside && decoding.inside;
  double both = chunks.us + decoding.us;
  if (!work.chunks.empty() && decodes > 0) {
    both = MixedOf(chunks.us, decoding.us);
    if (!mixing_.empty()) {
      double kv_tokens = 0;
      for (const Tokens kv_len : work.decode_kv_lens) {
        kv_tokens += static_cast<double>(kv_len);
      }
      // Several chunks count as one as wide as all, behind as much.
      const std::array<double, 4> point = {n, pairs / n, decodes,
                                           kv_tokens / decodes};
      const MeasuredGrid::Answer mixing = mixing_.At(point);
      both *= mixing.value;
      step.inside = step.inside && mixing.inside;
    }
  }
  const double nanos = (step.us + both) * 1000;
  constexpr double kMax = 9.2e18;
  return {
      .took = nanos < kMax ? Duration(std::llround(nanos)) : Duration::max(),
      .extrapolated = !step.inside};
}

}  // namespace

absl::StatusOr<std::shared_ptr<const StepTimer>> CreateStepTimer(
    const TimeProfile& profile) {
  TimeTable::Rows rows;
  Measured steps[3];  // chunks, decodes, mixed
  Measured attention[3];
  for (const TimeRow& row : profile.rows) {
    switch (row.part) {
      case TimePart::kFixed:
        if (rows.fixed_us > 0) {
          return InvalidArgument("part fixed: expected one row at most");
        }
        rows.fixed_us = row.us;
        break;
      case TimePart::kTokens:
        rows.tokens[{row.n}].push_back(row.us);
        break;
      case TimePart::kSequences:
        rows.sequences[{row.n}].push_back(row.us);
        break;
      case TimePart::kAttention:
      case TimePart::kStep: {
        Measured* into = row.part == TimePart::kStep ? steps : attention;
        const Tokens before = row.kv_len - row.n;
        if (row.decodes == 0) {
          into[0][{row.n, before}].push_back(row.us);
        } else if (row.n == 0) {
          into[1][{row.decodes, row.decode_kv_len}].push_back(row.us);
        } else {
          into[2][{row.n, before, row.decodes, row.decode_kv_len}].push_back(
              row.us);
        }
        break;
      }
    }
  }
  const bool whole =
      !steps[0].empty() || !steps[1].empty() || !steps[2].empty();
  const bool parts = !rows.tokens.empty() || !rows.sequences.empty() ||
                     !attention[0].empty() || !attention[1].empty() ||
                     !attention[2].empty();
  if (whole && parts) {
    return InvalidArgument(
        "part step: expected whole steps alone, or tokens and attention; got "
        "both");
  }
  Measured* from = whole ? steps : attention;
  const std::string_view name = whole ? "step" : "attention";
  if (from[0].empty()) {
    return InvalidArgument("part ", name,
                           ": expected rows of single chunks (n above 0, "
                           "decodes 0), got none");
  }
  if (!whole && rows.tokens.empty()) {
    return InvalidArgument("part tokens: expected rows, got none");
  }
  if (!from[2].empty() && from[1].empty()) {
    return InvalidArgument("part ", name,
                           ": expected rows of decoding alone (n 0) beside "
                           "those of both, got none");
  }
  rows.chunks = std::move(from[0]);
  rows.decodes = std::move(from[1]);
  rows.mixed = std::move(from[2]);
  return std::make_shared<const TimeTable>(rows);
}

}  // namespace tidegate
