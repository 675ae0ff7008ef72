// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Events: everything the scheduler learns. Each is a plain value; the moment it
// happened is an argument of Scheduler::Handle. The same events at the same
// moments give the same actions, byte for byte.

#ifndef TIDEGATE_EVENTS_H_
#define TIDEGATE_EVENTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "tidegate/plan.h"
#include "tidegate/types.h"

namespace tidegate {

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
};

// The cached prefix of a request that is still waiting grew, or was evicted.
// Both values replace those of Arrive.
struct PrefixChanged {
  RequestId id = 0;
  Tokens cached_tokens = 0;
  Bytes prefix_bytes = 0;
};

// A step ran. Measurements are optional: unknown is not zero.
struct StepDone {
  StepId step = 0;
  std::optional<Bytes> peak_bytes;  // device peak while it ran
  std::optional<Bytes> live_bytes;  // device live bytes after it
  std::optional<Duration> took;
};

enum class StepFailure { kOutOfMemory, kOther };

// A step failed and left nothing behind.
struct StepFailed {
  StepId step = 0;
  StepFailure why = StepFailure::kOther;
};

// Decoding of an admitted request added tokens.
struct DecodeProgress {
  RequestId id = 0;
  Tokens tokens = 0;  // newly generated
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
// least room decides.
struct MemoryReading {
  std::vector<Bytes> live_bytes;
};

struct CeilingChanged {
  Bytes ceiling = 0;
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
                 Reclaimable, ReclaimDone, ReleasePending, Released, Observe>;

}  // namespace tidegate

#endif  // TIDEGATE_EVENTS_H_
