// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What llama.cpp reserves for a model when a context is created: one compute
// buffer for the widest chunk (n_ubatch) against the whole context (n_ctx).
//
//   compute = n * g(n_ctx, n_kv_swa) + constants
//
// g, bytes per chunk token, comes from laying the model's graph out as ggml's
// allocator does (llamacpp_graph.h); nothing in it is fitted. Without sliding
// layers g depends on n_ctx alone and is tabulated when the law is made; with
// them it is laid out on a grid of pairs of cache lengths, each pair when it is
// first asked for (LlamaCells).
//
// A query's n and kv_len are read as n_ubatch and n_ctx: the price is that of
// a context made for such a step, paid at load. Shrinking a chunk later frees
// nothing. The CPU backend plans scratch beside the compute buffer; it is
// priced when a number of threads is given.
//
// Immutable after construction but for the cells, which are atomic and always
// take the same value; thread-safe.

#ifndef TIDEGATE_ESTIMATORS_LLAMACPP_LAW_H_
#define TIDEGATE_ESTIMATORS_LLAMACPP_LAW_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "estimators/llamacpp_graph.h"
#include "estimators/llamacpp_tables.h"
#include "estimators/price_sink.h"
#include "tidegate/estimator.h"
#include "tidegate/model_shape.h"
#include "tidegate/types.h"

namespace tidegate::internal {

struct LlamaCppOptions {
  // --flash-attn: fused attention; otherwise scores are materialised.
  bool flash_attention = false;
  // Threads of the CPU backend whose scratch is added to the price; 0: none.
  int scratch_threads = 0;
};

class LlamaCppLaw {
 public:
  // `shape` must be valid.
  LlamaCppLaw(const ModelShape& shape, const LlamaCppOptions& options);

  template <typename Sink>
  void Emit(const StepQuery& step, Sink& sink) const;

  // A longer context can need less: a larger mask leaves a larger hole, which
  // may then hold the logits. Without sliding layers these falls are known
  // from the tables, and in n there are none. With sliding layers, every length
  // at which a cache enters or leaves a point of the grid is given.
  void Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi, MaskKind mask,
                   std::vector<Tokens>* out) const;

  // The cache is allocated for the whole context, so a step adds nothing.
  Bytes Resident(const StepQuery& /*step*/) const { return 0; }

  std::string RouteName(const StepQuery& step) const;

  // Whether the model's graph is a guess: a family whose graph was not checked,
  // or layers (latent, recurrent) that are priced by their widths alone.
  bool Assumed() const { return assumed_; }

  // The preallocated cache of all layers: RoundUp(n_ctx, 256) rows a full
  // layer, and RoundUp(min(n_ctx, window + n_ubatch), 256) a sliding one, so
  // that a wider chunk costs cache too (llama-kv-cache-iswa.cpp).
  Bytes KvBytes(Tokens n_ctx, Tokens n_ubatch) const;
  // What recurrent layers keep of one sequence, however long.
  Bytes StateBytes() const;

  // Scratch that the CPU backend plans for the graph (ggml_graph_plan in
  // ggml-cpu.c): the largest need of any node, one cache line per thread
  // beside it. Exact for 16-bit weights; quantised weights need less.
  Bytes ScratchBytes(Tokens n_ctx, Tokens n_ubatch, Tokens rows,
                     int threads) const;

 private:
  struct Reserve {
    Tokens n = 0;        // n_ubatch
    Tokens context = 0;  // n_ctx as padded
    Tokens rows = 0;     // rows of logits
  };
  // Bytes per chunk token, and whether the graph of all rows was taken.
  struct Layout {
    LlamaPeaks peaks;
    Bytes row_bytes = 0;
  };

  static Reserve ReserveFor(const StepQuery& step);
  Tokens WindowContext(Tokens context, Tokens n) const;
  Layout LayoutFor(const Reserve& reserve) const;
  LlamaPeaks PeaksAt(const GraphProgram& program, const LlamaTable& table,
                     Tokens context, Tokens n) const;
  // The fullest phase of LayoutFor, without its terms.
  struct Width {
    Bytes per_token = 0;
    Bytes row_bytes = 0;
  };
  Width WidthFor(const Reserve& reserve) const;

  ModelShape shape_;
  LlamaCppOptions options_;
  Tokens window_ = 0;  // 0: no layer slides
  Bytes row_bytes_ = 0;
  Bytes constant_bytes_ = 0;
  bool moe_ = false;
  bool assumed_ = false;
  GraphProgram few_;
  GraphProgram all_;
  LlamaTable few_table_;  // empty where layers slide
  LlamaTable all_table_;
  LlamaCells few_cells_;  // empty where none do
  LlamaCells all_cells_;
  std::vector<Tokens> falls_;  // kv_len at which a table's total falls
};

template <typename Sink>
void LlamaCppLaw::Emit(const StepQuery& step, Sink& sink) const {
  const Reserve reserve = ReserveFor(step);
  const Bytes scratch =
      options_.scratch_threads > 0
          ? ScratchBytes(reserve.context, reserve.n, reserve.rows,
                         options_.scratch_threads)
          : 0;
  if constexpr (std::is_same_v<Sink, TotalsSink>) {
    // The fullest phase alone: the others have the same constants.
    const Width width = WidthFor(reserve);
    if (width.per_token == 0) return;
    const Bytes grown = SatMul(reserve.n, width.per_token);
    sink.BeginPart("step");
    sink.AddFixed("constants", constant_bytes_);
    sink.AddMany("buffers", grown,
                 SatAdd(grown, width.row_bytes, constant_bytes_));
    sink.AddFixed("output_rows", width.row_bytes);
    sink.Add("scratch", scratch);
    sink.EndPart();
    return;
  }
  const Layout layout = LayoutFor(reserve);
  static constexpr std::string_view kParts[kLlamaPhases] = {"attention", "ffn",
                                                            "head"};
  for (int phase = 0; phase < kLlamaPhases; ++phase) {
    const Bytes per_token = layout.peaks.Phase(phase);
    if (per_token == 0) continue;
    sink.BeginPart(phase == 1 && moe_ ? "moe" : kParts[phase]);
    // All terms share one buffer, so it is the largest allocation; it is
    // stated on the term that every part has.
    const Bytes buffer =
        SatAdd(SatMul(reserve.n, per_token), layout.row_bytes, constant_bytes_);
    sink.AddFixed("constants", constant_bytes_);
    sink.AddMany("constants", 0, buffer);
    for (int term = 0; term < kLlamaTerms; ++term) {
      const Bytes bytes = layout.peaks.terms[phase][term];
      if (bytes == 0) continue;
      sink.AddMany(LlamaTermName(static_cast<LlamaTerm>(term)),
                   SatMul(reserve.n, bytes), 0);
    }
    if (layout.row_bytes > 0) {
      sink.AddFixed("output_rows", layout.row_bytes);
    }
    if (scratch > 0) sink.Add("scratch", scratch);
    sink.EndPart();
  }
}

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_LLAMACPP_LAW_H_
