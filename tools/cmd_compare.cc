// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate compare: several policies on the same traces, ceilings and loads.

#include <algorithm>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "estimators/json_reader.h"
#include "estimators/text.h"
#include "tidegate/simulator.h"
#include "tidegate/status.h"
#include "tools/arguments.h"
#include "tools/compare.h"
#include "tools/compare_output.h"
#include "tools/compared_policy.h"
#include "tools/inputs.h"
#include "tools/output_folder.h"
#include "tools/progress.h"
#include "tools/report.h"
#include "tools/run_file.h"
#include "tools/simulation.h"
#include "tools/sweep.h"

namespace tidegate::tools {
namespace {

using internal::Concat;
using internal::InvalidArgument;
using internal::Quote;

constexpr std::int64_t kRunsMax = 10'000;

// "a,b,c" -> its parts, none empty and none twice.
absl::StatusOr<std::vector<std::string>> ReadList(const std::string& text,
                                                  std::string_view flag) {
  std::vector<std::string> parts;
  std::size_t from = 0;
  while (true) {
    const std::size_t comma = std::min(text.find(',', from), text.size());
    std::string part = text.substr(from, comma - from);
    if (part.empty()) {
      return InvalidArgument(
          flag, ": expected a list separated by commas, got ", Quote(text));
    }
    if (std::find(parts.begin(), parts.end(), part) != parts.end()) {
      return InvalidArgument(flag, ": expected each once, got ", Quote(part),
                             " twice");
    }
    parts.push_back(std::move(part));
    if (comma == text.size()) return parts;
    from = comma + 1;
  }
}

// What is swept over, in the order of the table.
struct Axes {
  std::vector<NamedPolicy> policies;
  std::vector<std::string> trace_names;
  std::vector<Trace> traces;
  std::vector<std::optional<std::string>> ceilings;  // none: the policy's own
  std::vector<double> loads = {1};
  std::vector<std::int64_t> seeds = {0};

  std::int64_t Runs() const {
    std::int64_t count = static_cast<std::int64_t>(seeds.size());
    for (const std::size_t size :
         {policies.size(), trace_names.size(), ceilings.size(), loads.size()}) {
      count = SatMul(count, static_cast<std::int64_t>(size));
    }
    return count;
  }

