// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// How steps end, and what is learned from them.

#include <algorithm>
#include <string>
#include <utility>

#include "estimators/text.h"
#include "scheduler/core.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// Steps that fail in a row before a request is given up. With the pauses below
// they span more than the patience that a shortage is given.
constexpr int kFailuresMax = 9;
constexpr Duration kFirstPause = std::chrono::milliseconds(250);

// Live memory may differ by so much from what was expected after a step before
// its peak counts as disturbed: pages, small buffers, a decode token.
constexpr Bytes kUndisturbed = Bytes{64} << 20;

Duration PauseAfter(int failures) {
  return kFirstPause * (1 << std::min(failures - 1, 6));
}

// Steps that succeed before a wider one is tried: one after the first failure,
// which may have been chance, and twice as many after each further one, so that
// a width that never fits does not fail at every other step.
constexpr std::int32_t kRanOutMax = 11;

std::int32_t StepsUntilWider(std::int32_t ran_out) {
  return std::int32_t{1} << (std::max(ran_out, 1) - 1);
}

absl::Status NotRunning(StepId id) {
  return absl::NotFoundError(Concat("step ", id, " is not running"));
}

}  // namespace

std::vector<Step>::iterator Core::FindStep(StepId id) {
  return std::find_if(running_.begin(), running_.end(),
                      [id](const Step& step) { return step.id == id; });
}

Step Core::EndStep(StepId id) {
  const auto it = FindStep(id);
  TG_CHECK(it != running_.end());
  Step step = std::move(*it);
  running_.erase(it);
  ledger_.CloseStep(id);
  for (const StepChunk& chunk : step.chunks) table_.Find(chunk.id)->in_step = 0;
  for (Request* decoding : step.decodes) decoding->in_step = 0;
  return step;
}

absl::Status Core::CheckDecodes(const Step& step, const StepDone& event) {
  ++answer_check_;
  for (std::size_t i = 0; i < event.decodes.size(); ++i) {
    const DecodeResult& result = event.decodes[i];
    Request* request = table_.Find(result.id);
    bool here = request != nullptr && request->in_step == step.id;
    if (here && request->state != RequestState::kDecoding) {
      const auto chunk =
          std::find_if(step.chunks.begin(), step.chunks.end(),
                       [&](const StepChunk& c) { return c.id == result.id; });
      here = options_.step.DecodesInSteps() &&
             chunk->kv_len == request->request.prompt_tokens;
    }
    if (!here) {
      return InvalidArgument("decodes: request ", result.id,
                             " does not decode in step ", event.step);
    }
    if (request->answer_check == answer_check_) {
      return InvalidArgument("decodes: request ", result.id, " is there twice");
    }
    request->answer_check = answer_check_;
    request->answer = static_cast<std::uint32_t>(i);
    if (result.tokens < 0 || result.tokens > kTokensMax - request->decoded) {
      return InvalidArgument("decodes: expected 0 to ",
                             kTokensMax - request->decoded, " tokens, got ",
                             result.tokens);
    }
  }
  return absl::OkStatus();
}

