// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The two ways of turning a seed into a run: events sent to a scheduler in any
// order (tests/testing/random_events.h), and scenarios that the simulator plays
// and that are judged from outside (tests/testing/law_checker.h).

#ifndef TIDEGATE_TESTS_TORTURE_HARNESSES_H_
#define TIDEGATE_TESTS_TORTURE_HARNESSES_H_

#include "tests/torture/runner.h"

namespace tidegate::torture {

Harness EventsHarness();
Harness ScenariosHarness();

}  // namespace tidegate::torture

#endif  // TIDEGATE_TESTS_TORTURE_HARNESSES_H_