  // Of run `at` alone.
  void Restrict(std::int64_t at) {
    const auto only = [&at](auto& values) {
      const auto size = static_cast<std::int64_t>(values.size());
      values = {values[static_cast<std::size_t>(at % size)]};
      at /= size;
    };
    only(policies);
    only(seeds);
    only(loads);
    only(ceilings);
    only(trace_names);
  }
};

absl::StatusOr<std::vector<NamedPolicy>> ReadPolicies(const Arguments& args) {
  if (!args.policies.has_value()) {
    return InvalidArgument(
        "missing --policies: policy files separated by commas");
  }
  TG_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                      ReadList(*args.policies, "--policies"));
  std::vector<NamedPolicy> policies;
  for (const std::string& name : names) {
    TG_ASSIGN_OR_RETURN(NamedPolicy policy,
                        LoadComparedPolicy(name, args.model));
    policies.push_back(std::move(policy));
  }
  // A rule of another engine runs on the same device as the first file.
  const auto file =
      std::find_if(policies.begin(), policies.end(),
                   [](const NamedPolicy& one) { return !one.rival; });
  for (NamedPolicy& policy : policies) {
    if (!policy.rival || file == policies.end()) continue;
    policy.policy = file->policy;
    policy.text = file->text;
  }
  return policies;
}

absl::StatusOr<Axes> ReadAxes(const Arguments& args) {
  Axes axes;
  TG_ASSIGN_OR_RETURN(axes.policies, ReadPolicies(args));
  if (args.traces.empty()) {
    return InvalidArgument("missing --trace: a trace, as of tidegate simulate");
  }
  for (const std::string& trace : args.traces) {
    if (trace.starts_with("--")) {
      return InvalidArgument("--trace: expected a value, got the flag ", trace);
    }
    if (std::count(args.traces.begin(), args.traces.end(), trace) > 1) {
      return InvalidArgument("--trace: expected each once, got ", Quote(trace),
                             " twice");
    }
  }
  axes.trace_names = args.traces;
  axes.ceilings = {std::nullopt};
  if (args.ceiling.has_value()) {
    TG_ASSIGN_OR_RETURN(const std::vector<std::string> ceilings,
                        ReadList(*args.ceiling, "--ceiling"));
    axes.ceilings.assign(ceilings.begin(), ceilings.end());
  }
  if (args.loads.has_value()) {
    axes.loads.clear();
    TG_ASSIGN_OR_RETURN(const std::vector<std::string> loads,
                        ReadList(*args.loads, "--load"));
    for (const std::string& text : loads) {
      TG_ASSIGN_OR_RETURN(const double load, ReadPositive(text, "--load"));
      axes.loads.push_back(load);
    }
  }
  if (args.seeds.has_value()) {
    TG_ASSIGN_OR_RETURN(const std::int64_t seeds,
                        ReadInteger(*args.seeds, "--seeds", 1, kRunsMax));
    axes.seeds.clear();
    for (std::int64_t seed = 0; seed < seeds; ++seed) {
      axes.seeds.push_back(seed);
    }
  }
  if (axes.Runs() > kRunsMax) {
    return InvalidArgument("expected at most ", kRunsMax,
                           " runs of policies x traces x ceilings x loads x "
                           "seeds, got ",
                           axes.Runs());
  }
  return axes;
}

absl::Status LoadTraces(const Arguments& args, Axes* axes) {
  TG_ASSIGN_OR_RETURN(const TraceOptions options, ReadTraceOptions(args));
  for (const std::string& name : axes->trace_names) {
    TG_ASSIGN_OR_RETURN(Trace trace, LoadTrace(name, options));
    axes->traces.push_back(std::move(trace));
  }
  return absl::OkStatus();
}

// Of what a run is made from: this version, its policy file, its trace, and the
// flags. Files that a policy names are not looked at.
std::string FingerprintOf(const NamedPolicy& policy, const Trace& trace,
                          const Arguments& args) {
  Fingerprint print;
  print.Add(TIDEGATE_VERSION);
  print.Add(policy.text);
  for (const TraceRow& row : trace.rows) {
    for (const std::int64_t number :
         {row.arrival.time_since_epoch().count(), row.prompt_tokens,
          row.cached_tokens, row.output_tokens, row.session}) {
      print.Add(number);
    }
  }
  for (const std::optional<std::string>* flag :
       {&args.model, &args.engine, &args.estimator, &args.catalogue,
        &args.kv_dtype, &args.base, &args.headroom, &args.max_allocation,
        &args.chunk_max, &args.chunk_floor, &args.chunk_quantum,
        &args.max_output, &args.slo_ttft, &args.slo_itl}) {
    print.Add(flag->value_or(""));
  }
  for (const std::string& option : args.engine_options) print.Add(option);
  return print.Hex();
}

// The runs and their rows, at equal positions.
struct Plan {
  std::vector<SweepRun> runs;
  std::vector<std::shared_ptr<const Plugins>> plugins;
  std::vector<ReportRun> rows;
  std::vector<std::string> inputs;    // fingerprints
  std::vector<std::string> warnings;  // each once
};

absl::StatusOr<PreparedSimulation> PrepareOne(const NamedPolicy& named,
                                              const Arguments& flags) {
  PolicyFile policy = named.policy;
  TG_RETURN_IF_ERROR(OverlayFlags(flags, &policy));
  TG_ASSIGN_OR_RETURN(PreparedSimulation prepared,
                      PrepareSimulation(std::move(policy), flags));
  if (named.rival) {
    TG_RETURN_IF_ERROR(named.rival(prepared.shape, &prepared.options));
  }
  return prepared;
}

absl::StatusOr<PreparedSimulation> Prepare(
    const NamedPolicy& named, const std::optional<std::string>& ceiling,
    const Arguments& args) {
  Arguments flags = args;
  flags.ceiling = ceiling;
  absl::StatusOr<PreparedSimulation> prepared = PrepareOne(named, flags);
  if (prepared.ok()) return prepared;
  return absl::Status(
      prepared.status().code(),
      Concat(named.name, ceiling ? Concat(" with a ceiling of ", *ceiling) : "",
             ": ", std::string(prepared.status().message())));
}

absl::StatusOr<Plan> MakePlan(const Axes& axes, const Arguments& args) {
  Plan plan;
  std::set<std::string> warned;
  const auto warn = [&](std::string_view of,
                        const std::vector<std::string>& warnings) {
    for (const std::string& warning : warnings) {
      std::string text = Concat(of, ": ", warning);
      if (warned.insert(text).second) plan.warnings.push_back(std::move(text));
    }
  };
  // Once for each policy and ceiling: reading a model is slow.
  std::vector<std::vector<SimulatorOptions>> options;
  for (const auto& ceiling : axes.ceilings) {
    options.emplace_back();
    for (const NamedPolicy& policy : axes.policies) {
      TG_ASSIGN_OR_RETURN(PreparedSimulation prepared,
                          Prepare(policy, ceiling, args));
      warn(policy.name, prepared.warnings);
      prepared.options.want_series = args.out.has_value();
      options.back().push_back(std::move(prepared.options));
    }
  }
  for (std::size_t t = 0; t < axes.traces.size(); ++t) {
    warn(axes.trace_names[t], axes.traces[t].warnings);
    std::vector<std::string> inputs;
    for (const NamedPolicy& policy : axes.policies) {
      inputs.push_back(FingerprintOf(policy, axes.traces[t], args));
    }
    for (std::size_t c = 0; c < axes.ceilings.size(); ++c) {
      for (const double load : axes.loads) {
        for (const std::int64_t seed : axes.seeds) {
          for (std::size_t p = 0; p < axes.policies.size(); ++p) {
            SimulatorOptions chosen = options[c][p];
            plan.plugins.emplace_back();
            // Faults of one run are no other's.
            if (Plugins::NamedBy(axes.policies[p].policy)) {
              TG_ASSIGN_OR_RETURN(
                  PreparedSimulation own,
                  Prepare(axes.policies[p], axes.ceilings[c], args));
              chosen.scheduler = std::move(own.options.scheduler);
              plan.plugins.back() = std::move(own.plugins);
            }
            plan.runs.push_back({.trace = &axes.traces[t],
                                 .load = load,
                                 .seed = seed,
                                 .options = chosen});
            plan.inputs.push_back(inputs[p]);
            plan.rows.push_back(
                {.policy = axes.policies[p].name,
                 .trace = axes.trace_names[t],
                 .load = load,
                 .seed = seed,
                 .ceiling_bytes = chosen.scheduler.memory.ceiling});
          }
        }
      }
    }
  }
  return plan;
}

// Pages stay small enough to open: many runs take fewer points each.
std::size_t PointsFor(std::size_t runs) {
  constexpr std::size_t kPointsOfPage = 200'000;
  return std::clamp<std::size_t>(kPointsOfPage / runs / 5, 60, kChartPoints);
}

// Puts into run `at`'s row what came of it.
void Take(std::size_t at, absl::StatusOr<SimulationResult> result,
          std::size_t points, Plan* plan) {
  ReportRun& row = plan->rows[at];
  if (plan->plugins[at] != nullptr) row.plugins = plan->plugins[at]->Reports();
  if (!result.ok()) {
    row.error = std::string(result.status().message());
    return;
  }
  row.result = *std::move(result);
  if (!plan->runs[at].options.want_series) return;
  row.charts = MakeCharts(*row.result, points);
}

// The runs that are to be made, by their position: with --resume, not those
// whose files are there, which are taken into their rows.
absl::StatusOr<std::vector<std::size_t>> Missing(const Arguments& args,
                                                 Plan* plan) {
  if (args.resume && !args.out.has_value()) {
    return InvalidArgument(
        "--resume: expected --out beside it, with the runs that were made");
  }
  std::vector<std::size_t> missing;
  const std::vector<std::string> names = RunFileNames(plan->rows);
  for (std::size_t at = 0; at < plan->rows.size(); ++at) {
    if (args.resume &&
        ReadRunFile(std::filesystem::path(*args.out) / "runs" / names[at],
                    plan->inputs[at], &plan->rows[at])) {
      continue;
    }
    missing.push_back(at);
  }
  return missing;
}

}  // namespace

