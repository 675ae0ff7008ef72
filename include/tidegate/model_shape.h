// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// ModelShape: what the price of a prefill chunk depends on in a model, and
// nothing else. It holds dimensions, element widths and the kind of each
// layer; no weights, no names of tensors.
//
// Most users get one from a Hugging Face config.json (model_config.h):
//
//   absl::StatusOr<ModelConfig> config = LoadModelConfig("config.json");
//   config->shape.KvBytesPerToken();   // 131072 for Llama-3.1-8B in bf16
//
// A ModelShape is a plain value: copy it, share it between threads. Validate()
// says whether its parts fit together; everything that takes a shape expects a
// valid one.

#ifndef TIDEGATE_MODEL_SHAPE_H_
#define TIDEGATE_MODEL_SHAPE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tidegate/types.h"

namespace tidegate {

// Width of one stored element as a fixed-point number, exact for the widths
// that occur: 2 bytes, half a byte, 33/64 byte (4-bit codes with a scale per
// row), 34/32 byte (q8_0).
struct ElementSize {
  // Bytes per 65,536 elements.
  std::int64_t per_65536 = 2 * 65536;

  static constexpr ElementSize OfBytes(std::int64_t bytes) {
    return ElementSize{bytes * 65536};
  }
  // Bytes of `elements` elements, rounded up, saturating.
  constexpr Bytes Of(std::int64_t elements) const {
    const Bytes whole = SatMul(elements, per_65536 / 65536);
    const Bytes part = SatMul(elements, per_65536 % 65536);
    return SatAdd(whole, CeilDiv(part, 65536));
  }
  friend bool operator==(const ElementSize&, const ElementSize&) = default;
};

// Type the arithmetic runs in. Stored KV may be narrower (kv_element).
enum class ComputeType { kFp32, kFp16, kBf16 };

// Bytes per element: 4, 2, 2.
constexpr std::int64_t SizeOf(ComputeType type) {
  return type == ComputeType::kFp32 ? 4 : 2;
}

// How a layer mixes tokens, which decides what it keeps and what it attends to.
enum class MixerKind {
  kFull,     // softmax attention over every earlier token
  kSliding,  // softmax attention over the last `window` tokens
  kLatent,   // multi-head latent attention: keeps one latent row per token
  kLinear,   // linear attention or a state-space layer: a constant state
  kNone,     // no mixer that keeps anything (a bare feed-forward layer)
};

// Flavour of a linear layer; their scratch differs.
enum class LinearKind { kGatedDeltaNet, kMamba1, kMamba2, kOther };

// One kind of mixer that occurs in the model. Fields of other kinds are zero.
struct Mixer {
  MixerKind kind = MixerKind::kFull;

  // kFull, kSliding; for kLatent the expanded heads that attention sees:
  // head_dim = qk_nope_head_dim + qk_rope_head_dim, head_dim_v = v_head_dim.
  std::int64_t q_heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t head_dim_v = 0;

  // kSliding: tokens visible to a query, itself included. Also Llama 4's
  // chunked attention, where it is the attention chunk.
  Tokens window = 0;

  // False for layers that read another layer's cache (Gemma 3n/4 shared KV).
  bool stores_kv = true;
  // Attention sinks (gpt-oss): one extra score column per head.
  bool sinks = false;
  // The query projection also yields an output gate (Qwen3-Next, Qwen3.5).
  bool output_gate = false;
  // Per-head norms of q and k (Qwen3, Gemma 3, OLMo 2).
  bool qk_norm = false;
  // Projections carry biases (gpt-oss, Qwen2).
  bool bias = false;
  // Scores pass through tanh soft-capping (Gemma 2), which no fused kernel
  // of torch takes.
  bool softcap = false;

  // kLatent.
  std::int64_t kv_lora_rank = 0;
  std::int64_t q_lora_rank = 0;  // 0: queries are projected directly
  std::int64_t rope_dim = 0;
  // Sparse indexer (DeepSeek-V3.2, GLM-5): heads and key dim of the indexer,
  // which keeps one key of index_head_dim per token.
  // `stores_index` is false for layers that share another layer's choice.
  std::int64_t index_heads = 0;
  std::int64_t index_head_dim = 0;
  Tokens index_topk = 0;
  bool stores_index = false;

