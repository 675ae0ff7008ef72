// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What the live page draws: the last five minutes of memory and queue, a point
// every quarter of a second, kept here so that a page that is opened later
// shows what came before.

#ifndef TIDEGATE_EXAMPLES_SERVER_HISTORY_H_
#define TIDEGATE_EXAMPLES_SERVER_HISTORY_H_

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>

#include "examples/server/text_engine.h"
#include "tidegate/service_metrics.h"

namespace tidegate::server {

// Thread-safety: every method may be called from any thread.
class History {
 public:
  History(std::string model, Bytes ceiling)
      : model_(std::move(model)), ceiling_(ceiling) {}

  // `at` is milliseconds since 1970; `peak` the highest live bytes since the
  // last point.
  void Add(std::int64_t at, const DeviceBytes& device, Bytes peak,
           const ServiceMetrics& metrics);

  // {"next": N, "ceiling": …, "line": …, "columns": […], "points": [[…]],
  //  "totals": {…}} with the points from number `since` on; points that are
  // gone are left out.
  std::string Json(std::int64_t since, const ServiceMetrics& metrics) const;

 private:
  struct Point {
    std::int64_t at = 0;
    DeviceBytes device;
    Bytes peak = 0;
    Bytes claims = 0;
    std::int64_t waiting = 0;
    std::int64_t running = 0;
  };
  const std::string model_;
  const Bytes ceiling_;
  mutable std::mutex mutex_;
  std::deque<Point> points_;
  std::int64_t first_ = 0;  // number of points_.front()
};

}  // namespace tidegate::server

#endif  // TIDEGATE_EXAMPLES_SERVER_HISTORY_H_
