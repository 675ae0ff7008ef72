// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The engine's pool of KV blocks, counted by what sequences really are: whoever
// promises more of it than there is breaks a promise.

#include <utility>

#include "estimators/text.h"
#include "simulator/driver.h"
#include "tidegate/status.h"

namespace tidegate::internal {

absl::Status Driver::CheckPool() const {
  if (options_.scheduler.kv_pool.blocks == 0) return absl::OkStatus();
  if (!StepsDecode()) {
    return InvalidArgument(
        "memory.kv_blocks: expected step.decode = mixed or between in a "
        "simulation: it does not model an engine that takes blocks by itself");
  }
  if (options_.world.cache.has_value() && options_.world.cache->capacity != 0) {
    return InvalidArgument(
        "memory.kv_blocks: expected no cache.capacity beside it in a "
        "simulation");
  }
  return absl::OkStatus();
}

absl::Status Driver::TakeStepBlocks(const RunStep& action,
                                    RunningStep* running) {
  const KvPoolOptions& pool = options_.scheduler.kv_pool;
  if (pool.blocks == 0) return absl::OkStatus();
  const auto take = [&](RequestId id, Tokens before, Tokens after) {
    DrivenRequest& request = *Find(id);
    const std::int64_t more =
        CeilDiv(after, pool.block_tokens) - CeilDiv(before, pool.block_tokens);
    running->blocks.emplace_back(IndexOf(request), more);
    TakeBlocks(request, more);
  };
  for (const StepChunk& chunk : action.chunks) {
    take(chunk.id, Find(chunk.id)->done, chunk.kv_len);
  }
  for (const RequestId id : action.decodes) {
    const DrivenRequest& request = *Find(id);
    // The token that came last is fed: until now it was in no block.
    const Tokens after = request.arrive.request.prompt_tokens + request.decoded;
    take(id, after - 1, after);
  }
  if (blocks_used_ <= pool.blocks) return absl::OkStatus();
  return Broken("step ", action.step, " takes the KV pool to ", blocks_used_,
                " of ", pool.blocks, " blocks");
}

}  // namespace tidegate::internal
