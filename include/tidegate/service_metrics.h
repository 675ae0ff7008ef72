// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What a Service counts. Plain numbers, copied out at one moment between two
// events, so that they agree with each other.

#ifndef TIDEGATE_SERVICE_METRICS_H_
#define TIDEGATE_SERVICE_METRICS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tidegate/memory_probe.h"
#include "tidegate/scheduler.h"
#include "tidegate/types.h"

namespace tidegate {

enum class ProbeState {
  kOff,      // neither probe nor engine reads memory
  kUnknown,  // the last attempt failed, or there was none yet
  kKnown,
};

struct ServiceMetrics {
  // The scheduler's own counters and ledger.
  SchedulerStats scheduler;

  // Submits, and how they were answered. Whatever was submitted is answered
  // once: submitted = finished + rejected + cancelled + open.
  std::int64_t submitted = 0;
  std::int64_t finished = 0;
  std::int64_t rejected_too_large = 0;
  std::int64_t rejected_overloaded = 0;
  std::int64_t rejected_unsupported = 0;
  std::int64_t cancelled = 0;
  std::int64_t open = 0;
  // Cancellations that clients asked for; some come after the answer.
  std::int64_t cancels_asked = 0;

  // Prompt tokens not computed yet of open requests; computed and generated
  // tokens so far.
  Tokens queued_tokens = 0;
  Tokens prompt_tokens = 0;
  Tokens generated_tokens = 0;
  // Prompt tokens a second while steps run, over about the last minute of
  // steps; nullopt before the first.
  std::optional<double> tokens_per_second;
  // Time in which a step ran.
  Duration step_time{};

  std::int64_t steps_failed = 0;       // out of memory included
  std::int64_t steps_dropped = 0;      // handle destroyed unanswered
  std::int64_t engine_exceptions = 0;  // escaped a method or a callback
  std::int64_t late_answers = 0;       // of handles whose question was over

  ProbeState memory_state = ProbeState::kOff;
  std::vector<DeviceMemory> memory;  // the last known reading
  std::optional<double> memory_pressure_percent;
  std::int64_t probe_reads = 0;
  std::int64_t probe_failures = 0;
  std::string probe_error;  // of the last failure; empty after a success

  bool shutting_down = false;
};

// The Prometheus text exposition format, version 0.0.4: what an HTTP handler
// returns as "text/plain; version=0.0.4". Every name starts with "tidegate_".
std::string PrometheusText(const ServiceMetrics& metrics);

}  // namespace tidegate

#endif  // TIDEGATE_SERVICE_METRICS_H_
