// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Counts what a plug-in does, times it, and decides when it has failed often
// enough.
//
// Thread-safety: all methods from any thread. Counts are exact while one thread
// calls; a plug-in that several threads ask at once may be counted a few short,
// which costs less than an atomic increment in every price.

#ifndef TIDEGATE_PLUGINS_METER_H_
#define TIDEGATE_PLUGINS_METER_H_

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

#include "tidegate/plugin.h"
#include "tidegate/plugins.h"

namespace tidegate::internal {

class PluginMeter {
 public:
  // `identity` with counts of zero.
  PluginMeter(PluginReport identity, PluginOptions options)
      : identity_(std::move(identity)), options_(std::move(options)) {}

  // The status of `call`; `sampled`: not all of many are timed.
  template <typename Call>
  std::int32_t Run(const Call& call, bool sampled = false) {
    const std::int64_t calls = calls_.load(std::memory_order_relaxed) + 1;
    calls_.store(calls, std::memory_order_relaxed);
    if (!options_.clock || (sampled && !TimeThis(calls))) return call();
    const Duration before = options_.clock();
    const std::int32_t status = call();
    Took(options_.clock() - before);
    return status;
  }

  // The plug-in's answer is overruled; `what` says what was wrong with it.
  void Fault(const std::string& what);
  // Fault() for a function that gave no answer.
  void NoAnswer(std::string_view function, std::int32_t status);

  bool replaced() const {
    return faults_.load(std::memory_order_relaxed) >= kPluginFaultsMax;
  }
  std::int64_t faults() const {
    return faults_.load(std::memory_order_relaxed);
  }
  // Forgets everything: what was asked before the plug-in is in use.
  void Reset();

  PluginReport Report() const;
  const PluginReport& identity() const { return identity_; }

 private:
  static constexpr std::int64_t kEvery = 64;

  bool TimeThis(std::int64_t calls) const {
    return calls <= kEvery || calls % kEvery == 0 ||
           slow_.load(std::memory_order_relaxed) > 0;
  }
  void Took(Duration took);

  const PluginReport identity_;
  const PluginOptions options_;
  std::atomic<std::int64_t> calls_{0};
  std::atomic<std::int64_t> faults_{0};
  std::atomic<std::int64_t> slow_{0};
  std::atomic<std::int64_t> slowest_ns_{0};
  std::atomic<bool> slow_before_{false};  // the last one that was timed
  mutable std::mutex mutex_;
  std::string first_fault_;  // under mutex_
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_PLUGINS_METER_H_
