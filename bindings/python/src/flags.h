// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Keyword arguments as the flags of the command line, so that both read, check
// and explain them alike.

#ifndef TIDEGATE_BINDINGS_PYTHON_FLAGS_H_
#define TIDEGATE_BINDINGS_PYTHON_FLAGS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/arguments.h"

namespace tidegate::python {

// Flag without dashes in front, underscores within ("chunk_max"), to its
// values; those that take one get one.
using Flags = std::map<std::string, std::vector<std::string>>;

// InvalidArgument for a flag that is not known, with a suggestion.
absl::StatusOr<tools::Arguments> MakeArguments(const Flags& flags);

}  // namespace tidegate::python

#endif  // TIDEGATE_BINDINGS_PYTHON_FLAGS_H_
