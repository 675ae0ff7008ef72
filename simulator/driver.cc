// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Time and delivery: which moment is next, and what the scheduler hears of it.

#include "simulator/driver.h"

#include <algorithm>
#include <utility>

#include "estimators/text.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// So many events in a row that move nothing are a scheduler that spins. A
// reclaim that lags for seconds under a wake every millisecond stays below it.
constexpr std::int64_t kIdleEventsMax = 100'000;

// A prompt that is computed more often than this is preempted for ever.
constexpr Tokens kComputedTimesMax = 64;

}  // namespace

std::string_view OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kFinished:
      return "finished";
    case Outcome::kRejected:
      return "rejected";
    case Outcome::kCancelled:
      return "cancelled";
    case Outcome::kOpen:
      break;
  }
  return "open";
}

Driver::Driver(DriverOptions options)
    : options_(std::move(options)), world_([this] {
        options_.world.kv_in_pool = options_.scheduler.kv_pool.blocks > 0;
        return options_.world;
      }()) {
  for (DrivenRequest& request : options_.requests) {
    request.arrive.id = requests_.size() + 1;
    requests_.push_back(std::move(request));
  }
  options_.requests.clear();
  options_.requests.shrink_to_fit();
  if (!Streams()) options_.requests_coming = std::ssize(requests_);
  told_live_ = options_.scheduler.memory.base;
}

absl::Status Driver::Run() {
  TG_CHECK(scheduler_ == nullptr);
  TG_CHECK(!Streams() || (requests_.empty() && options_.inputs.empty()));
  TG_RETURN_IF_ERROR(CheckPool());
  TG_ASSIGN_OR_RETURN(scheduler_, Scheduler::Create(options_.scheduler));
  const auto is_observe = [](const TimedInput& input) {
    return std::holds_alternative<Observe>(input.input);
  };
  if (options_.observed && std::none_of(options_.inputs.begin(),
                                        options_.inputs.end(), is_observe)) {
    options_.observed(*scheduler_);
  }
  TG_RETURN_IF_ERROR(SettleReclaimables());
  TG_RETURN_IF_ERROR(Loop());
  return CheckEnd();
}

absl::Status Driver::Loop() {
  while (true) {
    if (Streams()) {
      ForgetEnded();
      TG_RETURN_IF_ERROR(FetchRequest());
    }
    const TimedInput* const input = NextInput();
    const bool inputs_left = input != nullptr;
    std::optional<Instant> next;
    if (inputs_left) next = input->at;
    if (!timers_.empty() && (!next || timers_.top().at < *next)) {
      next = timers_.top().at;
    }
    // What the world does by itself: other tenants, readings that catch up.
    const std::optional<Instant> change = world_.NextChange();
    const bool open = inputs_left || ended_ != arrived_;
    Instant first = next.value_or(Instant::max());
    if (change.has_value() && open) first = std::min(first, *change);
    if (wake_.has_value()) first = std::min(first, *wake_);
    if (first != Instant::max()) TG_RETURN_IF_ERROR(CheckIdle(first));
    if (change.has_value() && open && (!next || *change < *next) &&
        (!wake_ || *change < *wake_)) {
      SetNow(*change);
    } else if (wake_.has_value() && (!next || *wake_ < *next)) {
      // Nobody is left to be woken for.
      if (!inputs_left && ended_ == arrived_ && !next) break;
      SetNow(*wake_);
      TG_RETURN_IF_ERROR(Deliver(Wake{}));
    } else if (!next) {
      break;
    } else if (inputs_left && input->at <= *next) {
      SetNow(*next);
      idle_events_ = 0;
      if (coming_.has_value()) {
        const Input arrives = std::exchange(coming_, std::nullopt)->input;
        TG_RETURN_IF_ERROR(Happen(arrives));
      } else {
        ++next_input_;
        TG_RETURN_IF_ERROR(Happen(input->input));
      }
    } else {
      SetNow(*next);
      const Timer timer = timers_.top();
      timers_.pop();
      TG_RETURN_IF_ERROR(Happen(timer));
    }
    TG_RETURN_IF_ERROR(Settle());
    TG_RETURN_IF_ERROR(CheckProgress());
  }
  return absl::OkStatus();
}

absl::Status Driver::FetchRequest() {
  if (coming_.has_value() || options_.next_request == nullptr) {
    return absl::OkStatus();
  }
  if (forgotten_ + requests_.size() ==
      static_cast<std::size_t>(options_.requests_coming)) {
    return absl::OkStatus();
  }
  TG_ASSIGN_OR_RETURN(std::optional<TimedRequest> next,
                      options_.next_request());
  if (!next.has_value()) {
    options_.requests_coming = std::ssize(requests_) + forgotten_;
    return absl::OkStatus();
  }
  const std::size_t index = forgotten_ + requests_.size();
  next->request.arrive.id = index + 1;
  requests_.push_back(std::move(next->request));
  coming_ = TimedInput{next->at, ArriveInput{index}};
  return absl::OkStatus();
}

