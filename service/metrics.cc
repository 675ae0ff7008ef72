// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A service's numbers as families of prometheus-cpp. Names and units follow
// Prometheus's conventions: base units, "_total" for what only grows.

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>
#include <utility>

#include "estimators/text.h"
#include "tidegate/service_metrics.h"

namespace tidegate {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr auto kSeconds =
    std::to_array<double>({0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                           0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000});

template <std::size_t kCount>
constexpr std::array<double, kCount> PowersOfTwo(double first) {
  std::array<double, kCount> bounds{};
  for (double& bound : bounds) {
    bound = first;
    first *= 2;
  }
  return bounds;
}
constexpr auto kTokenBounds = PowersOfTwo<12>(16);
constexpr auto kByteBounds = PowersOfTwo<13>(64 << 20);

double Seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

class Families {
 public:
  void Counter(std::string_view name, std::string_view help, double value) {
    Start(name, help, MetricType::Counter);
    Add("", "", value);
  }
  void Gauge(std::string_view name, std::string_view help, double value) {
    Start(name, help, MetricType::Gauge);
    Add("", "", value);
  }
  void Histogram(std::string_view name, std::string_view help,
                 const Distribution& values) {
    Start(name, help, MetricType::Histogram);
    ClientMetric metric;
    metric.histogram.sample_count = static_cast<std::uint64_t>(values.count());
    metric.histogram.sample_sum = values.sum();
    std::int64_t so_far = 0;
    for (std::size_t i = 0; i < values.counts().size(); ++i) {
      so_far += values.counts()[i];
      const double bound = i < values.bounds().size()
                               ? values.bounds()[i]
                               : std::numeric_limits<double>::infinity();
      metric.histogram.bucket.push_back(
          {.cumulative_count = static_cast<std::uint64_t>(so_far),
           .upper_bound = bound});
    }
    families_.back().metric.push_back(std::move(metric));
  }

