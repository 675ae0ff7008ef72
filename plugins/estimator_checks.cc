// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// An estimator that breaks its promises makes plans that are wrong in ways that
// nobody sees. A few thousand samples, taken once, find the usual slips: a
// branch without its breakpoint, an overflow, a sign.

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "estimators/text.h"
#include "plugins/adapters.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

constexpr auto kMasks = std::to_array<MaskKind>(
    {MaskKind::kNone, MaskKind::kCausal, MaskKind::kBool, MaskKind::kFloat,
     MaskKind::kArray, MaskKind::kLowerRight});
constexpr auto kWidths =
    std::to_array<Tokens>({1, 2, 64, 255, 512, 1000, 2048, 8192});
constexpr auto kLengths =
    std::to_array<Tokens>({1, 300, 4096, 33'000, 131'072, 1'000'000});

constexpr Tokens kWidest = 16'384;
constexpr Tokens kLongest = 2'000'000;

// Powers of two, what lies beside them, and some in between.
std::vector<Tokens> Places(Tokens lo, Tokens hi) {
  std::vector<Tokens> places = {lo, hi};
  for (Tokens power = 1; power <= hi; power *= 2) {
    for (const Tokens v : {power - 1, power, power + 1, power + power / 3}) {
      if (v > lo && v < hi) places.push_back(v);
    }
  }
  return places;
}

Chunk ChunkAt(Axis axis, Tokens fixed, Tokens v, MaskKind mask) {
  switch (axis) {
    case Axis::kN:
      return {.n = v, .kv_len = fixed, .mask = mask};
    case Axis::kKvLen:
      return {.n = fixed, .kv_len = v, .mask = mask};
    case Axis::kChunk:
      break;
  }
  return {.n = v, .kv_len = fixed + v, .mask = mask};
}

std::string Of(const Chunk& chunk, Bytes bytes) {
  return Concat(bytes, " (n = ", chunk.n, ", kv_len = ", chunk.kv_len, ")");
}

class Checks {
 public:
  Checks(const Estimator& estimator, const PluginMeter& meter)
      : estimator_(estimator), meter_(meter) {}

  absl::Status Run() const {
    for (const MaskKind mask : kMasks) {
      for (const Tokens kv_len : kLengths) {
        TG_RETURN_IF_ERROR(
            Walk(Axis::kN, kv_len, 1, std::min(kv_len, kWidest), mask));
        TG_RETURN_IF_ERROR(Walk(Axis::kChunk, kv_len, 1, kWidest, mask));
      }
      for (const Tokens n : kWidths) {
        TG_RETURN_IF_ERROR(Walk(Axis::kKvLen, n, n, kLongest, mask));
      }
    }
    return Sequences();
  }

 private:
  absl::Status Refuse(const std::string& why) const {
    return InvalidArgument(meter_.identity().file, ": estimator ",
                           meter_.identity().name, ": ", why);
  }
  absl::Status Answers() const {
    if (meter_.faults() == 0) return absl::OkStatus();
    return Refuse(meter_.Report().first_fault);
  }

  absl::Status Walk(Axis axis, Tokens fixed, Tokens lo, Tokens hi,
                    MaskKind mask) const {
    if (lo >= hi) return absl::OkStatus();
    std::vector<Tokens> breaks;
    estimator_.Breakpoints(axis, fixed, lo, hi, mask, &breaks);
    std::vector<Tokens> places = Places(lo, hi);
    for (const Tokens at : breaks) {
      for (const Tokens v : {at - 1, at, at + 1}) {
        if (v > lo && v < hi) places.push_back(v);
      }
    }
    std::sort(places.begin(), places.end());
    places.erase(std::unique(places.begin(), places.end()), places.end());
    std::optional<PriceTotals> before;
    Chunk narrower;
    auto next_break = breaks.begin();
    for (const Tokens v : places) {
      const Chunk chunk = ChunkAt(axis, fixed, v, mask);
      const PriceTotals price = estimator_.Total({.chunks = {&chunk, 1}});
      TG_RETURN_IF_ERROR(Answers());
      const bool broken = next_break != breaks.end() && *next_break <= v;
      while (next_break != breaks.end() && *next_break <= v) ++next_break;
      if (before.has_value() && !broken) {
        TG_RETURN_IF_ERROR(Rises("transient_bytes", narrower,
                                 before->transient_bytes, chunk,
                                 price.transient_bytes));
        TG_RETURN_IF_ERROR(Rises("largest_allocation_bytes", narrower,
                                 before->largest_allocation_bytes, chunk,
                                 price.largest_allocation_bytes));
      }
      before = price;
      narrower = chunk;
    }
    return absl::OkStatus();
  }

  absl::Status Rises(std::string_view field, const Chunk& narrower,
                     Bytes before, const Chunk& chunk, Bytes after) const {
    if (after >= before) return absl::OkStatus();
    return Refuse(Concat(field, " falls from ", Of(narrower, before), " to ",
                         Of(chunk, after),
                         ", and no breakpoint lies between them"));
  }

  // What a sequence keeps never shrinks as it grows.
  absl::Status Sequences() const {
    for (const Tokens chunk : kWidths) {
      Bytes before = 0;
      Tokens shorter = 0;
      std::vector<Tokens> places = Places(0, kLongest);
      std::sort(places.begin(), places.end());
      for (const Tokens tokens : places) {
        const Bytes bytes = estimator_.SequenceBytes(tokens, chunk);
        TG_RETURN_IF_ERROR(Answers());
        if (bytes < before) {
          return Refuse(Concat("sequence_bytes falls from ", before, " (",
                               shorter, " tokens) to ", bytes, " (", tokens,
                               " tokens), chunks of ", chunk));
        }
        before = bytes;
        shorter = tokens;
      }
    }
    return absl::OkStatus();
  }

  const Estimator& estimator_;
  const PluginMeter& meter_;
};

}  // namespace

absl::Status CheckEstimator(const Estimator& estimator,
                            const PluginMeter& meter) {
  return Checks(estimator, meter).Run();
}

}  // namespace tidegate::internal
