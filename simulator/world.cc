// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/world.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "estimators/text.h"
#include "simulator/hidden_error.h"
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

// Longer than any simulation: 146 years, so that sums stay in range.
constexpr Duration kTimeMax{4'600'000'000'000'000'000};

Duration OfSeconds(double seconds) {
  constexpr auto kMax = static_cast<double>(kTimeMax.count());
  return Duration(std::llround(std::min(seconds * 1e9, kMax)));
}

// A reading that is older is no reading.
constexpr Duration kLagMax = std::chrono::hours(24);

// The device that all of World speaks of: the rank with the least room.
WorldSetup OfTightestRank(WorldSetup setup) {
  if (setup.ranks.empty()) return setup;
  const auto tightest =
      std::min_element(setup.ranks.begin(), setup.ranks.end(),
                       [](const RankLimits& a, const RankLimits& b) {
                         return a.ceiling - a.base < b.ceiling - b.base;
                       });
  setup.ceiling = tightest->ceiling;
  setup.base = tightest->base;
  return setup;
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
  TG_RETURN_IF_ERROR(
      check(options.tile >= 1, "tile", "an integer of at least 1"));
  struct Error {
    std::string_view name;
    const WorldError& error;
  };
  for (const Error& each : {Error{"time_error", options.time_error},
                            Error{"price_error", options.price_error}}) {
    TG_RETURN_IF_ERROR(
        check(Positive(each.error.factor), each.name, "a factor above 0"));
    TG_RETURN_IF_ERROR(check(each.error.spread >= 0 && each.error.spread < 1,
                             each.name, "a spread of at least 0 and below 1"));
  }
  TG_RETURN_IF_ERROR(check(
      options.reading_lag >= Duration::zero() && options.reading_lag <= kLagMax,
      "reading_lag", "a time from 0 to a day"));
  for (const double time : options.rank_times) {
    TG_RETURN_IF_ERROR(check(Positive(time), "rank_times", "factors above 0"));
  }
  Instant last = Instant::min();
  for (const TenantMemory& tenant : options.tenants) {
    TG_RETURN_IF_ERROR(check(tenant.at >= last && tenant.bytes >= 0, "tenants",
                             "moments in order and bytes of at least 0"));
    last = tenant.at;
  }
  return check(!options.allocator || !options.pool_keeps_transients,
               "allocator", "not both this and pool_keeps_transients");
}

World::World(WorldSetup setup)
    : setup_(OfTightestRank(std::move(setup))),
      reading_(setup_.options.reading_lag, setup_.base) {
  TG_CHECK(setup_.options.truth != nullptr);
  if (setup_.options.allocator) allocator_.emplace(*setup_.options.allocator);
  const Estimator& truth = *setup_.options.truth;
  const Bytes slope =
      SatAdd(setup_.options.kv_bytes_per_token.value_or(SlopeOf(truth)),
             setup_.options.resident_extra_per_token);
  // An engine that allocates the whole sequence at its start decodes into that.
  token_bytes_ =
      !setup_.options.kv_bytes_per_token.has_value() && truth.KvPreallocated()
          ? setup_.options.resident_extra_per_token
          : slope;
  if (setup_.kv_in_pool) {
    token_bytes_ = setup_.options.resident_extra_per_token;
  }
  if (setup_.cache.has_value() && setup_.cache->capacity != 0) {
    cache_.emplace(setup_.cache->block, SatMul(setup_.cache->block, slope),
                   setup_.cache->capacity);
  }
  BeginTenants();
  reading_ = LaggedReading(setup_.options.reading_lag, LiveNow());
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
                          std::span<const Tokens> decode_kv_lens,
                          const EncoderLoad& encoders) const {
  const WorldOptions& options = setup_.options;
  Need need;
  auto tokens = static_cast<Tokens>(decode_kv_lens.size());
  for (const Chunk& chunk : chunks) tokens += chunk.n;
  if (options.attention == WorldAttention::kEstimator) {
    StepQuery step{.chunks = chunks};
    if (!decode_kv_lens.empty()) {
      step.decode_tokens = static_cast<Tokens>(decode_kv_lens.size());
      step.decode_kv_len =
          *std::max_element(decode_kv_lens.begin(), decode_kv_lens.end());
    }
    const PriceTotals price = options.truth->Total(step);
    need = {price.transient_bytes, price.largest_allocation_bytes};
  } else {
    const auto add = [&](const Chunk& chunk) {
      const Need attention = AttentionOf(chunk);
      need.transient = SatAdd(need.transient, attention.transient);
      need.largest_allocation =
          std::max(need.largest_allocation, attention.largest_allocation);
    };
    for (const Chunk& chunk : chunks) add(chunk);
    for (const Tokens kv_len : decode_kv_lens) add({.n = 1, .kv_len = kv_len});
  }
  need.transient = SatAdd(need.transient, options.fixed_bytes,
                          SatMul(options.per_token_bytes, tokens));
  double factor = options.price_error.factor;
  if (options.price_error.spread != 0) {
    std::uint64_t shape = options.seed;
    for (const Chunk& chunk : chunks) {
      shape = MixHash(MixHash(shape, static_cast<std::uint64_t>(chunk.n)),
                      static_cast<std::uint64_t>(chunk.kv_len));
    }
    for (const Tokens kv_len : decode_kv_lens) {
      shape = MixHash(shape, static_cast<std::uint64_t>(kv_len));
    }
    factor = ErrorFactor(options.price_error, shape);
  }
  // What is kept is growth.
  const Bytes forward =
      SatAdd(encoders.outputs, ScaledBytes(need.transient, factor));
  return {std::max(encoders.peak, forward) - encoders.kept,
          ScaledBytes(need.largest_allocation, factor)};
}

