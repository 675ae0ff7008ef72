// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <utility>

#include "estimators/text.h"
#include "policies/chunk_space.h"
#include "policies/plan_search.h"
#include "policies/refusal.h"
#include "tidegate/plan.h"
#include "tidegate/status.h"

namespace tidegate {

using internal::ChunkNeed;
using internal::ChunkSpace;
using internal::Concat;
using internal::InvalidArgument;

namespace {

constexpr Duration kEncodeTimeMax = std::chrono::hours(24);

absl::Status ValidateRequest(const PlanRequest& request) {
  const auto in_range = [](std::string_view name, Tokens value, Tokens min,
                           Tokens max) -> absl::Status {
    if (value >= min && value <= max) return absl::OkStatus();
    return InvalidArgument(name, ": expected ", min, " to ", max, ", got ",
                           value);
  };
  TG_RETURN_IF_ERROR(
      in_range("prompt_tokens", request.prompt_tokens, 1, kTokensMax));
  TG_RETURN_IF_ERROR(in_range("cached_tokens", request.cached_tokens, 0,
                              request.prompt_tokens));
  TG_RETURN_IF_ERROR(in_range("max_output_tokens", request.max_output_tokens, 0,
                              kTokensMax - request.prompt_tokens));
  TG_RETURN_IF_ERROR(
      in_range("cached_chunk", request.cached_chunk, 1, kTokensMax));
  TG_RETURN_IF_ERROR(in_range("extra_bytes_per_token",
                              request.extra_bytes_per_token, 0, kBytesMax));
  TG_RETURN_IF_ERROR(
      in_range("encoded_bytes", request.encoded_bytes, 0, kBytesMax));
  Tokens end = 0;
  for (std::size_t i = 0; i < request.encodes.size(); ++i) {
    const EncodeItem& item = request.encodes[i];
    const std::string name = Concat("encodes[", i, "]");
    TG_RETURN_IF_ERROR(
        in_range(name + ".start", item.start, end, request.prompt_tokens - 1));
    TG_RETURN_IF_ERROR(in_range(name + ".length", item.length, 1,
                                request.prompt_tokens - item.start));
    TG_RETURN_IF_ERROR(in_range(name + ".transient_bytes", item.transient_bytes,
                                0, kBytesMax));
    TG_RETURN_IF_ERROR(
        in_range(name + ".output_bytes", item.output_bytes, 1, kBytesMax));
    TG_RETURN_IF_ERROR(
        in_range(name + ".took", item.took.count(), 0, kEncodeTimeMax.count()));
    end = item.start + item.length;
  }
  end = 0;
  for (std::size_t i = 0; i < request.uncuttable.size(); ++i) {
    const Span& span = request.uncuttable[i];
    const std::string name = Concat("spans[", i, "]");
    TG_RETURN_IF_ERROR(
        in_range(name + ".start", span.start, end, request.prompt_tokens - 1));
    TG_RETURN_IF_ERROR(in_range(name + ".length", span.length, 1,
                                request.prompt_tokens - span.start));
    end = span.start + span.length;
  }
  return absl::OkStatus();
}

void Admitted(const ChunkSpace& space, const std::vector<Tokens>& ends,
              const ChunkNeed& decode, Plan* plan) {
  plan->verdict = Verdict::kAdmit;
  plan->chunks.reserve(ends.size());
  ChunkNeed tightest;
  Tokens tightest_start = 0;
  Tokens tightest_end = 0;
  Tokens start = space.first();
  for (const Tokens end : ends) {
    const ChunkNeed need = space.Need(start, end);
    plan->chunks.push_back({.start = start,
                            .n = end - start,
                            .kv_len = end,
                            .transient_bytes = need.price.transient_bytes});
    if (need.peak > tightest.peak || start == space.first()) {
      tightest = need;
      tightest_start = start;
      tightest_end = end;
    }
    start = end;
  }
  plan->peak_bytes = std::max(tightest.peak, decode.peak);
  plan->arithmetic = internal::ArithmeticOf(
      space, tightest, tightest_end - tightest_start, tightest_end);
}

}  // namespace

Bytes MemoryLimits::Room() const {
  // base may exceed the ceiling: other programs share the device.
  return ceiling - headroom - base;
}

absl::Status ValidateLimits(const MemoryLimits& memory,
                            const ChunkLimits& chunk,
                            std::vector<std::string>* warnings) {
  const auto at_least = [](std::string_view name, std::int64_t value,
                           std::int64_t min) -> absl::Status {
    if (value >= min) return absl::OkStatus();
    return InvalidArgument(name, ": expected at least ", min, ", got ", value);
  };
  TG_RETURN_IF_ERROR(at_least("memory.ceiling", memory.ceiling, 1));
  TG_RETURN_IF_ERROR(at_least("memory.base", memory.base, 0));
  TG_RETURN_IF_ERROR(at_least("memory.headroom", memory.headroom, 0));
  if (memory.max_allocation.has_value()) {
    TG_RETURN_IF_ERROR(
        at_least("memory.max_allocation", *memory.max_allocation, 1));
  }
  TG_RETURN_IF_ERROR(at_least("chunk.max", chunk.max, 1));
  TG_RETURN_IF_ERROR(at_least("chunk.floor", chunk.floor, 1));
  TG_RETURN_IF_ERROR(at_least("chunk.quantum", chunk.quantum, 1));
  for (const Tokens value : {chunk.max, chunk.floor, chunk.quantum}) {
    if (value > kTokensMax) {
      return InvalidArgument("chunk: expected at most ", kTokensMax,
                             " tokens, got ", value);
    }
  }
  if (warnings == nullptr) return absl::OkStatus();
  if (chunk.floor > chunk.max) {
    warnings->push_back(Concat("chunk.floor = ", chunk.floor,
                               " has no effect: chunk.max = ", chunk.max,
                               " is below it and wins"));
  }
  if (chunk.quantum > chunk.max) {
    warnings->push_back(Concat("chunk.quantum = ", chunk.quantum,
                               " has no effect: chunk.max = ", chunk.max,
                               " is below it and wins"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Plan> PlanPrompt(const Estimator& estimator,
                                const PlanRequest& request,
                                const MemoryLimits& memory,
                                const ChunkLimits& chunk,
                                const PlanOptions& options) {
  TG_RETURN_IF_ERROR(ValidateRequest(request));
  TG_RETURN_IF_ERROR(ValidateLimits(memory, chunk, nullptr));
  const ChunkSpace space(estimator, request, memory, chunk);

  ChunkNeed decode;
  if (request.max_output_tokens > 0) {
    decode =
        space.DecodeNeed(request.prompt_tokens,
                         request.prompt_tokens + request.max_output_tokens);
  }
  const bool decodes = request.max_output_tokens == 0 || space.Fits(decode);
  std::optional<std::vector<Tokens>> ends;
  if (decodes) {
    ends = options.force_search
               ? internal::SearchEnds(space)
               : internal::FindEnds(space, !options.any_sequence);
  }

  Plan plan;
  if (ends.has_value()) {
    Admitted(space, *ends, decode, &plan);
    if (options.explain) {
      plan.reason = internal::AdmissionReason(space, plan);
    }
  } else if (options.explain) {
    internal::Refusal refusal =
        internal::ExplainRefusal(space, decodes ? nullptr : &decode);
    plan.verdict = Verdict::kReject;
    plan.code = refusal.code;
    plan.reason = std::move(refusal.reason);
    plan.arithmetic = refusal.arithmetic;
  }
  if (options.want_largest_prompt) {
    plan.largest_prompt_that_fits =
        internal::LargestPrompt(space, request.max_output_tokens);
    // A grid made coarse for speed may stop short of what was just found.
    if (ends.has_value()) {
      plan.largest_prompt_that_fits =
          std::max(plan.largest_prompt_that_fits, request.prompt_tokens);
    } else {
      plan.reason += internal::LargestPromptNote(plan.largest_prompt_that_fits);
    }
  }
  return plan;
}

}  // namespace tidegate