absl::StatusOr<std::vector<CompareTask>> CompareTasks(const Arguments& args) {
  TG_ASSIGN_OR_RETURN(Axes axes, ReadAxes(args));
  TG_RETURN_IF_ERROR(LoadTraces(args, &axes));
  TG_ASSIGN_OR_RETURN(Plan plan, MakePlan(axes, args));
  const std::vector<std::string> names = RunFileNames(plan.rows);
  TG_ASSIGN_OR_RETURN(const std::vector<std::size_t> missing,
                      Missing(args, &plan));
  std::vector<CompareTask> tasks;
  for (const std::size_t at : missing) {
    tasks.push_back({.at = static_cast<std::int64_t>(at), .file = names[at]});
  }
  return tasks;
}

absl::StatusOr<std::string> CompareOne(const Arguments& args, std::int64_t at) {
  TG_ASSIGN_OR_RETURN(Axes axes, ReadAxes(args));
  const std::int64_t runs = axes.Runs();
  if (at < 0 || at >= runs) {
    return InvalidArgument("run: expected 0 to ", runs - 1, ", got ", at);
  }
  axes.Restrict(at);
  TG_RETURN_IF_ERROR(LoadTraces(args, &axes));
  TG_ASSIGN_OR_RETURN(Plan plan, MakePlan(axes, args));
  RunSweep(
      plan.runs, 1,
      [&](std::size_t, absl::StatusOr<SimulationResult> result) {
        Take(0, std::move(result), PointsFor(static_cast<std::size_t>(runs)),
             &plan);
      },
      nullptr);
  return RunFileText(plan.rows[0], plan.inputs[0]);
}