  // kLinear.
  LinearKind linear = LinearKind::kOther;
  std::int64_t linear_key_heads = 0;    // Mamba-2: groups
  std::int64_t linear_value_heads = 0;  // Mamba-2: heads
  std::int64_t linear_key_dim = 0;      // Mamba: state size
  std::int64_t linear_value_dim = 0;    // Mamba-2: head dim
  std::int64_t linear_inner = 0;        // width of the mixed channels
  std::int64_t conv_dim = 0;            // channels of the short convolution
  std::int64_t conv_kernel = 0;
  // Bytes of one element of the recurrent state: fp32 whatever the compute
  // type, unless the config says otherwise (mamba_ssm_cache_dtype).
  std::int64_t state_element_bytes = 4;

  friend bool operator==(const Mixer&, const Mixer&) = default;
};

enum class FeedForwardKind { kDense, kMoe, kNone };

// One kind of feed-forward block that occurs in the model.
struct FeedForward {
  FeedForwardKind kind = FeedForwardKind::kDense;
  std::int64_t intermediate = 0;  // kDense: width; kMoe: width of one expert
  bool gated = true;              // gate and up projections (SwiGLU, GeGLU)
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
  std::int64_t shared_intermediate = 0;  // all shared experts together
  bool bias = false;
  // Gemma 4: a dense block of this width runs beside the experts.
  std::int64_t parallel_intermediate = 0;

  friend bool operator==(const FeedForward&, const FeedForward&) = default;
};

// Indices into ModelShape::mixers and ModelShape::feed_forwards.
struct Layer {
  int mixer = 0;
  int feed_forward = 0;
  // A second mixer that runs beside the first on the same input and keeps its
  // own state (Falcon-H1: attention and Mamba-2 in every layer); -1: none.
  int extra_mixer = -1;
  friend bool operator==(const Layer&, const Layer&) = default;
};

struct ModelShape {
  std::string name;         // for messages: model_type, or what the caller says
  std::string model_type;   // as config.json states it; empty for inline shapes
  std::int64_t hidden = 0;  // 0: attention only, no other part is priced
  std::int64_t vocab = 0;
  ComputeType compute = ComputeType::kBf16;
  ElementSize kv_element;  // width of stored KV, after prefill
  // Weights as stored, when known (an index file beside config.json).
  std::optional<Bytes> weight_bytes;
  // Longest context the model states, when it does.
  std::optional<Tokens> max_position;

  std::vector<Mixer> mixers;
  std::vector<FeedForward> feed_forwards;
  std::vector<Layer> layers;  // bottom to top

  // Whether widths are positive, indices in range, q_heads a multiple of
  // kv_heads. InvalidArgument names the field.
  absl::Status Validate() const;

  // Layers that use mixers[i], as their first or their second mixer.
  std::int64_t MixerCount(int i) const;
  // Layers that use feed_forwards[i].
  std::int64_t FeedForwardCount(int i) const;

  // Resident bytes that one more token adds once every window is full:
  // full 2*Hkv*D*d a layer, latent (rank + rope)*d plus indexer keys, windows
  // and recurrent states nothing.
  Bytes KvBytesPerToken() const;

  // All resident bytes of one sequence of `tokens` tokens whose last chunk had
  // `chunk` tokens: a sliding layer keeps min(tokens, window - 1 + chunk), a
  // linear layer its constant state. 0 tokens keep 0 bytes.
  Bytes SequenceBytes(Tokens tokens, Tokens chunk) const;

  // Same model with `count` layers: the pattern of layers repeated or cut.
  // The weight bytes are unknown then. A count below 1 leaves no layer, which
  // Validate() refuses.
  ModelShape WithLayers(std::int64_t count) const;

  friend bool operator==(const ModelShape&, const ModelShape&) = default;
};

}  // namespace tidegate

#endif  // TIDEGATE_MODEL_SHAPE_H_
