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

// Decoding ended; the request's bytes are free.
struct Finished {
  RequestId id = 0;
};

// The client went away, at any point of the request's life.
struct Cancel {
  RequestId id = 0;
};

// One reading of live memory, the same for every decider.
struct MemoryReading {
  Bytes live_bytes = 0;
};

struct CeilingChanged {
  Bytes ceiling = 0;
};

// The moment asked for by WakeAt has come.
struct Wake {};

using Event = std::variant<Arrive, StepDone, StepFailed, DecodeProgress,
                           Finished, Cancel, MemoryReading, CeilingChanged,
                           Wake, PrefixChanged>;

}  // namespace tidegate

#endif  // TIDEGATE_EVENTS_H_
