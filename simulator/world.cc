// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/world.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "estimators/text.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// Any span that is taken for "past every sliding window", and wide enough that
// the rounding of fractional element sizes is nothing per token.
constexpr Tokens kFar = Tokens{1} << 24;
constexpr Tokens kSlopeSpan = Tokens{1} << 16;

// Resident bytes of one more token, once every window is full.
Bytes SlopeOf(const Estimator& truth) {
  const Bytes far = truth.SequenceBytes(kFar, 1);
  return (truth.SequenceBytes(kFar + kSlopeSpan, 1) - far) / kSlopeSpan;
}

Duration OfSeconds(double seconds) {
  // Longer than any simulation: 146 years, so that sums stay in range.
  constexpr double kMax = 4.6e18;
  return Duration(std::llround(std::min(seconds * 1e9, kMax)));
}

bool Positive(double value) { return std::isfinite(value) && value > 0; }

}  // namespace

absl::Status ValidateWorld(const WorldOptions& options) {
  const auto check = [](bool good, std::string_view name,
                        std::string_view expected) {
    if (good) return absl::OkStatus();
    return InvalidArgument("world.", name, ": expected ", expected);
  };
  TG_RETURN_IF_ERROR(check(Positive(options.tokens_per_s), "tokens_per_s",
                           "a number above 0"));
  TG_RETURN_IF_ERROR(check(Positive(options.decode_tokens_per_s),
                           "decode_tokens_per_s", "a number above 0"));
  TG_RETURN_IF_ERROR(check(
      std::isfinite(options.chunk_overhead_s) && options.chunk_overhead_s >= 0,
      "chunk_overhead_s", "a number of at least 0"));
  struct Count {
    std::string_view name;
    std::int64_t value;
  };
  for (const Count& count :
       {Count{"q_heads", options.q_heads}, Count{"head_dim", options.head_dim},
        Count{"score_millibytes", options.score_millibytes},
        Count{"fixed_bytes", options.fixed_bytes},
        Count{"per_token_bytes", options.per_token_bytes},
        Count{"kv_bytes_per_token", options.kv_bytes_per_token.value_or(0)},
        Count{"resident_extra_per_token", options.resident_extra_per_token}}) {
    TG_RETURN_IF_ERROR(
        check(count.value >= 0, count.name, "an integer of at least 0"));
  }
  TG_RETURN_IF_ERROR(check(options.compute_bytes >= 1, "compute_bytes",
                           "an integer of at least 1"));
  return check(options.tile >= 1, "tile", "an integer of at least 1");
}

World::World(WorldSetup setup) : setup_(std::move(setup)) {
  TG_CHECK(setup_.options.truth != nullptr);
  const Estimator& truth = *setup_.options.truth;
  const Bytes slope =
      SatAdd(setup_.options.kv_bytes_per_token.value_or(SlopeOf(truth)),
             setup_.options.resident_extra_per_token);
  // An engine that allocates the whole sequence at its start decodes into that.
  token_bytes_ =
      !setup_.options.kv_bytes_per_token.has_value() && truth.KvPreallocated()
          ? setup_.options.resident_extra_per_token
          : slope;
  if (setup_.cache.has_value() && setup_.cache->capacity != 0) {
    cache_.emplace(setup_.cache->block, SatMul(setup_.cache->block, slope),
                   setup_.cache->capacity);
  }
  NotePeak();
}

WorldAttention World::RouteOf(const Chunk& chunk) const {
  const WorldAttention attention = setup_.options.attention;
  if (attention != WorldAttention::kCatalog) return attention;
  std::string kernel;
  if (setup_.routes.has_value()) {
    kernel = setup_.routes->Find(chunk.n, chunk.kv_len, chunk.mask).kernel;
  } else {
    const absl::StatusOr<Price> price =
        setup_.options.truth->Explain({.chunks = {&chunk, 1}});
    if (price.ok()) kernel = price->route;
  }
  const auto has = [&](std::string_view word) {
    return kernel.find(word) != std::string::npos;
  };
  if (has("tiled")) return WorldAttention::kTiled;
  // torch names its kernels that write the scores out "math" and "eager". A
  // call that no kernel takes is not run for less than that.
  if (has("unfused") || has("math") || has("eager") || has("unsupported") ||
      kernel.empty()) {
    return WorldAttention::kUnfused;
  }
  return WorldAttention::kFused;
}

