// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Mooncake's traces (kvcache-ai/Mooncake, FAST'25): one JSON object a line,
//   {"timestamp": 27, "input_length": 6758, "output_length": 500,
//    "hash_ids": [0, 1, …]}
// with the time in milliseconds and one id for each block of 512 prompt tokens,
// the last of which may be partial. An id stands for its block and everything
// before it.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "estimators/json_reader.h"
#include "estimators/text.h"
#include "simulator/trace_fields.h"
#include "simulator/trace_format.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

constexpr Tokens kBlockTokens = 512;

class MooncakeFormat final : public TraceFormat {
 public:
  explicit MooncakeFormat(std::string_view file) : file_(file) {}
  std::string_view TimeColumn() const override { return "timestamp"; }

  absl::Status Line(std::int64_t line, std::string_view text,
                    Trace* trace) override {
    const std::string place = Concat(file_, ":", line);
    TG_ASSIGN_OR_RETURN(const JsonValue object, ParseJsonObject(text, place));
    ObjectReader reader(object, place, "");
    TraceRow row;
    const Duration time = ReadTime(reader);
    row.prompt_tokens = reader.Int("input_length", 1, kTokensMax);
    row.output_tokens = reader.Int("output_length", 0, kTokensMax);
    if (!reader.Has("hash_ids")) reader.FailAt("hash_ids", "a list of ids");
    const std::vector<std::int64_t> ids = reader.IntsOrEmpty(
        "hash_ids", 0, std::numeric_limits<std::int64_t>::max());
    const std::int64_t blocks = CeilDiv(row.prompt_tokens, kBlockTokens);
    if (reader.ok() && static_cast<std::int64_t>(ids.size()) != blocks) {
      reader.Fail("hash_ids",
                  Concat(blocks, " ids, one for each ", kBlockTokens,
                         " tokens of input_length"),
                  Concat(static_cast<std::int64_t>(ids.size())));
    }
    if (trace->rows.empty()) start_ = time;
    row.arrival = Instant(time - start_);
    if (!trace->rows.empty() && row.arrival < trace->rows.back().arrival) {
      reader.FailAt("timestamp", "no time before that of the line above");
    }
    TG_RETURN_IF_ERROR(reader.status());
    FindPrefix(ids, &row);
    trace->rows.push_back(row);
    return absl::OkStatus();
  }

 private:
  static Duration ReadTime(ObjectReader& reader) {
    const JsonValue* value = reader.Find("timestamp");
    const bool number =
        value != nullptr && (value->type == JsonValue::Type::kInt ||
                             value->type == JsonValue::Type::kNumber);
    if (!number || !(value->number >= 0) ||
        value->number > 1e3 * static_cast<double>(kArrivalSecondsMax)) {
      reader.FailAt("timestamp", "milliseconds of at least 0");
      return {};
    }
    if (value->type == JsonValue::Type::kInt) {
      return std::chrono::milliseconds(value->integer);
    }
    return Duration(std::llround(value->number * 1e6));
  }

  // What an earlier request had computed, if nothing was ever dropped. All
  // requests may share block 0, a system prompt: only deeper blocks say that
  // two of them belong together.
  void FindPrefix(const std::vector<std::int64_t>& ids, TraceRow* row) {
    std::size_t seen = 0;
    while (seen < ids.size() && sessions_.contains(ids[seen])) ++seen;
    row->cached_tokens = std::min(static_cast<Tokens>(seen) * kBlockTokens,
                                  row->prompt_tokens - 1);
    row->session =
        seen >= 2 ? sessions_.find(ids[seen - 1])->second : next_session_++;
    for (const std::int64_t id : ids) sessions_.try_emplace(id, row->session);
  }

  std::string_view file_;
  Duration start_{};
  // Session of the request that had the block first; never walked.
  absl::flat_hash_map<std::int64_t, std::int64_t> sessions_;
  std::int64_t next_session_ = 0;
};

}  // namespace

std::unique_ptr<TraceFormat> MakeMooncakeFormat(std::string_view file) {
  return std::make_unique<MooncakeFormat>(file);
}

}  // namespace tidegate::internal
