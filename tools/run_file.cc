// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/run_file.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "tools/summary.h"

namespace tidegate::tools {
namespace {

using nlohmann::json;

void PutRecords(const std::vector<RequestRecord>& records, JsonWriter& json) {
  json.BeginObject("records");
  json.BeginArray("columns");
  for (const char* column :
       {"arrival_s", "prompt_tokens", "output_tokens", "outcome", "refusal",
        "ttft_s", "itl_s", "e2e_s"}) {
    json.Put("", column);
  }
  json.End();
  json.BeginArray("rows");
  const auto seconds = [&json](const std::optional<double>& value) {
    value.has_value() ? json.Put("", *value) : json.PutNull("");
  };
  for (const RequestRecord& record : records) {
    json.BeginArray("");
    json.Put("", record.arrival_s);
    json.Put("", record.prompt_tokens);
    json.Put("", record.output_tokens);
    json.Put("", RequestOutcomeName(record.outcome));
    if (record.refusal == RefusalCode::kNone) {
      json.PutNull("");
    } else {
      json.Put("", RefusalCodeName(record.refusal));
    }
    seconds(record.ttft_s);
    seconds(record.itl_s);
    json.Put("", record.end_to_end_s);
    json.End();
  }
  json.End();
  json.End();
}

// Members of one object: the first that is missing or of another type spoils
// the whole.
class Reader {
 public:
  explicit Reader(const json& object) : object_(object) {
    if (!object.is_object()) good_ = false;
  }

  Reader& Read(const char* key, std::int64_t* to) {
    const json* value = Find(key);
    if (value == nullptr || !value->is_number_integer()) return Spoiled();
    *to = value->get<std::int64_t>();
    return *this;
  }
  Reader& Read(const char* key, double* to) {
    const json* value = Find(key);
    if (value == nullptr || !value->is_number()) return Spoiled();
    *to = value->get<double>();
    return *this;
  }
  Reader& Read(const char* key, bool* to) {
    const json* value = Find(key);
    if (value == nullptr || !value->is_boolean()) return Spoiled();
    *to = value->get<bool>();
    return *this;
  }
  Reader& Read(const char* key, std::string* to) {
    const json* value = Find(key);
    if (value == nullptr || !value->is_string()) return Spoiled();
    *to = value->get<std::string>();
    return *this;
  }
  Reader& Read(const char* key, Curve* to) {
    const json* value = Find(key);
    if (value == nullptr || !value->is_array()) return Spoiled();
    for (const json& point : *value) {
      if (!point.is_array() || point.size() != 2 || !point[0].is_number() ||
          !point[1].is_number()) {
        return Spoiled();
      }
      to->x.push_back(point[0].get<double>());
      to->y.push_back(point[1].get<double>());
    }
    return *this;
  }
  // The member, or null where there is none.
  const json* Find(const char* key) const {
    if (!good_) return nullptr;
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }
  Reader& Spoiled() {
    good_ = false;
    return *this;
  }
  bool good() const { return good_; }

