// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/llamacpp_law.h"

#include <cmath>

namespace tidegate::internal {
namespace {

// n_ctx and the sliding caches are padded to this (llama-context.cpp,
// llama-kv-cache-iswa.cpp).
constexpr Tokens kCachePad = 256;

// The allocator rounds each tensor up to 32 bytes (TENSOR_ALIGNMENT); no graph
// keeps more than this many alive.
constexpr Bytes kAlignmentSlack = 32 * 64;

constexpr Bytes kHalf = 2;  // activations are converted to fp16 for products

// The rotation of a quantised cache: one square matrix for keys, as wide as
// the largest power of two times 64 that divides the head, and one of 64 for
// values, per cache (llama-kv-cache.cpp).
Bytes RotationBytes(const Mixer& mixer) {
  if (mixer.head_dim % 64 != 0) return 0;
  std::int64_t side = 64;
  while (mixer.head_dim % (2 * side) == 0) side *= 2;
  return SatMul(4, SatAdd(SatMul(side, side), 64 * 64));
}

std::int64_t ValueDim(const Mixer& mixer) {
  return mixer.head_dim_v > 0 ? mixer.head_dim_v : mixer.head_dim;
}

bool HasAttention(const Mixer& mixer) {
  return mixer.kind != MixerKind::kNone && mixer.kind != MixerKind::kLinear;
}

// Families whose graph in llama.cpp is the one built here. Measured: llama
// (dense and experts), qwen3, qwen3_moe, gemma3; the others by its source.
bool KnownFamily(std::string_view type) {
  for (std::string_view known :
       {"llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gemma2",
        "gemma3", "gemma3_text", "phi3", "gpt_oss"}) {
    if (type == known) return true;
  }
  return false;
}

}  // namespace

LlamaCppLaw::LlamaCppLaw(const ModelShape& shape,
                         const LlamaCppOptions& options)
    : shape_(shape),
      options_(options),
      row_bytes_(RowBytes(shape)),
      constant_bytes_(kAlignmentSlack),
      few_(shape, options.flash_attention, LlamaRows::kFew),
      all_(shape, options.flash_attention, LlamaRows::kAll) {
  for (const Mixer& mixer : shape_.mixers) {
    if (SlidesInLlamaCpp(shape_, mixer)) {
      window_ = std::max(window_, mixer.window);
    }
    if (HasAttention(mixer) && shape_.kv_element.per_65536 < kHalf * 65536) {
      constant_bytes_ = SatAdd(constant_bytes_, RotationBytes(mixer));
    }
  }
  assumed_ = !KnownFamily(shape_.model_type);
  for (const Mixer& mixer : shape_.mixers) {
    assumed_ = assumed_ || (mixer.kind != MixerKind::kFull &&
                            mixer.kind != MixerKind::kSliding);
  }
  for (const FeedForward& block : shape_.feed_forwards) {
    moe_ = moe_ || block.kind == FeedForwardKind::kMoe;
  }
  if (window_ == 0) {
    few_table_ = LlamaTable(few_);
    all_table_ = LlamaTable(all_);
    for (const LlamaTable* table : {&few_table_, &all_table_}) {
      for (int i = 1; i < LlamaGrid::kPoints; ++i) {
        if (table->TotalAt(i) < table->TotalAt(i - 1)) {
          falls_.push_back(LlamaGrid::At(i) - kCachePad + 1);
        }
      }
    }
    std::sort(falls_.begin(), falls_.end());
  } else {
    few_cells_ = LlamaCells::Make();
    all_cells_ = LlamaCells::Make();
  }
}

Tokens LlamaCppLaw::WindowContext(Tokens context, Tokens n) const {
  return RoundUp(std::min(context, window_ + n), kCachePad);
}

LlamaPeaks LlamaCppLaw::PeaksAt(const GraphProgram& program,
                                const LlamaTable& table, Tokens context,
                                Tokens n) const {
  if (!table.empty()) return table.PeaksAt(context);
  const Tokens window = WindowContext(context, n);
  const Tokens context_up = LlamaGrid::Up(context);
  const Tokens window_up = LlamaGrid::Up(window);
  LlamaPeaks peaks = program.Replay(context_up, window_up);
  if (context_up == context && window_up == window) return peaks;
  // Off the grid the price covers every corner of the cell.
  for (Tokens c : {LlamaGrid::Down(context), context_up}) {
    for (Tokens w : {LlamaGrid::Down(window), window_up}) {
      if (c == context_up && w == window_up) continue;
      TakeFuller(program.Replay(c, w), &peaks);
    }
  }
  return peaks;
}

LlamaCppLaw::Width LlamaCppLaw::WidthFor(const Reserve& reserve) const {
  const bool all_rows = reserve.rows >= reserve.n;
  const Tokens context = reserve.context;
  Width few;
  Width all;
  if (window_ == 0) {
    const LlamaTable::Place place = LlamaTable::Find(context);
    if (!all_rows) few.per_token = few_table_.TotalAt(place);
    all.per_token = all_table_.TotalAt(place);
  } else {
    const Tokens window = WindowContext(context, reserve.n);
    if (!all_rows) few.per_token = few_cells_.Total(few_, context, window);
    all.per_token = all_cells_.Total(all_, context, window);
  }
  if (all_rows) return all;
  few.row_bytes = SatMul(reserve.rows, row_bytes_);
  const Bytes bounded = SatAdd(SatMul(reserve.n, few.per_token), few.row_bytes);
  return bounded <= SatMul(reserve.n, all.per_token) ? few : all;
}

LlamaCppLaw::Reserve LlamaCppLaw::ReserveFor(const StepQuery& step) {
  Reserve reserve;
  Tokens kv_len = step.decode_kv_len;
  for (const Chunk& chunk : step.chunks) {
    reserve.n = SatAdd(reserve.n, chunk.n);
    kv_len = std::max(kv_len, chunk.kv_len);
  }
  reserve.n = SatAdd(reserve.n, step.decode_tokens);
  reserve.context = RoundUp(kv_len, kCachePad);
  const Tokens sequences =
      SatAdd(static_cast<Tokens>(step.chunks.size()), step.decode_tokens);
  reserve.rows =
      std::min(reserve.n, step.logits_rows > 0 ? step.logits_rows : sequences);
  return reserve;
}

LlamaCppLaw::Layout LlamaCppLaw::LayoutFor(const Reserve& reserve) const {
  const bool all_rows = reserve.rows >= reserve.n;
  Layout few;
  if (!all_rows) {
    few.peaks = PeaksAt(few_, few_table_, reserve.context, reserve.n);
    few.row_bytes = SatMul(reserve.rows, row_bytes_);
  }
  // Few rows cost at most what all rows do.
  Layout all{.peaks = PeaksAt(all_, all_table_, reserve.context, reserve.n)};
  if (all_rows) return all;
  const Bytes bounded =
      SatAdd(SatMul(reserve.n, few.peaks.Total()), few.row_bytes);
  return bounded <= SatMul(reserve.n, all.peaks.Total()) ? few : all;
}

void LlamaCppLaw::Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi,
                              MaskKind /*mask*/,
                              std::vector<Tokens>* out) const {
  const Tokens start = axis == Axis::kChunk ? fixed : 0;
  if (window_ == 0) {
    if (axis == Axis::kN) return;
    auto fall =
        std::upper_bound(falls_.begin(), falls_.end(), SatAdd(start, lo));
    for (; fall != falls_.end() && *fall - start <= hi; ++fall) {
      out->push_back(*fall - start);
    }
    return;
  }
  std::vector<Tokens> points;
  // `shift` turns a cache length into the variable that moves.
  auto add = [&](Tokens length, Tokens shift) {
    const Tokens value = length - shift;
    if (value > lo && value <= hi) points.push_back(value);
  };
  // Where a cache enters a point of the grid and where it leaves it.
  auto crossings = [&](Tokens shift) {
    for (Tokens point = LlamaGrid::Up(std::max<Tokens>(lo + shift, 1));
         point - kCachePad - shift < hi; point = LlamaGrid::Up(point + 1)) {
      add(point - kCachePad + 1, shift);
      add(point + 1, shift);
    }
  };
  if (axis != Axis::kN) crossings(start);
  if (axis != Axis::kKvLen) crossings(window_);
  std::sort(points.begin(), points.end());
  points.erase(std::unique(points.begin(), points.end()), points.end());
  out->insert(out->end(), points.begin(), points.end());
}

