// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "estimators/text.h"

namespace tidegate::tools {
namespace {

using internal::Concat;

constexpr int kCells = 30;

// Often enough to look alive, rarely enough to cost nothing.
constexpr std::chrono::milliseconds kEvery{100};

// A guess from less than this much work is noise.
constexpr double kGuessFrom = 0.01;

std::string TimeLeft(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::ceil(seconds));
  if (whole < 60) return Concat(whole, " s left");
  if (whole < 3600) return Concat(whole / 60, " min ", whole % 60, " s left");
  return Concat(whole / 3600, " h ", whole % 3600 / 60, " min left");
}

}  // namespace

std::string ProgressLine(double fraction, std::chrono::duration<double> taken) {
  fraction = std::clamp(fraction, 0.0, 1.0);
  const int full = static_cast<int>(fraction * kCells);
  const int percent = static_cast<int>(fraction * 100);
  std::string line =
      Concat("[", std::string(full, '#'), std::string(kCells - full, '-'), "] ",
             percent < 10    ? "  "
             : percent < 100 ? " "
                             : "",
             percent, " %");
  if (fraction >= kGuessFrom && fraction < 1) {
    line += Concat(", ", TimeLeft(taken.count() * (1 - fraction) / fraction));
  }
  return line;
}

ProgressBar::ProgressBar(std::ostream& err)
    : err_(err), start_(Clock::now()), drawn_(start_ - kEvery) {}

void ProgressBar::Update(double fraction) {
  const Clock::time_point now = Clock::now();
  if (now - drawn_ < kEvery) return;
  drawn_ = now;
  const std::string line = ProgressLine(fraction, now - start_);
  // Spaces cover what a longer line left behind.
  err_ << "\r" << line
       << std::string(width_ > line.size() ? width_ - line.size() : 0, ' ')
       << std::flush;
  width_ = line.size();
}

void ProgressBar::Finish() {
  if (width_ == 0) return;
  err_ << "\r" << std::string(width_, ' ') << "\r" << std::flush;
  width_ = 0;
}

}  // namespace tidegate::tools
