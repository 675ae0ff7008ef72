// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// An engine with a loop of its own: it pulls its work. Nothing here starts a
// thread or reads a clock but the engine. docs/service.md shows the marked
// block.

#include <chrono>
#include <iostream>
#include <variant>

#include "tidegate/pull.h"
#include "tidegate/tidegate.h"

namespace tg = tidegate;

// [pull]
// Serves until nothing is left to do; answers how many requests finished.
int ServeAll(tg::PullScheduler& pull) {
  const auto start = std::chrono::steady_clock::now();
  const auto now = [start] {
    return tg::Instant(std::chrono::steady_clock::now() - start);
  };
  int finished = 0;
  while (std::optional<tg::Work> work = pull.Next(now())) {
    absl::Status status;
    if (const auto* run = std::get_if<tg::RunStep>(&*work)) {
      // The forward pass of run->chunks goes here.
      status = pull.Complete(run->step, tg::StepOutcome::Done(), now());
    } else if (const auto* decode = std::get_if<tg::StartDecode>(&*work)) {
      status = pull.Finish(decode->id, now());
    } else if (const auto* reclaim = std::get_if<tg::Reclaim>(&*work)) {
      status = pull.CompleteReclaim(reclaim->reclaim, 0, now());
    } else if (const auto* answer = std::get_if<tg::Answer>(&*work)) {
      std::cout << answer->id << " " << tg::OutcomeName(answer->outcome) << " "
                << answer->reason << "\n";
      finished += answer->outcome == tg::Outcome::kFinished ? 1 : 0;
    }
    if (!status.ok()) std::cerr << status.message() << "\n";
  }
  return finished;
}
// [end]

int main(int argc, char** argv) {
  const auto config =
      tg::LoadModelConfig(argc > 1 ? argv[1] : "config.json", {});
  if (!config.ok()) return std::cerr << config.status().message() << "\n", 1;
  auto made = tg::CreateEstimator(
      {.shape = config->shape, .engine = {"mlx", "0.31.2", "metal", {}}});
  if (!made.ok()) return std::cerr << made.status().message() << "\n", 1;
  tg::SchedulerOptions options;
  options.estimator = std::move(made->estimator);
  options.memory = {.ceiling = tg::Bytes{20} << 30,
                    .base = tg::Bytes{16} << 30};
  auto pull = tg::PullScheduler::Create(std::move(options));
  if (!pull.ok()) return std::cerr << pull.status().message() << "\n", 1;
  for (const tg::RequestId id : {1, 2}) {
    const auto submitted = (*pull)->Submit(
        {.id = id, .request = {.prompt_tokens = id == 1 ? 9'000 : 1'000'000}},
        tg::Instant{});
    if (!submitted.ok()) return std::cerr << submitted.message() << "\n", 1;
  }
  return ServeAll(**pull) == 1 ? 0 : 1;
}
