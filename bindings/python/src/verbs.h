// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The simulator as the command line runs it.

#ifndef TIDEGATE_BINDINGS_PYTHON_VERBS_H_
#define TIDEGATE_BINDINGS_PYTHON_VERBS_H_

#include <nanobind/nanobind.h>

#include "bindings/python/src/flags.h"

namespace tidegate::python {

// (summary as JSON, warnings as text, records as a dict of columns: empty
// unless they are asked for).
nanobind::tuple Simulate(const Flags& flags, bool want_records);
// (runs as JSON, warnings as text).
nanobind::tuple Compare(const Flags& flags);
// (plan as JSON, warnings as text).
nanobind::tuple RunPlan(const Flags& flags);

}  // namespace tidegate::python

#endif  // TIDEGATE_BINDINGS_PYTHON_VERBS_H_
