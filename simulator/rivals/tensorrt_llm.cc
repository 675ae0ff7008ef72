// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// TensorRT-LLM 1.4.0rc: CapacityScheduler with GUARANTEED_NO_EVICT and
// MicroBatchScheduler with FIRST_COME_FIRST_SERVED chunking
// (cpp/tensorrt_llm/batch_manager/capacityScheduler.cpp,
// microBatchScheduler.cpp), KvCacheCreator (_torch/pyexecutor/_util.py).
//
// A request starts when the blocks of its whole prompt and output budget are
// free beside those that others were promised, in order, and the first that
// does not stops the rest; so nobody is ever evicted. Generation tokens come
// out of max_num_tokens first; contexts share the rest, whole where they fit,
// otherwise cut to whole blocks. KV gets 0.9 of what dummy requests of
// max_num_tokens leave (free_gpu_memory_fraction).
//
// Approximated: reservations are not rounded to blocks. The declared workspace
// of attention backends (pull requests 16399, 16432, 19269) is not modelled:
// few backends have one.

#include <memory>

#include "simulator/rivals/kit.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

constexpr Tokens kMaxTokens = 8192;
constexpr std::int64_t kMaxBatch = 2048;
constexpr Tokens kTokensPerBlock = 32;

}  // namespace

absl::StatusOr<SchedulerOptions> MakeTensorRtLlm(const SchedulerOptions& base,
                                                 const RivalFacts& facts) {
  const Tokens budget = Or(facts.step_tokens, kMaxTokens);
  const Tokens unit = std::min(budget, Or(facts.page, kTokensPerBlock));
  const std::int64_t batch = Or(facts.sequences, kMaxBatch);
  SchedulerOptions options = base;
  if (facts.activation_bytes.has_value()) {
    TG_RETURN_IF_ERROR(
        KeepBack("tensorrt_llm", *facts.activation_bytes, &options));
  } else {
    TG_RETURN_IF_ERROR(KeepBack(
        "tensorrt_llm", ProfiledBytes(*base.estimator, budget), &options));
    TG_RETURN_IF_ERROR(
        KeepBack("tensorrt_llm", RoomAtStart(options) / 10, &options));
  }
  const auto prices =
      std::make_shared<BelievedPrices>(base.estimator, /*paged=*/true);
  options.estimator = prices;
  options.step = {.sequences = batch,
                  .decode = StepShape::Decode::kMixed,
                  .tokens = budget,
                  .decodes = batch};
  options.running_max = batch;
  options.decode_stall = {};
  options.custom_chunk = std::make_shared<RuleChunk>(
      "tensorrt_llm", budget,
      [unit](const ChunkPolicy::Question&, Tokens left, Tokens offered) {
        return left <= offered ? left : FloorTo(offered, unit);
      });
  const auto completion = [](const Estimator& estimator,
                             const RequestView& view) {
    return GrowthTo(estimator, view, view.request->max_output_tokens);
  };
  options.custom_admission = std::make_shared<RuleAdmission>(
      "tensorrt_llm",
      [=](const AdmissionPolicy::Question& question) -> RuleAdmission::Need {
        const Bytes whole = completion(*prices, question.request);
        return {.free = whole, .claim = whole};
      },
      completion);
  options.custom_order = RunningFirst();
  options.custom_pressure =
      std::make_shared<RulePressure>("tensorrt_llm", LastFirst);
  options.ladder = {"pool", "cache"};
  return options;
}

}  // namespace tidegate::internal
