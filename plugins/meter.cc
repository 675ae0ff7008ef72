// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "plugins/meter.h"

#include "estimators/text.h"

namespace tidegate::internal {

void PluginMeter::Fault(const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (first_fault_.empty()) first_fault_ = what;
  faults_.fetch_add(1, std::memory_order_relaxed);
}

void PluginMeter::NoAnswer(std::string_view function, std::int32_t status) {
  Fault(Concat(function, ": ",
               status == TIDEGATE_THREW
                   ? "an exception was thrown inside the plug-in"
                   : Concat("no answer, status ", status)));
}

void PluginMeter::Took(Duration took) {
  if (took.count() > slowest_ns_.load(std::memory_order_relaxed)) {
    slowest_ns_.store(took.count(), std::memory_order_relaxed);
  }
  const bool slow = took > options_.slow;
  const bool again = slow_before_.exchange(slow, std::memory_order_relaxed);
  if (!slow) return;
  slow_.fetch_add(1, std::memory_order_relaxed);
  // A thread that lost its processor for a moment is not the plug-in's fault.
  if (again && options_.slow_is_fault) {
    Fault(Concat("one call after the other is slow: it took ",
                 took.count() / 1000, " us, more than ",
                 options_.slow.count() / 1000, " us"));
  }
}

void PluginMeter::Reset() {
  const std::lock_guard lock(mutex_);
  first_fault_.clear();
  for (std::atomic<std::int64_t>* count :
       {&calls_, &faults_, &slow_, &slowest_ns_}) {
    count->store(0, std::memory_order_relaxed);
  }
}

PluginReport PluginMeter::Report() const {
  PluginReport report = identity_;
  const std::lock_guard lock(mutex_);
  report.calls = calls_.load(std::memory_order_relaxed);
  report.faults = faults_.load(std::memory_order_relaxed);
  report.first_fault = first_fault_;
  report.slow_calls = slow_.load(std::memory_order_relaxed);
  report.slowest = Duration(slowest_ns_.load(std::memory_order_relaxed));
  report.replaced = replaced();
  return report;
}

}  // namespace tidegate::internal
