// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// ggml's graph allocator: replays the events of a graph with the sizes of one
// cache length (ggml/src/ggml-alloc.c).

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>
#include <vector>

#include "estimators/llamacpp_family.h"
#include "estimators/llamacpp_graph.h"

namespace tidegate::internal {

std::string_view LlamaTermName(LlamaTerm term) {
  switch (term) {
    case LlamaTerm::kMask:
      return "mask";
    case LlamaTerm::kIds:
      return "ids";
    case LlamaTerm::kHidden:
      return "hidden";
    case LlamaTerm::kQkv:
      return "qkv";
    case LlamaTerm::kScores:
      return "scores";
    case LlamaTerm::kAttended:
      return "attention_output";
    case LlamaTerm::kFfn:
      return "ffn";
    case LlamaTerm::kRouter:
      return "router";
    case LlamaTerm::kLogits:
      return "logits";
    case LlamaTerm::kGaps:
      return "gaps";
  }
  return "";
}

bool SlidesInLlamaCpp(const ModelShape& shape, const Mixer& mixer) {
  if (mixer.kind != MixerKind::kSliding) return false;
  const std::string_view type = shape.model_type;
  for (std::string_view full :
       {"mistral", "mixtral", "qwen2", "qwen3", "phi3", "starcoder2"}) {
    if (type.starts_with(full)) return false;
  }
  return true;
}

Bytes RowBytes(const ModelShape& shape) {
  Bytes ffn = 0;
  for (const FeedForward& block : shape.feed_forwards) {
    const bool moe = block.kind == FeedForwardKind::kMoe;
    const std::int64_t used = moe ? block.top_k : 1;
    Bytes wide = SatMul(SatMul(used, block.intermediate), 3);
    wide = SatAdd(wide, SatMul(block.shared_intermediate, 3));
    wide = SatAdd(wide, SatMul(block.parallel_intermediate, 3));
    if (moe) wide = SatAdd(wide, SatMul(used, shape.hidden, 2), block.experts);
    ffn = std::max(ffn, wide);
  }
  // Two selected rows, two norms, the projection and the result.
  const Bytes hidden = SatMul(shape.hidden, 6);
  return SatMul(SatAdd(shape.vocab, hidden, ffn), kLlamaF32);
}

Bytes LlamaPeaks::Phase(int phase) const {
  Bytes sum = 0;
  for (Bytes bytes : terms[phase]) sum = SatAdd(sum, bytes);
  return sum;
}

Bytes LlamaPeaks::Total() const {
  Bytes total = 0;
  for (int phase = 0; phase < kLlamaPhases; ++phase) {
    total = std::max(total, Phase(phase));
  }
  return total;
}

LlamaPeaks GraphProgram::Replay(Tokens context, Tokens window_context) const {
  struct Block {
    Bytes offset;
    Bytes size;
  };
  // Free blocks by address. The last one is the open end of the buffer.
  std::vector<Block> free = {{0, kBytesMax / 2}};
  free.reserve(64);
  std::vector<Block> placed(buffers_.size());
  LlamaPeaks peaks;
  LlamaPeaks::Terms live{};
  Bytes live_sum = 0;
  std::array<Bytes, kLlamaPhases> ends{};
  for (const Event& event : events_) {
    const Buffer& buffer = buffers_[event.buffer];
    Block& place = placed[event.buffer];
    if (event.alloc) {
      const Bytes size =
          std::min(SatAdd(buffer.fixed, SatMul(buffer.per_context, context),
                          SatMul(buffer.per_window, window_context)),
                   kLlamaRowBytesMax);
      // The smallest hole that fits, the last of equals; else the open end.
      int best = static_cast<int>(free.size()) - 1;
      Bytes best_size = kBytesMax;
      for (int i = 0; i + 1 < static_cast<int>(free.size()); ++i) {
        if (free[i].size >= size && free[i].size <= best_size) {
          best = i;
          best_size = free[i].size;
        }
      }
      place = {free[best].offset, size};
      const bool exact = free[best].size == size;
      free[best].offset += size;
      free[best].size -= size;
      if (exact) free.erase(free.begin() + best);
      peaks.path = peaks.path * 1'000'003 +
                   static_cast<std::uint64_t>(best) * 2 + (exact ? 1 : 0);
      live[static_cast<int>(buffer.term)] += size;
      live_sum += size;
      const int phase = static_cast<int>(buffer.phase);
      const Bytes end = std::max(place.offset + size, live_sum);
      if (end > ends[phase]) {
        ends[phase] = end;
        peaks.terms[phase] = live;
        peaks.terms[phase][static_cast<int>(LlamaTerm::kGaps)] = end - live_sum;
      }
      continue;
    }
    live[static_cast<int>(buffer.term)] -= place.size;
    live_sum -= place.size;
    auto next = std::lower_bound(
        free.begin(), free.end(), place.offset,
        [](const Block& block, Bytes offset) { return block.offset < offset; });
    const bool joins_next =
        next != free.end() && place.offset + place.size == next->offset;
    const bool joins_previous =
        next != free.begin() &&
        std::prev(next)->offset + std::prev(next)->size == place.offset;
    if (joins_previous) {
      std::prev(next)->size += place.size;
      if (joins_next) {
        std::prev(next)->size += next->size;
        free.erase(next);
      }
    } else if (joins_next) {
      next->offset = place.offset;
      next->size += place.size;
    } else {
      free.insert(next, place);
    }
  }
  return peaks;
}

}  // namespace tidegate::internal
