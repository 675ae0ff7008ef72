// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate plan: the verdict on one prompt, and its chunks.

#include "tidegate/status.h"
#include "tools/arguments.h"
#include "tools/planned.h"
#include "tools/price_output.h"

namespace tidegate::tools {
namespace {

// A plan whose widths change often is cut in the middle.
constexpr std::size_t kRowsMax = 24;

void PrintPlan(const Planned& planned, std::ostream& out) {
  const Plan& plan = planned.plan;
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

}  // namespace

absl::StatusOr<int> RunPlan(const Arguments& args, Streams& io) {
  TG_ASSIGN_OR_RETURN(const Planned planned, PlanFromArguments(args));
  PrintWarnings(planned.warnings, io.err);
  if (args.json) {
    JsonWriter json;
    PutPlan(planned.plan, json);
    PutStrings("warnings", planned.warnings, json);
    io.out << json.ToString();
  } else {
    PrintPlan(planned, io.out);
  }
  return ExitCode(planned.plan);
}

}  // namespace tidegate::tools