absl::StatusOr<int> RunCompare(const Arguments& args, Streams& io) {
  std::int64_t jobs = std::max(1u, std::thread::hardware_concurrency());
  if (args.jobs.has_value()) {
    TG_ASSIGN_OR_RETURN(jobs, ReadInteger(*args.jobs, "--jobs", 1, 1024));
  }
  TG_ASSIGN_OR_RETURN(Axes axes, ReadAxes(args));
  TG_RETURN_IF_ERROR(LoadTraces(args, &axes));
  TG_ASSIGN_OR_RETURN(Plan plan, MakePlan(axes, args));
  PrintWarnings(plan.warnings, io.err);
  TG_ASSIGN_OR_RETURN(const std::vector<std::size_t> missing,
                      Missing(args, &plan));
  std::vector<SweepRun> runs;
  for (const std::size_t at : missing) runs.push_back(plan.runs[at]);

  std::optional<CompareFolder> folder;
  if (args.out.has_value()) {
    TG_ASSIGN_OR_RETURN(folder, CompareFolder::Create(*args.out, plan.rows));
  }
  ProgressBar bar(io.err);
  std::function<void(double)> progress;
  if (args.progress || io.err_is_terminal) {
    progress = [&bar](double fraction) { bar.Update(fraction); };
  }
  std::mutex mutex;
  absl::Status written;
  RunSweep(
      runs, static_cast<int>(jobs),
      [&](std::size_t place, absl::StatusOr<SimulationResult> result) {
        const std::size_t at = missing[place];
        ReportRun& row = plan.rows[at];
        Take(at, std::move(result), PointsFor(plan.rows.size()), &plan);
        if (folder.has_value()) {
          const absl::Status status =
              folder->WriteRun(at, RunFileText(row, plan.inputs[at]));
          const std::lock_guard lock(mutex);
          written.Update(status);
        }
        // Only what tables and pages need stays.
        if (row.result.has_value()) {
          row.result->series = {};
          row.result->records = {};
        }
      },
      progress);
  bar.Finish();
  for (const ReportRun& row : plan.rows) {
    std::vector<std::string> warnings = PluginWarnings(row.plugins);
    for (std::string& text : warnings) text = Concat(row.policy, ": ", text);
    PrintWarnings(warnings, io.err);
  }
  TG_RETURN_IF_ERROR(written);
  if (folder.has_value()) TG_RETURN_IF_ERROR(folder->WriteAll(plan.rows));

  io.out << (args.json ? CompareJson(plan.rows) : CompareTable(plan.rows));
  if (folder.has_value() && !args.json) {
    io.out << "\nWritten: " << folder->Files() << "\n";
  }
  const bool failed =
      std::any_of(plan.rows.begin(), plan.rows.end(),
                  [](const ReportRun& row) { return !row.result.has_value(); });
  return failed ? kExitFailed : kExitDone;
}

}  // namespace tidegate::tools