World::Need World::AttentionOf(const Chunk& chunk) const {
  const WorldOptions& options = setup_.options;
  const WorldAttention route = RouteOf(chunk);
  const Bytes output = SatMul(options.q_heads, chunk.n, options.head_dim, 4);
  if (route == WorldAttention::kFused) return {output, output};
  std::int64_t millibytes = options.score_millibytes;
  if (millibytes == 0) {
    millibytes = 1000 * (chunk.mask == MaskKind::kArray
                             ? std::max<std::int64_t>(options.compute_bytes, 4)
                             : options.compute_bytes);
  }
  const Tokens keys = setup_.window == 0
                          ? chunk.kv_len
                          : std::min(chunk.kv_len, setup_.window - 1 + chunk.n);
  const Tokens rows = route == WorldAttention::kTiled
                          ? std::min(chunk.n, options.tile)
                          : chunk.n;
  // In 128 bits: scores in thousandths of a byte pass 2^63 for long prompts.
  const auto scores =
      static_cast<__int128>(SatMul(options.q_heads, rows, keys)) * millibytes /
      1000;
  const Bytes score_bytes =
      static_cast<Bytes>(std::min<__int128>(scores, kBytesMax));
  return {SatAdd(score_bytes, output), score_bytes};
}

World::Need World::NeedOf(std::span<const Chunk> chunks,
                          std::span<const Tokens> decodes) const {
  const WorldOptions& options = setup_.options;
  Need need;
  const auto decode_tokens = static_cast<Tokens>(decodes.size());
  Tokens tokens = decode_tokens;
  for (const Chunk& chunk : chunks) tokens += chunk.n;
  const Tokens longest =
      decodes.empty() ? 0 : *std::max_element(decodes.begin(), decodes.end());
  if (options.attention == WorldAttention::kEstimator) {
    const PriceTotals price =
        options.truth->Total({.chunks = chunks,
                              .decode_tokens = decode_tokens,
                              .decode_kv_len = longest});
    need = {price.transient_bytes, price.largest_allocation_bytes};
  } else {
    for (const Chunk& chunk : chunks) {
      const Need attention = AttentionOf(chunk);
      need.transient = SatAdd(need.transient, attention.transient);
      need.largest_allocation =
          std::max(need.largest_allocation, attention.largest_allocation);
    }
    if (!decodes.empty()) {
      const Need attention = AttentionOf({.n = 1, .kv_len = longest});
      need.transient =
          SatAdd(need.transient, SatMul(decode_tokens, attention.transient));
    }
  }
  need.transient = SatAdd(need.transient, options.fixed_bytes,
                          SatMul(options.per_token_bytes, tokens));
  return need;
}

Bytes World::GrowthOf(const Chunk& chunk) const {
  const WorldOptions& options = setup_.options;
  if (options.kv_bytes_per_token.has_value()) {
    return SatMul(chunk.n, token_bytes_);
  }
  return SatAdd(options.truth->Total({.chunks = {&chunk, 1}}).resident_bytes,
                SatMul(chunk.n, options.resident_extra_per_token));
}

World::Step World::Start(std::span<const Chunk> chunks,
                         std::span<const Tokens> decodes) {
  Step step;
  Tokens tokens = 0;
  Bytes growth = 0;
  for (const Chunk& chunk : chunks) {
    step.growth.push_back(GrowthOf(chunk));
    growth = SatAdd(growth, step.growth.back());
    tokens += chunk.n;
  }
  step.decode_growth = DecodeBytes(static_cast<Tokens>(decodes.size()));
  growth = SatAdd(growth, step.decode_growth);
  const Need need = NeedOf(chunks, decodes);
  step.transient = need.transient;
  if (!chunks.empty()) {
    step.took =
        OfSeconds(setup_.options.chunk_overhead_s) + PrefillTime(tokens);
  }
  // Decode tokens wait for the weights, chunks for the arithmetic.
  if (!decodes.empty()) step.took = std::max(step.took, DecodeTime(1));
  // What the pool holds already is used again, not added.
  const Bytes reused = std::min(pool_ - running_pool_, need.transient);
  const Bytes added = SatAdd(growth, need.transient - reused);
  step.peak = SatAdd(Live(), running_, added);
  step.fits = step.peak <= setup_.ceiling &&
              (!setup_.max_allocation.has_value() ||
               need.largest_allocation <= *setup_.max_allocation);
  if (!step.fits) return step;
  step.added = added;
  step.reused = reused;
  running_ = SatAdd(running_, added);
  running_pool_ += reused;
  FitCache();
  step.device_peak = SatAdd(DeviceBytes(), running_);
  peak_ = std::max(peak_, step.device_peak);
  return step;
}

