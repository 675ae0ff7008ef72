// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/time_model.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace tidegate {
namespace {

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

using Row = std::array<double, 4>;

Row Features(const StepLoad& load) {
  return {1, static_cast<double>(load.before), static_cast<double>(load.tokens),
          static_cast<double>(load.pairs)};
}

struct Point {
  Row features;
  double nanos;
};

// Least squares with coefficients that are not negative, by coordinate descent
// on the normal equations; relative errors count, so that short steps matter as
// much as long ones.
Row Solve(const std::vector<Point>& points) {
  std::array<Row, 4> gram{};
  Row target{};
  for (const Point& point : points) {
    const double weight = 1 / (point.nanos * point.nanos);
    for (int i = 0; i < 4; ++i) {
      target[i] += weight * point.features[i] * point.nanos;
      for (int j = 0; j < 4; ++j) {
        gram[i][j] += weight * point.features[i] * point.features[j];
      }
    }
  }
  // Steps of one width cannot tell a cost per step from a cost per token. The
  // descent ends at the solution nearest its start: all cost by the token.
  Row x{};
  x[2] = gram[2][2] > 0 ? target[2] / gram[2][2] : 0;
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < 4; ++i) {
      if (gram[i][i] <= 0) continue;
      double rest = target[i];
      for (int j = 0; j < 4; ++j) {
        if (j != i) rest -= gram[i][j] * x[j];
      }
      x[i] = std::max(0.0, rest / gram[i][i]);
    }
  }
  return x;
}

double Predict(const Row& x, const Row& features) {
  double sum = 0;
  for (int i = 0; i < 4; ++i) sum += x[i] * features[i];
  return sum;
}

std::int64_t Rounded(double value) {
  constexpr double kMax = 4e18;
  return static_cast<std::int64_t>(std::llround(std::clamp(value, 0.0, kMax)));
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

void TimeFit::Add(Tokens n, Tokens before, Duration took) {
  if (n < 1 || before < 0) return;
  StepLoad load;
  load.Add(n, before);
  Add(load, took);
}

void TimeFit::Add(const StepLoad& load, Duration took) {
  if (load.tokens < 1 || took <= Duration::zero()) return;
  if (samples_.size() == kWindow) samples_.erase(samples_.begin());
  samples_.push_back({load, took});
  if (samples_.size() < kSamplesMin) return;

  std::vector<Point> points;
  for (const Sample& sample : samples_) {
    points.push_back(
        {Features(sample.load), static_cast<double>(sample.took.count())});
  }
  Row x = Solve(points);
  std::vector<Point> calm;
  for (const Point& point : points) {
    if (point.nanos <= kStall * Predict(x, point.features)) {
      calm.push_back(point);
    }
  }
  if (calm.size() >= kSamplesMin && calm.size() < points.size()) {
    x = Solve(calm);
  }
  model_ = TimeModel{.fixed_ps = Rounded(x[0] * kPerNano),
                     .per_kv_ps = Rounded(x[1] * kPerNano),
                     .per_token_ps = Rounded(x[2] * kPerNano),
                     .per_pair_as = Rounded(x[3] * kAttoPerNano)};
}

}  // namespace tidegate
