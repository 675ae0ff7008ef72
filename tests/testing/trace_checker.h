// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Reads a timeline back and holds it to the rules of the Trace Event Format:
// members that each phase needs, time that does not go back, slices that nest
// and end.

#ifndef TIDEGATE_TESTS_TESTING_TRACE_CHECKER_H_
#define TIDEGATE_TESTS_TESTING_TRACE_CHECKER_H_

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace tidegate::testing {

struct TraceSlice {
  std::string process;
  int row = 0;
  std::string name;
  std::string within;  // name of the slice around it, or empty
  double start = 0;    // microseconds
  double end = 0;
  nlohmann::json args;  // of its begin and of its end
};

struct TraceInstant {
  std::string name;
  std::string within;
  double when = 0;
  nlohmann::json args;
};

class CheckedTrace {
 public:
  explicit CheckedTrace(const std::string& text) {
    const auto json = nlohmann::json::parse(text, nullptr, false);
    if (!json.is_object() || !json.contains("traceEvents")) {
      ADD_FAILURE() << "no JSON object with traceEvents: "
                    << text.substr(0, 200);
      return;
    }
    for (const nlohmann::json& event : json["traceEvents"]) Read(event);
    for (const auto& [row, open] : stacks_) {
      EXPECT_TRUE(open.empty())
          << slices[open.empty() ? 0 : open.back()].name << " never ends";
    }
  }

  std::vector<TraceSlice> slices;  // in the order of their begin
  std::vector<TraceInstant> instants;
  // Counter -> its values in order.
  std::map<std::string, std::vector<std::int64_t>> counters;

  std::vector<std::string> Names(const std::string& process) const {
    std::vector<std::string> names;
    for (const TraceSlice& slice : slices) {
      if (slice.process == process) names.push_back(slice.name);
    }
    return names;
  }
  // What lies in the slice of this name, instants included, in order of time.
  std::vector<std::string> Story(const std::string& name) const {
    std::vector<std::string> story;
    for (const auto& [owner, what] : story_) {
      if (owner == name) story.push_back(what);
    }
    return story;
  }
  const TraceSlice& Slice(const std::string& name) const {
    for (const TraceSlice& slice : slices) {
      if (slice.name == name) return slice;
    }
    ADD_FAILURE() << "no slice " << name;
    static const auto* const kNone = new TraceSlice;
    return *kNone;
  }
  const TraceInstant& Instant(const std::string& name) const {
    for (const TraceInstant& instant : instants) {
      if (instant.name == name) return instant;
    }
    ADD_FAILURE() << "no instant " << name;
    static const auto* const kNone = new TraceInstant;
    return *kNone;
  }

 private:
  using Row = std::pair<int, int>;

  void Read(const nlohmann::json& event) {
    const std::string phase = event.value("ph", "");
    ASSERT_TRUE(event.contains("pid") && event.contains("tid")) << event;
    const Row row{event["pid"].get<int>(), event["tid"].get<int>()};
    if (phase == "M") {
      ASSERT_TRUE(event.contains("args")) << event;
      if (event.value("name", "") == "process_name") {
        processes_[row.first] = event["args"]["name"].get<std::string>();
      }
      return;
    }
    ASSERT_TRUE(event.contains("ts") && event["ts"].is_number()) << event;
    const double when = event["ts"].get<double>();
    ASSERT_GE(when, last_) << event;
    last_ = when;
    ASSERT_TRUE(processes_.contains(row.first)) << event;
    std::vector<std::size_t>& open = stacks_[row];
    const nlohmann::json args = event.value("args", nlohmann::json::object());
    const std::string name = event.value("name", "");
    if (phase == "E") {
      ASSERT_FALSE(open.empty()) << event;
      TraceSlice& slice = slices[open.back()];
      slice.end = when;
      slice.args.update(args);
      open.pop_back();
      return;
    }
    ASSERT_NE(name, "") << event;
    if (phase == "C") {
      ASSERT_EQ(args.size(), 1u) << event;
      ASSERT_TRUE(args.begin()->is_number()) << event;
      counters[name].push_back(args.begin()->get<std::int64_t>());
      return;
    }
    const std::string within = open.empty() ? "" : slices[open.back()].name;
    // By the outermost slice: a request.
    const std::string owner = open.empty() ? "" : slices[open.front()].name;
    story_.emplace_back(owner, name);
    if (phase == "i") {
      ASSERT_EQ(event.value("s", ""), "t") << event;
      instants.push_back({name, within, when, args});
      return;
    }
    ASSERT_EQ(phase, "B") << event;
    open.push_back(slices.size());
    slices.push_back({.process = processes_[row.first],
                      .row = row.second,
                      .name = name,
                      .within = within,
                      .start = when,
                      .end = when,
                      .args = args});
  }

  double last_ = -1e300;
  std::map<int, std::string> processes_;
  std::map<Row, std::vector<std::size_t>> stacks_;
  std::vector<std::pair<std::string, std::string>> story_;
};

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_TRACE_CHECKER_H_