Bytes World::GrowthOf(const Chunk& chunk) const {
  const WorldOptions& options = setup_.options;
  if (setup_.kv_in_pool || options.kv_bytes_per_token.has_value()) {
    return SatMul(chunk.n, token_bytes_);
  }
  return SatAdd(options.truth->Total({.chunks = {&chunk, 1}}).resident_bytes,
                SatMul(chunk.n, options.resident_extra_per_token));
}

std::optional<Bytes> World::TakeTransient(const Need& need, Bytes growth,
                                          Bytes* reused) {
  if (!allocator_) {
    // What the pool holds already is used again, not added.
    *reused = std::min(pool_ - running_pool_, need.transient);
    running_pool_ += *reused;
    return need.transient - *reused;
  }
  TG_CHECK(running_ == 0);
  const Bytes others = SatAdd(LiveNow() - pool_, growth);
  const bool taken = allocator_->Take(need.transient, need.largest_allocation,
                                      setup_.ceiling - others);
  // What it gave back on the way is gone from the pool.
  pool_ = std::min(pool_, allocator_->reserved());
  running_pool_ = pool_ - std::min(pool_, allocator_->Free());
  *reused = running_pool_;
  if (!taken) return std::nullopt;
  return allocator_->reserved() - pool_;
}

void World::Start(std::span<const Chunk> chunks,
                  std::span<const Tokens> decode_kv_lens,
                  const EncoderLoad& encoders, Step* into) {
  const WorldOptions& options = setup_.options;
  Step& step = *into;
  std::vector<Bytes> growths = std::move(step.growth);
  growths.clear();
  step = {.growth = std::move(growths)};
  Tokens tokens = 0;
  Bytes growth = 0;
  for (const Chunk& chunk : chunks) {
    step.growth.push_back(GrowthOf(chunk));
    growth = SatAdd(growth, step.growth.back());
    tokens += chunk.n;
  }
  if (encoders.kept > 0) {
    step.growth.front() = SatAdd(step.growth.front(), encoders.kept);
    growth = SatAdd(growth, encoders.kept);
  }
  step.decode_growth = DecodeBytes(static_cast<Tokens>(decode_kv_lens.size()));
  growth = SatAdd(growth, step.decode_growth);
  const Need need = NeedOf(chunks, decode_kv_lens, encoders);
  step.transient = need.transient;
  // A failure shows when the step was launched, whatever it would have taken.
  if (!chunks.empty()) {
    step.took = OfSeconds(options.chunk_overhead_s) + PrefillTime(tokens);
  }
  // Decode tokens wait for the weights, chunks for the arithmetic.
  if (!decode_kv_lens.empty()) step.took = std::max(step.took, DecodeTime(1));
  const std::optional<Bytes> transient =
      TakeTransient(need, growth, &step.reused);
  step.added = SatAdd(growth, transient.value_or(need.transient));
  step.peak = SatAdd(LiveNow(), running_, step.added);
  step.fits = transient.has_value() && step.peak <= setup_.ceiling &&
              (!setup_.max_allocation.has_value() ||
               need.largest_allocation <= *setup_.max_allocation);
  if (!step.fits) {
    running_pool_ -= step.reused;
    if (allocator_) {
      allocator_->Release();
      pool_ = allocator_->reserved();
    }
    return;
  }
  if (options.timer != nullptr) {
    const StepTime time =
        options.timer->Of({.chunks = chunks, .decode_kv_lens = decode_kv_lens});
    step.took = std::min(time.took, kTimeMax);
  }
  step.took += encoders.took;
  double factor =
      ErrorFactor(options.time_error, MixHash(options.seed, started_++));
  // Every rank waits for the slowest at each layer.
  if (!options.rank_times.empty()) {
    factor *=
        *std::max_element(options.rank_times.begin(), options.rank_times.end());
  }
  if (factor != 1) {
    step.took =
        OfSeconds(static_cast<double>(step.took.count()) * 1e-9 * factor);
  }
  running_ = SatAdd(running_, step.added);
  FitCache();
  step.device_peak = SatAdd(DeviceBytes(), running_);
  peak_ = std::max(peak_, step.device_peak);
}

