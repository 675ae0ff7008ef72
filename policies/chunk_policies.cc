// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// How wide is the next chunk?
//
//   throttle  the widest that fits and leaves a remainder that still fits
//   fixed     chunk.max, or nothing

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "estimators/text.h"
#include "policies/chunk_space.h"
#include "policies/plan_search.h"
#include "tidegate/policy.h"
#include "tidegate/status.h"

namespace tidegate {
namespace {

using internal::ChunkSpace;
using internal::Concat;
using internal::InvalidArgument;

// Limits on everything but this request: what others hold and were promised
// is out of its reach.
MemoryLimits OthersApart(const MemoryView& memory) {
  MemoryLimits limits = memory.limits;
  limits.base = SatAdd(limits.base, memory.claimed);
  return limits;
}

// The chunk from the request's position to `end`. Its resident bytes are all
// that the request grows by, measured growth included.
ChunkPolicy::Choice ChoiceOf(const ChunkSpace& space, Tokens end) {
  const internal::ChunkNeed need = space.Need(space.first(), end);
  ChunkPolicy::Choice choice{.n = end - space.first(), .price = need.price};
  choice.price.resident_bytes = need.resident;
  return choice;
}

class Throttle final : public ChunkPolicy {
 public:
  std::string_view Name() const override { return "throttle"; }

  ChunkLimits Reachable(const ChunkLimits& limits) const override {
    return limits;
  }

  Choice Next(const Question& question) const override {
    const PlanRequest request = RemainderOf(question.request);
    MemoryLimits memory = OthersApart(question.memory);
    const ChunkSpace space(question.estimator, request, memory,
                           question.limits);
    std::vector<Tokens> falls;
    const std::optional<Tokens> widest =
        internal::WidestFit(space, space.first(), &falls);
    if (!widest.has_value()) return {};
    const Tokens end = PlannedEnd(question, request, memory, space, *widest);
    Choice choice = ChoiceOf(space, end);
    if (end == space.prompt()) {
      choice.bound = Bound::kPrompt;
    } else if (end == space.WidestEnd(space.first())) {
      choice.bound = Bound::kMaximum;
    } else if (end == *widest) {
      choice.bound = Bound::kMemory;
    } else {
      choice.bound = Bound::kPlan;
    }
    return choice;
  }

 private:
  // The end of the first chunk of a plan for the whole remainder. Where none
  // exists beside what others hold now, the plan on an idle device is followed
  // as far as it fits, and then the widest chunk: progress keeps the promise
  // better than waiting, and the next decision plans again.
  static Tokens PlannedEnd(const Question& question, const PlanRequest& request,
                           MemoryLimits memory, const ChunkSpace& space,
                           Tokens widest) {
    if (widest == space.prompt()) return widest;
    for (const Bytes base : {memory.base, question.memory.idle_base}) {
      memory.base = base;
      const absl::StatusOr<Plan> plan =
          PlanPrompt(question.estimator, request, memory, question.limits,
                     {.want_largest_prompt = false});
      if (!plan.ok() || plan->chunks.empty()) continue;
      const Tokens end = plan->chunks.front().kv_len;
      if (space.Fits(space.first(), end)) return end;
    }
    return widest;
  }
};

class Fixed final : public ChunkPolicy {
 public:
  std::string_view Name() const override { return "fixed"; }

  ChunkLimits Reachable(const ChunkLimits& limits) const override {
    ChunkLimits reachable = limits;
    reachable.floor = limits.max;
    return reachable;
  }

  Choice Next(const Question& question) const override {
    const PlanRequest request = RemainderOf(question.request);
    const ChunkSpace space(question.estimator, request,
                           OthersApart(question.memory),
                           Reachable(question.limits));
    // From a start that is no boundary there are two: the prompt's end, and
    // the widest aligned chunk before it.
    std::vector<Tokens> falls;
    const std::optional<Tokens> end =
        internal::WidestFit(space, space.first(), &falls);
    if (!end.has_value()) return {};
    Choice choice = ChoiceOf(space, *end);
    choice.bound = *end == space.prompt() ? Bound::kPrompt : Bound::kMaximum;
    return choice;
  }
};

}  // namespace

PlanRequest RemainderOf(const RequestView& view) {
  PlanRequest request = *view.request;
  request.cached_tokens = view.done;
  request.cached_chunk = view.last_chunk;
  request.allocated = view.admitted;
  return request;
}

absl::StatusOr<std::unique_ptr<ChunkPolicy>> CreateChunkPolicy(
    std::string_view name) {
  std::unique_ptr<ChunkPolicy> policy;
  if (name == "throttle") policy = std::make_unique<Throttle>();
  if (name == "fixed") policy = std::make_unique<Fixed>();
  if (policy != nullptr) return policy;
  constexpr std::array<std::string_view, 2> kNames = {"fixed", "throttle"};
  const std::string_view near = internal::DidYouMean(name, kNames);
  return InvalidArgument(
      "chunk.use: expected fixed or throttle, got \"", name, "\"",
      near.empty() ? std::string() : Concat("; did you mean \"", near, "\"?"));
}

}  // namespace tidegate
