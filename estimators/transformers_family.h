// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What a model's code in transformers keeps alive that its config.json does
// not state: read from the modelling sources of transformers 5.17.0, one row a
// model_type.

#ifndef TIDEGATE_ESTIMATORS_TRANSFORMERS_FAMILY_H_
#define TIDEGATE_ESTIMATORS_TRANSFORMERS_FAMILY_H_

#include <cstdint>
#include <string_view>

namespace tidegate::internal {

// How q and k are rotated, which decides how many copies are alive.
enum class RopeStyle {
  kPlain,      // q * cos + rotate_half(q) * sin in the compute type
  kFp32,       // cos and sin stay fp32, so every product is (OLMo 2)
  kUpcast,     // q and k are upcast before (Cohere)
  kUpcastBoth  // each product's operand is upcast on its own (ERNIE 4.5)
};

struct TransformersFamily {
  std::string_view type;  // model_type without a "_text" suffix
  // Hidden-wide tensors alive when attention, and when the feed-forward block,
  // is entered: the embeddings (a local of the model's forward), the layer's
  // input (a local of the loop), the residual after attention, the normed
  // input of the block.
  std::int64_t attention_inputs = 3;
  std::int64_t feed_forward_inputs = 4;
  RopeStyle rope = RopeStyle::kPlain;
  // q is assembled by torch.cat, which leaves it head-major; a kernel's output
  // takes q's layout, and transpose(1, 2).contiguous() then copies it.
  bool q_by_cat = false;
  // One projection yields q, k and v, and stays alive as a local.
  bool fused_qkv = false;
  // Feed-forward-wide tensors alive at once: gate, act(gate) and their product
  // with up make 3; a fused gate_up projection 4; act(up) alone 2.
  std::int64_t feed_forward_copies = 3;
  // Routing weights stay fp32, which promotes the weighted expert outputs.
  bool fp32_routing = false;
  // The shared expert runs first: its output waits for the routed ones.
  bool shared_first = false;
  // mamba_chunk_size.
  std::int64_t scan_chunk = 256;
  // rotary embeddings of full and sliding layers are two pairs.
  bool two_ropes = false;
  // The sliding layers' mask is made, with all keys, where no layer slides.
  bool unused_sliding_mask = false;
  // The projection of the linear layer stays alive beside its parts.
  bool linear_projection_alive = false;
  // Delta net with a decay per channel (KDA): its pairwise decays are
  // materialised per channel.
  bool channel_decay = false;
};

// The family of a model_type. `known` is false when this version has no row;
// the answer is then the dearest of each choice.
TransformersFamily FindTransformersFamily(std::string_view model_type,
                                          bool* known);

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_TRANSFORMERS_FAMILY_H_
