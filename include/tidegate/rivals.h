// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Rivals: what other engines' schedulers would have done with the same load.
//
//   SimulatorOptions options = …;  // model, engine, ceiling, base
//   absl::Status status = ApplyRival("vllm", {}, &options);
//   absl::StatusOr<SimulationResult> result = Simulate(trace, options);
//
// A rival is a set of plug-in policies, a step shape, and what that engine
// believes about prices: a bound from one profiled step, a constant, or
// nothing. The world keeps its own truth, so a rival that believes in smaller
// prices runs out of memory there as the real one does. docs/rivals.md says
// which version of each is modelled, from which source, and what differs.
//
// Common to all: KV is believed as it is, the scheduler core has the last word
// about what fits into the believed room, and it refuses on arrival what no
// idle device could hold. A real engine that dies of a failed step is modelled
// as one that tries the same step again until the core gives the request up.
//
// Thread-safety: pure functions.

#ifndef TIDEGATE_RIVALS_H_
#define TIDEGATE_RIVALS_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tidegate/model_shape.h"
#include "tidegate/scheduler.h"
#include "tidegate/simulator.h"
#include "tidegate/types.h"

namespace tidegate {

// How the rival is started. Zero: the rival's own default, which
// docs/rivals.md lists.
struct RivalFacts {
  // Sequences that run at once: max_num_seqs, max_running_requests,
  // max_batch_size, slots.
  std::int64_t sequences = 0;
  // Query tokens of one step: max_num_batched_tokens, chunked_prefill_size,
  // max_num_tokens, the chunk size, n_ubatch.
  Tokens step_tokens = 0;
  // Tokens of one KV block or page, where widths are cut to whole ones.
  Tokens page = 0;
  // vLLM: long_prefill_token_threshold; 0: off, as by default.
  Tokens long_prefill_threshold = 0;
  // Longest sequence that it is started for: max_model_len, n_ctx.
  Tokens context = 131'072;
  // What it keeps for activations. Unset: what its own rule comes to, which
  // for engines that profile a step at start is the true price of that step.
  std::optional<Bytes> activation_bytes;
  // Slack-based chunks: the longest that a decoding request may wait for its
  // next token, where SchedulerOptions::decode_stall does not say.
  Duration token_deadline = std::chrono::milliseconds(100);
  // omlx prices attention from the model's heads. Unset: it knows the true
  // price of the step, and still multiplies it by its safety factor.
  std::optional<ModelShape> shape;
};

// "vllm", "sglang", …: in the order in which messages and tables list them.
std::vector<std::string_view> RivalNames();

// The rival on the device, model and engine of `base`: its estimator, whose
// prices are taken as true, its ceiling, base and headroom. Estimator, step
// shape and policies are the rival's; the estimator is what it believes, so
// WorldOptions::truth must name the true one. InvalidArgument for an unknown
// name, for a fact out of range, and where the rival would not start because
// what it keeps for activations leaves no room.
absl::StatusOr<SchedulerOptions> MakeRival(std::string_view name,
                                           const SchedulerOptions& base,
                                           const RivalFacts& facts);

// Puts the rival in the place of options->scheduler, and the estimator that was
// there into the world as its truth unless the world has one. Engines that page
// their KV do so in the world, whatever the policy's engine does.
absl::Status ApplyRival(std::string_view name, const RivalFacts& facts,
                        SimulatorOptions* options);

}  // namespace tidegate

#endif  // TIDEGATE_RIVALS_H_
