// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// oMLX, newest line of autumn 2026: the prefill scheduler, its memory
// enforcer and its admission (issues 1764, 1797, 1863, 2025; pull request
// 3381).
//
// One prefill at a time, first come first served; a decode step between two
// chunks; nobody loses progress for memory. A request starts when live memory,
// the exact KV of its prompt and the transient of a floor chunk at its full
// length stay below 0.9 of the ceiling. Each chunk: 2048 tokens, less where
// others decode and a stall limit is set; where 1.3 times its price does not
// fit 0.855 of the ceiling (the watermark of 0.95, times the headroom of 0.9),
// the largest multiple of 256 that does, then at most 1024, or 512 in the upper
// half of the band above the soft watermark. Prices come from the head
// dimension: fused, tiled or unfused attention, and nothing else of the model.
//
// Approximated: nothing is learned. The real one takes the highest of this
// price, a moving average of measured growth per token and the last of them;
// so this is its lower bound. Cache blocks do not cut chunks.
// Not expressible: policies are not told what was measured.

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include "simulator/rivals/kit.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

constexpr Tokens kStep = 2048;
constexpr Tokens kFloor = 256;
constexpr Tokens kStallGrid = 64;
constexpr std::int64_t kSequences = 8;

constexpr std::int64_t kSafetyPermille = 1300;
// Of the ceiling.
constexpr std::int64_t kAdmissionPermille = 900;
constexpr std::int64_t kTargetPermille = 855;
constexpr std::int64_t kHardPermille = 950;
constexpr std::int64_t kSoftPermille =
    801;  // 0.90, of it the safe zone of 0.89

Bytes Permille(Bytes bytes, std::int64_t permille) {
  return static_cast<Bytes>(static_cast<__int128>(bytes) * permille / 1000);
}

bool OneOf(std::initializer_list<std::int64_t> set, std::int64_t value) {
  return std::find(set.begin(), set.end(), value) != set.end();
}

// The query tile and thresholds of its own route for heads of 256.
constexpr Tokens kTiledQueries = 16;
constexpr Tokens kTiledKeys = 8192;
constexpr Tokens kKeyTile = 1024;
// Up to so many query tokens the vector kernel may run.
constexpr Tokens kVector = 8;

Bytes AttentionBytes(const Mixer& mixer, std::int64_t width, Tokens n,
                     Tokens kv_len) {
  if (mixer.q_heads == 0) return 0;
  const Bytes output = SatMul(mixer.q_heads, n, mixer.head_dim, 4);
  const std::int64_t group =
      mixer.q_heads / std::max<std::int64_t>(1, mixer.kv_heads);
  const bool fused = n > kVector ? OneOf({64, 72, 80, 96, 128}, mixer.head_dim)
                                 : OneOf({64, 96, 128, 256}, mixer.head_dim) &&
                                       n * group <= 32;
  if (fused) return output;
  Tokens keys = kv_len;
  if (mixer.window > 0) keys = std::min(keys, mixer.window - 1 + n);
  if (mixer.head_dim == 256 && n >= kTiledQueries && kv_len >= kTiledKeys) {
    keys = std::min(keys, kKeyTile);
  }
  return SatAdd(output, SatMul(mixer.q_heads, n, keys, width));
}

class OmlxPrices final : public BelievedPrices {
 public:
  OmlxPrices(std::shared_ptr<const Estimator> truth,
             std::optional<ModelShape> shape)
      : BelievedPrices(std::move(truth), /*paged=*/true),
        shape_(std::move(shape)) {}

  Bytes Of(Tokens n, Tokens kv_len) const {
    if (!shape_.has_value()) {
      const Chunk chunk{.n = n, .kv_len = kv_len};
      return truth().Total({.chunks = {&chunk, 1}}).transient_bytes;
    }
    Bytes bytes = 0;
    for (const Mixer& mixer : shape_->mixers) {
      bytes = std::max(
          bytes, AttentionBytes(mixer, SizeOf(shape_->compute), n, kv_len));
    }
    return bytes;
  }

