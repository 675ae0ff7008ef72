// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A status as the Python exception that says the same.

#ifndef TIDEGATE_BINDINGS_PYTHON_ERRORS_H_
#define TIDEGATE_BINDINGS_PYTHON_ERRORS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tidegate::python {

// InvalidArgument and FailedPrecondition: ValueError. NotFound:
// FileNotFoundError. Everything else: RuntimeError. Needs the GIL.
void ThrowUnlessOk(const absl::Status& status);

template <typename T>
T ValueOrThrow(absl::StatusOr<T> value) {
  ThrowUnlessOk(value.status());
  return *std::move(value);
}

}  // namespace tidegate::python

#endif  // TIDEGATE_BINDINGS_PYTHON_ERRORS_H_
