// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// GraphBuilder walks a model's layers in the order in which llama.cpp expands
// its graph and records, for each tensor that owns memory, its size and its
// consumers. Finish then turns the consumers into releases and into reuse in
// place, neither of which depends on sizes, so that a replay only has to place
// and release blocks.

#include "estimators/llamacpp_graph.h"

#include <algorithm>
#include <initializer_list>
#include <string>

#include "estimators/llamacpp_family.h"

namespace tidegate::internal {
namespace {

constexpr Bytes kF16 = 2;
constexpr Bytes kIndex = 8;  // cache rows are addressed by 64-bit indices

}  // namespace

class GraphBuilder {
 public:
  GraphBuilder(const ModelShape& shape, bool flash, LlamaRows rows)
      : shape_(shape),
        family_(LlamaFamilyOf(shape)),
        flash_(flash),
        rows_(rows),
        layers_(CutLayers(shape.layers)) {}

  void Build(GraphProgram* program) {
    program_ = program;
    Inputs();
    int x = Op({.fixed = Wide(shape_.hidden)}, LlamaTerm::kHidden,
               {Direct(tokens_)});
    if (family_.scaled_input) x = InPlace(x, {});
    bool complete = true;
    for (int i = 0; i < static_cast<int>(layers_.size()) && complete; ++i) {
      complete = LayerAt(i, i + 1 == static_cast<int>(layers_.size()), &x);
    }
    if (complete && rows_ == LlamaRows::kAll) Head(x);
    Finish();
  }

 private:
  using Size = GraphProgram::Buffer;

  // A use of a tensor. Uses through a view keep it alive but forbid reuse in
  // place.
  struct Use {
    int tensor = -1;
    bool view = false;
  };
  struct Tensor {
    Size size;
    std::vector<Use> uses;  // inputs of the node that produces it
    int reuse = -1;         // input whose memory it may take over
    bool held = false;      // never released
    bool input = false;
  };
  static Use Direct(int tensor) { return {tensor, false}; }
  static Use View(int tensor) { return {tensor, true}; }

  static Bytes Wide(std::int64_t elements, Bytes element = kLlamaF32) {
    return std::min(SatMul(elements, element), kLlamaRowBytesMax);
  }

  int Op(Size size, LlamaTerm term, std::vector<Use> uses, int reuse = -1) {
    size.term = term;
    size.phase = phase_;
    tensors_.push_back({.size = size, .uses = std::move(uses), .reuse = reuse});
    return static_cast<int>(tensors_.size()) - 1;
  }
  // An operation that may write over its first input, which has its layout.
  int InPlace(int tensor, std::vector<Use> more) {
    more.insert(more.begin(), Direct(tensor));
    const Size size = tensors_[tensor].size;
    return Op(size, size.term, std::move(more), tensor);
  }
  // A node without memory of its own: it writes into the cache.
  void Sink(std::vector<Use> uses) { Op({}, LlamaTerm::kIds, std::move(uses)); }
  int Input(Size size, LlamaTerm term) {
    const int tensor = Op(size, term, {});
    tensors_[tensor].input = true;
    return tensor;
  }

  int Norm(int x, bool view = false) {
    if (view) {
      const Size size = tensors_[x].size;
      return InPlace(Op(size, size.term, {View(x)}), {});
    }
    return InPlace(InPlace(x, {}), {});
  }

  bool Slides(const Layer& layer) const {
    return SlidesInLlamaCpp(shape_, shape_.mixers[layer.mixer]);
  }

