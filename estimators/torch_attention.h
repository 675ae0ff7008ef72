// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Memory of one attention call of torch on CUDA, kernel by kernel.
//
//   TorchCall call{.kernel = TorchKernel::kMath, .q_heads = 32, …};
//   EmitTorchAttention(call, names, sink);
//
// What is priced: the peak of torch.cuda.memory_allocated() during the call
// above what was live before it, output included, inputs and a mask given as
// input not. The formulas follow the operations in the order in which torch
// runs them (ATen/native/transformers/attention.cpp and the cuda/ folder beside
// it, v2.11.0) and agree with 2,216 measured calls on an H100 to within 4 bytes
// of *requested* memory. The caching allocator hands out slightly more; that
// part is the term "allocator" (AllocatorRounding).
//
// In the comments below s is the width of the compute type, h the query heads,
// S = h * n * kv_len the number of scores, out = s * h * n * head_dim_v.
//
// Thread-safety: pure functions; FlashSplits is immutable.

#ifndef TIDEGATE_ESTIMATORS_TORCH_ATTENTION_H_
#define TIDEGATE_ESTIMATORS_TORCH_ATTENTION_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tidegate/estimator.h"
#include "tidegate/status.h"
#include "tidegate/types.h"

namespace tidegate::internal {

enum class TorchKernel {
  kMath,          // SDPBackend::MATH; 16-bit types are computed in fp32
  kMathReduced,   // the same with allow_fp16_bf16_reduction_math_sdp(True)
  kEfficient,     // SDPBackend::EFFICIENT_ATTENTION
  kFlash,         // SDPBackend::FLASH_ATTENTION (FlashAttention-2)
  kCudnn,         // SDPBackend::CUDNN_ATTENTION
  kEager,         // transformers' eager_attention_forward
  kTiledMath,     // a loop over query tiles, kMath per tile
  kTiledInplace,  // a loop over query tiles, one scratch, softmax in place
};

// How grouped heads reach the kernel.
enum class TorchGqa {
  kMha,        // q_heads == kv_heads
  kEnableGqa,  // enable_gqa=True: grouped k and v are passed
  kRepeatKv,   // the caller expands k and v first; both copies are priced
  kNative,     // the kernel reads grouped heads (kTiledInplace)
};

// Split count of FlashAttention-2's split-KV path: with few query blocks it
// divides the kv length over several thread blocks, each with an fp32
// accumulator. More query tokens mean fewer splits, so scratch can *fall* as n
// grows.
//
// The rule is num_splits_heuristic of csrc/flash_attn/flash_api.cpp, evaluated
// by a table: about 10 ns a call, 640 bytes per distinct count of query blocks.
class FlashSplits {
 public:
  FlashSplits() = default;
  // `sm_count`: streaming multiprocessors of the device, >= 1 (H100: 132).
  FlashSplits(std::int64_t q_heads, std::int64_t kv_heads,
              std::int64_t head_dim, std::int64_t sm_count);

  // Splits for n query tokens over kv_len, both >= 1. 1: no scratch.
  std::int64_t Count(Tokens n, Tokens kv_len) const;

  // Appends each v in (lo, hi] whose split count is below that of v - 1.
  void Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi,
                   std::vector<Tokens>* out) const;

 private:
  static constexpr int kMaxSplits = 128;  // flash_api.cpp passes this bound
  struct Row {
    float efficiency[kMaxSplits];            // [k - 1]
    std::uint8_t by_efficiency[kMaxSplits];  // k - 1, best first
  };
  // Thread blocks of one split.
  std::int64_t QueryBlocks(Tokens n) const;
  const Row* FindRow(std::int64_t query_blocks) const;

  std::int64_t q_heads_ = 1;
  std::int64_t kv_heads_ = 1;
  std::int64_t block_n_ = 64;
  std::int64_t slots_ = 264;      // two thread blocks on each multiprocessor
  std::vector<Row> rows_;         // query blocks q_heads, 2 q_heads, …
  std::vector<Row> decode_rows_;  // at most one: n = 1 with grouped heads
  std::int64_t decode_blocks_ = 0;
};

