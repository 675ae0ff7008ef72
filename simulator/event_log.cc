// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/event_log.h"

#include <concepts>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>

#include "tidegate/catalogue.h"
#include "tidegate/plan.h"

namespace tidegate::internal {
namespace {

// Writes one flat object; lists are written by the caller with Raw().
class Line {
 public:
  Line(Instant now, std::string_view kind, std::string_view name) {
    text_ = "{\"t\":";
    text_ += std::to_string(now.time_since_epoch().count());
    Text(kind, name);
  }

  void Key(std::string_view key) {
    text_ += ",\"";
    text_ += key;
    text_ += "\":";
  }
  void Number(std::string_view key, std::int64_t value) {
    Key(key);
    text_ += std::to_string(value);
  }
  void Id(std::string_view key, std::uint64_t value) {
    Key(key);
    text_ += std::to_string(value);
  }
  void Text(std::string_view key, std::string_view value) {
    Key(key);
    AppendQuoted(value);
  }
  template <typename T>
  void Optional(std::string_view key, const std::optional<T>& value) {
    if (!value.has_value()) return;
    if constexpr (std::same_as<T, Duration>) {
      Number(key, value->count());
    } else {
      Number(key, *value);
    }
  }
  void Raw(std::string_view text) { text_ += text; }
  void Raw(std::int64_t value) { text_ += std::to_string(value); }

  std::string Take() {
    text_ += "}\n";
    return std::move(text_);
  }

 private:
  void AppendQuoted(std::string_view value) {
    constexpr char kDigits[] = "0123456789abcdef";
    text_ += '"';
    for (const char c : value) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') {
        text_ += '\\';
        text_ += c;
      } else if (byte < 0x20) {
        text_ += "\\u00";
        text_ += kDigits[byte >> 4];
        text_ += kDigits[byte & 15];
      } else {
        text_ += c;
      }
    }
    text_ += '"';
  }

  std::string text_;
};

void WriteChunk(const Chunk& chunk, Line& line) {
  line.Number("n", chunk.n);
  line.Number("kv_len", chunk.kv_len);
  line.Text("mask", MaskName(chunk.mask));
}

std::string_view FailureName(StepFailure why) {
  return why == StepFailure::kOutOfMemory ? "out_of_memory" : "other";
}

template <typename T>
void WriteList(const std::vector<T>& values, Line& line) {
  line.Raw("[");
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) line.Raw(",");
    line.Raw(std::to_string(values[i]));
  }
  line.Raw("]");
}

// Of one device its number, of several their list, of none null.
void WriteReading(std::string_view key, const std::vector<Bytes>& bytes,
                  Line& line) {
  if (bytes.size() > 1) {
    line.Key(key);
    WriteList(bytes, line);
    return;
  }
  line.Optional(key, bytes.empty() ? std::nullopt : std::optional(bytes[0]));
}

struct EventWriter {
  Instant now;

  Line Begin(std::string_view name) const { return {now, "event", name}; }

  std::string operator()(const Arrive& event) const {
    Line line = Begin("arrive");
    line.Id("id", event.id);
    line.Number("prompt_tokens", event.request.prompt_tokens);
    line.Number("cached_tokens", event.request.cached_tokens);
    line.Number("max_output_tokens", event.request.max_output_tokens);
    line.Text("mask", MaskName(event.request.mask));
    line.Number("priority", event.priority);
    line.Number("prefix_bytes", event.prefix_bytes);
    return line.Take();
  }
  std::string operator()(const PrefixChanged& event) const {
    Line line = Begin("prefix_changed");
    line.Id("id", event.id);
    line.Number("cached_tokens", event.cached_tokens);
    line.Number("prefix_bytes", event.prefix_bytes);
    return line.Take();
  }
  std::string operator()(const StepDone& event) const {
    Line line = Begin("step_done");
    line.Id("step", event.step);
    WriteReading("peak_bytes", event.peak_bytes, line);
    WriteReading("live_bytes", event.live_bytes, line);
    line.Optional("took", event.took);
    if (event.decodes.empty()) return line.Take();
    line.Key("decodes");
    line.Raw("[");
    for (std::size_t i = 0; i < event.decodes.size(); ++i) {
      const DecodeResult& result = event.decodes[i];
      line.Raw(i > 0 ? ",{\"id\":" : "{\"id\":");
      line.Raw(std::to_string(result.id));
      line.Number("tokens", result.tokens);
      line.Key("finished");
      line.Raw(result.finished ? "true}" : "false}");
    }
    line.Raw("]");
    return line.Take();
  }
  std::string operator()(const StepFailed& event) const {
    Line line = Begin("step_failed");
    line.Id("step", event.step);
    line.Text("why", FailureName(event.why));
    return line.Take();
  }
  std::string operator()(const DecodeFailed& event) const {
    Line line = Begin("decode_failed");
    line.Id("id", event.id);
    line.Text("why", FailureName(event.why));
    return line.Take();
  }
  std::string operator()(const PolicyChanged&) const {
    return Begin("policy_changed").Take();
  }
  std::string operator()(const DecodeProgress& event) const {
    Line line = Begin("decode_progress");
    line.Id("id", event.id);
    line.Number("tokens", event.tokens);
    return line.Take();
  }
  std::string operator()(const Finished& event) const {
    Line line = Begin("finished");
    line.Id("id", event.id);
    return line.Take();
  }
  std::string operator()(const Cancel& event) const {
    Line line = Begin("cancel");
    line.Id("id", event.id);
    return line.Take();
  }
  std::string operator()(const MemoryReading& event) const {
    Line line = Begin("memory_reading");
    line.Key("live_bytes");
    WriteList(event.live_bytes, line);
    return line.Take();
  }
  std::string operator()(const CeilingChanged& event) const {
    Line line = Begin("ceiling_changed");
    line.Number("ceiling", event.ceiling);
    if (event.rank.has_value()) {
      line.Number("rank", static_cast<std::int64_t>(*event.rank));
    }
    return line.Take();
  }
  std::string operator()(const Reclaimable& event) const {
    Line line = Begin("reclaimable");
    line.Text("kind", event.kind);
    line.Number("bytes", event.bytes);
    return line.Take();
  }
  std::string operator()(const ReclaimDone& event) const {
    Line line = Begin("reclaim_done");
    line.Id("reclaim", event.reclaim);
    line.Number("freed_bytes", event.freed_bytes);
    return line.Take();
  }
  std::string operator()(const ReleasePending& event) const {
    Line line = Begin("release_pending");
    line.Number("bytes", event.bytes);
    return line.Take();
  }
  std::string operator()(const Released& event) const {
    Line line = Begin("released");
    line.Number("bytes", event.bytes);
    return line.Take();
  }
  std::string operator()(const Observe& event) const {
    Line line = Begin("observe");
    WriteChunk(event.chunk, line);
    line.Number("transient_bytes", event.transient_bytes);
    return line.Take();
  }
  std::string operator()(const Wake&) const { return Begin("wake").Take(); }
};

