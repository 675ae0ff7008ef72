// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What a Service counts. Plain numbers, copied out at one moment between two
// events, so that they agree with each other.

#ifndef TIDEGATE_SERVICE_METRICS_H_
#define TIDEGATE_SERVICE_METRICS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tidegate/memory_probe.h"
#include "tidegate/scheduler.h"
#include "tidegate/types.h"

namespace prometheus {
class Collectable;
}

namespace tidegate {

enum class ProbeState {
  kOff,      // neither probe nor engine reads memory
  kUnknown,  // the last attempt failed, or there was none yet
  kKnown,
};

// How often a value fell into each of some ranges: what Prometheus calls a
// histogram.
class Distribution {
 public:
  // Upper bounds, ascending; a value equal to one is below it. They must
  // outlive the object.
  explicit Distribution(std::span<const double> bounds)
      : bounds_(bounds), counts_(bounds.size() + 1) {}

  // 1 ms to 1,000 s in steps of 1, 2.5, 5.
  static Distribution OfSeconds();
  // 16 to 32,768 tokens in powers of two.
  static Distribution OfTokens();
  // 64 MiB to 256 GiB in powers of two.
  static Distribution OfBytes();

  void Add(double value);

  std::span<const double> bounds() const { return bounds_; }
  // One for each bound, and one for what is above the last.
  std::span<const std::int64_t> counts() const { return counts_; }
  std::int64_t count() const { return count_; }
  double sum() const { return sum_; }

 private:
  std::span<const double> bounds_;
  std::vector<std::int64_t> counts_;
  std::int64_t count_ = 0;
  double sum_ = 0;
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
  std::int64_t rejected_shutting_down = 0;
  std::int64_t cancelled = 0;
  std::int64_t open = 0;
  // Cancellations that clients asked for; some come after the answer.
  std::int64_t cancels_asked = 0;
  // Seconds from Submit() to the first admission, and to the end of the step
  // that computed the last prompt token (TTFT); once for each request.
  Distribution seconds_to_admission = Distribution::OfSeconds();
  Distribution seconds_to_first_token = Distribution::OfSeconds();

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
  // Of the steps that ended well: seconds, and the width of each chunk.
  Distribution step_seconds = Distribution::OfSeconds();
  Distribution chunk_tokens = Distribution::OfTokens();
  // ceiling - headroom - live when a step was decided: of all, and of the last
  // one; nullopt before the first.
  Distribution step_room_bytes = Distribution::OfBytes();
  std::optional<Bytes> room_bytes;

  std::int64_t steps_failed = 0;   // out of memory included
  std::int64_t steps_dropped = 0;  // handle destroyed unanswered
  // Escaped a method of the engine, a callback or a log.
  std::int64_t engine_exceptions = 0;
  std::int64_t late_answers = 0;  // of handles whose question was over
  // Policies that took effect, and that were refused and changed nothing.
  std::int64_t policy_reloads = 0;
  std::int64_t policy_reloads_refused = 0;

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
// docs/service.md lists them.
std::string PrometheusText(const ServiceMetrics& metrics);

// The same for a program that already exposes metrics through prometheus-cpp:
// register it with an Exposer, Gateway or whatever collects. `read` is called
// at each collection, from the collector's thread.
//
//   exposer.RegisterCollectable(PrometheusCollector(
//       [service] { return service->Metrics(); }));
std::shared_ptr<prometheus::Collectable> PrometheusCollector(
    std::function<ServiceMetrics()> read);

}  // namespace tidegate

#endif  // TIDEGATE_SERVICE_METRICS_H_
