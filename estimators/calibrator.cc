// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/calibrator.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "estimators/text.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

using Wide = __int128;

constexpr std::int64_t kOne = 65536;

// Chunks narrower than this are mostly fixed cost.
constexpr Tokens kTokensMin = 256;
// Fewer samples of a route say nothing; more than the window are forgotten.
constexpr std::size_t kSamplesMin = 4;
constexpr std::size_t kWindow = 32;
// A driver update, another model beside this one: what was true an hour ago
// need not be.
constexpr Duration kExpiry = std::chrono::hours(1);

// Law: learning is bounded by the static price on both sides. Whole models were
// measured at up to 1.25 of the attention formulas (docs/prices_mlx.md), and a
// floor of several hundred MiB that no formula has is on record.
constexpr std::int64_t kFactorMin = kLeastFactor65536;
// A price that was wrong by half is found out, but not by a handful of steps.
constexpr std::int64_t kFactorMinMeasured = kOne / 2;
constexpr std::int64_t kMeasuredWell = 50;
constexpr std::int64_t kFactorMax = 2 * kOne;
constexpr Bytes kFixedMax = Bytes{512} << 20;

// Slopes need samples that differ by more than noise.
constexpr std::int64_t kSpreadPercent = 10;
// The quantile of what is left over: nine tenths, and never the highest sample,
// so that one alone decides nothing.
constexpr std::size_t kQuantileTenths = 9;

Bytes Scaled(Bytes bytes, std::int64_t factor_65536) {
  const Wide product = Wide{bytes} * factor_65536;
  const Wide rounded = (product + kOne - 1) / kOne;
  return rounded > kBytesMax ? kBytesMax : static_cast<Bytes>(rounded);
}

bool Plausible(Bytes static_bytes, Bytes measured) {
  return measured <= MostCorrected(static_bytes);
}

