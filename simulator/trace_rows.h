// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A trace that is held, as a source of requests one by one.

#ifndef TIDEGATE_SIMULATOR_TRACE_ROWS_H_
#define TIDEGATE_SIMULATOR_TRACE_ROWS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "tidegate/simulator.h"

namespace tidegate::internal {

class TraceRows final : public TraceSource {
 public:
  // `trace` must outlive this.
  explicit TraceRows(const Trace& trace) : trace_(trace) {}
  explicit TraceRows(std::unique_ptr<const Trace> trace)
      : owned_(std::move(trace)), trace_(*owned_) {}

  absl::StatusOr<std::optional<TraceRow>> Next() override {
    if (next_ == trace_.rows.size()) return std::nullopt;
    return trace_.rows[next_++];
  }
  std::int64_t size() const override { return std::ssize(trace_.rows); }
  const std::vector<std::string>& warnings() const override {
    return trace_.warnings;
  }

 private:
  const std::unique_ptr<const Trace> owned_;
  const Trace& trace_;
  std::size_t next_ = 0;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SIMULATOR_TRACE_ROWS_H_
