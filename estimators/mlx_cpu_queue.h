// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What else is alive while MLX's CPU backend computes one layer's attention.
//
// Operations are queued on a thread; a result is allocated when its operation
// is queued, and an input is freed when its operation has run. The queue is at
// most 12 tasks of 10 entries long (MAX_ACTIVE_TASKS in mlx/transforms.cpp,
// DISPATCHES_PER_TASK in mlx/backend/cpu/encoder.h, v0.32.2): ten that wait,
// one that runs and one that fills. An operation takes two entries, a view one.
// So when a layer's scores exist, so may every result of a stretch of 120
// entries around them.
//
// The operations of a layer are listed as mlx-lm runs them (models/llama.py,
// deepseek_v3.py, switch_layers.py, v0.32.2), norms and rotary embeddings as
// the CPU backend composes them (mlx/fast.cpp, v0.32.2). Nothing is fitted.

#ifndef TIDEGATE_ESTIMATORS_MLX_CPU_QUEUE_H_
#define TIDEGATE_ESTIMATORS_MLX_CPU_QUEUE_H_

#include "tidegate/model_shape.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// Bytes for each token of a step, what the attention call itself allocates left
// out. The old copy of a grown cache is alive only while the operation that
// copies it is in the queue.
struct MlxCpuQueue {
  Bytes with_cache = 0;
  Bytes after_cache = 0;
};

// Zeros for shapes of which only attention is known, whose calls stand alone.
MlxCpuQueue MlxCpuQueued(const ModelShape& shape);

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_MLX_CPU_QUEUE_H_