template <typename T>
T Median(std::vector<T> values) {
  TG_CHECK(!values.empty());
  const auto middle = values.begin() + values.size() / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

Bytes MostCorrected(Bytes static_bytes) {
  return SatAdd(Scaled(static_bytes, kFactorMax), kFixedMax);
}

Bytes Correction::Apply(Bytes static_bytes) const {
  const Bytes corrected = SatAdd(Scaled(static_bytes, factor_65536), fixed);
  return std::clamp(corrected, Scaled(static_bytes, least_65536),
                    MostCorrected(static_bytes));
}

void Calibrator::Add(const std::string& name, Tokens n, Bytes static_bytes,
                     Bytes measured_bytes, Instant now) {
  AddSample(name, n, {static_bytes, measured_bytes, now});
}

void Calibrator::AddSample(const std::string& name, Tokens n,
                           const Sample& sample) {
  if (n < kTokensMin || sample.static_bytes <= 0 ||
      sample.static_bytes == kBytesMax) {
    return;
  }
  Route& route = RouteOf(name);
  if (route.samples.size() == kWindow) {
    route.samples.erase(route.samples.begin());
  }
  if (!sample.at_least) ++route.measured;
  route.samples.push_back(sample);
  Refit(&route);
}

void Calibrator::Set(const std::string& name, const Correction& correction) {
  Route& route = RouteOf(name);
  route.prior = correction;
  route.has_prior = true;
  Refit(&route);
}

Calibrator::Route& Calibrator::RouteOf(const std::string& name) {
  const auto route =
      std::find_if(routes_.begin(), routes_.end(),
                   [&](const Route& r) { return r.name == name; });
  if (route != routes_.end()) return *route;
  routes_.push_back(
      {.name = name, .samples = {}, .prior = {}, .correction = {}});
  return routes_.back();
}

std::vector<CalibrationRoute> Calibrator::Save(Instant now) const {
  std::vector<CalibrationRoute> saved;
  for (const Route& route : routes_) {
    CalibrationRoute out{.route = route.name,
                         .samples = {},
                         .fixed_bytes = route.correction.fixed,
                         .factor_65536 = route.correction.factor_65536};
    for (const Sample& sample : route.samples) {
      out.samples.push_back(
          {sample.static_bytes, sample.measured_bytes, now - sample.at});
    }
    saved.push_back(std::move(out));
  }
  return saved;
}

absl::Status Calibrator::Load(const std::vector<CalibrationRoute>& routes,
                              Instant now) {
  for (const CalibrationRoute& route : routes) {
    for (std::size_t i = 0; i < route.samples.size(); ++i) {
      const CalibrationSample& sample = route.samples[i];
      if (sample.static_bytes > 0 && sample.measured_bytes >= 0 &&
          sample.age >= Duration::zero()) {
        continue;
      }
      return InvalidArgument(
          "calibration of ", route.route, ", sample ", i,
          ": expected static bytes above 0 and a measurement and an age that "
          "are not negative");
    }
  }
  for (const CalibrationRoute& saved : routes) {
    Route& route = RouteOf(saved.route);
    for (const CalibrationSample& sample : saved.samples) {
      route.samples.push_back(
          {sample.static_bytes, sample.measured_bytes, now - sample.age});
      ++route.measured;
    }
    std::stable_sort(
        route.samples.begin(), route.samples.end(),
        [](const Sample& a, const Sample& b) { return a.at < b.at; });
    if (route.samples.size() > kWindow) {
      route.samples.erase(route.samples.begin(), route.samples.end() - kWindow);
    }
    Refit(&route);
  }
  Expire(now);
  return absl::OkStatus();
}

void Calibrator::AddOutOfMemory(const std::string& name, Tokens n,
                                Bytes static_bytes, Bytes room_bytes,
                                Instant now) {
  // A bound below the price says nothing new.
  if (room_bytes <= static_bytes) return;
  AddSample(name, n, {static_bytes, room_bytes, now, /*at_least=*/true});
}

void Calibrator::Expire(Instant now) {
  for (Route& route : routes_) {
    const std::size_t before = route.samples.size();
    std::erase_if(route.samples, [&](const Sample& sample) {
      return now - sample.at > kExpiry;
    });
    if (route.samples.size() == before) continue;
    if (route.samples.empty()) route.measured = 0;
    Refit(&route);
  }
}

Correction Calibrator::For(const std::string& name) const {
  for (const Route& route : routes_) {
    if (route.name == name) return route.correction;
  }
  return {};
}

bool Calibrator::Knows(const std::string& name) const {
  const auto route =
      std::find_if(routes_.begin(), routes_.end(),
                   [&](const Route& r) { return r.name == name; });
  return route != routes_.end() &&
         (route->has_prior || route->samples.size() >= kSamplesMin);
}

bool Calibrator::active() const {
  return std::any_of(routes_.begin(), routes_.end(), [](const Route& route) {
    return route.correction != Correction{};
  });
}

Correction Calibrator::Fit(const std::vector<Sample>& all, std::int64_t least) {
  std::vector<Sample> samples;
  for (const Sample& sample : all) {
    if (Plausible(sample.static_bytes, sample.measured_bytes)) {
      samples.push_back(sample);
    }
  }
  // Wild samples are left out while they are few; when they are the rule, they
  // count up to the bound.
  if (2 * samples.size() < all.size()) samples = all;

  Correction correction{.least_65536 = least};
  if (samples.size() < kSamplesMin) return correction;
  std::vector<std::int64_t> slopes;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    for (std::size_t j = i + 1; j < samples.size(); ++j) {
      const Sample& a = samples[i];
      const Sample& b = samples[j];
      const Wide run = Wide{b.static_bytes} - a.static_bytes;
      const Wide far =
          std::max<Wide>(1, Wide{std::max(a.static_bytes, b.static_bytes)} *
                                kSpreadPercent / 100);
      if (run < far && -run < far) continue;
      const Wide rise = Wide{b.measured_bytes} - a.measured_bytes;
      slopes.push_back(static_cast<std::int64_t>(
          std::clamp<Wide>(rise * kOne / run, least, kFactorMax)));
    }
  }
  if (!slopes.empty()) correction.factor_65536 = Median(slopes);
  const std::size_t rank =
      std::min(samples.size() - 2, samples.size() * kQuantileTenths / 10);
  const auto left_over = [&] {
    std::vector<Bytes> over;
    for (const Sample& sample : samples) {
      over.push_back(sample.measured_bytes -
                     Scaled(sample.static_bytes, correction.factor_65536));
    }
    std::sort(over.begin(), over.end());
    return over[rank];
  };
  Bytes over = left_over();
  if (over > kFixedMax) {
    // More than a fixed part may be: samples that are all alike have no slope,
    // and the rest of the difference is one all the same.
    std::vector<std::int64_t> factors;
    for (const Sample& sample : samples) {
      const Wide rest = Wide{sample.measured_bytes} - kFixedMax;
      factors.push_back(static_cast<std::int64_t>(std::clamp<Wide>(
          (rest * kOne + sample.static_bytes - 1) / sample.static_bytes, least,
          kFactorMax)));
    }
    std::sort(factors.begin(), factors.end());
    correction.factor_65536 = std::max(correction.factor_65536, factors[rank]);
    over = left_over();
  }
  // Below zero where measurements rise faster than the price and lie below it:
  // a line through zero would then pass all of them.
  correction.fixed = std::clamp<Bytes>(over, -kFixedMax, kFixedMax);
  return correction;
}

void Calibrator::Refit(Route* route) {
  std::vector<Sample> measured;
  for (const Sample& sample : route->samples) {
    if (!sample.at_least) measured.push_back(sample);
  }
  const std::int64_t least =
      route->measured >= kMeasuredWell ? kFactorMinMeasured : kFactorMin;
  Correction correction = route->prior;
  if (measured.size() >= kSamplesMin) {
    correction = Fit(measured, least);
    // A bound below the fit says nothing; one above it counts as a sample.
    const std::size_t alone = measured.size();
    for (const Sample& sample : route->samples) {
      if (sample.at_least &&
          sample.measured_bytes > correction.Apply(sample.static_bytes)) {
        measured.push_back(sample);
      }
    }
    if (measured.size() > alone) correction = Fit(measured, least);
  } else if (route->samples.size() >= kSamplesMin) {
    correction = Fit(route->samples, least);
  }
  if (correction == route->correction) return;
  route->correction = correction;
  ++version_;
}

}  // namespace tidegate::internal
