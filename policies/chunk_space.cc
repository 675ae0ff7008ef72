// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "policies/chunk_space.h"

#include <algorithm>
#include <iterator>

#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// Long enough to fill every window that a model has.
constexpr Tokens kBeyondEveryWindow = kTokensMax;

}  // namespace

ChunkSpace::ChunkSpace(const Estimator& estimator, const PlanRequest& request,
                       const MemoryLimits& memory, const ChunkLimits& chunk,
                       const StepTimeLimit& time)
    : estimator_(estimator),
      request_(request),
      memory_(memory),
      limits_(chunk),
      time_(time),
      line_(memory.ceiling - memory.headroom),
      first_(std::min(request.cached_tokens, request.prompt_tokens - 1)) {
  limits_.floor = std::min(limits_.floor, limits_.max);
  limits_.quantum = std::min(limits_.quantum, limits_.max);
  RefineQuantum();
  // A prompt that is cached whole computes its last token again, which lies in
  // the cache already: the prefix counts as it is.
  held_at_first_ = estimator.SequenceBytes(first_, request.cached_chunk);
  windowed_ = estimator.SequenceBytes(kBeyondEveryWindow, 1) !=
              estimator.SequenceBytes(kBeyondEveryWindow, limits_.max);
  preallocated_ = estimator.KvPreallocated();
  if (preallocated_ && !request.allocated) {
    const Tokens whole =
        SatAdd(request.prompt_tokens, request.max_output_tokens);
    preallocated_bytes_ = std::max<Bytes>(
        0, estimator.SequenceBytes(whole, limits_.max) - held_at_first_);
  }
}

// A span lies between two boundaries; the finer the quantum, the closer they
// are. A span that is itself wider than a chunk stays uncuttable: no sequence
// exists then, and the prompt is rejected.
// Where the computation stands does not matter: a remainder must have the
// boundaries of the plan that it is the rest of.
void ChunkSpace::RefineQuantum() {
  for (const Span& span : request_.uncuttable) {
    if (span.length > limits_.max) continue;
    const Tokens end = std::min(span.start + span.length, prompt());
    while (limits_.quantum > 1) {
      const Tokens from = span.start - span.start % limits_.quantum;
      const Tokens to = std::min(prompt(), RoundUp(end, limits_.quantum));
      if (to - from <= limits_.max) break;
      limits_.quantum /= 2;
    }
  }
}

bool ChunkSpace::InSpan(Tokens at) const {
  const auto& spans = request_.uncuttable;
  if (spans.empty()) return false;
  // The last span that starts before `at`.
  const auto after =
      std::partition_point(spans.begin(), spans.end(),
                           [at](const Span& span) { return span.start < at; });
  if (after == spans.begin()) return false;
  const Span& span = *std::prev(after);
  return at < span.start + span.length;
}

Tokens ChunkSpace::WidestEnd(Tokens start) const {
  const Tokens limit = start + limits_.max;
  if (limit >= prompt()) return prompt();
  Tokens end = limit - limit % limits_.quantum;
  while (end > start && InSpan(end)) end -= limits_.quantum;
  return std::max(end, start);
}

Bytes ChunkSpace::Held(Tokens tokens, Tokens width) const {
  Bytes bytes =
      preallocated_
          ? preallocated_bytes_
          : std::max<Bytes>(
                0, estimator_.SequenceBytes(tokens, width) - held_at_first_);
  // Of what encoders left, `base` counts that for the first tokens.
  if (tokens > first_) {
    bytes = SatAdd(bytes, OutputAt(request_, tokens)) - request_.encoded_bytes;
  }
  if (request_.extra_bytes_per_token == 0) return bytes;
  return SatAdd(bytes, SatMul(request_.extra_bytes_per_token, tokens - first_));
}

ChunkNeed ChunkSpace::Need(Tokens start, Tokens end) const {
  const Chunk chunk{.n = end - start, .kv_len = end, .mask = request_.mask};
  ChunkNeed need;
  need.price = estimator_.Total({.chunks = {&chunk, 1}});
  // A window that a wider chunk filled may shrink in this one, but engines give
  // that back when it has run, and some never: it makes no room for the chunk.
  Bytes before = Held(start, chunk.n);
  if (windowed_ && start > first_) {
    before =
        std::max(before, Held(start, std::min(limits_.max, start - first_)));
  }
  need.resident = SatAdd(before, need.price.resident_bytes);
  if (request_.extra_bytes_per_token != 0) {
    need.resident =
        SatAdd(need.resident, SatMul(request_.extra_bytes_per_token, chunk.n));
  }
  if (!request_.encodes.empty()) {
    const EncodeNeed encode = EncodeNeedOf(start, end);
    const Bytes alone = need.price.transient_bytes;
    need.price.transient_bytes = encode.Transient(alone);
    need.price.resident_bytes = SatAdd(need.price.resident_bytes, encode.kept);
    need.resident = SatAdd(need.resident, encode.kept);
    need.encoder = need.price.transient_bytes - alone;
  }
  need.peak = SatAdd(memory_.base, need.resident, need.price.transient_bytes);
  return need;
}

ChunkNeed ChunkSpace::DecodeNeed(Tokens prompt, Tokens tokens) const {
  ChunkNeed worst;
  const auto consider = [&](Tokens kv_len) {
    const StepQuery step{.decode_tokens = 1, .decode_kv_len = kv_len};
    ChunkNeed need{.price = estimator_.Total(step),
                   .resident = Held(kv_len, 1)};
    need.peak = SatAdd(memory_.base, need.resident, need.price.transient_bytes);
    if (need.peak > worst.peak) worst = need;
  };
  // Between two falls the price only rises, so its highest values lie just
  // before them and at the end.
  std::vector<Tokens> falls;
  estimator_.Breakpoints(Axis::kKvLen, 1, prompt, tokens, MaskKind::kCausal,
                         &falls);
  for (const Tokens fall : falls) {
    if (fall - 1 > prompt) consider(fall - 1);
  }
  consider(tokens);
  return worst;
}

void ChunkSpace::Falls(Tokens start, Tokens lo, Tokens hi,
                       std::vector<Tokens>* out) const {
  out->clear();
  if (lo >= hi) return;
  estimator_.Breakpoints(Axis::kChunk, start, lo, hi, request_.mask, out);
}

}  // namespace tidegate::internal
