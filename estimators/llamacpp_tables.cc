// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/llamacpp_tables.h"

#include <cmath>

namespace tidegate::internal {

void TakeFuller(const LlamaPeaks& other, LlamaPeaks* peaks) {
  for (int phase = 0; phase < kLlamaPhases; ++phase) {
    if (other.Phase(phase) > peaks->Phase(phase)) {
      peaks->terms[phase] = other.terms[phase];
    }
  }
}

LlamaTable::LlamaTable(const GraphProgram& program) {
  for (int i = 0; i < LlamaGrid::kPoints; ++i) {
    peaks_.push_back(program.Replay(LlamaGrid::At(i), 0));
    const LlamaPeaks& peaks = peaks_.back();
    Line line{.total = peaks.Total()};
    line.first = static_cast<std::int32_t>(rises_.size());
    for (int phase = 0; phase < kLlamaPhases; ++phase) {
      line.phases[phase] = peaks.Phase(phase);
      for (int term = 0; term < kLlamaTerms && i > 0; ++term) {
        const Bytes rise =
            peaks.terms[phase][term] - peaks_[i - 1].terms[phase][term];
        if (rise == 0) continue;
        rises_.push_back({static_cast<double>(rise), phase});
      }
    }
    line.last = static_cast<std::int32_t>(rises_.size());
    line.chord = i > 0 && peaks.path == peaks_[i - 1].path;
    lines_.push_back(line);
  }
}

LlamaPeaks LlamaTable::PeaksAt(Tokens context) const {
  const Place place = Find(context);
  LlamaPeaks peaks = peaks_[place.upper];
  if (place.share == 0) return peaks;
  const LlamaPeaks& lower = peaks_[place.upper - 1];
  // On one path the need is a maximum of linear functions, so the chord
  // between two points bounds it from above.
  if (lower.path != peaks.path) {
    TakeFuller(lower, &peaks);
    return peaks;
  }
  for (int phase = 0; phase < kLlamaPhases; ++phase) {
    for (int term = 0; term < kLlamaTerms; ++term) {
      Bytes& bytes = peaks.terms[phase][term];
      const Bytes rise = bytes - lower.terms[phase][term];
      if (rise != 0) {
        bytes -= static_cast<Bytes>(
            std::floor(static_cast<double>(rise) * place.share));
      }
    }
  }
  return peaks;
}

LlamaCells LlamaCells::Make() {
  LlamaCells cells;
  cells.cells_ = std::shared_ptr<std::atomic<Bytes>[]>(
      new std::atomic<Bytes>[std::size_t{LlamaGrid::kPoints} *
                             LlamaGrid::kPoints]());
  return cells;
}

Bytes LlamaCells::AtPoint(const GraphProgram& program, int context,
                          int window) const {
  std::atomic<Bytes>& cell =
      cells_[static_cast<std::ptrdiff_t>(context) * LlamaGrid::kPoints +
             window];
  // A total stands for itself: no other memory is read through it.
  const Bytes known = cell.load(std::memory_order_relaxed);
  if (known != kEmpty) return known - 1;
  const Bytes total =
      program.Replay(LlamaGrid::At(context), LlamaGrid::At(window)).Total();
  cell.store(total + 1, std::memory_order_relaxed);
  return total;
}

Bytes LlamaCells::Total(const GraphProgram& program, Tokens context,
                        Tokens window) const {
  const int context_up = LlamaGrid::NumberOf(context);
  const int window_up = LlamaGrid::NumberOf(window);
  const bool context_off = LlamaGrid::At(context_up) != context;
  const bool window_off = LlamaGrid::At(window_up) != window;
  Bytes total = AtPoint(program, context_up, window_up);
  if (context_off) {
    total = std::max(total, AtPoint(program, context_up - 1, window_up));
  }
  if (window_off) {
    total = std::max(total, AtPoint(program, context_up, window_up - 1));
  }
  if (context_off && window_off) {
    total = std::max(total, AtPoint(program, context_up - 1, window_up - 1));
  }
  return total;
}

}  // namespace tidegate::internal