absl::Status Core::On(const StepDone& event) {
  const auto running = FindStep(event.step);
  if (running == running_.end()) return NotRunning(event.step);
  if (!event.peak_bytes.empty()) {
    TG_RETURN_IF_ERROR(CheckReading("peak_bytes", event.peak_bytes));
  }
  if (!event.live_bytes.empty()) {
    TG_RETURN_IF_ERROR(CheckReading("live_bytes", event.live_bytes));
  }
  TG_RETURN_IF_ERROR(CheckDecodes(*running, event));
  const Step step = EndStep(event.step);
  ++stats_.steps;
  for (std::size_t i = 0; i < step.chunks.size(); ++i) ChunkDone(step, i);
  const auto result_of = [&](const Request& request) -> const DecodeResult* {
    return request.answer_check == answer_check_
               ? &event.decodes[request.answer]
               : nullptr;
  };
  for (Request* request : step.decodes) {
    const DecodeResult* result = result_of(*request);
    request->failures = 0;
    if (const Tokens tokens = result != nullptr ? result->tokens : 1) {
      DecodeGrew(*request, tokens);
    }
  }
  if (!step.decodes.empty() && decode_cap_ > 0) {
    decode_cap_ = decode_cap_ > table_.decoding() ? 0 : 2 * decode_cap_;
  }
  if (event.took.has_value() && step.encodes.empty()) {
    times_.Add(step.load, *event.took);
  }
  MeasureTransient(step, event);
  // Who ends with the step, and who goes on.
  std::vector<Request*> finished;
  for (const DecodeResult& result : event.decodes) {
    if (result.finished) finished.push_back(table_.Find(result.id));
  }
  const auto named_as_finished = [&](const Request& request) {
    const DecodeResult* result = result_of(request);
    return result != nullptr && result->finished;
  };
  std::vector<Request*> going_on;
  for (const StepChunk& chunk : step.chunks) {
    Request* request = table_.Find(chunk.id);
    if (!named_as_finished(*request)) going_on.push_back(request);
  }
  for (Request* request : step.decodes) {
    if (named_as_finished(*request)) continue;
    if (request->finish_pending) {
      finished.push_back(request);
    } else if (request->cancel_pending) {
      going_on.push_back(request);
    }
  }
  // What is freed with the step would look like less growth.
  if (!event.live_bytes.empty() && finished.empty()) {
    MeasureGrowth(step, event.live_bytes);
  }
  // They are gone, or going, when memory is read.
  for (Request* request : finished) FinishNow(*request);
  if (!event.live_bytes.empty()) {
    has_readings_ = true;
    memory_.Read(event.live_bytes, ledger_.resident());
  }
  for (Request* request : going_on) AfterStep(*request, result_of(*request));
  return absl::OkStatus();
}

void Core::ChunkDone(const Step& step, std::size_t i) {
  const StepChunk& chunk = step.chunks[i];
  Request& request = *table_.Find(chunk.id);
  const Encoded after =
      EncodedAfter(request.request, chunk.start, chunk.kv_len, request.encoded);
  const Bytes kept =
      i == 0 && !step.encodes.empty() ? step.encode.kept : Bytes{0};
  const ChunkGrowth& growth = step.growth[i];
  if (pool_.has_value()) pool_->ledger.Grow(request.id, growth.blocks);
  ledger_.Grow(
      request.id, growth.bytes,
      std::min(growth.bytes,
               SatAdd(kept,
                      SatMul(request.request.extra_bytes_per_token, chunk.n))));
  if (after.released > 0) {
    ledger_.Shrink(request.id, after.released);
    if (has_readings_) memory_.Free(after.released, now_);
    ++relief_;
  }
  served_ += chunk.n;
  widest_run_ = std::max(widest_run_, chunk.n);
  table_.Serve(request, chunk.n);
  request.done = chunk.kv_len;
  request.last_chunk = chunk.n;
  request.served_mark = served_;
  request.encoded = after.bytes;
  request.failures = 0;
  request.stuck_since = Request::kNever;
  // The bytes of one item were promised: they serve the next one.
  if (after.released > 0 && request.promised) ClaimRest(request);
  // Widths grow back after a failure.
  if (request.width_cap > 0 && --request.steps_until_wider <= 0) {
    request.width_cap =
        request.width_cap >= limits_.max / 2 ? 0 : 2 * request.width_cap;
    request.steps_until_wider = StepsUntilWider(request.ran_out);
  }
}

void Core::DecodeGrew(Request& request, Tokens tokens) {
  const Tokens length = Length(request);
  if (!Prices().KvPreallocated()) {
    const Bytes before = Prices().SequenceBytes(length, 1);
    const Bytes after = Prices().SequenceBytes(length + tokens, 1);
    ledger_.Grow(*request.bytes, std::max<Bytes>(0, after - before));
  }
  if (pool_.has_value()) {
    pool_->ledger.Grow(*request.blocks, pool_->Growth(length, length + tokens));
  }
  request.decoded += tokens;
}

