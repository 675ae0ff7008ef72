// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A scheduler fed with events drawn at random: in order and out of it, twice,
// too late, about requests that never were, with numbers that cannot be. What
// it refuses must leave no trace, which a twin shows that never sees those
// events; what it accepts must lead every request to one end.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "estimators/text.h"
#include "tests/testing/fake_estimator.h"
#include "tests/testing/matchers.h"
#include "tests/testing/seeds.h"
#include "tidegate/decision_log.h"
#include "tidegate/scheduler.h"

namespace tidegate {
namespace {

using ::tidegate::testing::FakeEstimator;
using ::tidegate::testing::IsOk;
using ::tidegate::testing::ReplayLine;
using ::tidegate::testing::Seeds;

std::string StatsText(const Scheduler& scheduler) {
  const SchedulerStats s = scheduler.Stats();
  std::string text;
  for (const std::int64_t value :
       {s.arrived, s.admitted, s.finished, s.rejected, s.cancelled, s.steps,
        s.out_of_memory, s.reclaims, s.preemptions, s.waiting, s.claimed_bytes,
        s.resident_bytes, s.memory.live, s.memory.side, s.memory.in_flight,
        s.memory.line}) {
    text += std::to_string(value) + " ";
  }
  return text;
}

class RandomEvents {
 public:
  explicit RandomEvents(std::uint64_t seed) : random_(seed) {
    estimator_ =
        std::make_shared<FakeEstimator>(FakeEstimator::Random(random_, 400));
    // Its breakpoints come from scanning: nothing may fit at every length.
    estimator_->kv_per_token = std::max<Bytes>(1, estimator_->kv_per_token);
    options_.estimator = estimator_;
    options_.calibrate = Percent(30);
    options_.memory = {.ceiling = In(50, 20'000), .base = In(0, 4000)};
    if (Percent(20)) options_.memory.headroom = In(0, 500);
    if (Percent(20)) options_.memory.max_allocation = In(1, 8000);
    options_.chunk = {
        .max = In(8, 200), .floor = In(1, 100), .quantum = In(1, 64)};
    options_.order_policy = Of({"fcfs", "priority", "fair"});
    if (Percent(15)) options_.chunk_policy = "fixed";
    if (Percent(20)) options_.queue_max = In(1, 4);
    if (Percent(20)) options_.ladder = {"cache", "pool"};
    if (Percent(10)) options_.ladder = {};
    if (Percent(20)) options_.running_max = In(1, 4);
    if (Percent(60)) options_.step = AnyShape();
    for (std::int64_t left = Percent(20) ? In(1, 3) : 0; left > 0; --left) {
      options_.ranks.push_back({.ceiling = In(50, 20'000), .base = In(0, 49)});
    }
  }

  // What went wrong; empty when nothing did.
  std::string Run() {
    auto one = Scheduler::Create(options_);
    if (!one.ok()) {
      // A step that is too short for its chunks, a base above the ceiling.
      options_.step.tokens = 0;
      one = Scheduler::Create(options_);
    }
    auto two = Scheduler::Create(options_);
    if (!one.ok()) return std::string(one.status().message());
    scheduler_ = *std::move(one);
    twin_ = *std::move(two);
    for (std::int64_t left = In(20, 120); left > 0 && wrong_.empty(); --left) {
      if (Percent(60)) now_ += Duration(In(0, 3'000'000'000));
      Send(Percent(45) ? Sensible() : Anything());
    }
    Drain();
    return wrong_;
  }

 private:
  enum class Stage { kWaiting, kPrefill, kDecoding };

  std::int64_t In(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(
                     random_() % static_cast<std::uint64_t>(high - low + 1));
  }
  bool Percent(int percent) { return In(1, 100) <= percent; }
  std::string Of(std::initializer_list<const char*> values) {
    return values.begin()[In(0, static_cast<std::int64_t>(values.size()) - 1)];
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
  StepShape AnyShape() {
    StepShape shape;
    shape.sequences = In(1, 4);
    shape.decode = static_cast<StepShape::Decode>(In(0, 2));
    if (Percent(30)) shape.tokens = In(20, 300);
    if (Percent(30)) shape.decodes = In(1, 3);
    if (Percent(30)) shape.in_flight = In(2, 3);
    return shape;
  }
  StepId AnyStep() {
    if (!running_.empty() && Percent(60)) return AnyRunning().step;
    return static_cast<StepId>(In(0, 30));
  }
  const RunStep& AnyRunning() {
    auto it = running_.begin();
    std::advance(it, In(0, std::ssize(running_) - 1));
    return it->second;
  }
  std::vector<Bytes> AnyReading(Bytes high) {
    std::vector<Bytes> reading;
    for (std::size_t i = 0; i < std::max<std::size_t>(1, options_.ranks.size());
         ++i) {
      reading.push_back(In(0, high));
    }
    return reading;
  }
  // What the engine says of a step that ran: some end, some draft.
  StepDone Answer(const RunStep& run) {
    StepDone done{.step = run.step};
    for (const RequestId id : run.decodes) {
      if (Percent(40)) done.decodes.push_back({id, In(0, 4), Percent(40)});
    }
    return done;
  }
  MaskKind AnyMask() { return static_cast<MaskKind>(In(0, 2)); }

  Arrive AnyArrival() {
    Arrive arrive{.id = AnyId(), .priority = Number(), .tenant = "t"};
    arrive.request.prompt_tokens = Percent(85) ? In(1, 400) : Number();
    if (Percent(30)) {
      arrive.request.cached_tokens =
          Percent(80)
              ? In(0, std::clamp<Tokens>(arrive.request.prompt_tokens, 0, 400))
              : Number();
    }
    if (Percent(50)) {
      arrive.request.max_output_tokens = Percent(85) ? In(0, 60) : Number();
    }
    arrive.request.mask = AnyMask();
    for (std::int64_t left = Percent(20) ? In(1, 3) : 0; left > 0; --left) {
      arrive.request.uncuttable.push_back(Percent(80)
                                              ? Span{In(0, 400), In(1, 100)}
                                              : Span{Number(), Number()});
    }
    if (Percent(5)) arrive.request.cached_chunk = Number();
    if (Percent(5)) arrive.request.extra_bytes_per_token = Number();
    if (Percent(10)) arrive.prefix_bytes = Number();
    return arrive;
  }

  // What an engine would say next.
  Event Sensible() {
    if (!running_.empty() && Percent(60)) {
      const RunStep& run = AnyRunning();
      if (Percent(8)) {
        return StepFailed{run.step, Percent(70) ? StepFailure::kOutOfMemory
                                                : StepFailure::kOther};
      }
      StepDone done = Answer(run);
      if (Percent(50)) done.live_bytes = AnyReading(12'000);
      if (Percent(50)) done.peak_bytes = AnyReading(20'000);
      if (Percent(50)) done.took = Duration(In(1, 1'000'000));
      return done;
    }
    for (const auto& [id, stage] : open_) {
      if (stage != Stage::kDecoding || !Percent(50)) continue;
      if (Percent(50)) return Finished{id};
      if (Percent(10)) {
        return DecodeFailed{
            id, Percent(50) ? StepFailure::kOutOfMemory : StepFailure::kOther};
      }
      return DecodeProgress{id, In(1, 20)};
    }
    if (!reclaims_.empty() && Percent(60)) {
      return ReclaimDone{*reclaims_.begin(), In(0, 3000)};
    }
    if (Percent(40)) return Arrive{AnyArrival()};
    if (Percent(30)) return MemoryReading{AnyReading(12'000)};
    if (Percent(20)) return AnyPolicy();
    if (Percent(30)) {
      return Reclaimable{Of({"pool", "cache", "model"}), In(0, 5000)};
    }
    if (Percent(30)) return CeilingChanged{In(1, 20'000)};
    return Wake{};
  }

  PolicyChanged AnyPolicy() {
    auto options = std::make_shared<SchedulerOptions>(options_);
    if (Percent(50)) options->order_policy = Of({"fcfs", "priority", "fair"});
    if (Percent(20)) options->order_policy = "shortest";
    if (Percent(30)) options->admission_policy = Of({"reserve", "optimistic"});
    if (Percent(30)) options->chunk_policy = Of({"fixed", "throttle"});
    if (Percent(30)) options->memory.ceiling = In(1, 20'000);
    if (Percent(30)) options->chunk.max = In(1, 200);
    if (Percent(30)) options->step = AnyShape();
    if (Percent(30)) options->ladder = {"model", "cache", "preempt"};
    if (Percent(30)) options->queue_max = In(-1, 3);
    if (Percent(20)) options->calibrate = !options->calibrate;
    if (Percent(10)) options->estimator = nullptr;
    if (Percent(10)) options->ranks.emplace_back();
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

  template <typename... Pieces>
  void Wrong(const Pieces&... pieces) {
    if (wrong_.empty()) wrong_ = internal::Concat(pieces...);
  }

  void Send(const Event& event) {
    const std::string before = StatsText(*scheduler_);
    std::vector<Action> actions;
    const std::string line = EventLine(event, now_);
    const Instant when =
        now_ - (Percent(2) ? Duration(1'000'000'000'000) : Duration{});
    const absl::Status status = scheduler_->Handle(event, when, &actions);
    if (!status.ok()) {
      if (!actions.empty()) Wrong("a refused event led to actions: ", line);
      if (StatsText(*scheduler_) != before) {
        Wrong("a refused event changed the statistics: ", line);
      }
      return;
    }
    last_ = now_;
    std::vector<Action> same;
    const absl::Status twin = twin_->Handle(event, when, &same);
    if (!twin.ok()) Wrong("the twin refused ", line);
    std::string mine;
    std::string theirs;
    for (const Action& a : actions) mine += ActionLine(a, when);
    for (const Action& a : same) theirs += ActionLine(a, when);
    if (mine != theirs) {
      Wrong("refused events left a trace: ", line, mine, "the twin: ", theirs);
    }
    Note(event, actions);
  }

  void Note(const Event& event, const std::vector<Action>& actions) {
    if (const auto* arrive = std::get_if<Arrive>(&event)) {
      open_[arrive->id] = Stage::kWaiting;
      ++arrived_;
    } else if (const auto* done = std::get_if<Finished>(&event)) {
      InStep(done->id) ? void(finishing_.insert(done->id)) : Close(done->id);
    } else if (const auto* policy = std::get_if<PolicyChanged>(&event)) {
      options_ = *policy->options;
    } else if (const auto* reclaim = std::get_if<ReclaimDone>(&event)) {
      reclaims_.erase(reclaim->reclaim);
    } else if (const auto* pending = std::get_if<ReleasePending>(&event)) {
      releasing_ = SatAdd(releasing_, pending->bytes);
    } else if (const auto* released = std::get_if<Released>(&event)) {
      releasing_ -= released->bytes;
    } else if (const auto* ran = std::get_if<StepDone>(&event)) {
      EndStep(ran->step, ran->decodes);
    } else if (const auto* failed = std::get_if<StepFailed>(&event)) {
      EndStep(failed->step, {});
    }
    wake_.reset();
    for (const Action& action : actions) {
      if (const auto* run = std::get_if<RunStep>(&action)) {
        NoteStep(*run);
      } else if (const auto* admit = std::get_if<Admit>(&action)) {
        if (Find(admit->id) != Stage::kWaiting) Wrong("admitted, not waiting");
        open_[admit->id] = Stage::kPrefill;
      } else if (const auto* reject = std::get_if<Reject>(&action)) {
        Close(reject->id);
      } else if (const auto* cancelled = std::get_if<Cancelled>(&action)) {
        Close(cancelled->id);
      } else if (const auto* preempt = std::get_if<Preempt>(&action)) {
        open_[preempt->id] = Stage::kWaiting;
      } else if (const auto* decode = std::get_if<StartDecode>(&action)) {
        open_[decode->id] = Stage::kDecoding;
      } else if (const auto* reclaim = std::get_if<Reclaim>(&action)) {
        reclaims_.insert(reclaim->reclaim);
      } else if (const auto* wake = std::get_if<WakeAt>(&action)) {
        wake_ = wake->when;
      }
    }
  }
  void NoteStep(const RunStep& run) {
    if (std::ssize(running_) >= options_.step.in_flight) {
      Wrong("more steps at once than may be");
    }
    if (run.chunks.empty() && run.decodes.empty()) Wrong("an empty step");
    if (std::ssize(run.chunks) > options_.step.sequences) {
      Wrong("more prompts in a step than may be");
    }
    auto tokens = static_cast<Tokens>(run.decodes.size());
    std::set<RequestId> seen;
    for (const StepChunk& chunk : run.chunks) {
      tokens += chunk.n;
      if (Find(chunk.id) != Stage::kPrefill || InStep(chunk.id) ||
          !seen.insert(chunk.id).second) {
        Wrong("a step of a request that is not in prefill, or in a step");
      }
    }
    for (const RequestId id : run.decodes) {
      if (Find(id) != Stage::kDecoding || InStep(id) ||
          !seen.insert(id).second) {
        Wrong("a step of a request that does not decode, or is in a step");
      }
    }
    if (options_.step.tokens > 0 && tokens > options_.step.tokens) {
      Wrong("more tokens in a step than may be");
    }
    if (options_.step.decodes > 0 &&
        std::ssize(run.decodes) > options_.step.decodes) {
      Wrong("more decode tokens in a step than may be");
    }
    using Decode = StepShape::Decode;
    if (!run.decodes.empty() &&
        (options_.step.decode == Decode::kEngine ||
         (options_.step.decode == Decode::kBetween && !run.chunks.empty()))) {
      Wrong("decode tokens that the engine does not take");
    }
    const Bytes price =
        SatAdd(run.price.transient_bytes, run.price.resident_bytes);
    if (price > run.room_bytes) Wrong("a step above its room");
    running_[run.step] = run;
  }
  void EndStep(StepId step, const std::vector<DecodeResult>& results) {
    const RunStep run = running_.at(step);
    running_.erase(step);
    for (const DecodeResult& result : results) {
      if (!result.finished) continue;
      finishing_.erase(result.id);
      Close(result.id);
    }
    for (const RequestId id : run.decodes) {
      if (finishing_.erase(id) > 0) Close(id);
    }
  }
  bool InStep(RequestId id) const {
    return std::any_of(running_.begin(), running_.end(), [id](const auto& r) {
      const RunStep& run = r.second;
      return std::count(run.decodes.begin(), run.decodes.end(), id) > 0 ||
             std::any_of(run.chunks.begin(), run.chunks.end(),
                         [id](const StepChunk& c) { return c.id == id; });
    });
  }
  std::optional<Stage> Find(RequestId id) const {
    const auto it = open_.find(id);
    if (it == open_.end()) return std::nullopt;
    return it->second;
  }
  void Close(RequestId id) {
    if (open_.erase(id) == 0) Wrong("request ", id, " ended twice");
    ++ended_;
  }

  // From here on a well-behaved engine: everything must come to its end.
  void Drain() {
    for (int left = 20'000; left > 0 && wrong_.empty(); --left) {
      if (open_.empty()) break;
      if (!running_.empty()) {
        StepDone done{.step = running_.begin()->first};
        for (const RequestId id : running_.begin()->second.decodes) {
          done.decodes.push_back({id, 1, true});
        }
        Send(done);
      } else if (const auto it = std::find_if(
                     open_.begin(), open_.end(),
                     [this](const auto& o) {
                       return o.second == Stage::kDecoding && Percent(50);
                     });
                 it != open_.end()) {
        Send(Finished{it->first});
      } else if (!reclaims_.empty()) {
        // Those that were given up are refused.
        const ReclaimId reclaim = *reclaims_.begin();
        reclaims_.erase(reclaims_.begin());
        Send(ReclaimDone{reclaim, 0});
      } else if (releasing_ > 0) {
        Send(Released{releasing_});
      } else if (wake_.has_value()) {
        now_ = std::max(now_, *wake_);
        Send(Wake{});
      } else if (std::none_of(open_.begin(), open_.end(), [](const auto& o) {
                   return o.second == Stage::kDecoding;
                 })) {
        Wrong("nothing to wait for and ", open_.size(), " requests open");
      }
    }
    if (!wrong_.empty()) return;
    const SchedulerStats stats = scheduler_->Stats();
    if (!open_.empty()) Wrong(open_.size(), " requests never ended");
    if (stats.claimed_bytes != 0 || stats.resident_bytes != 0 ||
        stats.waiting != 0 || stats.memory.in_flight != 0 ||
        stats.memory.kv != 0 || stats.memory.side != 0) {
      Wrong("not empty at the end: ", StatsText(*scheduler_));
    }
    if (stats.arrived != arrived_ ||
        stats.finished + stats.rejected + stats.cancelled != ended_ ||
        arrived_ != ended_) {
      Wrong("arrivals and ends differ: ", StatsText(*scheduler_));
    }
  }

  std::mt19937_64 random_;
  std::shared_ptr<FakeEstimator> estimator_;
  SchedulerOptions options_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<Scheduler> twin_;

  Instant now_{};
  Instant last_{};
  std::map<RequestId, Stage> open_;
  std::set<ReclaimId> reclaims_;
  Bytes releasing_ = 0;
  std::map<StepId, RunStep> running_;
  std::set<RequestId> finishing_;  // with the step that they are in
  std::optional<Instant> wake_;
  std::int64_t arrived_ = 0;
  std::int64_t ended_ = 0;
  std::string wrong_;
};

TEST(RandomEventsTest, LeaveNoTraceWhenRefusedAndLeadToOneEndWhenNot) {
  const Seeds seeds = testing::SeedsFromEnvironment(150);
  int shown = 0;
  for (std::uint64_t i = 0; i < seeds.count && shown < 5; ++i) {
    const std::string wrong = RandomEvents(seeds.first + i).Run();
    if (wrong.empty()) continue;
    ++shown;
    ADD_FAILURE() << ReplayLine(seeds.first + i, "RandomEventsTest") << "\n"
                  << wrong;
  }
}

}  // namespace
}  // namespace tidegate
