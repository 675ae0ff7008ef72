// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A step while it is put together, and while it runs.

#ifndef TIDEGATE_SCHEDULER_STEP_H_
#define TIDEGATE_SCHEDULER_STEP_H_

#include <vector>

#include "policies/encode_items.h"
#include "tidegate/actions.h"
#include "tidegate/estimator.h"
#include "tidegate/time_model.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// What a chunk adds for good.
struct ChunkGrowth {
  Bytes bytes = 0;
  Bytes blocks = 0;  // of the KV pool
};

struct Request;

struct Step {
  StepId id = 0;
  std::vector<StepChunk> chunks;
  std::vector<Chunk> priced;        // the same, as estimators take them
  std::vector<ChunkGrowth> growth;  // of each of them
  Bytes decode_blocks = 0;          // of the KV pool, that decode tokens take
  std::vector<StepEncode> encodes;
  // What they need beside the forward pass, and while they run.
  EncodeNeed encode;
  std::vector<Request*> decodes;  // they stay while it runs
  Tokens decode_kv_len = 0;       // the longest of them
  PriceTotals price;              // of all of it together
  Tokens chunk_tokens = 0;
  StepLoad load;

  // When it started.
  Bytes live_before = 0;
  // To see by how much memory grew: live bytes less what can be reclaimed, and
  // what all requests held.
  Bytes lasting_before = 0;
  Bytes resident_before = 0;
  std::size_t rank = 0;  // the one that `live_before` is of
  // Whether no other step ran at any moment of it: what memory did then is its
  // own doing.
  bool alone = true;

  bool empty() const { return chunks.empty() && decodes.empty(); }
  Tokens tokens() const {
    return chunk_tokens + static_cast<Tokens>(decodes.size());
  }
  StepQuery query() const {
    return {.chunks = priced,
            .decode_tokens = static_cast<Tokens>(decodes.size()),
            .decode_kv_len = decode_kv_len};
  }
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_STEP_H_
