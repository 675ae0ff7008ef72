// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// SGLang without pipeline parallelism, autumn 2026: Scheduler
// .get_next_batch_to_run and get_new_batch_prefill
// (srt/managers/scheduler.py), PrefillAdder.add_one_req and add_chunked_req
// (srt/managers/schedule_policy.py), ScheduleBatch.retract_decode
// (schedule_batch.py), ServerArgs (server_args.py).
//
// A prefill batch of chunked_prefill_size tokens is formed where one can be,
// and runs alone; those that decode wait, prefill_decode_interval being 0: a
// stream of prompts starves them (issue 32549). At most one request is chunked.
// Admission: what remains after new_token_ratio of the output that running
// requests may still generate, capped at 4096 tokens each, must exceed prompt,
// capped output and a page. Out of memory for decoding: whoever generated least
// starts again, of those the longest prompt. Activations are a constant: 1.5
// MiB a token of the chunk, whatever the model.
//
// Approximated: new_token_ratio decays with the longest running output, since
// policies count no steps and hear of no retraction; order is first come first
// served (lpm is that above 128 waiting, and without a prefix cache);
// batch_is_full is not latched (issue 35537).
// Not expressible: admission is not told what is left of the step, so that one
// request more may start than has a chunk in it.

#include <algorithm>
#include <memory>
#include <tuple>

#include "simulator/rivals/kit.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

constexpr Bytes kMiB = Bytes{1} << 20;
constexpr Bytes kGiB = Bytes{1} << 30;

// SGLANG_CLIP_MAX_NEW_TOKENS.
constexpr Tokens kClip = 4096;
constexpr std::int64_t kRunning = 2048;

// In thousandths: schedule_conservativeness 1 starts at 0.7, and falls to 0.14
// of that over 600 decode steps.
constexpr std::int64_t kRatioStart = 700;
constexpr std::int64_t kRatioEnd = 98;
constexpr std::int64_t kRatioSteps = 600;

// By the size of the device.
Tokens ChunkedPrefillSize(Bytes device) {
  if (device < 35 * kGiB) return 2048;
  return device < 60 * kGiB ? 4096 : 8192;
}

Bytes Reserved(Bytes device, Tokens chunk) {
  // 512, 2 for each of 256 graph batch sizes, an eighth of 1024 for one rank.
  const Bytes bytes = (512 + 2 * 256 + 128) * kMiB +
                      SatMul(3 * kMiB / 2, std::max<Tokens>(chunk, 2048));
  return device > 60 * kGiB ? std::max(bytes, 10 * kGiB) : bytes;
}

// By how much running requests may still grow, as far as that is expected.
Bytes Expected(const AdmissionPolicy::Question& question, Bytes token) {
  Tokens longest = 0;
  for (const RequestView& view : question.admitted) {
    longest = std::max(longest, view.decoded);
  }
  const std::int64_t ratio = kRatioStart - (kRatioStart - kRatioEnd) *
                                               std::min(longest, kRatioSteps) /
                                               kRatioSteps;
  Bytes expected = 0;
  for (const RequestView& view : question.admitted) {
    const Bytes most = SatMul(token, std::min(OutputLeft(view), kClip));
    if (view.decoding) {
      expected = SatAdd(expected, SatMul(most, ratio) / 1000);
    } else if (view.done == view.request->prompt_tokens) {
      // In the batch that is being formed.
      expected = SatAdd(expected, most);
    }
  }
  return expected;
}

bool LeastOutputFirst(const RequestView& a, const RequestView& b) {
  return std::tuple(a.decoded, -a.request->prompt_tokens, a.id) <
         std::tuple(b.decoded, -b.request->prompt_tokens, b.id);
}

}  // namespace

absl::StatusOr<SchedulerOptions> MakeSglang(const SchedulerOptions& base,
                                            const RivalFacts& facts) {
  const Bytes device = base.memory.ceiling;
  const Tokens chunk = Or(facts.step_tokens, ChunkedPrefillSize(device));
  const Tokens page = std::min(chunk, Or(facts.page, 1));
  const std::int64_t running = Or(facts.sequences, kRunning);
  SchedulerOptions options = base;
  TG_RETURN_IF_ERROR(KeepBack(
      "sglang", facts.activation_bytes.value_or(Reserved(device, chunk)),
      &options));
  const auto prices =
      std::make_shared<BelievedPrices>(base.estimator, /*paged=*/true);
  const Bytes token = KvSlope(*base.estimator);
  options.estimator = prices;
  options.step = {.sequences = running,
                  .decode = StepShape::Decode::kLast,
                  .tokens = chunk,
                  .decodes = running};
  options.running_max = running;
  options.decode_stall = {};
  options.custom_chunk = std::make_shared<RuleChunk>(
      "sglang", chunk,
      [page](const ChunkPolicy::Question&, Tokens left, Tokens offered) {
        return left <= offered ? left : FloorTo(offered, page);
      });
  options.custom_admission = std::make_shared<RuleAdmission>(
      "sglang",
      [=](const AdmissionPolicy::Question& question) -> RuleAdmission::Need {
        const RequestView& view = question.request;
        const Bytes own =
            SatAdd(GrowthTo(*prices, view, 0),
                   SatMul(token, std::min(OutputLeft(view), kClip) + page));
        // As much is too little: it takes a byte more.
        return {.free = SatAdd(own, Expected(question, token), 1)};
      });
  options.custom_order = RunningFirst();
  options.custom_pressure =
      std::make_shared<RulePressure>("sglang", LeastOutputFirst);
  options.ladder = {"pool", "cache", "preempt"};
  return options;
}

}  // namespace tidegate::internal