std::string LlamaCppLaw::RouteName(const StepQuery& /*step*/) const {
  return options_.flash_attention ? "llamacpp.flash" : "llamacpp.unfused";
}

Bytes LlamaCppLaw::KvBytes(Tokens n_ctx, Tokens n_ubatch) const {
  const Tokens context = RoundUp(n_ctx, kCachePad);
  Bytes total = 0;
  for (const Layer& layer : shape_.layers) {
    const Mixer& mixer = shape_.mixers[layer.mixer];
    if (!mixer.stores_kv || !HasAttention(mixer)) continue;
    const Tokens rows = SlidesInLlamaCpp(shape_, mixer)
                            ? WindowContext(context, n_ubatch)
                            : context;
    const std::int64_t width =
        mixer.kind == MixerKind::kLatent
            ? SatAdd(mixer.kv_lora_rank, mixer.rope_dim)
            : SatMul(mixer.kv_heads, SatAdd(mixer.head_dim, ValueDim(mixer)));
    total = SatAdd(total, shape_.kv_element.Of(SatMul(rows, width)));
  }
  return total;
}

Bytes LlamaCppLaw::StateBytes() const {
  Bytes total = 0;
  for (std::size_t i = 0; i < shape_.mixers.size(); ++i) {
    if (shape_.mixers[i].kind != MixerKind::kLinear) continue;
    ModelShape one = shape_;
    one.layers = {Layer{.mixer = static_cast<int>(i)}};
    total = SatAdd(total, SatMul(shape_.MixerCount(static_cast<int>(i)),
                                 one.SequenceBytes(1, 1)));
  }
  return total;
}

