// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What is in the next step: decode tokens where the engine takes them in steps,
// and chunks of as many prompts as it can mix. Everything in a step is priced
// together.

#include <algorithm>
#include <utility>

#include "scheduler/core.h"
#include "scheduler/step_estimator.h"
#include "tidegate/status.h"

namespace tidegate::internal {

Tokens NarrowestChunk(const ChunkLimits& limits) {
  const Tokens floor = std::min(limits.floor, limits.max);
  return std::min(limits.max,
                  RoundUp(floor, std::min(limits.quantum, limits.max)));
}

bool Core::RunNext() {
  // Whoever was given up in between has left room for those asked before.
  std::uint64_t relief = 0;
  do {
    relief = relief_;
    if (FormNext()) {
      Launch();
      return true;
    }
  } while (relief_ != relief);
  return false;
}

bool Core::FormNext() {
  using Decode = StepShape::Decode;
  const Decode decode = options_.step.decode;
  Request* suspect = Mixes() ? Suspect() : nullptr;
  if (suspect != nullptr && !isolated_last_ &&
      FormAlone(*suspect, /*safely=*/true)) {
    return true;
  }

  // Memory that others took may have left no safe order. Somebody goes on all
  // the same, and what is missing then is made.
  const auto last_resort = [this] {
    return forming_.empty() && running_.empty() && table_.decoding() == 0 &&
           !memory_.reclaiming() && !wake_.has_value();
  };
  forming_ = {};
  draining_ = false;
  if (decode == Decode::kMixed ||
      (decode == Decode::kBetween && !decoded_last_)) {
    AddDecodes();
  }
  if (decode != Decode::kBetween || forming_.empty()) {
    Serve(/*safely=*/true);
    if (last_resort()) Serve(/*safely=*/false);
  }
  if (draining_ && forming_.chunks.empty()) {
    forming_ = {};
    return false;
  }
  // It was not their turn, or they made way for a chunk that did not come.
  if (options_.step.DecodesInSteps() && forming_.empty()) AddDecodes();
  if (!forming_.empty()) {
    isolated_last_ = false;
    return true;
  }
  // The suspect may have ended meanwhile.
  suspect = Mixes() ? Suspect() : nullptr;
  if (suspect == nullptr) return false;
  if (isolated_last_ && FormAlone(*suspect, /*safely=*/true)) return true;
  suspect = Suspect();  // it may have been given up
  if (suspect == nullptr || !last_resort()) return false;
  isolated_last_ = FormAlone(*suspect, /*safely=*/false);
  return isolated_last_;
}

bool Core::FormAlone(Request& suspect, bool safely) {
  forming_ = {};
  TryRun(suspect, safely);
  if (forming_.empty()) return false;
  isolated_last_ = true;
  return true;
}

Request* Core::Suspect() {
  for (Request* request : table_.prefilling()) {
    if (request->failures == 0 || request->in_step != 0) continue;
    if (request->not_before <= now_) return request;
    WakeNoLaterThan(request->not_before);
  }
  return nullptr;
}

void Core::AddDecodes() {
  const StepShape& shape = options_.step;
  std::vector<Request*> ready;
  for (Request* request : table_.admitted()) {
    if (request->state != RequestState::kDecoding || request->in_step != 0) {
      continue;
    }
    if (request->not_before > now_) {
      WakeNoLaterThan(request->not_before);
      continue;
    }
    ready.push_back(request);
  }
  if (pool_.has_value() && !ready.empty()) KeepWhatHasBlocks(&ready);
  if (ready.empty()) return;
  std::int64_t most = std::ssize(ready);
  if (shape.decodes > 0) most = std::min(most, shape.decodes);
  if (decode_cap_ > 0) most = std::min(most, decode_cap_);
  if (shape.tokens > 0) {
    // A chunk must still find its place, or prompts would starve.
    const bool beside = shape.decode == StepShape::Decode::kMixed &&
                        (!table_.prefilling().empty() || table_.waiting() > 0);
    const Tokens kept = beside ? NarrowestChunk(limits_) : 0;
    most = std::min(most, shape.tokens - kept);
  }
  if (most < std::ssize(ready)) {
    std::sort(ready.begin(), ready.end(), WaitedLonger);
  }
  const auto step_of = [&](std::int64_t count) {
    Step step;
    step.decodes.assign(ready.begin(), ready.begin() + count);
    for (const Request* decoding : step.decodes) {
      const Request& request = *decoding;
      const Tokens before = Length(request);
      step.decode_kv_len = std::max(step.decode_kv_len, before + 1);
      step.load.Add(1, before);
      if (pool_.has_value()) {
        step.decode_blocks += pool_->Growth(before, before + 1);
      }
    }
    step.price = Prices().Total(step.query());
    return step;
  };
  const Bytes room = FreeRoom();
  Step step = step_of(most);
  if (step.price.Need() > room) {
    std::int64_t fits = 0;
    std::int64_t too_many = most;
    while (too_many - fits > 1) {
      const std::int64_t middle = fits + (too_many - fits) / 2;
      (step_of(middle).price.Need() <= room ? fits : too_many) = middle;
    }
    if (fits == 0) {
      const Step one = step_of(1);
      decode_short_ = one.price.Need() - room;
      // Somebody may have made room at once.
      if (Relieve(decode_short_) || GiveUpDecoding(one)) AddDecodes();
      return;
    }
    step = step_of(fits);
    // An estimator that is not built in may say something else by now.
    if (step.price.Need() > room) return;
  }
  decode_short_ = 0;
  forming_ = std::move(step);
}

bool Core::StepFull() const {
  return std::ssize(forming_.chunks) >= options_.step.sequences ||
         WidestLeft() < 1;
}

Tokens Core::WidestLeft() const {
  const Tokens tokens = options_.step.tokens;
  if (tokens > 0) return std::min(limits_.max, tokens - forming_.tokens());
  return limits_.max - forming_.chunk_tokens;
}

ChunkPolicy::Choice Core::NextChunk(const Request& request, Bytes freed,
                                    bool steps_ended,
                                    Bytes freed_blocks) const {
  const RequestView view = request.View();
  MemoryView memory = ViewFor(request, freed);
  Bytes transients = 0;
  for (const Step& step : running_) {
    transients = SatAdd(transients, step.price.transient_bytes);
  }
  if (!steps_ended) {
    memory.limits.base = SatAdd(memory.limits.base, transients);
  }
  const ChunkLimits limits = LimitsFor(request);
  const Tokens left = request.request.prompt_tokens - view.done;
  const Tokens has_blocks =
      pool_.has_value() ? PoolWidest(request, freed_blocks) : kTokensMax;
  const Tokens widest = std::min(WidestLeft(), has_blocks);
  if (widest < 1) return {};
  // What is left of the step may be too little for a chunk that is not the
  // last.
  if (widest < left && widest < NarrowestChunk(limits)) return {};
  const TimeModelRef time(
      times_, options_.time.has_value() ? &*options_.time : nullptr);
  const bool stalls = table_.decoding() > 0;
  const auto without_others = [&](Duration limit) {
    if (limit <= Duration::zero() || time == nullptr) return limit;
    return std::max(Duration(1), limit - time->Extra(forming_.load));
  };
  const StepEstimator joined(Prices(), forming_);
  ChunkPolicy::Choice choice = policies_.chunk->Next(
      {.estimator = Prices(),
       .request = view,
       .memory = memory,
       .limits = limits,
       .step = forming_.empty() ? nullptr : &joined,
       .widest = widest < limits.max ? widest : 0,
       .time = time,
       .decode_stall =
           stalls ? without_others(options_.decode_stall) : Duration::zero(),
       .step_target = without_others(options_.decode_stall)});
  if (choice.n == 0) return choice;
  if (choice.bound == Bound::kShare && widest == has_blocks) {
    choice.bound = Bound::kMemory;
  }
  // Encoders of one request a step: what others would leave beside them is in
  // no price.
  if (!forming_.chunks.empty() && !EncodesOf(request, choice.n).empty()) {
    return {};
  }
  // A policy may be wrong about what fits; neither the ceiling nor the step is
  // its to break.
  const Bytes need = SatAdd(choice.price.Need(), forming_.price.resident_bytes);
  if (choice.n > widest || need > FreeRoom() + std::min(freed, Live()) +
                                      (steps_ended ? transients : 0)) {
    choice.n = 0;
  }
  return choice;
}

EncodeRange Core::EncodesOf(const Request& request, Tokens n) const {
  const Tokens start = request.NextStart();
  return EncodesIn(request.request, start, start + n, request.encoded > 0);
}

void Core::Join(Request& request, const ChunkPolicy::Choice& choice) {
  const Tokens start = request.NextStart();
  TG_CHECK(choice.n > 0 && start + choice.n <= request.request.prompt_tokens);
  request.in_step = last_step_ + 1;
  const EncodeRange encodes = EncodesOf(request, choice.n);
  for (std::size_t i = encodes.first; i < encodes.last; ++i) {
    forming_.encodes.push_back({.id = request.id, .item = i});
  }
  if (!encodes.empty()) {
    forming_.encode = NeedOfEncodes(request.request, start, start + choice.n,
                                    request.encoded > 0);
  }
  forming_.chunks.push_back({.id = request.id,
                             .start = start,
                             .n = choice.n,
                             .kv_len = start + choice.n,
                             .bound = choice.bound});
  forming_.priced.push_back({.n = choice.n,
                             .kv_len = start + choice.n,
                             .mask = request.request.mask});
  forming_.growth.push_back({.bytes = choice.price.resident_bytes});
  if (pool_.has_value()) {
    forming_.growth.back().blocks =
        pool_->Growth(request.done, start + choice.n);
  }
  forming_.chunk_tokens += choice.n;
  forming_.load.Add(choice.n, start);
  const Bytes before = forming_.price.resident_bytes;
  forming_.price = choice.price;
  forming_.price.resident_bytes = SatAdd(before, choice.price.resident_bytes);
}

void Core::Launch() {
  Step& step = forming_;
  step.id = ++last_step_;
  const Bytes live = Live();
  step.live_before = live;
  step.lasting_before = live - memory_.Reclaimable();
  step.resident_before = ledger_.resident();
  step.rank = memory_.least_rank();
  step.alone = running_.empty();
  for (Step& other : running_) other.alone = false;
  std::vector<RequestId> decodes;
  decodes.reserve(step.decodes.size());
  for (Request* request : step.decodes) {
    request->in_step = step.id;
    request->last_decode = step.id;
    decodes.push_back(request->id);
  }
  RunStep run{.step = step.id,
              .chunks = step.chunks,
              .decodes = std::move(decodes),
              .encodes = step.encodes,
              .price = step.price,
              .room_bytes = FreeRoom()};
  TG_CHECK(step.price.Need() <= run.room_bytes);
  ledger_.OpenStep(step.id, step.price.Need());
  decoded_last_ = !step.decodes.empty();
  running_.push_back(std::exchange(forming_, {}));
  actions_->push_back(std::move(run));
}

}  // namespace tidegate::internal
