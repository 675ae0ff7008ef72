// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Linear attention and state-space layers: the fallbacks that transformers runs
// where flash-linear-attention, causal-conv1d and mamba-ssm are not installed.
// They compute in fp32 over the whole chunk, padded to their scan's own chunk,
// and are the dearest part of a hybrid model at short lengths.

#include <algorithm>

#include "estimators/transformers_moments.h"

namespace tidegate::internal {

using B = Basis;

void MomentBuilder::Linear(const Mixer& mixer) {
  const int index = static_cast<int>(&mixer - shape_.mixers.data());
  Begin("attention.linear");
  AddInputs(family_.attention_inputs - (AboveFirst(index) ? 0 : 1));
  // The short convolution's output, and its tail of the last chunk.
  Add("conv", B::kTokens, s_ * mixer.conv_dim);
  Add("conv", B::kOne, s_ * mixer.conv_dim * 2 * mixer.conv_kernel);
  switch (mixer.linear) {
    case LinearKind::kGatedDeltaNet:
      return DeltaNet(mixer);
    case LinearKind::kMamba1:
      return Mamba1(mixer);
    case LinearKind::kMamba2:
      return Mamba2(mixer);
    case LinearKind::kOther:
      // Lightning attention: q, k, v and the output in fp32, the gate, and
      // pairwise decays within blocks of 256.
      Add("scan", B::kTokens, 4 * mixer.linear_inner, 6);
      Add("decays", B::kTokens, 4 * 256 * mixer.linear_value_heads, 2);
      return;
  }
}

// torch_chunk_gated_delta_rule, chunks of 64.
void MomentBuilder::DeltaNet(const Mixer& m) {
  constexpr std::int64_t kChunk = 64;
  const std::int64_t values = m.linear_value_heads * m.linear_value_dim;
  const std::int64_t keys = m.linear_value_heads * m.linear_key_dim;
  const std::int64_t state = 4 * keys * m.linear_value_dim;
  if (family_.channel_decay) {
    // KDA: decay of every pair of positions, for each channel: the
    // difference, its exponential and the product.
    Add("decays", B::kScanTokens, 4 * kChunk * keys, 3);
    Add("scan", B::kScanTokens, 4 * std::max(keys, values), 7);
    Add("gates", B::kTokens, 4 * m.linear_value_heads, 4);
    Add("state", B::kOne, state, 2);
    return;
  }
  if (family_.linear_projection_alive) {
    Add("projected", B::kTokens,
        2 * s_ * (m.linear_key_heads * m.linear_key_dim + values));
  }
  Add("z", B::kTokens, s_ * values);
  // repeat_interleave of q and k to the value heads.
  if (m.linear_value_heads > m.linear_key_heads) {
    Add("qk_repeat", B::kTokens, s_ * keys, 2);
  }
  Add("gates", B::kTokens, 4 * m.linear_value_heads, 6);
  // v padded, v * beta, solved values, output and its copy.
  Add("scan_v", B::kScanTokens, 4 * values, 5);
  // k * beta, the same decayed, solved keys, q and k decayed.
  Add("scan_k", B::kScanTokens, 4 * keys, 5);
  // Pairwise decays, the triangular system, scores within a chunk.
  Add("decays", B::kScanTokens, 4 * kChunk * m.linear_value_heads, 3);
  // The old state, its decayed copy and the update, and what one chunk reads
  // and adds.
  Add("state", B::kOne, state, 3);
  Add("state", B::kOne, 4 * kChunk * values, 2);
}

// mamba2_chunk_scan: C times B for every pair of positions within a chunk, not
// summed over the state yet.
void MomentBuilder::Mamba2(const Mixer& m) {
  const std::int64_t chunk = family_.scan_chunk;
  const std::int64_t heads = m.linear_value_heads;
  const std::int64_t wide = 4 * heads * m.linear_key_dim;
  Add("projected", B::kTokens, s_ * (m.linear_inner + m.conv_dim + heads));
  Add("scan_pairs", B::kScanTokens, chunk * wide);
  Add("scan_bc", B::kScanTokens, wide, 2);
  Add("decays", B::kScanTokens, 4 * chunk * heads, 2);
  Add("scan_x", B::kScanTokens, 4 * m.linear_inner, 2);
  Add("gates", B::kScanTokens, 4 * heads, 3);
  Add("state", B::kOne, wide * m.linear_value_dim);
}

// mamba_selective_scan: the discretised A and B of every token and channel, and
// their product with the input; then a loop over tokens.
void MomentBuilder::Mamba1(const Mixer& m) {
  const std::int64_t inner = m.linear_inner;
  Add("projected", B::kTokens, 2 * s_ * inner);
  Add("scan_states", B::kTokens, 4 * inner * m.linear_key_dim, 3);
  Add("scan_x", B::kTokens, 4 * inner, 2);
  Add("scan_output", B::kTokens, s_ * inner, 4);
  Add("gates", B::kTokens, 4 * inner / 16);
  Add("state", B::kOne, 4 * inner * m.linear_key_dim, 2);
}

}  // namespace tidegate::internal
