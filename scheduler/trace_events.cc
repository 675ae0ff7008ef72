// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/trace_events.h"

#include "estimators/text.h"

namespace tidegate::internal {
namespace {

// Nanoseconds as microseconds, exactly: a double would round after 104 days.
std::string Microseconds(std::int64_t ns) {
  const bool negative = ns < 0;
  // Of the magnitude, so that -1 ns is -0.001 and not -1.999.
  const auto size = negative ? -static_cast<std::uint64_t>(ns)
                             : static_cast<std::uint64_t>(ns);
  const std::string below = std::to_string(size % 1000);
  return Concat(negative ? "-" : "", size / 1000, ".",
                std::string(3 - below.size(), '0'), below);
}

}  // namespace

void TraceFile::Start(std::string_view phase, TraceRow row) {
  text_ += std::exchange(first_, false) ? "\n" : ",\n";
  json_.Open('{');
  json_.Member("ph", phase);
  json_.Member("pid", row.process);
  json_.Member("tid", row.row);
}

void TraceFile::Time() {
  json_.Key("ts");
  json_.Raw(Microseconds(now_.time_since_epoch().count()));
}

void TraceFile::Finish(const Args& args) {
  if (args) {
    json_.Key("args");
    json_.Open('{');
    args(json_);
    json_.Close('}');
  }
  json_.Close('}');
  text_ += json_.Take();
}

void TraceFile::NameProcess(int process, std::string_view name) {
  Start("M", {process, 0});
  json_.Member("name", std::string_view("process_name"));
  Finish([&](JsonText& args) { args.Member("name", name); });
  Start("M", {process, 0});
  json_.Member("name", std::string_view("process_sort_index"));
  Finish([&](JsonText& args) { args.Member("sort_index", process); });
}

void TraceFile::NameRow(TraceRow row, std::string_view name) {
  Start("M", row);
  json_.Member("name", std::string_view("thread_name"));
  Finish([&](JsonText& args) { args.Member("name", name); });
  Start("M", row);
  json_.Member("name", std::string_view("thread_sort_index"));
  Finish([&](JsonText& args) { args.Member("sort_index", row.row); });
}

void TraceFile::Begin(TraceRow row, std::string_view name, const Args& args) {
  Start("B", row);
  Time();
  json_.Member("name", name);
  Finish(args);
}

void TraceFile::End(TraceRow row, const Args& args) {
  Start("E", row);
  Time();
  Finish(args);
}

void TraceFile::Instantly(TraceRow row, std::string_view name,
                          const Args& args) {
  Start("i", row);
  Time();
  json_.Member("name", name);
  json_.Member("s", std::string_view("t"));
  Finish(args);
}

void TraceFile::Count(int process, std::string_view name, std::string_view unit,
                      std::int64_t value) {
  Start("C", {process, 0});
  Time();
  json_.Member("name", name);
  Finish([&](JsonText& args) { args.Member(unit, value); });
}

TraceRow TraceRows::Take(TraceFile& file) {
  if (!free_.empty()) {
    return {process_, free_.extract(free_.begin()).value()};
  }
  const TraceRow row{process_, ++made_};
  file.NameRow(row, name_);
  return row;
}

}  // namespace tidegate::internal
