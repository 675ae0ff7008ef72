// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/llamacpp_law.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace tidegate::internal {
namespace {

constexpr ElementSize kQ8{65536 * 34 / 32};
constexpr Bytes kSlack = 2 << 20;

struct Model {
  std::string type = "llama";
  int layers = 4;
  std::int64_t hidden = 4096;
  std::int64_t ffn = 14336;
  std::int64_t q_heads = 32;
  std::int64_t kv_heads = 8;
  std::int64_t head_dim = 128;
  std::int64_t vocab = 1000;
  Tokens window = 0;  // layers slide but for each `period`-th
  int period = 6;
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
  ElementSize kv{};
};

ModelShape ShapeOf(const Model& model) {
  ModelShape shape;
  shape.model_type = model.type;
  shape.hidden = model.hidden;
  shape.vocab = model.vocab;
  shape.kv_element = model.kv;
  Mixer mixer{.kind = MixerKind::kFull,
              .q_heads = model.q_heads,
              .kv_heads = model.kv_heads,
              .head_dim = model.head_dim,
              .head_dim_v = model.head_dim};
  mixer.qk_norm =
      model.type.starts_with("qwen3") || model.type.starts_with("gemma3");
  mixer.softcap = model.type == "gemma2";
  mixer.bias = model.type == "gpt_oss" || model.type == "qwen2";
  shape.mixers = {mixer};
  if (model.window > 0) {
    mixer.kind = MixerKind::kSliding;
    mixer.window = model.window;
    shape.mixers.push_back(mixer);
  }
  shape.feed_forwards = {{.kind = model.experts > 0 ? FeedForwardKind::kMoe
                                                    : FeedForwardKind::kDense,
                          .intermediate = model.ffn,
                          .experts = model.experts,
                          .top_k = model.top_k}};
  for (int i = 0; i < model.layers; ++i) {
    const bool full = model.window == 0 || i % model.period == model.period - 1;
    shape.layers.push_back({.mixer = full ? 0 : 1, .feed_forward = 0});
  }
  return shape;
}

PriceTotals PriceOf(const LlamaCppLaw& law, Chunk chunk, Tokens rows = 1) {
  const StepQuery step{.chunks = {&chunk, 1}, .logits_rows = rows};
  TotalsSink sink;
  law.Emit(step, sink);
  return sink.Totals(law.Resident(step));
}

// Rows of the measured table: llama.cpp as vendored by whisper.cpp@4834a2327,
// CPU backend, two threads.
struct Golden {
  std::string name;
  Model model;
  bool flash;
  Tokens n_ctx;
  Tokens n_ubatch;
  Tokens rows;
  Bytes compute;
  Bytes kv;
  Bytes scratch_2t;
};

std::vector<Golden> Measured() {
  const Model llama8b;
  const Model llama1b_v128k{
      .hidden = 2048, .ffn = 8192, .head_dim = 64, .vocab = 128256};
  const Model wide{
      .type = "qwen3", .layers = 2, .hidden = 512, .ffn = 1024, .kv_heads = 2};
  Model wide_q8 = wide;
  wide_q8.kv = kQ8;
  const Model moe{.type = "qwen3_moe",
                  .layers = 2,
                  .hidden = 2048,
                  .ffn = 768,
                  .kv_heads = 4,
                  .experts = 128,
                  .top_k = 8};
  const Model gemma12b{.type = "gemma3_text",
                       .layers = 6,
                       .hidden = 3840,
                       .ffn = 15360,
                       .q_heads = 16,
                       .head_dim = 256,
                       .window = 1024};
  Model gemma12b_q8 = gemma12b;
  gemma12b_q8.kv = kQ8;
  const Model gemma1b{.type = "gemma3_text",
                      .layers = 6,
                      .hidden = 1152,
                      .ffn = 6912,
                      .q_heads = 4,
                      .kv_heads = 1,
                      .head_dim = 256,
                      .vocab = 262144,
                      .window = 512};
  return {
      {"llama unfused", llama8b, false, 32768, 512, 1, 2260738080, 536870912,
       1073741952},
      {"llama flash", llama8b, true, 131072, 2048, 1, 1023459360, 2147483648,
       58720384},
      {"llama flash, all rows", llama1b_v128k, true, 131072, 512, 512,
       271058944, 1073741824, 8388736},
      {"narrow ffn flash", wide, true, 16384, 1024, 1, 86007840, 33554432,
       8388736},
      {"narrow ffn q8_0", wide_q8, true, 32768, 512, 1, 59863072, 35651584,
       4194432},
      {"experts flash", moe, true, 32768, 2048, 1, 503365664, 134217728,
       41952472},
      {"experts unfused, all rows", moe, false, 8192, 512, 512, 585115648,
       33554432, 268435584},
      {"sliding unfused", gemma12b, false, 32768, 2048, 1, 4785750048,
       394264576, 2147483776},
      {"sliding flash, all rows", gemma1b, true, 65536, 1024, 1024, 1083183104,
       74973184, 14155904},
      {"sliding q8_0", gemma12b_q8, true, 32768, 512, 1, 162058272, 176029696,
       15728768},
  };
}

TEST(LlamaCppLawTest, CoversMeasuredComputeBuffersClosely) {
  for (const Golden& row : Measured()) {
    const LlamaCppLaw law(ShapeOf(row.model), {.flash_attention = row.flash});
    const PriceTotals price =
        PriceOf(law, {.n = row.n_ubatch, .kv_len = row.n_ctx}, row.rows);
    EXPECT_GE(price.transient_bytes, row.compute) << row.name;
    EXPECT_LE(price.transient_bytes, row.compute + row.compute / 100)
        << row.name;
    EXPECT_EQ(price.largest_allocation_bytes, price.transient_bytes)
        << row.name;
    EXPECT_EQ(price.resident_bytes, 0) << row.name;
  }
}

TEST(LlamaCppLawTest, StatesMeasuredCacheAndScratchExactly) {
  for (const Golden& row : Measured()) {
    const LlamaCppLaw law(ShapeOf(row.model), {.flash_attention = row.flash});
    EXPECT_EQ(law.KvBytes(row.n_ctx, row.n_ubatch), row.kv) << row.name;
    EXPECT_EQ(law.ScratchBytes(row.n_ctx, row.n_ubatch, row.rows, 2),
              row.scratch_2t)
        << row.name;
  }
}

TEST(LlamaCppLawTest, AddsScratchBesideTheBufferWhenAsked) {
  const ModelShape shape = ShapeOf({});
  const LlamaCppLaw plain(shape, {.flash_attention = false});
  const LlamaCppLaw with(shape,
                         {.flash_attention = false, .scratch_threads = 2});
  const Chunk chunk{.n = 512, .kv_len = 32768};
  const PriceTotals a = PriceOf(plain, chunk);
  const PriceTotals b = PriceOf(with, chunk);
  EXPECT_EQ(b.transient_bytes - a.transient_bytes, 1073741952);
  EXPECT_EQ(a.largest_allocation_bytes, b.largest_allocation_bytes);
}

TEST(LlamaCppLawTest, FlashHoldsItsMaskAtHalfTheWidthOfUnfused) {
  const Model model;
  const LlamaCppLaw law(ShapeOf(model), {.flash_attention = true});
  const Bytes near =
      PriceOf(law, {.n = 2048, .kv_len = 131072}).transient_bytes;
  const Bytes far = PriceOf(law, {.n = 2048, .kv_len = 262144}).transient_bytes;
  EXPECT_EQ(far - near, 2 * 2048 * 131072LL);
}

TEST(LlamaCppLawTest, NamesGraphsThatWereNotCheckedAsAssumed) {
  EXPECT_FALSE(LlamaCppLaw(ShapeOf({}), {}).Assumed());
  EXPECT_TRUE(LlamaCppLaw(ShapeOf({.type = "gpt_neox"}), {}).Assumed());
  ModelShape latent = ShapeOf({});
  latent.mixers[0].kind = MixerKind::kLatent;
  EXPECT_TRUE(LlamaCppLaw(latent, {}).Assumed());
}

TEST(LlamaCppLawTest, IgnoresWindowsThatLlamaCppIgnores) {
  Model model{.type = "mistral"};
  const ModelShape full = ShapeOf(model);
  model.window = 4096;
  model.period = 100;
  const LlamaCppLaw a(full, {});
  const LlamaCppLaw b(ShapeOf(model), {});
  const Chunk chunk{.n = 1024, .kv_len = 65536};
  EXPECT_EQ(PriceOf(a, chunk), PriceOf(b, chunk));
  EXPECT_EQ(a.KvBytes(65536, 1024), b.KvBytes(65536, 1024));
}

TEST(LlamaCppLawTest, SaturatesAtTheLongestSequence) {
  Model model;
  model.hidden = std::int64_t{1} << 40;
  for (Tokens window : {Tokens{0}, Tokens{1024}}) {
    model.window = window;
    const LlamaCppLaw law(ShapeOf(model), {});
    const PriceTotals price =
        PriceOf(law, {.n = kTokensMax, .kv_len = kTokensMax}, kTokensMax);
    EXPECT_EQ(price.transient_bytes, kBytesMax);
    EXPECT_GT(law.KvBytes(kTokensMax, kTokensMax), 0);
  }
}

TEST(LlamaCppLawTest, GridHoldsPowersOfTwoAndPaddedLengthsUpTo8192) {
  for (Tokens length = 256; length <= 8192; length += 256) {
    EXPECT_EQ(LlamaGrid::Up(length), length);
    EXPECT_EQ(LlamaGrid::Up(length - 255), length);
  }
  for (Tokens length = 8192; length < kTokensMax; length *= 2) {
    EXPECT_EQ(LlamaGrid::Up(length), length);
    EXPECT_EQ(LlamaGrid::Up(length + 1), length + length / 16);
    EXPECT_EQ(LlamaGrid::Down(length + 1), length);
  }
}

class RandomShapes {
 public:
  explicit RandomShapes(std::uint64_t seed) : random_(seed) {}

