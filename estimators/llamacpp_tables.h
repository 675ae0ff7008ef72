// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Layouts of a llama.cpp graph on a grid of cache lengths, kept so that a price
// costs a look-up instead of a replay of the allocator.

#ifndef TIDEGATE_ESTIMATORS_LLAMACPP_TABLES_H_
#define TIDEGATE_ESTIMATORS_LLAMACPP_TABLES_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <vector>

#include "estimators/llamacpp_graph.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// Cache lengths for which graphs are laid out: multiples of 256 (to which
// llama.cpp pads), and above 8192 sixteen points an octave.
class LlamaGrid {
 public:
  static constexpr Tokens kPad = 256;
  // Up to here every padded length is a point.
  static constexpr Tokens kFineMax = 8192;
  static constexpr int kFinePoints = static_cast<int>(kFineMax / kPad);
  static constexpr int kOctavePointsLog2 = 4;

  // The grid's first point at or above a length, last one at or below it.
  static constexpr Tokens Up(Tokens length) {
    if (length <= kFineMax) return RoundUp(std::max<Tokens>(length, 1), kPad);
    return RoundUp(length, StepAt(length));
  }
  static constexpr Tokens Down(Tokens length) {
    const Tokens up = Up(length);
    if (up == length) return length;
    if (length <= kFineMax) return std::max<Tokens>(up - kPad, 1);
    return up - StepAt(length);
  }

  // Number of the point Up(length).
  static constexpr int NumberOf(Tokens length) {
    if (length <= kFineMax) {
      return static_cast<int>((std::max<Tokens>(length, 1) - 1) / kPad);
    }
    const int octave = OctaveOf(length);
    const auto within =
        static_cast<int>((length - 1) >> (octave - kOctavePointsLog2)) -
        (1 << kOctavePointsLog2);
    return kFinePoints + ((octave - kFineLog2) << kOctavePointsLog2) + within;
  }
  static constexpr Tokens At(int number) {
    if (number < kFinePoints) return (number + 1) * kPad;
    const int above = number - kFinePoints;
    const int octave = kFineLog2 + (above >> kOctavePointsLog2);
    const int within = above & ((1 << kOctavePointsLog2) - 1);
    return static_cast<Tokens>((1 << kOctavePointsLog2) + within + 1)
           << (octave - kOctavePointsLog2);
  }
  // Distance of the points around a length above kFineMax.
  static constexpr Tokens StepAt(Tokens length) {
    return Tokens{1} << (OctaveOf(length) - kOctavePointsLog2);
  }

 private:
  static constexpr int kFineLog2 = 13;
  static_assert(Tokens{1} << kFineLog2 == kFineMax);
  // Exponent of the power of two below `length`; length > 1.
  static constexpr int OctaveOf(Tokens length) {
    return static_cast<int>(
               std::bit_width(static_cast<std::uint64_t>(length - 1))) -
           1;
  }

 public:
  // Enough for the longest sequence, padded.
  static constexpr int kPoints =
      kFinePoints + ((static_cast<int>(std::bit_width(
                          static_cast<std::uint64_t>(kTokensMax + kPad))) -
                      kFineLog2)
                     << kOctavePointsLog2);
};

// Replaces each phase of `peaks` that is fuller in `other`.
void TakeFuller(const LlamaPeaks& other, LlamaPeaks* peaks);

// A graph without sliding layers at every point of the grid, and chords
// between them. Immutable; thread-safe.
class LlamaTable {
 public:
  LlamaTable() = default;
  explicit LlamaTable(const GraphProgram& program);

  bool empty() const { return peaks_.empty(); }

  // `context`: a multiple of LlamaGrid::kPad.
  LlamaPeaks PeaksAt(Tokens context) const;

  // Where a context lies between two points.
  struct Place {
    int upper = 0;     // number of the point at or above it
    double share = 0;  // how far below that point: 0 at it, 1 at the one before
  };
  static Place Find(Tokens context);

  // PeaksAt(context).Total(), in a few nanoseconds.
  Bytes TotalAt(const Place& place) const;
  // The same at a point.
  Bytes TotalAt(int number) const { return lines_[number].total; }

 private:
  // One term of one phase that differs from the point before.
  struct Rise {
    double bytes = 0;
    int phase = 0;
  };
  struct Line {
    Bytes total = 0;
    std::array<Bytes, kLlamaPhases> phases{};
    // Whether the placements are those of the point before, so that the chord
    // between the two bounds the need.
    bool chord = false;
    std::int32_t first = 0;  // of rises_
    std::int32_t last = 0;
  };
  std::vector<LlamaPeaks> peaks_;
  std::vector<Line> lines_;
  std::vector<Rise> rises_;
};

// Totals of a graph with sliding layers for pairs of cache lengths, laid out
// when first asked for: all 70,000 pairs would take most of a second, a plan
// needs a few hundred. Copies share what they know. Thread-safe: whoever finds
// a cell empty computes the same value.
class LlamaCells {
 public:
  LlamaCells() = default;
  static LlamaCells Make();

  // The fullest phase of `program` with full caches of `context` and sliding
  // ones of `window` tokens; off the grid, of every corner of the cell. The
  // same program each time.
  Bytes Total(const GraphProgram& program, Tokens context, Tokens window) const;

 private:
  Bytes AtPoint(const GraphProgram& program, int context, int window) const;

  static constexpr Bytes kEmpty = 0;  // else 1 + the total
  std::shared_ptr<std::atomic<Bytes>[]> cells_;
};

inline LlamaTable::Place LlamaTable::Find(Tokens context) {
  Place place{.upper = LlamaGrid::NumberOf(context)};
  if (context > LlamaGrid::kFineMax) {
    place.share = static_cast<double>(LlamaGrid::At(place.upper) - context) /
                  static_cast<double>(LlamaGrid::StepAt(context));
  }
  return place;
}

inline Bytes LlamaTable::TotalAt(const Place& place) const {
  const Line& line = lines_[place.upper];
  if (place.share == 0) return line.total;
  if (!line.chord) {
    return std::max(line.total, lines_[place.upper - 1].total);
  }
  std::array<Bytes, kLlamaPhases> phases = line.phases;
  for (std::int32_t i = line.first; i < line.last; ++i) {
    // The floor, without a call of the library's.
    const double exact = rises_[i].bytes * place.share;
    auto whole = static_cast<Bytes>(exact);
    if (static_cast<double>(whole) > exact) --whole;
    phases[rises_[i].phase] -= whole;
  }
  return *std::max_element(phases.begin(), phases.end());
}

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_LLAMACPP_TABLES_H_
