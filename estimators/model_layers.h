// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// From the keys of one language model's config to its layers.

#ifndef TIDEGATE_ESTIMATORS_MODEL_LAYERS_H_
#define TIDEGATE_ESTIMATORS_MODEL_LAYERS_H_

#include <cstdint>
#include <vector>

#include "estimators/json_reader.h"
#include "estimators/model_families.h"
#include "tidegate/model_shape.h"

namespace tidegate::internal {

// Bounds of what a config may state: beyond any model, yet small enough that
// no product of a few of them is near 2^63.
inline constexpr std::int64_t kMaxLayers = 10'000;
inline constexpr std::int64_t kMaxWidth = std::int64_t{1} << 24;

enum class LayerKind { kFull, kSliding, kLinear, kNone, kParallel };

// One entry a layer, bottom to top.
std::vector<LayerKind> ReadLayerKinds(ObjectReader& in,
                                      const ModelFamily& family,
                                      std::int64_t layers);

enum class BlockKind { kDense, kMoe, kNone };
std::vector<BlockKind> ReadBlockKinds(ObjectReader& in,
                                      const ModelFamily& family,
                                      const std::vector<LayerKind>& kinds);

// num_hidden_layers; Nemotron-H may leave it to the length of its pattern.
std::int64_t ReadLayerCount(ObjectReader& in, const ModelFamily& family);

// Fills mixers, feed_forwards and layers. Needs shape.hidden and
// shape.max_position. Failures are kept in `in`.
void ReadLayers(ObjectReader& in, const ModelFamily& family, ModelShape& shape);

// The mixers of ReadLayers, one kind each; model_mixers.cc.
Mixer ReadAttention(ObjectReader& in, const ModelFamily& family,
                    const ModelShape& shape, LayerKind kind);
Mixer ReadLatent(ObjectReader& in);
Mixer ReadLinear(ObjectReader& in, const ModelFamily& family,
                 const ModelShape& shape);
// For each layer whether it stores keys of a sparse indexer; empty when the
// model has no indexer.
std::vector<bool> ReadIndexedLayers(ObjectReader& in, std::int64_t layers);

// The feed-forward blocks of ReadLayers; model_blocks.cc.
FeedForward ReadDense(ObjectReader& in, const ModelFamily& family,
                      std::int64_t layer, std::int64_t layers,
                      std::int64_t hidden);
FeedForward ReadMoe(ObjectReader& in, const ModelFamily& family);

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_MODEL_LAYERS_H_
