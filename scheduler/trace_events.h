// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Trace Event Format: a file of events, and rows that are used again.

#ifndef TIDEGATE_SCHEDULER_TRACE_EVENTS_H_
#define TIDEGATE_SCHEDULER_TRACE_EVENTS_H_

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "scheduler/json_text.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// A row of the picture: the format's process and thread.
struct TraceRow {
  int process = 0;
  int row = 0;
};

// Writes events with one moment for all until it is moved on.
class TraceFile {
 public:
  using Sink = std::function<void(std::string_view)>;
  using Args = std::function<void(JsonText&)>;  // writes members

  explicit TraceFile(Sink sink) : sink_(std::move(sink)) {
    text_ = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";
  }

  void MoveTo(Instant now) { now_ = std::max(now_, now); }

  void NameProcess(int process, std::string_view name);
  void NameRow(TraceRow row, std::string_view name);
  void Begin(TraceRow row, std::string_view name, const Args& args);
  void End(TraceRow row, const Args& args = nullptr);
  void Instantly(TraceRow row, std::string_view name, const Args& args);
  void Count(int process, std::string_view name, std::string_view unit,
             std::int64_t value);

  // Hands on what was written since the last time.
  void Flush() { sink_(std::exchange(text_, {})); }
  void Close() {
    text_ += "\n]}\n";
    Flush();
  }

 private:
  void Start(std::string_view phase, TraceRow row);
  void Time();
  void Finish(const Args& args);

  const Sink sink_;
  std::string text_;
  JsonText json_;
  bool first_ = true;
  Instant now_ = Instant::min();
};

// Rows of one process. The lowest that is free is taken next.
class TraceRows {
 public:
  TraceRows(int process, std::string name)
      : process_(process), name_(std::move(name)) {}

  TraceRow Take(TraceFile& file);
  void Give(TraceRow row) { free_.insert(row.row); }

 private:
  const int process_;
  const std::string name_;
  int made_ = 0;
  std::set<int> free_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_TRACE_EVENTS_H_
