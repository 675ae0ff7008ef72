// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate_plan_sweep [CONFIG...]: plans one prompt of 50,000 tokens, with the
// largest prompt that would fit, for every config in tests/data/configs (or
// those given) on every kind of engine and at three ceilings. Prints the
// slowest calls in CPU milliseconds, slowest first, and each engine's worst.

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tidegate/estimator.h"
#include "tidegate/model_config.h"
#include "tidegate/plan.h"

namespace tidegate {
namespace {

constexpr Bytes kGiB = Bytes{1} << 30;
constexpr Tokens kPrompt = 50'000;
constexpr std::size_t kShown = 15;

struct Engine {
  const char* label;
  EngineSpec spec;
};

struct Result {
  double milliseconds = 0;
  std::string engine;
  std::string text;
};

double CpuMilliseconds() {
  return 1000.0 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

std::vector<Engine> Engines() {
  const auto torch = [](const char* attention, const char* cache) {
    return EngineSpec{"torch",
                      "2.11.0",
                      "cuda-sm90",
                      {{"attention", attention}, {"kv_cache", cache}}};
  };
  return {{"mlx", {"mlx", "0.31.2", "metal", {}}},
          {"mlx-nax", {"mlx", "0.32.2", "metal-nax", {}}},
          {"torch sdpa", torch("sdpa", "dynamic")},
          {"torch eager", torch("eager", "dynamic")},
          {"torch flash_lr prealloc", torch("flash_lr", "prealloc")},
          {"llama.cpp flash", {"llama.cpp", "b6500", "cpu", {}}},
          {"llama.cpp unfused",
           {"llama.cpp", "b6500", "cpu", {{"flash_attn", "false"}}}}};
}

void Sweep(const std::string& path, std::vector<Result>* results) {
  const auto config = LoadModelConfig(path, {});
  if (!config.ok()) {
    std::fprintf(stderr, "skipped: %s\n",
                 std::string(config.status().message()).c_str());
    return;
  }
  for (const Engine& engine : Engines()) {
    for (const Bytes ceiling : {30 * kGiB, 80 * kGiB, 300 * kGiB}) {
      // As a command would: the estimator is made anew for each plan.
      const double before = CpuMilliseconds();
      EstimatorOptions options;
      options.shape = config->shape;
      options.engine = engine.spec;
      const auto created = CreateEstimator(options);
      if (!created.ok()) continue;
      const auto plan =
          PlanPrompt(*created->estimator, {.prompt_tokens = kPrompt},
                     {.ceiling = ceiling}, {});
      if (!plan.ok()) continue;
      const double spent = CpuMilliseconds() - before;
      results->push_back(
          {spent, engine.label,
           std::filesystem::path(path).filename().string() + ", " +
               engine.label + ", " + std::to_string(ceiling / kGiB) +
               " GiB: " + std::string(VerdictName(plan->verdict)) + ", " +
               std::to_string(plan->chunks.size()) + " chunks, largest " +
               std::to_string(plan->largest_prompt_that_fits)});
    }
  }
}

int Main(int argc, char** argv) {
  std::vector<std::string> paths(argv + 1, argv + argc);
  if (paths.empty()) {
    for (const auto& entry : std::filesystem::directory_iterator(
             TIDEGATE_SOURCE_DIR "/tests/data/configs")) {
      if (entry.path().extension() == ".json") {
        paths.push_back(entry.path().string());
      }
    }
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Result> results;
  for (const std::string& path : paths) Sweep(path, &results);
  std::sort(results.begin(), results.end(),
            [](const Result& a, const Result& b) {
              return a.milliseconds > b.milliseconds;
            });
  std::map<std::string, double> worst;
  for (const Result& result : results) {
    worst.emplace(result.engine, result.milliseconds);
  }
  std::printf("%zu plans; the slowest:\n", results.size());
  for (std::size_t i = 0; i < std::min(kShown, results.size()); ++i) {
    std::printf("%10.1f ms  %s\n", results[i].milliseconds,
                results[i].text.c_str());
  }
  std::printf("worst of each engine:\n");
  for (const auto& [engine, milliseconds] : worst) {
    std::printf("%10.1f ms  %s\n", milliseconds, engine.c_str());
  }
  return 0;
}

}  // namespace
}  // namespace tidegate

int main(int argc, char** argv) { return tidegate::Main(argc, argv); }
