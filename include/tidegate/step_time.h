// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Step time: how long will this step take?
//
//   absl::StatusOr<TimeProfile> profile = LoadTimeProfile("h100.csv");
//   auto timer = CreateStepTimer(*profile);
//   Chunk chunk{.n = 2048, .kv_len = 32'768};
//   (*timer)->Of({.chunks = {&chunk, 1}}).took;
//
// Measured tables come first. Kernels have tile edges (256 to 264 tokens: +36 %
// to +40 % on an A100), so that no smooth formula comes nearer than 10 % to
// 14 % at the median. A table is interpolated as law times correction: a law of
// four terms (time_model.h) is fitted to the rows, and what each row measured
// beyond it is interpolated linearly along each axis. A row is met exactly,
// edges stay, and between two rows attention grows as it does, with the square
// of the chunk. Outside the rows the law goes on with the correction of the
// nearest ones, and the answer is flagged.
//
// docs/simulation.md has the format of a profile and what it was checked
// against.
//
// Thread-safety: timers are immutable; Of may be called from any thread.

#ifndef TIDEGATE_STEP_TIME_H_
#define TIDEGATE_STEP_TIME_H_

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tidegate/estimator.h"
#include "tidegate/time_model.h"
#include "tidegate/types.h"

namespace tidegate {

// What one forward pass computes.
struct StepWork {
  std::span<const Chunk> chunks;  // prefill, one per sequence; masks are moot
  // Decoding sequences, one token each: what each attends to, its own token
  // included.
  std::span<const Tokens> decode_kv_lens;
};

struct StepTime {
  Duration took{};
  // Some part of the work lies outside what was measured.
  bool extrapolated = false;
};

class StepTimer {
 public:
  virtual ~StepTimer() = default;

  // Nothing to do takes no time. Saturates at Duration::max().
  virtual StepTime Of(const StepWork& work) const = 0;

  // The model of single chunks that is nearest: what a scheduler may start
  // from before it has measured steps of its own.
  virtual TimeModel Model() const = 0;
};

// What a row of a profile measured, over the whole model.
enum class TimePart {
  kFixed,      // once per step, whatever is in it
  kTokens,     // everything that depends on the number of tokens alone
  kSequences,  // head and sampling, by the number of sequences
  kAttention,  // attention: of one chunk, of decoding sequences, or of both
  kStep,       // a whole step: the same, everything included
};

struct TimeRow {
  TimePart part = TimePart::kStep;
  // Tokens; query tokens of the chunk; sequences of kSequences.
  Tokens n = 0;
  Tokens kv_len = 0;         // of the chunk: everything attended to, >= n
  Tokens decodes = 0;        // decoding sequences beside it
  Tokens decode_kv_len = 0;  // of each of them
  double us = 0;             // microseconds, above 0
};

// Rows in any order; of rows measured more than once the median counts. Either
// kStep rows, or kTokens and kAttention rows with kSequences where known; one
// kFixed row at most. What is not there costs nothing.
struct TimeProfile {
  std::vector<TimeRow> rows;
};

// CSV: part,n,kv_len,decodes,decode_kv_len,time_us. InvalidArgument
// "FILE:LINE: column C: expected …, got …".
absl::StatusOr<TimeProfile> ParseTimeProfile(std::string_view text,
                                             std::string_view file);
// NotFound when the file cannot be read.
absl::StatusOr<TimeProfile> LoadTimeProfile(const std::string& path);

// InvalidArgument when the rows make no profile: which part is missing or
// contradicts another.
absl::StatusOr<std::shared_ptr<const StepTimer>> CreateStepTimer(
    const TimeProfile& profile);

// The formula: a decoding sequence counts as a chunk of one token, and the
// fixed cost counts once a step. Nothing of it was measured, nothing is
// flagged.
std::shared_ptr<const StepTimer> CreateStepTimer(const TimeModel& model);

}  // namespace tidegate

#endif  // TIDEGATE_STEP_TIME_H_
