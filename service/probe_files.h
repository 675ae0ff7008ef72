// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Reads the small text files of /proc and /sys. Messages name the file and the
// line. The root may be another folder.

#ifndef TIDEGATE_SERVICE_PROBE_FILES_H_
#define TIDEGATE_SERVICE_PROBE_FILES_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// "/proc" under "/tmp/tree/" is "/tmp/tree/proc".
std::string UnderRoot(const std::string& root, std::string_view path);

// Lines without their ends. Unavailable: absent or unreadable, with the
// system's reason.
absl::StatusOr<std::vector<std::string>> ReadLines(const std::string& file);

// Digits only, as the kernel writes. DataLoss names file and line (from 1).
absl::StatusOr<Bytes> ParseCount(std::string_view text, const std::string& file,
                                 int line);

// A file of one number. DataLoss when it is empty.
absl::StatusOr<Bytes> ReadCount(const std::string& file);

absl::Status BadLine(const std::string& file, int line,
                     std::string_view expected, std::string_view got);

}  // namespace tidegate::internal

#endif  // TIDEGATE_SERVICE_PROBE_FILES_H_
