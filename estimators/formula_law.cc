// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/formula_law.h"

#include <cmath>
#include <cstdio>
#include <utility>

#include "estimators/text.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

constexpr FormulaVariable kVariableTable[] = {
    {"n", "query tokens of the chunk"},
    {"kv_len", "tokens that it attends to, itself included"},
    {"score_bytes",
     "bytes of a score: `unknown_score_bytes`, or the compute type's width; 4 "
     "at least under a mask of unknown type"},
    {"dtype_bytes", "bytes of an element of the compute type"},
    {"kv_bytes", "bytes of a stored element of KV"},
    {"q_heads",
     "query heads of an attention layer, the most where they differ"},
    {"kv_heads", "key and value heads"},
    {"head_dim", "width of a query and key head"},
    {"value_dim", "width of a value head"},
    {"window", "tokens of the widest sliding window, 0 without one"},
    {"hidden", "width of the residual stream"},
    {"intermediate", "width of the feed-forward block, of one expert at least"},
    {"experts", "experts of a layer, 0 without"},
    {"top_k", "experts that a token visits"},
    {"vocab", "rows of the output head"},
    {"layers", "layers of the model"},
    {"full_layers", "layers with full or latent attention"},
    {"sliding_layers", "layers with a sliding window"},
    {"linear_layers", "layers with a recurrent state"},
    {"kv_per_token", "KV bytes of a token once every window is full"},
};
constexpr std::size_t kN = 0;
constexpr std::size_t kKvLen = 1;
constexpr std::size_t kScoreBytes = 2;

std::vector<std::string_view> Names() {
  std::vector<std::string_view> names;
  for (const FormulaVariable& variable : kVariableTable) {
    names.push_back(variable.name);
  }
  return names;
}

// Up to whole bytes; beyond 2^53 a double may lie below what was meant.
Bytes ToBytes(double value) {
  if (!(value >= 0)) return kBytesMax;
  if (value > 9007199254740992.0) {
    value = std::nextafter(value, HUGE_VAL);
  }
  value = std::ceil(value);
  return value >= 9.2e18 ? kBytesMax : static_cast<Bytes>(value);
}

std::string Number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

// Powers of two with their neighbours, and what lies between; up to
// kTokensMax.
std::vector<Tokens> Samples(const std::vector<Tokens>& breakpoints) {
  std::vector<Tokens> samples;
  for (Tokens power = 1; power <= kTokensMax; power *= 2) {
    for (const Tokens value :
         {power - 1, power, power + 1, power + power / 4, power + power / 2}) {
      samples.push_back(value);
    }
  }
  for (const Tokens at : breakpoints) {
    samples.push_back(at - 1);
    samples.push_back(at);
  }
  samples.push_back(kTokensMax);
  std::sort(samples.begin(), samples.end());
  samples.erase(std::unique(samples.begin(), samples.end()), samples.end());
  std::erase_if(samples, [](Tokens v) { return v < 1 || v > kTokensMax; });
  return samples;
}

bool Between(const std::vector<Tokens>& breakpoints, Tokens lo, Tokens hi) {
  return std::any_of(breakpoints.begin(), breakpoints.end(),
                     [&](Tokens at) { return at > lo && at <= hi; });
}

absl::StatusOr<std::shared_ptr<const Expression>> Read(std::string_view text,
                                                       std::string_view key) {
  const std::vector<std::string_view> names = Names();
  absl::StatusOr<std::shared_ptr<const Expression>> expression =
      Expression::Parse(text, names);
  if (expression.ok()) return expression;
  return InvalidArgument("estimator.", key, ": ",
                         std::string(expression.status().message()));
}

absl::Status CheckPerToken(const Expression& expression) {
  for (const std::size_t index : {kN, kKvLen}) {
    if (!expression.Uses(index)) continue;
    return InvalidArgument("expected bytes of every token alike, got ",
                           kVariableTable[index].name, " in it");
  }
  return absl::OkStatus();
}

absl::Status CheckBreakpoints(const std::vector<Tokens>& breakpoints,
                              std::string_view key) {
  for (const Tokens at : breakpoints) {
    if (at >= 2 && at <= kTokensMax) continue;
    return InvalidArgument("estimator.", key, ": expected 2 to ", kTokensMax,
                           ", got ", at);
  }
  return absl::OkStatus();
}

}  // namespace

std::span<const FormulaVariable> FormulaVariables() { return kVariableTable; }

absl::Status CheckFormula(std::string_view text, bool per_token, bool fixed) {
  const std::vector<std::string_view> names = Names();
  TG_ASSIGN_OR_RETURN(const std::shared_ptr<const Expression> expression,
                      Expression::Parse(text, names));
  if (fixed && expression->Uses(kN)) {
    return InvalidArgument(
        "expected what no narrower chunk avoids, got n in it");
  }
  return per_token ? CheckPerToken(*expression) : absl::OkStatus();
}