  void Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi, MaskKind mask,
                   std::vector<Tokens>* out) const override {
    if (!shape_.has_value()) {
      truth().Breakpoints(axis, fixed, lo, hi, mask, out);
      return;
    }
    // Where a route may change.
    std::vector<Tokens> places = {kVector + 1, kTiledQueries};
    if (axis == Axis::kKvLen) places = {kTiledKeys};
    if (axis == Axis::kChunk) places.push_back(kTiledKeys - fixed);
    std::sort(places.begin(), places.end());
    for (const Tokens place : places) {
      if (place <= lo || place > hi || place < 2) continue;
      const auto at = [&](Tokens v) {
        if (axis == Axis::kN) return Of(v, fixed);
        return axis == Axis::kKvLen ? Of(fixed, v) : Of(v, fixed + v);
      };
      const bool again = !out->empty() && out->back() == place;
      if (!again && at(place) < at(place - 1)) out->push_back(place);
    }
  }

 protected:
  Bytes Transient(const StepQuery& step) const override {
    Bytes bytes = 0;
    for (const Chunk& chunk : step.chunks) {
      bytes = SatAdd(bytes, Of(chunk.n, chunk.kv_len));
    }
    if (step.decode_tokens > 0) {
      bytes =
          SatAdd(bytes, SatMul(step.decode_tokens, Of(1, step.decode_kv_len)));
    }
    return bytes;
  }

 private:
  std::optional<ModelShape> shape_;
};

// The width of the next chunk.
Tokens Width(const OmlxPrices& prices, const ChunkPolicy::Question& question,
             Tokens left, Tokens offered) {
  const MemoryLimits& limits = question.memory.limits;
  const Tokens start = question.request.request->prompt_tokens - left;
  Tokens n = std::min(left, offered);
  if (question.decode_stall > Duration::zero() && question.time != nullptr) {
    const Tokens within =
        FloorTo(question.time->WidestWithin(question.decode_stall, start, n),
                kStallGrid);
    n = std::min(n, std::max(kFloor, within));
  }
  const auto fits = [&](Tokens width, std::int64_t permille) {
    const Chunk chunk{.n = width, .kv_len = start + width};
    const Bytes predicted =
        Permille(prices.Total({.chunks = {&chunk, 1}}).Need(), kSafetyPermille);
    return SatAdd(limits.base, predicted) <= Permille(limits.ceiling, permille);
  };
  if (fits(n, kTargetPermille)) return n;
  const Bytes soft = Permille(limits.ceiling, kSoftPermille);
  const Bytes hard = Permille(limits.ceiling, kHardPermille);
  const bool upper = limits.base - soft > (hard - soft) / 2;
  const Tokens tier = std::min<Tokens>(n, upper ? 512 : 1024);
  Tokens width = FloorTo(n, kFloor);
  while (width > kFloor && !fits(width, kTargetPermille)) width -= kFloor;
  width = std::min(std::max(width, std::min(n, kFloor)),
                   std::max(std::min(n, kFloor), FloorTo(tier, kFloor)));
  // The guard before the step.
  return fits(width, kAdmissionPermille) ? width : 0;
}

}  // namespace

absl::StatusOr<SchedulerOptions> MakeOmlx(const SchedulerOptions& base,
                                          const RivalFacts& facts) {
  SchedulerOptions options = base;
  const Bytes ceiling = base.memory.ceiling;
  const Bytes kept = facts.activation_bytes.value_or(
      ceiling - Permille(ceiling, kAdmissionPermille));
  options.memory.headroom = 0;
  TG_RETURN_IF_ERROR(
      KeepBack("omlx", std::max(kept, base.memory.headroom), &options));
  const auto prices = std::make_shared<OmlxPrices>(base.estimator, facts.shape);
  options.estimator = prices;
  const std::int64_t sequences = Or(facts.sequences, kSequences);
  options.step = {.sequences = 1,
                  .decode = StepShape::Decode::kBetween,
                  .decodes = sequences};
  options.running_max = sequences;
  options.custom_chunk = std::make_shared<RuleChunk>(
      "omlx", Or(facts.step_tokens, kStep),
      [prices](const ChunkPolicy::Question& question, Tokens left,
               Tokens offered) {
        return Width(*prices, question, left, offered);
      });
  options.custom_admission = std::make_shared<RuleAdmission>(
      "omlx",
      [prices](
          const AdmissionPolicy::Question& question) -> RuleAdmission::Need {
        const RequestView& view = question.request;
        return {.free = SatAdd(GrowthTo(*prices, view, 0),
                               prices->Of(std::min(kFloor, Left(view)),
                                          view.request->prompt_tokens))};
      });
  options.custom_order = RunningFirst();
  options.custom_pressure = std::make_shared<RulePressure>("omlx", LastFirst);
  options.ladder = {"pool", "cache", "model"};
  return options;
}

}  // namespace tidegate::internal
