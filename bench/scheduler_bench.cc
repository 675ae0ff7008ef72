// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// One decision: a step has ended, what runs next? With so many requests in the
// queue, under each order.

#include <benchmark/benchmark.h>

#include <variant>

#include "bench/models.h"
#include "tidegate/scheduler.h"

namespace tidegate {
namespace {

constexpr Bytes kGiB = Bytes{1} << 30;

// Keeps the queue at its length: whoever finishes comes back.
class Loop {
 public:
  Loop(const char* order, std::int64_t queued) {
    SchedulerOptions options;
    options.estimator =
        bench::MakeEstimator("llama-3.1-8b.json", "mlx@0.31.2/metal");
    options.memory = {.ceiling = 40 * kGiB, .base = 16 * kGiB};
    options.order_policy = order;
    scheduler_ = std::move(Scheduler::Create(options)).value();
    for (std::int64_t i = 0; i < queued; ++i) Arrive();
  }

  // Answers the running step; returns whether the next one goes on with the
  // same prompt.
  void Step() {
    const StepId step = step_;
    step_ = 0;
    Send(StepDone{.step = step});
    while (!ended_.empty()) {
      const RequestId id = ended_.back();
      ended_.pop_back();
      Send(Finished{id});
      Arrive();
    }
    if (step_ == 0) std::abort();  // Nothing runs: there is nothing to time.
  }

 private:
  void Arrive() {
    ++last_id_;
    Send(tidegate::Arrive{
        .id = last_id_,
        .request = {.prompt_tokens = Tokens{16'000} +
                                     static_cast<Tokens>(last_id_ % 97) * 64}});
  }
  void Send(const Event& event) {
    actions_.clear();
    now_ += std::chrono::milliseconds(1);
    if (!scheduler_->Handle(event, now_, &actions_).ok()) std::abort();
    for (const Action& action : actions_) {
      if (const auto* run = std::get_if<RunStep>(&action)) step_ = run->step;
      if (const auto* decode = std::get_if<StartDecode>(&action)) {
        ended_.push_back(decode->id);
      }
    }
  }

  std::unique_ptr<Scheduler> scheduler_;
  std::vector<Action> actions_;
  std::vector<RequestId> ended_;
  RequestId last_id_ = 0;
  StepId step_ = 0;
  Instant now_{};
};

void Decision(benchmark::State& state, const char* order) {
  Loop loop(order, state.range(0));
  for (auto _ : state) loop.Step();
}
BENCHMARK_CAPTURE(Decision, fcfs, "fcfs")
    ->Arg(100)
    ->Arg(1000)
    ->Arg(10'000)
    ->Arg(100'000)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Decision, priority, "priority")
    ->Arg(1000)
    ->Arg(10'000)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Decision, shortest, "shortest")
    ->Arg(1000)
    ->Arg(10'000)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Decision, fair, "fair")
    ->Arg(1000)
    ->Arg(10'000)
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace tidegate
