// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// How wide is the next chunk?
//
//   throttle    the widest that fits and leaves a remainder that still fits
//   equal_time  the same, narrowed so that every chunk takes as long as the
//               first: chunks shrink as the prompt grows
//   efficient   the first chunk of the fastest plan for the whole remainder
//   fixed       chunk.max, or nothing
//
// All but fixed are narrower, down to chunk.floor, while prices wait for their
// first measurements and may turn out too low; and they keep steps below
// the decode stall while somebody decodes.

#include <array>
#include <memory>
#include <optional>
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
using internal::StepTimeLimit;

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

// What prices the chunk: the step that it joins.
const Estimator& StepPrices(const ChunkPolicy::Question& question) {
  return question.step != nullptr ? *question.step : question.estimator;
}

// This chunk's limits: others may have the rest of the step.
ChunkLimits StepLimits(const ChunkPolicy::Question& question) {
  ChunkLimits limits = question.limits;
  if (question.widest > 0) limits.max = std::min(limits.max, question.widest);
  return limits;
}

StepTimeLimit StallLimit(const ChunkPolicy::Question& question) {
  if (question.decode_stall <= Duration::zero()) return {};
  return {.model = question.time, .limit = question.decode_stall};
}

// Whether the step holds other prompts already and not even the narrowest chunk
// beside them keeps it below the decode stall. The first prompt of a step may
// exceed it at the floor, since it would never run otherwise; the others can be
// first in a later step.
bool StallsBesideOthers(const ChunkPolicy::Question& question,
                        const ChunkSpace& space) {
  const StepTimeLimit stall = StallLimit(question);
  if (stall.model == nullptr || question.step == nullptr ||
      question.widest == 0) {
    return false;
  }
  const Tokens narrowest =
      std::min(space.limits().floor, space.prompt() - space.first());
  return stall.model->Of(narrowest, space.first()) > stall.limit;
}

// Whether what is left behind `end` fits beside what others hold now, when
// memory alone decides.
bool RemainderFits(const ChunkPolicy::Question& question,
                   const ChunkSpace& space, Tokens end) {
  if (end == space.prompt()) return true;
  PlanRequest rest = space.request();
  MemoryLimits memory = space.memory();
  memory.base = SatAdd(memory.base, space.Need(space.first(), end).resident);
  memory.base -= internal::AdvanceTo(rest, end);
  const absl::StatusOr<Plan> plan =
      PlanPrompt(question.estimator, rest, memory, question.limits,
                 internal::kVerdictOnly);
  return plan.ok() && plan->verdict == Verdict::kAdmit;
}

// The first chunk of a plan for the remainder that fits now. Where none exists
// beside what others hold, the plan on an idle device is followed as far as it
// fits.
std::optional<Tokens> PlannedEnd(const ChunkPolicy::Question& question,
                                 const ChunkSpace& space) {
  MemoryLimits memory = space.memory();
  for (const Bytes base : {memory.base, question.memory.idle_base}) {
    memory.base = base;
    const absl::StatusOr<Plan> plan =
        PlanPrompt(question.estimator, space.request(), memory, question.limits,
                   internal::kVerdictOnly);
    if (!plan.ok() || plan->chunks.empty()) continue;
    const Tokens end = plan->chunks.front().kv_len;
    if (end - space.first() > space.limits().max) continue;
    if (space.Fits(space.Need(space.first(), end))) return end;
  }
  return std::nullopt;
}

// What a narrower chunk needs says nothing of a price: it is not measured.
constexpr Tokens kMeasured = 256;

// Half as wide as often as it takes until what the chunk may need fits, not its
// price alone; as narrow as chunk.floor allows where that never is.
Tokens CautiousEnd(const ChunkPolicy::Question& question,
                   const ChunkSpace& space, Tokens widest) {
  const Tokens first = space.first();
  const ChunkLimits& limits = space.limits();
  const auto surely_fits = [&](Tokens end) {
    const Chunk chunk{
        .n = end - first, .kv_len = end, .mask = space.request().mask};
    internal::ChunkNeed need = space.Need(first, end);
    const Bytes more = StepPrices(question).MayNeed({.chunks = {&chunk, 1}}) -
                       need.price.transient_bytes;
    need.peak = SatAdd(need.peak, std::max<Bytes>(0, more));
    return space.Fits(need);
  };
  Tokens end = widest;
  Tokens tried = widest;
  while (!surely_fits(end)) {
    do {
      const Tokens half = first + (tried - first) / 2;
      tried = half - half % limits.quantum;
      if (tried - first < std::max(limits.floor, kMeasured)) return end;
    } while (!space.IsBoundary(tried) || !space.Fits(first, tried) ||
             !RemainderFits(question, space, tried));
    end = tried;
  }
  return end;
}

// throttle, and what is built on it: a limit on the step's time narrows it.
class Throttle : public ChunkPolicy {
 public:
  std::string_view Name() const override { return "throttle"; }

