// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Units used by every public signature: bytes, tokens and logical time.
//
// Bytes and tokens are std::int64_t. A sum or product that would overflow
// saturates at kBytesMax, so an absurd input prices as "more than any device
// has" instead of wrapping round to something that fits.

#ifndef TIDEGATE_TYPES_H_
#define TIDEGATE_TYPES_H_

#include <chrono>
#include <cstdint>
#include <limits>

namespace tidegate {

using Bytes = std::int64_t;
using Tokens = std::int64_t;

// The saturated value: compares greater than every real budget.
inline constexpr Bytes kBytesMax = std::numeric_limits<Bytes>::max();

// The longest sequence that any entry point accepts. A hundred million tokens
// is two orders of magnitude above the longest published context.
inline constexpr Tokens kTokensMax = 100'000'000;

// Sum of two non-negative quantities; kBytesMax when it does not fit.
constexpr Bytes SatAdd(Bytes a, Bytes b) {
  Bytes sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? kBytesMax : sum;
}

// Product of two non-negative quantities; kBytesMax when it does not fit.
constexpr Bytes SatMul(Bytes a, Bytes b) {
  Bytes product = 0;
  return __builtin_mul_overflow(a, b, &product) ? kBytesMax : product;
}

template <typename... Rest>
constexpr Bytes SatMul(Bytes a, Bytes b, Bytes c, Rest... rest) {
  return SatMul(SatMul(a, b), c, rest...);
}

template <typename... Rest>
constexpr Bytes SatAdd(Bytes a, Bytes b, Bytes c, Rest... rest) {
  return SatAdd(SatAdd(a, b), c, rest...);
}

constexpr std::int64_t CeilDiv(std::int64_t a, std::int64_t b) {
  return a / b + (a % b != 0 ? 1 : 0);
}

// `a` rounded up to a multiple of `b`, saturating.
constexpr std::int64_t RoundUp(std::int64_t a, std::int64_t b) {
  return SatMul(CeilDiv(a, b), b);
}

using Duration = std::chrono::nanoseconds;

// Time as the caller counts it: the core reads no clock. Only differences
// mean anything; the simulator starts at zero.
struct LogicalClock {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<LogicalClock>;
  static constexpr bool is_steady = true;
};
using Instant = LogicalClock::time_point;

}  // namespace tidegate

#endif  // TIDEGATE_TYPES_H_
