// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/time_model.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "estimators/relative_fit.h"
#include "estimators/time_formula.h"

namespace tidegate {
namespace {

using internal::ChunkFeatures;
using internal::Dot;
using internal::FeatureRow;
using internal::FitRelative;
using internal::FitSample;
using Wide = __int128;

constexpr std::int64_t kPerNano = 1000;               // picoseconds
constexpr std::int64_t kAttoPerNano = 1'000'000'000;  // attoseconds

// Fewer steps than this fit anything; more than the window are forgotten.
constexpr std::size_t kSamplesMin = 8;
constexpr std::size_t kWindow = 64;
// A step this much slower than the fit is a stall of the host.
constexpr double kStall = 3;
// Coordinate descent on four columns converges long before.
constexpr int kRounds = 400;
constexpr int kOfflineRounds = 4000;

constexpr int kPerToken = 2;  // the feature that steps of one width fit

FeatureRow Features(const StepLoad& load) {
  return {1, static_cast<double>(load.before), static_cast<double>(load.tokens),
          static_cast<double>(load.pairs)};
}

std::int64_t Rounded(double value) {
  constexpr double kMax = 4e18;
  return static_cast<std::int64_t>(std::llround(std::clamp(value, 0.0, kMax)));
}

TimeModel ModelOfNanos(const FeatureRow& x) {
  return {.fixed_ps = Rounded(x[0] * kPerNano),
          .per_kv_ps = Rounded(x[1] * kPerNano),
          .per_token_ps = Rounded(x[2] * kPerNano),
          .per_pair_as = Rounded(x[3] * kAttoPerNano)};
}

}  // namespace

void StepLoad::Add(Tokens n, Tokens k) {
  tokens = SatAdd(tokens, n);
  before = SatAdd(before, k);
  pairs = SatAdd(pairs, SatMul(2, k, n), SatMul(n, n));
}

Duration TimeModel::Of(Tokens n, Tokens before) const {
  StepLoad load;
  load.Add(n, before);
  return Of(load);
}

Duration TimeModel::Of(const StepLoad& load) const {
  // Nearly always everything fits 64 bits, whose division is several times as
  // fast.
  std::int64_t kv = 0;
  std::int64_t tokens_ps = 0;
  std::int64_t pairs_as = 0;
  std::int64_t ps = 0;
  if (!__builtin_mul_overflow(per_kv_ps, load.before, &kv) &&
      !__builtin_mul_overflow(per_token_ps, load.tokens, &tokens_ps) &&
      !__builtin_mul_overflow(per_pair_as, load.pairs, &pairs_as) &&
      !__builtin_add_overflow(fixed_ps, kv, &ps) &&
      !__builtin_add_overflow(ps, tokens_ps, &ps)) {
    return Duration(ps / kPerNano + pairs_as / kAttoPerNano);
  }
  const Wide linear = Wide{fixed_ps} + Wide{per_kv_ps} * load.before +
                      Wide{per_token_ps} * load.tokens;
  const Wide nanos =
      linear / kPerNano + Wide{per_pair_as} * load.pairs / kAttoPerNano;
  constexpr Wide kMax = Duration::max().count();
  return Duration(static_cast<std::int64_t>(std::min(nanos, kMax)));
}

Duration TimeModel::Extra(const StepLoad& load) const {
  TimeModel variable = *this;
  variable.fixed_ps = 0;
  return variable.Of(load);
}

Tokens TimeModel::WidestWithin(Duration limit, Tokens before,
                               Tokens widest) const {
  Tokens fits = 0;
  Tokens too_wide = widest + 1;
  while (too_wide - fits > 1) {
    const Tokens middle = fits + (too_wide - fits) / 2;
    (Of(middle, before) <= limit ? fits : too_wide) = middle;
  }
  return fits;
}

namespace internal {

TimeModel FitTimeModel(std::span<const TimedChunk> samples) {
  std::vector<FitSample> points;
  for (const TimedChunk& sample : samples) {
    points.push_back({ChunkFeatures(static_cast<double>(sample.chunk.n),
                                    static_cast<double>(sample.chunk.kv_len -
                                                        sample.chunk.n)),
                      static_cast<double>(sample.took.count())});
  }
  return ModelOfNanos(FitRelative(points, kPerToken, kOfflineRounds));
}

}  // namespace internal

void TimeFit::Add(Tokens n, Tokens before, Duration took) {
  if (n < 1 || before < 0) return;
  StepLoad load;
  load.Add(n, before);
  Add(load, took);
}

void TimeFit::Add(const StepLoad& load, Duration took) {
  if (load.tokens < 1 || took <= Duration::zero()) return;
  if (samples_.size() < kWindow) {
    samples_.push_back({load, took});
  } else {
    samples_[oldest_] = {load, took};
    oldest_ = (oldest_ + 1) % kWindow;
  }
  fitted_ = samples_.size() < kSamplesMin;
}

const std::optional<TimeModel>& TimeFit::model() const {
  if (std::exchange(fitted_, true)) return model_;
  // From the oldest: the order of a sum of floating numbers is in its result.
  std::vector<FitSample> points;
  points.reserve(samples_.size());
  for (std::size_t i = 0; i < samples_.size(); ++i) {
    const Sample& sample = samples_[(oldest_ + i) % samples_.size()];
    points.push_back(
        {Features(sample.load), static_cast<double>(sample.took.count())});
  }
  FeatureRow x = FitRelative(points, kPerToken, kRounds);
  std::vector<FitSample> calm;
  for (const FitSample& point : points) {
    if (point.value <= kStall * Dot(x, point.features)) {
      calm.push_back(point);
    }
  }
  if (calm.size() >= kSamplesMin && calm.size() < points.size()) {
    x = FitRelative(calm, kPerToken, kRounds);
  }
  model_ = ModelOfNanos(x);
  return model_;
}

}  // namespace tidegate
