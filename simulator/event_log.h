// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The event log: one JSON object a line for every event that the scheduler was
// given and every action it answered with, in order.
//
//   {"t":0,"event":"arrive","id":1,"prompt_tokens":9000,…}
//   {"t":0,"action":"admit","id":1,"claim_bytes":1181220864}
//
// Times are integer nanoseconds and every number is an integer, so that equal
// runs give equal bytes. docs/simulation.md lists the fields.

#ifndef TIDEGATE_SIMULATOR_EVENT_LOG_H_
#define TIDEGATE_SIMULATOR_EVENT_LOG_H_

#include <string>

#include "tidegate/actions.h"
#include "tidegate/events.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// One line, newline included.
std::string EventLine(const Event& event, Instant now);
std::string ActionLine(const Action& action, Instant now);

// The word of the "event" or "action" member.
std::string EventName(const Event& event);

}  // namespace tidegate::internal

#endif  // TIDEGATE_SIMULATOR_EVENT_LOG_H_