struct ActionWriter {
  Instant now;

  Line Begin(std::string_view name) const { return {now, "action", name}; }

  std::string operator()(const RunStep& action) const {
    Line line = Begin("run_step");
    line.Id("step", action.step);
    line.Key("chunks");
    line.Raw("[");
    for (std::size_t i = 0; i < action.chunks.size(); ++i) {
      const StepChunk& chunk = action.chunks[i];
      line.Raw(i > 0 ? ",{\"id\":" : "{\"id\":");
      line.Raw(std::to_string(chunk.id));
      line.Number("start", chunk.start);
      line.Number("n", chunk.n);
      line.Number("kv_len", chunk.kv_len);
      line.Text("bound", BoundName(chunk.bound));
      line.Raw("}");
    }
    line.Raw("]");
    if (!action.decodes.empty()) {
      line.Key("decodes");
      WriteList(action.decodes, line);
    }
    line.Number("transient_bytes", action.price.transient_bytes);
    line.Number("resident_bytes", action.price.resident_bytes);
    line.Number("room_bytes", action.room_bytes);
    return line.Take();
  }
  std::string operator()(const Admit& action) const {
    Line line = Begin("admit");
    line.Id("id", action.id);
    line.Number("claim_bytes", action.claim_bytes);
    return line.Take();
  }
  std::string operator()(const Reject& action) const {
    Line line = Begin("reject");
    line.Id("id", action.id);
    line.Text("code", RefusalCodeName(action.code));
    line.Text("reason", action.reason);
    line.Number("largest_prompt_that_fits", action.largest_prompt_that_fits);
    return line.Take();
  }
  std::string operator()(const Reclaim& action) const {
    Line line = Begin("reclaim");
    line.Id("reclaim", action.reclaim);
    line.Text("kind", action.kind);
    line.Number("bytes", action.bytes);
    return line.Take();
  }
  std::string operator()(const Preempt& action) const {
    Line line = Begin("preempt");
    line.Id("id", action.id);
    return line.Take();
  }
  std::string operator()(const StartDecode& action) const {
    Line line = Begin("start_decode");
    line.Id("id", action.id);
    return line.Take();
  }
  std::string operator()(const Cancelled& action) const {
    Line line = Begin("cancelled");
    line.Id("id", action.id);
    return line.Take();
  }
  std::string operator()(const WakeAt& action) const {
    Line line = Begin("wake_at");
    line.Number("when", action.when.time_since_epoch().count());
    return line.Take();
  }
};

}  // namespace

std::string EventLine(const Event& event, Instant now) {
  return std::visit(EventWriter{now}, event);
}

std::string ActionLine(const Action& action, Instant now) {
  return std::visit(ActionWriter{now}, action);
}

std::string EventName(const Event& event) {
  // Read back from a line, so that there is one list
  // of names and not two.
  const std::string line = EventLine(event, Instant{});
  constexpr std::string_view kBefore = "\"event\":\"";
  const std::size_t start = line.find(kBefore) + kBefore.size();
  return line.substr(start, line.find('"', start) - start);
}

}  // namespace tidegate::internal