  // Inputs are placed before everything else, in the order in which the graph
  // first meets them, and released after their last use.
  void Inputs() {
    tokens_ = Input({.fixed = 4}, LlamaTerm::kIds);
    // The graph also holds a place for embeddings given directly.
    tensors_[Input({.fixed = Wide(shape_.hidden)}, LlamaTerm::kHidden)].held =
        true;
    const auto first =
        std::find_if(layers_.begin(), layers_.end(), [&](const Layer& layer) {
          return Attends(shape_.mixers[layer.mixer]);
        });
    if (first != layers_.end()) RotationInput(*first, &k_rotation_);
    positions_ = Input({.fixed = 4}, LlamaTerm::kIds);
    std::int64_t kv_wide = 0;
    for (const Mixer& mixer : shape_.mixers) {
      kv_wide = std::max(
          kv_wide, SatMul(mixer.kv_heads, mixer.head_dim_v ? mixer.head_dim_v
                                                           : mixer.head_dim));
    }
    const Bytes mask = flash_ ? kF16 : kLlamaF32;
    for (const Layer& layer : layers_) {
      const int kind = Slides(layer) ? 1 : 0;
      if (mask_[kind] >= 0 || !Attends(shape_.mixers[layer.mixer])) continue;
      if (k_rotation_[kind] < 0) RotationInput(layer, &k_rotation_);
      RotationInput(layer, &v_rotation_);
      k_index_[kind] = Input({.fixed = kIndex}, LlamaTerm::kIds);
      // Unfused, values are stored transposed: one index per element.
      v_index_[kind] =
          Input({.fixed = Wide(flash_ ? 1 : kv_wide, kIndex)}, LlamaTerm::kIds);
      mask_[kind] = Input(
          kind == 1 ? Size{.per_window = mask} : Size{.per_context = mask},
          LlamaTerm::kMask);
      // Where the graph of few rows ends within the last layer, the masks are
      // still alive.
      tensors_[mask_[kind]].held =
          rows_ == LlamaRows::kFew && !family_.late_rows;
    }
    if (rows_ == LlamaRows::kAll) {
      row_ids_ = Input({.fixed = 4}, LlamaTerm::kIds);
    }
  }

  // Quantised caches are rotated by a Hadamard matrix where the head dimension
  // allows it, which takes a copy of q, k, v and of the output each.
  bool Rotated(const Mixer& mixer) const {
    const std::int64_t dim_v =
        mixer.head_dim_v ? mixer.head_dim_v : mixer.head_dim;
    return shape_.kv_element.per_65536 < kF16 * 65536 &&
           mixer.head_dim % 64 == 0 && dim_v % 64 == 0;
  }

  // The matrix does not grow with n; its bytes are the law's constant. Here it
  // only keeps its neighbours' holes apart, for which a byte will do. It is the
  // cache's: layers of other head dims may share the cache without using it.
  void RotationInput(const Layer& layer, std::array<int, 2>* rotation) {
    const bool slides = Slides(layer);
    const bool used =
        std::any_of(layers_.begin(), layers_.end(), [&](const Layer& other) {
          const Mixer& mixer = shape_.mixers[other.mixer];
          return Attends(mixer) && Slides(other) == slides && Rotated(mixer);
        });
    if (!used) return;
    (*rotation)[slides ? 1 : 0] = Input({.fixed = 1}, LlamaTerm::kIds);
  }

  static bool Attends(const Mixer& mixer) {
    return mixer.kind != MixerKind::kNone && mixer.kind != MixerKind::kLinear;
  }

  // Returns false where the graph of few rows ends.
  bool LayerAt(int index, bool last, int* x) {
    const Layer& layer = layers_[index];
    const Mixer& mixer = shape_.mixers[layer.mixer];
    int residual = *x;
    phase_ = LlamaPhase::kAttention;
    int out = residual;
    if (mixer.kind != MixerKind::kNone) {
      const int normed = Norm(residual, true);
      out = Attends(mixer) ? Attention(mixer, Slides(layer) ? 1 : 0, normed)
                           : Linear(mixer, normed);
      if (last && !family_.late_rows) {
        if (rows_ == LlamaRows::kFew) {
          Sink({Direct(out), Direct(residual)});
          return false;
        }
        const Size hidden{.fixed = Wide(shape_.hidden)};
        out = Op(hidden, LlamaTerm::kHidden, {Direct(out), Direct(row_ids_)});
        residual = Op(hidden, LlamaTerm::kHidden,
                      {Direct(residual), Direct(row_ids_)});
      }
      if (family_.post_norms) out = Norm(out);
      out = InPlace(out, {Direct(residual)});
    }
    phase_ = LlamaPhase::kFeedForward;
    const FeedForward& block = shape_.feed_forwards[layer.feed_forward];
    if (block.kind != FeedForwardKind::kNone) {
      const int normed = Norm(out, true);
      int wide = block.kind == FeedForwardKind::kMoe ? Experts(block, normed)
                                                     : Dense(block, normed);
      if (family_.post_norms) wide = Norm(wide);
      out = InPlace(wide, {Direct(out)});
    }
    *x = out;
    return true;
  }

