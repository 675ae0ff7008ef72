// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/load_plan.h"

#include <algorithm>
#include <utility>

#include "estimators/last_that.h"
#include "estimators/text.h"
#include "tidegate/status.h"

namespace tidegate {
namespace {

using internal::Concat;
using internal::FormatBytes;
using internal::Grouped;
using internal::InvalidArgument;
using internal::LastThat;

// llama.cpp rounds a context up to this (GGML_PAD in llama-context.cpp).
constexpr Tokens kContextPad = 256;

// Lengths are counted in pads: unit u is a context of 256 u tokens.
class Search {
 public:
  Search(const Estimator& estimator, const LoadRequest& request, Tokens width)
      : estimator_(estimator), request_(request), width_(width) {}

  LoadCost CostOf(Tokens n_ctx) const {
    return PriceLoad(estimator_, width_, n_ctx, request_.outputs);
  }

  bool Fits(const LoadCost& cost) const {
    const MemoryLimits& memory = request_.memory;
    if (memory.max_allocation.has_value() &&
        cost.largest_allocation_bytes > *memory.max_allocation) {
      return false;
    }
    return SatAdd(memory.base, cost.Need()) <= memory.ceiling - memory.headroom;
  }

  // 0: none.
  Tokens Longest() const {
    const Tokens most =
        request_.n_ctx_max > 0 ? request_.n_ctx_max : kTokensMax;
    // The cache alone never shrinks: it bounds the context.
    Tokens hi = LargestWhere(1, CeilDiv(most, kContextPad), [&](Tokens unit) {
      const Bytes kv = estimator_.SequenceBytes(unit * kContextPad, width_);
      return SatAdd(request_.memory.base, kv) <=
             request_.memory.ceiling - request_.memory.headroom;
    });
    if (hi == 0) return 0;
    // The compute buffer may fall where the estimator says so, and nowhere
    // else: of each piece between two falls the first length is the cheapest.
    std::vector<Tokens> starts = {1};
    std::vector<Tokens> falls;
    estimator_.Breakpoints(Axis::kKvLen, width_, 0, hi * kContextPad,
                           MaskKind::kCausal, &falls);
    for (const Tokens fall : falls) {
      const Tokens unit = CeilDiv(fall, kContextPad);
      if (unit > starts.back() && unit <= hi) starts.push_back(unit);
    }
    const auto fits = [&](Tokens unit) {
      return Fits(CostOf(unit * kContextPad));
    };
    for (std::size_t i = starts.size(); i-- > 0;) {
      const Tokens longest = LargestWhere(starts[i], hi, fits);
      if (longest > 0) return std::min(longest * kContextPad, most);
      hi = starts[i] - 1;
    }
    return 0;
  }

 private:
  // The largest in [lo, hi] for which `holds`, which once false stays so; 0
  // where it does not hold for lo.
  template <typename Holds>
  static Tokens LargestWhere(Tokens lo, Tokens hi, const Holds& holds) {
    return lo > hi || !holds(lo) ? 0 : LastThat(lo, hi, holds);
  }

