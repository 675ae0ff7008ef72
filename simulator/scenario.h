// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A scenario as read: a closed world, what happens in it and what must come of
// it. docs/scenarios.md describes the format; every key of it is here and
// nowhere else.
//
// Thread-safety: plain values and pure functions.

#ifndef TIDEGATE_SIMULATOR_SCENARIO_H_
#define TIDEGATE_SIMULATOR_SCENARIO_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "simulator/driver.h"
#include "tidegate/estimator.h"
#include "tidegate/model_shape.h"
#include "tidegate/policy_file.h"
#include "tidegate/simulator.h"
#include "tidegate/types.h"

namespace tidegate::internal {

struct ScenarioRequest {
  std::string id;
  DrivenRequest driven;
};

// Bounds of one number. Unset: no bound on that side.
struct Range {
  std::optional<Bytes> at_least;
  std::optional<Bytes> at_most;
};

struct ExpectedRequest {
  std::size_t request = 0;  // index
  std::optional<Outcome> outcome;
  std::optional<RefusalCode> rejected_code;
  std::optional<Tokens> chunk_at_least;
  std::optional<Tokens> chunk_at_most;
  std::optional<Tokens> largest_chunk_at_least;
  std::optional<std::int64_t> steps_at_most;
  std::optional<Tokens> work_before_rejection;
  std::optional<Duration> wait_at_most;
  std::optional<Duration> finished_by;  // since the scenario began
};

struct ExpectedPrice {
  Chunk chunk;
  Range transient_bytes;
};

struct ExpectedKvBytes {
  Tokens tokens = 0;
  Tokens chunk = 0;
  Range bytes;
};

struct Expectations {
  std::vector<ExpectedRequest> requests;
  std::int64_t out_of_memory = 0;
  std::optional<Bytes> peak_at_most;  // unset: the highest ceiling
  std::optional<std::int64_t> reclaims_at_least;
  std::optional<std::int64_t> reclaims_at_most;
  std::vector<std::size_t> finish_order;  // of requests; empty: any
  std::vector<ExpectedPrice> prices;
  std::optional<Bytes> kv_bytes_per_token;
  std::vector<ExpectedKvBytes> kv_bytes;
};

struct Scenario {
  std::string id;
  std::string place;  // "FILE:LINE", for messages
  ModelShape shape;
  EngineSpec engine;
  // What `policy` says, with the engine and memory of the scenario's own keys.
  PolicyFile policy;
  Bytes ceiling = 0;
  Bytes base = 0;
  std::optional<Bytes> max_allocation;
  std::vector<ReclaimablePart> reclaimables;
  WorldOptions world;  // `truth` unset
  std::vector<ScenarioRequest> requests;
  std::vector<TimedInput> inputs;  // ascending by time
  Expectations expect;
};

// Reads one line. InvalidArgument "FILE:LINE: key KEY: expected …, got …".
absl::StatusOr<Scenario> ParseScenario(std::string_view json,
                                       const std::string& place);

// All scenarios of a file's text; empty lines are skipped. InvalidArgument when
// there is none.
absl::StatusOr<std::vector<Scenario>> ParseScenarios(std::string_view text,
                                                     std::string_view file);

}  // namespace tidegate::internal

#endif  // TIDEGATE_SIMULATOR_SCENARIO_H_
