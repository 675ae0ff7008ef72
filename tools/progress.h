// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A progress bar for terminals: percent done, and the time that is left as the
// speed so far suggests.

#ifndef TIDEGATE_TOOLS_PROGRESS_H_
#define TIDEGATE_TOOLS_PROGRESS_H_

#include <chrono>
#include <ostream>
#include <string>

namespace tidegate::tools {

// "[######----]  60 %, 12 s left"; without the rest where it is not known.
std::string ProgressLine(double fraction, std::chrono::duration<double> taken);

class ProgressBar {
 public:
  explicit ProgressBar(std::ostream& err);
  // Redraws the line at most ten times a second.
  void Update(double fraction);
  // Wipes the line, so that what follows starts on a clean one.
  void Finish();

 private:
  using Clock = std::chrono::steady_clock;
  std::ostream& err_;
  Clock::time_point start_;
  Clock::time_point drawn_;
  std::size_t width_ = 0;  // of what stands there
};

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_PROGRESS_H_
