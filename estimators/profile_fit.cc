// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/profile_fit.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <utility>

#include "estimators/text.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

constexpr double kOne = 65536;
// What an allocator may add to a peak (tools/validate.h).
constexpr double kRounding = 2 << 20;
// Ratios of smaller rows are mostly rounding.
constexpr double kRatioFrom = 16 << 20;
// An outlier lies this far above the line of most rows, and such rows are few.
constexpr double kFarShare = 0.25;
constexpr double kFarBytes = 16 << 20;
constexpr double kOutlierShare = 0.05;
// Rows that may lie below the line: one at least, so that no row alone decides,
// and none where rows are so few that each of them counts.
constexpr double kBelowShare = 0.005;
constexpr std::size_t kRowsForOneBelow = 20;
// A price is lowered on the word of this many rows only, and so far above them.
constexpr std::size_t kRowsToLower = 24;
constexpr double kMarginToLower = 0.01;
// What another line must gain over the static price.
constexpr double kGain = 0.002;
// Repeated measurements of one chunk that differ by more contradict.
constexpr double kRepeatShare = 0.25;
// Widest spread of measured / fitted between the 5th and 95th percentile.
constexpr double kSpreadMax = 2.0;
// Pairs of rows are many: this many rows give slopes enough.
constexpr std::size_t kSlopeRows = 400;

template <typename... Pieces>
absl::Status Refuse(const Pieces&... pieces) {
  return absl::FailedPreconditionError(Concat(pieces...));
}

std::string Short(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", value);
  return text;
}

// By nearest rank; `values` is not empty.
double Quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const double place = std::ceil(share * static_cast<double>(values.size()));
  return values[static_cast<std::size_t>(std::max(place, 1.0)) - 1];
}

double Fitted(const Correction& correction, const MeasuredPrice& row) {
  return static_cast<double>(correction.Apply(row.static_bytes));
}

Correction Line(double factor, double fixed) {
  return {.fixed = static_cast<Bytes>(std::ceil(std::max(fixed, 0.0))),
          .factor_65536 = static_cast<std::int64_t>(std::ceil(factor * kOne))};
}

// Median slope between rows whose prices differ by a tenth; 1 without any.
double MedianSlope(std::span<const MeasuredPrice> rows) {
  std::vector<double> slopes;
  const std::size_t stride = 1 + (rows.size() - 1) / kSlopeRows;
  for (std::size_t i = 0; i < rows.size(); i += stride) {
    for (std::size_t j = i + stride; j < rows.size(); j += stride) {
      const auto a = static_cast<double>(rows[i].static_bytes);
      const auto b = static_cast<double>(rows[j].static_bytes);
      if (std::abs(a - b) < 0.1 * std::max(a, b)) continue;
      slopes.push_back(
          static_cast<double>(rows[i].measured_bytes - rows[j].measured_bytes) /
          (a - b));
    }
  }
  return slopes.empty() ? 1.0 : Quantile(std::move(slopes), 0.5);
}

absl::Status CheckRepeats(std::span<const MeasuredPrice> rows) {
  std::map<std::pair<std::pair<Tokens, Tokens>, Bytes>, std::pair<Bytes, Bytes>>
      ranges;
  for (const MeasuredPrice& row : rows) {
    const auto [at, fresh] =
        ranges.try_emplace({{row.n, row.kv_len}, row.static_bytes},
                           std::pair(row.measured_bytes, row.measured_bytes));
    at->second.first = std::min(at->second.first, row.measured_bytes);
    at->second.second = std::max(at->second.second, row.measured_bytes);
  }
  std::size_t contradict = 0;
  std::string first;
  for (const auto& [key, range] : ranges) {
    const auto low = static_cast<double>(range.first);
    const auto high = static_cast<double>(range.second);
    if (high - low <= std::max(kFarBytes, kRepeatShare * high)) continue;
    if (++contradict > 1) continue;
    first = Concat("n ", key.first.first, ", kv length ", key.first.second,
                   " was measured at ", FormatBytes(range.first), " and at ",
                   FormatBytes(range.second));
  }
  // One wild repetition among many is an outlier.
  if (contradict <= ranges.size() / 20) return absl::OkStatus();
  return Refuse(
      "its rows contradict each other: ", first,
      contradict > 1 ? Concat(", and ", contradict - 1, " more") : "");
}

std::size_t Allowed(std::size_t rows) {
  if (rows < kRowsForOneBelow) return 0;
  return std::max<std::size_t>(
      1, static_cast<std::size_t>(kBelowShare * static_cast<double>(rows)));
}

// How many rows lie below the line by more than the rounding.
std::size_t Below(const Correction& line,
                  const std::vector<MeasuredPrice>& rows) {
  return static_cast<std::size_t>(
      std::count_if(rows.begin(), rows.end(), [&](const MeasuredPrice& row) {
        return Fitted(line, row) + kRounding <
               static_cast<double>(row.measured_bytes);
      }));
}

// 95th percentile of fitted / measured.
double Excess(const Correction& line, const std::vector<MeasuredPrice>& rows) {
  std::vector<double> ratios;
  for (const MeasuredPrice& row : rows) {
    const auto measured = static_cast<double>(row.measured_bytes);
    if (measured >= kRatioFrom) ratios.push_back(Fitted(line, row) / measured);
  }
  return ratios.empty() ? 1.0 : Quantile(std::move(ratios), 0.95);
}

