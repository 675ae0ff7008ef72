// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A plug-in prices transients. What a step adds and keeps is derived from what
// a sequence of a given length keeps, so that it adds up however a prompt is
// cut. A query without a price that can be is answered by the catalogue's.

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "estimators/resident_model.h"
#include "estimators/text.h"
#include "plugins/adapters.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// More breakpoints on one axis than any kernel has.
constexpr std::int64_t kBreakpointsMax = 100'000;
constexpr std::int64_t kTermsMax = 256;

// Arrays of chunks are handed over as they are.
static_assert(sizeof(Chunk) == sizeof(tidegate_chunk) &&
              offsetof(Chunk, n) == offsetof(tidegate_chunk, n) &&
              offsetof(Chunk, kv_len) == offsetof(tidegate_chunk, kv_len) &&
              offsetof(Chunk, mask) == offsetof(tidegate_chunk, mask));
static_assert(std::is_same_v<std::underlying_type_t<MaskKind>, std::int32_t> &&
              static_cast<int>(MaskKind::kNone) == TIDEGATE_MASK_NONE &&
              static_cast<int>(MaskKind::kCausal) == TIDEGATE_MASK_CAUSAL &&
              static_cast<int>(MaskKind::kBool) == TIDEGATE_MASK_BOOL &&
              static_cast<int>(MaskKind::kFloat) == TIDEGATE_MASK_FLOAT &&
              static_cast<int>(MaskKind::kArray) == TIDEGATE_MASK_ARRAY &&
              static_cast<int>(MaskKind::kLowerRight) ==
                  TIDEGATE_MASK_LOWER_RIGHT);
static_assert(static_cast<int>(Axis::kN) == TIDEGATE_AXIS_N &&
              static_cast<int>(Axis::kKvLen) == TIDEGATE_AXIS_KV_LEN &&
              static_cast<int>(Axis::kChunk) == TIDEGATE_AXIS_CHUNK);

tidegate_step ToPlugin(const StepQuery& step) {
  return {.struct_size = sizeof(tidegate_step),
          .reserved = 0,
          .chunks = reinterpret_cast<const tidegate_chunk*>(step.chunks.data()),
          .chunk_count = static_cast<std::int64_t>(step.chunks.size()),
          .decode_tokens = step.decode_tokens,
          .decode_kv_len = step.decode_kv_len,
          .logits_rows = step.logits_rows};
}

std::string Describe(const StepQuery& step) {
  std::string text;
  if (!step.chunks.empty()) {
    text = Concat("n = ", step.chunks.front().n,
                  ", kv_len = ", step.chunks.front().kv_len);
    if (step.chunks.size() > 1) {
      text += Concat(" and ", step.chunks.size() - 1, " more chunks");
    }
  }
  if (step.decode_tokens > 0) {
    text += Concat(text.empty() ? "" : " and ", step.decode_tokens,
                   " decode tokens");
  }
  return text;
}

std::string Wrong(std::string_view field, Bytes bytes) {
  if (bytes == TIDEGATE_UNSET) return Concat(field, " was left unset");
  if (bytes < 0) return Concat(field, " = ", bytes, " is negative");
  return Concat(field, " = ", bytes, " is beyond any device");
}

bool CanBe(Bytes bytes) { return bytes >= 0 && bytes <= TIDEGATE_BYTES_MAX; }

class EstimatorAdapter final : public Estimator {
 public:
  EstimatorAdapter(std::shared_ptr<EstimatorInstance> instance,
                   const ModelShape& shape, std::unique_ptr<Estimator> fallback)
      : instance_(std::move(instance)),
        table_(instance_->table()),
        meter_(instance_->meter()),
        fallback_(std::move(fallback)),
        resident_(shape, /*full_width_beside=*/false),
        name_(Concat("plugin:", meter_.identity().name, "@",
                     meter_.identity().version)) {}

  std::string_view Name() const override { return name_; }

  PriceTotals Total(const StepQuery& step) const override {
    if (!meter_.replaced()) [[likely]] {
      PriceTotals totals;
      if (Ask(step, &totals)) [[likely]]
        return totals;
    }
    PriceTotals totals = fallback_->Total(step);
    totals.resident_bytes = Growth(step);
    return totals;
  }

  absl::StatusOr<Price> Explain(const StepQuery& step) const override {
    TG_RETURN_IF_ERROR(ValidateStep(step));
    PriceTotals totals;
    if (meter_.replaced() || !Ask(step, &totals)) {
      TG_ASSIGN_OR_RETURN(Price price, fallback_->Explain(step));
      price.resident_bytes = Growth(step);
      return price;
    }
    Price price;
    static_cast<PriceTotals&>(price) = totals;
    price.route = RouteName(step);
    price.assumed = Assumed();
    Part part{.name = meter_.identity().name,
              .bytes = totals.transient_bytes,
              .terms = Terms(step, totals.transient_bytes)};
    price.binding_part = part.name;
    price.parts.push_back(std::move(part));
    return price;
  }

