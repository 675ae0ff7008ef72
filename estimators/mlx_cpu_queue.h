// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What else is alive while MLX's CPU backend computes one layer's attention.
//
// Operations are queued on a thread; a result is allocated when its operation
// is queued, and an input is freed when its operation has run. The queue is up
// to 10 tasks of 10 entries ahead (MAX_ACTIVE_TASKS in mlx/transforms.cpp,
// DISPATCHES_PER_TASK in mlx/backend/cpu/encoder.h, v0.32.2), and an operation
// takes two entries: about 55 operations, over half a layer of mlx-lm and less
// than one. So when a layer's scores exist, so may everything up to the next
// layer's scores: output projection, feed-forward, next norm, next q, k and v.
//
// Counted from mlx-lm's modules (models/llama.py, switch_layers.py, v0.32.2) and
// from the operations that norms and rotary embeddings are made of on the CPU
// (mlx/fast.cpp, v0.32.2). Nothing is fitted.

#ifndef TIDEGATE_ESTIMATORS_MLX_CPU_QUEUE_H_
#define TIDEGATE_ESTIMATORS_MLX_CPU_QUEUE_H_

#include "tidegate/model_shape.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// Bytes for each token of a step; 0 for shapes of which only attention is
// known, whose calls stand alone.
Bytes MlxCpuQueuedBytes(const ModelShape& shape);

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_MLX_CPU_QUEUE_H_