  std::int64_t Pick(std::initializer_list<std::int64_t> of) {
    return *(of.begin() + Below(static_cast<std::int64_t>(of.size())));
  }
  std::int64_t Below(std::int64_t limit) {
    return static_cast<std::int64_t>(random_() %
                                     static_cast<std::uint64_t>(limit));
  }
  Model Next() {
    Model model;
    model.type = std::vector<std::string>{
        "llama", "qwen2",  "qwen3",   "qwen3_moe", "gemma2",
        "phi3",  "gemma3", "gpt_oss", "mixtral"}[Below(9)];
    model.layers = static_cast<int>(2 + Below(30));
    model.hidden = Pick({512, 896, 2048, 2880, 4096, 5120});
    model.ffn = Pick({512, 1024, 2880, 8192, 14336});
    model.kv_heads = Pick({1, 2, 4, 8});
    model.q_heads = model.kv_heads * Pick({1, 2, 5, 8});
    model.head_dim = Pick({64, 80, 96, 128, 256});
    model.vocab = Pick({1000, 32000, 151936, 262144});
    if (model.type.starts_with("gemma") || model.type == "gpt_oss") {
      model.window = Pick({128, 512, 4096});
      model.period = static_cast<int>(Pick({2, 6}));
    }
    if (model.type == "qwen3_moe" || model.type == "mixtral" ||
        model.type == "gpt_oss") {
      model.experts = Pick({8, 32, 128});
      model.top_k = Pick({1, 2, 4, 8});
    }
    if (Below(3) == 0) model.kv = kQ8;
    return model;
  }

