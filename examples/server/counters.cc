// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "examples/server/counters.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <chrono>
#include <mutex>

namespace tidegate::server {

namespace {

prometheus::Gauge& OneGauge(prometheus::Registry& registry, const char* name,
                            const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add(
      {});
}

prometheus::Counter& OneCounter(prometheus::Registry& registry,
                                const char* name, const char* help) {
  return prometheus::BuildCounter()
      .Name(name)
      .Help(help)
      .Register(registry)
      .Add({});
}

prometheus::Histogram::BucketBoundaries Seconds() {
  return {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
          0.5,   1,      2.5,   5,    10,    25,   50,  100};
}

}  // namespace

struct Counters::Families {
  std::mutex mutex;
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& responses =
      prometheus::BuildCounter()
          .Name("tidegate_server_responses_total")
          .Help("Responses, by HTTP status; 499: the client had left")
          .Register(registry);
  prometheus::Gauge& connections =
      OneGauge(registry, "tidegate_server_connections", "Connections open");
  prometheus::Gauge& streams = OneGauge(registry, "tidegate_server_completions",
                                        "Completions under way");
  prometheus::Counter& left =
      OneCounter(registry, "tidegate_server_disconnects_total",
                 "Clients that left before their completion ended");
  prometheus::Histogram& first_token =
      prometheus::BuildHistogram()
          .Name("tidegate_server_first_token_seconds")
          .Help("From the end of the HTTP request to its first token")
          .Register(registry)
          .Add({}, Seconds());
  prometheus::Gauge& live = OneGauge(registry, "tidegate_server_live_bytes",
                                     "Live memory, as the engine counts it");
  prometheus::Gauge& resident = OneGauge(
      registry, "tidegate_server_resident_bytes", "Of it, what requests hold");
  prometheus::Gauge& transient =
      OneGauge(registry, "tidegate_server_transient_bytes",
               "Of it, what running steps need until they end");
  prometheus::Gauge& line =
      OneGauge(registry, "tidegate_server_line_bytes",
               "Ceiling less headroom: live memory stays below it");
  // Raised to what the scheduler counts when the text is written, under
  // `mutex`.
  prometheus::Counter& admitted =
      OneCounter(registry, "tidegate_server_admitted_total",
                 "Admissions; a preempted request is admitted again");
};

Counters::Counters() : families_(std::make_unique<Families>()) {}
Counters::~Counters() = default;

void Counters::Answered(int status) {
  families_->responses.Add({{"code", std::to_string(status)}}).Increment();
}
void Counters::Connected() { families_->connections.Increment(); }
void Counters::Disconnected() { families_->connections.Decrement(); }
void Counters::StreamOpened() { families_->streams.Increment(); }
void Counters::StreamClosed() { families_->streams.Decrement(); }
void Counters::ClientLeft() { families_->left.Increment(); }
void Counters::FirstToken(Duration took) {
  families_->first_token.Observe(std::chrono::duration<double>(took).count());
}

std::string Counters::Text(const ServiceMetrics& metrics,
                           const DeviceBytes& device) const {
  Families& f = *families_;
  const std::lock_guard lock(f.mutex);
  f.live.Set(static_cast<double>(device.live));
  f.resident.Set(static_cast<double>(device.resident));
  f.transient.Set(static_cast<double>(device.transient));
  f.line.Set(static_cast<double>(metrics.scheduler.memory.line));
  const double admitted = static_cast<double>(metrics.scheduler.admitted);
  f.admitted.Increment(admitted - f.admitted.Value());
  return PrometheusText(metrics) +
         prometheus::TextSerializer().Serialize(f.registry.Collect());
}

}  // namespace tidegate::server
