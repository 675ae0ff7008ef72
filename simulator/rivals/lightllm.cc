// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// LightLLM's Past-Future scheduler (arXiv 2507.10150; router/req_queue and
// router/stats.py).
//
// A request starts when the peak of the batch at each future end of one of its
// requests fits: sort by remaining output, longest first; when the i-th ends,
// the i first of them hold what they hold now and i times its remaining output.
// Remaining output is what requests used of their budgets of late, at least a
// tenth more than this one has generated. Prefill and decoding take turns.
// Weights and KV get 0.9 of the device (mem_fraction). Out of memory: the
// request that came last is paused and computed again.
//
// Approximated: one decode step between two chunks instead of
// router_max_wait_tokens (6); the output-length distribution is its mean share.

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "simulator/rivals/kit.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

constexpr Tokens kChunk = 8192;
constexpr std::int64_t kRunning = 256;

// Output tokens that it is expected still to generate.
Tokens Remaining(const RequestView& view, std::int64_t share_permille) {
  const Tokens budget = view.request->max_output_tokens;
  const Tokens whole =
      std::max(view.decoded * 11 / 10, SatMul(budget, share_permille) / 1000);
  return std::max<Tokens>(0, std::min(budget, whole) - view.decoded);
}

Bytes FuturePeak(const AdmissionPolicy::Question& question,
                 const Estimator& prices, Bytes token) {
  struct Future {
    Tokens remaining = 0;
    Bytes held = 0;  // with its whole prompt
  };
  std::vector<Future> batch;
  const auto add = [&](const RequestView& view) {
    batch.push_back(
        {Remaining(view, question.output_share_permille),
         prices.SequenceBytes(view.request->prompt_tokens + view.decoded, 1)});
  };
  for (const RequestView& view : question.admitted) add(view);
  add(question.request);
  std::stable_sort(batch.begin(), batch.end(),
                   [](const Future& a, const Future& b) {
                     return a.remaining > b.remaining;
                   });
  Bytes peak = 0;
  Bytes held = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    held = SatAdd(held, batch[i].held);
    peak = std::max(peak, SatAdd(held, SatMul(static_cast<std::int64_t>(i + 1),
                                              batch[i].remaining, token)));
  }
  return peak;
}

}  // namespace

absl::StatusOr<SchedulerOptions> MakeLightLlm(const SchedulerOptions& base,
                                              const RivalFacts& facts) {
  const Tokens chunk = Or(facts.step_tokens, kChunk);
  const std::int64_t running = Or(facts.sequences, kRunning);
  SchedulerOptions options = base;
  TG_RETURN_IF_ERROR(KeepBack(
      "lightllm", facts.activation_bytes.value_or(base.memory.ceiling / 10),
      &options));
  const auto prices =
      std::make_shared<BelievedPrices>(base.estimator, /*paged=*/true);
  const Bytes token = KvSlope(*base.estimator);
  options.estimator = prices;
  options.step = {.sequences = running,
                  .decode = StepShape::Decode::kBetween,
                  .tokens = chunk,
                  .decodes = running};
  options.running_max = running;
  options.decode_stall = {};
  options.custom_chunk = std::make_shared<RuleChunk>("lightllm", chunk, Greedy);
  options.custom_admission = std::make_shared<RuleAdmission>(
      "lightllm",
      [=](const AdmissionPolicy::Question& question) -> RuleAdmission::Need {
        // The room is what is free: what the batch holds is not in it.
        Bytes held = 0;
        for (const RequestView& view : question.admitted) {
          held = SatAdd(held, view.held);
        }
        const Bytes prefix = prices->SequenceBytes(question.request.done, 1);
        return {.free = std::max<Bytes>(
                    0, FuturePeak(question, *prices, token) - held - prefix)};
      });
  options.custom_order = RunningFirst();
  options.custom_pressure =
      std::make_shared<RulePressure>("lightllm", LastFirst);
  options.ladder = {"pool", "cache", "preempt"};
  return options;
}

}  // namespace tidegate::internal