  int Project(std::int64_t width, LlamaTerm term, int from, bool bias) {
    const int tensor = Op({.fixed = Wide(width)}, term, {Direct(from)});
    return bias ? InPlace(tensor, {}) : tensor;
  }

  int Attention(const Mixer& mixer, int kind, int normed) {
    const std::int64_t dim = mixer.head_dim;
    const std::int64_t dim_v = mixer.head_dim_v ? mixer.head_dim_v : dim;
    const std::int64_t q_width = SatMul(mixer.q_heads, dim);
    const std::int64_t k_width = SatMul(mixer.kv_heads, dim);
    const std::int64_t v_width = SatMul(mixer.kv_heads, dim_v);
    const LlamaTerm qkv = LlamaTerm::kQkv;
    const bool rotated = Rotated(mixer);
    const bool has_window = mask_[1] >= 0;

    int packed = -1;
    if (family_.packed_qkv) {
      packed = Op({.fixed = Wide(SatAdd(q_width, k_width, v_width))}, qkv,
                  {Direct(normed)});
    }
    // The graph is expanded depth first, so each of q, k, v is complete,
    // rotary embedding included, before the next one starts.
    auto roped = [&](std::int64_t width) {
      const Size size{.fixed = Wide(width)};
      const int raw =
          packed >= 0 ? packed : Project(width, qkv, normed, mixer.bias);
      int t = raw;
      if (mixer.qk_norm) {
        t = Norm(raw, true);
        t = InPlace(t, {Direct(positions_)});
      } else {
        t = Op(size, qkv, {View(raw), Direct(positions_)});
      }
      return t;
    };
    auto rotate = [&](int tensor, std::int64_t width, int by) {
      return rotated
                 ? Op({.fixed = Wide(width)}, qkv, {Direct(by), View(tensor)})
                 : tensor;
    };
    int q = roped(q_width);
    if (family_.scaled_queries) q = InPlace(q, {});
    q = rotate(q, q_width, k_rotation_[kind]);
    auto keys = [&] {
      return rotate(roped(k_width), k_width, k_rotation_[kind]);
    };
    auto values = [&] {
      const int raw =
          packed >= 0 ? packed : Project(v_width, qkv, normed, mixer.bias);
      return rotate(raw, v_width, v_rotation_[kind]);
    };
    int k = -1;
    int v = -1;
    // Models with two caches expand k before v, others v before k.
    if (has_window) k = keys();
    v = values();
    if (!has_window) k = keys();
    Sink({View(k), Direct(k_index_[kind])});
    if (packed >= 0 && !flash_) {
      v = Op({.fixed = Wide(v_width)}, qkv, {View(packed)});
    }
    Sink({View(v), Direct(v_index_[kind])});

    const Size attended{.fixed = Wide(SatMul(mixer.q_heads, dim_v))};
    int out;
    if (flash_) {
      out = Op(attended, LlamaTerm::kAttended, {View(q), Direct(mask_[kind])});
    } else {
      const Bytes row = Wide(mixer.q_heads);
      const Size size =
          kind == 1 ? Size{.per_window = row} : Size{.per_context = row};
      int scores = Op(size, LlamaTerm::kScores, {View(q)});
      if (mixer.softcap) {
        for (int i = 0; i < 3; ++i) scores = InPlace(scores, {});
      }
      scores = InPlace(scores, {Direct(mask_[kind])});
      const int product = Op(attended, LlamaTerm::kAttended, {Direct(scores)});
      out = Op(attended, LlamaTerm::kAttended, {View(product)});
    }
    if (rotated) {
      out = Op(attended, LlamaTerm::kAttended,
               {Direct(v_rotation_[kind]), View(out)});
    }
    const int projected = Op({.fixed = Wide(shape_.hidden)}, LlamaTerm::kHidden,
                             {rotated || flash_ ? View(out) : Direct(out)});
    return mixer.bias && shape_.model_type == "gpt_oss" ? InPlace(projected, {})
                                                        : projected;
  }

