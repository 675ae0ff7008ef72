// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Replays scenario files: small closed worlds, one JSON object a line, each
// with what must come of it. docs/scenarios.md describes the format.

#ifndef TIDEGATE_SIMULATOR_REPLAY_H_
#define TIDEGATE_SIMULATOR_REPLAY_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tidegate {

struct ReplayCounts {
  std::int64_t passed = 0;
  std::int64_t failed = 0;
  friend bool operator==(const ReplayCounts&, const ReplayCounts&) = default;
};

// Receives one line at a time, without its newline.
using LineSink = std::function<void(std::string_view)>;

// Runs every scenario of every file in order. Prints "PASS id" or "FAIL id:
// what was expected, what came" for each, and "N passed, M failed" last.
// InvalidArgument "FILE:LINE: key KEY: …" for a file that is no scenario file:
// all files are read before the first scenario runs, so nothing is printed
// then. NotFound for a file that does not exist.
absl::StatusOr<ReplayCounts> ReplayFiles(std::span<const std::string> paths,
                                         const LineSink& print);

// The same for text already read; `file` names it in messages. Does not print
// the closing count.
absl::StatusOr<ReplayCounts> ReplayText(std::string_view text,
                                        std::string_view file,
                                        const LineSink& print);

}  // namespace tidegate

#endif  // TIDEGATE_SIMULATOR_REPLAY_H_
