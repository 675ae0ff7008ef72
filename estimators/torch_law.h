// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A step of a model on torch, priced from the attention kernels of
// torch_attention.h: which one runs is the catalogue's answer for each kind of
// layer, n, kv length and mask.
//
// Serves the engine law "torch" wherever the whole-model law of transformers
// does not apply: a forced or self-chosen kernel (attention = default, flash,
// math, …), and shapes of which only the heads are known (hidden = 0). With
// hidden > 0 the parts that are no attention come from model_parts.h.
//
// Chunks of one step run one after another through each layer: their attention
// scratch does not coexist, their outputs do.
//
// Immutable after construction; thread-safe.

#ifndef TIDEGATE_ESTIMATORS_TORCH_LAW_H_
#define TIDEGATE_ESTIMATORS_TORCH_LAW_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "estimators/model_parts.h"
#include "estimators/price_sink.h"
#include "estimators/torch_attention.h"
#include "tidegate/catalogue.h"
#include "tidegate/estimator.h"
#include "tidegate/model_shape.h"
#include "tidegate/types.h"

namespace tidegate::internal {

class TorchLaw {
 public:
  // `shape` must be valid, `engine` resolved by `catalogue` to an engine of law
  // "torch". InvalidArgument when the catalogue names a kernel that has no
  // formula here.
  static absl::StatusOr<TorchLaw> Create(const ModelShape& shape,
                                         const Catalogue& catalogue,
                                         const ResolvedEngine& engine);

  // A call that does not run (see Unsupported) prices as kBytesMax in a part
  // "unsupported", so that nothing can be admitted on it by mistake.
  template <typename Sink>
  void Emit(const StepQuery& step, Sink& sink) const;

  void Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi, MaskKind mask,
                   std::vector<Tokens>* out) const;

  // The kernel of the first attention layer for the first chunk.
  std::string RouteName(const StepQuery& step) const;

  // Why some layer's call of this step does not run; empty when all do.
  std::string Unsupported(const StepQuery& step) const;

  // kv_cache = prealloc: written in place, no growth and no concatenation.
  bool KvPreallocated() const { return prealloc_; }

  // Only cuda-sm90 was measured.
  bool Assumed() const { return assumed_; }

 private:
  // Who calls the kernel, which decides what it is given.
  enum class Caller { kDirect, kSdpa, kEager, kFlashLowerRight };

  // One kind of softmax attention that occurs in the model.
  struct Group {
    RouteTable routes = RouteTable(Route{});
    FlashSplits splits;
    TorchPartNames names;
    std::string concat_name;
    std::int64_t q_heads = 0;
    std::int64_t kv_heads = 0;
    std::int64_t head_dim = 0;
    std::int64_t head_dim_v = 0;
    Tokens window = 0;  // 0: every earlier token
    // Cache bytes of one token, keys or values, whichever are more.
    Bytes concat_bytes = 0;
    // Latent layers: k and v of all heads, expanded from the latent rows.
    bool expands = false;

    Tokens Attended(Tokens n, Tokens kv_len) const {
      return window > 0 ? std::min(kv_len, SatAdd(window - 1, n)) : kv_len;
    }
  };

  explicit TorchLaw(const ModelShape& shape)
      : shape_(shape), parts_(shape, /*head_fused_rows=*/0) {}

  TorchCall MakeCall(const Group& group, const Route& route, Tokens n,
                     Tokens kv_len, MaskKind mask) const;
  // Bytes of a mask array that the caller builds for this call; 0: none.
  Bytes MaskArrayBytes(Tokens n, Tokens kv_len, MaskKind mask) const;
  template <typename Sink>
  void EmitCall(const Group& group, Tokens n, Tokens kv_len, MaskKind mask,
                Tokens tokens, Sink& sink) const;

  ModelShape shape_;
  ModelParts parts_;
  Caller caller_ = Caller::kDirect;
  std::string gqa_;
  Tokens tile_ = 0;
  bool prealloc_ = false;
  bool assumed_ = false;
  std::vector<Group> groups_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_TORCH_LAW_H_
