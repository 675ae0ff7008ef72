// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What the scheduler asks for: checked, then done to the world.

#include <algorithm>
#include <utility>

#include "estimators/text.h"
#include "simulator/driver.h"
#include "tidegate/status.h"

namespace tidegate::internal {

absl::Status Driver::Do(const Action& action) {
  if (const auto* admit = std::get_if<Admit>(&action)) return DoAdmit(*admit);
  if (const auto* step = std::get_if<RunStep>(&action)) return DoRunStep(*step);
  if (const auto* reject = std::get_if<Reject>(&action)) {
    return DoReject(*reject);
  }
  if (const auto* reclaim = std::get_if<Reclaim>(&action)) {
    return DoReclaim(*reclaim);
  }
  if (const auto* preempt = std::get_if<Preempt>(&action)) {
    return DoPreempt(*preempt);
  }
  if (const auto* decode = std::get_if<StartDecode>(&action)) {
    return DoStartDecode(*decode);
  }
  if (const auto* cancelled = std::get_if<Cancelled>(&action)) {
    return DoCancelled(*cancelled);
  }
  if (const auto* wake = std::get_if<WakeAt>(&action)) {
    wake_ = std::max(wake->when, now_);
  }
  return absl::OkStatus();
}

absl::Status Driver::DoAdmit(const Admit& action) {
  DrivenRequest* request = Find(action.id);
  if (request == nullptr || request->stage != Stage::kWaiting) {
    return Broken("request ", action.id, " was admitted and is not waiting");
  }
  const PlanRequest& asked = request->arrive.request;
  request->stage = Stage::kPrefill;
  ++request->runs;
  Tokens cached = request->told_tokens;
  Bytes prefix_bytes = 0;
  Bytes again = 0;
  if (PrefixCache* cache = world_.cache()) {
    StopsWaiting(*request);
    request->pinned = std::min(cached, cache->Hit(request->session, cached));
    cache->Pin(request->session, request->pinned);
    prefix_bytes = request->pinned / cache->block() * cache->block_bytes();
    // Dropped since the scheduler was told of them: computed again beside the
    // first chunk, in the memory that it charged for them.
    request->lost = cached - request->pinned;
    again = request->lost / cache->block() * cache->block_bytes();
    request->resident += again;
    world_.AddResident(again);
    totals_.computed_tokens += request->lost;
    totals_.cache_hit_tokens += request->pinned;
  }
  if (options_.world.cache.has_value()) {
    totals_.cache_recomputed_tokens +=
        std::max<Tokens>(0, asked.cached_tokens - request->pinned);
  }
  // A prompt that is cached whole still takes a step of one token.
  request->done = std::min(cached, asked.prompt_tokens - 1);
  const Bytes whole = world_.AdmissionBytes(
      SatAdd(asked.prompt_tokens, asked.max_output_tokens),
      std::min(asked.prompt_tokens, options_.scheduler.chunk.max));
  const Bytes own = std::max<Bytes>(whole - prefix_bytes - again, 0);
  request->resident += own;
  world_.AddResident(own);
  return absl::OkStatus();
}

absl::Status Driver::CheckChunk(const RunStep& step,
                                const StepChunk& chunk) const {
  const DrivenRequest* request = Find(chunk.id);
  if (request == nullptr || request->stage != Stage::kPrefill ||
      request->in_step) {
    return Broken("step ", step.step, " computes request ", chunk.id,
                  ", which is not in prefill");
  }
  const Tokens prompt = request->arrive.request.prompt_tokens;
  if (chunk.n < 1 || chunk.start != request->done ||
      chunk.kv_len != chunk.start + chunk.n || chunk.kv_len > prompt) {
    return Broken("step ", step.step, " computes tokens ", chunk.start, " to ",
                  chunk.kv_len, " of request ", chunk.id, ", which has ",
                  request->done, " of ", prompt, " done");
  }
  return absl::OkStatus();
}

absl::Status Driver::CheckDecodes(const RunStep& action) {
  const StepShape& shape = options_.scheduler.step;
  if (action.decodes.empty()) return absl::OkStatus();
  const bool apart = shape.decode == StepShape::Decode::kBetween ||
                     shape.decode == StepShape::Decode::kLast;
  if (!StepsDecode() || (apart && !action.chunks.empty()) ||
      (shape.decodes > 0 && std::ssize(action.decodes) > shape.decodes)) {
    return Broken("step ", action.step, " has ", action.decodes.size(),
                  " decode tokens that the engine does not take with it");
  }
  ++marks_;
  for (const RequestId id : action.decodes) {
    DrivenRequest* request = Find(id);
    if (request == nullptr || request->stage != Stage::kDecoding ||
        request->in_step || std::exchange(request->mark, marks_) == marks_) {
      return Broken("step ", action.step, " decodes request ", id,
                    ", which does not decode or is in a step already");
    }
  }
  return absl::OkStatus();
}

// Exactly what the first chunk needs and the engine does not hold.
absl::Status Driver::CheckEncodes(const RunStep& action) const {
  std::vector<StepEncode> needed;
  for (std::size_t i = 0; i < action.chunks.size(); ++i) {
    const StepChunk& chunk = action.chunks[i];
    const DrivenRequest& request = *Find(chunk.id);
    const std::vector<std::size_t> items = MissingOutputs(
        request.arrive.request, request.outputs, chunk.start, chunk.kv_len);
    if (i > 0 && !items.empty()) {
      return Broken("step ", action.step, " computes tokens of request ",
                    chunk.id, " that no encoder has run for");
    }
    for (const std::size_t item : items) needed.push_back({chunk.id, item});
  }
  if (needed == action.encodes) return absl::OkStatus();
  return Broken("step ", action.step, " runs ", action.encodes.size(),
                " encoder items, and its chunks need ", needed.size(),
                needed.size() == action.encodes.size() ? " others" : "");
}

absl::Status Driver::CheckStep(const RunStep& action) {
  const StepShape& shape = options_.scheduler.step;
  if (std::ssize(running_) >= shape.in_flight) {
    return Broken("step ", action.step, " was submitted while step ",
                  running_.front().id, " runs");
  }
  if (action.chunks.empty() && action.decodes.empty()) {
    return Broken("step ", action.step, " has no chunks");
  }
  if (std::ssize(action.chunks) > shape.sequences) {
    return Broken("step ", action.step, " has ", action.chunks.size(),
                  " chunks, and the engine takes ", shape.sequences);
  }
  auto tokens = static_cast<Tokens>(action.decodes.size());
  for (const StepChunk& chunk : action.chunks) tokens += chunk.n;
  if (shape.tokens > 0 && tokens > shape.tokens) {
    return Broken("step ", action.step, " has ", tokens,
                  " tokens, and the engine takes ", shape.tokens);
  }
  TG_RETURN_IF_ERROR(CheckDecodes(action));
  for (std::size_t i = 0; i < action.chunks.size(); ++i) {
    TG_RETURN_IF_ERROR(CheckChunk(action, action.chunks[i]));
    for (std::size_t j = 0; j < i; ++j) {
      if (action.chunks[j].id != action.chunks[i].id) continue;
      return Broken("step ", action.step, " computes request ",
                    action.chunks[i].id, " twice");
    }
  }
  TG_RETURN_IF_ERROR(CheckEncodes(action));
  const Bytes price = action.price.Need();
  if (price > action.room_bytes) {
    return Broken("step ", action.step, " has a price of ", price,
                  " bytes and a room of ", action.room_bytes);
  }
  // The room is not taken on trust: no more than the last reading leaves, what
  // this answer freed before the step, and what the pool would give back or use
  // again.
  Bytes live = std::min(told_live_, world_.Live());
  for (const RunningStep& other : running_) live = SatAdd(live, other.price);
  const Bytes line =
      world_.ceiling() - options_.scheduler.memory.headroom - live;
  const Bytes room =
      SatAdd(std::max<Bytes>(line, 0), world_.ReclaimableBytes("pool"));
  if (price > room) {
    return Broken("step ", action.step, " has a price of ", price,
                  " bytes and the device a room of ", room);
  }
  return absl::OkStatus();
}

absl::Status Driver::DoRunStep(const RunStep& action) {
  TG_RETURN_IF_ERROR(CheckStep(action));
  RunningStep running = std::exchange(spare_, {});
  running.id = action.step;
  running.price = action.price.Need();
  running.requests.clear();
  running.decodes.clear();
  running.encodes.clear();
  running.blocks.clear();
  chunks_.clear();
  decode_kv_.clear();
  Tokens tokens = 0;
  Tokens lost = 0;
  for (const StepChunk& chunk : action.chunks) {
    DrivenRequest& request = *Find(chunk.id);
    request.in_step = true;
    running.requests.push_back(IndexOf(request));
    const bool last = chunk.kv_len == request.arrive.request.prompt_tokens;
    const Tokens again = last ? request.kept : 0;
    chunks_.push_back({.n = chunk.n + again,
                       .kv_len = chunk.kv_len + again,
                       .mask = request.arrive.request.mask});
    tokens += chunk.n + again;
    lost += request.lost;
  }
  for (const RequestId id : action.decodes) {
    DrivenRequest& request = *Find(id);
    request.in_step = true;
    running.decodes.push_back(IndexOf(request));
    decode_kv_.push_back(request.arrive.request.prompt_tokens +
                         request.decoded);
  }
  EncoderLoad encoders;
  if (!action.encodes.empty()) {
    for (const StepEncode& encode : action.encodes) {
      running.encodes.push_back(encode.item);
    }
    const StepChunk& chunk = action.chunks.front();
    encoders =
        LoadOf(Find(chunk.id)->arrive.request, running.encodes, chunk.kv_len);
  }
  TG_RETURN_IF_ERROR(TakeStepBlocks(action, &running));
  world_.Start(chunks_, decode_kv_, encoders, &running.step);
  if (running.step.fits) {
    running.took = running.step.took + world_.PrefillTime(lost);
    for (std::size_t i = 0; i < chunks_.size(); ++i) {
      DrivenRequest& request = At(running.requests[i]);
      if (!request.first_chunk.has_value()) request.first_chunk = now_;
      request.widths.push_back(action.chunks[i].n);
    }
    if (options_.want_series) {
      totals_.series.push_back(
          {now_, world_.DeviceBytes(), running.step.device_peak, tokens});
    }
  } else {
    // The failure shows when the step was launched, not when it would end.
    running.took = std::max<Duration>(
        Duration(1), running.step.took - world_.PrefillTime(tokens));
    ++totals_.out_of_memory;
  }
  Schedule(now_ + running.took, Due::kStepEnd, running.id);
  running_.push_back(std::move(running));
  return absl::OkStatus();
}

absl::Status Driver::DoReject(const Reject& action) {
  released_ = true;
  DrivenRequest* request = Find(action.id);
  if (request == nullptr || request->stage == Stage::kFuture ||
      request->stage == Stage::kEnded || request->in_step) {
    return Broken("request ", action.id,
                  " was rejected and is not there or runs");
  }
  Release(*request);
  request->refusal = action.code;
  End(*request, Outcome::kRejected);
  return absl::OkStatus();
}

absl::Status Driver::DoReclaim(const Reclaim& action) {
  ++totals_.reclaims;
  reclaims_.emplace(reclaims_made_, action);
  Schedule(now_ + world_.ReclaimLag(action.kind), Due::kReclaimEnd,
           reclaims_made_++);
  return absl::OkStatus();
}

absl::Status Driver::DoPreempt(const Preempt& action) {
  released_ = true;
  DrivenRequest* request = Find(action.id);
  if (request == nullptr || request->in_step ||
      (request->stage != Stage::kPrefill &&
       request->stage != Stage::kDecoding)) {
    return Broken("request ", action.id,
                  " was preempted and is not admitted or runs");
  }
  Release(*request);
  request->stage = Stage::kWaiting;
  request->done = 0;
  if (StepsDecode() && options_.world.options.preempted_keep_output) {
    request->kept = std::max(request->kept, request->decoded);
  }
  request->decoded = 0;
  if (request->kept == 0) request->prompt_done.reset();
  request->rests_until = now_ + kLongestPause;
  if (world_.cache() != nullptr) {
    waiting_sessions_[request->session].insert(IndexOf(*request));
  }
  // The scheduler believes in no prefix any more, so any prefix is news.
  request->told_tokens = -1;
  stale_prefixes_.insert(IndexOf(*request));
  return absl::OkStatus();
}

absl::Status Driver::DoStartDecode(const StartDecode& action) {
  DrivenRequest* request = Find(action.id);
  if (request == nullptr || request->stage != Stage::kPrefill ||
      request->in_step ||
      request->done != request->arrive.request.prompt_tokens) {
    return Broken("request ", action.id,
                  " was sent to decoding and its prompt is not computed");
  }
  request->stage = Stage::kDecoding;
  Donate(*request, request->arrive.request.prompt_tokens);
  if (StepsDecode()) return absl::OkStatus();
  request->decode_start = now_;
  request->decoded = 0;
  decoding_.insert(IndexOf(*request));
  Schedule(now_ + world_.DecodeTime(request->output_tokens), Due::kDecodeEnd,
           IndexOf(*request), request->runs);
  if (!std::exchange(tick_due_, true)) {
    Schedule(now_ + kDecodeTick, Due::kDecodeTick);
  }
  return absl::OkStatus();
}

absl::Status Driver::DoCancelled(const Cancelled& action) {
  released_ = true;
  DrivenRequest* request = Find(action.id);
  if (request == nullptr || request->stage == Stage::kFuture ||
      request->stage == Stage::kEnded || request->in_step) {
    return Broken("request ", action.id,
                  " was cancelled and is not there or runs");
  }
  Release(*request);
  End(*request, Outcome::kCancelled);
  return absl::OkStatus();
}

void Driver::Donate(DrivenRequest& request, Tokens tokens) {
  PrefixCache* cache = world_.cache();
  if (cache == nullptr) return;
  cache->Extend(request.session, tokens);
  const Tokens pinned =
      std::max(request.pinned, cache->Hit(request.session, tokens));
  const Bytes moved =
      (pinned - request.pinned) / cache->block() * cache->block_bytes();
  cache->Pin(request.session, pinned);
  cache->Unpin(request.session, request.pinned);
  request.pinned = pinned;
  // Sliding windows and states stay with the request: the cache holds what a
  // token costs past every window.
  const Bytes freed = std::min(moved, request.resident);
  request.resident -= freed;
  world_.AddResident(-freed);
}

void Driver::StopsWaiting(const DrivenRequest& request) {
  const auto session = waiting_sessions_.find(request.session);
  if (session == waiting_sessions_.end()) return;
  session->second.erase(IndexOf(request));
  if (session->second.empty()) waiting_sessions_.erase(session);
}

void Driver::Release(DrivenRequest& request) {
  if (PrefixCache* cache = world_.cache()) {
    cache->Unpin(request.session, request.pinned);
    if (request.stage == Stage::kWaiting) {
      StopsWaiting(request);
    }
  }
  request.pinned = 0;
  request.lost = 0;
  request.outputs.clear();
  TakeBlocks(request, -request.blocks);
  world_.AddResident(-std::exchange(request.resident, 0));
  decoding_.erase(IndexOf(request));
}

void Driver::End(DrivenRequest& request, Outcome outcome) {
  TG_CHECK(request.outcome == Outcome::kOpen);
  request.outcome = outcome;
  request.stage = Stage::kEnded;
  request.ended = now_;
  ++ended_;
  open_.erase(IndexOf(request));
  idle_events_ = 0;
  if (options_.ended) options_.ended(request);
  if (!options_.progress) return;
  // A thousand calls are a smooth bar, however many requests there are.
  const std::int64_t total = options_.requests_coming;
  const std::int64_t share = static_cast<std::int64_t>(ended_) * 1000 / total;
  if (share <= progress_told_) return;
  progress_told_ = share;
  options_.progress(static_cast<double>(ended_) / static_cast<double>(total));
}

DrivenRequest* Driver::Find(RequestId id) {
  return const_cast<DrivenRequest*>(std::as_const(*this).Find(id));
}

const DrivenRequest* Driver::Find(RequestId id) const {
  if (id <= forgotten_ || id > forgotten_ + requests_.size()) return nullptr;
  return &At(id - 1);
}

void Driver::Schedule(Instant at, Due due, std::size_t index,
                      std::int64_t run) {
  timers_.push({at, timers_made_++, due, index, run});
}

}  // namespace tidegate::internal
