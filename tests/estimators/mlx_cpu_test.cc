// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// MLX on its CPU backend against rows that scripts/measure_mlx_cpu.py measured
// (tests/data/mlx_cpu/README.md).

#include <algorithm>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "estimators/mlx_cpu_queue.h"
#include "tests/testing/matchers.h"
#include "tests/testing/shapes.h"
#include "tidegate/catalogue.h"
#include "tidegate/estimator.h"
#include "tidegate/model_config.h"

namespace tidegate {
namespace {

using tidegate::testing::AttentionOnly;
using tidegate::testing::DenseModel;
using tidegate::testing::FullMixer;
using tidegate::testing::IsOk;
using tidegate::testing::LatentMixer;

constexpr Bytes kMiB = Bytes{1} << 20;

std::string DataPath(const std::string& name) {
  std::string path = TIDEGATE_SOURCE_DIR "/tests/data/mlx_cpu/";
  return path.append(name);
}

std::vector<std::vector<std::string>> ReadRows(const std::string& name) {
  std::ifstream file(DataPath(name));
  std::vector<std::vector<std::string>> rows;
  std::string line;
  std::getline(file, line);  // the header
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    rows.emplace_back();
    for (std::string field; std::getline(fields, field, ',');) {
      rows.back().push_back(field);
    }
  }
  return rows;
}

std::unique_ptr<Estimator> Mlx(const ModelShape& shape,
                               const std::string& device = "cpu") {
  absl::StatusOr<CreatedEstimator> created = CreateEstimator(
      {.shape = shape, .engine = {"mlx", "0.32.2", device, {}}});
  EXPECT_THAT(created, IsOk());
  return std::move(created->estimator);
}

Bytes Transient(const Estimator& estimator, const Chunk& chunk) {
  return estimator.Total({.chunks = {&chunk, 1}}).transient_bytes;
}

// Prices against measurements: how many are below by more than an allocator
// rounds, and the ratios of rows from 16 MiB on.
class Judgement {
 public:
  void Add(Bytes price, Bytes measured) {
    ++rows_;
    if (price + 2 * kMiB < measured) ++under_;
    if (measured >= 16 * kMiB) {
      ratios_.push_back(static_cast<double>(price) /
                        static_cast<double>(measured));
    }
  }
  int rows() const { return rows_; }
  double UnderShare() const { return static_cast<double>(under_) / rows_; }
  double Percentile(int percent) {
    std::sort(ratios_.begin(), ratios_.end());
    return ratios_[(ratios_.size() - 1) * percent / 100];
  }

