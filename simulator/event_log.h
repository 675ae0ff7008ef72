// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The event log: one line for every event that the scheduler was given and
// every action it answered with, in order. docs/scheduler.md lists the fields.

#ifndef TIDEGATE_SIMULATOR_EVENT_LOG_H_
#define TIDEGATE_SIMULATOR_EVENT_LOG_H_

#include "tidegate/decision_log.h"

namespace tidegate::internal {

using ::tidegate::ActionLine;
using ::tidegate::EventLine;
using ::tidegate::EventName;

}  // namespace tidegate::internal

#endif  // TIDEGATE_SIMULATOR_EVENT_LOG_H_
