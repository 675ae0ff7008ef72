// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Events: everything the scheduler learns. Each is a plain value; the moment it
// happened is an argument of Scheduler::Handle. The same events at the same
// moments give the same actions, byte for byte.

#ifndef TIDEGATE_EVENTS_H_
#define TIDEGATE_EVENTS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "tidegate/plan.h"
#include "tidegate/types.h"

namespace tidegate {

struct SchedulerOptions;

// Chosen by the engine, unique among requests that have not ended.
using RequestId = std::uint64_t;
// Chosen by the scheduler, ascending.
using StepId = std::uint64_t;
using ReclaimId = std::uint64_t;

// A request joins the queue.
struct Arrive {
  RequestId id = 0;
  PlanRequest request;
  std::int64_t priority = 0;  // higher goes first, where the order policy asks
  std::string tenant;
  // Bytes of the cached prefix that live memory does not count yet, because
  // the engine reports blocks that it may evict as free. They are charged to
  // the request from Admit on, when the engine pins them.
  Bytes prefix_bytes = 0;
  // The same in blocks, of an engine with a KV pool: blocks of the prefix that
  // nobody else pins.
  std::int64_t prefix_blocks = 0;
};

// The cached prefix of a request that is still waiting grew, or was evicted.
// All values replace those of Arrive.
struct PrefixChanged {
  RequestId id = 0;
  Tokens cached_tokens = 0;
  Bytes prefix_bytes = 0;
  std::int64_t prefix_blocks = 0;
};

// What a step came to for one request that decodes in steps.
struct DecodeResult {
  RequestId id = 0;
  Tokens tokens = 1;      // generated; more than one with accepted drafts
  bool finished = false;  // its last: its bytes are free
};

// A step ran. Measurements are optional: unknown is not zero. Those of memory
// have one entry per device or rank, all taken at the same moment.
struct StepDone {
  StepId step = 0;
  std::vector<Bytes> peak_bytes;  // device peak while it ran; empty: unknown
  std::vector<Bytes> live_bytes;  // device live bytes after it; empty: unknown
  std::optional<Duration> took;
  // Where steps hold decode tokens: what differs from one token for each of
  // RunStep::decodes, and none finished. A request whose prompt this step
  // completed may be among them, with the tokens that came with it.
  std::vector<DecodeResult> decodes;
};

enum class StepFailure { kOutOfMemory, kOther };

// A step failed and left nothing behind: no chunk of it is computed and no
// token of it generated.
struct StepFailed {
  StepId step = 0;
  StepFailure why = StepFailure::kOther;
};

// Decoding of an admitted request added tokens. Only of engines that decode by
// themselves; where decode tokens are part of steps, StepDone says it.
struct DecodeProgress {
  RequestId id = 0;
  Tokens tokens = 0;  // newly generated
};

// An engine that decodes by itself could not go on with this request, and tries
// again: for lack of memory, when somebody has to make room, or for another
// reason, which is given up after several in a row.
struct DecodeFailed {
  RequestId id = 0;
  StepFailure why = StepFailure::kOther;
};

// Decoding ended; the request's bytes are free. An engine that sends
// MemoryReading sends one after this, and after every Preempt, Reject and
// Cancelled that freed memory: until then the bytes count as live.
struct Finished {
  RequestId id = 0;
};

// The client went away, at any point of the request's life.
struct Cancel {
  RequestId id = 0;
};

// One reading of live memory, the same for every decider. `live_bytes` has one
// entry per device or rank, all taken at the same moment; the rank with the
// least room decides. Where SchedulerOptions::ranks names them, there are as
// many entries.
struct MemoryReading {
  std::vector<Bytes> live_bytes;  // empty: only blocks were read
  // Blocks of the KV pool in use, without what could be evicted.
  std::optional<std::int64_t> kv_blocks;
};

struct CeilingChanged {
  Bytes ceiling = 0;
  // Which of SchedulerOptions::ranks; unset: all of them.
  std::optional<std::size_t> rank;
};

// Other policies, limits and prices from the next decision on; never in the
// middle of a step. `options` is what Scheduler::Create takes, except that
// memory.base counts for nothing: what is live is known. When it is refused,
// nothing changes. Whoever was admitted stays admitted.
struct PolicyChanged {
  std::shared_ptr<const SchedulerOptions> options;
};

// How many bytes of live memory a kind of reclaim could free now. Replaces what
// was said before about that kind; kinds never mentioned hold nothing.
struct Reclaimable {
  std::string kind;
  Bytes bytes = 0;
};

// The reclaim ended, and the next reading shows what it freed: possibly less
// than was asked, or nothing.
struct ReclaimDone {
  ReclaimId reclaim = 0;
  Bytes freed_bytes = 0;
};

// So many live bytes are on their way out (a write-back, another rank's copy)
// and count as live until `Released` reports them gone.
struct ReleasePending {
  Bytes bytes = 0;
};
struct Released {
  Bytes bytes = 0;
};

// A past measurement of one chunk's transient, for the calibrator.
struct Observe {
  Chunk chunk;
  Bytes transient_bytes = 0;
};

// The moment asked for by WakeAt has come.
struct Wake {};

using Event =
    std::variant<Arrive, StepDone, StepFailed, DecodeProgress, Finished, Cancel,
                 MemoryReading, CeilingChanged, Wake, PrefixChanged,
                 Reclaimable, ReclaimDone, ReleasePending, Released, Observe,
                 DecodeFailed, PolicyChanged>;

}  // namespace tidegate

#endif  // TIDEGATE_EVENTS_H_
