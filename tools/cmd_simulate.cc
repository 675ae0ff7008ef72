// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate simulate: what a policy would have done with a trace.

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "estimators/text.h"
#include "tidegate/rivals.h"
#include "tidegate/scheduler.h"
#include "tidegate/simulator.h"
#include "tidegate/status.h"
#include "tools/arguments.h"
#include "tools/inputs.h"
#include "tools/output.h"
#include "tools/price_output.h"
#include "tools/progress.h"
#include "tools/summary.h"

namespace tidegate::tools {
namespace {

using internal::Concat;
using internal::InvalidArgument;

// Files of --out. Opened before the simulation starts, so that a folder that
// cannot be written costs no simulated hour.
struct OutputFolder {
  std::filesystem::path path;
  std::ofstream events;
  std::ofstream summary;
};

absl::Status Open(const std::filesystem::path& path, std::ofstream* file) {
  file->open(path, std::ios::binary | std::ios::trunc);
  if (*file) return absl::OkStatus();
  return InvalidArgument(
      "--out: expected a folder that can be written, cannot "
      "create ",
      path.string());
}

absl::StatusOr<OutputFolder> CreateFolder(const std::string& name) {
  OutputFolder folder{.path = name, .events = {}, .summary = {}};
  std::error_code error;
  std::filesystem::create_directories(folder.path, error);
  if (error || !std::filesystem::is_directory(folder.path, error)) {
    return InvalidArgument(
        "--out: expected a folder, cannot create ", name,
        error ? Concat(": ", error.message()) : ": it is a file");
  }
  TG_RETURN_IF_ERROR(Open(folder.path / "events.jsonl", &folder.events));
  TG_RETURN_IF_ERROR(Open(folder.path / "summary.json", &folder.summary));
  return folder;
}

absl::Status Close(const std::filesystem::path& path, std::ofstream* file) {
  file->close();
  if (*file) return absl::OkStatus();
  return absl::DataLossError(
      Concat("--out: cannot write ", path.string(), ": is the disk full?"));
}

}  // namespace

absl::StatusOr<int> RunSimulate(const Arguments& args, Streams& io) {
  if (!args.trace.has_value()) {
    return InvalidArgument(
        "missing --trace: a CSV of arrival_s, prompt_tokens, cached_tokens, "
        "output_tokens, session");
  }
  TG_ASSIGN_OR_RETURN(Inputs inputs, LoadInputs(args));
  const PolicyFile& policy = inputs.policy;
  std::vector<std::string> warnings = inputs.warnings;
  TG_ASSIGN_OR_RETURN(const MemoryLimits memory,
                      ReadMemoryLimits(inputs, &warnings));
  TG_RETURN_IF_ERROR(
      CheckLimits(memory, ReadChunkLimits(policy), policy, &warnings));

  SimulatorOptions options;
  TG_ASSIGN_OR_RETURN(
      options.scheduler,
      MakeSchedulerOptions(policy, std::move(inputs.estimator), memory.base));
  // The policy file documents that there is no cache unless it asks for one.
  options.cache.capacity = policy.cache_capacity.value_or(0);
  options.cache.block = policy.cache_block.value_or(options.cache.block);
  if (args.max_output.has_value()) {
    TG_ASSIGN_OR_RETURN(options.max_output_tokens,
                        ReadTokens(args.max_output, "--max-output", 0));
  }
  if (args.rival.has_value()) {
    RivalFacts facts{.shape = inputs.shape};
    facts.context = inputs.shape.max_position.value_or(facts.context);
    TG_RETURN_IF_ERROR(ApplyRival(*args.rival, facts, &options));
  }
  TG_ASSIGN_OR_RETURN(const Trace trace, LoadTrace(*args.trace));

  std::optional<OutputFolder> folder;
  if (args.out.has_value()) {
    TG_ASSIGN_OR_RETURN(folder, CreateFolder(*args.out));
    options.event_log = [&folder](std::string_view line) {
      folder->events << line;
    };
  }
  PrintWarnings(warnings, io.err);
  ProgressBar bar(io.err);
  if (args.progress || io.err_is_terminal) {
    options.progress = [&bar](double fraction) { bar.Update(fraction); };
  }
  const absl::StatusOr<SimulationResult> result = Simulate(trace, options);
  bar.Finish();
  if (!result.ok()) return result.status();

  JsonWriter json;
  PutSummary(*result, json);
  if (folder.has_value()) {
    folder->summary << json.ToString();
    TG_RETURN_IF_ERROR(Close(folder->path / "summary.json", &folder->summary));
    TG_RETURN_IF_ERROR(Close(folder->path / "events.jsonl", &folder->events));
  }
  if (args.json) {
    io.out << json.ToString();
    return kExitDone;
  }
  io.out << SummaryTable(*result);
  if (folder.has_value()) {
    io.out << "\nWritten: " << (folder->path / "summary.json").string() << ", "
           << (folder->path / "events.jsonl").string() << "\n";
  }
  return kExitDone;
}

}  // namespace tidegate::tools