Bytes LlamaCppLaw::ScratchBytes(Tokens n_ctx, Tokens n_ubatch, Tokens rows,
                                int threads) const {
  constexpr Bytes kCacheLine = 64;
  // Queries and keys that the tiled fused path handles at once.
  constexpr Bytes kTile = 64;
  const Tokens context = RoundUp(n_ctx, kCachePad);
  // A product with 16-bit weights converts its other operand.
  Bytes need = SatMul(n_ubatch, shape_.hidden, kHalf);
  need = std::max(need, SatMul(rows, shape_.hidden, kHalf));
  for (const Mixer& mixer : shape_.mixers) {
    if (!HasAttention(mixer)) continue;
    const Bytes dim = mixer.head_dim;
    const Bytes dim_v = ValueDim(mixer);
    const Tokens length = SlidesInLlamaCpp(shape_, mixer)
                              ? WindowContext(context, n_ubatch)
                              : context;
    need = std::max(need, SatMul(n_ubatch, mixer.q_heads, dim_v, kHalf));
    need = std::max(need, SatMul(threads, dim, 4));  // rotary embedding
    if (options_.flash_attention) {
      const Bytes tiled =
          SatAdd(SatMul(2 * kTile, SatAdd(dim, dim_v)), 2 * kTile * kTile);
      const Bytes split = SatAdd(SatMul(mixer.q_heads, SatAdd(2, dim_v)), dim,
                                 SatMul(2, dim_v));
      need = std::max(need, SatMul(4, threads, std::max(tiled, split)));
    } else {
      need = std::max(need, SatMul(n_ubatch, mixer.q_heads, dim, kHalf));
      need = std::max(need, SatMul(n_ubatch, mixer.q_heads, length, kHalf));
      need = std::max(need, SatMul(4, threads, length));  // softmax
    }
  }
  for (const FeedForward& block : shape_.feed_forwards) {
    const Bytes widest =
        std::max(block.shared_intermediate, block.parallel_intermediate);
    need = std::max(need, SatMul(n_ubatch, widest, kHalf));
    if (block.kind == FeedForwardKind::kDense) {
      need = std::max(need, SatMul(n_ubatch, block.intermediate, kHalf));
    } else if (block.kind == FeedForwardKind::kMoe) {
      // Products by expert also keep, for each expert, its count, a cache line
      // for its counter and room for every row.
      const Bytes operand =
          std::max(shape_.hidden, SatMul(block.top_k, block.intermediate));
      Bytes moe = SatAdd(SatMul(n_ubatch, operand, kHalf), 8);
      moe = SatAdd(moe, SatMul(block.experts, 8 + kCacheLine),
                   8 + 8 + kCacheLine);
      moe = SatAdd(moe, SatMul(block.experts, block.top_k, n_ubatch, 8));
      need = std::max(need, moe);
    }
  }
  return SatAdd(need, SatMul(kCacheLine, threads));
}

}  // namespace tidegate::internal