Correction Choose(const std::vector<MeasuredPrice>& rows, double slope) {
  const std::size_t allowed = Allowed(rows.size());
  std::vector<double> factors = {1.0, slope};
  for (int percent = 91; percent <= 200; percent += percent < 120 ? 1 : 5) {
    factors.push_back(percent / 100.0);
  }
  Correction best{};
  bool covered = Below(best, rows) <= allowed;
  double best_excess = covered ? Excess(best, rows) - kGain : HUGE_VAL;
  for (const double factor : factors) {
    if (!(factor > 0.9 && factor <= 2)) continue;
    // What the factor leaves over, from above.
    std::vector<double> over;
    double bare = 0;
    for (const MeasuredPrice& row : rows) {
      const auto measured = static_cast<double>(row.measured_bytes);
      const double line = factor * static_cast<double>(row.static_bytes);
      over.push_back(measured - line);
      bare = std::max(bare, measured * (1 + kMarginToLower) - line);
    }
    std::sort(over.begin(), over.end(), std::greater<>());
    double fixed = over[allowed];
    if (factor < 1) {
      if (rows.size() < kRowsToLower) continue;
      fixed = bare;
    }
    const Correction line = Line(factor, fixed);
    if (Below(line, rows) > allowed) continue;
    const double excess = Excess(line, rows);
    if (covered && excess >= best_excess) continue;
    if (!covered && excess >= best_excess) continue;
    best = line;
    best_excess = excess;
    covered = true;
  }
  return best;
}

}  // namespace

absl::StatusOr<ProfileFit> FitProfile(std::span<const MeasuredPrice> all) {
  ProfileFit fit;
  fit.outlier.assign(all.size(), false);
  std::vector<MeasuredPrice> priced;
  for (const MeasuredPrice& row : all) {
    if (row.static_bytes > 0 && row.static_bytes < kBytesMax &&
        row.measured_bytes > 0) {
      priced.push_back(row);
    }
  }
  if (priced.size() < kProfileRowsMin) {
    return Refuse("too few rows: ", priced.size(), " with a price, expected ",
                  kProfileRowsMin);
  }
  TG_RETURN_IF_ERROR(CheckRepeats(priced));

  const double slope = std::clamp(MedianSlope(priced), 0.9, 2.0);
  std::vector<double> rest;
  for (const MeasuredPrice& row : priced) {
    rest.push_back(static_cast<double>(row.measured_bytes) -
                   slope * static_cast<double>(row.static_bytes));
  }
  const double middle = Quantile(rest, 0.5);
  std::vector<MeasuredPrice> kept;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const MeasuredPrice& row = all[i];
    if (row.static_bytes <= 0 || row.static_bytes == kBytesMax ||
        row.measured_bytes <= 0) {
      continue;
    }
    const double line =
        slope * static_cast<double>(row.static_bytes) + std::max(middle, 0.0);
    if (static_cast<double>(row.measured_bytes) >
        line * (1 + kFarShare) + kFarBytes) {
      fit.outlier[i] = true;
      ++fit.entry.outliers;
    } else {
      kept.push_back(row);
    }
  }
  if (static_cast<double>(fit.entry.outliers) >
      std::max(1.0, kOutlierShare * static_cast<double>(priced.size()))) {
    return Refuse("its rows follow no line: ", fit.entry.outliers, " of ",
                  priced.size(), " lie a quarter above the others");
  }

  fit.entry.rows = static_cast<std::int64_t>(priced.size());
  fit.entry.correction = Choose(kept, slope);
  std::vector<double> measured;
  std::vector<double> fitted;
  fit.entry.residual_max = -kBytesMax;
  for (const MeasuredPrice& row : kept) {
    const auto bytes = static_cast<double>(row.measured_bytes);
    measured.push_back(bytes / static_cast<double>(row.static_bytes));
    if (bytes >= kRatioFrom) {
      fitted.push_back(Fitted(fit.entry.correction, row) / bytes);
    }
    fit.entry.residual_max = std::max(
        fit.entry.residual_max,
        row.measured_bytes - fit.entry.correction.Apply(row.static_bytes));
  }
  fit.entry.measured_p05 = Quantile(measured, 0.05);
  fit.entry.measured_p50 = Quantile(measured, 0.5);
  fit.entry.measured_p95 = Quantile(measured, 0.95);
  if (!fitted.empty()) {
    fit.entry.fitted_p50 = Quantile(fitted, 0.5);
    fit.entry.fitted_p95 = Quantile(fitted, 0.95);
    fit.entry.fitted_max = Quantile(fitted, 1);
    const double spread = fit.entry.fitted_p95 / Quantile(fitted, 0.05);
    if (spread > kSpreadMax) {
      return Refuse(
          "its rows do not follow the price: measured / fitted "
          "spreads by a factor of ",
          Short(spread), " between its 5th and 95th percentile");
    }
  }
  if (Below(fit.entry.correction, kept) > Allowed(kept.size())) {
    return Refuse(
        "its rows lie above what a correction may reach: twice the "
        "price and 512 MiB");
  }
  return fit;
}

}  // namespace tidegate::internal
