// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// llama.cpp, llama-server of autumn 2026: server_context::update_slots
// (tools/server/server-context.cpp), llama_context's compute buffers,
// llama_params_fit (pull request 16653). Buffers are reserved at load for
// n_ubatch tokens that attend to n_ctx, so a step never runs out of memory and
// a narrower one frees nothing; n_ctx is lowered until both fit. One token of
// every slot that generates, then the slots in order, up to the batch; a slot
// is all that a request needs to start, but for a context that it fits. Where
// KV lacks, the batch is halved.
//
// Approximated: the batch is n_ubatch wide, since a step has no micro-batches,
// so decoding goes on four times as often as with n_batch; without KV for one
// token all slots fail, and here the request waits for the others.

#include <algorithm>
#include <memory>

#include "simulator/rivals/kit.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

constexpr Tokens kUbatch = 512;
constexpr std::int64_t kSlots = 4;

Bytes LoadBytes(const Estimator& truth, Tokens n, Tokens context) {
  const Chunk chunk{.n = std::min(n, context), .kv_len = context};
  return truth.Total({.chunks = {&chunk, 1}}).transient_bytes;
}

// The longest context of which KV and buffers fit; 0: none.
Tokens FitContext(const Estimator& truth, Tokens ubatch, Tokens most,
                  Bytes room) {
  const auto fits = [&](Tokens context) {
    return SatAdd(truth.SequenceBytes(context, ubatch),
                  LoadBytes(truth, ubatch, context)) <= room;
  };
  if (fits(most)) return most;
  Tokens fit = 0;
  Tokens too_long = most;
  while (too_long - fit > 1) {
    const Tokens middle = fit + (too_long - fit) / 2;
    (fits(middle) ? fit : too_long) = middle;
  }
  return fit;
}

}  // namespace

absl::StatusOr<SchedulerOptions> MakeLlamaCpp(const SchedulerOptions& base,
                                              const RivalFacts& facts) {
  const Tokens ubatch = Or(facts.step_tokens, kUbatch);
  const std::int64_t slots = Or(facts.sequences, kSlots);
  const Tokens context =
      FitContext(*base.estimator, ubatch, facts.context, base.memory.Room());
  SchedulerOptions options = base;
  TG_RETURN_IF_ERROR(
      KeepBack("llama_cpp",
               facts.activation_bytes.value_or(LoadBytes(
                   *base.estimator, ubatch, std::max<Tokens>(1, context))),
               &options));
  const auto prices =
      std::make_shared<BelievedPrices>(base.estimator, /*paged=*/true);
  options.estimator = prices;
  options.step = {.sequences = slots,
                  .decode = StepShape::Decode::kMixed,
                  .tokens = std::max(ubatch, slots + 1)};
  options.running_max = slots;
  options.decode_stall = {};
  options.custom_chunk = std::make_shared<RuleChunk>(
      "llama_cpp", ubatch,
      [prices](const ChunkPolicy::Question& question, Tokens left,
               Tokens offered) {
        const Bytes room = question.memory.limits.Room();
        const Tokens start = question.request.request->prompt_tokens - left;
        Tokens n = std::min(left, offered);
        const auto grows = [&](Tokens width) {
          const Chunk chunk{.n = width, .kv_len = start + width};
          return prices->Total({.chunks = {&chunk, 1}}).resident_bytes;
        };
        while (n > 1 && grows(n) > room) n /= 2;
        return n;
      });
  options.custom_admission = std::make_shared<RuleAdmission>(
      "llama_cpp",
      [context](
          const AdmissionPolicy::Question& question) -> RuleAdmission::Need {
        const bool too_long =
            question.request.request->prompt_tokens >= context;
        return {.free = too_long ? kBytesMax : 0};
      });
  options.custom_order = RunningFirst();
  options.custom_pressure =
      std::make_shared<RulePressure>("llama_cpp", LastFirst);
  options.ladder = {"pool", "cache"};
  return options;
}

}  // namespace tidegate::internal
