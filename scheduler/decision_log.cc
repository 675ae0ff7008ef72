// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/decision_log.h"

#include <variant>

#include "scheduler/json_text.h"
#include "tidegate/catalogue.h"
#include "tidegate/plan.h"

namespace tidegate {
namespace {

using internal::JsonText;

struct EventNames {
  std::string_view operator()(const Arrive&) { return "arrive"; }
  std::string_view operator()(const StepDone&) { return "step_done"; }
  std::string_view operator()(const StepFailed&) { return "step_failed"; }
  std::string_view operator()(const DecodeProgress&) {
    return "decode_progress";
  }
  std::string_view operator()(const Finished&) { return "finished"; }
  std::string_view operator()(const Cancel&) { return "cancel"; }
  std::string_view operator()(const MemoryReading&) { return "memory_reading"; }
  std::string_view operator()(const CeilingChanged&) {
    return "ceiling_changed";
  }
  std::string_view operator()(const Wake&) { return "wake"; }
  std::string_view operator()(const PrefixChanged&) { return "prefix_changed"; }
  std::string_view operator()(const Reclaimable&) { return "reclaimable"; }
  std::string_view operator()(const ReclaimDone&) { return "reclaim_done"; }
  std::string_view operator()(const ReleasePending&) {
    return "release_pending";
  }
  std::string_view operator()(const Released&) { return "released"; }
  std::string_view operator()(const Observe&) { return "observe"; }
  std::string_view operator()(const DecodeFailed&) { return "decode_failed"; }
  std::string_view operator()(const PolicyChanged&) { return "policy_changed"; }
};

struct ActionNames {
  std::string_view operator()(const RunStep&) { return "run_step"; }
  std::string_view operator()(const Admit&) { return "admit"; }
  std::string_view operator()(const Reject&) { return "reject"; }
  std::string_view operator()(const Reclaim&) { return "reclaim"; }
  std::string_view operator()(const Preempt&) { return "preempt"; }
  std::string_view operator()(const StartDecode&) { return "start_decode"; }
  std::string_view operator()(const Cancelled&) { return "cancelled"; }
  std::string_view operator()(const WakeAt&) { return "wake_at"; }
};

std::string_view FailureName(StepFailure why) {
  return why == StepFailure::kOutOfMemory ? "out_of_memory" : "other";
}

// The fields of an event or an action, in the order of docs/scheduler.md.
struct Fields {
  JsonText& json;

  template <typename T>
  void List(std::string_view key, const std::vector<T>& values) {
    json.Key(key);
    json.Open('[');
    for (const T& value : values) json.Value(value);
    json.Close(']');
  }
  // Of one device its number, of several their list, of none null.
  void Reading(std::string_view key, const std::vector<Bytes>& bytes) {
    if (bytes.size() > 1) return List(key, bytes);
    json.Member(key, bytes.empty() ? std::nullopt : std::optional(bytes[0]));
  }

  void operator()(const Arrive& event) {
    json.Member("id", event.id);
    json.Member("prompt_tokens", event.request.prompt_tokens);
    json.Member("cached_tokens", event.request.cached_tokens);
    json.Member("max_output_tokens", event.request.max_output_tokens);
    json.Member("mask", MaskName(event.request.mask));
    if (!event.request.encodes.empty()) {
      json.Member("encodes", std::ssize(event.request.encodes));
    }
    json.Member("priority", event.priority);
    json.Member("prefix_bytes", event.prefix_bytes);
  }
  void operator()(const PrefixChanged& event) {
    json.Member("id", event.id);
    json.Member("cached_tokens", event.cached_tokens);
    json.Member("prefix_bytes", event.prefix_bytes);
  }
  void operator()(const StepDone& event) {
    json.Member("step", event.step);
    Reading("peak_bytes", event.peak_bytes);
    Reading("live_bytes", event.live_bytes);
    json.Member("took", event.took);
    if (event.decodes.empty()) return;
    json.Key("decodes");
    json.Open('[');
    for (const DecodeResult& result : event.decodes) {
      json.Open('{');
      json.Member("id", result.id);
      json.Member("tokens", result.tokens);
      json.Member("finished", result.finished);
      json.Close('}');
    }
    json.Close(']');
  }
  void operator()(const StepFailed& event) {
    json.Member("step", event.step);
    json.Member("why", FailureName(event.why));
  }
  void operator()(const DecodeFailed& event) {
    json.Member("id", event.id);
    json.Member("why", FailureName(event.why));
  }
  void operator()(const PolicyChanged&) {}
  void operator()(const DecodeProgress& event) {
    json.Member("id", event.id);
    json.Member("tokens", event.tokens);
  }
  void operator()(const Finished& event) { json.Member("id", event.id); }
  void operator()(const Cancel& event) { json.Member("id", event.id); }
  void operator()(const MemoryReading& event) {
    if (event.kv_blocks.has_value()) {
      json.Member("kv_blocks", *event.kv_blocks);
    }
    if (event.live_bytes.empty()) return;
    List("live_bytes", event.live_bytes);
  }
  void operator()(const CeilingChanged& event) {
    json.Member("ceiling", event.ceiling);
    if (event.rank.has_value()) json.Member("rank", *event.rank);
  }
  void operator()(const Reclaimable& event) {
    json.Member("kind", std::string_view(event.kind));
    json.Member("bytes", event.bytes);
  }
  void operator()(const ReclaimDone& event) {
    json.Member("reclaim", event.reclaim);
    json.Member("freed_bytes", event.freed_bytes);
  }
  void operator()(const ReleasePending& event) {
    json.Member("bytes", event.bytes);
  }
  void operator()(const Released& event) { json.Member("bytes", event.bytes); }
  void operator()(const Observe& event) {
    json.Member("n", event.chunk.n);
    json.Member("kv_len", event.chunk.kv_len);
    json.Member("mask", MaskName(event.chunk.mask));
    json.Member("transient_bytes", event.transient_bytes);
  }
  void operator()(const Wake&) {}

