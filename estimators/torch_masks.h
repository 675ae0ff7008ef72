// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Memory of building a causal [n, kv_len] mask on torch, the mask itself
// included, way by way. Measured on torch 2.11.0 with transformers 5.17.0; the
// requested bytes agree to the byte.
//
// A dense mask is linear in n * kv_len whatever the attention kernel does with
// it: at n = 8192 and 131,072 keys the cheapest way takes 1 GiB, the dearest 4.

#ifndef TIDEGATE_ESTIMATORS_TORCH_MASKS_H_
#define TIDEGATE_ESTIMATORS_TORCH_MASKS_H_

#include <cstdint>

#include "estimators/torch_attention.h"
#include "tidegate/types.h"

namespace tidegate::internal {

enum class TorchMaskBuilder {
  kOnesTril,       // torch.ones(n, L, bool).tril(L - n)
  kFullTriu,       // torch.full((n, L), -inf).triu(L - n + 1)
  kArangeCompare,  // arange(L)[None] <= arange(L - n, L)[:, None]
  kSdpaMask,       // transformers.masking_utils.sdpa_mask
  kEagerMask,      // transformers.masking_utils.eager_mask
};

// One part "mask". `width`: bytes of the compute type, of kFullTriu and
// kEagerMask.
template <typename Sink>
void EmitTorchMask(TorchMaskBuilder builder, Tokens n, Tokens kv_len,
                   std::int64_t width, Sink& sink) {
  const Bytes cells = SatMul(n, kv_len);
  TorchPart part(sink, "mask");
  switch (builder) {
    case TorchMaskBuilder::kOnesTril:
      // tril is not in place: its input stays alive.
      part.Add("ones", cells);
      part.Add("mask", cells);
      break;
    case TorchMaskBuilder::kFullTriu:
      part.Add("full", SatMul(width, cells));
      part.Add("mask", SatMul(width, cells));
      break;
    case TorchMaskBuilder::kArangeCompare:
    case TorchMaskBuilder::kSdpaMask:
      // int64 positions of keys and queries; the comparison broadcasts.
      part.AddFixed("positions", SatMul(8, kv_len));
      part.Add("positions", SatMul(8, n));
      if (builder == TorchMaskBuilder::kSdpaMask) {
        part.Add("indices", 8);  // of the batch and of the head
        part.Add("indices", 8);
      }
      part.Add("mask", cells);
      break;
    case TorchMaskBuilder::kEagerMask:
      // where(mask, 0, min): the bool mask and the array made from it.
      part.Add("mask_bool", cells);
      part.Add("mask", SatMul(width, cells));
      part.Add("constants", width);
      part.Add("constants", width);
      break;
  }
  part.End();
}

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_TORCH_MASKS_H_
