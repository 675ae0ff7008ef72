// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate plan: the verdict on one prompt, and its chunks.

#include "tidegate/status.h"
#include "tools/arguments.h"
#include "tools/load.h"
#include "tools/planned.h"
#include "tools/price_output.h"

namespace tidegate::tools {
namespace {

// A plan whose widths change often is cut in the middle.
constexpr std::size_t kRowsMax = 24;

void PrintPlan(const Planned& planned, std::ostream& out) {
  const Plan& plan = planned.plan;
  if (planned.load.has_value()) {
    PrintLoad(*planned.load, out);
    out << "\n";
  }
  out << VerdictSentence(planned) << "\n";
  if (!plan.chunks.empty()) {
    out << "\n" << RangeTable(plan.chunks, kRowsMax) << "\n";
  }
  if (plan.verdict == Verdict::kAdmit && plan.arithmetic.n > 0) {
    out << "Tightest chunk: " << Describe(plan.arithmetic) << "\n";
  }
  out << "Largest prompt that fits: "
      << TokenCount(plan.largest_prompt_that_fits) << "\n";
}

// Without a prompt: of an engine that pays when it loads, what to load.
absl::StatusOr<int> RunLoad(const Inputs& inputs, const Arguments& args,
                            Streams& io) {
  std::vector<std::string> warnings = inputs.warnings;
  WarnOfProbe(inputs.policy, &warnings);
  TG_ASSIGN_OR_RETURN(const PlannedLoad load,
                      PlanLoadFor(inputs, 0, &warnings));
  PrintWarnings(warnings, io.err);
  if (args.json) {
    JsonWriter json;
    PutLoad(load, json);
    PutStrings("warnings", warnings, json);
    io.out << json.ToString();
  } else {
    PrintLoad(load, io.out);
  }
  return load.plan.fits ? kExitDone : kExitRefused;
}

}  // namespace

absl::StatusOr<int> RunPlan(const Arguments& args, Streams& io) {
  if (!args.prompt.has_value()) {
    const absl::StatusOr<Inputs> inputs = LoadInputs(args);
    if (inputs.ok() && LoadIsOpen(*inputs)) return RunLoad(*inputs, args, io);
  }
  TG_ASSIGN_OR_RETURN(const Planned planned, PlanFromArguments(args));
  PrintWarnings(planned.warnings, io.err);
  if (args.json) {
    JsonWriter json;
    PutPlan(planned.plan, json);
    if (planned.load.has_value()) PutLoad(*planned.load, json);
    PutStrings("warnings", planned.warnings, json);
    io.out << json.ToString();
  } else {
    PrintPlan(planned, io.out);
  }
  return ExitCode(planned.plan);
}

}  // namespace tidegate::tools