// One call. Widths positive, n <= kv_len.
struct TorchCall {
  TorchKernel kernel = TorchKernel::kMath;
  TorchGqa gqa = TorchGqa::kMha;
  ComputeType compute = ComputeType::kBf16;
  MaskKind mask = MaskKind::kNone;  // kArray is priced as kBool, the dearer
  std::int64_t q_heads = 1;
  std::int64_t kv_heads = 1;
  std::int64_t head_dim = 1;
  std::int64_t head_dim_v = 1;
  Tokens n = 1;
  Tokens kv_len = 1;
  Tokens tile = 0;          // kTiled*: query rows of a tile; 0: all of them
  std::int64_t splits = 1;  // kFlash: FlashSplits::Count
};

// Names of the parts of one attention layer; they outlive the call.
struct TorchPartNames {
  std::string call = "attention";           // kernels with a single phase
  std::string mask = "attention.mask";      // mask conversion and padding
  std::string scores = "attention.scores";  // k scaled, q @ k^T
  std::string softmax = "attention.softmax";
  std::string output = "attention.output";  // weights @ v
};
TorchPartNames MakeTorchPartNames(std::string_view prefix);

// Bytes that the caching allocator adds to a block of `bytes`: a multiple of
// 512, and from 10 MiB on the rest of a 2 MiB multiple where that rest is at
// most 1 MiB, since such a remainder is not split off (c10/cuda/
// CUDACachingAllocator.cpp, v2.11.0: kMinBlockSize, kMinLargeAlloc,
// kRoundLarge, should_split). A block that reuses a cached one may add up to
// 1 MiB more.
constexpr Bytes AllocatorRounding(Bytes bytes) {
  constexpr Bytes kMiB = Bytes{1} << 20;
  if (bytes > kBytesMax - 2 * kMiB) return 0;  // saturated already
  const Bytes block = (bytes + 511) & ~Bytes{511};
  if (block < 10 * kMiB) return block - bytes;
  const Bytes segment = (block + 2 * kMiB - 1) & ~(2 * kMiB - 1);
  return (segment - block <= kMiB ? segment : block) - bytes;
}

// Values of the axis at which the price of one call may fall, splits aside:
// padding that a multiple of 8 keys saves, and lower_right turning into
// is_causal at n = kv_len. Appends, ascending, in (lo, hi].
void TorchCallBreakpoints(TorchKernel kernel, MaskKind mask, Axis axis,
                          Tokens fixed, Tokens lo, Tokens hi,
                          std::vector<Tokens>* out);

// Adds buffers to one part and the allocator's share at its end.
template <typename Sink>
class TorchPart {
 public:
  TorchPart(Sink& sink, std::string_view name) : sink_(sink) {
    sink_.BeginPart(name);
  }
  void Add(std::string_view name, Bytes bytes) {
    if (bytes == 0) return;
    rounding_ = SatAdd(rounding_, AllocatorRounding(bytes));
    sink_.Add(name, bytes);
  }
  void AddFixed(std::string_view name, Bytes bytes) {
    if (bytes == 0) return;
    rounding_ = SatAdd(rounding_, AllocatorRounding(bytes));
    sink_.AddFixed(name, bytes);
  }
  // A buffer of TorchHeld, which counts its rounding.
  void AddRounded(std::string_view name, Bytes bytes, bool fixed) {
    fixed ? sink_.AddFixed(name, bytes) : sink_.Add(name, bytes);
  }
  void AddRounding(Bytes bytes) { rounding_ = SatAdd(rounding_, bytes); }
  void End() {
    sink_.AddMany("allocator", rounding_, 0);
    sink_.EndPart();
  }

 private:
  Sink& sink_;
  Bytes rounding_ = 0;
};

// Buffers that several phases hold: measured once, added to each part.
class TorchHeld {
 public:
  void Add(const char* name, Bytes bytes) { Hold(name, bytes, false); }
  void AddFixed(const char* name, Bytes bytes) { Hold(name, bytes, true); }
  template <typename Part>
  void AddTo(Part& part) const {
    for (int i = 0; i < count_; ++i) {
      part.AddRounded(buffers_[i].name, buffers_[i].bytes, buffers_[i].fixed);
    }
    part.AddRounding(rounding_);
  }

