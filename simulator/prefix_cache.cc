// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/prefix_cache.h"

#include <algorithm>
#include <utility>

#include "tidegate/status.h"

namespace tidegate::internal {

PrefixCache::PrefixCache(Tokens block, Bytes block_bytes,
                         std::optional<Bytes> capacity)
    : block_(block), block_bytes_(block_bytes), capacity_(capacity) {
  TG_CHECK(block >= 1);
  TG_CHECK(block_bytes >= 0);
}

Tokens PrefixCache::Hit(std::int64_t session, Tokens bound) const {
  const auto found = chains_.find(session);
  if (found == chains_.end()) return 0;
  return std::min(found->second.blocks, bound / block_) * block_;
}

Bytes PrefixCache::UnpinnedBytes(std::int64_t session, Tokens tokens) const {
  const auto found = chains_.find(session);
  if (found == chains_.end()) return 0;
  const std::int64_t blocks =
      std::min(tokens / block_, found->second.blocks) - found->second.pinned;
  return std::max<std::int64_t>(blocks, 0) * block_bytes_;
}

void PrefixCache::Pin(std::int64_t session, Tokens tokens) {
  if (tokens == 0) return;
  const auto found = chains_.find(session);
  TG_CHECK(found != chains_.end());
  Chain& chain = found->second;
  const std::int64_t blocks = tokens / block_;
  TG_CHECK(tokens % block_ == 0 && blocks <= chain.blocks);
  ++chain.pins[blocks];
  Touch(session, chain);
  Update(session, chain, chain.blocks, chain.pins.rbegin()->first);
}

void PrefixCache::Unpin(std::int64_t session, Tokens tokens) {
  if (tokens == 0) return;
  const auto found = chains_.find(session);
  TG_CHECK(found != chains_.end());
  Chain& chain = found->second;
  const auto pin = chain.pins.find(tokens / block_);
  TG_CHECK(pin != chain.pins.end());
  if (--pin->second == 0) chain.pins.erase(pin);
  Touch(session, chain);
  Update(session, chain, chain.blocks,
         chain.pins.empty() ? 0 : chain.pins.rbegin()->first);
}

void PrefixCache::Extend(std::int64_t session, Tokens tokens) {
  const std::int64_t wanted = tokens / block_;
  const auto found = chains_.find(session);
  const std::int64_t held = found == chains_.end() ? 0 : found->second.blocks;
  if (wanted <= held) return;
  std::int64_t added = wanted - held;
  if (capacity_.has_value() && block_bytes_ > 0) {
    const std::int64_t limit = *capacity_ / block_bytes_;
    // The session being extended is in use, so its own tail stays.
    if (found != chains_.end()) Touch(session, found->second);
    while (blocks_ + added > limit && !victims_.empty() &&
           victims_.begin()->second != session) {
      DropTail(victims_.begin()->second, blocks_ + added - limit);
    }
    added = std::clamp<std::int64_t>(limit - blocks_, 0, added);
  }
  if (added == 0) return;
  Chain& chain = chains_[session];
  Touch(session, chain);
  Update(session, chain, chain.blocks + added, chain.pinned);
}

void PrefixCache::ShrinkUnpinned(Bytes bytes) {
  if (block_bytes_ == 0) return;
  const Bytes limit = std::max<Bytes>(bytes, 0);
  while (unpinned_bytes() > limit) {
    TG_CHECK(!victims_.empty());
    DropTail(victims_.begin()->second,
             CeilDiv(unpinned_bytes() - limit, block_bytes_));
  }
}

std::vector<std::int64_t> PrefixCache::TakeChanged() {
  std::sort(changed_.begin(), changed_.end());
  changed_.erase(std::unique(changed_.begin(), changed_.end()), changed_.end());
  return std::exchange(changed_, {});
}

void PrefixCache::Update(std::int64_t session, Chain& chain,
                         std::int64_t blocks, std::int64_t pinned) {
  TG_CHECK(pinned >= 0 && pinned <= blocks);
  if (blocks != chain.blocks || pinned != chain.pinned) {
    changed_.push_back(session);
  }
  blocks_ += blocks - chain.blocks;
  pinned_blocks_ += pinned - chain.pinned;
  chain.blocks = blocks;
  chain.pinned = pinned;
  if (blocks > pinned) {
    victims_.emplace(chain.used, session);
  } else {
    victims_.erase(chain.used);
  }
  if (blocks == 0) chains_.erase(session);
}

void PrefixCache::Touch(std::int64_t session, Chain& chain) {
  const bool victim = victims_.erase(chain.used) > 0;
  chain.used = ++uses_;
  if (victim) victims_.emplace(chain.used, session);
}

void PrefixCache::DropTail(std::int64_t session, std::int64_t blocks) {
  Chain& chain = chains_.at(session);
  const std::int64_t dropped = std::min(blocks, chain.blocks - chain.pinned);
  evicted_blocks_ += dropped;
  Update(session, chain, chain.blocks - dropped, chain.pinned);
}

}  // namespace tidegate::internal
