// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A whole step's decision where decode tokens ride along: the end of a step
// with so many decoding requests is recorded, who finished leaves, newcomers
// are admitted, and the next step is put together, its list of decodes
// included.

#include <benchmark/benchmark.h>

#include <variant>

#include "bench/models.h"
#include "tidegate/scheduler.h"

namespace tidegate {
namespace {

constexpr Bytes kGiB = Bytes{1} << 30;
constexpr Tokens kPrompt = 512;
constexpr Tokens kOutput = 256;

class MixedLoop {
 public:
  MixedLoop(const char* admission, std::int64_t running, std::int64_t queued) {
    SchedulerOptions options;
    options.estimator =
        bench::MakeEstimator("llama-3.1-8b.json", "transformers@4.57.1/cuda");
    options.memory = {.ceiling = 8192 * kGiB, .base = 16 * kGiB};
    options.order_policy = "fcfs";
    options.admission_policy = admission;
    options.running_max = running;
    options.step = {.sequences = 1 + running / 100,
                    .decode = StepShape::Decode::kMixed,
                    .tokens = running + 4 * kPrompt};
    scheduler_ = std::move(Scheduler::Create(options)).value();
    for (std::int64_t i = 0; i < running + queued; ++i) Arrive();
    // Until as many decode as may, at different places of their outputs.
    for (Tokens i = 0; i < 2 * kOutput; ++i) Step();
  }

  void Step() {
    StepDone done{.step = run_.step};
    for (const RequestId id : run_.decodes) {
      Tokens& left = left_[id % left_.size()];
      const bool finished = --left <= 0;
      done.decodes.push_back({.id = id, .tokens = 1, .finished = finished});
      if (finished) ++gone_;
    }
    decodes_ = static_cast<std::int64_t>(run_.decodes.size());
    run_ = {};
    Send(done);
    for (; gone_ > 0; --gone_) Arrive();
    if (run_.step == 0) std::abort();  // Nothing runs: nothing to time.
  }

  std::int64_t decodes() const { return decodes_; }

 private:
  void Arrive() {
    ++last_id_;
    left_[last_id_ % left_.size()] =
        kOutput / 2 + static_cast<Tokens>(last_id_ * 7919 % kOutput);
    Send(tidegate::Arrive{.id = last_id_,
                          .request = {.prompt_tokens = kPrompt,
                                      .max_output_tokens = 2 * kOutput}});
  }
  void Send(const Event& event) {
    actions_.clear();
    now_ += std::chrono::milliseconds(1);
    if (!scheduler_->Handle(event, now_, &actions_).ok()) std::abort();
    for (Action& action : actions_) {
      if (auto* run = std::get_if<RunStep>(&action)) run_ = std::move(*run);
    }
  }

  std::unique_ptr<Scheduler> scheduler_;
  std::vector<Action> actions_;
  std::vector<Tokens> left_ = std::vector<Tokens>(1 << 20);
  std::int64_t gone_ = 0;
  std::int64_t decodes_ = 0;
  RequestId last_id_ = 0;
  RunStep run_;
  Instant now_{};
};

void MixedStep(benchmark::State& state, const char* admission) {
  MixedLoop loop(admission, state.range(0), state.range(1));
  std::int64_t decodes = 0;
  for (auto _ : state) {
    loop.Step();
    decodes += loop.decodes();
  }
  state.counters["decodes"] = benchmark::Counter(
      static_cast<double>(decodes), benchmark::Counter::kAvgIterations);
}
BENCHMARK_CAPTURE(MixedStep, reserve, "reserve")
    ->Args({100, 10'000})
    ->Args({1000, 100})
    ->Args({1000, 10'000})
    ->Args({1000, 100'000})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace tidegate
