// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/summary.h"

#include "estimators/text.h"

namespace tidegate::tools {

using internal::Concat;
using internal::FormatBytes;

void PutSummary(const SimulationResult& result, JsonWriter& json) {
  json.Put("requests", result.requests);
  json.Put("finished", result.finished);
  json.Put("rejected", result.rejected);
  json.Put("cancelled", result.cancelled);
  json.Put("out_of_memory", result.out_of_memory);
  json.Put("chunks", result.chunks);
  json.Put("tokens_per_s", result.tokens_per_s);
  json.Put("ttft_p50_s", result.ttft_p50_s);
  json.Put("ttft_p99_s", result.ttft_p99_s);
  json.Put("peak_bytes", result.peak_bytes);
  json.Put("ceiling_bytes", result.ceiling_bytes);
  json.BeginObject("refusals");
  for (const auto& [code, count] : result.refusals) json.Put(code, count);
  json.End();
  json.Put("span_s", result.span_s);
  json.Put("ttft_p90_s", result.ttft_p90_s);
  json.Put("e2e_p50_s", result.end_to_end_s.p50);
  json.Put("e2e_p90_s", result.end_to_end_s.p90);
  json.Put("e2e_p99_s", result.end_to_end_s.p99);
  json.Put("itl_p50_s", result.itl_s.p50);
  json.Put("itl_p90_s", result.itl_s.p90);
  json.Put("itl_p99_s", result.itl_s.p99);
  json.Put("slo_ttft_s", result.service_levels.ttft_s);
  json.Put("slo_itl_s", result.service_levels.itl_s);
  json.Put("good_requests", result.good_requests);
  json.Put("goodput_per_s", result.goodput_per_s);
  json.Put("computed_tokens", result.computed_tokens);
  json.Put("cache_hit_tokens", result.cache_hit_tokens);
  json.Put("cache_recomputed_tokens", result.cache_recomputed_tokens);
  json.Put("cache_evicted_blocks", result.cache_evicted_blocks);
}

void PutPlugins(const std::vector<PluginReport>& plugins, JsonWriter& json) {
  if (plugins.empty()) return;
  json.BeginArray("plugins");
  for (const PluginReport& plugin : plugins) {
    json.BeginObject();
    json.Put("kind", plugin.kind);
    json.Put("name", plugin.name);
    json.Put("version", plugin.version);
    json.Put("file", plugin.file);
    json.Put("calls", plugin.calls);
    json.Put("faults", plugin.faults);
    json.Put("first_fault", plugin.first_fault);
    json.Put("slow_calls", plugin.slow_calls);
    json.Put("fallback", plugin.fallback);
    json.Put("replaced", plugin.replaced);
    json.End();
  }
  json.End();
}

std::string PluginTable(const std::vector<PluginReport>& plugins) {
  if (plugins.empty()) return "";
  TextTable table(
      {"plug-in", "", "calls", "faults", ""},
      {Align::kLeft, Align::kLeft, Align::kRight, Align::kRight, Align::kLeft});
  for (const PluginReport& plugin : plugins) {
    table.Add({plugin.kind, Concat(plugin.name, " ", plugin.version),
               Grouped(plugin.calls), Grouped(plugin.faults),
               plugin.replaced     ? Concat("replaced by ", plugin.fallback)
               : plugin.faults > 0 ? Concat("overruled by ", plugin.fallback)
                                   : ""});
  }
  return "\n" + table.ToString();
}

std::string SummaryTable(const SimulationResult& result) {
  TextTable table({"result", "", ""},
                  {Align::kLeft, Align::kRight, Align::kLeft});
  const auto add = [&](std::string name, std::string value,
                       std::string note = "") {
    table.Add({std::move(name), std::move(value), std::move(note)});
  };
  add("requests", Grouped(result.requests));
  add("  finished", Grouped(result.finished));
  std::string codes;
  for (const auto& [code, count] : result.refusals) {
    codes += Concat(codes.empty() ? "" : ", ", Grouped(count), " ", code);
  }
  add("  rejected", Grouped(result.rejected), codes);
  add("  cancelled", Grouped(result.cancelled));
  add("out of memory", Grouped(result.out_of_memory),
      result.out_of_memory > 0 ? "chunks that the engine could not run" : "");
  add("chunks", Grouped(result.chunks));
  add("tokens computed", Grouped(result.computed_tokens),
      Concat(Number(result.tokens_per_s, 1), " a second over ",
             Number(result.span_s, 1), " s"));
  add("TTFT, median", Concat(Number(result.ttft_p50_s, 3), " s"));
  add("TTFT, 99th percentile", Concat(Number(result.ttft_p99_s, 3), " s"));
  add("end to end, median", Concat(Number(result.end_to_end_s.p50, 3), " s"),
      Concat(Number(result.end_to_end_s.p99, 3), " s at the 99th percentile"));
  add("between tokens, 99th", Concat(Number(result.itl_s.p99, 3), " s"));
  add("goodput", Number(result.goodput_per_s, 3),
      Concat("a second: ", Grouped(result.good_requests),
             " requests with TTFT <= ", Decimal(result.service_levels.ttft_s),
             " s and ", Decimal(result.service_levels.itl_s),
             " s between tokens"));
  const double share = result.ceiling_bytes > 0
                           ? 100.0 * static_cast<double>(result.peak_bytes) /
                                 static_cast<double>(result.ceiling_bytes)
                           : 0;
  add("peak memory", FormatBytes(result.peak_bytes),
      Concat(Number(share, 1), " % of the ceiling of ",
             FormatBytes(result.ceiling_bytes)));
  if (result.cache_hit_tokens > 0 || result.cache_recomputed_tokens > 0) {
    add("cached tokens hit", Grouped(result.cache_hit_tokens),
        Concat(Grouped(result.cache_recomputed_tokens),
               " more could have been, and were computed again"));
    add("blocks evicted", Grouped(result.cache_evicted_blocks));
  }
  return table.ToString();
}

}  // namespace tidegate::tools
