// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/encoders.h"

#include <algorithm>

namespace tidegate::internal {

std::vector<std::size_t> MissingOutputs(const PlanRequest& request,
                                        const LiveOutputs& live, Tokens start,
                                        Tokens end) {
  std::vector<std::size_t> missing;
  for (std::size_t i = 0; i < request.encodes.size(); ++i) {
    const EncodeItem& item = request.encodes[i];
    const Tokens from = std::max(start, item.start);
    const Tokens to = std::min(end, item.start + item.length);
    if (from < to && !live.contains(i)) missing.push_back(i);
  }
  return missing;
}

EncoderLoad LoadOf(const PlanRequest& request,
                   const std::vector<std::size_t>& items, Tokens end) {
  EncoderLoad load;
  for (const std::size_t i : items) {
    const EncodeItem& item = request.encodes[i];
    load.peak = std::max(load.peak, SatAdd(load.outputs, item.transient_bytes,
                                           item.output_bytes));
    load.outputs = SatAdd(load.outputs, item.output_bytes);
    load.took += item.took;
    if (item.start + item.length > end) load.kept = item.output_bytes;
  }
  return load;
}

Bytes AfterChunk(const PlanRequest& request,
                 const std::vector<std::size_t>& items, Tokens end,
                 LiveOutputs* live) {
  Bytes freed = 0;
  for (auto it = live->begin(); it != live->end();) {
    const EncodeItem& item = request.encodes[*it];
    if (item.start + item.length > end) {
      ++it;
      continue;
    }
    freed += item.output_bytes;
    it = live->erase(it);
  }
  for (const std::size_t i : items) {
    const EncodeItem& item = request.encodes[i];
    if (item.start + item.length > end) live->insert(i);
  }
  return freed;
}

}  // namespace tidegate::internal