 private:
  // Left uninitialised beyond count_: clearing it costs more than the price.
  struct Buffer {
    const char* name;
    Bytes bytes;
    bool fixed;
  };
  // 11 of a call and those of its caller (Alive).
  static constexpr int kMost = 24;

  void Hold(const char* name, Bytes bytes, bool fixed) {
    if (bytes == 0) return;
    TG_CHECK(count_ < kMost);
    rounding_ = SatAdd(rounding_, AllocatorRounding(bytes));
    buffers_[count_++] = {name, bytes, fixed};
  }

  Buffer buffers_[kMost];
  int count_ = 0;
  Bytes rounding_ = 0;
};

// Live bytes around the call that every part holds besides its own: none.
struct TorchNothingAlive {
  template <typename Part>
  void operator()(Part&) const {}
};

// Walks the phases of one call. `alive` adds what the caller holds meanwhile.
template <typename Sink, typename Alive>
class TorchAttentionEmitter {
 public:
  TorchAttentionEmitter(const TorchCall& call, const TorchPartNames& names,
                        Sink& sink, const Alive& alive)
      : call_(call),
        names_(names),
        sink_(sink),
        alive_(alive),
        width_(SizeOf(call.compute)),
        mask_(MaskSeen(call)),
        output_(SatMul(width_, call.q_heads, call.n, call.head_dim_v)) {}

  void Emit() {
    switch (call_.kernel) {
      case TorchKernel::kMath:
      case TorchKernel::kMathReduced:
        return Math(call_.n, mask_, /*in_tiles=*/false);
      case TorchKernel::kTiledMath:
        return Math(Tile(), MaskKind::kNone, /*in_tiles=*/true);
      case TorchKernel::kEfficient:
        return Efficient();
      case TorchKernel::kFlash:
        return Flash();
      case TorchKernel::kCudnn:
        return Cudnn();
      case TorchKernel::kEager:
        return Eager();
      case TorchKernel::kTiledInplace:
        return TiledInplace();
    }
  }

 private:
  using Part = TorchPart<Sink>;

  // torch/nn/attention/bias.py: with as many queries as keys a causal bias is
  // passed on as is_causal.
  static MaskKind MaskSeen(const TorchCall& call) {
    if (call.mask == MaskKind::kLowerRight && call.n == call.kv_len) {
      return MaskKind::kCausal;
    }
    return call.mask == MaskKind::kArray ? MaskKind::kBool : call.mask;
  }

  Tokens Tile() const {
    return call_.tile > 0 ? std::min(call_.n, call_.tile) : call_.n;
  }

  // k and v of all query heads, repeated by the caller. With one kv head,
  // expand().reshape() stays a view and nothing is copied.
  template <typename Buffers>
  void AddRepeated(Buffers& part) const {
    if (call_.gqa != TorchGqa::kRepeatKv || call_.kv_heads == 1) return;
    part.AddFixed("kv_repeat",
                  SatMul(width_, call_.q_heads, call_.kv_len, call_.head_dim));
    part.AddFixed("kv_repeat", SatMul(width_, call_.q_heads, call_.kv_len,
                                      call_.head_dim_v));
  }

  // A mask that the kernel cannot read as it is: bool becomes 0 and -inf in
  // the compute type; a lower-right bias is first materialised as bool, which
  // its caller keeps alive.
  template <typename Buffers>
  void AddConvertedMask(Buffers& part, MaskKind mask, Tokens rows) const {
    const Bytes cells = SatMul(rows, call_.kv_len);
    if (mask == MaskKind::kLowerRight) part.Add("mask_bool", cells);
    if (mask == MaskKind::kBool || mask == MaskKind::kLowerRight) {
      part.Add("mask_convert", SatMul(width_, cells));
    }
  }

