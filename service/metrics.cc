// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Prometheus text exposition, version 0.0.4. Names and units follow its
// conventions: base units, "_total" for what only grows.

#include <cstdio>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "estimators/text.h"
#include "tidegate/service_metrics.h"

namespace tidegate {
namespace {

using internal::Concat;

// Locale-independent and exact for integers below 2^53.
std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.17g", value);
  for (char& c : text) {
    if (c == ',') c = '.';
  }
  return text;
}

// In label values backslash, quote and line feed are escaped.
std::string Escaped(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

class Exposition {
 public:
  void Family(std::string_view name, std::string_view type,
              std::string_view help) {
    name_ = Concat("tidegate_", name);
    text_ += Concat("# HELP ", name_, " ", help, "\n# TYPE ", name_, " ", type,
                    "\n");
  }
  void Sample(std::string_view label, std::string_view value,
              const std::string& number) {
    text_ +=
        Concat(name_, "{", label, "=\"", Escaped(value), "\"} ", number, "\n");
  }
  void Single(std::string_view name, std::string_view type,
              std::string_view help, const std::string& number) {
    Family(name, type, help);
    text_ += Concat(name_, " ", number, "\n");
  }
  std::string Take() { return std::move(text_); }

 private:
  std::string name_;
  std::string text_;
};

void AddRequests(const ServiceMetrics& m, Exposition& out) {
  out.Single("requests_submitted_total", "counter", "Requests submitted.",
             Concat(m.submitted));
  out.Family("requests_total", "counter", "Requests answered, by outcome.");
  out.Sample("outcome", "finished", Concat(m.finished));
  out.Sample("outcome", "rejected_too_large", Concat(m.rejected_too_large));
  out.Sample("outcome", "rejected_overloaded", Concat(m.rejected_overloaded));
  out.Sample("outcome", "rejected_unsupported", Concat(m.rejected_unsupported));
  out.Sample("outcome", "cancelled", Concat(m.cancelled));
  out.Single("cancels_asked_total", "counter",
             "Cancellations that clients asked for.", Concat(m.cancels_asked));
  out.Single("requests_open", "gauge", "Requests not answered yet.",
             Concat(m.open));
  out.Single("requests_waiting", "gauge", "Requests not admitted yet.",
             Concat(m.scheduler.waiting));
  out.Single("shutting_down", "gauge", "1 when nothing is admitted any more.",
             m.shutting_down ? "1" : "0");
}

void AddWork(const ServiceMetrics& m, Exposition& out) {
  out.Single("queued_prompt_tokens", "gauge",
             "Prompt tokens of open requests that are not computed yet.",
             Concat(m.queued_tokens));
  out.Single("prompt_tokens_total", "counter", "Prompt tokens computed.",
             Concat(m.prompt_tokens));
  out.Single("generated_tokens_total", "counter", "Tokens generated.",
             Concat(m.generated_tokens));
  if (m.tokens_per_second.has_value()) {
    out.Single("prompt_tokens_per_second", "gauge",
               "Prompt tokens a second while steps run.",
               Number(*m.tokens_per_second));
  }
  out.Single("step_seconds_total", "counter", "Time in which a step ran.",
             Number(std::chrono::duration<double>(m.step_time).count()));
  out.Single("steps_total", "counter", "Steps that ended well.",
             Concat(m.scheduler.steps));
  out.Single("steps_failed_total", "counter", "Steps that failed.",
             Concat(m.steps_failed));
  out.Single("steps_dropped_total", "counter",
             "Failed steps that the engine never answered.",
             Concat(m.steps_dropped));
  out.Single("out_of_memory_total", "counter",
             "Steps that ran out of device memory.",
             Concat(m.scheduler.out_of_memory));
  out.Single("engine_exceptions_total", "counter",
             "Exceptions that escaped the engine or a callback.",
             Concat(m.engine_exceptions));
  out.Single("late_answers_total", "counter",
             "Answers of the engine to nothing that was open.",
             Concat(m.late_answers));
  out.Single("reclaims_total", "counter", "Reclaims asked for.",
             Concat(m.scheduler.reclaims));
  out.Single("preemptions_total", "counter", "Requests preempted.",
             Concat(m.scheduler.preemptions));
}

void AddMemory(const ServiceMetrics& m, Exposition& out) {
  out.Single("claimed_bytes", "gauge",
             "Bytes promised to admitted requests and not live yet.",
             Concat(m.scheduler.claimed_bytes));
  out.Single("resident_bytes", "gauge", "Bytes that admitted requests hold.",
             Concat(m.scheduler.resident_bytes));
  out.Family("memory_state", "gauge", "1 for the state of memory readings.");
  for (const auto& [state, name] : {std::pair(ProbeState::kOff, "off"),
                                    std::pair(ProbeState::kUnknown, "unknown"),
                                    std::pair(ProbeState::kKnown, "known")}) {
    out.Sample("state", name, m.memory_state == state ? "1" : "0");
  }
  out.Single("probe_reads_total", "counter", "Attempts to read memory.",
             Concat(m.probe_reads));
  out.Single("probe_failures_total", "counter", "Attempts that failed.",
             Concat(m.probe_failures));
  if (!m.memory.empty()) {
    out.Family("memory_used_bytes", "gauge", "Live bytes, last known.");
    for (const DeviceMemory& device : m.memory) {
      out.Sample("device", device.name, Concat(device.used_bytes));
    }
    out.Family("memory_limit_bytes", "gauge", "Limit, where there is one.");
    for (const DeviceMemory& device : m.memory) {
      if (!device.limit_bytes.has_value()) continue;
      out.Sample("device", device.name, Concat(*device.limit_bytes));
    }
  }
  if (m.memory_pressure_percent.has_value()) {
    out.Single("memory_pressure_ratio", "gauge",
               "Share of ten seconds in which some task waited for memory.",
               Number(*m.memory_pressure_percent / 100));
  }
}

}  // namespace

std::string PrometheusText(const ServiceMetrics& metrics) {
  Exposition out;
  AddRequests(metrics, out);
  AddWork(metrics, out);
  AddMemory(metrics, out);
  return out.Take();
}

}  // namespace tidegate
