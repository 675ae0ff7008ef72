// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "bindings/python/src/errors.h"

#include <nanobind/nanobind.h>

#include <string>

namespace tidegate::python {

void ThrowUnlessOk(const absl::Status& status) {
  if (status.ok()) return;
  const std::string message(status.message());
  if (absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status)) {
    PyErr_SetString(PyExc_ValueError, message.c_str());
  } else if (absl::IsNotFound(status)) {
    PyErr_SetString(PyExc_FileNotFoundError, message.c_str());
  } else {
    PyErr_SetString(PyExc_RuntimeError, message.c_str());
  }
  throw nanobind::python_error();
}

}  // namespace tidegate::python
