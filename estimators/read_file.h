// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TIDEGATE_ESTIMATORS_READ_FILE_H_
#define TIDEGATE_ESTIMATORS_READ_FILE_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tidegate::internal {

// The whole file. `what` names it in messages, as in "policy file".
// InvalidArgument for a directory, NotFound when it cannot be read.
absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     std::string_view what);

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_READ_FILE_H_
