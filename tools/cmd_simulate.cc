// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate simulate: what a policy would have done with a trace.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "estimators/text.h"
#include "tidegate/simulator.h"
#include "tidegate/status.h"
#include "tidegate/timeline.h"
#include "tools/arguments.h"
#include "tools/inputs.h"
#include "tools/output.h"
#include "tools/output_folder.h"
#include "tools/progress.h"
#include "tools/report.h"
#include "tools/rivals.h"
#include "tools/simulation.h"
#include "tools/summary.h"

namespace tidegate::tools {
namespace {

using internal::InvalidArgument;

struct Outputs {
  OutputFile events;
  OutputFile timeline;
  OutputFile summary;
  OutputFile report;
};

}  // namespace

absl::StatusOr<int> RunSimulate(const Arguments& args, Streams& io) {
  if (!args.trace.has_value()) {
    return InvalidArgument(
        "missing --trace: a CSV of arrival_s, prompt_tokens, cached_tokens, "
        "output_tokens, session, or a public trace as it is published");
  }
  TG_ASSIGN_OR_RETURN(PolicyFile policy, MergePolicy(args));
  TG_ASSIGN_OR_RETURN(PreparedSimulation prepared,
                      PrepareSimulation(std::move(policy), args));
  SimulatorOptions& options = prepared.options;
  TG_ASSIGN_OR_RETURN(const TraceOptions trace_options, ReadTraceOptions(args));
  TG_ASSIGN_OR_RETURN(const std::unique_ptr<TraceSource> trace,
                      OpenTrace(*args.trace, trace_options));
  PrintWarnings(prepared.warnings, io.err);
  PrintWarnings(trace->warnings(), io.err);

  if (args.rival.has_value()) {
    TG_ASSIGN_OR_RETURN(const RivalRule rule,
                        FindRival("--rival", *args.rival));
    TG_RETURN_IF_ERROR(rule(prepared.shape, &options));
  }
  std::optional<Outputs> files;
  std::optional<Timeline> timeline;
  if (args.out.has_value()) {
    const std::filesystem::path folder = *args.out;
    files.emplace();
    TG_RETURN_IF_ERROR(CreateFolder(folder));
    TG_RETURN_IF_ERROR(files->events.Open(folder / "events.jsonl"));
    TG_RETURN_IF_ERROR(files->summary.Open(folder / "summary.json"));
    TG_RETURN_IF_ERROR(files->report.Open(folder / "report.html"));
    options.event_log = [&files](std::string_view line) {
      files->events.Write(line);
    };
    TG_RETURN_IF_ERROR(files->timeline.Open(folder / "timeline.json"));
    timeline.emplace(options.scheduler.memory, [&files](std::string_view text) {
      files->timeline.Write(text);
    });
    options.on_decision = [&timeline](const Decision& decision) {
      timeline->Add(decision);
    };
    options.want_series = true;
  }
  ProgressBar bar(io.err);
  if (args.progress || io.err_is_terminal) {
    options.progress = [&bar](double fraction) { bar.Update(fraction); };
  }
  // The report draws distributions of them.
  options.want_records = files.has_value() || io.on_result != nullptr;
  absl::StatusOr<SimulationResult> result = Simulate(*trace, options);
  bar.Finish();
  // Of a run that failed too: it shows how it came to that.
  if (timeline.has_value()) timeline->Finish();
  if (!result.ok()) return result.status();
  if (io.on_result) io.on_result(*result);

  const std::vector<PluginReport> plugins = prepared.plugins->Reports();
  PrintWarnings(PluginWarnings(plugins), io.err);
  JsonWriter json;
  PutSummary(*result, json);
  PutPlugins(plugins, json);
  if (files.has_value()) {
    files->summary.Write(json.ToString());
    ReportRun run{.policy = args.policy.value_or("flags"),
                  .trace = *args.trace};
    run.plugins = plugins;
    run.charts = MakeCharts(*result, kChartPoints);
    run.result = *std::move(result);
    files->report.Write(ReportPage("Tidegate simulation", {&run, 1}));
    TG_RETURN_IF_ERROR(files->summary.Close());
    TG_RETURN_IF_ERROR(files->events.Close());
    TG_RETURN_IF_ERROR(files->timeline.Close());
    TG_RETURN_IF_ERROR(files->report.Close());
    result = std::move(*run.result);
  }
  if (args.json) {
    io.out << json.ToString();
    return kExitDone;
  }
  io.out << SummaryTable(*result) << PluginTable(plugins);
  if (files.has_value()) {
    io.out << "\nWritten: " << files->summary.path() << ", "
           << files->events.path() << ", " << files->report.path() << ", "
           << files->timeline.path() << " (open it at ui.perfetto.dev)\n";
  }
  return kExitDone;
}

}  // namespace tidegate::tools
