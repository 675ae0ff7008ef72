// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "policies/refusal.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "estimators/text.h"
#include "policies/plan_search.h"
#include "tidegate/actions.h"

namespace tidegate {

std::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kAdmit:
      return "admit";
    case Verdict::kWait:
      return "wait";
    case Verdict::kReject:
      return "reject";
  }
  return "";
}

std::string_view RefusalCodeName(RefusalCode code) {
  switch (code) {
    case RefusalCode::kNone:
      return "none";
    case RefusalCode::kTooLarge:
      return "too_large";
    case RefusalCode::kOverloaded:
      return "overloaded";
    case RefusalCode::kShuttingDown:
      return "shutting_down";
    case RefusalCode::kUnsupported:
      return "unsupported";
  }
  return "";
}

std::string_view BoundName(Bound bound) {
  switch (bound) {
    case Bound::kPrompt:
      return "prompt";
    case Bound::kMaximum:
      return "maximum";
    case Bound::kMemory:
      return "memory";
    case Bound::kPlan:
      return "plan";
    case Bound::kShare:
      return "share";
    case Bound::kTime:
      return "time";
  }
  return "";
}

namespace internal {
namespace {

// The cheapest chunk that the policy could try from `start`, and its end.
struct Candidate {
  ChunkNeed need;
  Tokens end = 0;
};

// Lowest need among the first width of each piece: within a piece the cost only
// rises. The largest allocation counts before the total, so that a chunk is
// shown that breaks as few limits as possible.
Candidate Cheapest(const ChunkSpace& space, Tokens start) {
  std::optional<Candidate> best;
  const auto consider = [&](Tokens end) {
    if (end <= start || end - start > space.limits().max) return;
    Candidate candidate{.need = space.Need(start, end), .end = end};
    if (!best.has_value() || candidate.need.peak < best->need.peak) {
      best = candidate;
    }
  };
  const Tokens prompt = space.prompt();
  const Tokens widest = space.WidestEnd(start);
  consider(prompt);
  consider(widest);
  const auto boundary_from = [&](Tokens at) {
    Tokens end = RoundUp(at, space.limits().quantum);
    while (end < prompt && !space.IsBoundary(end)) {
      end += space.limits().quantum;
    }
    return end;
  };
  const auto consider_boundary = [&](Tokens n) {
    const Tokens end = boundary_from(start + n);
    if (end < prompt) consider(end);
  };
  const Tokens floor = space.limits().floor;
  consider_boundary(floor);
  std::vector<Tokens> falls;
  space.Falls(start, floor, std::min(space.limits().max, prompt - start),
              &falls);
  for (const Tokens fall : falls) consider_boundary(fall);
  // A span that no chunk can hold: the chunk that it would take.
  if (!best.has_value()) {
    const Tokens end = std::min(prompt, boundary_from(start + 1));
    best = Candidate{.need = space.Need(start, end), .end = end};
  }
  return *best;
}

std::string Amount(const Arithmetic& a, Bytes amount) {
  return a.unit == Unit::kBytes ? FormatBytes(amount)
                                : Concat(Grouped(amount), " blocks");
}

std::string Line(const Arithmetic& a) {
  return Concat(Amount(a, a.ceiling - a.headroom), " = ", Amount(a, a.ceiling),
                " ceiling - ", Amount(a, a.headroom), " headroom");
}

}  // namespace

Arithmetic ArithmeticOf(const ChunkSpace& space, const ChunkNeed& need,
                        Tokens n, Tokens kv_len) {
  const MemoryLimits& memory = space.memory();
  Arithmetic a{.live = memory.base,
               .resident = need.resident,
               .transient = need.price.transient_bytes,
               .ceiling = memory.ceiling,
               .headroom = memory.headroom,
               .encoder = need.encoder,
               .fixed_in_n = need.price.fixed_in_n_bytes,
               .n = n,
               .kv_len = kv_len};
  a.max_allocation = memory.max_allocation;
  a.largest_allocation = need.price.largest_allocation_bytes;
  return a;
}

Refusal ExplainRefusal(const ChunkSpace& space, const ChunkNeed* decode) {
  Refusal refusal;
  if (decode != nullptr) {
    const PlanRequest& request = space.request();
    const Tokens kv_len = request.prompt_tokens + request.max_output_tokens;
    refusal.arithmetic = ArithmeticOf(space, *decode, 1, kv_len);
    refusal.reason = Concat("the output does not fit behind the prompt: ",
                            Describe(refusal.arithmetic));
    return refusal;
  }
  for (const Span& span : space.request().uncuttable) {
    if (span.length <= space.limits().max) continue;
    if (span.start + span.length <= space.first()) continue;
    const Candidate candidate = Cheapest(space, space.first());
    refusal.arithmetic = ArithmeticOf(
        space, candidate.need, candidate.end - space.first(), candidate.end);
    refusal.reason = Concat("a span of ", Grouped(span.length), " tokens at ",
                            Grouped(span.start),
                            " may not be cut and is wider than chunk.max = ",
                            Grouped(space.limits().max));
    return refusal;
  }
  const Tokens start = FurthestStart(space);
  const Candidate candidate = Cheapest(space, start);
  const Tokens n = candidate.end - start;
  refusal.arithmetic = ArithmeticOf(space, candidate.need, n, candidate.end);
  // A step that the engine cannot run at all is priced beyond every budget.
  if (candidate.need.price.transient_bytes == kBytesMax) {
    const Chunk chunk{
        .n = n, .kv_len = candidate.end, .mask = space.request().mask};
    const absl::StatusOr<Price> price =
        space.estimator().Explain({.chunks = {&chunk, 1}});
    if (absl::IsUnimplemented(price.status())) {
      refusal.code = RefusalCode::kUnsupported;
      refusal.reason = std::string(price.status().message());
      return refusal;
    }
  }
  refusal.reason = Describe(refusal.arithmetic);
  const Bytes room = space.line() - space.memory().base;
  const Bytes fixed = candidate.need.price.fixed_in_n_bytes;
  if (room < 0) {
    refusal.reason += Concat("; what is live already lies ", FormatBytes(-room),
                             " above the line");
  } else if (fixed > room && candidate.need.peak > space.line()) {
    refusal.reason += Concat(
        "; ", FormatBytes(fixed),
        " of the transient do not shrink with the chunk and alone exceed the "
        "room of ",
        FormatBytes(room));
  }
  return refusal;
}

std::string AdmissionReason(const ChunkSpace& space, const Plan& plan) {
  Tokens narrowest = kTokensMax;
  Tokens widest = 0;
  for (const PlannedChunk& chunk : plan.chunks) {
    narrowest = std::min(narrowest, chunk.n);
    widest = std::max(widest, chunk.n);
  }
  const std::size_t count = plan.chunks.size();
  return Concat("fits in ", count, count == 1 ? " chunk" : " chunks", " of ",
                narrowest == widest
                    ? Grouped(widest)
                    : Concat(Grouped(narrowest), " to ", Grouped(widest)),
                " tokens; the peak is ", FormatBytes(plan.peak_bytes), " of ",
                FormatBytes(space.line()));
}

std::string LargestPromptNote(Tokens tokens) {
  return tokens == 0 ? std::string("; no prompt would fit")
                     : Concat("; the largest prompt that fits has ",
                              Grouped(tokens), " tokens");
}

}  // namespace internal

std::string Describe(const Arithmetic& a) {
  using internal::Concat;
  const auto amount = [&a](Bytes of) { return internal::Amount(a, of); };
  const std::string chunk = Concat(internal::TokenCount(a.n), " at kv length ",
                                   internal::Grouped(a.kv_len));
  const Bytes sum = SatAdd(a.live, a.claims, a.resident, a.transient);
  const bool over = sum > a.ceiling - a.headroom;
  std::string text = Concat(
      amount(a.live), " live + ", amount(a.claims), " claims + ",
      amount(a.resident), " resident + ", amount(a.transient), " transient",
      a.encoder > 0 ? Concat(" (", amount(a.encoder), " for its encoder)")
                    : std::string(),
      " = ", amount(sum), over ? " > " : " <= ", internal::Line(a), ", for ",
      chunk);
  if (a.max_allocation.has_value() &&
      a.largest_allocation > *a.max_allocation) {
    text = Concat("a single buffer of ", amount(a.largest_allocation), " > ",
                  amount(*a.max_allocation), " max allocation, for ", chunk,
                  "; ", text);
  }
  return text;
}

}  // namespace tidegate
