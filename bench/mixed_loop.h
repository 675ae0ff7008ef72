// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// An engine's loop in which decode tokens ride along, without an engine: every
// step ends, and whoever has its output leaves and comes back as a newcomer.

#ifndef TIDEGATE_BENCH_MIXED_LOOP_H_
#define TIDEGATE_BENCH_MIXED_LOOP_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "bench/models.h"
#include "tidegate/scheduler.h"

namespace tidegate::bench {

class MixedLoop {
 public:
  static constexpr Tokens kPrompt = 512;

  // `sequences`: prompts in one step. `output`: tokens on average; 0: nobody
  // ever finishes.
  MixedLoop(std::int64_t running, std::int64_t queued, std::int64_t sequences,
            Tokens output)
      : output_(output) {
    constexpr Bytes kGiB = Bytes{1} << 30;
    SchedulerOptions options;
    options.estimator =
        MakeEstimator("llama-3.1-8b.json", "transformers@4.57.1/cuda");
    options.memory = {.ceiling = 16384 * kGiB, .base = 16 * kGiB};
    options.running_max = running;
    options.step = {.sequences = sequences,
                    .decode = StepShape::Decode::kMixed,
                    .tokens = running + 4 * kPrompt};
    scheduler_ = std::move(Scheduler::Create(options)).value();
    for (std::int64_t i = 0; i < running + queued; ++i) Arrive();
  }

  // Decode tokens in the running step.
  std::int64_t decodes() const { return std::ssize(run_.decodes); }

  // What the engine says of the running step.
  StepDone Answer() {
    StepDone done{.step = run_.step};
    for (const RequestId id : run_.decodes) {
      const bool finished = output_ > 0 && --left_[id % left_.size()] <= 0;
      done.decodes.push_back({.id = id, .tokens = 1, .finished = finished});
      if (finished) ++gone_;
    }
    return done;
  }
  // Delivers it: the next step is put together in this call.
  void End(const Event& done) {
    run_ = {};
    Send(done);
    if (run_.step == 0) std::abort();  // Nothing runs: nothing to time.
  }
  // Whoever left comes back.
  void Refill() {
    for (; gone_ > 0; --gone_) Arrive();
  }

 private:
  void Arrive() {
    ++last_id_;
    left_[last_id_ % left_.size()] =
        output_ / 2 +
        static_cast<Tokens>(last_id_ * 7919) % std::max<Tokens>(1, output_);
    Send(tidegate::Arrive{
        .id = last_id_,
        .request = {.prompt_tokens = kPrompt, .max_output_tokens = 4096}});
  }
  void Send(const Event& event) {
    actions_.clear();
    now_ += std::chrono::milliseconds(1);
    if (!scheduler_->Handle(event, now_, &actions_).ok()) std::abort();
    for (Action& action : actions_) {
      if (auto* run = std::get_if<RunStep>(&action)) run_ = std::move(*run);
    }
  }

  const Tokens output_;
  std::unique_ptr<Scheduler> scheduler_;
  std::vector<Action> actions_;
  std::vector<Tokens> left_ = std::vector<Tokens>(1 << 20);
  std::int64_t gone_ = 0;
  RequestId last_id_ = 0;
  RunStep run_;
  Instant now_{};
};

}  // namespace tidegate::bench

#endif  // TIDEGATE_BENCH_MIXED_LOOP_H_
