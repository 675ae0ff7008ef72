// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The parts of a forward pass that are no softmax attention, for engines whose
// graphs are alike: feed-forward, experts, linear mixers and the head. All are
// linear in the tokens of the step; chunks of several sequences add up.
//
// Copies are counted from mlx-lm's modules (mlx_lm/models: qwen3_next.py,
// gated_delta.py, mamba2.py, switch_layers.py) and hold for an eager engine
// that frees an array after its last use.
//
// Immutable after construction; thread-safe.

#ifndef TIDEGATE_ESTIMATORS_MODEL_PARTS_H_
#define TIDEGATE_ESTIMATORS_MODEL_PARTS_H_

#include <algorithm>
#include <string_view>
#include <type_traits>
#include <vector>

#include "estimators/price_sink.h"
#include "tidegate/estimator.h"
#include "tidegate/model_shape.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// Tokens that run through the step: all chunks and all decode tokens.
inline Tokens StepTokens(const StepQuery& step) {
  Tokens tokens = step.decode_tokens;
  for (const Chunk& chunk : step.chunks) tokens = SatAdd(tokens, chunk.n);
  return tokens;
}

// Rows of logits: as asked, or one for each sequence.
inline Tokens StepLogitsRows(const StepQuery& step) {
  if (step.logits_rows > 0) return step.logits_rows;
  return SatAdd(static_cast<Tokens>(step.chunks.size()), step.decode_tokens);
}

class ModelParts {
 public:
  // `head_fused_rows`: rows of logits up to which the lm_head multiplies its
  // quantised weights directly; 0: at any number of rows.
  ModelParts(const ModelShape& shape, Tokens head_fused_rows)
      : hidden_bytes_(SatMul(shape.hidden, SizeOf(shape.compute))),
        logits_bytes_(SatMul(shape.vocab, SizeOf(shape.compute))),
        head_fused_rows_(head_fused_rows),
        head_weights_(SatMul(shape.vocab, shape.hidden)) {
    if (shape.hidden <= 0) return;
    const std::int64_t s = SizeOf(shape.compute);
    for (std::size_t i = 0; i < shape.feed_forwards.size(); ++i) {
      if (shape.FeedForwardCount(static_cast<int>(i)) > 0) {
        AddFeedForward(shape.feed_forwards[i], shape.hidden, s);
      }
    }
    for (std::size_t i = 0; i < shape.mixers.size(); ++i) {
      if (shape.mixers[i].kind == MixerKind::kLinear &&
          shape.MixerCount(static_cast<int>(i)) > 0) {
        AddLinear(shape.mixers[i], s);
      }
    }
    for (const TokenPart& part : parts_) {
      Bytes sum = 0;
      for (const TokenTerm& term : part.terms) {
        sum = SatAdd(sum, SatMul(term.bytes, term.copies));
        linear_largest_ = std::max(linear_largest_, term.bytes);
      }
      linear_bytes_ = std::max(linear_bytes_, sum);
    }
  }

  // Bytes of the residual stream of one token; 0 for attention-only shapes.
  Bytes hidden_bytes() const { return hidden_bytes_; }

  template <typename Sink>
  void Emit(const StepQuery& step, Sink& sink) const {
    if (hidden_bytes_ == 0) return;
    const Tokens n = StepTokens(step);
    if constexpr (std::is_same_v<Sink, TotalsSink>) {
      // Of parts that are linear in n, the largest at one token is the largest.
      sink.BeginPart("");
      sink.AddMany("", SatMul(n, linear_bytes_), SatMul(n, linear_largest_));
      sink.EndPart();
    }
    for (const TokenPart& part : parts_) {
      if (std::is_same_v<Sink, TotalsSink> && part.square_bytes == 0) continue;
      sink.BeginPart(part.name);
      for (const TokenTerm& term : part.terms) {
        if (term.copies == 0) continue;
        const Bytes one = SatMul(n, term.bytes);
        sink.AddMany(term.name, SatMul(one, term.copies), one);
      }
      if (part.square_bytes > 0) {
        const Tokens side = std::min(n, part.square_max);
        sink.Add("segment_decay", SatMul(side, side, part.square_bytes));
      }
      sink.EndPart();
    }
    EmitHead(StepLogitsRows(step), sink);
  }