  std::string RouteName(const StepQuery& step) const override {
    if (meter_.replaced()) return fallback_->RouteName(step);
    if (table_.route == nullptr) return meter_.identity().name;
    std::array<char, 64> name{};
    const tidegate_step asked = ToPlugin(step);
    const std::int32_t status = meter_.Run(
        [&] {
          return table_.route(instance_->self(), &asked, name.data(),
                              static_cast<std::int64_t>(name.size()));
        },
        /*sampled=*/true);
    name.back() = '\0';
    std::string text(name.data());
    const bool visible = std::all_of(
        text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
    if (status == TIDEGATE_OK && !text.empty() && visible) return text;
    if (status != TIDEGATE_OK) {
      meter_.NoAnswer("route", status);
    } else {
      meter_.Fault("route: not 1 to 63 visible characters");
    }
    return meter_.identity().name;
  }

  void Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi, MaskKind mask,
                   std::vector<Tokens>* out) const override {
    const auto first = static_cast<std::ptrdiff_t>(out->size());
    const bool asked = !meter_.replaced() && lo < hi &&
                       AddBreakpoints(axis, fixed, lo, hi, mask, out);
    // Some prices may be the catalogue's.
    if (!asked || meter_.faults() > 0) {
      fallback_->Breakpoints(axis, fixed, lo, hi, mask, out);
      std::sort(out->begin() + first, out->end());
      out->erase(std::unique(out->begin() + first, out->end()), out->end());
    }
  }

  bool Assumed() const override {
    return (table_.flags & TIDEGATE_ESTIMATOR_ASSUMED) != 0;
  }
  TransientTiming Timing() const override {
    return (table_.flags & TIDEGATE_ESTIMATOR_AT_LOAD) != 0
               ? TransientTiming::kAtLoad
               : TransientTiming::kPerStep;
  }
  bool KvPreallocated() const override {
    return (table_.flags & TIDEGATE_ESTIMATOR_KV_PREALLOCATED) != 0;
  }

  // What requests hold was charged by these, so that they go on with the
  // model's only where the plug-in gives no answer.
  Bytes SequenceBytes(Tokens tokens, Tokens chunk) const override {
    if (table_.sequence_bytes == nullptr) {
      return resident_.SequenceBytes(tokens, chunk);
    }
    if (tokens <= 0) return 0;
    if (meter_.replaced()) return resident_.SequenceBytes(tokens, chunk);
    Bytes bytes = TIDEGATE_UNSET;
    const std::int32_t status = meter_.Run(
        [&] {
          return table_.sequence_bytes(instance_->self(), tokens,
                                       std::clamp<Tokens>(chunk, 1, tokens),
                                       &bytes);
        },
        /*sampled=*/true);
    if (status == TIDEGATE_OK && CanBe(bytes)) return bytes;
    if (status != TIDEGATE_OK) {
      meter_.NoAnswer("sequence_bytes", status);
    } else {
      meter_.Fault(Concat("sequence_bytes: ", Wrong("bytes", bytes), ", for ",
                          tokens, " tokens"));
    }
    return resident_.SequenceBytes(tokens, chunk);
  }

 private:
  // False, and a fault, where there is no price that can be.
  bool Ask(const StepQuery& step, PriceTotals* totals) const {
    const tidegate_step asked = ToPlugin(step);
    tidegate_price price{.struct_size = sizeof(tidegate_price),
                         .reserved = 0,
                         .transient_bytes = TIDEGATE_UNSET,
                         .largest_allocation_bytes = TIDEGATE_UNSET,
                         .fixed_in_n_bytes = TIDEGATE_UNSET};
    const std::int32_t status = meter_.Run(
        [&] { return table_.price(instance_->self(), &asked, &price); },
        /*sampled=*/true);
    if (price.largest_allocation_bytes == TIDEGATE_UNSET) {
      price.largest_allocation_bytes = price.transient_bytes;
    }
    if (price.fixed_in_n_bytes == TIDEGATE_UNSET) price.fixed_in_n_bytes = 0;
    if (status != TIDEGATE_OK || !CanBe(price.transient_bytes) ||
        !CanBe(price.largest_allocation_bytes) ||
        !CanBe(price.fixed_in_n_bytes) ||
        price.fixed_in_n_bytes > price.transient_bytes) [[unlikely]] {
      FaultOf(step, status, price);
      return false;
    }
    totals->transient_bytes = price.transient_bytes;
    totals->largest_allocation_bytes = price.largest_allocation_bytes;
    totals->fixed_in_n_bytes = price.fixed_in_n_bytes;
    totals->resident_bytes = Growth(step);
    return true;
  }

