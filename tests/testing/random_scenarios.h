// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Scenarios drawn from a seed, as the JSON that `tidegate replay` reads: models
// and engines of every kind, memory that is tight for what is asked, odd
// limits, bursts, cancels, ceilings and other programs that move.
//
// Memory is drawn around what the prompts need, since far from it nothing is
// decided.

#ifndef TIDEGATE_TESTS_TESTING_RANDOM_SCENARIOS_H_
#define TIDEGATE_TESTS_TESTING_RANDOM_SCENARIOS_H_

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "simulator/judge.h"
#include "simulator/scenario.h"
#include "tidegate/plan.h"

namespace tidegate::testing {

class RandomScenario {
 public:
  using Json = nlohmann::json;

  explicit RandomScenario(std::uint64_t seed) : seed_(seed), random_(seed) {}

  Json Draw() {
    scenario_["id"] = "seed-" + std::to_string(seed_);
    DrawModel();
    DrawEngine();
    DrawPolicy();
    DrawWorld();
    DrawRequests();
    DrawPool();
    DrawMemory();
    DrawMemoryEvents();
    DrawObservations();
    scenario_["events"] = events_;
    scenario_["expect"] = Json::object();
    return scenario_;
  }

 private:
  std::int64_t In(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(
                     random_() % static_cast<std::uint64_t>(high - low + 1));
  }
  bool Percent(int percent) { return In(1, 100) <= percent; }
  template <typename T>
  T Of(std::initializer_list<T> values) {
    return values.begin()[In(0, static_cast<std::int64_t>(values.size()) - 1)];
  }
  // Times are multiples of a quarter second, so that many coincide.
  double Time(std::int64_t quarters) {
    return 0.25 * static_cast<double>(quarters);
  }

  static const std::vector<Json>& Configs() {
    static const auto* const configs = [] {
      auto* all = new std::vector<std::pair<std::string, Json>>;
      for (const auto& entry : std::filesystem::directory_iterator(
               std::string(TIDEGATE_SOURCE_DIR) + "/tests/data/configs")) {
        if (entry.path().extension() != ".json") continue;
        std::ifstream in(entry.path());
        // Some publish Infinity, which is no JSON.
        Json config = Json::parse(in, nullptr, /*allow_exceptions=*/false);
        if (config.is_discarded()) continue;
        all->emplace_back(entry.path().filename(), std::move(config));
      }
      std::sort(all->begin(), all->end());
      auto* values = new std::vector<Json>;
      for (auto& [name, config] : *all) values->push_back(std::move(config));
      return values;
    }();
    return *configs;
  }

