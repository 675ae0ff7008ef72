// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Tidegate in an engine, from the config to the last token. The engine here is
// a loop that does nothing; RunChunk is where yours runs a forward pass.

#include <iostream>
#include <variant>

#include "tidegate/tidegate.h"

namespace tg = tidegate;

static void RunChunk(const tg::StepChunk& chunk) {
  std::cout << "tokens " << chunk.start << " to " << chunk.kv_len << "\n";
}

int main(int argc, char** argv) {
  const auto config =
      tg::LoadModelConfig(argc > 1 ? argv[1] : "config.json", {});
  if (!config.ok()) return std::cerr << config.status().message() << "\n", 1;
  auto made = tg::CreateEstimator(
      {.shape = config->shape, .engine = {"mlx", "0.31.2", "metal", {}}});
  if (!made.ok()) return std::cerr << made.status().message() << "\n", 1;
  const tg::Bytes gib = tg::Bytes{1} << 30;
  auto scheduler = tg::Scheduler::Create(
      {.estimator = std::move(made->estimator),
       .memory = {.ceiling = 20 * gib, .base = 16 * gib}});
  if (!scheduler.ok())
    return std::cerr << scheduler.status().message() << "\n", 1;

  std::vector<tg::Event> events = {tg::Arrive{
      .id = 1, .request = {.prompt_tokens = 9000, .max_output_tokens = 100}}};
  while (!events.empty()) {
    std::vector<tg::Action> actions;
    const auto handled =
        (*scheduler)->Handle(events.back(), tg::Instant{}, &actions);
    if (!handled.ok()) return std::cerr << handled.message() << "\n", 1;
    events.pop_back();
    for (const tg::Action& action : actions) {
      if (const auto* run = std::get_if<tg::RunStep>(&action)) {
        RunChunk(run->chunks[0]);
        events.push_back(tg::StepDone{.step = run->step});
      } else if (const auto* decode = std::get_if<tg::StartDecode>(&action)) {
        events.push_back(tg::Finished{decode->id});
      } else if (const auto* reject = std::get_if<tg::Reject>(&action)) {
        std::cout << "refused: " << reject->reason << "\n";
      }
    }
  }
  return (*scheduler)->Stats().finished == 1 ? 0 : 1;
}
