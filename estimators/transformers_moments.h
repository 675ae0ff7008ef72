// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Lays out the moments of TransformersLaw: one function a part of the model.

#ifndef TIDEGATE_ESTIMATORS_TRANSFORMERS_MOMENTS_H_
#define TIDEGATE_ESTIMATORS_TRANSFORMERS_MOMENTS_H_

#include <cstdint>
#include <vector>

#include "estimators/transformers_family.h"
#include "estimators/transformers_law.h"
#include "tidegate/model_shape.h"

namespace tidegate::internal {

class MomentBuilder {
 public:
  using Buffer = TransformersLaw::Buffer;
  using Moment = TransformersLaw::Moment;

  // The kv quantities of a layer: all keys, or those in the window.
  struct Span {
    const char* part;
    const char* part_call;
    const char* part_output;
    const char* part_cache;
    const char* part_project;
    Basis cells, mask_cells, pad_cells, keys, repeat_keys;
  };

  MomentBuilder(const ModelShape& shape, const TransformersFamily& family,
                const TransformersOptions& options);

  // Every moment of one forward pass.
  std::vector<Moment> Build();

 private:
  void Begin(const char* part) { moments_.push_back({.part = part}); }
  void Add(const char* name, Basis basis, std::int64_t bytes,
           std::int64_t count = 1);
  // Alive through all layers: the embeddings, rotary tables, masks.
  void AddStep();
  void AddInputs(std::int64_t count);
  // Attention weights that the layer holds until it returns.
  void AddWeights(const Mixer& mixer);

  void Attention(const Mixer& mixer, const Span& span);
  void Rotation(const Mixer& mixer, const Span& span, std::int64_t inputs);
  void Call(const Mixer& mixer, const Span& span, std::int64_t inputs);
  void Latent(const Mixer& mixer);
  void AddQueries(const Mixer& mixer);
  void AddRepeat(const Mixer& mixer, const Span& span);
  void AddKernel(const Mixer& mixer, const Span& span);
  template <typename Held>
  void MathKernel(const Mixer& mixer, const Span& span, const Held& held);
  void Project(const Mixer& mixer, const Span& span, std::int64_t inputs);
  void Linear(const Mixer& mixer);
  void DeltaNet(const Mixer& mixer);
  void Mamba1(const Mixer& mixer);
  void Mamba2(const Mixer& mixer);
  void Dense(const FeedForward& block, const Mixer* mixer);
  void Moe(const FeedForward& block, const Mixer* mixer);
  void Head();

  // Whether the layers of a mixer include one above the first, whose input is
  // a tensor beside the embeddings.
  bool AboveFirst(int mixer) const;

  const ModelShape& shape_;
  const TransformersFamily& family_;
  const TransformersOptions& options_;
  std::int64_t s_;  // width of the compute type
  bool eager_;
  bool math_;  // sdpa with the math kernel forced
  bool sliding_ = false;
  bool full_ = false;
  std::int64_t rope_width_ = 0;
  std::vector<Moment> moments_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_TRANSFORMERS_MOMENTS_H_