void Driver::ForgetEnded() {
  while (!requests_.empty() && requests_.front().stage == Stage::kEnded) {
    stale_prefixes_.erase(forgotten_);
    requests_.pop_front();
    ++forgotten_;
  }
}

void Driver::SetNow(Instant now) {
  now_ = std::max(now_, now);
  world_.SetNow(now_);
}

absl::Status Driver::Happen(const Input& input) {
  if (const auto* arrive = std::get_if<ArriveInput>(&input)) {
    DrivenRequest& request = At(arrive->request);
    TG_CHECK(request.stage == Stage::kFuture);
    ++arrived_;
    open_.insert(arrive->request);
    request.stage = Stage::kWaiting;
    request.arrived = now_;
    const Prefix prefix = PrefixOf(request);
    request.told_tokens = prefix.tokens;
    request.told_bytes = prefix.bytes;
    if (world_.cache() != nullptr) {
      waiting_sessions_[request.session].insert(arrive->request);
    }
    Arrive event = request.arrive;
    event.request.cached_tokens = prefix.tokens;
    event.prefix_bytes = prefix.bytes;
    return Deliver(event);
  }
  if (const auto* cancel = std::get_if<CancelInput>(&input)) {
    const DrivenRequest& request = At(cancel->request);
    // A client that leaves before it came or after its answer is not heard of.
    if (request.stage == Stage::kFuture || request.stage == Stage::kEnded) {
      return absl::OkStatus();
    }
    return Deliver(Cancel{.id = request.arrive.id});
  }
  if (const auto* base = std::get_if<BaseInput>(&input)) {
    world_.SetBase(base->base);
    return Settle();
  }
  if (const auto* ceiling = std::get_if<CeilingInput>(&input)) {
    world_.SetCeiling(ceiling->ceiling);
    return Deliver(CeilingChanged{.ceiling = ceiling->ceiling});
  }
  TG_RETURN_IF_ERROR(Deliver(std::get<Observe>(input)));
  const auto rest =
      options_.inputs.begin() + static_cast<std::ptrdiff_t>(next_input_);
  const bool last =
      std::none_of(rest, options_.inputs.end(), [](const TimedInput& later) {
        return std::holds_alternative<Observe>(later.input);
      });
  if (last && options_.observed) options_.observed(*scheduler_);
  return absl::OkStatus();
}

absl::Status Driver::Happen(const Timer& timer) {
  switch (timer.due) {
    case Due::kStepEnd:
      return EndStep(timer.index);
    case Due::kDecodeTick:
      return TickDecoders();
    case Due::kDecodeEnd:
      return EndDecode(timer.index, timer.run);
    case Due::kReclaimEnd:
      return EndReclaim(timer.index);
  }
  return absl::OkStatus();
}