 private:
  std::mt19937_64 random_;
};

// Between two stated breakpoints a price never falls.
TEST(LlamaCppLawPropertyTest, FallsOnlyAtItsBreakpoints) {
  RandomShapes random(20260824);
  for (int round = 0; round < 60; ++round) {
    const Model model = random.Next();
    const LlamaCppLaw law(ShapeOf(model),
                          {.flash_attention = random.Below(2) == 0});
    const Tokens fixed = 1 + random.Below(20000);
    for (Axis axis : {Axis::kN, Axis::kKvLen, Axis::kChunk}) {
      const Tokens lo = axis == Axis::kKvLen ? fixed : 1;
      const Tokens hi = axis == Axis::kN ? fixed : lo + 40000;
      std::vector<Tokens> breaks;
      law.Breakpoints(axis, fixed, lo, hi, MaskKind::kCausal, &breaks);
      ASSERT_TRUE(std::is_sorted(breaks.begin(), breaks.end()));
      Bytes before = 0;
      Tokens previous = lo;
      for (Tokens v = lo; v <= hi; v += 1 + random.Below(300)) {
        const Chunk chunk = axis == Axis::kN ? Chunk{.n = v, .kv_len = fixed}
                            : axis == Axis::kKvLen
                                ? Chunk{.n = fixed, .kv_len = v}
                                : Chunk{.n = v, .kv_len = fixed + v};
        const Bytes now = PriceOf(law, chunk).transient_bytes;
        const auto crossed =
            std::upper_bound(breaks.begin(), breaks.end(), previous);
        if (crossed == breaks.end() || *crossed > v) {
          ASSERT_GE(now, before)
              << model.type << " v=" << v << " axis " << static_cast<int>(axis);
        }
        before = now;
        previous = v;
      }
    }
  }
}

TEST(LlamaCppLawPropertyTest, TermsSumToTotalsAndCoverWhatMustBeAlive) {
  RandomShapes random(7);
  for (int round = 0; round < 300; ++round) {
    const Model model = random.Next();
    const bool flash = random.Below(2) == 0;
    const LlamaCppLaw law(ShapeOf(model), {.flash_attention = flash});
    const Tokens n = 1 + random.Below(4096);
    const Chunk chunk{.n = n, .kv_len = n + random.Below(200000)};
    const Tokens rows = random.Below(3) == 0 ? n : 1 + random.Below(n);
    const StepQuery step{.chunks = {&chunk, 1}, .logits_rows = rows};
    TermsSink terms;
    law.Emit(step, terms);
    const Price price = terms.Take(law.Resident(step));
    EXPECT_EQ(static_cast<const PriceTotals&>(price),
              PriceOf(law, chunk, rows));
    Bytes largest = 0;
    for (const Part& part : price.parts) {
      Bytes sum = 0;
      for (const Term& term : part.terms) sum += term.bytes;
      EXPECT_EQ(sum, part.bytes) << part.name;
      largest = std::max(largest, part.bytes);
    }
    EXPECT_EQ(largest, price.transient_bytes);
    // The mask and, unfused, one layer's scores are alive together.
    const Bytes scores = flash ? 0 : 4 * model.q_heads;
    if (model.window == 0) {
      EXPECT_GE(price.transient_bytes + kSlack,
                n * chunk.kv_len * ((flash ? 2 : 4) + scores));
    }
    EXPECT_GE(price.transient_bytes + kSlack, 4 * rows * model.vocab);
  }
}

// The rotation of a quantised cache belongs to the cache: a layer whose head
// dim it does not divide may come first.
TEST(LlamaCppLawTest, LayersOfOtherHeadDimsShareARotatedCache) {
  Mixer plain{.q_heads = 8, .kv_heads = 2, .head_dim = 72, .head_dim_v = 72};
  Mixer rotated = plain;
  rotated.head_dim = rotated.head_dim_v = 128;
  ModelShape shape;
  shape.model_type = "llama";
  shape.hidden = 512;
  shape.vocab = 1000;
  shape.kv_element = ElementSize{34 * 65536 / 32};
  shape.mixers = {plain, rotated};
  shape.feed_forwards = {FeedForward{.intermediate = 1536}};
  shape.layers = {Layer{.mixer = 0}, Layer{.mixer = 1}};
  const LlamaCppLaw mixed(shape, {.flash_attention = true});
  shape.layers = {Layer{.mixer = 0}};
  const LlamaCppLaw alone(shape, {.flash_attention = true});
  const Chunk chunk{.n = 512, .kv_len = 8192};
  EXPECT_GT(PriceOf(mixed, chunk, 1).transient_bytes,
            PriceOf(alone, chunk, 1).transient_bytes);
}

// More rows of logits never cost less.
TEST(LlamaCppLawPropertyTest, GrowsWithTheRowsOfLogits) {
  RandomShapes random(11);
  for (int round = 0; round < 100; ++round) {
    const LlamaCppLaw law(ShapeOf(random.Next()), {.flash_attention = true});
    const Chunk chunk{.n = 1024, .kv_len = 1024 + random.Below(100000)};
    const Bytes some = PriceOf(law, chunk, 64).transient_bytes;
    EXPECT_LE(PriceOf(law, chunk, 1).transient_bytes, some);
    EXPECT_LE(some, PriceOf(law, chunk, 65).transient_bytes);
  }
}

}  // namespace
}  // namespace tidegate::internal