  // A family of several samples: Start(), then Add() for each label value.
  void Start(std::string_view name, std::string_view help, MetricType type) {
    families_.push_back({.name = internal::Concat("tidegate_", name),
                         .help = std::string(help),
                         .type = type,
                         .metric = {}});
  }
  void Add(std::string_view label, std::string_view of, double value) {
    ClientMetric metric;
    if (!label.empty()) {
      metric.label = {{std::string(label), std::string(of)}};
    }
    if (families_.back().type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    families_.back().metric.push_back(std::move(metric));
  }

  std::vector<MetricFamily> Take() { return std::move(families_); }

 private:
  std::vector<MetricFamily> families_;
};

void AddRequests(const ServiceMetrics& m, Families& out) {
  out.Counter("requests_submitted_total", "Requests submitted.", m.submitted);
  out.Start("requests_total", "Requests answered, by outcome.",
            MetricType::Counter);
  out.Add("outcome", "finished", m.finished);
  out.Add("outcome", "rejected",
          m.rejected_too_large + m.rejected_overloaded +
              m.rejected_unsupported + m.rejected_shutting_down);
  out.Add("outcome", "cancelled", m.cancelled);
  out.Start("refusals_total", "Requests rejected, by code.",
            MetricType::Counter);
  out.Add("code", RefusalCodeName(RefusalCode::kTooLarge),
          m.rejected_too_large);
  out.Add("code", RefusalCodeName(RefusalCode::kOverloaded),
          m.rejected_overloaded);
  out.Add("code", RefusalCodeName(RefusalCode::kUnsupported),
          m.rejected_unsupported);
  out.Add("code", RefusalCodeName(RefusalCode::kShuttingDown),
          m.rejected_shutting_down);
  out.Counter("cancels_asked_total", "Cancellations that clients asked for.",
              m.cancels_asked);
  out.Gauge("requests_open", "Requests not answered yet.", m.open);
  out.Gauge("requests_waiting", "Requests not admitted yet.",
            m.scheduler.waiting);
  out.Histogram("time_to_admission_seconds",
                "Time from submission to the first admission.",
                m.seconds_to_admission);
  out.Histogram("time_to_first_token_seconds",
                "Time from submission until the prompt was computed.",
                m.seconds_to_first_token);
  out.Gauge("shutting_down", "1 when nothing is admitted any more.",
            m.shutting_down ? 1 : 0);
}

void AddWork(const ServiceMetrics& m, Families& out) {
  out.Gauge("queued_prompt_tokens",
            "Prompt tokens of open requests that are not computed yet.",
            m.queued_tokens);
  out.Counter("prompt_tokens_total", "Prompt tokens computed.",
              m.prompt_tokens);
  out.Counter("generated_tokens_total", "Tokens generated.",
              m.generated_tokens);
  if (m.tokens_per_second.has_value()) {
    out.Gauge("prompt_tokens_per_second",
              "Prompt tokens a second while steps run.", *m.tokens_per_second);
  }
  out.Histogram("chunk_tokens", "Prompt tokens of a chunk that was computed.",
                m.chunk_tokens);
  out.Histogram("step_duration_seconds", "Time of a step that ended well.",
                m.step_seconds);
  out.Counter("step_seconds_total", "Time in which a step ran.",
              Seconds(m.step_time));
  out.Counter("steps_total", "Steps that ended well.", m.scheduler.steps);
  out.Counter("steps_failed_total", "Steps that failed.", m.steps_failed);
  out.Counter("steps_dropped_total",
              "Failed steps that the engine never answered.", m.steps_dropped);
  out.Counter("out_of_memory_total", "Steps that ran out of device memory.",
              m.scheduler.out_of_memory);
  out.Counter("engine_exceptions_total",
              "Exceptions that escaped the engine, a callback or a log.",
              m.engine_exceptions);
  out.Counter("late_answers_total",
              "Answers of the engine to nothing that was open.",
              m.late_answers);
  out.Counter("policy_reloads_total", "Policies that took effect.",
              m.policy_reloads);
  out.Counter("policy_reloads_refused_total",
              "Policies that were refused and changed nothing.",
              m.policy_reloads_refused);
  out.Counter("reclaims_total", "Reclaims asked for.", m.scheduler.reclaims);
  out.Counter("preemptions_total", "Requests preempted.",
              m.scheduler.preemptions);
}

void AddMemory(const ServiceMetrics& m, Families& out) {
  out.Gauge("claimed_bytes",
            "Bytes promised to admitted requests and not live yet.",
            m.scheduler.claimed_bytes);
  out.Gauge("resident_bytes", "Bytes that admitted requests hold.",
            m.scheduler.resident_bytes);
  out.Histogram("step_room_bytes",
                "Ceiling less headroom less live bytes when a step began.",
                m.step_room_bytes);
  if (m.room_bytes.has_value()) {
    out.Gauge("room_bytes",
              "Ceiling less headroom less live bytes when the last step began.",
              *m.room_bytes);
  }
  out.Start("memory_state", "1 for the state of memory readings.",
            MetricType::Gauge);
  for (const auto& [state, name] : {std::pair(ProbeState::kOff, "off"),
                                    std::pair(ProbeState::kUnknown, "unknown"),
                                    std::pair(ProbeState::kKnown, "known")}) {
    out.Add("state", name, m.memory_state == state ? 1 : 0);
  }
  out.Counter("probe_reads_total", "Attempts to read memory.", m.probe_reads);
  out.Counter("probe_failures_total", "Attempts that failed.",
              m.probe_failures);
  if (!m.memory.empty()) {
    out.Start("memory_used_bytes", "Live bytes, last known.",
              MetricType::Gauge);
    for (const DeviceMemory& device : m.memory) {
      out.Add("device", device.name, device.used_bytes);
    }
  }
  // A family without samples is no news.
  if (std::any_of(m.memory.begin(), m.memory.end(),
                  [](const auto& d) { return d.limit_bytes.has_value(); })) {
    out.Start("memory_limit_bytes", "Limit, where there is one.",
              MetricType::Gauge);
    for (const DeviceMemory& device : m.memory) {
      if (!device.limit_bytes.has_value()) continue;
      out.Add("device", device.name, *device.limit_bytes);
    }
  }
  if (m.memory_pressure_percent.has_value()) {
    out.Gauge("memory_pressure_ratio",
              "Share of ten seconds in which some task waited for memory.",
              *m.memory_pressure_percent / 100);
  }
}

std::vector<MetricFamily> ToFamilies(const ServiceMetrics& metrics) {
  Families out;
  AddRequests(metrics, out);
  AddWork(metrics, out);
  AddMemory(metrics, out);
  return out.Take();
}

class Collector final : public prometheus::Collectable {
 public:
  explicit Collector(std::function<ServiceMetrics()> read)
      : read_(std::move(read)) {}
  std::vector<MetricFamily> Collect() const override {
    return ToFamilies(read_());
  }

 private:
  const std::function<ServiceMetrics()> read_;
};

}  // namespace

Distribution Distribution::OfSeconds() { return Distribution(kSeconds); }
Distribution Distribution::OfTokens() { return Distribution(kTokenBounds); }
Distribution Distribution::OfBytes() { return Distribution(kByteBounds); }

void Distribution::Add(double value) {
  const auto bound = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  ++counts_[static_cast<std::size_t>(bound - bounds_.begin())];
  ++count_;
  sum_ += value;
}

std::string PrometheusText(const ServiceMetrics& metrics) {
  return prometheus::TextSerializer().Serialize(ToFamilies(metrics));
}

std::shared_ptr<prometheus::Collectable> PrometheusCollector(
    std::function<ServiceMetrics()> read) {
  return std::make_shared<Collector>(std::move(read));
}

}  // namespace tidegate
