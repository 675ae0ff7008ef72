// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The simulated device: what is live, what a step really needs, what runs out.
//
// It keeps its own account and knows nothing of the scheduler's:
//
//   live = base + KV of admitted requests + pinned blocks of the prefix cache
//          + what the pool keeps + what other tenants hold
//
// Cached blocks that nobody pins are the engine's to drop, so they are not
// live; they are dropped before anything is said to run out.
//
// Thread-safety: none.

#ifndef TIDEGATE_SIMULATOR_WORLD_H_
#define TIDEGATE_SIMULATOR_WORLD_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "simulator/caching_allocator.h"
#include "simulator/encoders.h"
#include "simulator/lagged_reading.h"
#include "simulator/prefix_cache.h"
#include "tidegate/catalogue.h"
#include "tidegate/estimator.h"
#include "tidegate/scheduler.h"
#include "tidegate/simulator.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// A part of `base` that a reclaim request frees, `lag` after it was asked.
struct ReclaimablePart {
  std::string kind;
  Bytes bytes = 0;
  Duration lag{};
};

struct WorldSetup {
  WorldOptions options;  // `truth` must be set
  Bytes ceiling = 0;
  Bytes base = 0;  // everything in `reclaimables` included
  std::optional<Bytes> max_allocation;
  std::vector<ReclaimablePart> reclaimables;

  // kCatalog: the routes to look up; unset: those that `truth` names.
  std::optional<RouteTable> routes;
  // For models without full attention, the window of the formulas; 0: none.
  Tokens window = 0;

  // Several devices that hold equal shares of every step; their ceilings and
  // bases replace those above, and the one with the least room is the device
  // that World speaks of. Empty: one.
  std::vector<RankLimits> ranks;

  // KV lies in a pool that `base` counts: sequences add no bytes.
  bool kv_in_pool = false;

  // Unset: no prefix cache, and cached tokens are taken as the caller states
  // them.
  std::optional<PrefixCacheOptions> cache;
};

// InvalidArgument names the option that is out of range.
absl::Status ValidateWorld(const WorldOptions& options);

class World {
 public:
  explicit World(WorldSetup setup);

  // What a step comes to. When it does not fit, nothing is held of it.
  struct Step {
    bool fits = false;
    std::vector<Bytes> growth;  // resident bytes of each chunk
    Bytes decode_growth = 0;    // and of all decode tokens together
    Bytes transient = 0;
    Bytes peak = 0;         // live, growth and transient while it runs
    Bytes device_peak = 0;  // the same with cached blocks that nobody pins
    Duration took{};
    Bytes added = 0;   // to what is live, while it runs
    Bytes reused = 0;  // of the pool
  };
  // Starts a step unless it would run out of memory; drops cached blocks that
  // are in its way. `decode_kv_lens`: what each decode token attends to, itself
  // included. A step has a chunk or a decode token.
  // `encoders` run before, for the first chunk.
  Step Start(std::span<const Chunk> chunks,
             std::span<const Tokens> decode_kv_lens = {},
             const EncoderLoad& encoders = {}) {
    Step step;
    Start(chunks, decode_kv_lens, encoders, &step);
    return step;
  }
  // The same into a step that was used before, whose memory it keeps.
  void Start(std::span<const Chunk> chunks,
             std::span<const Tokens> decode_kv_lens,
             const EncoderLoad& encoders, Step* step);
  // Ends a step that fit: its growth becomes resident.
  void End(const Step& step);

  // What time it is; never goes back. Moves what other tenants hold, and the
  // readings that lag.
  void SetNow(Instant now);
  // When Live() changes next although nothing happens to this world: a reading
  // that lags, or another tenant. Nothing when it does not.
  std::optional<Instant> NextChange() const;

  // What each rank has where the tightest has `bytes`; one entry without ranks.
  std::vector<Bytes> OfEachRank(Bytes bytes) const;

  // The engine's answer to "how much is live?", as old as readings are.
  Bytes Live() const;
  // The truth.
  Bytes LiveNow() const;
  // The same with cached blocks that could be dropped.
  Bytes DeviceBytes() const;

  // Resident bytes of requests; `bytes` may be negative.
  void AddResident(Bytes bytes);
  // Bytes of `tokens` decoded tokens.
  Bytes DecodeBytes(Tokens tokens) const;
  // What a request takes on admission where the engine allocates its whole KV
  // then; 0 elsewhere.
  Bytes AdmissionBytes(Tokens tokens, Tokens chunk) const;

  // How long `tokens` take to decode, and how many are decoded after `time`.
  Duration DecodeTime(Tokens tokens) const;
  Tokens DecodedAfter(Duration time) const;
  Duration PrefillTime(Tokens tokens) const;

  void SetBase(Bytes base);  // what was reclaimed before stays taken off
  void SetCeiling(Bytes ceiling);
  Bytes ceiling() const { return setup_.ceiling; }

  // Whether there are any such kinds.
  bool Reclaims() const { return PoolKeeps() || !setup_.reclaimables.empty(); }
  // Kinds that hold something or could, in the order of the setup.
  std::vector<std::string> ReclaimableKinds() const;
  Bytes ReclaimableBytes(std::string_view kind) const;
  Duration ReclaimLag(std::string_view kind) const;
  // Frees up to `bytes` of a kind; answers how many were freed.
  Bytes Reclaim(std::string_view kind, Bytes bytes);

  // Null where there is none.
  PrefixCache* cache() { return cache_ ? &*cache_ : nullptr; }
  const PrefixCache* cache() const { return cache_ ? &*cache_ : nullptr; }

  // Highest use so far: at the start of every step that fit, and whenever a
  // decoded token was added.
  Bytes peak() const { return peak_; }
  void NotePeak();

 private:
  struct Need {
    Bytes transient = 0;
    Bytes largest_allocation = 0;
  };
  Need NeedOf(std::span<const Chunk> chunks,
              std::span<const Tokens> decode_kv_lens,
              const EncoderLoad& encoders) const;
  Need AttentionOf(const Chunk& chunk) const;
  WorldAttention RouteOf(const Chunk& chunk) const;
  Bytes GrowthOf(const Chunk& chunk) const;
  bool PoolKeeps() const {
    return setup_.options.pool_keeps_transients || allocator_.has_value();
  }
  void BeginTenants();
  Bytes TenantBytes() const;
  // Lets the step's transient be allocated: bytes by which live grows, or
  // nothing when they are not to be had.
  std::optional<Bytes> TakeTransient(const Need& need, Bytes growth,
                                     Bytes* reused);
  // Drops cached blocks until the device holds no more than its ceiling.
  void FitCache();

  WorldSetup setup_;
  std::optional<PrefixCache> cache_;
  std::optional<CachingAllocator> allocator_;
  Instant now_{};
  std::size_t tenants_begun_ = 0;
  std::uint64_t started_ = 0;      // steps
  mutable LaggedReading reading_;  // takes note of what it is asked about
  Bytes token_bytes_ = 0;          // resident bytes of one decoded token
  Bytes reclaimed_ = 0;            // taken off base for good
  Bytes resident_ = 0;
  Bytes pool_ = 0;          // transients that the pool keeps
  Bytes running_ = 0;       // growth and transient of steps in flight
  Bytes running_pool_ = 0;  // of pool_, what they use
  Bytes peak_ = 0;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SIMULATOR_WORLD_H_
