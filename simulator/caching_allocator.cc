// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/caching_allocator.h"

#include <algorithm>

#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// kSmallSize, kSmallBuffer, kMinLargeAlloc, kLargeBuffer and kRoundLarge of
// CUDACachingAllocator.cpp: what a block of a size is cut from.
constexpr Bytes kMiB = Bytes{1} << 20;
constexpr Bytes kSmallBlock = kMiB;
constexpr Bytes kSmallSegment = 2 * kMiB;
constexpr Bytes kLargeBlock = 10 * kMiB;
constexpr Bytes kLargeSegment = 20 * kMiB;
constexpr Bytes kRoundLarge = 2 * kMiB;
constexpr Bytes kRoundBlock = 512;

// A step of more blocks is one of these many: what matters is the largest.
constexpr Bytes kBlocksMax = 64;

}  // namespace

Bytes CachingAllocator::SegmentSize(Bytes block) const {
  if (block <= kSmallBlock) return kSmallSegment;
  if (block < kLargeBlock) return kLargeSegment;
  return RoundUp(block, kRoundLarge);
}

bool CachingAllocator::Place(Bytes block, Bytes limit) {
  // Small blocks have segments of their own.
  const bool small = block <= kSmallBlock;
  Segment* best = nullptr;
  for (Segment& segment : segments_) {
    if ((segment.size == kSmallSegment) != small && !options_.expandable) {
      continue;
    }
    const Bytes room = segment.size - segment.used;
    if (room >= block && (best == nullptr || room < best->size - best->used)) {
      best = &segment;
    }
  }
  if (best != nullptr) {
    best->used += block;
    return true;
  }
  if (options_.expandable) {
    // One range of addresses that grows by pages.
    if (segments_.empty()) segments_.push_back({});
    Segment& range = segments_.front();
    const Bytes grown = RoundUp(SatAdd(range.used, block), kRoundLarge);
    if (grown > limit) return false;
    reserved_ = grown;
    range.size = grown;
    range.used += block;
    return true;
  }
  const Bytes size = SegmentSize(block);
  if (SatAdd(reserved_, size) > limit) return false;
  const auto at = std::lower_bound(
      segments_.begin(), segments_.end(), size,
      [](const Segment& segment, Bytes other) { return segment.size < other; });
  segments_.insert(at, {size, block});
  reserved_ += size;
  return true;
}

bool CachingAllocator::Take(Bytes bytes, Bytes largest, Bytes limit) {
  TG_CHECK(bytes >= 0 && largest >= 0);
  largest = std::max({largest, bytes / kBlocksMax, kRoundBlock});
  for (Bytes left = bytes; left > 0;) {
    const Bytes block = std::min(left, largest);
    left -= block;
    const Bytes rounded = RoundUp(block, kRoundBlock);
    if (Place(rounded, limit)) continue;
    // As torch does before it reports that it is out of memory.
    GiveBack(kBytesMax);
    if (Place(rounded, limit)) continue;
    Release();
    return false;
  }
  return true;
}

void CachingAllocator::Release() {
  for (Segment& segment : segments_) segment.used = 0;
}

Bytes CachingAllocator::Free() const {
  Bytes free = 0;
  for (const Segment& segment : segments_) {
    if (segment.used == 0) {
      free += segment.size;
    } else if (options_.expandable) {
      free += segment.size - RoundUp(segment.used, kRoundLarge);
    }
  }
  return free;
}

Bytes CachingAllocator::GiveBack(Bytes bytes) {
  Bytes freed = 0;
  if (options_.expandable) {
    if (segments_.empty()) return 0;
    // Whole pages behind what is in use.
    Segment& range = segments_.front();
    freed = std::min(RoundUp(bytes, kRoundLarge), Free());
    range.size -= freed;
  } else {
    std::erase_if(segments_, [&](const Segment& segment) {
      if (segment.used > 0 || freed >= bytes) return false;
      freed += segment.size;
      return true;
    });
  }
  reserved_ -= freed;
  return freed;
}

}  // namespace tidegate::internal
