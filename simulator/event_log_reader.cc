// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/event_log_reader.h"

#include <nlohmann/json.hpp>
#include <string>

#include "tidegate/catalogue.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

using Json = nlohmann::json;

std::int64_t Int(const Json& line, const char* key) {
  return line.at(key).get<std::int64_t>();
}
std::uint64_t Id(const Json& line, const char* key) {
  return line.at(key).get<std::uint64_t>();
}
std::string Text(const Json& line, const char* key) {
  return line.at(key).get<std::string>();
}
std::optional<std::int64_t> Optional(const Json& line, const char* key) {
  if (!line.contains(key)) return std::nullopt;
  return Int(line, key);
}

Bound ReadBound(const std::string& name) {
  for (const Bound bound : {Bound::kPrompt, Bound::kMaximum, Bound::kMemory,
                            Bound::kPlan, Bound::kTime}) {
    if (BoundName(bound) == name) return bound;
  }
  TG_CHECK(false);
  return Bound::kPrompt;
}

RefusalCode ReadCode(const std::string& name) {
  for (const RefusalCode code :
       {RefusalCode::kNone, RefusalCode::kTooLarge, RefusalCode::kOverloaded,
        RefusalCode::kUnsupported}) {
    if (RefusalCodeName(code) == name) return code;
  }
  TG_CHECK(false);
  return RefusalCode::kNone;
}

Event ReadEvent(const std::string& name, const Json& line) {
  if (name == "arrive") {
    Arrive event{
        .id = Id(line, "id"),
        .request = {.prompt_tokens = Int(line, "prompt_tokens"),
                    .cached_tokens = Int(line, "cached_tokens"),
                    .max_output_tokens = Int(line, "max_output_tokens")},
        .priority = Int(line, "priority"),
        .prefix_bytes = Int(line, "prefix_bytes")};
    event.request.mask = ParseMask(Text(line, "mask")).value();
    return event;
  }
  if (name == "prefix_changed") {
    return PrefixChanged{.id = Id(line, "id"),
                         .cached_tokens = Int(line, "cached_tokens"),
                         .prefix_bytes = Int(line, "prefix_bytes")};
  }
  if (name == "step_done") {
    StepDone event{.step = Id(line, "step"),
                   .peak_bytes = Optional(line, "peak_bytes"),
                   .live_bytes = Optional(line, "live_bytes")};
    if (const auto took = Optional(line, "took")) event.took = Duration(*took);
    return event;
  }
  if (name == "step_failed") {
    const bool memory = Text(line, "why") == "out_of_memory";
    return StepFailed{
        .step = Id(line, "step"),
        .why = memory ? StepFailure::kOutOfMemory : StepFailure::kOther};
  }
  if (name == "decode_progress") {
    return DecodeProgress{.id = Id(line, "id"), .tokens = Int(line, "tokens")};
  }
  if (name == "finished") return Finished{.id = Id(line, "id")};
  if (name == "cancel") return Cancel{.id = Id(line, "id")};
  if (name == "memory_reading") {
    return MemoryReading{line.at("live_bytes").get<std::vector<Bytes>>()};
  }
  if (name == "ceiling_changed") return CeilingChanged{Int(line, "ceiling")};
  if (name == "reclaimable") {
    return Reclaimable{.kind = Text(line, "kind"), .bytes = Int(line, "bytes")};
  }
  if (name == "reclaim_done") {
    return ReclaimDone{.reclaim = Id(line, "reclaim"),
                       .freed_bytes = Int(line, "freed_bytes")};
  }
  if (name == "release_pending") return ReleasePending{Int(line, "bytes")};
  if (name == "released") return Released{Int(line, "bytes")};
  if (name == "observe") {
    return Observe{.chunk = {.n = Int(line, "n"),
                             .kv_len = Int(line, "kv_len"),
                             .mask = ParseMask(Text(line, "mask")).value()},
                   .transient_bytes = Int(line, "transient_bytes")};
  }
  TG_CHECK(name == "wake");
  return Wake{};
}

RunStep ReadStep(const Json& line) {
  RunStep step{.step = Id(line, "step")};
  for (const Json& chunk : line.at("chunks")) {
    step.chunks.push_back({.id = Id(chunk, "id"),
                           .start = Int(chunk, "start"),
                           .n = Int(chunk, "n"),
                           .kv_len = Int(chunk, "kv_len"),
                           .bound = ReadBound(Text(chunk, "bound"))});
  }
  if (line.contains("decodes")) {
    step.decodes = line.at("decodes").get<std::vector<RequestId>>();
  }
  step.price.transient_bytes = Int(line, "transient_bytes");
  step.price.resident_bytes = Int(line, "resident_bytes");
  step.room_bytes = Int(line, "room_bytes");
  return step;
}

Action ReadAction(const std::string& name, const Json& line) {
  if (name == "run_step") return ReadStep(line);
  if (name == "admit") {
    return Admit{.id = Id(line, "id"), .claim_bytes = Int(line, "claim_bytes")};
  }
  if (name == "reject") {
    Reject reject{.id = Id(line, "id"),
                  .code = ReadCode(Text(line, "code")),
                  .reason = Text(line, "reason")};
    reject.largest_prompt_that_fits = Int(line, "largest_prompt_that_fits");
    return reject;
  }
  if (name == "reclaim") {
    return Reclaim{.reclaim = Id(line, "reclaim"),
                   .kind = Text(line, "kind"),
                   .bytes = Int(line, "bytes")};
  }
  if (name == "preempt") return Preempt{.id = Id(line, "id")};
  if (name == "start_decode") return StartDecode{.id = Id(line, "id")};
  if (name == "cancelled") return Cancelled{.id = Id(line, "id")};
  TG_CHECK(name == "wake_at");
  return WakeAt{.when = Instant(Duration(Int(line, "when")))};
}

}  // namespace

void EventLogReader::Read(std::string_view text) {
  const Json line = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  TG_CHECK(line.is_object());
  if (line.contains("action")) {
    actions_.push_back(ReadAction(Text(line, "action"), line));
    return;
  }
  Finish();
  now_ = Instant(Duration(Int(line, "t")));
  event_ = ReadEvent(Text(line, "event"), line);
}

void EventLogReader::Finish() {
  if (!event_.has_value()) return;
  SchedulerStats stats;
  if (scheduler_ != nullptr) stats = scheduler_->Stats();
  observer_({now_, *event_, actions_, stats});
  event_.reset();
  actions_.clear();
}

}  // namespace tidegate::internal
