// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// How far the simulated engine is from what is believed of it, drawn from a
// seed by a hash: no state, so that the order of questions changes no answer.

#ifndef TIDEGATE_SIMULATOR_HIDDEN_ERROR_H_
#define TIDEGATE_SIMULATOR_HIDDEN_ERROR_H_

#include <cmath>
#include <cstdint>

#include "tidegate/simulator.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// Mixes one more number into a hash (the finalizer of SplitMix64).
constexpr std::uint64_t MixHash(std::uint64_t hash, std::uint64_t value) {
  std::uint64_t x = hash + 0x9E3779B97F4A7C15ULL + value;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

// The factor for `hash`: even over factor * [1 - spread, 1 + spread).
constexpr double ErrorFactor(const WorldError& error, std::uint64_t hash) {
  const double share = static_cast<double>(hash >> 11) * 0x1p-53;
  return error.factor * (1 + error.spread * (2 * share - 1));
}

// `bytes` times a factor, rounded; saturates.
inline Bytes ScaledBytes(Bytes bytes, double factor) {
  if (factor == 1) return bytes;
  const double scaled = static_cast<double>(bytes) * factor;
  constexpr double kMax = 9.2e18;
  return scaled < kMax ? static_cast<Bytes>(std::llround(scaled)) : kBytesMax;
}

}  // namespace tidegate::internal

#endif  // TIDEGATE_SIMULATOR_HIDDEN_ERROR_H_