  const Estimator& estimator_;
  const LoadRequest& request_;
  const Tokens width_;
};

absl::Status Check(const Estimator& estimator, const LoadRequest& request) {
  if (estimator.Timing() != TransientTiming::kAtLoad) {
    return InvalidArgument(
        "estimator: expected an engine that reserves its memory when it loads "
        "(llama.cpp); this one pays for each step");
  }
  if (request.memory.ceiling < 1 || request.memory.base < 0 ||
      request.memory.headroom < 0) {
    return InvalidArgument("memory: expected a ceiling above 0, and base and ",
                           "headroom of at least 0");
  }
  for (const Tokens n : request.widths) {
    if (n < 1 || n > kTokensMax) {
      return InvalidArgument("widths: expected 1 to ", kTokensMax,
                             " tokens, got ", n);
    }
  }
  for (const auto& [name, value] : {std::pair{"n_ctx", request.n_ctx},
                                    std::pair{"n_ctx_max", request.n_ctx_max},
                                    std::pair{"outputs", request.outputs}}) {
    if (value < 0 || value > kTokensMax) {
      return InvalidArgument(name, ": expected 0 to ", kTokensMax, ", got ",
                             value);
    }
  }
  if (request.n_ctx_max > 0 && request.n_ctx > request.n_ctx_max) {
    return InvalidArgument("n_ctx: expected at most n_ctx_max = ",
                           request.n_ctx_max, ", got ", request.n_ctx);
  }
  return absl::OkStatus();
}

std::string Sum(const LoadRequest& request, const LoadChoice& choice,
                Tokens n_ctx, bool fits) {
  const MemoryLimits& memory = request.memory;
  const LoadCost& cost = choice.cost;
  std::string text = Concat(
      FormatBytes(memory.base), " live + ", FormatBytes(cost.kv_bytes),
      " KV + ", FormatBytes(cost.transient_bytes),
      " compute = ", FormatBytes(SatAdd(memory.base, cost.Need())),
      fits ? " <= " : " > ", FormatBytes(memory.ceiling - memory.headroom),
      " = ", FormatBytes(memory.ceiling), " ceiling - ",
      FormatBytes(memory.headroom), " headroom, for n_ubatch ",
      Grouped(choice.n_ubatch), " and n_ctx ", Grouped(n_ctx));
  if (!fits &&
      SatAdd(memory.base, cost.Need()) <= memory.ceiling - memory.headroom) {
    text = Concat("a single buffer of ",
                  FormatBytes(cost.largest_allocation_bytes), " > ",
                  FormatBytes(*memory.max_allocation),
                  " = the largest allocation, for n_ubatch ",
                  Grouped(choice.n_ubatch), " and n_ctx ", Grouped(n_ctx));
  }
  return text;
}

}  // namespace

LoadCost PriceLoad(const Estimator& estimator, Tokens n_ubatch, Tokens n_ctx,
                   Tokens outputs) {
  const Chunk chunk{.n = std::min(n_ubatch, n_ctx), .kv_len = n_ctx};
  const PriceTotals price = estimator.Total(
      {.chunks = {&chunk, 1},
       .logits_rows = outputs > 0 ? std::min(outputs, chunk.n) : chunk.n});
  return {.transient_bytes = price.transient_bytes,
          .kv_bytes = estimator.SequenceBytes(n_ctx, chunk.n),
          .largest_allocation_bytes = price.largest_allocation_bytes};
}

absl::StatusOr<LoadPlan> PlanLoad(const Estimator& estimator,
                                  const LoadRequest& request) {
  TG_RETURN_IF_ERROR(Check(estimator, request));
  std::vector<Tokens> widths = request.widths;
  if (widths.empty()) widths = {32, 64, 128, 256, 512, 1024, 2048};
  std::sort(widths.begin(), widths.end());
  widths.erase(std::unique(widths.begin(), widths.end()), widths.end());

  LoadPlan plan;
  for (const Tokens width : widths) {
    const Search search(estimator, request, width);
    LoadChoice choice{.n_ubatch = width, .n_ctx = search.Longest()};
    choice.cost = search.CostOf(choice.n_ctx > 0 ? choice.n_ctx : kContextPad);
    plan.choices.push_back(choice);
  }
  if (request.n_ctx > 0) {
    const Tokens wanted = RoundUp(request.n_ctx, kContextPad);
    for (std::size_t i = plan.choices.size(); i-- > 0 && !plan.fits;) {
      const Search search(estimator, request, plan.choices[i].n_ubatch);
      plan.chosen = {.n_ubatch = plan.choices[i].n_ubatch,
                     .n_ctx = wanted,
                     .cost = search.CostOf(wanted)};
      plan.fits = search.Fits(plan.chosen.cost);
    }
    plan.reason = Sum(request, plan.chosen, wanted, plan.fits);
    return plan;
  }
  Tokens longest = 0;
  for (const LoadChoice& choice : plan.choices) {
    longest = std::max(longest, choice.n_ctx);
  }
  plan.fits = longest > 0;
  plan.chosen = plan.choices.front();
  for (const LoadChoice& choice : plan.choices) {
    if (choice.n_ctx >= longest - longest / 50) plan.chosen = choice;
  }
  if (!plan.fits) plan.chosen = plan.choices.front();
  plan.reason = Sum(request, plan.chosen,
                    plan.fits ? plan.chosen.n_ctx : kContextPad, plan.fits);
  return plan;
}

}  // namespace tidegate