// Ends what ends with its step, and sends on to decoding what is computed.
void Core::AfterStep(Request& request, const DecodeResult* result) {
  if (request.cancel_pending) {
    CancelNow(request);
    return;
  }
  if (request.state == RequestState::kPrefill) {
    if (request.done < request.request.prompt_tokens) return;
    ++relief_;
    table_.Move(request, RequestState::kDecoding);
    ledger_.SetClaim(request.id,
                     policies_.admission->DecodeClaim(Prices(), request.View(),
                                                      OutputShare(request.id)));
    if (pool_.has_value()) {
      PlanRequest own;
      pool_->ledger.SetClaim(request.id,
                             policies_.admission->DecodeClaim(
                                 pool_->prices(), PoolViewOf(request, &own),
                                 OutputShare(request.id)));
    }
    actions_->push_back(StartDecode{request.id});
    CoverDecoding();
    if (!options_.step.DecodesInSteps()) return;
    // The last position gave a token, which is not in the cache yet; drafts
    // that came with it are.
    const Tokens tokens = result != nullptr ? result->tokens : 1;
    if (tokens > 1) DecodeGrew(request, tokens - 1);
    request.decoded += std::min<Tokens>(tokens, 1);
  }
}

// A decoding request feeds the token that came last: what it holds is one
// shorter than what it says.
Tokens Core::Length(const Request& request) const {
  const Tokens unfed = options_.step.DecodesInSteps() ? 1 : 0;
  return request.request.prompt_tokens +
         std::max<Tokens>(0, request.decoded - unfed);
}

void Core::FinishNow(Request& request) {
  ++stats_.finished;
  outputs_.Add(request.request.max_output_tokens, request.decoded);
  End(request);
}

absl::Status Core::On(const StepFailed& event) {
  if (FindStep(event.step) == running_.end()) return NotRunning(event.step);
  const Step step = EndStep(event.step);
  const bool memory = event.why == StepFailure::kOutOfMemory;
  if (memory) {
    ++stats_.out_of_memory;
    if (options_.calibrate && step.encodes.empty()) {
      const StaticPrice price = StaticPriceOf(step.query());
      calibrator_.AddOutOfMemory(
          price.route, step.tokens(), price.transient_bytes,
          memory_.line() - step.live_before - step.price.resident_bytes, now_);
    }
  }
  if (!step.decodes.empty()) {
    decode_cap_ = std::max<std::int64_t>(1, std::ssize(step.decodes) / 2);
  }
  for (const StepChunk& chunk : step.chunks) {
    Fail(step, *table_.Find(chunk.id), chunk.n, memory);
  }
  for (Request* request : step.decodes) Fail(step, *request, 0, memory);
  return absl::OkStatus();
}

// `n`: the width of its chunk, 0 for a decode token.
void Core::Fail(const Step& step, Request& request, Tokens n, bool memory) {
  if (request.finish_pending) return FinishNow(request);
  if (request.cancel_pending) return CancelNow(request);
  ++request.failures;
  if (request.failures >= kFailuresMax) {
    return RejectNow(
        request, RefusalCode::kOverloaded,
        Concat(
            "the engine failed ", request.failures,
            memory ? " times in a row for lack of memory" : " times in a row",
            ", the last time on ", n > 0 ? n : 1, " tokens at kv length ",
            n > 0 ? request.NextStart() + n : Length(request) + 1,
            " priced at ", FormatBytes(step.price.Need())),
        nullptr);
  }
  // Narrower at once where that is possible; otherwise after a pause, in which
  // others may give memory back.
  if (n == 0) {
    if (step.decodes.size() > 1) return;
  } else {
    const Tokens half = n / 2 / limits_.quantum * limits_.quantum;
    const bool aligned = request.NextStart() % limits_.quantum == 0;
    const Tokens least =
        std::min(limits_.floor, limits_.max) + (aligned ? 0 : limits_.quantum);
    if (memory && half >= least) {
      request.width_cap = half;
      request.ran_out = std::min(request.ran_out + 1, kRanOutMax);
      request.steps_until_wider = StepsUntilWider(request.ran_out);
      return;
    }
  }
  request.not_before = now_ + PauseAfter(request.failures);
}