absl::Status Driver::EndStep(StepId id) {
  const auto at =
      std::find_if(running_.begin(), running_.end(),
                   [id](const RunningStep& step) { return step.id == id; });
  TG_CHECK(at != running_.end());
  RunningStep running = std::move(*at);
  running_.erase(at);
  for (const auto* indices : {&running.requests, &running.decodes}) {
    for (const std::size_t index : *indices) {
      At(index).in_step = false;
    }
  }
  if (!running.step.fits) {
    for (const auto& [index, blocks] : running.blocks) {
      TakeBlocks(At(index), -blocks);
    }
    for (const auto* indices : {&running.requests, &running.decodes}) {
      for (const std::size_t index : *indices) {
        At(index).rests_until = now_ + kLongestPause;
      }
    }
    spare_ = std::move(running);
    return Deliver(
        StepFailed{.step = spare_.id, .why = StepFailure::kOutOfMemory});
  }
  world_.End(running.step);
  StepDone done{.step = running.id,
                .peak_bytes = world_.OfEachRank(running.step.peak),
                .took = running.took};
  finished_.clear();
  for (std::size_t i = 0; i < running.requests.size(); ++i) {
    const std::size_t index = running.requests[i];
    DrivenRequest& request = At(index);
    const Tokens n = request.widths.back();
    request.resident += running.step.growth[i];
    request.done += n;
    if (!request.arrive.request.encodes.empty()) {
      const Bytes given_back =
          AfterChunk(request.arrive.request,
                     i == 0 ? running.encodes : std::vector<std::size_t>{},
                     request.done, &request.outputs);
      request.resident -= given_back;
      world_.AddResident(-given_back);
    }
    request.computed += n + std::exchange(request.lost, 0);
    totals_.computed_tokens += n;
    ++totals_.chunks;
    const Tokens prompt = request.arrive.request.prompt_tokens;
    if (request.computed > SatMul(kComputedTimesMax, prompt)) {
      return Broken("request ", request.arrive.id, " of ", prompt,
                    " prompt tokens was computed more than ", kComputedTimesMax,
                    " times over");
    }
    if (request.done < prompt) continue;
    if (!request.prompt_done.has_value()) request.prompt_done = now_;
    if (!StepsDecode()) continue;
    // The last position of the prompt gives the first token.
    const Tokens tokens =
        std::min(1 + std::exchange(request.kept, 0), request.output_tokens);
    const bool last = Generated(request, tokens);
    done.decodes.push_back({request.arrive.id, tokens, last});
    if (last) finished_.push_back(index);
  }
  for (const std::size_t index : running.decodes) {
    DrivenRequest& request = At(index);
    request.resident += world_.DecodeBytes(1);
    if (!Generated(request, 1)) continue;
    done.decodes.push_back({request.arrive.id, 1, true});
    finished_.push_back(index);
  }
  for (const std::size_t index : finished_) Finish(At(index));
  idle_events_ = 0;
  // What they had pinned for others to share costs those more now, which they
  // are told before the reading in which it is free.
  for (bool told = true; told;) {
    told = false;
    CollectPrefixChanges();
    TG_RETURN_IF_ERROR(SettlePrefix(/*all=*/false, &told));
  }
  // What the pool keeps of the step is known before the reading that has it.
  TG_RETURN_IF_ERROR(SettleReclaimables());
  told_live_ = world_.Live();
  done.live_bytes = world_.OfEachRank(told_live_);
  released_ = released_ || !finished_.empty();
  spare_ = std::move(running);
  return Deliver(std::move(done));
}

bool Driver::Generated(DrivenRequest& request, Tokens tokens) {
  request.decoded += tokens;
  return request.decoded >= request.output_tokens;
}

void Driver::Finish(DrivenRequest& request) {
  Donate(request, request.arrive.request.prompt_tokens + request.decoded);
  Release(request);
  End(request, Outcome::kFinished);
  if (!Streams()) totals_.finish_order.push_back(IndexOf(request));
}

absl::Status Driver::TickDecoders() {
  tick_due_ = false;
  struct Progress {
    std::size_t index;
    std::int64_t run;
    Tokens tokens;
  };
  std::vector<Progress> made;
  for (const std::size_t index : decoding_) {
    DrivenRequest& request = At(index);
    const Tokens decoded =
        std::min(world_.DecodedAfter(now_ - request.decode_start),
                 request.output_tokens);
    const Tokens tokens = decoded - request.decoded;
    if (tokens <= 0) continue;
    const Bytes bytes = world_.DecodeBytes(tokens);
    request.decoded = decoded;
    request.resident += bytes;
    world_.AddResident(bytes);
    made.push_back({index, request.runs, tokens});
  }
  world_.NotePeak();
  TG_RETURN_IF_ERROR(Settle());
  for (const Progress& progress : made) {
    const DrivenRequest& request = At(progress.index);
    // An answer to the reading may have preempted it.
    if (request.stage != Stage::kDecoding || request.runs != progress.run) {
      continue;
    }
    idle_events_ = 0;
    TG_RETURN_IF_ERROR(Deliver(
        DecodeProgress{.id = request.arrive.id, .tokens = progress.tokens}));
  }
  if (!decoding_.empty() && !std::exchange(tick_due_, true)) {
    Schedule(now_ + kDecodeTick, Due::kDecodeTick);
  }
  return absl::OkStatus();
}

absl::Status Driver::EndDecode(std::size_t index, std::int64_t run) {
  if (index < forgotten_) return absl::OkStatus();
  DrivenRequest& request = At(index);
  const auto still = [&] {
    return request.stage == Stage::kDecoding && request.runs == run;
  };
  if (!still()) return absl::OkStatus();
  const Tokens tokens = request.output_tokens - request.decoded;
  if (tokens > 0) {
    const Bytes bytes = world_.DecodeBytes(tokens);
    request.decoded += tokens;
    request.resident += bytes;
    world_.AddResident(bytes);
    world_.NotePeak();
    TG_RETURN_IF_ERROR(Settle());
    if (!still()) return absl::OkStatus();
    TG_RETURN_IF_ERROR(
        Deliver(DecodeProgress{.id = request.arrive.id, .tokens = tokens}));
    if (!still()) return absl::OkStatus();
  }
  decoding_.erase(index);
  Finish(request);
  // Before the reading that shows it, as events.h asks: bytes that are gone and
  // still a request's would look like room that nobody ever had.
  return Deliver(Finished{.id = request.arrive.id});
}

