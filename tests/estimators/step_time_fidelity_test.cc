// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Step times against public and own measurements, which do not ship: every
// test skips where they are not at hand, and prints what it found.

#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "tests/testing/matchers.h"
#include "tests/testing/measured_times.h"

namespace tidegate {
namespace {

using ::tidegate::testing::Errors;
using ::tidegate::testing::Millis;
using ::tidegate::testing::NumberTable;
using ::tidegate::testing::ServingSimProfile;
using ::tidegate::testing::SharedFile;

void Print(const std::string& what, const Errors& errors) {
  std::printf("  %-52s %6zu rows  p50 %5.1f %%  p90 %5.1f %%  max %6.1f %%\n",
              what.c_str(), errors.values.size(), 100 * errors.Median(),
              100 * errors.P90(), 100 * errors.Worst());
}

std::shared_ptr<const StepTimer> Timer(const TimeProfile& profile) {
  const auto timer = CreateStepTimer(profile);
  EXPECT_TRUE(timer.ok()) << timer.status();
  return *timer;
}

double TimeOf(const StepTimer& timer, Tokens n, Tokens kv_len) {
  const Chunk chunk{.n = n, .kv_len = kv_len};
  return Millis(timer.Of({.chunks = {&chunk, 1}}).took);
}

// throughput_chunks_h100.csv: gpu_ms of single chunks, by model and kernel.
struct Sampled {
  Tokens prompt, chunk, n, kv_len;
  double ms;
};
using ByModel = std::map<std::string, std::vector<Sampled>>;

ByModel SampledChunks(const std::string& path) {
  ByModel models;
  const NumberTable table(path);
  for (std::size_t i = 0; i < table.rows(); ++i) {
    if (table.Empty(i, "gpu_ms") || table.Text(i, "allocator") != "default") {
      continue;
    }
    models[table.Text(i, "model") + " " + table.Text(i, "attn")].push_back(
        {table.Count(i, "prompt"), table.Count(i, "chunk"), table.Count(i, "n"),
         table.Count(i, "L"), table.Number(i, "gpu_ms")});
  }
  return models;
}

template <typename Keep>
TimeProfile ProfileOf(const std::vector<Sampled>& chunks, const Keep& keep) {
  TimeProfile profile;
  for (const Sampled& chunk : chunks) {
    if (!keep(chunk)) continue;
    profile.rows.push_back(
        {.n = chunk.n, .kv_len = chunk.kv_len, .us = 1000 * chunk.ms});
  }
  return profile;
}

TEST(StepTimeFidelityTest, AMeasuredChunkIsMetWithoutItsOwnRows) {
  const std::string path = SharedFile("truth/h100/throughput_chunks_h100.csv");
  if (path.empty()) GTEST_SKIP() << "measured chunks are not at hand";
  for (const auto& [model, chunks] : SampledChunks(path)) {
    Errors point;
    Errors width;
    Errors formula;
    for (const Sampled& left : chunks) {
      // Every row of the same chunk, whichever prompt it was measured in.
      const auto others = Timer(ProfileOf(chunks, [&](const Sampled& other) {
        return other.n != left.n || other.kv_len != left.kv_len;
      }));
      point.Add(TimeOf(*others, left.n, left.kv_len), left.ms);
      formula.Add(Millis(others->Model().Of(left.n, left.kv_len - left.n)),
                  left.ms);
      const auto widths = Timer(ProfileOf(
          chunks, [&](const Sampled& other) { return other.n != left.n; }));
      width.Add(TimeOf(*widths, left.n, left.kv_len), left.ms);
    }
    Print(model + ", its chunk left out", point);
    Print(model + ", its whole width left out", width);
    Print(model + ", four-term model", formula);
    EXPECT_LE(point.P90(), 0.10) << model;
    EXPECT_LE(point.Median(), 0.02) << model;
  }
}

TEST(StepTimeFidelityTest, AMeasuredPromptIsMetWithoutItsOwnRows) {
  const std::string chunk_path =
      SharedFile("truth/h100/throughput_chunks_h100.csv");
  const std::string path = SharedFile("truth/h100/throughput_h100.csv");
  if (path.empty()) GTEST_SKIP() << "measured prompts are not at hand";
  const ByModel models = SampledChunks(chunk_path);
  const NumberTable table(path);
  Errors errors;
  for (std::size_t i = 0; i < table.rows(); ++i) {
    const auto model =
        models.find(table.Text(i, "model") + " " + table.Text(i, "attn"));
    if (model == models.end() || table.Empty(i, "gpu_ms") ||
        table.Text(i, "allocator") != "default") {
      continue;
    }
    const Tokens prompt = table.Count(i, "prompt");
    const Tokens width = table.Count(i, "chunk");
    const auto timer =
        Timer(ProfileOf(model->second, [&](const Sampled& other) {
          return other.prompt != prompt || other.chunk != width;
        }));
    double ms = 0;
    for (Tokens done = 0; done < prompt; done += width) {
      ms += TimeOf(*timer, width, done + width);
    }
    errors.Add(ms, table.Number(i, "gpu_ms"));
  }
  Print("whole prompts, their own run left out", errors);
  EXPECT_LE(errors.P90(), 0.10);
}

// Vidur's A100 table has a step of 64 tokens: its powers of two stand for what
// a short profile measures, the rest is what it has to predict.
TEST(StepTimeFidelityTest, AThinnedAttentionTablePredictsTheRest) {
  const std::string path =
      SharedFile("profiles/vidur/attention_prefill_a100_llama2-70b_tp2.csv");
  if (path.empty()) GTEST_SKIP() << "Vidur's tables are not at hand";
  const NumberTable table(path);
  TimeProfile thin{.rows = {{.part = TimePart::kTokens, .n = 1, .us = 1e-6}}};
  const auto power = [](Tokens n) { return (n & (n - 1)) == 0; };
  const auto row = [&](std::size_t i) {
    const Tokens n = table.Count(i, "chunk_tokens");
    return TimeRow{.part = TimePart::kAttention,
                   .n = n,
                   .kv_len = n + table.Count(i, "kv_cache_tokens"),
                   .us = 1000 * table.Number(i, "prefill_ms_median")};
  };
  for (std::size_t i = 0; i < table.rows(); ++i) {
    const TimeRow each = row(i);
    if (power(each.n) && power(each.kv_len - each.n)) thin.rows.push_back(each);
  }
  const auto timer = Timer(thin);
  Errors errors;
  Errors formula;
  for (std::size_t i = 0; i < table.rows(); ++i) {
    const TimeRow each = row(i);
    if (power(each.n) && power(each.kv_len - each.n)) continue;
    errors.Add(TimeOf(*timer, each.n, each.kv_len) * 1000, each.us);
    formula.Add(Millis(timer->Model().Of(each.n, each.kv_len - each.n)) * 1000,
                each.us);
  }
  std::printf("  %zu of %zu rows kept\n", thin.rows.size() - 1, table.rows());
  Print("A100 attention from powers of two", errors);
  Print("the same, four-term model", formula);
  EXPECT_LE(errors.Median(), 0.08);
  EXPECT_LT(errors.Median(), formula.Median());
  EXPECT_LT(errors.P90(), formula.P90());
}

class ServingSimTest : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Gpus, ServingSimTest,
                         ::testing::Values("rtx4090", "rtxpro6000"),
                         [](const auto& info) {
                           return std::string(info.param);
                         });

// Attention of a chunk and of decoding sequences in one launch is not the sum
// of the two; a row that was left out is still met.
TEST_P(ServingSimTest, AMixedStepIsMetWithoutItsOwnRow) {
  const std::string name = std::string(GetParam()) + "_llama3.1-8b_tp1";
  const TimeProfile whole = ServingSimProfile(name, 32);
  if (whole.rows.empty()) GTEST_SKIP() << name << " is not at hand";
  TimeProfile kept;
  TimeProfile apart;  // no mixed row at all
  std::vector<TimeRow> left;
  int mixed = 0;
  for (const TimeRow& row : whole.rows) {
    const bool both =
        row.part == TimePart::kAttention && row.n > 0 && row.decodes > 0;
    if (both && ++mixed % 7 == 0) {
      left.push_back(row);
      continue;
    }
    // Attention alone is what is compared.
    if (row.part != TimePart::kAttention) continue;
    kept.rows.push_back(row);
    if (!both) apart.rows.push_back(row);
  }
  for (TimeProfile* profile : {&kept, &apart}) {
    for (const Tokens n : {1, 4096}) {
      profile->rows.push_back({.part = TimePart::kTokens, .n = n, .us = 1e-6});
    }
  }
  const auto table = Timer(kept);
  const auto sum = Timer(apart);
  Errors errors;
  Errors beyond;  // at the rim: nothing is left to interpolate with
  Errors of_sum;
  for (const TimeRow& row : left) {
    const Chunk chunk{.n = row.n, .kv_len = row.kv_len};
    const std::vector<Tokens> decodes(static_cast<std::size_t>(row.decodes),
                                      row.decode_kv_len);
    const StepWork work{.chunks = {&chunk, 1}, .decode_kv_lens = decodes};
    const StepTime time = table->Of(work);
    (time.extrapolated ? beyond : errors).Add(Millis(time.took) * 1000, row.us);
    of_sum.Add(Millis(sum->Of(work).took) * 1000, row.us);
  }
  Print(name + ", one of 7 left out", errors);
  Print(name + ", of these at the rim", beyond);
  Print(name + ", chunk plus decodes", of_sum);
  EXPECT_LE(errors.Median(), 0.03);
  EXPECT_LE(errors.P90(), 0.10);
  EXPECT_LT(errors.P90(), of_sum.P90());
}

// Published from the same tables: the cost of a prompt of 16,384 tokens by the
// width of its chunks, over that of 2048: 1.03, 1.22, 1.45, 2.56. Those add
// attention and linear layers alone: the head is left out here too.
TEST(StepTimeFidelityTest, TheCurveOfChunkOverheadIsThePublishedOne) {
  TimeProfile profile = ServingSimProfile("rtxpro6000_llama3.1-8b_tp1", 32);
  if (profile.rows.empty()) GTEST_SKIP() << "the tables are not at hand";
  std::erase_if(profile.rows, [](const TimeRow& row) {
    return row.part == TimePart::kSequences;
  });
  const auto timer = Timer(profile);
  const auto prompt = [&](Tokens width) {
    double ms = 0;
    for (Tokens done = 0; done < 16'384; done += width) {
      ms += TimeOf(*timer, width, done + width);
    }
    return ms;
  };
  const double widest = prompt(2048);
  EXPECT_NEAR(widest, 878, 0.02 * 878);
  const std::map<Tokens, double> published = {
      {1024, 1.03}, {512, 1.22}, {256, 1.45}, {128, 2.56}};
  for (const auto& [width, ratio] : published) {
    const double found = prompt(width) / widest;
    std::printf("  chunk %5lld: %7.1f ms, %.3f of 2048's (published %.2f)\n",
                static_cast<long long>(width), prompt(width), found, ratio);
    EXPECT_NEAR(found, ratio, 0.03 * ratio) << width;
  }
}

// Sum of the linear layers of Llama-2-70B, H100, tp 1, from Vidur's table:
// 256 to 264 tokens +40 %, 512 to 520 +62 %.
TEST(StepTimeFidelityTest, AnEdgeBetweenTilesIsKept) {
  const std::string path = SharedFile("profiles/vidur/mlp_by_tokens.csv");
  if (path.empty()) GTEST_SKIP() << "Vidur's tables are not at hand";
  const NumberTable table(path);
  const char* const columns[] = {"input_layernorm_ms",
                                 "attn_pre_proj_ms",
                                 "attn_rope_ms",
                                 "attn_post_proj_ms",
                                 "post_attention_layernorm_ms",
                                 "mlp_up_proj_ms",
                                 "mlp_act_ms",
                                 "mlp_down_proj_ms",
                                 "add_ms"};
  struct Edge {
    const char* device;
    const char* model;
    Tokens n;
    double jump;
  };
  for (const Edge& edge : {Edge{"h100", "Llama-2-70b-hf", 256, 1.40},
                           Edge{"h100", "Llama-2-70b-hf", 512, 1.62},
                           Edge{"a100", "Llama-2-70b-hf", 256, 1.37}}) {
    TimeProfile profile;
    for (std::size_t i = 0; i < table.rows(); ++i) {
      if (table.Text(i, "device") != edge.device ||
          table.Text(i, "model") != edge.model || table.Count(i, "tp") != 1) {
        continue;
      }
      double us = 0;
      for (const char* column : columns) us += 1000 * table.Number(i, column);
      profile.rows.push_back(
          {.part = TimePart::kTokens, .n = table.Count(i, "tokens"), .us = us});
    }
    // Attention that costs next to nothing: the edge is the layers'.
    profile.rows.push_back(
        {.part = TimePart::kAttention, .n = 1, .kv_len = 1, .us = 1e-6});
    const auto timer = Timer(profile);
    const double jump =
        TimeOf(*timer, edge.n + 8, edge.n + 8) / TimeOf(*timer, edge.n, edge.n);
    std::printf("  %s %lld -> %lld tokens: %+.0f %% (published %+.0f %%)\n",
                edge.device, static_cast<long long>(edge.n),
                static_cast<long long>(edge.n + 8), 100 * (jump - 1),
                100 * (edge.jump - 1));
    EXPECT_NEAR(jump, edge.jump, 0.01);
  }
}

}  // namespace
}  // namespace tidegate
