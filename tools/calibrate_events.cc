// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/calibrate_events.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "estimators/json_reader.h"
#include "estimators/read_file.h"
#include "estimators/text.h"
#include "tidegate/catalogue.h"
#include "tidegate/estimator.h"
#include "tidegate/status.h"

namespace tidegate::tools {

using internal::Concat;
using internal::InvalidArgument;
using internal::JsonValue;
using internal::ObjectReader;

namespace {

constexpr std::int64_t kAny = std::numeric_limits<std::int64_t>::max();
// A step during which memory moved by more for other reasons measures those.
// Narrower than the scheduler's, which has few samples: a log has many.
constexpr Bytes kUndisturbed = Bytes{4} << 20;

class EventReader {
 public:
  EventReader(const CalibrationRun& run, std::vector<CalibrationRow>* rows)
      : run_(run), rows_(*rows) {}

  absl::Status Line(std::string_view text, const std::string& place) {
    TG_ASSIGN_OR_RETURN(const JsonValue line,
                        internal::ParseJsonObject(text, place));
    ObjectReader in(line, place, "");
    const std::string event = in.StringOrEmpty("event");
    if (event == "arrive") {
      TG_ASSIGN_OR_RETURN(const MaskKind mask, ReadMask(in));
      masks_[in.Int("id", 0, kAny)] = mask;
    } else if (event == "memory_reading") {
      live_ = 0;
      for (const std::int64_t live : in.IntsOrEmpty("live_bytes", 0, kAny)) {
        live_ = std::max(*live_, live);
      }
    } else if (event == "step_done") {
      StepDone(in);
    } else if (event == "observe") {
      Chunk chunk;
      chunk.n = in.Int("n", 1, kTokensMax);
      chunk.kv_len = in.Int("kv_len", chunk.n, kTokensMax);
      TG_ASSIGN_OR_RETURN(chunk.mask, ReadMask(in));
      const Bytes measured = in.Int("transient_bytes", 0, kAny);
      if (in.ok()) Add(chunk, measured);
    } else if (in.StringOrEmpty("action") == "run_step") {
      RunStep(line, in);
    } else if (event.empty() && !in.Has("action")) {
      in.Fail("event", "an event or an action of a run", "neither");
    }
    return in.status();
  }

 private:
  struct Running {
    std::int64_t step = 0;
    Chunk chunk;
    std::optional<Bytes> live_before;
  };

  static absl::StatusOr<MaskKind> ReadMask(ObjectReader& in) {
    const std::string word = in.StringOrEmpty("mask");
    if (word.empty()) return MaskKind::kCausal;
    if (const std::optional<MaskKind> mask = ParseMask(word)) return *mask;
    in.FailAt("mask", "none, causal, bool, float, array or lower_right");
    return in.status();
  }

  void RunStep(const JsonValue& line, ObjectReader& in) {
    running_.reset();
    const JsonValue* chunks = line.Find("chunks");
    if (chunks == nullptr || chunks->type != JsonValue::Type::kArray) {
      in.FailAt("chunks", "an array");
      return;
    }
    // Chunks that share a step share its peak, and encoders have a share of it.
    if (chunks->items.size() != 1 || line.Find("encodes") != nullptr) return;
    ObjectReader chunk(chunks->items.front(), in.file(), "chunks.");
    Running running;
    running.step = in.Int("step", 0, kAny);
    running.chunk.n = chunk.Int("n", 1, kTokensMax);
    running.chunk.kv_len = chunk.Int("kv_len", running.chunk.n, kTokensMax);
    const auto mask = masks_.find(chunk.Int("id", 0, kAny));
    if (mask != masks_.end()) running.chunk.mask = mask->second;
    in.Absorb(chunk);
    running.live_before = live_;
    running_ = running;
  }

  void StepDone(ObjectReader& in) {
    const std::optional<Running> done = std::exchange(running_, std::nullopt);
    const bool measured = in.Has("peak_bytes") && in.Has("live_bytes");
    const Bytes peak = measured ? in.Int("peak_bytes", 0, kAny) : 0;
    const Bytes live = measured ? in.Int("live_bytes", 0, kAny) : 0;
    const std::int64_t step = in.Int("step", 0, kAny);
    if (!in.ok() || !measured) return;
    live_ = live;
    if (!done.has_value() || done->step != step ||
        !done->live_before.has_value()) {
      return;
    }
    const Bytes grown =
        run_.estimator->Total({.chunks = {&done->chunk, 1}}).resident_bytes;
    const Bytes moved = live - *done->live_before - grown;
    if (moved > kUndisturbed || moved < -kUndisturbed) return;
    Add(done->chunk, std::max<Bytes>(0, peak - *done->live_before - grown));
  }

  void Add(const Chunk& chunk, Bytes measured) {
    const StepQuery step{.chunks = {&chunk, 1}};
    rows_.push_back(
        {.engine = run_.engine,
         .model = run_.model,
         .label = "",
         .route = run_.estimator->RouteName(step),
         .price = {.n = chunk.n,
                   .kv_len = chunk.kv_len,
                   .static_bytes = run_.estimator->Total(step).transient_bytes,
                   .measured_bytes = measured}});
  }

  const CalibrationRun& run_;
  std::vector<CalibrationRow>& rows_;
  std::map<std::int64_t, MaskKind> masks_;
  std::optional<Bytes> live_;
  std::optional<Running> running_;
};

}  // namespace

absl::Status ReadCalibrationEvents(const std::string& file,
                                   const CalibrationRun* run,
                                   std::vector<CalibrationRow>* rows) {
  if (run == nullptr) {
    return InvalidArgument(
        file,
        ": an event log does not say what ran: expected --policy, or --model "
        "and --engine");
  }
  TG_ASSIGN_OR_RETURN(const std::string text,
                      internal::ReadFile(file, "event log"));
  EventReader reader(*run, rows);
  std::string_view rest = text;
  for (std::size_t line = 1; !rest.empty(); ++line) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view one = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (one.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    TG_RETURN_IF_ERROR(reader.Line(one, Concat(file, ":", line)));
  }
  return absl::OkStatus();
}

}  // namespace tidegate::tools
