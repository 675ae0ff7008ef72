// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Tidegate in an engine with a loop of its own, from the config to the answer.

#include <iostream>

#include "tidegate/tidegate.h"

static absl::Status Serve(const char* config_file) {
  using namespace tidegate;
  constexpr Bytes kGiB = Bytes{1} << 30;
  const EngineSpec engine = {"mlx", "0.31.2", "metal", {}};
  TG_ASSIGN_OR_RETURN(auto config, LoadModelConfig(config_file, {}));
  TG_ASSIGN_OR_RETURN(auto made, CreateEstimator({config.shape, engine}));
  SchedulerOptions options = {.estimator = std::move(made.estimator)};
  options.memory = {.ceiling = 20 * kGiB, .base = 16 * kGiB};
  TG_ASSIGN_OR_RETURN(auto gate, PullScheduler::Create(std::move(options)));
  const Instant now{};  // your clock
  const Arrive request = {.id = 1, .request = {.prompt_tokens = 9000}};
  TG_RETURN_IF_ERROR(gate->Submit(request, now));
  while (const std::optional<Work> work = gate->Next(now)) {
    if (const auto* run = std::get_if<RunStep>(&*work)) {
      std::cout << "run tokens up to " << run->chunks[0].kv_len << "\n";
      TG_RETURN_IF_ERROR(gate->Complete(run->step, StepOutcome::Done(), now));
    } else if (const auto* decode = std::get_if<StartDecode>(&*work)) {
      TG_RETURN_IF_ERROR(gate->Finish(decode->id, now));
    } else if (const auto* answer = std::get_if<Answer>(&*work)) {
      std::cout << OutcomeName(answer->outcome) << answer->reason << "\n";
    }
  }
  return absl::OkStatus();
}

int main(int argc, char** argv) {
  const absl::Status status = Serve(argc > 1 ? argv[1] : "config.json");
  if (!status.ok()) std::cerr << status.message() << "\n";
  return status.ok() ? 0 : 1;
}
