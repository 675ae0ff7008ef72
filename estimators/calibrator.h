// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Corrects prices by what was measured, within bounds.
//
// Per route, transient = fixed + factor * static over a window of measured
// chunks. The factor is the median slope between pairs of samples (Theil, 1950;
// Sen, 1968), which a third of wild samples cannot move; the fixed part is then
// an upper quantile of what is left over, so that the price is above most
// measurements and not in their middle. Both are bounded by the static price:
//
//   0.9 * static <= corrected <= 2 * static + 512 MiB
//
// and from 50 measured steps of a route on 0.5 * static. Running out of memory
// is no measurement: it says that a step needed more than it had. Such bounds
// count while measurements are too few, and where they lie above the fit.
//
// What can never move a price: a chunk below kTokensMin (its fixed cost would
// be read as a cost per token), one sample alone, a sample beyond the upper
// bound while such samples are few, and anything older than the expiry.
//
// Thread-safety: none; one owner adds samples between decisions.

#ifndef TIDEGATE_ESTIMATORS_CALIBRATOR_H_
#define TIDEGATE_ESTIMATORS_CALIBRATOR_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tidegate/calibration.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// Nine tenths, rounded up.
inline constexpr std::int64_t kLeastFactor65536 = (65536 * 9 + 9) / 10;

// transient = fixed + static * factor_65536 / 65536.
struct Correction {
  Bytes fixed = 0;
  std::int64_t factor_65536 = 65536;
  // How far below the static price it may go.
  std::int64_t least_65536 = kLeastFactor65536;

  // Saturates, and stays within the bounds above.
  Bytes Apply(Bytes static_bytes) const;
  friend bool operator==(const Correction&, const Correction&) = default;
};

// The most that any correction makes of a static price.
Bytes MostCorrected(Bytes static_bytes);

class Calibrator {
 public:
  // A chunk of `n` tokens on this route was priced at `static_bytes` and
  // measured at `measured_bytes`.
  void Add(const std::string& route, Tokens n, Bytes static_bytes,
           Bytes measured_bytes, Instant now);

  // The device ran out of memory for a chunk that had `room_bytes`: its
  // transient was at least that.
  void AddOutOfMemory(const std::string& route, Tokens n, Bytes static_bytes,
                      Bytes room_bytes, Instant now);

  // Forgets what is too old.
  void Expire(Instant now);

  // A correction that was fitted elsewhere. It holds until samples of the route
  // say otherwise, and within the bounds in any case.
  void Set(const std::string& route, const Correction& correction);

  // Everything that was learned; Load() adds it, as if measured `age` before
  // `now`. InvalidArgument names the sample that is not one, and changes
  // nothing.
  std::vector<CalibrationRoute> Save(Instant now) const;
  absl::Status Load(const std::vector<CalibrationRoute>& routes, Instant now);

  // Identity for a route with too few samples.
  Correction For(const std::string& route) const;
  // Whether a correction of this route rests on something: enough samples, or
  // one that was fitted elsewhere.
  bool Knows(const std::string& route) const;
  // Whether some route is corrected.
  bool active() const;
  // Changes whenever some correction does.
  std::uint64_t version() const { return version_; }

 private:
  struct Sample {
    Bytes static_bytes = 0;
    Bytes measured_bytes = 0;
    Instant at{};
    bool at_least = false;  // the step needed more: it ran out of memory
  };
  struct Route {
    std::string name;
    std::int64_t measured = 0;  // samples so far, since there were none
    bool has_prior = false;
    std::vector<Sample> samples;  // oldest first
    Correction prior;             // holds while samples are too few
    Correction correction;
  };
  Route& RouteOf(const std::string& name);
  void AddSample(const std::string& name, Tokens n, const Sample& sample);
  static Correction Fit(const std::vector<Sample>& all, std::int64_t least);
  void Refit(Route* route);

  std::vector<Route> routes_;
  std::uint64_t version_ = 0;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_CALIBRATOR_H_