  // _scaled_dot_product_attention_math. 16-bit inputs are upcast whole, k and
  // v included, which costs kv_len * D whatever n is: the floor of this kernel.
  void Math(Tokens rows, MaskKind mask, bool in_tiles) {
    const bool upcast = call_.kernel != TorchKernel::kMathReduced &&
                        call_.compute != ComputeType::kFp32;
    const std::int64_t c = upcast ? 4 : width_;
    const std::int64_t h = call_.q_heads;
    const Bytes scores = SatMul(h, rows, call_.kv_len);
    const Bytes out = SatMul(h, rows, call_.head_dim_v);

    // Alive from the first product to the end.
    TorchHeld held;
    alive_(held);
    AddRepeated(held);
    if (in_tiles) held.Add("output", output_);
    if (upcast) {
      const std::int64_t heads =
          call_.gqa == TorchGqa::kRepeatKv ? h : call_.kv_heads;
      held.AddFixed("kv_upcast",
                    SatMul(4, heads, call_.kv_len, call_.head_dim));
      held.AddFixed("kv_upcast",
                    SatMul(4, heads, call_.kv_len, call_.head_dim_v));
    }
    if (call_.gqa == TorchGqa::kEnableGqa && h != call_.kv_heads) {
      held.AddFixed("kv_repeat", SatMul(c, h, call_.kv_len, call_.head_dim));
      held.AddFixed("kv_repeat", SatMul(c, h, call_.kv_len, call_.head_dim_v));
    }
    const Bytes q = SatMul(c, h, rows, call_.head_dim);
    if (upcast) held.Add("q_upcast", q);
    held.Add("q_scaled", q);
    if (mask == MaskKind::kCausal) {
      // is_causal builds the mask itself, in the type of the scaled q.
      held.Add("mask_convert", SatMul(c, rows, call_.kv_len));
    } else {
      AddConvertedMask(held, mask, rows);
    }

    Part scoring(sink_, names_.scores);
    held.AddTo(scoring);
    scoring.AddFixed("k_scaled", SatMul(c, h, call_.kv_len, call_.head_dim));
    scoring.Add("scores", SatMul(c, scores));
    scoring.End();

    Part softmax(sink_, names_.softmax);
    held.AddTo(softmax);
    softmax.Add("scores", SatMul(c, scores));
    softmax.Add("softmax", SatMul(c, scores));
    // _safe_softmax: where a score is -inf, and the rows where all are.
    softmax.Add("masked", scores);
    softmax.Add("masked_rows", SatMul(h, rows));
    softmax.Add("constants", c);
    softmax.End();

    Part output(sink_, names_.output);
    held.AddTo(output);
    output.Add("softmax", SatMul(c, scores));
    output.Add("output_acc", SatMul(c, out));
    if (upcast) {
      output.Add("output_cast", SatMul(width_, out));
      // The op also returns the weights in the input's type.
      output.Add("weights_cast", SatMul(width_, scores));
    }
    output.End();
  }

  void Efficient() {
    // The kernel reads a bias in rows of 8 elements (preprocess_mask pads it).
    const bool has_bias = mask_ == MaskKind::kBool || mask_ == MaskKind::kFloat;
    const bool padded = has_bias && call_.kv_len % 8 != 0;
    const Bytes converted =
        mask_ == MaskKind::kBool ? SatMul(width_, call_.n, call_.kv_len) : 0;
    const Bytes padding =
        padded ? SatMul(width_, call_.n, RoundUp(call_.kv_len, 8)) : 0;
    if (padded) {
      Part mask(sink_, names_.mask);
      alive_(mask);
      AddRepeated(mask);
      mask.Add("mask_convert", converted);
      mask.Add("mask_pad", padding);
      mask.End();
    }
    Part part(sink_, names_.call);
    alive_(part);
    AddRepeated(part);
    part.Add(padded ? "mask_pad" : "mask_convert",
             padded ? padding : converted);
    part.Add("output", output_);
    // Wide heads don't fit the registers: partial sums go through memory in
    // fp32 (kNeedsOutputAccumulatorBuffer: more than one value tile, 16-bit
    // output).
    if (std::max(call_.head_dim, call_.head_dim_v) > 128 &&
        call_.compute != ComputeType::kFp32) {
      part.Add("output_acc",
               SatMul(4, call_.q_heads, call_.n, call_.head_dim_v));
    }
    part.End();
  }