 private:
  int rows_ = 0;
  int under_ = 0;
  std::vector<double> ratios_;
};

TEST(MlxCpuMeasuredTest, AttentionCallsAreCoveredWithinThreePerCent) {
  Judgement judgement;
  for (const std::vector<std::string>& row : ReadRows("attention.csv")) {
    ASSERT_EQ(row.size(), 10);
    ASSERT_OK_AND_ASSIGN(const ComputeType compute, ParseComputeType(row[0]));
    Mixer mixer =
        FullMixer(std::stoll(row[1]), std::stoll(row[2]), std::stoll(row[3]));
    mixer.head_dim_v = std::stoll(row[4]);
    mixer.sinks = row[8] == "1";
    const Chunk chunk{.n = std::stoll(row[5]),
                      .kv_len = std::stoll(row[6]),
                      .mask = *ParseMask(row[7])};
    const Bytes price = Transient(*Mlx(AttentionOnly(mixer, compute)), chunk);
    const Bytes measured = std::stoll(row[9]);
    judgement.Add(price, measured);
    // Calls of a few kilobytes and up are met on either side.
    if (measured >= 64 * 1024) {
      EXPECT_GE(price + price / 1000 + 64, measured)
          << row[0] << " " << row[1] << ":" << row[2] << " D " << row[3] << "/"
          << row[4] << " n " << row[5] << " L " << row[6] << " " << row[7];
    }
  }
  EXPECT_EQ(judgement.rows(), 432);
  EXPECT_EQ(judgement.UnderShare(), 0);
  EXPECT_LE(judgement.Percentile(95), 1.03);
  EXPECT_LE(judgement.Percentile(100), 1.05);
}

TEST(MlxCpuMeasuredTest, ChunksThroughWholeModelsAreCovered) {
  Judgement judgement;
  for (const std::vector<std::string>& row : ReadRows("models.csv")) {
    ASSERT_EQ(row.size(), 6);
    ASSERT_OK_AND_ASSIGN(const ComputeType compute, ParseComputeType(row[1]));
    ASSERT_OK_AND_ASSIGN(
        const ModelConfig config,
        LoadModelConfig(DataPath(row[0] + ".json"), {.compute = compute}));
    const Chunk chunk{.n = std::stoll(row[2]), .kv_len = std::stoll(row[3])};
    judgement.Add(Transient(*Mlx(config.shape), chunk), std::stoll(row[4]));
  }
  EXPECT_EQ(judgement.rows(), 53);
  EXPECT_LE(judgement.UnderShare(), 0.005);
  EXPECT_LE(judgement.Percentile(95), 1.20);
  EXPECT_LT(judgement.Percentile(100), 1.35);
}

TEST(MlxCpuTest, QueueHoldsWhatSurroundsTheScores) {
  const ModelShape shape = DenseModel({FullMixer(8, 2, 64)}, 512, 1536, 1000);
  const Chunk chunk{.n = 1024, .kv_len = 8192};
  const auto cpu = Mlx(shape);
  ASSERT_OK_AND_ASSIGN(const Price price,
                       cpu->Explain({.chunks = {&chunk, 1}}));
  Bytes queued = 0;
  for (const Part& part : price.parts) {
    if (part.name != price.binding_part) continue;
    for (const Term& term : part.terms) {
      if (term.name == "queued") queued = term.bytes;
    }
  }
  EXPECT_EQ(queued, 1024 * internal::MlxCpuQueued(shape).with_cache);
  // Gate and up at the least, and less than two layers of everything.
  EXPECT_GT(queued, Bytes{1024} * 2 * 1536 * 2);
  EXPECT_LT(queued, Bytes{1024} * 2 * 2 * 3 * (1536 + 8 * 512));
}

TEST(MlxCpuTest, BareAttentionHasNoQueue) {
  EXPECT_EQ(
      internal::MlxCpuQueued(AttentionOnly(FullMixer(8, 2, 64))).with_cache, 0);
}

TEST(MlxCpuTest, LatentScoresExistTwice) {
  const ModelShape shape = AttentionOnly(LatentMixer(64, 192, 64, 256, 512));
  const Chunk chunk{.n = 512, .kv_len = 8192};
  EXPECT_GE(Transient(*Mlx(shape), chunk), Bytes{2} * 64 * 512 * 8192 * 2);
}

TEST(MlxCpuTest, SinksTakeACopyOfTheScoresAndTheProductAnother) {
  Mixer mixer = FullMixer(8, 1, 64);
  mixer.sinks = true;
  const Chunk chunk{.n = 100, .kv_len = 1001, .mask = MaskKind::kNone};
  // Measured: 5,011,202 bytes in bf16, two of them constants.
  EXPECT_EQ(Transient(*Mlx(AttentionOnly(mixer)), chunk), 5'011'200);
  // Metal multiplies rows of any stride.
  mixer.head_dim = mixer.head_dim_v = 72;
  const Bytes scores = Bytes{8} * 100 * 2;
  EXPECT_EQ(Transient(*Mlx(AttentionOnly(mixer), "metal-nax"),
                      {.n = 100, .kv_len = 1001, .mask = MaskKind::kNone}),
            Bytes{8} * 100 * 72 * 2 * 2);
  mixer.head_dim = mixer.head_dim_v = 160;
  EXPECT_EQ(Transient(*Mlx(AttentionOnly(mixer), "metal"), chunk),
            scores * (1001 + 1002) + Bytes{8} * 100 * 160 * 2 * 2);
}

}  // namespace
}  // namespace tidegate
