// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "policies/encode_items.h"

#include <iterator>

namespace tidegate::internal {
namespace {

Tokens EndOf(const EncodeItem& item) { return item.start + item.length; }

// The number of the first item that ends behind `at`.
std::size_t FirstBehind(const PlanRequest& request, Tokens at) {
  const auto& items = request.encodes;
  const auto it = std::partition_point(
      items.begin(), items.end(),
      [at](const EncodeItem& item) { return EndOf(item) <= at; });
  return static_cast<std::size_t>(std::distance(items.begin(), it));
}

// Whether tokens on both sides of `at` belong to the item.
bool Cuts(const EncodeItem& item, Tokens at) {
  return item.start < at && at < EndOf(item);
}

}  // namespace

Bytes OutputAt(const PlanRequest& request, Tokens at) {
  const std::size_t i = FirstBehind(request, at);
  if (i == request.encodes.size()) return 0;
  const EncodeItem& item = request.encodes[i];
  return Cuts(item, at) ? item.output_bytes : 0;
}

EncodeRange EncodesIn(const PlanRequest& request, Tokens start, Tokens end,
                      bool encoded) {
  const auto& items = request.encodes;
  EncodeRange range;
  range.first = FirstBehind(request, start);
  if (encoded && range.first < items.size() &&
      Cuts(items[range.first], start)) {
    ++range.first;
  }
  range.last = range.first;
  while (range.last < items.size() && items[range.last].start < end) {
    ++range.last;
  }
  return range;
}

EncodeNeed NeedOfEncodes(const PlanRequest& request, Tokens start, Tokens end,
                         bool encoded) {
  const EncodeRange range = EncodesIn(request, start, end, encoded);
  EncodeNeed need;
  for (std::size_t i = range.first; i < range.last; ++i) {
    const EncodeItem& item = request.encodes[i];
    need.outputs = SatAdd(need.outputs, item.output_bytes);
    need.peak = std::max(need.peak, SatAdd(need.outputs, item.transient_bytes));
    need.took += item.took;
    if (Cuts(item, end)) need.kept = item.output_bytes;
  }
  need.peak -= need.kept;
  need.outputs -= need.kept;
  return need;
}

Encoded EncodedAfter(const PlanRequest& request, Tokens start, Tokens end,
                     Bytes encoded) {
  const bool same =
      encoded > 0 && FirstBehind(request, start) == FirstBehind(request, end);
  if (same) return {.bytes = encoded};
  return {.bytes = OutputAt(request, end), .released = encoded};
}

Bytes AdvanceTo(PlanRequest& request, Tokens end) {
  const Tokens start =
      std::min(request.cached_tokens, request.prompt_tokens - 1);
  const Encoded after =
      EncodedAfter(request, start, end, request.encoded_bytes);
  request.cached_tokens = end;
  request.cached_chunk = std::max<Tokens>(1, end - start);
  request.encoded_bytes = after.bytes;
  return after.released;
}

}  // namespace tidegate::internal