  // Recurrent layers, as their widths tell: mixed channels before and after
  // the convolution, gate and output. Not checked against measurements.
  int Linear(const Mixer& mixer, int normed) {
    const LlamaTerm qkv = LlamaTerm::kQkv;
    const int mixed =
        Op({.fixed = Wide(mixer.conv_dim)}, qkv, {Direct(normed)});
    const int gate =
        Op({.fixed = Wide(mixer.linear_inner)}, qkv, {Direct(normed)});
    const int conv = Op({.fixed = Wide(mixer.conv_dim)}, qkv, {View(mixed)});
    const int scan = Op({.fixed = Wide(SatMul(mixer.linear_inner, 2))},
                        LlamaTerm::kAttended, {View(conv)});
    const int gated = Op({.fixed = Wide(mixer.linear_inner)},
                         LlamaTerm::kAttended, {View(scan), Direct(gate)});
    return Op({.fixed = Wide(shape_.hidden)}, LlamaTerm::kHidden,
              {Direct(gated)});
  }

  int Gated(std::int64_t width, bool gated, int normed) {
    const Size size{.fixed = Wide(width)};
    const LlamaTerm ffn = LlamaTerm::kFfn;
    int middle;
    if (family_.packed_gate) {
      const int both =
          Op({.fixed = Wide(SatMul(width, 2))}, ffn, {Direct(normed)});
      middle = Op(size, ffn, {Direct(both)});
    } else if (gated) {
      const int up = Op(size, ffn, {Direct(normed)});
      const int gate = Op(size, ffn, {Direct(normed)});
      middle = Op(size, ffn, {Direct(gate), Direct(up)});
    } else {
      middle = InPlace(Op(size, ffn, {Direct(normed)}), {});
    }
    return Op({.fixed = Wide(shape_.hidden)}, LlamaTerm::kHidden,
              {Direct(middle)});
  }

  int Dense(const FeedForward& block, int normed) {
    return Gated(block.intermediate, block.gated, normed);
  }

  int Experts(const FeedForward& block, int normed) {
    const LlamaTerm router = LlamaTerm::kRouter;
    const LlamaTerm ffn = LlamaTerm::kFfn;
    const Size all{.fixed = Wide(block.experts)};
    const Size chosen{.fixed = Wide(block.top_k)};
    const Size wide{.fixed = Wide(SatMul(block.top_k, block.intermediate))};
    const Size rows{.fixed = Wide(SatMul(block.top_k, shape_.hidden))};

    int probs = Op(all, router, {Direct(normed)});
    // gpt-oss ranks biased logits and normalises the chosen ones only.
    const bool late_softmax = shape_.model_type == "gpt_oss";
    probs = InPlace(probs, {});
    const int ranks = Op(all, router, {Direct(probs)});
    int weights = Op(chosen, router, {View(probs), View(ranks)});
    if (late_softmax) {
      weights = Op(chosen, router, {View(weights)});
    } else {
      const int sum = Op({.fixed = 4}, router, {View(weights)});
      weights = Op(chosen, router, {View(weights), View(sum)});
    }
    auto biased = [&](int tensor) {
      return block.bias ? InPlace(tensor, {View(ranks)}) : tensor;
    };
    const int up = biased(Op(wide, ffn, {View(normed), View(ranks)}));
    const int gate =
        block.gated ? biased(Op(wide, ffn, {View(normed), View(ranks)})) : up;
    const int middle = block.gated ? Op(wide, ffn, {Direct(gate), Direct(up)})
                                   : InPlace(up, {});
    int down = biased(Op(rows, ffn, {Direct(middle), View(ranks)}));
    down = InPlace(down, {View(weights)});
    // The experts' rows are added up pairwise; the first sum owns memory.
    const Size hidden{.fixed = Wide(shape_.hidden)};
    int sum = Op(hidden, LlamaTerm::kHidden, {View(down), View(down)});
    if (block.top_k > 2) {
      // Further additions write in place; one stands for all.
      sum = InPlace(sum, {View(down)});
    }
    for (std::int64_t width :
         {block.shared_intermediate, block.parallel_intermediate}) {
      if (width > 0) sum = InPlace(sum, {Direct(Gated(width, true, normed))});
    }
    return sum;
  }