 private:
  const json& object_;
  bool good_ = true;
};

// PutSummary, read back.
bool ReadSummary(Reader& reader, SimulationResult* result) {
  reader.Read("requests", &result->requests)
      .Read("finished", &result->finished)
      .Read("rejected", &result->rejected)
      .Read("cancelled", &result->cancelled)
      .Read("out_of_memory", &result->out_of_memory)
      .Read("chunks", &result->chunks)
      .Read("tokens_per_s", &result->tokens_per_s)
      .Read("ttft_p50_s", &result->ttft_p50_s)
      .Read("ttft_p99_s", &result->ttft_p99_s)
      .Read("peak_bytes", &result->peak_bytes)
      .Read("ceiling_bytes", &result->ceiling_bytes)
      .Read("span_s", &result->span_s)
      .Read("ttft_p90_s", &result->ttft_p90_s)
      .Read("e2e_p50_s", &result->end_to_end_s.p50)
      .Read("e2e_p90_s", &result->end_to_end_s.p90)
      .Read("e2e_p99_s", &result->end_to_end_s.p99)
      .Read("itl_p50_s", &result->itl_s.p50)
      .Read("itl_p90_s", &result->itl_s.p90)
      .Read("itl_p99_s", &result->itl_s.p99)
      .Read("slo_ttft_s", &result->service_levels.ttft_s)
      .Read("slo_itl_s", &result->service_levels.itl_s)
      .Read("good_requests", &result->good_requests)
      .Read("goodput_per_s", &result->goodput_per_s)
      .Read("computed_tokens", &result->computed_tokens)
      .Read("cache_hit_tokens", &result->cache_hit_tokens)
      .Read("cache_recomputed_tokens", &result->cache_recomputed_tokens)
      .Read("cache_evicted_blocks", &result->cache_evicted_blocks);
  const json* refusals = reader.Find("refusals");
  if (refusals == nullptr || !refusals->is_object()) return false;
  for (const auto& [code, count] : refusals->items()) {
    if (!count.is_number_integer()) return false;
    result->refusals[code] = count.get<std::int64_t>();
  }
  return true;
}

// PutPlugins, read back; there may be none.
bool ReadPlugins(const Reader& run, std::vector<PluginReport>* reports) {
  const json* plugins = run.Find("plugins");
  if (plugins == nullptr) return true;
  if (!plugins->is_array()) return false;
  for (const json& plugin : *plugins) {
    PluginReport& report = reports->emplace_back();
    Reader reader(plugin);
    reader.Read("kind", &report.kind)
        .Read("name", &report.name)
        .Read("version", &report.version)
        .Read("file", &report.file)
        .Read("calls", &report.calls)
        .Read("faults", &report.faults)
        .Read("first_fault", &report.first_fault)
        .Read("slow_calls", &report.slow_calls)
        .Read("fallback", &report.fallback)
        .Read("replaced", &report.replaced);
    if (!reader.good()) return false;
  }
  return true;
}

}  // namespace

void Fingerprint::Add(std::string_view bytes) {
  Add(static_cast<std::int64_t>(bytes.size()));
  for (const char c : bytes) {
    hash_ = (hash_ ^ static_cast<unsigned char>(c)) * 1'099'511'628'211u;
  }
}

void Fingerprint::Add(std::int64_t number) {
  for (int i = 0; i < 8; ++i) {
    const auto byte = (static_cast<std::uint64_t>(number) >> (8 * i)) & 0xff;
    hash_ = (hash_ ^ byte) * 1'099'511'628'211u;
  }
}

std::string Fingerprint::Hex() const {
  std::string text;
  for (int i = 60; i >= 0; i -= 4) {
    text += "0123456789abcdef"[(hash_ >> i) & 0xf];
  }
  return text;
}

std::string RunFileText(const ReportRun& row, std::string_view inputs) {
  JsonWriter json;
  PutRun(row, json);
  json.Put("inputs", inputs);
  if (row.result.has_value()) {
    PutCharts("charts", row.charts, json);
    PutRecords(row.result->records, json);
  }
  return json.ToLine() + "\n";
}

bool ReadRunFile(const std::filesystem::path& path, std::string_view inputs,
                 ReportRun* row) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return false;
  // One row a request may be most of the file, and is not needed.
  const auto skip_records = [](int depth, json::parse_event_t event,
                               json& parsed) {
    return !(depth == 1 && event == json::parse_event_t::key &&
             parsed == "records");
  };
  const json file = json::parse(in, skip_records, /*allow_exceptions=*/false);
  if (file.is_discarded()) return false;
  Reader reader(file);
  ReportRun found;
  std::string fingerprint;
  reader.Read("policy", &found.policy)
      .Read("trace", &found.trace)
      .Read("ceiling_bytes", &found.ceiling_bytes)
      .Read("load", &found.load)
      .Read("seed", &found.seed)
      .Read("inputs", &fingerprint);
  const bool same = found.policy == row->policy && found.trace == row->trace &&
                    found.ceiling_bytes == row->ceiling_bytes &&
                    found.load == row->load && found.seed == row->seed &&
                    fingerprint == inputs;
  if (!reader.good() || !same) return false;
  found.result.emplace();
  if (!ReadSummary(reader, &*found.result) ||
      !ReadPlugins(reader, &found.plugins)) {
    return false;
  }
  const json* charts = reader.Find("charts");
  if (charts == nullptr) return false;
  Reader curves(*charts);
  curves.Read("live", &found.charts.live)
      .Read("peak", &found.charts.peak)
      .Read("width", &found.charts.width)
      .Read("ttft", &found.charts.ttft)
      .Read("itl", &found.charts.itl);
  if (!reader.good() || !curves.good()) return false;
  *row = std::move(found);
  return true;
}

}  // namespace tidegate::tools