 private:
  struct TokenTerm {
    std::string_view name;
    Bytes bytes = 0;  // of one buffer, for one token
    std::int64_t copies = 0;
  };
  struct TokenPart {
    std::string_view name;
    TokenTerm terms[3];
    // A square of up to square_max tokens a side.
    Bytes square_bytes = 0;
    Tokens square_max = 0;
  };

  // Bytes per weight while a quantised lm_head is expanded: codes as int32,
  // scaled in fp32, the result in 16 bits, and a byte of packed codes. The
  // measured step of 13.1 GiB at 248,320 x 5,120 is 11 bytes and the logits.
  static constexpr Bytes kExpandedWeightBytes = 11;

  // Residual, normed input and output of a block.
  TokenTerm Hidden() const { return {"hidden", hidden_bytes_, 3}; }

  void AddFeedForward(const FeedForward& block, std::int64_t hidden,
                      std::int64_t s) {
    // Gate, up and their product; without a gate, up and its activation.
    const std::int64_t copies = block.gated ? 3 : 2;
    const std::int64_t dense =
        block.kind == FeedForwardKind::kDense
            ? block.intermediate
            : std::max(block.parallel_intermediate, block.shared_intermediate);
    if (block.kind == FeedForwardKind::kNone) return;
    if (dense > 0) {
      parts_.push_back(
          {"feed_forward",
           {{"activations", SatMul(dense, s), copies}, Hidden(), {}}});
    }
    if (block.kind == FeedForwardKind::kMoe) {
      // SwitchGLU gathers a row per token and expert in expert order, and
      // scatters the results back: two copies of the width of the model.
      parts_.push_back(
          {"moe",
           {{"gathers", SatMul(block.top_k, hidden, s), 2},
            {"activations", SatMul(block.top_k, block.intermediate, s), copies},
            Hidden()}});
    }
  }

  void AddLinear(const Mixer& mixer, std::int64_t s) {
    const std::int64_t values =
        std::max(mixer.linear_inner,
                 SatMul(mixer.linear_value_heads, mixer.linear_value_dim));
    const std::int64_t mixed = std::max(mixer.conv_dim, values);
    // The channels before and after the short convolution; gate, output and
    // normed output.
    TokenPart part{"attention.linear",
                   {{"mixed_channels", SatMul(mixed, s), 2},
                    {"gate_and_output", SatMul(values, s), 3},
                    Hidden()}};
    if (mixer.linear == LinearKind::kMamba2) {
      // ssm_attn works on segments of 256 tokens, with one fp32 decay and one
      // score for each pair of tokens and head.
      part.square_max = 256;
      part.square_bytes = SatMul(mixer.linear_value_heads, 4 + 4);
    }
    parts_.push_back(part);
  }

  template <typename Sink>
  void EmitHead(Tokens rows, Sink& sink) const {
    if (logits_bytes_ == 0) return;
    sink.BeginPart("head");
    sink.Add("logits", SatMul(rows, logits_bytes_));
    sink.Add("log_probabilities", SatMul(rows, logits_bytes_));
    if (head_fused_rows_ > 0 && rows > head_fused_rows_) {
      sink.Add("expanded_weights", SatMul(head_weights_, kExpandedWeightBytes));
    }
    sink.EndPart();
  }

  Bytes hidden_bytes_ = 0;
  Bytes logits_bytes_ = 0;
  Tokens head_fused_rows_ = 0;
  std::int64_t head_weights_ = 0;
  std::vector<TokenPart> parts_;
  Bytes linear_bytes_ = 0;
  Bytes linear_largest_ = 0;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_MODEL_PARTS_H_
