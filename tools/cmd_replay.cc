// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate replay: scenario files, each world with what must come of it.

#include <string>
#include <string_view>
#include <vector>

#include "estimators/text.h"
#include "simulator/replay.h"
#include "tidegate/status.h"
#include "tools/arguments.h"
#include "tools/output.h"

namespace tidegate::tools {
namespace {

constexpr std::string_view kPass = "PASS ";
constexpr std::string_view kFail = "FAIL ";

struct Scenario {
  std::string id;
  bool passed = false;
  std::string message;  // of a failure: what was expected, what came
};

// A line of ReplayFiles; the closing count is no scenario.
void Collect(std::string_view line, std::vector<Scenario>* scenarios) {
  if (line.starts_with(kPass)) {
    scenarios->push_back(
        {.id = std::string(line.substr(kPass.size())), .passed = true});
  } else if (line.starts_with(kFail)) {
    line.remove_prefix(kFail.size());
    const std::size_t colon = line.find(": ");
    scenarios->push_back(
        {.id = std::string(line.substr(0, colon)),
         .message = colon == std::string_view::npos
                        ? std::string()
                        : std::string(line.substr(colon + 2))});
  }
}

}  // namespace

absl::StatusOr<int> RunReplay(const Arguments& args, Streams& io) {
  if (args.files.empty()) {
    return internal::InvalidArgument(
        "nothing to replay: expected a file of scenarios, one JSON object a "
        "line");
  }
  std::vector<Scenario> scenarios;
  const LineSink sink = [&](std::string_view line) {
    if (args.json) {
      Collect(line, &scenarios);
    } else {
      io.out << line << "\n";
    }
  };
  TG_ASSIGN_OR_RETURN(const ReplayCounts counts, ReplayFiles(args.files, sink));
  if (args.json) {
    JsonWriter json;
    json.Put("passed", counts.passed);
    json.Put("failed", counts.failed);
    json.BeginArray("scenarios");
    for (const Scenario& scenario : scenarios) {
      json.BeginObject();
      json.Put("id", std::string_view(scenario.id));
      json.Put("passed", scenario.passed);
      if (!scenario.passed) {
        json.Put("message", std::string_view(scenario.message));
      }
      json.End();
    }
    json.End();
    io.out << json.ToString();
  }
  return counts.failed > 0 ? kExitFailed : kExitDone;
}

}  // namespace tidegate::tools
