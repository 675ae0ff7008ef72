// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A fixture that runs a rival on the small device and reads its steps off, one
// line a step: "1:188 2:324 | 3" are 188 prompt tokens of request 1, 324 of
// request 2 and a decode token of request 3.

#ifndef TIDEGATE_TESTS_TESTING_RIVAL_STEPS_H_
#define TIDEGATE_TESTS_TESTING_RIVAL_STEPS_H_

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/testing/hand_driven_scheduler.h"
#include "tidegate/rivals.h"

namespace tidegate::testing {

// What a chunk costs on the small device, and what it costs to be one of
// several: nothing more. Of 10,000 bytes, 2,000 are kept for activations, so
// that the pool has 8,000 tokens.
inline RivalFacts SmallFacts(Tokens step_tokens) {
  RivalFacts facts;
  facts.step_tokens = step_tokens;
  facts.activation_bytes = 2'000;
  return facts;
}

class RivalSteps : public HandDrivenScheduler {
 protected:
  void Use(std::string_view name, const RivalFacts& facts) {
    Restart();
    now_ += std::chrono::hours(1);
    outputs_.clear();
    made_.clear();
    prompts_.clear();
    auto rival = MakeRival(name, SmallDevice(estimator_), facts);
    ASSERT_THAT(rival, IsOk());
    options_ = *std::move(rival);
  }
  // Tidegate itself, with the rival's step shape and sequences.
  void UseTidegate(const StepShape& step) {
    Restart();
    now_ += std::chrono::hours(1);
    options_ = SmallDevice(estimator_);
    options_.step = step;
  }

  // A request arrives; it generates as much as it asks for.
  std::vector<Action> Come(RequestId id, Tokens prompt, Tokens output) {
    outputs_[id] = output;
    prompts_[id] = prompt;
    return Submit(id, prompt, output);
  }

  // The step that runs; "idle" where none does.
  std::string Now() const {
    if (!running_.has_value()) return "idle";
    std::string line;
    for (const StepChunk& chunk : running_->chunks) {
      if (!line.empty()) line += ' ';
      line += std::to_string(chunk.id) + ':' + std::to_string(chunk.n);
    }
    if (running_->decodes.empty()) return line;
    line += line.empty() ? "|" : " |";
    for (const RequestId id : running_->decodes) {
      line += ' ' + std::to_string(id);
    }
    return line;
  }

  // Ends the step that runs, every decode token of it generated and who has
  // all of them finished; answers with the next one.
  std::string Next(std::optional<Duration> took = std::nullopt) {
    EXPECT_TRUE(running_.has_value());
    const RunStep step = *std::exchange(running_, std::nullopt);
    StepDone done{.step = step.step, .took = took};
    const auto generate = [&](RequestId id) {
      const bool last = ++made_[id] >= outputs_[id];
      done.decodes.push_back({.id = id, .tokens = 1, .finished = last});
    };
    for (const StepChunk& chunk : step.chunks) {
      if (chunk.kv_len == prompts_[chunk.id]) generate(chunk.id);
    }
    for (const RequestId id : step.decodes) generate(id);
    if (took.has_value()) now_ += *took;
    last_ = Send(done);
    return Now();
  }
  // The lines of this step and the next ones.
  std::vector<std::string> Steps(int count) {
    std::vector<std::string> lines = {Now()};
    for (int i = 1; i < count; ++i) lines.push_back(Next());
    return lines;
  }

  std::int64_t Waiting() { return scheduler().Stats().waiting; }
  Bytes Resident() { return scheduler().Stats().resident_bytes; }

  std::map<RequestId, Tokens> outputs_;
  std::map<RequestId, Tokens> prompts_;
  std::map<RequestId, Tokens> made_;
  std::vector<Action> last_;  // what the last Next() led to
};

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_RIVAL_STEPS_H_