  void operator()(const RunStep& action) {
    json.Member("step", action.step);
    json.Key("chunks");
    json.Open('[');
    for (const StepChunk& chunk : action.chunks) {
      json.Open('{');
      json.Member("id", chunk.id);
      json.Member("start", chunk.start);
      json.Member("n", chunk.n);
      json.Member("kv_len", chunk.kv_len);
      json.Member("bound", BoundName(chunk.bound));
      json.Close('}');
    }
    json.Close(']');
    if (!action.decodes.empty()) List("decodes", action.decodes);
    if (!action.encodes.empty()) {
      json.Key("encodes");
      json.Open('[');
      for (const StepEncode& encode : action.encodes) {
        json.Open('{');
        json.Member("id", encode.id);
        json.Member("item", static_cast<std::int64_t>(encode.item));
        json.Close('}');
      }
      json.Close(']');
    }
    json.Member("transient_bytes", action.price.transient_bytes);
    json.Member("resident_bytes", action.price.resident_bytes);
    json.Member("room_bytes", action.room_bytes);
  }
  void operator()(const Admit& action) {
    json.Member("id", action.id);
    json.Member("claim_bytes", action.claim_bytes);
  }
  void operator()(const Reject& action) {
    json.Member("id", action.id);
    json.Member("code", RefusalCodeName(action.code));
    json.Member("reason", std::string_view(action.reason));
    json.Member("largest_prompt_that_fits", action.largest_prompt_that_fits);
  }
  void operator()(const Reclaim& action) {
    json.Member("reclaim", action.reclaim);
    json.Member("kind", std::string_view(action.kind));
    json.Member("bytes", action.bytes);
  }
  void operator()(const Preempt& action) { json.Member("id", action.id); }
  void operator()(const StartDecode& action) { json.Member("id", action.id); }
  void operator()(const Cancelled& action) { json.Member("id", action.id); }
  void operator()(const WakeAt& action) {
    json.Member("when", action.when.time_since_epoch().count());
  }
};

template <typename Variant>
std::string Line(std::string_view kind, std::string_view name,
                 const Variant& value, Instant now) {
  JsonText json;
  json.Open('{');
  json.Member("t", now.time_since_epoch().count());
  json.Member(kind, name);
  std::visit(Fields{json}, value);
  json.Close('}');
  return json.Take() + '\n';
}

}  // namespace

std::string_view EventName(const Event& event) {
  return std::visit(EventNames{}, event);
}

std::string_view ActionName(const Action& action) {
  return std::visit(ActionNames{}, action);
}

std::string EventLine(const Event& event, Instant now) {
  return Line("event", EventName(event), event, now);
}

std::string ActionLine(const Action& action, Instant now) {
  return Line("action", ActionName(action), action, now);
}

bool IsDecision(const Decision& decision) {
  const Event& event = decision.event;
  const bool background = std::holds_alternative<DecodeProgress>(event) ||
                          std::holds_alternative<MemoryReading>(event) ||
                          std::holds_alternative<Reclaimable>(event) ||
                          std::holds_alternative<Wake>(event);
  if (!background) return true;
  for (const Action& action : decision.actions) {
    if (!std::holds_alternative<WakeAt>(action)) return true;
  }
  return false;
}

std::string DecisionLine(const Decision& decision) {
  JsonText json;
  json.Open('{');
  json.Member("t", decision.now.time_since_epoch().count());
  json.Member("event", EventName(decision.event));
  std::visit(Fields{json}, decision.event);
  json.Key("actions");
  json.Open('[');
  for (const Action& action : decision.actions) {
    json.Open('{');
    json.Member("action", ActionName(action));
    std::visit(Fields{json}, action);
    json.Close('}');
  }
  json.Close(']');
  json.Member("waiting", decision.stats.waiting);
  json.Member("claimed_bytes", decision.stats.claimed_bytes);
  json.Member("resident_bytes", decision.stats.resident_bytes);
  json.Close('}');
  return json.Take() + '\n';
}

}  // namespace tidegate
