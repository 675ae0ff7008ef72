// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The simulated engine's prefix cache.
//
// It holds, for each session, one chain of whole blocks: the KV of the longest
// prefix that was computed and not dropped since. A prefix is only of use from
// its start, so a chain is a length, and it loses blocks at its tail. Requests
// of the session pin a prefix of the chain while they run; blocks that several
// of them pin exist, and are charged, once.
//
// Blocks that nobody pins can be dropped at any moment. They go session by
// session, the one least recently used first.
//
// Traces hold lengths, not text: that two prompts share a prefix is known only
// from cached_tokens, which the caller takes as the upper bound of a hit. Where
// a session branches, its chain is as long as its longest branch.
//
// Thread-safety: none.

#ifndef TIDEGATE_SIMULATOR_PREFIX_CACHE_H_
#define TIDEGATE_SIMULATOR_PREFIX_CACHE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "tidegate/types.h"

namespace tidegate::internal {

class PrefixCache {
 public:
  // `capacity` bounds all blocks, pinned ones too; nullopt: no bound of its
  // own. `block_bytes` may be 0, for models that keep nothing per token.
  PrefixCache(Tokens block, Bytes block_bytes, std::optional<Bytes> capacity);

  // Tokens that a prompt finds, when at most `bound` leading ones are those of
  // the session: whole blocks.
  Tokens Hit(std::int64_t session, Tokens bound) const;

  // Of the first `tokens` of the chain, the bytes that nobody pins.
  Bytes UnpinnedBytes(std::int64_t session, Tokens tokens) const;

  // Keeps the first `tokens` of the chain, a multiple of the block and no more
  // than it holds, until Unpin() is called with the same number.
  void Pin(std::int64_t session, Tokens tokens);
  void Unpin(std::int64_t session, Tokens tokens);

  // Lengthens the chain to `tokens`, rounded down to whole blocks, as far as
  // the capacity allows: other sessions' unpinned blocks make way.
  void Extend(std::int64_t session, Tokens tokens);

  // Drops unpinned blocks until they take no more than `bytes`.
  void ShrinkUnpinned(Bytes bytes);

  Bytes pinned_bytes() const { return pinned_blocks_ * block_bytes_; }
  Bytes unpinned_bytes() const {
    return (blocks_ - pinned_blocks_) * block_bytes_;
  }
  std::int64_t evicted_blocks() const { return evicted_blocks_; }
  Tokens block() const { return block_; }
  Bytes block_bytes() const { return block_bytes_; }

  // Sessions whose chain or pins changed since the last call, each once,
  // ascending.
  std::vector<std::int64_t> TakeChanged();

 private:
  struct Chain {
    std::int64_t blocks = 0;
    std::int64_t pinned = 0;  // blocks: the longest pinned prefix
    std::map<std::int64_t, std::int64_t> pins;  // length in blocks -> pins
    std::uint64_t used = 0;                     // when, in uses of the cache
  };
  // Brings the totals, the queue of victims and the list of changes up to date
  // with a chain that was just altered.
  void Update(std::int64_t session, Chain& chain, std::int64_t blocks,
              std::int64_t pinned);
  void Touch(std::int64_t session, Chain& chain);
  void DropTail(std::int64_t session, std::int64_t blocks);

  Tokens block_;
  Bytes block_bytes_;
  std::optional<Bytes> capacity_;
  absl::flat_hash_map<std::int64_t, Chain> chains_;  // never walked
  // Sessions with unpinned blocks by time of use: the first goes first.
  std::map<std::uint64_t, std::int64_t> victims_;
  std::vector<std::int64_t> changed_;
  std::uint64_t uses_ = 0;
  std::int64_t blocks_ = 0;
  std::int64_t pinned_blocks_ = 0;
  std::int64_t evicted_blocks_ = 0;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SIMULATOR_PREFIX_CACHE_H_
