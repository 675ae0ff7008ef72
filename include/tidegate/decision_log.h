// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Decision log: what a scheduler was told and what it answered, one JSON object
// a line.
//
//   {"t":0,"event":"arrive","id":1,"prompt_tokens":9000,…,
//    "actions":[{"action":"admit","id":1,"claim_bytes":1181220864},…],
//    "waiting":0,"claimed_bytes":…,"resident_bytes":…}
//
// (here broken in three). Times are integer nanoseconds and every number is an
// integer, so that equal runs give equal bytes. docs/scheduler.md lists the
// fields. Whoever calls Scheduler::Handle() can write it; PullScheduler and
// Service do so when they are given an observer or a sink.
//
// Thread-safety: pure functions.

#ifndef TIDEGATE_DECISION_LOG_H_
#define TIDEGATE_DECISION_LOG_H_

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "tidegate/actions.h"
#include "tidegate/events.h"
#include "tidegate/scheduler.h"
#include "tidegate/types.h"

namespace tidegate {

// One Scheduler::Handle() that was accepted. Refers to the caller's values:
// good for the call it is passed to.
struct Decision {
  Instant now{};
  const Event& event;
  std::span<const Action> actions;
  SchedulerStats stats;  // when it was done
};

// Called after each event that the scheduler accepted, before its actions are
// carried out. Must not throw, nor call the scheduler back.
using DecisionObserver = std::function<void(const Decision&)>;

// False for tokens, readings, amounts to reclaim and wakes that led to nothing:
// they come many times a second and say nothing about a request. A log without
// them has every request's story.
bool IsDecision(const Decision& decision);

// One line, newline included: the event with its fields, its actions, and what
// waits and is promised after them.
std::string DecisionLine(const Decision& decision);

// The same as the simulator's event log has it, a line for each event and a
// line for each action.
std::string EventLine(const Event& event, Instant now);
std::string ActionLine(const Action& action, Instant now);

// The words of the "event" and "action" members.
std::string_view EventName(const Event& event);
std::string_view ActionName(const Action& action);

}  // namespace tidegate

#endif  // TIDEGATE_DECISION_LOG_H_
