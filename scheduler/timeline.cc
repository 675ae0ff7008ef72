// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Everything is written when it happens: slices as a begin and an end, so that
// nothing but the row of what is open has to be kept.

#include "tidegate/timeline.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "estimators/text.h"
#include "scheduler/trace_events.h"

namespace tidegate {
namespace {

using internal::Concat;
using internal::Grouped;
using internal::JsonText;
using internal::TraceFile;
using internal::TraceRow;
using internal::TraceRows;

// No numbers of rows: Perfetto takes a thread of its process's number for the
// main thread.
constexpr int kDevice = 1000;
constexpr int kRequests = 2000;
constexpr int kReclaims = 3000;

std::string StepName(const RunStep& step, Tokens tokens) {
  const auto decodes = static_cast<std::int64_t>(step.decodes.size());
  const std::string decode =
      Concat(decodes, decodes == 1 ? " decode" : " decodes");
  if (step.chunks.empty()) return decode;
  return Concat("prefill ", Grouped(tokens), decodes > 0 ? " + " : "",
                decodes > 0 ? decode : "");
}

}  // namespace

class Timeline::Writer {
 public:
  Writer(const MemoryLimits& memory, Sink sink)
      : memory_(memory), live_(memory.base), file_(std::move(sink)) {
    file_.NameProcess(kDevice, "device");
    file_.NameProcess(kRequests, "requests");
    file_.NameProcess(kReclaims, "reclaims");
    file_.Flush();
  }

  void Add(const Decision& decision) {
    file_.MoveTo(decision.now);
    stats_ = decision.stats;
    std::visit([this](const auto& event) { Happened(event); }, decision.event);
    if (!measured_) live_ = SatAdd(memory_.base, stats_.resident_bytes);
    for (const Action& action : decision.actions) {
      // What the scheduler takes as live when it decides a step, which counts
      // what was allocated since the last reading.
      if (const auto* step = std::get_if<RunStep>(&action)) {
        live_ = memory_.ceiling - SatAdd(memory_.headroom, step->room_bytes);
      }
    }
    for (const Action& action : decision.actions) {
      std::visit([this](const auto& a) { Decided(a); }, action);
    }
    Count("live", "bytes", live_);
    Count("claims", "bytes", stats_.claimed_bytes);
    Count("room", "bytes", Room());
    Count("queue", "requests", stats_.waiting);
    file_.Flush();
  }

  void Finish() {
    for (const auto& [id, step] : steps_) file_.End(step.row);
    for (const auto& [id, row] : reclaims_) file_.End(row);
    for (const auto& [id, request] : open_) {
      file_.End(request.row);
      file_.End(request.row, Ending("open", request));
    }
    file_.Close();
  }

 private:
  struct Request {
    TraceRow row;
    Tokens done = 0;  // prompt tokens, once a chunk was computed
    Tokens generated = 0;
  };
  struct Step {
    TraceRow row;
    std::vector<StepChunk> chunks;
  };

  // Ceiling less headroom, live bytes and claims.
  Bytes Room() const {
    return memory_.ceiling -
           SatAdd(memory_.headroom, SatAdd(live_, stats_.claimed_bytes));
  }

  // The terms of the decision as they were after it.
  void PutMemory(JsonText& args) const {
    args.Member("live_bytes", live_);
    args.Member("claims_bytes", stats_.claimed_bytes);
    args.Member("ceiling_bytes", memory_.ceiling);
    args.Member("headroom_bytes", memory_.headroom);
    args.Member("room_bytes", Room());
  }

  static void Put(const Arithmetic& a, JsonText& args) {
    args.Member("live_bytes", a.live);
    args.Member("claims_bytes", a.claims);
    args.Member("resident_bytes", a.resident);
    args.Member("transient_bytes", a.transient);
    args.Member("ceiling_bytes", a.ceiling);
    args.Member("headroom_bytes", a.headroom);
    if (a.max_allocation.has_value()) {
      args.Member("largest_allocation_bytes", a.largest_allocation);
      args.Member("max_allocation_bytes", *a.max_allocation);
    }
    args.Member("n", a.n);
    args.Member("kv_len", a.kv_len);
  }

  static TraceFile::Args Ending(std::string_view outcome,
                                const Request& request) {
    return [outcome, generated = request.generated](JsonText& args) {
      args.Member("outcome", outcome);
      args.Member("generated_tokens", generated);
    };
  }

  void Count(std::string_view name, std::string_view unit, std::int64_t value) {
    const auto [told, first] = told_.try_emplace(name, value);
    if (!first && told->second == value) return;
    told->second = value;
    file_.Count(kDevice, name, unit, value);
  }