absl::Status Driver::EndReclaim(std::size_t index) {
  const auto at = reclaims_.find(index);
  TG_CHECK(at != reclaims_.end());
  const Reclaim reclaim = std::move(at->second);
  reclaims_.erase(at);
  const Bytes freed = world_.Reclaim(reclaim.kind, reclaim.bytes);
  // A reclaim that freed something moved something.
  if (freed > 0) idle_events_ = 0;
  // What is left to reclaim first: a scheduler that acts on the reading must
  // not count what was freed as still to be freed.
  TG_RETURN_IF_ERROR(SettleReclaimables());
  told_live_ = world_.Live();
  TG_RETURN_IF_ERROR(
      Deliver(MemoryReading{.live_bytes = world_.OfEachRank(told_live_)}));
  return Deliver(ReclaimDone{.reclaim = reclaim.reclaim, .freed_bytes = freed});
}

absl::Status Driver::Deliver(const Event& event) {
  ++idle_events_;
  wake_.reset();
  if (options_.event_log) options_.event_log(EventLine(event, now_));
  if (std::holds_alternative<Finished>(event)) released_ = true;
  std::vector<Action> actions = std::exchange(actions_, {});
  actions.clear();
  const absl::Status status = scheduler_->Handle(event, now_, &actions);
  if (!status.ok()) {
    return Broken("the scheduler refused ", EventName(event), ": ",
                  std::string(status.message()));
  }
  if (options_.event_log) {
    for (const Action& action : actions) {
      options_.event_log(ActionLine(action, now_));
    }
  }
  if (options_.on_decision) {
    options_.on_decision({.now = now_,
                          .event = event,
                          .actions = actions,
                          .stats = scheduler_->Stats()});
  }
  for (const Action& action : actions) TG_RETURN_IF_ERROR(Do(action));
  actions_ = std::move(actions);
  return absl::OkStatus();
}

absl::Status Driver::Settle() {
  // Each answer may change memory again; CheckProgress bounds how long.
  while (true) {
    TG_RETURN_IF_ERROR(CheckProgress());
    CollectPrefixChanges();
    // A prefix that costs more, or holds less, is told before the reading that
    // shows free memory; one that costs less is told after it.
    bool told = false;
    TG_RETURN_IF_ERROR(SettlePrefix(/*all=*/false, &told));
    if (told) continue;
    // After a release also where nothing changed: another request shares it.
    if (world_.Live() != told_live_ || released_) {
      released_ = false;
      told_live_ = world_.Live();
      TG_RETURN_IF_ERROR(
          Deliver(MemoryReading{.live_bytes = world_.OfEachRank(told_live_)}));
      continue;
    }
    TG_RETURN_IF_ERROR(SettlePrefix(/*all=*/true, &told));
    if (told) continue;
    return SettleReclaimables();
  }
}

absl::Status Driver::SettleReclaimables() {
  if (!world_.Reclaims()) return absl::OkStatus();
  for (const std::string& kind : world_.ReclaimableKinds()) {
    const Bytes bytes = world_.ReclaimableBytes(kind);
    const auto [told, first] = told_reclaimable_.emplace(kind, bytes);
    if (!first && told->second == bytes) continue;
    told->second = bytes;
    TG_RETURN_IF_ERROR(Deliver(Reclaimable{.kind = kind, .bytes = bytes}));
  }
  return absl::OkStatus();
}

absl::Status Driver::CheckProgress() const {
  if (idle_events_ <= kIdleEventsMax) return absl::OkStatus();
  return Broken("no progress: ", kIdleEventsMax,
                " events passed without a step, a token or an end, and ",
                arrived_ - ended_, " requests are open");
}

absl::Status Driver::CheckEnd() const {
  const auto total = static_cast<std::size_t>(options_.requests_coming);
  if (ended_ != total) {
    for (const DrivenRequest& request : requests_) {
      if (request.outcome != Outcome::kOpen) continue;
      return Broken("no progress: nothing is scheduled and ", total - ended_,
                    " requests are open, the first of them request ",
                    request.arrive.id);
    }
  }
  const SchedulerStats stats = scheduler_->Stats();
  if (stats.claimed_bytes == 0 && stats.resident_bytes == 0 &&
      stats.waiting == 0) {
    return absl::OkStatus();
  }
  return Broken("the ledger is not zero at the end: ", stats.claimed_bytes,
                " bytes claimed, ", stats.resident_bytes, " resident, ",
                stats.waiting, " requests waiting");
}

}  // namespace tidegate::internal
