// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// How long a prefill chunk takes.
//
//   T = c + g*K + b*n + a*(2*K*n + n*n)
//
// for n query tokens behind K earlier ones: a fixed cost, reading the earlier
// keys, the token-linear layers, and the pairs that attention computes (vLLM
// pull request 41247; the sum over a prompt's chunks of 2*K*n + n*n does not
// depend on how it is cut). Coefficients are integers, so that a decision is
// the same on every machine.
//
// Thread-safety: TimeModel is a plain value; TimeFit has none, not even for two
// readers.

#ifndef TIDEGATE_TIME_MODEL_H_
#define TIDEGATE_TIME_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "tidegate/types.h"

namespace tidegate {

// What a step's time depends on: sums over the sequences in it, each of n query
// tokens behind K earlier ones. A decode token is one with n = 1.
struct StepLoad {
  Tokens tokens = 0;       // n
  Tokens before = 0;       // K
  std::int64_t pairs = 0;  // 2*K*n + n*n

  void Add(Tokens n, Tokens before);  // saturates
};

struct TimeModel {
  std::int64_t fixed_ps = 0;      // c, picoseconds
  std::int64_t per_kv_ps = 0;     // g, per earlier token
  std::int64_t per_token_ps = 0;  // b, per query token
  std::int64_t per_pair_as = 0;   // a, attoseconds per pair

  // Of `n` query tokens behind `before` earlier ones. Never falls in either;
  // saturates at Duration::max().
  Duration Of(Tokens n, Tokens before) const;
  Duration Of(const StepLoad& load) const;
  // What a load adds to a step that runs anyway: Of() without the fixed cost.
  Duration Extra(const StepLoad& load) const;

  // The widest chunk of at most `widest` tokens that takes no longer than
  // `limit`; 0 when one token takes longer.
  Tokens WidestWithin(Duration limit, Tokens before, Tokens widest) const;

  friend bool operator==(const TimeModel&, const TimeModel&) = default;
};

// Fits a TimeModel to measured steps: least squares over a window, coefficients
// not negative. Steps that took several times what the others say (a stalled
// host) are left out.
class TimeFit {
 public:
  void Add(Tokens n, Tokens before, Duration took);
  void Add(const StepLoad& load, Duration took);
  // Nothing while too few steps were seen. Fits when it is asked for the first
  // time since a step was added: that costs more than most decisions, and most
  // policies never ask.
  const std::optional<TimeModel>& model() const;

 private:
  struct Sample {
    StepLoad load;
    Duration took{};
  };
  std::vector<Sample> samples_;  // a ring once it is full
  std::size_t oldest_ = 0;
  mutable bool fitted_ = true;
  mutable std::optional<TimeModel> model_;
};

// A time model that may still have to be fitted: converts to a pointer, null
// where there is none. It does not outlive what it was made from.
class TimeModelRef {
 public:
  TimeModelRef(std::nullptr_t = nullptr) {}                // NOLINT(*explicit*)
  TimeModelRef(const TimeModel* model) : model_(model) {}  // NOLINT(*explicit*)
  // The model of `fit`, and `before` while that says nothing.
  TimeModelRef(const TimeFit& fit, const TimeModel* before)
      : fit_(&fit), model_(before) {}

  const TimeModel* get() const {
    if (fit_ == nullptr || !fit_->model().has_value()) return model_;
    return &*fit_->model();
  }
  operator const TimeModel*() const { return get(); }  // NOLINT(*explicit*)
  const TimeModel* operator->() const { return get(); }

 private:
  const TimeFit* fit_ = nullptr;
  const TimeModel* model_ = nullptr;
};

}  // namespace tidegate

#endif  // TIDEGATE_TIME_MODEL_H_
