// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Price of a prefill chunk through a whole model of transformers 5.17.0 on
// torch 2.11, CUDA.
//
// A forward pass is a list of *moments*, each a list of buffers that are alive
// together: q being rotated, the attention call, the product of gate and up,
// the weighted outputs of the experts. Every buffer is linear in a few
// quantities of the step (its Basis: tokens, keys, cells of the mask, scores
// …), so a moment is a row of coefficients that are found once, when the law is
// made: read from the modelling sources, nothing is fitted. A price is the
// largest moment.
//
// The KV that a DynamicCache grows by is resident, not transient; the copy of
// a layer's old keys that torch.cat makes is a moment of its own. The caching
// allocator's rounding is one more term of each moment.
//
// Steps of several sequences add up, as do decode tokens, each with its keys:
// the widths of a step's buffers are those of all sequences together.
//
// Immutable after construction; thread-safe.

#ifndef TIDEGATE_ESTIMATORS_TRANSFORMERS_LAW_H_
#define TIDEGATE_ESTIMATORS_TRANSFORMERS_LAW_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "estimators/price_sink.h"
#include "estimators/torch_attention.h"
#include "estimators/transformers_family.h"
#include "tidegate/estimator.h"
#include "tidegate/model_shape.h"
#include "tidegate/types.h"

namespace tidegate::internal {

enum class TransformersAttention {
  kSdpa,     // attn_implementation="sdpa"
  kEager,    // attn_implementation="eager"
  kFlashLr,  // FLASH with torch's causal_lower_right bias, no mask tensor
};

// Which kernel runs under sdpa. A forced one is called as in
// bench/gpu/prefill_models.py: heads repeated always.
enum class SdpaKernel {
  kChosen,     // torch's choice
  kEfficient,  // SDPBackend::EFFICIENT_ATTENTION
  kMath,       // SDPBackend::MATH
};

struct TransformersOptions {
  TransformersAttention attention = TransformersAttention::kSdpa;
  SdpaKernel sdpa_kernel = SdpaKernel::kChosen;
  // Keys and values are written into a buffer made beforehand; otherwise
  // DynamicCache, which concatenates.
  bool preallocated_cache = false;
  std::int64_t sm_count = 132;  // H100, H200
};

// What a buffer's bytes are proportional to.
enum class Basis : std::uint8_t {
  kOne,
  kTokens,       // n
  kScanTokens,   // n rounded up to the chunk of the linear scan
  kCells,        // n * kv_len
  kMaskCells,    // the same where a mask is made, else 0
  kPadCells,     // n * kv_len rounded up to 8 keys, where a mask is made
  kKeys,         // kv_len
  kRepeatKeys,   // kv_len where k and v are expanded to all heads, else 0
  kWindowCells,  // the same five of the sliding layers
  kWindowMaskCells,
  kWindowPadCells,
  kWindowKeys,
  kWindowRepeatKeys,
  kSplits,  // n * splits of the flash kernel, 0 where it does not split
  kRows,    // rows of logits
};
inline constexpr int kBasisCount = 15;

// Whether it is the same for every chunk at a kv length that takes the same
// route.
constexpr bool IsFixed(Basis basis) {
  return basis == Basis::kOne || basis == Basis::kKeys ||
         basis == Basis::kRepeatKeys;
}

class TransformersLaw {
 public:
  // `shape` must be valid.
  TransformersLaw(const ModelShape& shape, const TransformersOptions& options);

  template <typename Sink>
  void Emit(const StepQuery& step, Sink& sink) const;

  void Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi, MaskKind mask,
                   std::vector<Tokens>* out) const;

  // Growth of the cache. A sliding layer keeps window - 1 tokens between
  // steps and window - 1 + n behind one, since what it keeps is a view of the
  // concatenation.
  Bytes Resident(const StepQuery& step) const {
    return options_.preallocated_cache ? 0 : ResidentOf(step);
  }

  std::string RouteName(const StepQuery& step) const;

  // Whether the model_type is one whose code was not read.
  bool Assumed() const { return assumed_; }

 private:
  // One buffer, or `count` of the same size.
  struct Buffer {
    const char* name;
    Basis basis;
    std::int64_t bytes;  // per unit of the basis, one buffer
    std::int64_t count;
  };
  struct Moment {
    const char* part;
    std::vector<Buffer> buffers;
    bool dominated = false;  // another moment is never smaller
  };
  // Buffers of one size.
  struct Weight {
    Bytes bytes = 0;  // per unit of the basis, one buffer
    int basis = 0;
    int count = 1;
  };
  // A moment that no other one dominates.
  struct Kept {
    int first = 0;  // of weights_, equal buffers together
    int last = 0;
    Bytes rounding = 0;       // of buffers of one size whatever the step
    Bytes most_rounding = 0;  // bound of all of them
  };
  using Values = std::array<Bytes, kBasisCount>;
  friend class MomentBuilder;

