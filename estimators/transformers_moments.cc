// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Sources, all of transformers 5.17.0 unless said otherwise: models/*/
// modeling_*.py for the order of operations, integrations/sdpa_attention.py for
// the attention call, cache_utils.py for the caches, masking_utils.py for
// masks, integrations/moe.py for experts.
//
// What Python keeps alive follows from its frames: a caller's argument lives
// until the call returns, a local until it is bound again. So the model's
// forward holds the embeddings to the end, its loop the layer's input, the
// layer its residual and, with eager attention, the attention weights (the
// underscore in `hidden_states, _ = self.self_attn(...)` is a local too).

#include "estimators/transformers_moments.h"

#include <algorithm>

namespace tidegate::internal {

using B = Basis;

constexpr MomentBuilder::Span kFull = {"attention.full",
                                       "attention.full.call",
                                       "attention.full.output",
                                       "attention.full.cache",
                                       "attention.full.project",
                                       B::kCells,
                                       B::kMaskCells,
                                       B::kPadCells,
                                       B::kKeys,
                                       B::kRepeatKeys};
constexpr MomentBuilder::Span kSliding = {"attention.sliding",
                                          "attention.sliding.call",
                                          "attention.sliding.output",
                                          "attention.sliding.cache",
                                          "attention.sliding.project",
                                          B::kWindowCells,
                                          B::kWindowMaskCells,
                                          B::kWindowPadCells,
                                          B::kWindowKeys,
                                          B::kWindowRepeatKeys};

constexpr MomentBuilder::Span kLatent = {"attention.latent",
                                         "attention.latent.call",
                                         "attention.latent.output",
                                         "attention.latent.cache",
                                         "attention.latent.project",
                                         B::kCells,
                                         B::kMaskCells,
                                         B::kPadCells,
                                         B::kKeys,
                                         B::kRepeatKeys};

MomentBuilder::MomentBuilder(const ModelShape& shape,
                             const TransformersFamily& family,
                             const TransformersOptions& options)
    : shape_(shape),
      family_(family),
      options_(options),
      s_(SizeOf(shape.compute)),
      eager_(options.attention == TransformersAttention::kEager),
      math_(options.attention == TransformersAttention::kSdpa &&
            options.sdpa_kernel == SdpaKernel::kMath) {
  for (const Mixer& mixer : shape.mixers) {
    if (mixer.kind == MixerKind::kSliding) sliding_ = true;
    if (mixer.kind == MixerKind::kFull || mixer.kind == MixerKind::kLatent) {
      full_ = true;
    }
    rope_width_ = std::max(rope_width_, mixer.kind == MixerKind::kLatent
                                            ? mixer.rope_dim
                                            : mixer.head_dim);
  }
}

std::vector<MomentBuilder::Moment> MomentBuilder::Build() {
  for (const Mixer& mixer : shape_.mixers) {
    switch (mixer.kind) {
      case MixerKind::kFull:
        Attention(mixer, kFull);
        break;
      case MixerKind::kSliding:
        Attention(mixer, kSliding);
        break;
      case MixerKind::kLatent:
        Latent(mixer);
        break;
      case MixerKind::kLinear:
        Linear(mixer);
        break;
      case MixerKind::kNone:
        break;
    }
  }
  if (shape_.hidden == 0) return std::move(moments_);
  // Eager weights make the block above an attention layer the dearer one, so
  // each pair that occurs is laid out.
  std::vector<std::pair<int, int>> seen;
  for (const Layer& layer : shape_.layers) {
    const std::pair<int, int> pair = {layer.mixer, layer.feed_forward};
    if (std::find(seen.begin(), seen.end(), pair) != seen.end()) continue;
    seen.push_back(pair);
    const FeedForward& block = shape_.feed_forwards[layer.feed_forward];
    const Mixer* mixer = &shape_.mixers[layer.mixer];
    if (block.kind == FeedForwardKind::kDense) Dense(block, mixer);
    if (block.kind == FeedForwardKind::kMoe) Moe(block, mixer);
  }
  Head();
  return std::move(moments_);
}

bool MomentBuilder::AboveFirst(int mixer) const {
  for (std::size_t i = 1; i < shape_.layers.size(); ++i) {
    if (shape_.layers[i].mixer == mixer) return true;
  }
  return false;
}

void MomentBuilder::Add(const char* name, Basis basis, std::int64_t bytes,
                        std::int64_t count) {
  if (bytes <= 0 || count <= 0) return;
  moments_.back().buffers.push_back({name, basis, bytes, count});
}

void MomentBuilder::AddStep() {
  if (shape_.hidden == 0) return;
  Add("positions", B::kTokens, 8);
  const std::int64_t width =
      family_.rope == RopeStyle::kFp32 || family_.rope == RopeStyle::kUpcastBoth
          ? 4
          : s_;
  Add("rope", B::kTokens, width * rope_width_,
      family_.two_ropes && sliding_ ? 4 : 2);
  // sdpa: bool; eager: 0 and the lowest number in the compute type.
  const std::int64_t mask = eager_ ? s_ : 1;
  if (full_) Add("mask", B::kMaskCells, mask);
  if (sliding_) {
    Add("mask_sliding", B::kWindowMaskCells, mask);
  } else if (family_.unused_sliding_mask &&
             options_.attention != TransformersAttention::kFlashLr) {
    Add("mask_sliding", B::kCells, mask);
  }
}

void MomentBuilder::AddInputs(std::int64_t count) {
  AddStep();
  Add("hidden", B::kTokens, s_ * shape_.hidden, count);
}

void MomentBuilder::AddWeights(const Mixer& mixer) {
  if (!eager_) return;
  const bool sliding = mixer.kind == MixerKind::kSliding;
  if (mixer.kind == MixerKind::kLinear || mixer.kind == MixerKind::kNone) {
    return;
  }
  Add("attention_weights", sliding ? B::kWindowCells : B::kCells,
      s_ * mixer.q_heads);
  if (mixer.sinks) Add("attention_weights", B::kTokens, s_ * mixer.q_heads);
}

void MomentBuilder::Attention(const Mixer& mixer, const Span& span) {
  const int index = static_cast<int>(&mixer - shape_.mixers.data());
  const std::int64_t inputs =
      shape_.hidden == 0
          ? 0
          : family_.attention_inputs - (AboveFirst(index) ? 0 : 1);
  Rotation(mixer, span, inputs);
  Call(mixer, span, inputs);
}

// apply_rotary_pos_emb and the norms of q and k.
void MomentBuilder::Rotation(const Mixer& mixer, const Span& span,
                             std::int64_t inputs) {
  const std::int64_t q = s_ * mixer.q_heads * mixer.head_dim;
  const std::int64_t k = s_ * mixer.kv_heads * mixer.head_dim;
  const std::int64_t v = s_ * mixer.kv_heads * mixer.head_dim_v;
  const std::int64_t wide = 4 / s_;  // fp32 over the compute type
  // Copies of q while q, then of q and k while k, is rotated.
  std::int64_t q_first = 4;
  std::int64_t k_first = 1;
  std::int64_t q_then = 2;
  std::int64_t k_then = 4;
  if (family_.rope == RopeStyle::kFp32) {
    // q, q * cos, rotated, rotated * sin, then their sum
    q_first = 1 + 3 * wide;
    q_then = 1 + wide;
    k_then = 1 + 3 * wide;
  } else if (family_.rope == RopeStyle::kUpcast) {
    // q and k, both upcast; q * cos, rotated, rotated * sin
    q_first = 1 + 4 * wide;
    k_first = 1 + wide;
    q_then = 1 + 2 * wide;
    k_then = 1 + 4 * wide;
  } else if (family_.rope == RopeStyle::kUpcastBoth) {
    q_first = 2 + 3 * wide;
    q_then = 1 + wide;
    k_then = 2 + 3 * wide;
  }
  if (mixer.qk_norm) {
    // RMSNorm holds its fp32 input and the square beside the 16-bit one.
    q_first = std::max(q_first, 1 + 2 * wide);
    k_then = std::max(k_then, 1 + 2 * wide);
  }
  // The projection's gate half stays as a view of a buffer twice as wide, and
  // is copied; the norm works on top of both.
  if (mixer.output_gate) q_first += 2;

  // The cache has yet to take the chunk's k and v, which are resident by the
  // end of the step: in this moment they stand for themselves.
  const bool grows = !options_.preallocated_cache && mixer.stores_kv;
  Begin(span.part);
  AddInputs(inputs);
  Add("q_rotated", B::kTokens, q, q_first);
  Add("k_rotated", B::kTokens, k, k_first - (grows ? 1 : 0));
  if (!grows) Add("v", B::kTokens, v);
  Begin(span.part);
  AddInputs(inputs);
  Add("q_rotated", B::kTokens, q, q_then + (mixer.output_gate ? 1 : 0));
  Add("k_rotated", B::kTokens, k, k_then - (grows ? 1 : 0));
  if (!grows) Add("v", B::kTokens, v);
}

void MomentBuilder::AddQueries(const Mixer& mixer) {
  const std::int64_t q = s_ * mixer.q_heads * mixer.head_dim;
  Add("q", B::kTokens, q);
  if (mixer.output_gate) Add("q_gate", B::kTokens, q);
  if (family_.fused_qkv) {
    Add("qkv", B::kTokens,
        q + s_ * mixer.kv_heads * (mixer.head_dim + mixer.head_dim_v));
  }
}

// repeat_kv: expand().reshape() copies unless there is one head to repeat.
void MomentBuilder::AddRepeat(const Mixer& mixer, const Span& span) {
  if (mixer.q_heads == mixer.kv_heads || mixer.kv_heads == 1) return;
  if (options_.attention == TransformersAttention::kFlashLr) return;
  // use_gqa_in_sdpa: grouped heads go to the kernel only without a mask and
  // with equal head dims up to 256.
  const bool grouped =
      !eager_ && mixer.head_dim == mixer.head_dim_v && mixer.head_dim <= 256;
  const Basis keys = grouped ? span.repeat_keys : span.keys;
  Add("kv_repeat", keys, s_ * mixer.q_heads * mixer.head_dim);
  Add("kv_repeat", keys, s_ * mixer.q_heads * mixer.head_dim_v);
}

// What the attention call allocates beside its output (torch_attention.h).
void MomentBuilder::AddKernel(const Mixer& mixer, const Span& span) {
  const std::int64_t widest = std::max(mixer.head_dim, mixer.head_dim_v);
  const std::int64_t heads = mixer.q_heads;
  if (options_.attention == TransformersAttention::kFlashLr) {
    Add("log_sum_exp", B::kTokens, 4 * heads);
    // One fp32 accumulator and one log-sum-exp for each split.
    const std::int64_t rounded =
        widest <= 192 ? RoundUp(widest, 32) : std::int64_t{256};
    Add("split_acc", B::kSplits, 4 * heads * rounded);
    Add("split_log_sum_exp", B::kSplits, 4 * heads);
  } else if (widest <= 256 && shape_.compute != ComputeType::kFp32 &&
             options_.sdpa_kernel != SdpaKernel::kEfficient) {
    Add("mask_convert", span.mask_cells, s_);  // CUDNN
    Add("workspace", B::kOne, 512);
  } else {
    // EFFICIENT. Its bias has rows of 8 keys; priced as padded whatever
    // kv_len is, so that the price never falls as keys are added.
    Add("mask_pad", span.pad_cells, s_);
    if (widest > 128 && shape_.compute != ComputeType::kFp32) {
      Add("output_acc", B::kTokens, 4 * heads * mixer.head_dim_v);
    }
  }
}

// _scaled_dot_product_attention_math, in the moment that is open and two more;
// `held` adds what is alive beside it (torch_attention.h has the same phases).
template <typename Held>
void MomentBuilder::MathKernel(const Mixer& mixer, const Span& span,
                               const Held& held) {
  const bool upcast = shape_.compute != ComputeType::kFp32;
  const std::int64_t c = 4;
  const std::int64_t h = mixer.q_heads;
  const auto inputs = [&] {
    held();
    if (upcast) {
      Add("kv_upcast", span.keys, c * h * mixer.head_dim);
      Add("kv_upcast", span.keys, c * h * mixer.head_dim_v);
    }
    Add("q_scaled", B::kTokens, c * h * mixer.head_dim, upcast ? 2 : 1);
    Add("mask_convert", span.mask_cells, s_);
  };
  inputs();
  Add("k_scaled", span.keys, c * h * mixer.head_dim);
  Add("scores", span.cells, c * h);
  Begin(span.part_call);
  inputs();
  Add("scores", span.cells, c * h, 2);
  Add("masked", span.cells, h);
  Begin(span.part_call);
  inputs();
  Add("scores", span.cells, c * h);
  Add("output_acc", B::kTokens, c * h * mixer.head_dim_v);
  if (upcast) {
    Add("output", B::kTokens, s_ * h * mixer.head_dim_v);
    Add("weights_cast", span.cells, s_ * h);
  }
}

void MomentBuilder::Call(const Mixer& mixer, const Span& span,
                         std::int64_t inputs) {
  const std::int64_t heads = mixer.q_heads;
  const std::int64_t out = s_ * heads * mixer.head_dim_v;
  const std::int64_t k = s_ * mixer.kv_heads * mixer.head_dim;
  const std::int64_t v = s_ * mixer.kv_heads * mixer.head_dim_v;
  if (!options_.preallocated_cache && mixer.stores_kv) {
    // torch.cat of the old and the new values, the keys done. Old values are
    // live before the step, so the new ones count whole; what the layer grows
    // by is resident already and stands against the chunk's own v.
    Begin(span.part_cache);
    AddInputs(inputs);
    AddQueries(mixer);
    Add("k", B::kTokens, k);
    Add("kv_concat", span.keys, std::max(k, v));
  }

  const auto held = [&] {
    AddInputs(inputs);
    AddQueries(mixer);
    AddRepeat(mixer, span);
  };
  Begin(span.part_call);
  if (math_) {
    MathKernel(mixer, span, held);
    Begin(span.part_output);
    held();
    Add("output", B::kTokens, out, 2);
    Project(mixer, span, inputs);
    return;
  }
  held();
  if (eager_) {
    // scores * scaling + mask in the compute type, then softmax in fp32: bf16
    // is upcast first, fp16 cast back after; gpt-oss concatenates its sinks,
    // subtracts the maximum and stays in the compute type.
    std::int64_t bytes =
        s_ + 4 + (shape_.compute == ComputeType::kBf16 ? 4 : 0);
    if (shape_.compute == ComputeType::kFp16) bytes += 2;
    if (mixer.sinks) bytes = 3 * s_;
    Add("scores", span.cells, s_ * heads);
    Add("softmax", span.cells, (bytes - s_) / 2 * heads, 2);
    // The column of sinks, and the maximum of each row.
    if (mixer.sinks) Add("scores", B::kTokens, s_ * heads, 4);
    Begin(span.part_output);
    AddInputs(inputs);
    AddQueries(mixer);
    AddRepeat(mixer, span);
    Add("attention_weights", span.cells, s_ * heads);
    Add("output", B::kTokens, out, 2);
  } else {
    AddKernel(mixer, span);
    Add("output", B::kTokens, out);
    if (family_.q_by_cat) {
      // transpose(1, 2).contiguous() of a head-major output.
      Begin(span.part_output);
      AddInputs(inputs);
      AddQueries(mixer);
      AddRepeat(mixer, span);
      Add("output", B::kTokens, out, 2);
    }
  }

  Project(mixer, span, inputs);
}

void MomentBuilder::Project(const Mixer& mixer, const Span& span,
                            std::int64_t inputs) {
  Begin(span.part_project);
  AddInputs(inputs);
  AddWeights(mixer);
  AddQueries(mixer);
  Add("output", B::kTokens, s_ * mixer.q_heads * mixer.head_dim_v,
      mixer.output_gate ? 3 : 1);
  Add("projected", B::kTokens, s_ * shape_.hidden);
}

// MLA: the cache holds latents, attention sees keys and values of all heads,
// expanded anew from every latent at every chunk.
void MomentBuilder::Latent(const Mixer& mixer) {
  const int index = static_cast<int>(&mixer - shape_.mixers.data());
  const std::int64_t inputs =
      family_.attention_inputs - (AboveFirst(index) ? 0 : 1);
  const std::int64_t heads = mixer.q_heads;
  const std::int64_t nope = mixer.head_dim - mixer.rope_dim;
  const std::int64_t q = s_ * heads * mixer.head_dim;
  const std::int64_t out = s_ * heads * mixer.head_dim_v;
  const auto expanded = [&] {
    AddInputs(inputs);
    Add("q", B::kTokens, q, 2);  // projected, and joined with its rotated part
    Add("q_rotated", B::kTokens, s_ * heads * mixer.rope_dim);
    Add("latent", B::kTokens, s_ * (mixer.kv_lora_rank + mixer.rope_dim));
    Add("kv_expand", B::kKeys, s_ * heads * (nope + mixer.head_dim_v));
    Add("k_expand", B::kKeys, s_ * heads * mixer.head_dim);
  };
  Begin("attention.latent.call");
  if (math_) {
    MathKernel(mixer, kLatent, expanded);
    Begin("attention.latent.output");
    expanded();
    Add("output", B::kTokens, out, 2);
    return;
  }
  expanded();
  if (eager_) {
    Add("scores", B::kCells, s_ * heads);
    Add("softmax", B::kCells,
        (shape_.compute == ComputeType::kBf16 ? 4 : 3) * heads, 2);
    Begin("attention.latent.output");
    expanded();
    Add("attention_weights", B::kCells, s_ * heads);
    Add("output", B::kTokens, out, 2);
    return;
  }
  AddKernel(mixer, kLatent);
  Add("output", B::kTokens, out);
  Begin("attention.latent.output");
  expanded();
  Add("output", B::kTokens, out, 2);
}

void MomentBuilder::Dense(const FeedForward& block, const Mixer* mixer) {
  Begin("mlp");
  AddInputs(family_.feed_forward_inputs);
  AddWeights(*mixer);
  const std::int64_t copies =
      block.gated ? std::max<std::int64_t>(3, family_.feed_forward_copies)
                  : std::min<std::int64_t>(3, family_.feed_forward_copies);
  Add("mlp", B::kTokens, s_ * block.intermediate, copies);
}

// grouped_mm_experts_forward, S = n * top_k rows.
void MomentBuilder::Moe(const FeedForward& block, const Mixer* mixer) {
  const std::int64_t k = block.top_k;
  const std::int64_t e = s_ * shape_.hidden;
  const std::int64_t m = s_ * block.intermediate;
  const std::int64_t inputs =
      family_.feed_forward_inputs + (block.parallel_intermediate > 0 ? 2 : 0);
  const auto routed = [&] {
    AddInputs(inputs);
    AddWeights(*mixer);
    if (family_.shared_first) Add("shared_output", B::kTokens, e);
    Add("router_logits", B::kTokens, 4 * block.experts);
    // Expert of each row, the permutation and its inverse, weights, masks.
    Add("routing", B::kTokens, 8 * k, 6);
    Add("expert_input", B::kTokens, k * e);
  };
  // Gate and up in one tensor, copied by masked_fill; then act(gate) and the
  // product beside it. gpt-oss adds per-row biases and clamps both halves.
  Begin("moe.up");
  routed();
  const std::int64_t halves = block.gated ? 2 : 1;
  if (block.bias) {
    Add("expert_bias", B::kTokens, k * m, 2);
    Add("expert_up", B::kTokens, k * m, 7);
  } else {
    Add("expert_up", B::kTokens, k * halves * m, 2);
  }
  // Outputs, the same weighted, and weighted in the tokens' order.
  Begin("moe.down");
  routed();
  if (block.bias) Add("expert_bias", B::kTokens, k * e);
  Add("expert_output", B::kTokens, k * e);
  Add("expert_weighted", B::kTokens,
      k * shape_.hidden * (family_.fp32_routing ? 4 : s_), 2);

  const std::int64_t beside =
      std::max(block.shared_intermediate, block.parallel_intermediate);
  if (beside == 0) return;
  Begin("moe.shared");
  AddInputs(family_.feed_forward_inputs);
  AddWeights(*mixer);
  Add("expert_output", B::kTokens, e);
  Add("mlp", B::kTokens, s_ * beside, family_.feed_forward_copies);
}

// The norms upcast the hidden state and square it; the head sees the rows asked
// for, one unless the caller wants more. Logits come in the compute type, and
// their caller's probabilities beside them.
void MomentBuilder::Head() {
  Begin("norm");
  AddInputs(3);
  Add("norm_fp32", B::kTokens, 4 * shape_.hidden, 2);
  if (shape_.vocab == 0) return;
  Begin("head");
  Add("hidden", B::kTokens, s_ * shape_.hidden);
  Add("logits", B::kRows, s_ * shape_.vocab, 2);
}

}  // namespace tidegate::internal