FormulaLaw::Values FormulaLaw::ValuesOf(const ModelShape& shape,
                                        std::int64_t score_bytes) {
  static_assert(std::size(kVariableTable) == kVariables);
  Mixer widest{.kind = MixerKind::kFull};
  std::int64_t full = 0;
  std::int64_t sliding = 0;
  std::int64_t linear = 0;
  for (std::size_t i = 0; i < shape.mixers.size(); ++i) {
    const Mixer& mixer = shape.mixers[i];
    const std::int64_t count = shape.MixerCount(static_cast<int>(i));
    if (count == 0) continue;
    widest.q_heads = std::max(widest.q_heads, mixer.q_heads);
    widest.kv_heads = std::max(widest.kv_heads, mixer.kv_heads);
    widest.head_dim = std::max(widest.head_dim, mixer.head_dim);
    widest.head_dim_v = std::max(widest.head_dim_v, mixer.head_dim_v);
    widest.window = std::max(widest.window, mixer.window);
    if (mixer.kind == MixerKind::kSliding) sliding += count;
    if (mixer.kind == MixerKind::kLinear) linear += count;
    if (mixer.kind == MixerKind::kFull || mixer.kind == MixerKind::kLatent) {
      full += count;
    }
  }
  FeedForward block{.intermediate = 0};
  for (std::size_t i = 0; i < shape.feed_forwards.size(); ++i) {
    if (shape.FeedForwardCount(static_cast<int>(i)) == 0) continue;
    const FeedForward& other = shape.feed_forwards[i];
    block.intermediate = std::max(block.intermediate, other.intermediate);
    block.experts = std::max(block.experts, other.experts);
    block.top_k = std::max(block.top_k, other.top_k);
  }
  const std::int64_t width = SizeOf(shape.compute);
  const auto number = [](std::int64_t value) {
    return static_cast<double>(value);
  };
  return {1,
          1,
          number(score_bytes > 0 ? score_bytes : width),
          number(width),
          number(shape.kv_element.per_65536) / 65536,
          number(widest.q_heads),
          number(widest.kv_heads),
          number(widest.head_dim),
          number(widest.head_dim_v),
          number(widest.window),
          number(shape.hidden),
          number(block.intermediate),
          number(block.experts),
          number(block.top_k),
          number(shape.vocab),
          number(static_cast<std::int64_t>(shape.layers.size())),
          number(full),
          number(sliding),
          number(linear),
          number(shape.KvBytesPerToken())};
}

FormulaLaw::Values FormulaLaw::At(Tokens n, Tokens kv_len,
                                  MaskKind mask) const {
  Values values = values_;
  values[kN] = static_cast<double>(n);
  values[kKvLen] = static_cast<double>(kv_len);
  if (mask == MaskKind::kArray) {
    values[kScoreBytes] = std::max(4.0, values[kScoreBytes]);
  }
  return values;
}

PriceTotals FormulaLaw::At(const Chunk& chunk) const {
  const Values values = At(chunk.n, chunk.kv_len, chunk.mask);
  PriceTotals price;
  price.transient_bytes = ToBytes(transient_->Evaluate(values));
  price.largest_allocation_bytes = largest_ == nullptr
                                       ? price.transient_bytes
                                       : ToBytes(largest_->Evaluate(values));
  if (fixed_ != nullptr) {
    price.fixed_in_n_bytes =
        std::min(price.transient_bytes, ToBytes(fixed_->Evaluate(values)));
  }
  return price;
}

absl::Status FormulaLaw::Try(const Expression& expression, std::string_view key,
                             bool along_n) const {
  const auto at = [](Tokens n, Tokens kv_len) {
    return Concat("at n = ", n, ", kv_len = ", kv_len);
  };
  const std::vector<Tokens> widths =
      along_n ? Samples(breakpoints_n_) : std::vector<Tokens>{1};
  const std::vector<Tokens> lengths = Samples(breakpoints_kv_);
  // For every length, what the width before came to.
  std::vector<double> before(lengths.size(), -1);
  Tokens n_before = 0;
  for (const Tokens n : widths) {
    double shorter = -1;
    Tokens shorter_at = 0;
    for (std::size_t j = 0; j < lengths.size(); ++j) {
      const Tokens kv_len = lengths[j];
      if (kv_len < n) continue;
      const double value =
          expression.Evaluate(At(n, kv_len, MaskKind::kCausal));
      if (!std::isfinite(value) || value < 0) {
        return InvalidArgument(
            "estimator.", key, ": expected bytes, 0 or more, got ",
            std::isnan(value) ? std::string("no number") : Number(value), " ",
            at(n, kv_len));
      }
      const auto falls = [&](double from, Tokens n_from, Tokens kv_from,
                             std::string_view declare) {
        return InvalidArgument("estimator.", key, ": expected no less ",
                               at(n, kv_len), " than ", at(n_from, kv_from),
                               ", got ", Number(value), " against ",
                               Number(from),
                               "; where a price may fall, say so "
                               "in ",
                               declare);
      };
      if (value < shorter && !Between(breakpoints_kv_, shorter_at, kv_len)) {
        return falls(shorter, n, shorter_at, "breakpoints_kv");
      }
      if (value < before[j] && !Between(breakpoints_n_, n_before, n)) {
        return falls(before[j], n_before, kv_len, "breakpoints_n");
      }
      shorter = value;
      shorter_at = kv_len;
      before[j] = value;
    }
    n_before = n;
  }
  return absl::OkStatus();
}