  void Head(int x) {
    phase_ = LlamaPhase::kHead;
    if (family_.late_rows) {
      tensors_[x].held = true;  // kept for speculative heads
      x = Op({.fixed = Wide(shape_.hidden)}, LlamaTerm::kHidden,
             {Direct(x), Direct(row_ids_)});
    }
    const int normed = Norm(x);
    tensors_[normed].held = true;
    int logits =
        Op({.fixed = Wide(shape_.vocab)}, LlamaTerm::kLogits, {Direct(normed)});
    tensors_[logits].held = true;
  }

  // Turns uses into events. A tensor that takes over another's memory shares
  // its buffer.
  void Finish() {
    const int count = static_cast<int>(tensors_.size());
    std::vector<int> direct(count, 0);
    std::vector<int> viewed(count, 0);
    for (const Tensor& tensor : tensors_) {
      for (const Use& use : tensor.uses) {
        ++(use.view ? viewed : direct)[use.tensor];
      }
    }
    std::vector<int> buffer(count, -1);
    auto allocate = [&](int i) {
      const Size& size = tensors_[i].size;
      if (size.fixed == 0 && size.per_context == 0 && size.per_window == 0) {
        return;
      }
      buffer[i] = static_cast<int>(program_->buffers_.size());
      program_->buffers_.push_back(size);
      program_->events_.push_back({.alloc = true, .buffer = buffer[i]});
    };
    for (int i = 0; i < count; ++i) {
      if (tensors_[i].input) allocate(i);
    }
    for (int i = 0; i < count; ++i) {
      const Tensor& tensor = tensors_[i];
      const int reuse = tensor.reuse;
      if (tensor.input) continue;
      if (reuse >= 0 && direct[reuse] == 1 && viewed[reuse] == 0 &&
          !tensors_[reuse].held) {
        buffer[i] = buffer[reuse];
        buffer[reuse] = -1;
      } else {
        allocate(i);
      }
      for (const Use& use : tensor.uses) {
        --(use.view ? viewed : direct)[use.tensor];
        if (direct[use.tensor] == 0 && viewed[use.tensor] == 0 &&
            buffer[use.tensor] >= 0 && !tensors_[use.tensor].held) {
          program_->events_.push_back(
              {.alloc = false, .buffer = buffer[use.tensor]});
          buffer[use.tensor] = -1;
        }
      }
    }
  }

  const ModelShape& shape_;
  const LlamaFamily family_;
  const bool flash_;
  const LlamaRows rows_;
  const std::vector<Layer> layers_;
  GraphProgram* program_ = nullptr;
  LlamaPhase phase_ = LlamaPhase::kAttention;
  std::vector<Tensor> tensors_;
  int tokens_ = -1;
  int positions_ = -1;
  int row_ids_ = -1;
  std::array<int, 2> k_rotation_ = {-1, -1};  // full, sliding
  std::array<int, 2> v_rotation_ = {-1, -1};
  std::array<int, 2> k_index_ = {-1, -1};
  std::array<int, 2> v_index_ = {-1, -1};
  std::array<int, 2> mask_ = {-1, -1};
};

GraphProgram::GraphProgram(const ModelShape& shape, bool flash,
                           LlamaRows rows) {
  GraphBuilder(shape, flash, rows).Build(this);
}

}  // namespace tidegate::internal
