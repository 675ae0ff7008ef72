// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The simulator as the command line runs it.

#ifndef TIDEGATE_BINDINGS_PYTHON_VERBS_H_
#define TIDEGATE_BINDINGS_PYTHON_VERBS_H_

#include <nanobind/nanobind.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bindings/python/src/flags.h"
#include "bindings/python/src/plugins.h"

namespace tidegate::python {

// (summary as JSON, warnings as text, records as a dict of columns: empty
// unless they are asked for).
nanobind::tuple Simulate(
    const Flags& flags, bool want_records,
    const std::vector<std::shared_ptr<PythonPlugin>>& plugins);
// (runs as JSON or as a table, warnings as text). `resume` as the flag.
nanobind::tuple Compare(const Flags& flags, bool resume, bool want_table);
// Of tools/compare.h: [(position, file)], and the text of a file.
nanobind::list CompareTasks(const Flags& flags, bool resume);
std::string CompareOne(const Flags& flags, std::int64_t at);
// (plan as JSON, warnings as text).
nanobind::tuple RunPlan(const Flags& flags);

}  // namespace tidegate::python

#endif  // TIDEGATE_BINDINGS_PYTHON_VERBS_H_