  ChunkLimits Reachable(const ChunkLimits& limits) const override {
    return limits;
  }

  Choice Next(const Question& question) const override {
    const PlanRequest request = RemainderOf(question.request);
    const MemoryLimits memory = OthersApart(question.memory);
    const Estimator& prices = StepPrices(question);
    const ChunkLimits limits = StepLimits(question);
    const ChunkSpace space(prices, request, memory, limits);
    const ChunkSpace timed(prices, request, memory, limits,
                           TimeLimit(question));
    if (StallsBesideOthers(question, space)) return {};
    std::vector<Tokens> falls;
    const Tokens first = space.first();
    const std::optional<Tokens> widest =
        internal::WidestFit(space, first, &falls);
    if (!widest.has_value()) return {};
    std::optional<Tokens> end = Choose(question, timed, *widest);
    Bound bound = Bound::kMemory;
    if (!end.has_value()) {
      end = *widest;
    } else if (*end < *widest) {
      bound = timed.InTime(first, *widest) ? Bound::kPlan : Bound::kTime;
    }
    // What leaves a remainder that no longer fits is no choice; and where every
    // choice does, progress keeps the promise better than waiting.
    if (!RemainderFits(question, space, *end)) {
      if (const auto planned = PlannedEnd(question, space)) {
        if (*planned != *end) bound = Bound::kPlan;
        end = planned;
      }
    }
    if (end.has_value()) {
      const Tokens cautious = CautiousEnd(question, space, *end);
      if (cautious < *end) bound = Bound::kMemory;
      end = cautious;
    }
    Choice choice = ChoiceOf(space, *end);
    choice.bound = bound;
    if (*end == space.prompt()) {
      choice.bound = Bound::kPrompt;
    } else if (*end == space.WidestEnd(first)) {
      choice.bound =
          limits.max < question.limits.max ? Bound::kShare : Bound::kMaximum;
    }
    return choice;
  }

 protected:
  virtual StepTimeLimit TimeLimit(const Question& question) const {
    return StallLimit(question);
  }

  // Where a chunk within `timed` ends; `widest` does when memory alone decides.
  virtual std::optional<Tokens> Choose(const Question& /*question*/,
                                       const ChunkSpace& timed,
                                       Tokens widest) const {
    if (timed.InTime(timed.first(), widest)) return widest;
    std::vector<Tokens> falls;
    return internal::WidestFit(timed, timed.first(), &falls);
  }
};

class EqualTime final : public Throttle {
 public:
  std::string_view Name() const override { return "equal_time"; }

 protected:
  StepTimeLimit TimeLimit(const Question& question) const override {
    if (question.time == nullptr) return {};
    const StepTimeLimit stall = StallLimit(question);
    if (stall.model != nullptr) return stall;
    const Duration target = question.step_target > Duration::zero()
                                ? question.step_target
                                : question.time->Of(question.limits.max, 0);
    return {.model = question.time, .limit = target};
  }
};

class Efficient final : public Throttle {
 public:
  std::string_view Name() const override { return "efficient"; }

 protected:
  // Tokens and pairs cost the same however a prompt is cut; what a cut costs is
  // a step's fixed part and reading the earlier keys once more.
  std::optional<Tokens> Choose(const Question& question,
                               const ChunkSpace& timed,
                               Tokens widest) const override {
    internal::ChunkCost cost;
    if (question.time != nullptr) {
      cost = {.fixed = question.time->fixed_ps + 1,
              .per_kv = question.time->per_kv_ps};
    }
    const auto ends = internal::SearchEnds(timed, cost);
    if (ends.has_value()) return ends->front();
    return Throttle::Choose(question, timed, widest);
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
    const ChunkLimits limits = Reachable(question.limits);
    // As wide as always, or not in this step: but for a last chunk.
    if (question.widest > 0 && question.widest < limits.max &&
        request.prompt_tokens - request.cached_tokens > question.widest) {
      return {};
    }
    const ChunkSpace space(StepPrices(question), request,
                           OthersApart(question.memory), limits);
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
  request.encoded_bytes = view.encoded;
  request.allocated = view.admitted;
  return request;
}

absl::StatusOr<std::unique_ptr<ChunkPolicy>> CreateChunkPolicy(
    std::string_view name) {
  std::unique_ptr<ChunkPolicy> policy;
  if (name == "fixed") policy = std::make_unique<Fixed>();
  if (name == "throttle") policy = std::make_unique<Throttle>();
  if (name == "equal_time") policy = std::make_unique<EqualTime>();
  if (name == "efficient") policy = std::make_unique<Efficient>();
  if (policy != nullptr) return policy;
  constexpr std::array<std::string_view, 4> kNames = {
      "fixed", "throttle", "equal_time", "efficient"};
  return internal::UnknownWord("chunk.use", name, kNames);
}

}  // namespace tidegate