  Bytes ResidentOf(const StepQuery& step) const;
  Values ValuesOf(const StepQuery& step) const;
  // All but kOne and kRows, which belong to the step.
  void SetChunk(Tokens n, Tokens kv_len, Values& values) const;
  static Bytes Rounding(const Moment& moment, const Values& values);
  void Finish();
  void Keep(const Moment& moment);
  void FillMatrix(const std::vector<std::array<Bytes, kBasisCount>>& columns);

  // Whether no sum can leave the integers that a double holds.
  bool IsPlain(const Values& values) const {
    const auto value = [&](Basis basis) {
      return values[static_cast<int>(basis)];
    };
    // Padding adds less than 8 keys a token; a window sees no more.
    const Bytes cells =
        SatAdd(value(Basis::kCells), SatMul(8, value(Basis::kTokens)));
    const Bytes others = SatAdd(value(Basis::kKeys), value(Basis::kScanTokens),
                                value(Basis::kSplits), value(Basis::kRows));
    return cells <= plain_cells_ && others <= plain_others_;
  }
  // The numbers that Emit finds by walking every buffer of every moment, for a
  // plain step.
  struct Totals {
    Bytes transient = 0;
    Bytes largest = 0;
    Bytes fixed = 0;
  };
  Totals PlainTotals(const Values& values) const;
  Bytes PlainRounding(const Kept& kept, const Values& values) const;

  TransformersOptions options_;
  bool assumed_ = false;
  bool masks_ = false;          // masks are made at all
  bool skips_mask_ = false;     // … but not where n = kv_len
  bool grouped_heads_ = false;  // enable_gqa where there is no mask
  Tokens window_ = 0;           // 0: no layer slides
  std::int64_t scan_chunk_ = 64;
  Bytes growth_ = 0;         // per token, full and latent layers
  Bytes window_growth_ = 0;  // per token that sliding layers keep
  Bytes state_ = 0;          // of linear layers
  bool flash_ = false;
  FlashSplits splits_;
  std::vector<Moment> moments_;
  // The hot path. A column holds the bytes of one kept moment, or of its fixed
  // part, per unit of each basis in use: first the kept moments, then the fixed
  // parts that none dominates. Eight columns lie together, one basis behind
  // the other, kOne first. In doubles, which are exact here and multiplied in
  // pairs.
  static constexpr int kColumns = 8;
  static constexpr int kMostColumns = 64;
  std::vector<double> matrix_;
  int column_count_ = 0;
  std::vector<int> used_;  // the other bases
  std::vector<Kept> kept_;
  std::vector<Weight> weights_;
  std::vector<Weight> largest_;  // buffers that may be the largest
  Bytes plain_cells_ = 0;        // bounds of IsPlain
  Bytes plain_others_ = 0;
};

template <typename Sink>
void TransformersLaw::Emit(const StepQuery& step, Sink& sink) const {
  const Values values = ValuesOf(step);
  if constexpr (std::is_same_v<Sink, TotalsSink>) {
    if (IsPlain(values)) {
      const Totals totals = PlainTotals(values);
      sink.AddStep(totals.transient, totals.largest, totals.fixed);
      return;
    }
  }
  const auto add = [&](const Buffer& buffer) {
    const Bytes one =
        SatMul(buffer.bytes, values[static_cast<int>(buffer.basis)]);
    if (one == 0) return;
    const Bytes all = SatMul(one, buffer.count);
    if (buffer.count > 1) {
      sink.AddMany(buffer.name, all, one);
    } else if (IsFixed(buffer.basis)) {
      sink.AddFixed(buffer.name, all);
    } else {
      sink.Add(buffer.name, all);
    }
  };
  for (const Moment& moment : moments_) {
    sink.BeginPart(moment.part);
    for (const Buffer& buffer : moment.buffers) add(buffer);
    // A dominated moment is below another one even before rounding.
    if (!moment.dominated) {
      sink.AddMany("allocator", Rounding(moment, values), 0);
    }
    sink.EndPart();
  }
}

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_TRANSFORMERS_LAW_H_
