// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// An engine without a device: a step sleeps as long as the time model says and
// holds the bytes that the price says, so that everything around it
// (scheduling, streaming, cancelling, refusing) is real. Its text is words
// drawn from the prompt's hash: the same prompt and seed give the same text.
//
// Tokens are bytes: "Hello" is 5 of them, with ids 72 101 108 108 111.
//
// A step that finds too little memory answers OutOfMemory, as a device would.
// Decoding is a batch: every `decode_interval` each sequence that decodes gets
// a token, whether a step runs or not. With [step] decode = "mixed", "between"
// or "last" tokens come from steps instead.

#ifndef TIDEGATE_EXAMPLES_SERVER_SIMULATED_ENGINE_H_
#define TIDEGATE_EXAMPLES_SERVER_SIMULATED_ENGINE_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "examples/server/text_engine.h"
#include "tidegate/estimator.h"
#include "tidegate/step_time.h"
#include "tidegate/types.h"

namespace tidegate::server {

struct SimulatedEngineOptions {
  std::string model = "simulated";
  std::shared_ptr<const Estimator> estimator;
  // Null: 10 ms a step and 8,000 tokens a second, as `tidegate simulate`.
  std::shared_ptr<const StepTimer> timer;
  Bytes ceiling = 0;  // what the device has
  Bytes base = 0;     // live before any request
  std::optional<Tokens> context_length;
  // Between two tokens of each sequence that decodes; zero: as fast as the
  // machine goes.
  Duration decode_interval = std::chrono::milliseconds(33);
  // How many times faster than the time model steps and decoding go.
  double speed = 1;
  // SchedulerOptions::step.DecodesInSteps().
  bool decodes_in_steps = false;
};

// InvalidArgument names the option. Runs one thread of its own until it is
// destroyed, which must be after the service that drives it.
absl::StatusOr<std::shared_ptr<TextEngine>> CreateSimulatedEngine(
    SimulatedEngineOptions options);

}  // namespace tidegate::server

#endif  // TIDEGATE_EXAMPLES_SERVER_SIMULATED_ENGINE_H_