  void FaultOf(const StepQuery& step, std::int32_t status,
               const tidegate_price& price) const {
    if (status != TIDEGATE_OK) return meter_.NoAnswer("price", status);
    std::string what;
    if (!CanBe(price.transient_bytes)) {
      what = Wrong("transient_bytes", price.transient_bytes);
    } else if (!CanBe(price.largest_allocation_bytes)) {
      what = Wrong("largest_allocation_bytes", price.largest_allocation_bytes);
    } else if (!CanBe(price.fixed_in_n_bytes)) {
      what = Wrong("fixed_in_n_bytes", price.fixed_in_n_bytes);
    } else {
      what = Concat("fixed_in_n_bytes = ", price.fixed_in_n_bytes,
                    " is above transient_bytes = ", price.transient_bytes);
    }
    meter_.Fault(Concat("price: ", what, ", for ", Describe(step)));
  }

  // As ResidentModel::Growth.
  Bytes Growth(const StepQuery& step) const {
    if (KvPreallocated()) return 0;
    if (table_.sequence_bytes == nullptr) return resident_.Growth(step);
    Bytes growth = 0;
    const auto add = [&](Tokens from, Tokens to, Tokens chunk, Tokens times) {
      const Bytes more = SequenceBytes(to, chunk) - SequenceBytes(from, chunk);
      growth = SatAdd(growth, SatMul(std::max<Bytes>(0, more), times));
    };
    for (const Chunk& chunk : step.chunks) {
      add(chunk.kv_len - chunk.n, chunk.kv_len, chunk.n, 1);
    }
    if (step.decode_tokens > 0) {
      add(step.decode_kv_len - 1, step.decode_kv_len, 1, step.decode_tokens);
    }
    return growth;
  }

  bool AddBreakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi,
                      MaskKind mask, std::vector<Tokens>* out) const {
    if (table_.breakpoints == nullptr) return true;
    const tidegate_range range{.struct_size = sizeof(tidegate_range),
                               .axis = static_cast<std::int32_t>(axis),
                               .fixed = fixed,
                               .lo = lo,
                               .hi = hi,
                               .mask = static_cast<std::int32_t>(mask),
                               .reserved = 0};
    std::vector<std::int64_t> values(16);
    std::int64_t count = -1;
    for (int attempt = 0; attempt < 2; ++attempt) {
      const auto capacity = static_cast<std::int64_t>(values.size());
      const std::int32_t status = meter_.Run(
          [&] {
            return table_.breakpoints(instance_->self(), &range, values.data(),
                                      capacity, &count);
          },
          /*sampled=*/true);
      if (status != TIDEGATE_OK) {
        meter_.NoAnswer("breakpoints", status);
        return false;
      }
      if (count < 0 || count > kBreakpointsMax) break;
      if (count <= capacity) {
        values.resize(static_cast<std::size_t>(count));
        Tokens last = lo;
        for (const Tokens value : values) {
          if (value <= last || value > hi) {
            meter_.Fault(Concat("breakpoints: ", value,
                                " is not ascending within (", lo, ", ", hi,
                                "]"));
            return false;
          }
          last = value;
        }
        out->insert(out->end(), values.begin(), values.end());
        return true;
      }
      values.resize(static_cast<std::size_t>(count));
    }
    meter_.Fault(Concat("breakpoints: a count of ", count, ", expected 0 to ",
                        kBreakpointsMax, ", the same when asked again"));
    return false;
  }

  std::vector<Term> Terms(const StepQuery& step, Bytes transient) const {
    std::vector<Term> whole = {{"transient", transient}};
    if (table_.terms == nullptr) return whole;
    std::vector<tidegate_term> terms(static_cast<std::size_t>(kTermsMax));
    const tidegate_step asked = ToPlugin(step);
    std::int64_t count = -1;
    const std::int32_t status = meter_.Run([&] {
      return table_.terms(instance_->self(), &asked, terms.data(), kTermsMax,
                          &count);
    });
    if (status != TIDEGATE_OK) {
      meter_.NoAnswer("terms", status);
      return whole;
    }
    std::vector<Term> list;
    Bytes sum = 0;
    bool good = count >= 0 && count <= kTermsMax;
    for (std::int64_t i = 0; good && i < count; ++i) {
      tidegate_term& term = terms[static_cast<std::size_t>(i)];
      term.name[sizeof(term.name) - 1] = '\0';
      good = CanBe(term.bytes) && term.name[0] != '\0';
      sum = SatAdd(sum, std::max<Bytes>(0, term.bytes));
      list.push_back({term.name, term.bytes});
    }
    if (good && sum == transient) return list;
    meter_.Fault(Concat("terms: ", count, " that add up to ", sum,
                        ", the transient is ", transient));
    return whole;
  }

  const std::shared_ptr<EstimatorInstance> instance_;
  const tidegate_estimator& table_;
  PluginMeter& meter_;
  const std::unique_ptr<Estimator> fallback_;
  const ResidentModel resident_;
  const std::string name_;
};

}  // namespace

std::unique_ptr<Estimator> AdaptEstimator(
    std::shared_ptr<EstimatorInstance> instance, const ModelShape& shape,
    std::unique_ptr<Estimator> fallback) {
  return std::make_unique<EstimatorAdapter>(std::move(instance), shape,
                                            std::move(fallback));
}

}  // namespace tidegate::internal