void World::End(const Step& step) {
  TG_CHECK(step.fits);
  running_ -= step.added;
  running_pool_ -= step.reused;
  TG_CHECK(running_ >= 0 && running_pool_ >= 0);
  for (const Bytes bytes : step.growth) resident_ += bytes;
  resident_ += step.decode_growth;
  if (allocator_) {
    allocator_->Release();
    pool_ = allocator_->reserved();
  } else if (PoolKeeps()) {
    pool_ = std::max(pool_, SatAdd(running_pool_, step.transient));
  }
  FitCache();
}

void World::SetNow(Instant now) {
  TG_CHECK(now >= now_);
  if (now == now_) return;
  if (setup_.options.reading_lag > Duration::zero()) {
    reading_.Note(now_, LiveNow());
  }
  now_ = now;
  BeginTenants();
  FitCache();
}

std::optional<Instant> World::NextChange() const {
  std::optional<Instant> next;
  if (setup_.options.reading_lag > Duration::zero()) {
    reading_.Note(now_, LiveNow());
    reading_.At(now_);
    next = reading_.NextChange();
  }
  const std::vector<TenantMemory>& tenants = setup_.options.tenants;
  if (tenants_begun_ < tenants.size()) {
    const Instant at = tenants[tenants_begun_].at;
    if (!next || at < *next) next = at;
  }
  return next;
}

void World::BeginTenants() {
  const std::vector<TenantMemory>& tenants = setup_.options.tenants;
  while (tenants_begun_ < tenants.size() &&
         tenants[tenants_begun_].at <= now_) {
    ++tenants_begun_;
  }
}

Bytes World::TenantBytes() const {
  return tenants_begun_ == 0 ? 0
                             : setup_.options.tenants[tenants_begun_ - 1].bytes;
}

std::vector<Bytes> World::OfEachRank(Bytes bytes) const {
  if (setup_.ranks.empty()) return {bytes};
  std::vector<Bytes> each;
  for (const RankLimits& rank : setup_.ranks) {
    each.push_back(std::max<Bytes>(0, bytes + rank.base - setup_.base));
  }
  return each;
}

Bytes World::Live() const {
  if (setup_.options.reading_lag == Duration::zero()) return LiveNow();
  reading_.Note(now_, LiveNow());
  return reading_.At(now_);
}

Bytes World::LiveNow() const {
  return SatAdd(std::max<Bytes>(setup_.base - reclaimed_, 0), resident_, pool_,
                cache_ ? cache_->pinned_bytes() : 0, TenantBytes());
}

Bytes World::DeviceBytes() const {
  return SatAdd(LiveNow(), cache_ ? cache_->unpinned_bytes() : 0);
}

void World::AddResident(Bytes bytes) {
  resident_ += bytes;
  TG_CHECK(resident_ >= 0);
  if (bytes > 0) FitCache();
}

void World::NotePeak() { peak_ = std::max(peak_, DeviceBytes()); }

void World::FitCache() {
  if (!cache_) return;
  cache_->ShrinkUnpinned(setup_.ceiling - SatAdd(LiveNow(), running_));
}

Bytes World::DecodeBytes(Tokens tokens) const {
  return SatMul(tokens, token_bytes_);
}

Bytes World::AdmissionBytes(Tokens tokens, Tokens chunk) const {
  const WorldOptions& options = setup_.options;
  if (setup_.kv_in_pool || options.kv_bytes_per_token.has_value() ||
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
  if (setup_.options.timer != nullptr) {
    if (tokens == 0) return {};
    const Chunk chunk{.n = tokens, .kv_len = tokens};
    return std::min(setup_.options.timer->Of({.chunks = {&chunk, 1}}).took,
                    kTimeMax);
  }
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
    const Bytes freed = allocator_ ? allocator_->GiveBack(left)
                                   : std::min(left, pool_ - running_pool_);
    pool_ -= std::min(pool_, freed);
    left -= freed;
  }
  return asked - left;
}

}  // namespace tidegate::internal