void World::End(const Step& step) {
  TG_CHECK(step.fits);
  running_ -= step.added;
  running_pool_ -= step.reused;
  TG_CHECK(running_ >= 0 && running_pool_ >= 0);
  for (const Bytes bytes : step.growth) resident_ += bytes;
  resident_ += step.decode_growth;
  if (PoolKeeps()) {
    pool_ = std::max(pool_, SatAdd(running_pool_, step.transient));
  }
  FitCache();
}

Bytes World::Live() const {
  return SatAdd(std::max<Bytes>(setup_.base - reclaimed_, 0), resident_, pool_,
                cache_ ? cache_->pinned_bytes() : 0);
}

Bytes World::DeviceBytes() const {
  return SatAdd(Live(), cache_ ? cache_->unpinned_bytes() : 0);
}

void World::AddResident(Bytes bytes) {
  resident_ += bytes;
  TG_CHECK(resident_ >= 0);
  if (bytes > 0) FitCache();
}

void World::NotePeak() { peak_ = std::max(peak_, DeviceBytes()); }

void World::FitCache() {
  if (!cache_) return;
  cache_->ShrinkUnpinned(setup_.ceiling - SatAdd(Live(), running_));
}

Bytes World::DecodeBytes(Tokens tokens) const {
  return SatMul(tokens, token_bytes_);
}

Bytes World::AdmissionBytes(Tokens tokens, Tokens chunk) const {
  const WorldOptions& options = setup_.options;
  if (options.kv_bytes_per_token.has_value() ||
      !options.truth->KvPreallocated()) {
    return 0;
  }
  return options.truth->SequenceBytes(tokens, chunk);
}

Duration World::DecodeTime(Tokens tokens) const {
  return OfSeconds(static_cast<double>(tokens) /
                   setup_.options.decode_tokens_per_s);
}

Tokens World::DecodedAfter(Duration time) const {
  return static_cast<Tokens>(static_cast<double>(time.count()) * 1e-9 *
                             setup_.options.decode_tokens_per_s);
}

Duration World::PrefillTime(Tokens tokens) const {
  return OfSeconds(static_cast<double>(tokens) / setup_.options.tokens_per_s);
}

void World::SetBase(Bytes base) {
  setup_.base = base;
  FitCache();
}

void World::SetCeiling(Bytes ceiling) {
  setup_.ceiling = ceiling;
  FitCache();
}

std::vector<std::string> World::ReclaimableKinds() const {
  std::vector<std::string> kinds;
  for (const ReclaimablePart& part : setup_.reclaimables) {
    kinds.push_back(part.kind);
  }
  if (PoolKeeps() &&
      std::find(kinds.begin(), kinds.end(), "pool") == kinds.end()) {
    kinds.push_back("pool");
  }
  return kinds;
}

Bytes World::ReclaimableBytes(std::string_view kind) const {
  Bytes bytes = 0;
  for (const ReclaimablePart& part : setup_.reclaimables) {
    if (part.kind == kind) bytes += part.bytes;
  }
  // What a running step uses of the pool cannot be freed under it.
  if (kind == "pool") bytes += pool_ - running_pool_;
  return bytes;
}

Duration World::ReclaimLag(std::string_view kind) const {
  for (const ReclaimablePart& part : setup_.reclaimables) {
    if (part.kind == kind) return part.lag;
  }
  return Duration{};
}

Bytes World::Reclaim(std::string_view kind, Bytes bytes) {
  const Bytes asked = std::max<Bytes>(bytes, 0);
  Bytes left = asked;
  for (ReclaimablePart& part : setup_.reclaimables) {
    if (part.kind != kind) continue;
    const Bytes freed = std::min(left, part.bytes);
    part.bytes -= freed;
    reclaimed_ += freed;
    left -= freed;
  }
  if (kind == "pool") {
    const Bytes freed = std::min(left, pool_ - running_pool_);
    pool_ -= freed;
    left -= freed;
  }
  return asked - left;
}

}  // namespace tidegate::internal
