// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "examples/server/history.h"

#include <algorithm>

#include "examples/server/json_text.h"

namespace tidegate::server {
namespace {

constexpr std::size_t kPointsMax = 1200;

nlohmann::json Totals(const ServiceMetrics& metrics) {
  return {{"submitted", metrics.submitted},
          {"admitted", metrics.scheduler.admitted},
          {"finished", metrics.finished},
          {"cancelled", metrics.cancelled},
          {"too_large", metrics.rejected_too_large},
          {"overloaded", metrics.rejected_overloaded},
          {"unsupported", metrics.rejected_unsupported},
          {"shutting_down", metrics.rejected_shutting_down},
          {"steps", metrics.scheduler.steps},
          {"preemptions", metrics.scheduler.preemptions},
          {"out_of_memory", metrics.scheduler.out_of_memory},
          {"prompt_tokens", metrics.prompt_tokens},
          {"generated_tokens", metrics.generated_tokens},
          {"queued_tokens", metrics.queued_tokens}};
}

}  // namespace

void History::Add(std::int64_t at, const DeviceBytes& device, Bytes peak,
                  const ServiceMetrics& metrics) {
  const std::lock_guard lock(mutex_);
  points_.push_back({.at = at,
                     .device = device,
                     .peak = peak,
                     .claims = metrics.scheduler.claimed_bytes,
                     .waiting = metrics.scheduler.waiting,
                     .running = metrics.open - metrics.scheduler.waiting});
  if (points_.size() > kPointsMax) {
    points_.pop_front();
    ++first_;
  }
}

std::string History::Json(std::int64_t since,
                          const ServiceMetrics& metrics) const {
  nlohmann::json points = nlohmann::json::array();
  nlohmann::json out = {{"model", model_},
                        {"ceiling", ceiling_},
                        {"line", metrics.scheduler.memory.line},
                        {"shutting_down", metrics.shutting_down},
                        {"columns",
                         {"at", "live", "peak", "base", "resident", "claims",
                          "waiting", "running"}},
                        {"totals", Totals(metrics)}};
  const std::lock_guard lock(mutex_);
  const std::int64_t next = first_ + std::ssize(points_);
  for (std::int64_t i = std::max(since, first_); i < next; ++i) {
    const Point& p = points_[i - first_];
    points.push_back({p.at, p.device.live, p.peak, p.device.base,
                      p.device.resident, p.claims, p.waiting, p.running});
  }
  out["next"] = next;
  out["points"] = std::move(points);
  return JsonLine(out);
}

}  // namespace tidegate::server