  void Flash() {
    Part part(sink_, names_.call);
    alive_(part);
    AddRepeated(part);
    // Head dims that are no multiple of 8 are padded: pad_last_dim<8>.
    if (call_.head_dim % 8 != 0) {
      const std::int64_t wide = RoundUp(call_.head_dim, 8);
      part.Add("q_pad", SatMul(width_, call_.q_heads, call_.n, wide));
      const std::int64_t heads =
          call_.gqa == TorchGqa::kRepeatKv ? call_.q_heads : call_.kv_heads;
      const Bytes kv = SatMul(width_, heads, call_.kv_len, wide);
      part.AddFixed("kv_pad", kv);
      part.AddFixed("kv_pad", kv);
      part.Add("output", SatMul(width_, call_.q_heads, call_.n, wide));
    } else {
      part.Add("output", output_);
    }
    const Bytes rows = SatMul(4, call_.q_heads, call_.n);
    part.Add("lse", rows);
    part.Add("rng_state", 16);  // seed and offset, kept without dropout too
    part.Add("rng_state", 8);
    if (call_.splits > 1) {
      const std::int64_t wide =
          call_.head_dim <= 192 ? RoundUp(call_.head_dim, 32) : 256;
      part.Add("split_kv_lse", SatMul(call_.splits, rows));
      part.Add("split_kv", SatMul(call_.splits, rows, wide));
    }
    part.End();
  }

  void Cudnn() {
    Part part(sink_, names_.call);
    alive_(part);
    AddRepeated(part);
    AddConvertedMask(part, mask_, call_.n);
    part.Add("output", output_);
    part.Add("workspace", 256);  // no log-sum-exp in inference
    part.Add("rng_state", 8);
    part.Add("rng_state", 8);
    part.End();
  }

  // repeat_kv, matmul, mask added, softmax in fp32, cast back, matmul,
  // transpose().contiguous().
  void Eager() {
    const Bytes scores = SatMul(call_.q_heads, call_.n, call_.kv_len);
    Part softmax(sink_, names_.softmax);
    alive_(softmax);
    AddRepeated(softmax);
    softmax.Add("scores", SatMul(width_, scores));
    softmax.Add("softmax", SatMul(4, scores));
    // fp16 goes into the fp32 softmax without a copy and is then cast back;
    // bf16 is upcast first, and that copy outweighs the cast.
    if (call_.compute == ComputeType::kBf16) {
      softmax.Add("scores_upcast", SatMul(4, scores));
    } else if (call_.compute == ComputeType::kFp16) {
      softmax.Add("weights_cast", SatMul(2, scores));
    }
    softmax.End();

    Part output(sink_, names_.output);
    alive_(output);
    AddRepeated(output);
    output.Add("softmax", SatMul(width_, scores));
    output.Add("output", output_);
    output.Add("output_contiguous", output_);
    output.End();
  }

  void TiledInplace() {
    const Tokens tile = Tile();
    const Bytes tile_rows = SatMul(width_, call_.q_heads, tile);
    const auto base = [&](Part& part) {
      alive_(part);
      part.Add("output", output_);
      part.Add("scores", SatMul(tile_rows, call_.kv_len));
      part.AddFixed("positions", SatMul(8, call_.kv_len));
      part.Add("positions", SatMul(8, tile));
      // A slice of grouped queries is not contiguous; a single tile is.
      if (call_.q_heads != call_.kv_heads && tile < call_.n) {
        part.Add("q_tile", SatMul(tile_rows, call_.head_dim));
      }
    };
    Part mask(sink_, names_.softmax);
    base(mask);
    mask.Add("mask", SatMul(tile, call_.kv_len));
    mask.End();
    Part output(sink_, names_.output);
    base(output);
    output.Add("output_tile", SatMul(tile_rows, call_.head_dim_v));
    output.End();
  }

  const TorchCall& call_;
  const TorchPartNames& names_;
  Sink& sink_;
  const Alive& alive_;
  std::int64_t width_;
  MaskKind mask_;
  Bytes output_;
};

template <typename Sink, typename Alive = TorchNothingAlive>
void EmitTorchAttention(const TorchCall& call, const TorchPartNames& names,
                        Sink& sink, const Alive& alive = Alive()) {
  TorchAttentionEmitter<Sink, Alive>(call, names, sink, alive).Emit();
}

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_TORCH_ATTENTION_H_