  void DrawModel() {
    Json& model = scenario_["model"];
    if (Percent(45)) {
      model["config"] =
          Configs()[In(0, static_cast<std::int64_t>(Configs().size()) - 1)];
      if (Percent(20)) model["kv_dtype"] = Of<double>({2, 1, 0.5, 0.515625});
      return;
    }
    const std::int64_t kv_heads = Of<std::int64_t>({1, 2, 4, 8});
    const std::int64_t layers = In(1, 64);
    model["shape"] = {
        {"q_heads", kv_heads * Of<std::int64_t>({1, 2, 3, 6, 8, 16})},
        {"kv_heads", kv_heads},
        {"head_dim", Of({64, 80, 96, 128, 192, 256, 512})},
        {"layers", layers},
        {"kv_layers", Percent(60) ? layers : In(0, layers)},
        {"hidden", 64 * In(4, 128)},
        {"intermediate", 64 * In(4, 400)},
        {"vocab", In(1000, 256'000)},
        {"compute_dtype", Of<std::string>({"bf16", "bf16", "fp16", "fp32"})},
        {"kv_dtype", Of<double>({2, 2, 2, 1, 0.5, 0.515625})}};
  }

  void DrawEngine() {
    const auto set = [&](std::string name, std::string version,
                         std::string device) {
      scenario_["engine"] = {{"name", std::move(name)},
                             {"version", std::move(version)},
                             {"device", std::move(device)}};
    };
    const std::int64_t draw = In(1, 100);
    if (draw <= 75) {
      set("mlx",
          Of<std::string>({"0.20", "0.22.0", "0.26.0", "0.30.6", "0.31.2",
                           "0.31.2", "0.32.0", "0.32.2", "0.40.0"}),
          Of<std::string>(
              {"metal", "metal", "metal", "metal-nax", "metal-nax", "cpu"}));
    } else if (draw <= 90) {
      set("torch", Of<std::string>({"2.4.0", "2.8.0", "2.9.0"}),
          Of<std::string>({"cpu", "cuda-sm90", "cuda-sm80"}));
    } else {
      set("acme-infer", "3.1", "npu0");
    }
  }

  void DrawPolicy() {
    Json policy = Json::object();
    if (Percent(55)) {
      max_ = 2048;
      policy["chunk"] = {{"max", max_}, {"floor", 256}, {"quantum", 64}};
    } else if (Percent(85)) {
      max_ = Of<Tokens>({1, 7, 64, 100, 128, 500, 512, 1000, 1024, 2047, 2048,
                         3000, 4096, 8192, 16'384, 65'536});
      policy["chunk"] = {
          {"max", max_},
          {"floor", Of<Tokens>({1, 16, 64, 100, 256, 512, 2048})},
          {"quantum", Of<Tokens>({1, 7, 16, 64, 64, 100, 128, 256, 512})}};
      quantum_ = policy["chunk"]["quantum"];
    }
    if (Percent(8)) policy["chunk"]["use"] = "fixed";
    const std::int64_t estimator = In(1, 100);
    if (estimator <= 30) {
      policy["estimator"]["use"] = "calibrated";
      calibrated_ = true;
    } else if (estimator <= 36) {
      policy["estimator"]["use"] = Of<std::string>({"unfused", "tiled"});
    }
    if (Percent(75)) {
      policy["order"]["use"] =
          Of<std::string>({"fcfs", "priority", "fair", "fair"});
    }
    if (Percent(10)) policy["admission"]["queue_max"] = In(1, 4);
    if (Percent(10)) policy["admission"]["running_max"] = In(1, 4);
    if (Percent(15))
      policy["admission"]["use"] = Of<std::string>({"bankers", "optimistic"});
    if (Percent(50)) {
      Json step = {{"sequences", In(1, 4)},
                   {"decode", Of<std::string>({"engine", "mixed", "between"})}};
      if (Percent(40)) step["tokens"] = max_ + In(1, 3) * quantum_;
      if (Percent(30)) step["decodes"] = In(1, 3);
      if (Percent(25)) step["in_flight"] = In(2, 3);
      policy["step"] = step;
    }
    if (Percent(15)) {
      // The simulator's engine takes blocks in steps alone.
      if (!policy.contains("step")) policy["step"]["sequences"] = In(1, 4);
      policy["step"]["decode"] = Of<std::string>({"mixed", "between"});
      block_ = Of<Tokens>({1, 7, 16, 16, 64, 256});
      policy["memory"]["kv_block"] = block_;
    }
    if (Percent(10)) headroom_ = In(0, 2) << 28;
    if (headroom_ > 0) policy["memory"]["headroom"] = headroom_;
    if (Percent(10)) {
      policy["pressure"]["ladder"] = Percent(50)
                                         ? Json{"cache", "pool", "preempt"}
                                         : Json{"pool", "cache", "model"};
    }
    scenario_["policy"] = policy;
  }

  void DrawWorld() {
    Json world = Json::object();
    const std::int64_t attention = In(1, 100);
    if (attention > 60) {
      world["attention"] =
          Of<std::string>({"fused", "fused", "tiled", "unfused", "catalog"});
      if (world["attention"] == "tiled") world["tile"] = In(1, 16) * 64;
    }
    if (Percent(20)) world["fixed_bytes"] = In(0, 40) << 20;
    if (Percent(20)) world["per_token_bytes"] = In(0, 4096);
    if (Percent(6)) world["resident_extra_per_token"] = In(0, 60'000);
    if (Percent(25)) {
      world["pool_keeps_transients"] = true;
      keeps_ = true;
    }
    if (Percent(10)) world["score_bytes"] = Of<double>({1, 2, 2.24, 4});
    world["tokens_per_s"] = Of({200, 400, 1000, 4000, 20'000});
    world["chunk_overhead_s"] = Of<double>({0, 0.02, 0.3});
    world["decode_tokens_per_s"] = Of({5, 20, 100});
    scenario_["world"] = world;
  }

  // Disjoint, some wider than a chunk may be.
  Json Spans(Tokens cached, Tokens prompt) {
    Json spans = Json::array();
    Tokens at = cached + In(0, std::max<Tokens>(1, (prompt - cached) / 2));
    for (std::int64_t left = In(1, 3); left > 0; --left) {
      const Tokens widest = Percent(10) ? 2 * max_ : std::max<Tokens>(1, max_);
      const Tokens length = In(1, std::min<Tokens>(widest, 4096));
      if (at + length > prompt) break;
      spans.push_back({at, length});
      at += length + In(0, prompt / 4 + 1);
    }
    return spans;
  }

  // Pictures, as large as chunks and larger, some with encoders that hardly
  // fit.
  Json Encodes(Tokens prompt) {
    Json encodes = Json::array();
    Tokens at = In(0, prompt / 2);
    for (std::int64_t left = In(1, 6); left > 0; --left) {
      const Tokens length =
          In(1, std::min<Tokens>(prompt, Percent(30) ? 3 * max_ : max_));
      if (at + length > prompt) break;
      Json item = {{"start", at},
                   {"length", length},
                   {"transient", In(0, Bytes{1} << In(10, 31))},
                   {"output", In(1, Bytes{1} << In(8, 28))}};
      if (Percent(30)) item["took_s"] = Of<double>({0.05, 0.5, 3});
      encodes.push_back(item);
      at += length + (Percent(40) ? 0 : In(0, prompt / 4 + 1));
    }
    return encodes;
  }

  void DrawRequests() {
    // Bounded by chunks and by places where one may end: time to run.
    longest_ = std::min<Tokens>(
        {max_ * In(2, 120), quantum_ * 20'000, Tokens{1} << In(6, 18)});
    longest_ = std::max<Tokens>(longest_, 2);
    const std::int64_t count = Percent(40) ? 1 : In(2, 9);
    const std::int64_t gap = Of<std::int64_t>({0, 0, 1, 8, 200});
    std::int64_t at = In(0, 4);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::string id = "r" + std::to_string(i);
      Tokens prompt = longest_;
      if (i > 0 || Percent(20)) {
        prompt = Percent(50) ? In(1, longest_)
                             : In(1, std::min<Tokens>(longest_, 600));
      }
      if (Percent(2)) prompt = 10'000'000;
      Json arrive = {{"id", id}, {"prompt_tokens", prompt}};
      Tokens cached = 0;
      if (Percent(25)) {
        cached = Percent(15) ? prompt : In(0, prompt);
        if (Percent(6)) cached = prompt + In(1, 100);
        arrive["cached_tokens"] = cached;
      }
      if (Percent(70)) {
        const Tokens output = Percent(90) ? In(0, 40) : In(0, 600);
        arrive["output_tokens"] = output;
        arrive["max_output_tokens"] = output + (Percent(50) ? In(0, 4000) : 0);
      }
      if (Percent(10)) arrive["mask"] = "array";
      if (Percent(10) && cached < prompt)
        arrive["spans"] = Spans(cached, prompt);
      if (Percent(15)) arrive["encodes"] = Encodes(prompt);
      if (Percent(30)) arrive["priority"] = In(-2, 2);
      events_.push_back({{"at", Time(at)}, {"arrive", arrive}});
      if (Percent(12)) {
        events_.push_back(
            {{"at", Time(std::max<std::int64_t>(0, at + In(-8, 400)))},
             {"cancel", id}});
      }
      at += In(0, gap);
    }
  }

  // Between too few blocks for the longest request and plenty for all.
  void DrawPool() {
    if (block_ == 0) return;
    const std::int64_t whole = CeilDiv(longest_ + 40, block_);
    scenario_["policy"]["memory"]["kv_blocks"] =
        std::max<std::int64_t>(1, whole * In(Percent(80) ? 90 : 30, 400) / 100);
  }

  // Room between what is too little for the longest prompt and plenty for all.
  void DrawMemory() {
    scenario_["memory"] = {{"ceiling", Bytes{1} << 40}, {"base", 0}};
    scenario_["events"] = Json::array();
    scenario_["expect"] = Json::object();
    Bytes narrow = Bytes{1} << 30;
    Bytes wide = Bytes{2} << 30;
    Bytes largest = wide;
    const auto parsed = internal::ParseScenario(scenario_.dump(), "draw:1");
    if (parsed.ok()) {
      const auto options = internal::MakeDriverOptions(*parsed);
      if (options.ok()) {
        const Estimator& price = *options->scheduler.estimator;
        const ChunkLimits& limits = options->scheduler.chunk;
        const Tokens n = std::min(limits.max, longest_);
        const Tokens floor = std::min({limits.floor, limits.max, longest_});
        const auto need = [&](Tokens width) {
          const Chunk chunk{.n = width, .kv_len = longest_};
          const PriceTotals totals = price.Total({.chunks = {&chunk, 1}});
          largest = std::max<Bytes>(1, totals.largest_allocation_bytes);
          const Bytes held =
              block_ > 0 ? 0 : price.SequenceBytes(longest_, limits.max);
          return std::min(SatAdd(held, totals.transient_bytes), Bytes{1} << 50);
        };
        narrow = need(floor);
        wide = std::max(narrow, need(n));
      }
    }
    Bytes room = narrow;
    const std::int64_t draw = In(1, 100);
    if (draw <= 60) room = narrow + (wide - narrow) / 100 * In(0, 110);
    if (draw > 60 && draw <= 75) room = narrow / 100 * In(30, 100);
    if (draw > 75) room = wide / 2 * In(2, 10);
    room = std::max<Bytes>(room, 1 << 20) + headroom_;
    Json parts = Json::array();
    Bytes reclaimable = 0;
    if (keeps_ || Percent(40)) {
      const auto add = [&](const std::string& kind) {
        const Bytes bytes = Percent(30) ? 0 : room / 100 * In(1, 120);
        reclaimable += bytes;
        parts.push_back({{"kind", kind},
                         {"bytes", bytes},
                         {"lag_s", Of<double>({0, 0.05, 0.25, 1, 3})}});
      };
      if (keeps_ || Percent(60)) add("pool");
      if (Percent(40)) add("cache");
      if (Percent(30)) add("model");
    }
    const Bytes weights = In(0, 100) << 28;
    base_ = weights + reclaimable;
    ceiling_ = weights + room;
    if (base_ > ceiling_ && Percent(70)) base_ = ceiling_;
    reclaimable = 0;
    for (Json& part : parts) {
      const Bytes bytes =
          std::min(part["bytes"].get<Bytes>(), base_ - reclaimable);
      part["bytes"] = bytes;
      reclaimable += bytes;
    }
    room_ = room;
    scenario_["memory"] = {{"ceiling", ceiling_}, {"base", base_}};
    if (!parts.empty()) scenario_["memory"]["reclaimable"] = parts;
    if (Percent(12)) {
      scenario_["memory"]["max_allocation"] =
          std::max<Bytes>(1, largest / 100 * In(20, 200));
    }
  }

  // Dips that pass, rises, and now and then a change for good.
  void DrawMemoryEvents() {
    if (!Percent(30)) return;
    std::int64_t at = In(0, 200);
    for (std::int64_t left = In(1, 3); left > 0; --left) {
      const Bytes by = room_ / 100 * In(1, 130);
      const bool base = Percent(50);
      const auto change = [&](std::int64_t when, Bytes amount) {
        Json event = {{"at", Time(when)}};
        if (base) {
          event["base"] = base_ + amount;
        } else {
          event["ceiling"] = std::max<Bytes>(1, ceiling_ - amount);
        }
        events_.push_back(event);
      };
      change(at, Percent(15) ? -std::min(by, base_) : by);
      if (Percent(85)) change(at + In(1, Percent(70) ? 16 : 200), 0);
      at += In(201, 500);
    }
  }

  void DrawObservations() {
    if (!calibrated_ || !Percent(50)) return;
    const Tokens n = Of<Tokens>({64, 256, 512, 2048});
    for (std::int64_t left = In(1, 12); left > 0; --left) {
      const Tokens width = Percent(70) ? n : In(1, 2048);
      events_.push_back({{"at", 0},
                         {"observe",
                          {{"n", width},
                           {"kv_len", width + In(0, 200'000)},
                           {"transient", Percent(70) ? In(0, 40) << 26
                                                     : In(0, 400) << 30}}}});
    }
  }

  std::uint64_t seed_;
  std::mt19937_64 random_;
  Json scenario_;
  Json events_ = Json::array();
  Tokens max_ = 2048;
  Tokens quantum_ = 64;
  Tokens longest_ = 0;
  Tokens block_ = 0;  // of a KV pool; 0: there is none
  bool calibrated_ = false;
  bool keeps_ = false;
  Bytes headroom_ = 0;
  Bytes base_ = 0;
  Bytes ceiling_ = 0;
  Bytes room_ = 0;
};

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_RANDOM_SCENARIOS_H_
