// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Peaks of whole measured prompts against a world that runs them: what is
// allocated, and what the allocator holds of the device. Skips where the
// measurements, which do not ship, are not at hand.

#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "simulator/world.h"
#include "tests/testing/matchers.h"
#include "tests/testing/measured_times.h"
#include "tidegate/model_config.h"

namespace tidegate {
namespace {

using ::tidegate::internal::World;
using ::tidegate::internal::WorldSetup;
using ::tidegate::testing::Errors;
using ::tidegate::testing::NumberTable;
using ::tidegate::testing::SharedFile;

// cuBLAS's workspace, which every row includes.
constexpr Bytes kWorkspace = Bytes{32} << 20;
constexpr Bytes kDevice = Bytes{79} << 30;

std::shared_ptr<const Estimator> EstimatorOf(const NumberTable& table,
                                             std::size_t row) {
  EstimatorOptions options;
  options.engine = {
      .name = "torch", .version = "2.11.0", .device = "cuda-sm90"};
  options.engine.options["attention"] = table.Text(row, "attn");
  options.engine.options["kv_cache"] = table.Text(row, "cache");
  auto config = LoadModelConfig(
      SharedFile("truth/h100/models/" + table.Text(row, "model") + ".json"),
      {.compute = ComputeType::kBf16,
       .layers = table.Count(row, "layers_measured")});
  TG_CHECK(config.ok());
  options.shape = std::move(config->shape);
  auto created = CreateEstimator(options);
  TG_CHECK(created.ok());
  return std::move(created->estimator);
}

TEST(PeakMemoryFidelityTest, PeaksOfWholePromptsAreMet) {
  const std::string path = SharedFile("truth/h100/throughput_h100.csv");
  if (path.empty()) GTEST_SKIP() << "measured prompts are not at hand";
  const NumberTable table(path);
  Errors allocated;
  Errors above;  // the same without the weights, which nobody predicts
  std::map<std::string, Errors> reserved;
  for (std::size_t i = 0; i < table.rows(); ++i) {
    if (table.Text(i, "status") != "ok") continue;
    WorldSetup setup;
    setup.options.truth = EstimatorOf(table, i);
    setup.options.allocator = AllocatorOptions{
        .expandable = table.Text(i, "allocator") == "expandable_segments"};
    setup.ceiling = kDevice;
    setup.base = table.Count(i, "weights_bytes") + kWorkspace;
    World world(setup);
    const Tokens prompt = table.Count(i, "prompt");
    const Tokens width = table.Count(i, "chunk");
    const Bytes whole = world.AdmissionBytes(prompt, width);
    world.AddResident(whole);
    const Estimator& truth = *setup.options.truth;
    Bytes held_now = 0;
    Bytes peak = 0;
    for (Tokens done = 0; done < prompt; done += width) {
      const Chunk chunk{.n = width, .kv_len = done + width};
      const World::Step step = world.Start({&chunk, 1});
      ASSERT_TRUE(step.fits) << path << " row " << i;
      world.End(step);
      const Bytes before = whole > 0 ? whole : held_now;
      peak =
          std::max(peak, setup.base + before + step.growth[0] + step.transient);
      if (whole > 0) continue;
      // The world adds growth up and lets go of no window that was left behind.
      const Bytes after = truth.SequenceBytes(done + width, width);
      world.AddResident(after - held_now - step.growth[0]);
      held_now = after;
    }
    const auto alloc = static_cast<double>(table.Count(i, "peak_alloc_bytes"));
    const auto reserved_peak =
        static_cast<double>(table.Count(i, "peak_reserved_bytes"));
    allocated.Add(static_cast<double>(peak), alloc);
    const Bytes weights = table.Count(i, "weights_bytes");
    above.Add(static_cast<double>(peak - weights),
              alloc - static_cast<double>(weights));
    reserved[table.Text(i, "attn") + " " + table.Text(i, "cache") + " " +
             table.Text(i, "allocator")]
        .Add(static_cast<double>(world.peak()), reserved_peak);
  }
  const auto print = [](const std::string& what, const Errors& errors) {
    std::printf("  %-42s %2zu rows, p50 %5.1f %%, p95 %5.1f %%, max %5.1f %%\n",
                what.c_str(), errors.values.size(), 100 * errors.Median(),
                100 * errors.Percentile(95), 100 * errors.Worst());
  };
  print("allocated", allocated);
  print("allocated above the weights", above);
  Errors held;
  for (const auto& [group, errors] : reserved) {
    print("held, " + group, errors);
    for (const double error : errors.values) held.values.push_back(error);
  }
  EXPECT_LE(held.Median(), 0.10);
  EXPECT_LE(allocated.Percentile(95), 0.10);
}

}  // namespace
}  // namespace tidegate
