// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The buffers of one llama.cpp forward pass, and where its graph allocator
// puts them.
//
// llama.cpp builds the graph of the widest chunk when a context is created and
// lets ggml's graph allocator lay its tensors out in one buffer, the compute
// buffer. The size of that buffer is not the sum of what is alive at the worst
// moment: the allocator is a greedy best fit in graph order, so freed tensors
// leave holes, and a tensor that fits no hole goes to the end. Which holes
// arise depends on how a model's widths compare (a narrow feed-forward does
// not fit the hole of its predecessor), so no formula with one maximum states
// it. GraphProgram therefore lists the allocations and releases of a model's
// graph once, and Replay lays them out again for a given context.
//
// Every buffer that matters has a size proportional to the chunk length n, so
// a replay works in bytes *per chunk token*: it depends on the context length
// and the sliding layers' cache length, not on n.
//
// Source of the rules: llama.cpp as vendored by whisper.cpp@4834a2327 (MIT),
// ggml 0.20.2: ggml-alloc.c (best fit, reuse in place, merging of free
// blocks), llama-graph.cpp and models/*.cpp (order of the nodes).

#ifndef TIDEGATE_ESTIMATORS_LLAMACPP_GRAPH_H_
#define TIDEGATE_ESTIMATORS_LLAMACPP_GRAPH_H_

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "tidegate/model_shape.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// What a buffer holds; the terms of a price.
enum class LlamaTerm : std::uint8_t {
  kMask,      // attention masks, one per cache kind
  kIds,       // token ids, positions, cache row indices
  kHidden,    // rows as wide as the model: residual, norms, projections
  kQkv,       // queries, keys, values
  kScores,    // query-key products, unfused only
  kAttended,  // attention's output before its projection
  kFfn,       // up, gate and activation; experts' rows
  kRouter,    // expert logits, choices and weights
  kLogits,
  kGaps,  // holes that the best fit left
};
inline constexpr int kLlamaTerms = 10;
std::string_view LlamaTermName(LlamaTerm term);

// Moments of the pass: the allocations made in each.
enum class LlamaPhase : std::uint8_t { kAttention, kFeedForward, kHead };
inline constexpr int kLlamaPhases = 3;

// How much of the graph a program covers.
enum class LlamaRows : std::uint8_t {
  // Every chunk token yields logits: the whole graph.
  kAll,
  // Few rows yield logits: all up to the rows' selection in the last layer,
  // with the masks held. What follows is bounded by RowBytes().
  kFew,
};

// Bytes per chunk token at each phase's fullest moment.
struct LlamaPeaks {
  using Terms = std::array<Bytes, kLlamaTerms>;
  std::array<Terms, kLlamaPhases> terms{};
  // Names the placements chosen. Between two context lengths with the same
  // path every choice is the same too, since each is a comparison of sizes
  // that are linear in the length.
  std::uint64_t path = 0;

  Bytes Phase(int phase) const;
  Bytes Total() const;
};

// The allocations of one model's graph, in order. Immutable; thread-safe.
class GraphProgram {
 public:
  GraphProgram(const ModelShape& shape, bool flash, LlamaRows rows);

  // Lays the graph out for full-attention layers that keep `context` tokens
  // and sliding layers that keep `window_context`.
  LlamaPeaks Replay(Tokens context, Tokens window_context) const;

 private:
  friend class GraphBuilder;
  struct Event {
    bool alloc = false;
    int buffer = 0;
  };
  struct Buffer {
    Bytes fixed = 0;        // bytes per chunk token
    Bytes per_context = 0;  // and per token of context
    Bytes per_window = 0;   // and per token of window_context
    LlamaTerm term = LlamaTerm::kHidden;
    LlamaPhase phase = LlamaPhase::kAttention;
  };
  std::vector<Buffer> buffers_;
  std::vector<Event> events_;
};

// Whether a mixer's layers keep only a window under llama.cpp, which ignores
// the window of some families (Mistral, Qwen2, Phi-3).
bool SlidesInLlamaCpp(const ModelShape& shape, const Mixer& mixer);

// Bytes that one row of logits may add after its selection, all buffers of
// the last feed-forward and of the head summed.
Bytes RowBytes(const ModelShape& shape);

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_LLAMACPP_GRAPH_H_