  Request* Find(RequestId id) {
    const auto it = open_.find(id);
    return it == open_.end() ? nullptr : &it->second;
  }

  // From one phase to the next.
  void Enter(RequestId id, std::string_view phase) {
    Request* request = Find(id);
    if (request == nullptr) return;
    file_.End(request->row);
    file_.Begin(request->row, phase, nullptr);
  }

  void End(RequestId id, std::string_view outcome) {
    Request* request = Find(id);
    if (request == nullptr) return;
    file_.End(request->row);
    file_.End(request->row, Ending(outcome, *request));
    rows_.Give(request->row);
    open_.erase(id);
  }

  void EndStep(StepId step, const TraceFile::Args& args) {
    const auto it = steps_.find(step);
    if (it == steps_.end()) return;
    file_.End(it->second.row, args);
    step_rows_.Give(it->second.row);
    steps_.erase(it);
  }

  void Read(Bytes live) {
    live_ = live;
    measured_ = true;
  }

  void Happened(const Arrive& arrive) {
    // Twice is not accepted by a scheduler.
    if (Find(arrive.id) != nullptr) return;
    const TraceRow row = rows_.Take(file_);
    open_[arrive.id] = {.row = row};
    file_.Begin(row, Concat("request ", arrive.id), [&](JsonText& args) {
      args.Member("id", arrive.id);
      args.Member("prompt_tokens", arrive.request.prompt_tokens);
      args.Member("cached_tokens", arrive.request.cached_tokens);
      args.Member("max_output_tokens", arrive.request.max_output_tokens);
      args.Member("priority", arrive.priority);
    });
    file_.Begin(row, "waiting", nullptr);
  }
  void Happened(const StepDone& done) {
    const std::optional<Bytes> live = Highest(done.live_bytes);
    if (live.has_value()) Read(*live);
    if (const auto step = steps_.find(done.step); step != steps_.end()) {
      for (const StepChunk& chunk : step->second.chunks) {
        if (Request* request = Find(chunk.id)) request->done = chunk.kv_len;
      }
    }
    EndStep(done.step, [&](JsonText& args) {
      args.Member("peak_bytes", Highest(done.peak_bytes));
      args.Member("live_bytes", live);
      args.Member("took_ns", done.took);
    });
    for (const DecodeResult& result : done.decodes) {
      if (Request* request = Find(result.id)) {
        request->generated = SatAdd(request->generated, result.tokens);
      }
      if (result.finished) End(result.id, "finished");
    }
  }
  // The fullest device.
  static std::optional<Bytes> Highest(const std::vector<Bytes>& bytes) {
    if (bytes.empty()) return std::nullopt;
    return *std::max_element(bytes.begin(), bytes.end());
  }
  void Happened(const StepFailed& failed) {
    EndStep(failed.step, [&](JsonText& args) {
      args.Member("failed", failed.why == StepFailure::kOutOfMemory
                                ? std::string_view("out_of_memory")
                                : std::string_view("other"));
    });
  }
  void Happened(const DecodeProgress& progress) {
    if (Request* request = Find(progress.id)) {
      request->generated = SatAdd(request->generated, progress.tokens);
    }
  }
  void Happened(const Finished& finished) { End(finished.id, "finished"); }
  void Happened(const Cancel& cancel) {
    if (const Request* request = Find(cancel.id)) {
      file_.Instantly(request->row, "cancel", nullptr);
    }
  }
  void Happened(const MemoryReading& reading) {
    if (reading.live_bytes.empty()) return;
    Read(*std::max_element(reading.live_bytes.begin(),
                           reading.live_bytes.end()));
  }
  void Happened(const CeilingChanged& changed) {
    memory_.ceiling = changed.ceiling;
  }
  void Happened(const ReclaimDone& done) {
    const auto it = reclaims_.find(done.reclaim);
    if (it == reclaims_.end()) return;
    file_.End(it->second, [&](JsonText& args) {
      args.Member("freed_bytes", done.freed_bytes);
    });
    reclaim_rows_.Give(it->second);
    reclaims_.erase(it);
  }
  void Happened(const Wake&) {}
  void Happened(const PrefixChanged&) {}
  void Happened(const Reclaimable&) {}
  void Happened(const ReleasePending&) {}
  void Happened(const Released&) {}
  void Happened(const Observe&) {}
  void Happened(const DecodeFailed& failed) {
    if (const Request* request = Find(failed.id)) {
      file_.Instantly(request->row, "decode failed", nullptr);
    }
  }
  void Happened(const PolicyChanged& changed) {
    memory_.ceiling = changed.options->memory.ceiling;
    memory_.headroom = changed.options->memory.headroom;
  }

