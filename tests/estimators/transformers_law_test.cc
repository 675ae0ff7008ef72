// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Golden numbers: rows of tests/data/h200/model_h200.csv, measured with
// bench/gpu/measure_model.py (torch 2.11.0+cu130, transformers 5.17.0, H200).

#include "estimators/transformers_law.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "tests/testing/matchers.h"
#include "tidegate/model_config.h"

namespace tidegate::internal {
namespace {

constexpr Bytes kMiB = Bytes{1} << 20;

std::string DataPath(const std::string& name) {
  return std::string(TIDEGATE_SOURCE_DIR) + "/tests/data/" + name;
}

ModelShape ShapeOf(const std::string& model) {
  absl::StatusOr<ModelConfig> config =
      LoadModelConfig(DataPath("h200/models/" + model + ".json"),
                      {.compute = ComputeType::kBf16});
  EXPECT_THAT(config, ::tidegate::testing::IsOk());
  return config.ok() ? config->shape : ModelShape{};
}

TransformersOptions OptionsOf(const std::string& attention,
                              const std::string& cache) {
  TransformersOptions options;
  options.attention = attention == "eager" ? TransformersAttention::kEager
                      : attention == "flash_lr"
                          ? TransformersAttention::kFlashLr
                          : TransformersAttention::kSdpa;
  options.preallocated_cache = cache == "prealloc";
  return options;
}

PriceTotals TotalOf(const TransformersLaw& law, Tokens n, Tokens kv_len) {
  const Chunk chunk{.n = n, .kv_len = kv_len};
  const StepQuery step{.chunks = {&chunk, 1}};
  TotalsSink sink;
  law.Emit(step, sink);
  return sink.Totals(law.Resident(step));
}

Price ExplainOf(const TransformersLaw& law, Tokens n, Tokens kv_len) {
  const Chunk chunk{.n = n, .kv_len = kv_len};
  const StepQuery step{.chunks = {&chunk, 1}};
  TermsSink sink;
  law.Emit(step, sink);
  return sink.Take(law.Resident(step));
}

Bytes TermOf(const Price& price, const std::string& part,
             const std::string& name) {
  for (const Part& p : price.parts) {
    if (p.name != part) continue;
    for (const Term& term : p.terms) {
      if (term.name == name) return term.bytes;
    }
  }
  return -1;
}

struct Row {
  std::string model, attention, cache;
  Tokens n = 0;
  Tokens kv_len = 0;
  Bytes measured = 0;
};

std::vector<Row> ReadRows() {
  std::ifstream file(DataPath("h200/model_h200.csv"));
  std::string line;
  std::map<std::string, int> column;
  std::vector<Row> rows;
  while (std::getline(file, line)) {
    std::vector<std::string> cells;
    std::stringstream in(line);
    for (std::string cell; std::getline(in, cell, ',');) cells.push_back(cell);
    if (column.empty()) {
      for (int i = 0; i < static_cast<int>(cells.size()); ++i) {
        column[cells[i]] = i;
      }
      continue;
    }
    rows.push_back({cells[column["model"]], cells[column["attn"]],
                    cells[column["cache"]], std::stoll(cells[column["n"]]),
                    std::stoll(cells[column["L"]]),
                    std::stoll(cells[column["transient_bytes"]])});
  }
  return rows;
}

TEST(TransformersLawTest, MeasuredRowsAreCovered) {
  const std::vector<Row> rows = ReadRows();
  ASSERT_GT(rows.size(), 600);
  std::map<std::string, ModelShape> shapes;
  int under = 0;
  std::vector<double> ratios;
  for (const Row& row : rows) {
    if (!shapes.contains(row.model)) shapes[row.model] = ShapeOf(row.model);
    const TransformersLaw law(shapes[row.model],
                              OptionsOf(row.attention, row.cache));
    const PriceTotals total = TotalOf(law, row.n, row.kv_len);
    const Bytes price = total.transient_bytes + total.resident_bytes;
    if (price + 2 * kMiB < row.measured) ++under;
    if (row.measured >= 16 * kMiB) {
      ratios.push_back(static_cast<double>(price) / row.measured);
    }
  }
  std::sort(ratios.begin(), ratios.end());
  EXPECT_LE(under, static_cast<int>(rows.size()) / 200);
  EXPECT_LE(ratios[ratios.size() * 95 / 100], 1.10);
  EXPECT_LE(ratios.back(), 1.30);
  EXPECT_GE(ratios.front(), 0.97);
}

// llama3_8b, sdpa, dynamic, n 1024, L 8192: 210,249,216 bytes allocated.
TEST(TransformersLawTest, LlamaSdpaRowIsExact) {
  const ModelShape shape = ShapeOf("llama3_8b");
  const TransformersLaw law(shape, OptionsOf("sdpa", "dynamic"));
  const PriceTotals total = TotalOf(law, 1024, 8192);
  EXPECT_NEAR(total.transient_bytes + total.resident_bytes, 210'249'216,
              4 * 1024);
  EXPECT_EQ(total.resident_bytes, Bytes{2} * 1024 * 2 * 8 * 128 * 2);
  const Price price = ExplainOf(law, 1024, 8192);
  EXPECT_EQ(price.binding_part, "attention.full.call");
  EXPECT_EQ(TermOf(price, "attention.full.call", "kv_repeat"),
            Bytes{2} * 2 * 32 * 8192 * 128);
  EXPECT_EQ(TermOf(price, "attention.full.call", "mask"), 1024 * 8192);
  EXPECT_EQ(TermOf(price, "attention.full.call", "mask_convert"),
            2 * 1024 * 8192);
}

// llama3_8b, eager: 10 bytes a score and a bf16 mask; 2,877,825,024 measured.
TEST(TransformersLawTest, EagerHoldsTenBytesAScore) {
  const ModelShape shape = ShapeOf("llama3_8b");
  const TransformersLaw law(shape, OptionsOf("eager", "dynamic"));
  const Price price = ExplainOf(law, 1024, 8192);
  EXPECT_EQ(TermOf(price, "attention.full.call", "scores") +
                TermOf(price, "attention.full.call", "softmax"),
            Bytes{10} * 32 * 1024 * 8192);
  EXPECT_EQ(TermOf(price, "mlp", "attention_weights"),
            Bytes{2} * 32 * 1024 * 8192);
  EXPECT_NEAR(price.transient_bytes + price.resident_bytes, 2'877'825'024,
              kMiB);
}

// With flash and a buffer the MLP binds, and no length enters: 122,167,296.
TEST(TransformersLawTest, FlashWithBufferDoesNotGrowWithLength) {
  const ModelShape shape = ShapeOf("llama3_8b");
  const TransformersLaw law(shape, OptionsOf("flash_lr", "prealloc"));
  const PriceTotals near = TotalOf(law, 1024, 8192);
  EXPECT_EQ(near.resident_bytes, 0);
  EXPECT_NEAR(near.transient_bytes, 122'167'296, kMiB);
  EXPECT_EQ(TotalOf(law, 1024, 131072).transient_bytes, near.transient_bytes);
}

TEST(TransformersLawTest, FirstChunkNeedsNoMaskAndNoRepeatedHeads) {
  const ModelShape shape = ShapeOf("llama3_8b");
  const TransformersLaw law(shape, OptionsOf("sdpa", "dynamic"));
  EXPECT_LT(TotalOf(law, 4096, 4096).transient_bytes,
            TotalOf(law, 4095, 4096).transient_bytes);
  std::vector<Tokens> breakpoints;
  law.Breakpoints(Axis::kN, 4096, 1, 8192, MaskKind::kCausal, &breakpoints);
  EXPECT_THAT(breakpoints, ::testing::ElementsAre(4096));
}

TEST(TransformersLawTest, LatentAttentionExpandsEveryKeyAtEveryChunk) {
  const ModelShape shape = ShapeOf("deepseek_v3");
  const TransformersLaw law(shape, OptionsOf("sdpa", "dynamic"));
  const Price price = ExplainOf(law, 128, 131072);
  // 128 heads: keys of 192, and keys and values of 128 out of the latents.
  EXPECT_EQ(TermOf(price, "attention.latent.call", "k_expand"),
            Bytes{2} * 128 * 192 * 131072);
  EXPECT_EQ(TermOf(price, "attention.latent.call", "kv_expand"),
            Bytes{2} * 128 * 256 * 131072);
  EXPECT_GE(price.fixed_in_n_bytes, Bytes{2} * 128 * 448 * 131072);
}

TEST(TransformersLawTest, SlidingLayersSeeTheWindowAndTheChunk) {
  const ModelShape shape = ShapeOf("gemma3_12b");
  const TransformersLaw law(shape, OptionsOf("sdpa", "dynamic"));
  const Price price = ExplainOf(law, 512, 131072);
  EXPECT_EQ(TermOf(price, "attention.sliding.call", "mask_convert"),
            Bytes{2} * 512 * (1024 - 1 + 512));
  // One full and one sliding layer; the latter's storage grows by n too.
  EXPECT_EQ(price.resident_bytes, Bytes{2} * 512 * 2 * 8 * 256 * 2);
}

TEST(TransformersLawTest, BothSinksAgree) {
  std::mt19937_64 random(7);
  for (const char* model :
       {"llama3_8b", "gemma3_12b", "gemma4_26b_a4b", "qwen3_next_80b_a3b",
        "deepseek_v2_lite", "gpt_oss_20b", "granite4_h_small", "jamba_mini"}) {
    const ModelShape shape = ShapeOf(model);
    for (const char* attention : {"sdpa", "eager", "flash_lr"}) {
      for (const char* cache : {"dynamic", "prealloc"}) {
        const TransformersLaw law(shape, OptionsOf(attention, cache));
        for (int i = 0; i < 50; ++i) {
          const Tokens n = 1 + random() % (1 << (1 + random() % 20));
          const Tokens kv_len = n + random() % (1 << (1 + random() % 24));
          const PriceTotals total = TotalOf(law, n, kv_len);
          const PriceTotals explained = ExplainOf(law, n, kv_len);
          EXPECT_EQ(total, explained)
              << model << " " << attention << " " << cache << " n " << n
              << " kv_len " << kv_len;
        }
      }
    }
  }
}

TEST(TransformersLawTest, NeverFallsBetweenBreakpoints) {
  std::mt19937_64 random(11);
  for (const char* model : {"llama3_8b", "gemma4_31b", "qwen3_next_80b_a3b",
                            "deepseek_v3", "gpt_oss_20b", "qwen2_moe_57b"}) {
    const ModelShape shape = ShapeOf(model);
    for (const char* attention : {"sdpa", "eager", "flash_lr"}) {
      const TransformersLaw law(shape, OptionsOf(attention, "dynamic"));
      for (const Axis axis : {Axis::kN, Axis::kKvLen, Axis::kChunk}) {
        const Tokens fixed = 1 + random() % 9000;
        const Tokens lo = axis == Axis::kKvLen ? fixed : 1;
        const Tokens hi = axis == Axis::kN ? fixed : lo + 3000;
        std::vector<Tokens> falls;
        law.Breakpoints(axis, fixed, lo, hi, MaskKind::kCausal, &falls);
        Bytes before = 0;
        for (Tokens v = lo; v <= hi; ++v) {
          const Tokens n = axis == Axis::kKvLen ? fixed : v;
          const Tokens kv_len = axis == Axis::kN       ? fixed
                                : axis == Axis::kKvLen ? v
                                                       : fixed + v;
          const Bytes now = TotalOf(law, n, kv_len).transient_bytes;
          if (!std::binary_search(falls.begin(), falls.end(), v)) {
            ASSERT_GE(now, before)
                << model << " " << attention << " axis "
                << static_cast<int>(axis) << " fixed " << fixed << " at " << v;
          }
          before = now;
        }
      }
    }
  }
}

TEST(TransformersLawTest, LongestSequenceIsPricedWithoutWrapping) {
  for (const char* model : {"llama3_70b", "gemma3_12b", "qwen3_next_80b_a3b"}) {
    const ModelShape shape = ShapeOf(model);
    std::int64_t heads = 0;
    for (const Mixer& mixer : shape.mixers) {
      if (mixer.kind == MixerKind::kFull) heads = mixer.q_heads;
    }
    ASSERT_GT(heads, 0);
    const TransformersLaw law(shape, OptionsOf("eager", "dynamic"));
    const PriceTotals total = TotalOf(law, kTokensMax, kTokensMax);
    EXPECT_EQ(total, ExplainOf(law, kTokensMax, kTokensMax)) << model;
    // bf16: scores, their fp32 copy and the fp32 softmax, and the mask. The
    // sliding layers' mask and what is linear in n come on top.
    const __int128 exact =
        static_cast<__int128>(10 * heads + 2) * kTokensMax * kTokensMax;
    ASSERT_LT(exact, kBytesMax) << model;
    EXPECT_GE(total.transient_bytes, exact) << model;
    EXPECT_LE(total.transient_bytes, exact + exact / 50) << model;
  }
}

TEST(TransformersLawTest, ScoresBeyondEveryDeviceSaturate) {
  ModelShape shape = ShapeOf("llama3_70b");
  // 128 heads: 1,282 bytes for each of 1e16 pairs, above 2^63.
  for (Mixer& mixer : shape.mixers) mixer.q_heads = 128;
  const TransformersLaw law(shape, OptionsOf("eager", "dynamic"));
  const PriceTotals total = TotalOf(law, kTokensMax, kTokensMax);
  EXPECT_EQ(total.transient_bytes, kBytesMax);
  EXPECT_EQ(total, ExplainOf(law, kTokensMax, kTokensMax));
}

TEST(TransformersLawTest, LogitsOfEveryTokenAreATermOfTheirOwn) {
  const ModelShape shape = ShapeOf("gemma3_12b");
  const TransformersLaw law(shape, OptionsOf("sdpa", "dynamic"));
  const Chunk chunk{.n = 8192, .kv_len = 8192};
  const StepQuery step{.chunks = {&chunk, 1}, .logits_rows = 8192};
  TermsSink sink;
  law.Emit(step, sink);
  const Price price = sink.Take(law.Resident(step));
  EXPECT_EQ(price.binding_part, "head");
  EXPECT_EQ(TermOf(price, "head", "logits"), Bytes{2} * 2 * 8192 * 262'208);
  TotalsSink totals;
  law.Emit(step, totals);
  EXPECT_EQ(totals.Totals(law.Resident(step)),
            static_cast<const PriceTotals&>(price));
}

TEST(TransformersLawTest, UnknownModelTypesAreAssumed) {
  ModelShape shape = ShapeOf("llama3_8b");
  EXPECT_FALSE(TransformersLaw(shape, {}).Assumed());
  const Bytes known =
      TotalOf(TransformersLaw(shape, {}), 2048, 8192).transient_bytes;
  shape.model_type = "a_model_of_next_year";
  const TransformersLaw law(shape, {});
  EXPECT_TRUE(law.Assumed());
  EXPECT_GE(TotalOf(law, 2048, 8192).transient_bytes, known);
}

// bench/results/h100/chunks.csv: torch 2.11.0 and transformers 5.17.0 on an
// H100.
TEST(TransformersLawTest, ForcedKernelsAreWithinAPercentOfTheirMeasuredChunks) {
  struct Row {
    const char* model;
    SdpaKernel kernel;
    Tokens n;
    Tokens kv_len;
    Bytes measured;
  };
  const Row rows[] = {
      {"llama3_8b", SdpaKernel::kEfficient, 4096, 40960, 1344307200},
      {"llama3_8b", SdpaKernel::kEfficient, 4096, 73728, 2283831296},
      {"deepseek_v2_lite", SdpaKernel::kEfficient, 768, 115712, 1956419584},
      {"deepseek_v2_lite", SdpaKernel::kEfficient, 248, 131064, 1986447360},
      {"llama3_8b", SdpaKernel::kMath, 256, 26624, 3308923392},
      {"llama3_8b", SdpaKernel::kMath, 256, 37376, 4638386688},
      {"deepseek_v2_lite", SdpaKernel::kMath, 256, 26624, 1942329856},
      {"deepseek_v2_lite", SdpaKernel::kMath, 256, 36608, 2665650688},
  };
  for (const Row& row : rows) {
    TransformersOptions options = OptionsOf("sdpa", "prealloc");
    options.sdpa_kernel = row.kernel;
    const TransformersLaw law(ShapeOf(row.model), options);
    const Bytes price = TotalOf(law, row.n, row.kv_len).transient_bytes;
    EXPECT_GE(price + 2 * kMiB, row.measured) << row.model << " " << row.kv_len;
    EXPECT_LE(price, row.measured + row.measured / 100)
        << row.model << " " << row.kv_len;
  }
}

TEST(TransformersLawTest, RouteNamesAttentionAndCache) {
  TransformersOptions math = OptionsOf("sdpa", "dynamic");
  math.sdpa_kernel = SdpaKernel::kMath;
  EXPECT_EQ(TransformersLaw(ShapeOf("llama3_8b"), math).RouteName({}),
            "torch.transformers.sdpa_math.dynamic");
  const ModelShape shape = ShapeOf("llama3_8b");
  EXPECT_EQ(TransformersLaw(shape, OptionsOf("eager", "dynamic")).RouteName({}),
            "torch.transformers.eager.dynamic");
  EXPECT_EQ(
      TransformersLaw(shape, OptionsOf("flash_lr", "prealloc")).RouteName({}),
      "torch.transformers.flash_lr.prealloc");
}

}  // namespace
}  // namespace tidegate::internal