absl::Status Core::On(const DecodeFailed& event) {
  Request* request = table_.Find(event.id);
  if (request == nullptr) return UnknownRequest(event.id);
  if (request->state != RequestState::kDecoding ||
      options_.step.DecodesInSteps()) {
    return absl::FailedPreconditionError(
        Concat("request ", event.id, " is not decoded by the engine itself"));
  }
  if (event.why == StepFailure::kOutOfMemory) {
    ++stats_.out_of_memory;
    // The claim of every decoder was live too early: what can be freed for it
    // is, and otherwise somebody makes room now.
    if (ReclaimFor([](Bytes freed) { return freed > 0; })) {
      return absl::OkStatus();
    }
    if (memory_.unconfirmed() > 0 || PreemptFor(nullptr)) {
      return absl::OkStatus();
    }
  }
  ++request->failures;
  if (request->failures >= kFailuresMax) {
    RejectNow(
        *request, RefusalCode::kOverloaded,
        Concat("the engine failed ", request->failures,
               " times in a row to decode at kv length ", Length(*request) + 1),
        nullptr);
  }
  return absl::OkStatus();
}

Core::StaticPrice Core::StaticPriceOf(const StepQuery& step) const {
  return {.route = options_.estimator->RouteName(step),
          .transient_bytes = options_.estimator->Total(step).transient_bytes};
}

// Peak less what was live before and what the step added for good. A step
// during which memory moved for other reasons measures those.
void Core::MeasureTransient(const Step& step, const StepDone& done) {
  // What encoders need is not this model's, and in no price that is corrected.
  if (!options_.calibrate || !step.alone || !step.encodes.empty()) return;
  // With readings that lag, live_before is the most that it may have been: what
  // is above it looks like too small a transient, and prices would follow.
  if (options_.reading_lag > Duration::zero()) return;
  if (done.peak_bytes.empty() ||
      done.peak_bytes.size() != done.live_bytes.size()) {
    return;
  }
  Bytes transient = 0;
  if (done.peak_bytes.size() == 1) {
    const Bytes moved =
        done.live_bytes[0] - step.live_before - step.price.resident_bytes;
    if (moved > kUndisturbed || moved < -kUndisturbed) return;
    transient =
        done.peak_bytes[0] - step.live_before - step.price.resident_bytes;
  } else {
    for (std::size_t i = 0; i < done.peak_bytes.size(); ++i) {
      transient = std::max(transient, done.peak_bytes[i] - done.live_bytes[i]);
    }
  }
  const StaticPrice price = StaticPriceOf(step.query());
  calibrator_.Add(price.route, step.tokens(), price.transient_bytes, transient,
                  now_);
}

// Only what stays counts: pools that filled up can be reclaimed, and other
// requests' own growth is known.
void Core::MeasureGrowth(const Step& step, const std::vector<Bytes>& live) {
  if (!step.alone || step.chunk_tokens == 0 || !step.encodes.empty()) return;
  const Bytes same_rank = memory_.ranks() > 0
                              ? live[step.rank]
                              : *std::max_element(live.begin(), live.end());
  const Bytes lasting = same_rank - memory_.Reclaimable();
  const Bytes others =
      ledger_.resident() - step.resident_before - step.price.resident_bytes;
  const Bytes known = growth_.ExtraPerToken();
  growth_.Add(step.chunk_tokens, lasting - step.lasting_before - others,
              step.price.resident_bytes - SatMul(known, step.chunk_tokens));
  if (growth_.ExtraPerToken() != known) RaiseClaims();
}

}  // namespace tidegate::internal
