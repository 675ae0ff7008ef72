// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What came of a simulation, for people and as JSON.

#ifndef TIDEGATE_TOOLS_SUMMARY_H_
#define TIDEGATE_TOOLS_SUMMARY_H_

#include <string>

#include "tidegate/plugins.h"
#include "tidegate/simulator.h"
#include "tools/output.h"

namespace tidegate::tools {

// requests, finished, rejected, cancelled, out_of_memory, chunks, tokens_per_s,
// ttft_p50_s, ttft_p99_s, peak_bytes, ceiling_bytes, refusals {code: count};
// span_s; ttft_p90_s; e2e_* and itl_* as p50, p90 and p99; slo_ttft_s,
// slo_itl_s, good_requests, goodput_per_s; and what the prefix cache did.
// Keys are put into the object that is open.
void PutSummary(const SimulationResult& result, JsonWriter& json);

// `plugins`: one object for each, where there are any.
void PutPlugins(const std::vector<PluginReport>& plugins, JsonWriter& json);
// The same for people; nothing where there are none.
std::string PluginTable(const std::vector<PluginReport>& plugins);

std::string SummaryTable(const SimulationResult& result);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_SUMMARY_H_