  void Decided(const RunStep& step) {
    Tokens tokens = 0;
    Tokens kv_len = 0;
    // Each word once, in the order of the chunks.
    std::vector<std::string_view> bounds;
    for (const StepChunk& chunk : step.chunks) {
      tokens = SatAdd(tokens, chunk.n);
      kv_len = std::max(kv_len, chunk.kv_len);
      const std::string_view bound = BoundName(chunk.bound);
      if (std::find(bounds.begin(), bounds.end(), bound) == bounds.end()) {
        bounds.push_back(bound);
      }
    }
    std::string bound;
    for (const std::string_view word : bounds) {
      bound += Concat(bound.empty() ? "" : ", ", word);
    }
    const TraceRow row = step_rows_.Take(file_);
    steps_[step.step] = {.row = row, .chunks = step.chunks};
    file_.Begin(row, StepName(step, tokens), [&](JsonText& args) {
      args.Member("step", step.step);
      args.Member("tokens", tokens);
      args.Member("kv_len", kv_len);
      args.Member("bound", std::string_view(bound));
      args.Member("price_bytes", step.price.Need());
      args.Member("transient_bytes", step.price.transient_bytes);
      args.Member("resident_bytes", step.price.resident_bytes);
      args.Member("room_bytes", step.room_bytes);
      args.Key("chunks");
      args.Open('[');
      for (const StepChunk& chunk : step.chunks) {
        args.Open('{');
        args.Member("request", chunk.id);
        args.Member("start", chunk.start);
        args.Member("n", chunk.n);
        args.Member("kv_len", chunk.kv_len);
        args.Member("bound", BoundName(chunk.bound));
        args.Close('}');
      }
      args.Close(']');
      args.Key("decodes");
      args.Open('[');
      for (const RequestId id : step.decodes) args.Value(id);
      args.Close(']');
    });
  }
  void Decided(const Admit& admit) {
    const Request* request = Find(admit.id);
    if (request == nullptr) return;
    file_.Instantly(request->row, "admit", [&](JsonText& args) {
      args.Member("claim_bytes", admit.claim_bytes);
      PutMemory(args);
    });
    Enter(admit.id, "prefill");
  }
  void Decided(const Reject& reject) {
    if (const Request* request = Find(reject.id)) {
      file_.Instantly(request->row, "reject", [&](JsonText& args) {
        args.Member("code", RefusalCodeName(reject.code));
        args.Member("reason", std::string_view(reject.reason));
        args.Member("largest_prompt_that_fits",
                    reject.largest_prompt_that_fits);
        // A refusal that memory did not decide has no terms.
        if (reject.arithmetic.ceiling > 0) Put(reject.arithmetic, args);
      });
    }
    End(reject.id, "rejected");
  }
  void Decided(const tidegate::Reclaim& reclaim) {
    const TraceRow row = reclaim_rows_.Take(file_);
    reclaims_[reclaim.reclaim] = row;
    file_.Begin(row, reclaim.kind, [&](JsonText& args) {
      args.Member("reclaim", reclaim.reclaim);
      args.Member("asked_bytes", reclaim.bytes);
      PutMemory(args);
    });
  }
  void Decided(const Preempt& preempt) {
    Request* request = Find(preempt.id);
    if (request == nullptr) return;
    file_.Instantly(request->row, "preempt", [&](JsonText& args) {
      args.Member("prompt_tokens_done", request->done);
      args.Member("generated_tokens", request->generated);
      PutMemory(args);
    });
    request->done = request->generated = 0;
    Enter(preempt.id, "waiting");
  }
  void Decided(const StartDecode& start) { Enter(start.id, "decoding"); }
  void Decided(const Cancelled& cancelled) { End(cancelled.id, "cancelled"); }
  void Decided(const WakeAt&) {}

  MemoryLimits memory_;
  Bytes live_ = 0;
  bool measured_ = false;  // live_ is a reading
  SchedulerStats stats_;

  TraceFile file_;
  TraceRows step_rows_{kDevice, "steps"};
  TraceRows rows_{kRequests, "row"};
  TraceRows reclaim_rows_{kReclaims, "reclaims"};
  std::map<StepId, Step> steps_;
  std::map<ReclaimId, TraceRow> reclaims_;
  std::map<RequestId, Request> open_;
  std::map<std::string_view, std::int64_t> told_;  // counters
};

Timeline::Timeline(const MemoryLimits& memory, Sink sink)
    : writer_(std::make_unique<Writer>(memory, std::move(sink))) {}

Timeline::~Timeline() = default;

void Timeline::Add(const Decision& decision) {
  if (writer_ != nullptr) writer_->Add(decision);
}

void Timeline::Finish() {
  if (writer_ == nullptr) return;
  writer_->Finish();
  writer_.reset();
}

}  // namespace tidegate
