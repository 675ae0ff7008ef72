// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Events drawn from a seed: what an engine would say next, with the faults that
// the seed knows, about requests of every kind on a device that is tight for
// them.

#ifndef TIDEGATE_TESTS_TESTING_RANDOM_EVENTS_H_
#define TIDEGATE_TESTS_TESTING_RANDOM_EVENTS_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "tests/testing/draws.h"
#include "tests/testing/event_judge.h"
#include "tests/testing/faults.h"
#include "tests/testing/random_options.h"
#include "tidegate/scheduler.h"

namespace tidegate::testing {

class RandomEvents {
 public:
  explicit RandomEvents(std::uint64_t seed) : draws_(seed) {
    for (bool& on : on_) on = Percent(50);
    // A burst takes as long as a thousand other seeds.
    on_[Index(Fault::kBurst)] = In(1, 2000) == 1;
    on_[Index(Fault::kLongPrompt)] = Percent(10);
    drawn_ = RandomOptions::Draw(draws_, On(Fault::kLongPrompt));
    judge_.emplace(options());
  }

  // What went wrong; empty when nothing did.
  std::string Run() {
    for (std::int64_t left = In(20, 120); left > 0 && Good(); --left) {
      if (Percent(60)) now_ += Duration(In(0, 3'000'000'000));
      if (On(Fault::kNonsense) && Percent(45)) {
        ++Count(Fault::kNonsense);
        Send(Anything());
      } else if (!Percent(25) || !Inject()) {
        Send(Sensible());
      }
    }
    EndLostSteps();
    if (Good()) judge_->Drain();
    return judge_->wrong();
  }

  // With what the scheduler started, and what has happened since.
  const SchedulerOptions& options() const { return drawn_.options; }
  const EventJudge& judge() const { return *judge_; }
  TortureCounts counts() const {
    TortureCounts counts = judge_->counts();
    counts.faults = counts_.faults;
    return counts;
  }

 private:
  using Stage = EventJudge::Stage;

  static std::size_t Index(Fault fault) {
    return static_cast<std::size_t>(fault);
  }
  bool On(Fault fault) const { return on_[Index(fault)]; }
  std::int64_t& Count(Fault fault) { return counts_[fault]; }
  bool Good() const { return judge_->wrong().empty(); }

  std::int64_t In(std::int64_t low, std::int64_t high) {
    return draws_.In(low, high);
  }
  bool Percent(int percent) { return draws_.Percent(percent); }
  std::string Of(std::initializer_list<const char*> values) {
    return draws_.Of(values);
  }

  // Mostly of the size that matters here.
  std::int64_t Number() {
    constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
    switch (In(0, 11)) {
      case 0:
        return 0;
      case 1:
        return -In(1, 1000);
      case 2:
        return kMax - In(0, 2);
      case 3:
        return std::numeric_limits<std::int64_t>::min() + In(0, 2);
      case 4:
        return kTokensMax + 1;
      default:
        return In(0, 6000);
    }
  }
  RequestId AnyId() {
    if (Percent(4)) return ~RequestId{0};
    return static_cast<RequestId>(In(0, 12));
  }
  // Of those that the engine is ready to answer.
  const RunStep* AnyAnswer() {
    std::vector<const RunStep*> ready;
    for (const auto& [id, run] : judge_->running()) {
      if (lost_.count(id) == 0 && late_.count(id) == 0) ready.push_back(&run);
    }
    if (ready.empty()) return nullptr;
    return ready[static_cast<std::size_t>(In(0, std::ssize(ready) - 1))];
  }
  StepId AnyStep() {
    const auto& running = judge_->running();
    if (running.empty() || !Percent(60)) return static_cast<StepId>(In(0, 30));
    return std::next(running.begin(), In(0, std::ssize(running) - 1))->first;
  }

  // What is live when `ran` has ended: what was there before, what is priced,
  // and what grows beside every price.
  Bytes Truth(const RunStep* ran) const {
    Bytes live = SatAdd(judge_->Stats().memory.kv, options().memory.base);
    Tokens computed = 0;
    for (const auto& [id, open] : judge_->open()) computed += open.computed;
    if (ran != nullptr) {
      live = SatAdd(live, ran->price.resident_bytes);
      for (const StepChunk& chunk : ran->chunks) computed += chunk.n;
    }
    return std::min(SatAdd(live, SatMul(drawn_.unpriced_growth, computed)),
                    Bytes{1} << 40);
  }

  // One entry for each rank; empty where readings have stopped.
  std::vector<Bytes> AnyReading(Bytes high, const RunStep* ran = nullptr) {
    if (On(Fault::kNoReading) && Percent(50)) {
      ++Count(Fault::kNoReading);
      return {};
    }
    if (On(Fault::kFrozenReading) && !frozen_.empty() && Percent(60)) {
      ++Count(Fault::kFrozenReading);
      return frozen_;
    }
    std::vector<Bytes> reading;
    const bool lies = On(Fault::kLyingReading) && Percent(70);
    if (lies) ++Count(Fault::kLyingReading);
    const Bytes truth = Truth(ran);
    const std::size_t ranks = std::max<std::size_t>(1, options().ranks.size());
    for (std::size_t i = 0; i < ranks; ++i) {
      const Bytes live = drawn_.truthful || lies ? truth : In(0, high);
      reading.push_back(lies ? live / 100 * In(90, 110) : live);
    }
    return frozen_ = reading;
  }

  // What the engine says of a step that ran: some end, some draft.
  StepDone Answer(const RunStep& run) {
    StepDone done{.step = run.step};
    for (const RequestId id : run.decodes) {
      if (Percent(40)) done.decodes.push_back({id, In(0, 4), Percent(40)});
    }
    if (Percent(50)) done.live_bytes = AnyReading(12'000, &run);
    if (Percent(50)) done.peak_bytes = AnyReading(20'000);
    if (Percent(50)) done.took = Duration(In(1, 1'000'000));
    return done;
  }
  MaskKind AnyMask() { return static_cast<MaskKind>(In(0, 2)); }

  // Absurd numbers are nonsense.
  bool Odd(int percent) { return On(Fault::kNonsense) && Percent(percent); }

  Arrive AnyArrival() {
    Arrive arrive{.id = AnyId(), .priority = In(-2, 2), .tenant = "t"};
    PlanRequest& asked = arrive.request;
    asked.prompt_tokens = Odd(15) ? Number() : In(1, drawn_.prompt_max);
    if (On(Fault::kLongPrompt) && Percent(5)) {
      ++Count(Fault::kLongPrompt);
      asked.prompt_tokens = 10'000'000;
    }
    if (Percent(30)) {
      asked.cached_tokens =
          Odd(20) ? Number()
                  : In(0, std::clamp<Tokens>(asked.prompt_tokens, 0, 400));
    }
    if (Percent(50)) {
      asked.max_output_tokens = Odd(15) ? Number() : In(0, 60);
    }
    asked.mask = AnyMask();
    for (std::int64_t left = Percent(20) ? In(1, 3) : 0; left > 0; --left) {
      asked.uncuttable.push_back(Odd(20) ? Span{Number(), Number()}
                                         : Span{In(0, 400), In(1, 100)});
    }
    Tokens from = 0;
    for (std::int64_t left = Percent(20) ? In(1, 5) : 0; left > 0; --left) {
      from += In(0, 80);
      EncodeItem item{.start = from,
                      .length = In(1, 150),
                      .transient_bytes = In(0, Percent(10) ? 100'000 : 2'000),
                      .output_bytes = In(1, 2'000),
                      .took = Duration(In(0, 5'000'000))};
      if (Odd(10)) item.start = Number();
      if (Odd(10)) item.length = Number();
      if (Odd(10)) item.output_bytes = Number();
      if (Odd(10)) item.transient_bytes = Number();
      asked.encodes.push_back(item);
      if (!Odd(10)) from += item.length;
    }
    if (Odd(5)) asked.cached_chunk = Number();
    if (Odd(5)) asked.extra_bytes_per_token = Number();
    if (Percent(10)) arrive.prefix_bytes = Odd(50) ? Number() : In(0, 300);
    if (Percent(20)) {
      arrive.prefix_blocks = Odd(50) ? Number() : In(0, 20);
    }
    if (Odd(20)) arrive.priority = Number();
    return arrive;
  }

  Event AnswerNow(const RunStep& run) {
    if (On(Fault::kEngineError) && Percent(5)) {
      ++Count(Fault::kEngineError);
      return StepFailed{run.step, StepFailure::kOther};
    }
    if (On(Fault::kOutOfMemory) && Percent(10)) {
      ++Count(Fault::kOutOfMemory);
      return StepFailed{run.step, StepFailure::kOutOfMemory};
    }
    answered_ = Answer(run);
    return *answered_;
  }

  Event Reclaimed(ReclaimId id, Bytes asked) {
    if (On(Fault::kFruitlessReclaim) && Percent(50)) {
      ++Count(Fault::kFruitlessReclaim);
      return ReclaimDone{id, 0};
    }
    if (On(Fault::kGreedyReclaim) && Percent(50)) {
      ++Count(Fault::kGreedyReclaim);
      return ReclaimDone{id, SatAdd(asked, In(1, 3000))};
    }
    return ReclaimDone{id, In(0, std::min<Bytes>(asked, 3000))};
  }

  // What an engine would say next.
  Event Sensible() {
    for (auto& [step, left] : late_) {
      if (judge_->running().count(step) == 0 || --left > 0) continue;
      const RunStep& run = judge_->running().at(step);
      now_ += Duration(In(0, 120'000'000'000));
      late_.erase(step);
      return AnswerNow(run);
    }
    if (const RunStep* run = AnyAnswer(); run != nullptr && Percent(60)) {
      if (On(Fault::kLostStep) && Percent(5)) {
        ++Count(Fault::kLostStep);
        lost_.insert(run->step);
      } else if (On(Fault::kLateStep) && Percent(10)) {
        ++Count(Fault::kLateStep);
        late_[run->step] = In(2, 20);
      } else {
        return AnswerNow(*run);
      }
    }
    for (const auto& [id, open] : judge_->open()) {
      if (open.stage != Stage::kDecoding || !Percent(50)) continue;
      if (Percent(50)) return Finished{id};
      if (On(Fault::kEngineError) && Percent(10)) {
        ++Count(Fault::kEngineError);
        return DecodeFailed{id, StepFailure::kOther};
      }
      if (On(Fault::kOutOfMemory) && Percent(10)) {
        ++Count(Fault::kOutOfMemory);
        return DecodeFailed{id, StepFailure::kOutOfMemory};
      }
      return DecodeProgress{id, In(1, 20)};
    }
    if (!judge_->reclaims().empty() && Percent(60)) {
      const auto& [id, asked] = *judge_->reclaims().begin();
      if (On(Fault::kLateReclaim) && Percent(30)) {
        ++Count(Fault::kLateReclaim);
        now_ += std::chrono::seconds(In(10, 60));
      }
      return Reclaimed(id, asked.first.bytes);
    }
    if (Percent(40)) return AnyArrival();
    if (Percent(30)) {
      std::vector<Bytes> reading = AnyReading(12'000);
      std::optional<std::int64_t> blocks;
      if (Percent(20)) blocks = In(0, 150);
      if (!reading.empty() || blocks.has_value()) {
        return MemoryReading{std::move(reading), blocks};
      }
    }
    if (Percent(10)) return Cancel{AnyId()};
    if (Percent(20)) {
      return Reclaimable{Of({"pool", "cache", "model"}), In(0, 5000)};
    }
    if (Percent(10)) return ReleasePending{In(1, 2000)};
    if (Percent(10)) return Released{In(1, 2000)};
    if (Percent(10)) {
      return CeilingChanged{In(1, options().memory.ceiling)};
    }
    return Wake{};
  }

  // One of the faults that are events of their own; false where it does not
  // apply.
  bool Inject() {
    switch (In(0, 5)) {
      case 0:
        if (!On(Fault::kRepeatedAnswer) || !answered_.has_value()) return false;
        ++Count(Fault::kRepeatedAnswer);
        Send(*answered_);
        return true;
      case 1:
        if (!On(Fault::kClockJump)) return false;
        ++Count(Fault::kClockJump);
        now_ += std::chrono::seconds(In(60, 864'000));
        Send(Wake{});
        return true;
      case 2:
        if (!On(Fault::kPolicySwap)) return false;
        ++Count(Fault::kPolicySwap);
        Send(AnyPolicy());
        return true;
      case 3: {
        if (!On(Fault::kCancelStorm) || !Percent(30)) return false;
        ++Count(Fault::kCancelStorm);
        std::vector<RequestId> all;
        for (const auto& [id, open] : judge_->open()) all.push_back(id);
        for (const RequestId id : all) Send(Cancel{id});
        return true;
      }
      case 4: {
        if (!On(Fault::kCeilingCollapse)) return false;
        ++Count(Fault::kCeilingCollapse);
        const Bytes live = judge_->Stats().memory.live;
        Send(CeilingChanged{std::max<Bytes>(1, live / 100 * In(10, 99))});
        if (Percent(50)) {
          now_ += std::chrono::seconds(In(0, 60));
          Send(Sensible());
          Send(CeilingChanged{options().memory.ceiling});
        }
        return true;
      }
      default: {
        if (!On(Fault::kBurst)) return false;
        on_[Index(Fault::kBurst)] = false;
        ++Count(Fault::kBurst);
        for (std::int64_t i = 0; i < 2000 && Good(); ++i) {
          Arrive arrive = AnyArrival();
          arrive.id = static_cast<RequestId>(1000 + i);
          Send(arrive);
        }
        return true;
      }
    }
  }

  // Its clients lose patience; then the engine gives up.
  void EndLostSteps() {
    for (const StepId step : lost_) {
      const auto it = judge_->running().find(step);
      if (it == judge_->running().end()) continue;
      const RunStep run = it->second;
      for (const StepChunk& chunk : run.chunks) Send(Cancel{chunk.id});
      for (const RequestId id : run.decodes) Send(Cancel{id});
      if (judge_->running().count(step) > 0) {
        Send(StepFailed{step, StepFailure::kOther});
      }
    }
  }

  PolicyChanged AnyPolicy() {
    auto options = std::make_shared<SchedulerOptions>(judge_->options());
    if (Percent(50)) options->order_policy = Of({"fcfs", "priority", "fair"});
    if (Percent(20)) options->order_policy = "shortest";
    if (Percent(30)) options->admission_policy = Of({"reserve", "optimistic"});
    if (Percent(30)) options->chunk_policy = Of({"fixed", "throttle"});
    if (Percent(30)) options->memory.ceiling = In(1, 20'000);
    // Ten million tokens are to end some day.
    if (!On(Fault::kLongPrompt) && Percent(30)) options->chunk.max = In(1, 200);
    if (Percent(30)) options->step = RandomOptions::Shape(draws_);
    if (Percent(30)) options->ladder = {"model", "cache", "preempt"};
    if (Percent(30)) options->queue_max = In(-1, 3);
    if (Percent(20)) options->calibrate = !options->calibrate;
    if (Percent(10)) options->estimator = nullptr;
    if (Percent(10)) options->ranks.emplace_back();
    if (Percent(5)) options->kv_pool.blocks += 1;
    return {options};
  }

  Event Anything() {
    switch (In(0, 17)) {
      case 0:
      case 1:
        return AnyArrival();
      case 2:
        return AnyDone();
      case 3:
        return StepFailed{AnyStep(), StepFailure::kOutOfMemory};
      case 4:
        return DecodeProgress{AnyId(), Number()};
      case 5:
        return Finished{AnyId()};
      case 6:
        return Cancel{AnyId()};
      case 7: {
        MemoryReading reading;
        for (std::int64_t left = In(0, 3); left > 0; --left) {
          reading.live_bytes.push_back(Number());
        }
        return reading;
      }
      case 8:
        return CeilingChanged{std::min<Bytes>(Number(), 30'000)};
      case 9:
        return PrefixChanged{AnyId(), Number(), Percent(70) ? 0 : Number()};
      case 10:
        return Reclaimable{Of({"pool", "cache", "model", "preempt", "", "x"}),
                           Number()};
      case 11:
        return ReclaimDone{static_cast<ReclaimId>(In(0, 10)), Number()};
      case 12:
        return ReleasePending{Number()};
      case 13:
        return Released{Number()};
      case 14:
        return Observe{{.n = Number(), .kv_len = Number(), .mask = AnyMask()},
                       Number()};
      case 15:
        return DecodeFailed{AnyId(), StepFailure::kOther};
      case 16:
        return AnyPolicy();
      default:
        return Wake{};
    }
  }
  StepDone AnyDone() {
    StepDone done{.step = AnyStep()};
    for (auto* bytes : {&done.peak_bytes, &done.live_bytes}) {
      for (std::int64_t left = In(0, 2); left > 0; --left) {
        bytes->push_back(Number());
      }
    }
    for (std::int64_t left = In(0, 2); left > 0; --left) {
      done.decodes.push_back({AnyId(), Number(), Percent(50)});
    }
    return done;
  }

  void Send(const Event& event) {
    // Now and then a clock that goes back.
    const bool back = On(Fault::kNonsense) && Percent(2);
    judge_->Send(event,
                 now_ - (back ? Duration(1'000'000'000'000) : Duration{}));
  }

  Draws draws_;
  std::array<bool, kFaults> on_{};
  RandomOptions drawn_;
  std::optional<EventJudge> judge_;
  TortureCounts counts_;

  Instant now_{};
  std::set<StepId> lost_;
  std::map<StepId, std::int64_t> late_;  // answers to others that come first
  std::optional<StepDone> answered_;
  std::vector<Bytes> frozen_;
};

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_RANDOM_EVENTS_H_
