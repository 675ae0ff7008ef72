// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// An estimator whose every price is drawn from a seed: kernels that change with
// n and with the kv length, fixed parts, windows.

#ifndef TIDEGATE_TESTS_TESTING_FAKE_ESTIMATOR_H_
#define TIDEGATE_TESTS_TESTING_FAKE_ESTIMATOR_H_

#include <algorithm>
#include <random>
#include <string_view>
#include <vector>

#include "tidegate/estimator.h"

namespace tidegate::testing {

class FakeEstimator final : public Estimator {
 public:
  struct Kernel {
    Tokens n_last = 0;  // for chunks of up to so many query tokens
    Bytes fixed = 0;
    Bytes per_n = 0;
    Bytes per_kv = 0;
    Bytes per_n_kv = 0;
  };

  std::vector<Kernel> kernels = {{.n_last = kTokensMax, .per_n = 1}};
  // From this kv length on, prices are those of the kernel after the one that
  // n alone would say.
  Tokens route_kv_len = kTokensMax;
  Bytes kv_per_token = 1;
  Tokens window = 0;  // 0: none
  Bytes window_per_token = 0;
  bool preallocated = false;
  bool assumed = false;

  static FakeEstimator Random(std::mt19937_64& random, Tokens length) {
    const auto upto = [&](std::int64_t max) {
      return static_cast<std::int64_t>(random() %
                                       static_cast<std::uint64_t>(max + 1));
    };
    FakeEstimator fake;
    fake.kernels.clear();
    const int count = static_cast<int>(1 + upto(3));
    Tokens last = 0;
    for (int i = 0; i < count; ++i) {
      last += 1 + upto(length / 2);
      fake.kernels.push_back({.n_last = i + 1 == count ? kTokensMax : last,
                              .fixed = upto(40),
                              .per_n = upto(8),
                              .per_kv = upto(2),
                              .per_n_kv = upto(4) == 0 ? 1 : 0});
    }
    if (upto(3) == 0) fake.route_kv_len = 1 + upto(length);
    fake.kv_per_token = upto(4);
    if (upto(2) == 0) {
      fake.window = 1 + upto(length / 2);
      fake.window_per_token = upto(3);
    }
    fake.preallocated = upto(5) == 0;
    return fake;
  }

  std::string_view Name() const override { return "fake"; }

  // Sequences of a step add up.
  PriceTotals Total(const StepQuery& step) const override {
    PriceTotals totals;
    if (step.decode_tokens > 0) {
      totals.transient_bytes =
          Transient(step.decode_tokens, step.decode_kv_len);
      if (!preallocated) {
        totals.resident_bytes = SatMul(kv_per_token, step.decode_tokens);
      }
    }
    for (const Chunk& chunk : step.chunks) {
      const Bytes transient = Transient(chunk.n, chunk.kv_len);
      totals.transient_bytes = SatAdd(totals.transient_bytes, transient);
      totals.largest_allocation_bytes =
          std::max(totals.largest_allocation_bytes, transient / 2);
      if (preallocated) continue;
      totals.resident_bytes += SequenceBytes(chunk.kv_len, chunk.n) -
                               SequenceBytes(chunk.kv_len - chunk.n, chunk.n);
    }
    return totals;
  }

  absl::StatusOr<Price> Explain(const StepQuery& step) const override {
    Price price;
    static_cast<PriceTotals&>(price) = Total(step);
    price.route = "fake";
    price.binding_part = "all";
    price.parts = {
        {"all", price.transient_bytes, {{"all", price.transient_bytes}}}};
    return price;
  }

  std::string RouteName(const StepQuery& /*step*/) const override {
    return "fake";
  }

  void Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi,
                   MaskKind /*mask*/, std::vector<Tokens>* out) const override {
    const auto at = [&](Tokens v) {
      switch (axis) {
        case Axis::kN:
          return Transient(v, fixed);
        case Axis::kKvLen:
          return Transient(fixed, v);
        case Axis::kChunk:
          return Transient(v, fixed + v);
      }
      return Bytes{0};
    };
    // Within a kernel nothing falls: only where another one starts.
    std::vector<Tokens> starts = {axis == Axis::kChunk ? route_kv_len - fixed
                                                       : route_kv_len};
    for (const Kernel& kernel : kernels) starts.push_back(kernel.n_last + 1);
    std::sort(starts.begin(), starts.end());
    starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
    for (const Tokens v : starts) {
      if (v > lo && v <= hi && at(v) < at(v - 1)) out->push_back(v);
    }
  }

  bool Assumed() const override { return assumed; }
  TransientTiming Timing() const override { return TransientTiming::kPerStep; }
  bool KvPreallocated() const override { return preallocated; }

  Bytes SequenceBytes(Tokens tokens, Tokens chunk) const override {
    if (tokens <= 0) return 0;
    Bytes bytes = SatMul(kv_per_token, tokens);
    if (window > 0) {
      const Tokens kept =
          std::min(tokens, window - 1 + std::clamp<Tokens>(chunk, 1, tokens));
      bytes = SatAdd(bytes, SatMul(window_per_token, kept));
    }
    return bytes;
  }

 private:
  Bytes Transient(Tokens n, Tokens kv_len) const {
    std::size_t i = 0;
    while (n > kernels[i].n_last) ++i;
    if (kv_len >= route_kv_len) i = (i + 1) % kernels.size();
    const Kernel& k = kernels[i];
    return SatAdd(
        SatAdd(k.fixed, SatMul(k.per_n, n)),
        SatAdd(SatMul(k.per_kv, kv_len), SatMul(k.per_n_kv, n, kv_len)));
  }
};

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_FAKE_ESTIMATOR_H_