absl::StatusOr<FormulaLaw> FormulaLaw::Create(const FormulaOptions& options,
                                              const ModelShape& shape,
                                              std::int64_t score_bytes,
                                              ResidentModel resident) {
  absl::StatusOr<FormulaLaw> law =
      Make(options, shape, score_bytes, std::move(resident));
  if (law.ok() || options.file.empty()) return law;
  return InvalidArgument(options.file, ": ",
                         std::string(law.status().message()));
}

absl::StatusOr<FormulaLaw> FormulaLaw::Make(const FormulaOptions& options,
                                            const ModelShape& shape,
                                            std::int64_t score_bytes,
                                            ResidentModel resident) {
  FormulaLaw law(std::move(resident));
  law.values_ = ValuesOf(shape, score_bytes);
  TG_RETURN_IF_ERROR(CheckBreakpoints(options.breakpoints_n, "breakpoints_n"));
  TG_RETURN_IF_ERROR(
      CheckBreakpoints(options.breakpoints_kv, "breakpoints_kv"));
  law.breakpoints_n_ = options.breakpoints_n;
  law.breakpoints_kv_ = options.breakpoints_kv;
  for (auto* points : {&law.breakpoints_n_, &law.breakpoints_kv_}) {
    std::sort(points->begin(), points->end());
  }
  TG_ASSIGN_OR_RETURN(law.transient_, Read(options.transient, "transient"));
  TG_RETURN_IF_ERROR(law.Try(*law.transient_, "transient", true));
  if (!options.largest_allocation.empty()) {
    TG_ASSIGN_OR_RETURN(law.largest_,
                        Read(options.largest_allocation, "largest_allocation"));
    TG_RETURN_IF_ERROR(law.Try(*law.largest_, "largest_allocation", true));
  }
  if (!options.fixed.empty()) {
    TG_ASSIGN_OR_RETURN(law.fixed_, Read(options.fixed, "fixed"));
    const absl::Status no_n = CheckFormula(options.fixed, false, true);
    if (!no_n.ok()) {
      return InvalidArgument("estimator.fixed: ", std::string(no_n.message()));
    }
    TG_RETURN_IF_ERROR(law.Try(*law.fixed_, "fixed", false));
  }
  if (!options.resident_per_token.empty()) {
    TG_ASSIGN_OR_RETURN(const std::shared_ptr<const Expression> resident_bytes,
                        Read(options.resident_per_token, "resident_per_token"));
    const absl::Status per_token = CheckPerToken(*resident_bytes);
    if (!per_token.ok()) {
      return InvalidArgument("estimator.resident_per_token: ",
                             std::string(per_token.message()));
    }
    const double value = resident_bytes->Evaluate(law.values_);
    if (!std::isfinite(value) || value < 0) {
      return InvalidArgument(
          "estimator.resident_per_token: expected bytes, 0 or more, got ",
          std::isnan(value) ? std::string("no number") : Number(value));
    }
    law.resident_per_token_ = ToBytes(value);
  }
  return law;
}

void FormulaLaw::Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi,
                             MaskKind /*mask*/,
                             std::vector<Tokens>* out) const {
  const auto add = [&](const std::vector<Tokens>& points, Tokens start) {
    for (const Tokens at : points) {
      const Tokens v = at - start;
      if (v > lo && v <= hi) out->push_back(v);
    }
  };
  if (axis != Axis::kKvLen) add(breakpoints_n_, 0);
  if (axis == Axis::kKvLen) add(breakpoints_kv_, 0);
  if (axis == Axis::kChunk) add(breakpoints_kv_, fixed);
}

Bytes FormulaLaw::Resident(const StepQuery& step) const {
  if (!resident_per_token_.has_value()) return resident_.Growth(step);
  Tokens tokens = step.decode_tokens;
  for (const Chunk& chunk : step.chunks) tokens = SatAdd(tokens, chunk.n);
  return SatMul(tokens, *resident_per_token_);
}

Bytes FormulaLaw::SequenceBytes(Tokens tokens, Tokens chunk) const {
  if (!resident_per_token_.has_value()) {
    return resident_.SequenceBytes(tokens, chunk);
  }
  return SatMul(std::max<Tokens>(tokens, 0), *resident_per_token_);
}

}  // namespace tidegate::internal
