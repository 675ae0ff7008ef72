// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Sends events to a scheduler and checks after each of them what must hold
// whatever came: what is refused leaves no trace (a twin never sees it), the
// ledger is conserved, no step is above its room, no request is in two of them,
// each ends once, verdicts are those of an exhaustive search, and a device
// never idles beside a request that it could run.
//
// It only looks at events, actions and statistics. A list of events can be sent
// again: what a scheduler did not ask for it refuses.

#ifndef TIDEGATE_TESTS_TESTING_EVENT_JUDGE_H_
#define TIDEGATE_TESTS_TESTING_EVENT_JUDGE_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "estimators/text.h"
#include "tests/testing/exhaustive_planner.h"
#include "tests/testing/fake_estimator.h"
#include "tests/testing/faults.h"
#include "tidegate/decision_log.h"
#include "tidegate/scheduler.h"

namespace tidegate::testing {

struct TimedEvent {
  Event event;
  Instant when{};
};

class EventJudge {
 public:
  enum class Stage { kWaiting, kPrefill, kDecoding };
  struct Open {
    Stage stage = Stage::kWaiting;
    Arrive arrive;
    Tokens computed = 0;            // of its prompt, since it was last admitted
    std::set<std::size_t> outputs;  // of encoders, that are live
    bool admitted = false;          // once
    bool disturbed = false;         // failed or preempted: it may have to pause
  };

  explicit EventJudge(const SchedulerOptions& options)
      : options_(options),
        estimator_(
            std::static_pointer_cast<const FakeEstimator>(options.estimator)) {
    auto one = Scheduler::Create(options_);
    auto two = Scheduler::Create(options_);
    if (!one.ok()) {
      Wrong("options", std::string(one.status().message()));
      return;
    }
    scheduler_ = *std::move(one);
    twin_ = *std::move(two);
  }

  // The law that was broken first, and how; empty when none was.
  const std::string& law() const { return law_; }
  const std::string& wrong() const { return wrong_; }
  // Everything that was sent before Drain().
  const std::vector<TimedEvent>& sent() const { return sent_; }
  const TortureCounts& counts() const { return counts_; }

  const SchedulerOptions& options() const { return options_; }
  SchedulerStats Stats() const { return scheduler_->Stats(); }
  const std::map<RequestId, Open>& open() const { return open_; }
  const std::map<StepId, RunStep>& running() const { return running_; }
  // Asked for and not answered, with the moment; some were given up since.
  const std::map<ReclaimId, std::pair<Reclaim, Instant>>& reclaims() const {
    return reclaims_;
  }

  void Send(const Event& event, Instant when) {
    if (!wrong_.empty()) return;
    if (!draining_) sent_.push_back({event, when});
    ++counts_.events;
    const Facts before = FactsOf(*scheduler_);
    std::vector<Action> actions;
    const absl::Status status = scheduler_->Handle(event, when, &actions);
    const auto line = [&] { return EventLine(event, when); };
    if (!status.ok()) {
      ++counts_.refused;
      if (!actions.empty()) Wrong("a refused event led to actions", line());
      if (FactsOf(*scheduler_) != before) {
        Wrong("a refused event changed the statistics", line());
      }
      return;
    }
    now_ = when;
    std::vector<Action> same;
    const absl::Status twin = twin_->Handle(event, when, &same);
    if (!twin.ok()) Wrong("the twin refused what the first took", line());
    std::string mine;
    std::string theirs;
    for (const Action& a : actions) mine += ActionLine(a, when);
    for (const Action& a : same) theirs += ActionLine(a, when);
    if (mine != theirs) {
      Wrong("refused events left a trace", line(), mine, "the twin: ", theirs);
    }
    NoteEvent(event);
    wake_.reset();
    for (const Action& action : actions) NoteAction(action);
    CheckMemory(actions);
    CheckBlocks();
    CheckIdle();
    if (!wrong_.empty()) wrong_ += "\nafter " + line() + mine;
  }

  // From here on a well-behaved engine: everything must come to its end.
  void Drain() {
    draining_ = true;
    std::int64_t left = 20'000 + 200 * std::ssize(open_);
    for (; left > 0 && wrong_.empty() && !open_.empty(); --left) {
      if (!running_.empty()) {
        StepDone done{.step = running_.begin()->first};
        for (const RequestId id : running_.begin()->second.decodes) {
          done.decodes.push_back({id, 1, true});
        }
        Send(done, now_);
        continue;
      }
      const auto decoding = std::find_if(
          open_.begin(), open_.end(),
          [](const auto& o) { return o.second.stage == Stage::kDecoding; });
      if (decoding != open_.end() && left % 2 == 0) {
        Send(Finished{decoding->first}, now_);
      } else if (!reclaims_.empty()) {
        // Those that were given up are refused.
        const ReclaimId reclaim = reclaims_.begin()->first;
        Send(ReclaimDone{reclaim, 0}, now_);
        reclaims_.erase(reclaim);
      } else if (releasing_ > 0) {
        Send(Released{releasing_}, now_);
      } else if (wake_.has_value()) {
        Send(Wake{}, std::max(now_, *wake_));
      }
    }
    if (!wrong_.empty()) return;
    const Facts facts = FactsOf(*scheduler_);
    if (!open_.empty()) {
      Wrong("a request never ended", open_.size(), " are open: ", Text(facts));
    }
  }

 private:
  // Figures that a refused event may not change.
  using Facts = std::array<std::int64_t, 20>;
  static Facts FactsOf(const Scheduler& scheduler) {
    const SchedulerStats s = scheduler.Stats();
    const MemoryClasses& m = s.memory;
    return {s.arrived,     s.admitted,    s.finished,      s.rejected,
            s.cancelled,   s.steps,       s.out_of_memory, s.reclaims,
            s.preemptions, s.waiting,     s.claimed_bytes, s.resident_bytes,
            m.live,        m.side,        m.in_flight,     m.line,
            m.kv,          m.reclaimable, m.claims,        m.pending_release};
  }
  static std::string Text(const Facts& facts) {
    std::string text;
    for (const std::int64_t fact : facts) text += std::to_string(fact) + " ";
    return text;
  }

  template <typename... Pieces>
  void Wrong(const std::string& law, const Pieces&... pieces) {
    if (!wrong_.empty()) return;
    law_ = law;
    wrong_ = internal::Concat(law, ": ", pieces...);
  }

  bool pool() const { return options_.kv_pool.blocks > 0; }

  // Never more blocks than the pool has, as long as nobody else takes any and
  // drafts bring no more tokens than were foreseen.
  void CheckBlocks() {
    if (!pool()) return;
    const KvBlocks blocks = scheduler_->Stats().kv_blocks;
    if (blocks.held < 0 || blocks.claims < 0 ||
        (open_.empty() && blocks.held + blocks.claims != 0)) {
      Wrong("blocks left over", blocks.held, " and ", blocks.claims);
    }
    if (blocks_loose_ || !options_.step.DecodesInSteps()) return;
    Bytes growing = 0;
    for (const auto& [id, run] : running_) {
      for (const StepChunk& chunk : run.chunks) {
        const Arrive& arrive = open_.at(chunk.id).arrive;
        const Tokens size = options_.kv_pool.block_tokens;
        if (arrive.request.cached_tokens == arrive.request.prompt_tokens) {
          continue;
        }
        growing += CeilDiv(chunk.kv_len, size) - CeilDiv(chunk.start, size);
      }
    }
    if (blocks.held + growing > blocks.total) {
      Wrong("more blocks than the pool has", blocks.held, " + ", growing);
    }
  }

  void NoteEvent(const Event& event) {
    if (const auto* reading = std::get_if<MemoryReading>(&event)) {
      blocks_loose_ |= reading->kv_blocks.has_value();
    } else if (const auto* done = std::get_if<StepDone>(&event)) {
      for (const DecodeResult& result : done->decodes) {
        blocks_loose_ |= result.tokens > 1;
      }
    } else if (std::holds_alternative<PolicyChanged>(event)) {
      blocks_loose_ = true;
    }
    if (const auto* arrive = std::get_if<Arrive>(&event)) {
      open_[arrive->id] = {.arrive = *arrive};
      ++arrived_;
      ++counts_.requests;
    } else if (const auto* prefix = std::get_if<PrefixChanged>(&event)) {
      Arrive& changed = open_.at(prefix->id).arrive;
      changed.request.cached_tokens = prefix->cached_tokens;
      changed.request.cached_chunk = 1;
      changed.prefix_bytes = prefix->prefix_bytes;
    } else if (const auto* done = std::get_if<Finished>(&event)) {
      InStep(done->id) ? void(finishing_.insert(done->id)) : Close(done->id);
    } else if (const auto* policy = std::get_if<PolicyChanged>(&event)) {
      options_ = *policy->options;
    } else if (const auto* ceiling = std::get_if<CeilingChanged>(&event)) {
      options_.memory.ceiling = ceiling->ceiling;
    } else if (const auto* reclaim = std::get_if<ReclaimDone>(&event)) {
      reclaims_.erase(reclaim->reclaim);
    } else if (const auto* pending = std::get_if<ReleasePending>(&event)) {
      releasing_ = SatAdd(releasing_, pending->bytes);
    } else if (const auto* released = std::get_if<Released>(&event)) {
      releasing_ -= released->bytes;
    } else if (const auto* ran = std::get_if<StepDone>(&event)) {
      ++counts_.steps;
      if (!ran->live_bytes.empty()) measured_ = true;
      const RunStep& run = running_.at(ran->step);
      counts_.chunks += std::ssize(run.chunks);
      for (const StepChunk& chunk : run.chunks) {
        open_.at(chunk.id).computed += chunk.n;
      }
      NoteOutputs(run);
      EndStep(ran->step, ran->decodes);
    } else if (const auto* failed = std::get_if<StepFailed>(&event)) {
      for (auto& [id, open] : open_) {
        if (InStep(id, failed->step)) open.disturbed = true;
      }
      EndStep(failed->step, {});
    } else if (const auto* decode = std::get_if<DecodeFailed>(&event)) {
      open_.at(decode->id).disturbed = true;
    }
  }

  void NoteAction(const Action& action) {
    if (const auto* run = std::get_if<RunStep>(&action)) {
      NoteStep(*run);
    } else if (const auto* admit = std::get_if<Admit>(&action)) {
      if (Find(admit->id) != Stage::kWaiting) {
        return Wrong("admitted, not waiting", admit->id);
      }
      Open& open = open_.at(admit->id);
      CheckAdmission(open, admit->claim_bytes);
      open.stage = Stage::kPrefill;
      open.admitted = true;
    } else if (const auto* reject = std::get_if<Reject>(&action)) {
      CheckRefusal(*reject);
      Close(reject->id);
    } else if (const auto* cancelled = std::get_if<Cancelled>(&action)) {
      Close(cancelled->id);
    } else if (const auto* preempt = std::get_if<Preempt>(&action)) {
      if (InStep(preempt->id)) Wrong("preempted in a step", preempt->id);
      if (!Find(preempt->id).has_value()) {
        return Wrong("preempted, not here", preempt->id);
      }
      Open& open = open_.at(preempt->id);
      open.stage = Stage::kWaiting;
      open.computed = 0;
      open.outputs.clear();
      open.disturbed = true;
    } else if (const auto* decode = std::get_if<StartDecode>(&action)) {
      if (Find(decode->id) != Stage::kPrefill) {
        return Wrong("decodes, not in prefill", decode->id);
      }
      open_.at(decode->id).stage = Stage::kDecoding;
    } else if (const auto* reclaim = std::get_if<Reclaim>(&action)) {
      if (reclaim->bytes <= 0) Wrong("a reclaim of nothing", reclaim->kind);
      reclaims_.emplace(reclaim->reclaim, std::pair(*reclaim, now_));
    } else if (const auto* wake = std::get_if<WakeAt>(&action)) {
      wake_ = wake->when;
      if (wake->when <= now_) Wrong("a wake that is not in the future", "");
    }
  }

  void NoteStep(const RunStep& run) {
    const StepShape& shape = options_.step;
    if (std::ssize(running_) >= shape.in_flight) {
      Wrong("more steps at once than may be", run.step);
    }
    if (run.chunks.empty() && run.decodes.empty()) {
      Wrong("an empty step", run.step);
    }
    if (std::ssize(run.chunks) > shape.sequences) {
      Wrong("more prompts in a step than may be", run.step);
    }
    auto tokens = static_cast<Tokens>(run.decodes.size());
    std::set<RequestId> seen;
    for (const StepChunk& chunk : run.chunks) {
      tokens += chunk.n;
      if (Find(chunk.id) != Stage::kPrefill || InStep(chunk.id) ||
          !seen.insert(chunk.id).second) {
        return Wrong("a chunk of a request that is not in prefill or in a step",
                     chunk.id);
      }
      const Tokens prompt = open_.at(chunk.id).arrive.request.prompt_tokens;
      if (chunk.n < 1 || chunk.start < 0 || chunk.kv_len > prompt ||
          chunk.start + chunk.n != chunk.kv_len) {
        Wrong("a chunk outside its prompt", chunk.id);
      }
    }
    for (const RequestId id : run.decodes) {
      if (Find(id) != Stage::kDecoding || InStep(id) ||
          !seen.insert(id).second) {
        Wrong("a decode token of a request that does not decode or in a step",
              id);
      }
    }
    if (shape.tokens > 0 && tokens > shape.tokens) {
      Wrong("more tokens in a step than may be", tokens);
    }
    if (shape.decodes > 0 && std::ssize(run.decodes) > shape.decodes) {
      Wrong("more decode tokens in a step than may be", run.decodes.size());
    }
    using Decode = StepShape::Decode;
    if (!run.decodes.empty() &&
        (shape.decode == Decode::kEngine ||
         (shape.decode == Decode::kBetween && !run.chunks.empty()))) {
      Wrong("decode tokens that the engine does not take", run.step);
    }
    CheckEncodes(run);
    const Bytes price = run.price.Need();
    if (price > run.room_bytes) Wrong("a step above its room", price);
    if (!options_.calibrate && run.encodes.empty() && run.chunks.size() == 1 &&
        run.decodes.empty()) {
      const Chunk chunk{.n = run.chunks[0].n, .kv_len = run.chunks[0].kv_len};
      const Bytes real =
          estimator_->Total({.chunks = {&chunk, 1}}).transient_bytes;
      if (real != run.price.transient_bytes) {
        Wrong("a step is not priced as its estimator says",
              run.price.transient_bytes, " instead of ", real);
      }
    }
    running_[run.step] = run;
  }

  // Every item that a chunk has tokens of and whose output is not live, and no
  // other; all of one request.
  void CheckEncodes(const RunStep& run) {
    std::vector<StepEncode> needed;
    for (const StepChunk& chunk : run.chunks) {
      const Open& open = open_.at(chunk.id);
      const std::vector<EncodeItem>& items = open.arrive.request.encodes;
      for (std::size_t i = 0; i < items.size(); ++i) {
        const bool here = items[i].start < chunk.kv_len &&
                          items[i].start + items[i].length > chunk.start;
        if (here && !open.outputs.contains(i)) needed.push_back({chunk.id, i});
      }
    }
    if (needed != run.encodes) {
      Wrong("a step with other encoder items than it needs", run.step);
    }
    if (!needed.empty() && needed.front().id != needed.back().id) {
      Wrong("a step with encoders of two requests", run.step);
    }
  }

  void NoteOutputs(const RunStep& run) {
    for (const StepEncode& encode : run.encodes) {
      open_.at(encode.id).outputs.insert(encode.item);
    }
    for (const StepChunk& chunk : run.chunks) {
      Open& open = open_.at(chunk.id);
      std::erase_if(open.outputs, [&](std::size_t i) {
        const EncodeItem& item = open.arrive.request.encodes[i];
        return item.start + item.length <= chunk.kv_len;
      });
    }
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
  static bool Holds(const RunStep& run, RequestId id) {
    return std::count(run.decodes.begin(), run.decodes.end(), id) > 0 ||
           std::any_of(run.chunks.begin(), run.chunks.end(),
                       [id](const StepChunk& c) { return c.id == id; });
  }
  bool InStep(RequestId id) const {
    return std::any_of(running_.begin(), running_.end(),
                       [id](const auto& r) { return Holds(r.second, id); });
  }
  bool InStep(RequestId id, StepId step) const {
    return Holds(running_.at(step), id);
  }
  std::optional<Stage> Find(RequestId id) const {
    const auto it = open_.find(id);
    if (it == open_.end()) return std::nullopt;
    return it->second.stage;
  }
  void Close(RequestId id) {
    if (open_.erase(id) == 0) Wrong("a request ended twice", id);
    ++ended_;
  }

  // Saturated figures add up to nothing.
  static bool Sane(Bytes bytes) {
    return bytes < Bytes{1} << 60 && bytes > -(Bytes{1} << 60);
  }

  void CheckMemory(const std::vector<Action>& actions) {
    const SchedulerStats stats = scheduler_->Stats();
    const MemoryClasses& m = stats.memory;
    const auto text = [&] { return Text(FactsOf(*scheduler_)); };
    std::int64_t waiting = 0;
    for (const auto& [id, open] : open_) {
      if (open.stage == Stage::kWaiting) ++waiting;
    }
    const bool nobody = waiting == std::ssize(open_);
    if (stats.waiting != waiting) {
      Wrong("waiting is not who waits", waiting, ": ", text());
    }
    if (stats.arrived != arrived_ ||
        stats.finished + stats.rejected + stats.cancelled != ended_ ||
        arrived_ - ended_ != std::ssize(open_)) {
      Wrong("arrivals and ends differ", text());
    }
    if (m.live < 0 || m.kv < 0 || m.side < 0 || m.reclaimable < 0 ||
        m.pending_release < 0 || m.claims < 0 || m.in_flight < 0) {
      Wrong("fewer bytes than none", text());
    }
    if (Sane(m.live) && Sane(m.kv) && Sane(m.reclaimable) &&
        Sane(m.pending_release) &&
        m.live != m.kv + m.side + m.reclaimable + m.pending_release + m.other) {
      Wrong("live is not the sum of its classes", text());
    }
    if (m.kv + m.side != stats.resident_bytes ||
        m.claims != stats.claimed_bytes) {
      Wrong("two figures of one thing differ", text());
    }
    if (nobody && (m.kv != 0 || m.side != 0 || m.claims != 0)) {
      Wrong("bytes of nobody", text());
    }
    Bytes in_flight = 0;
    for (const auto& [id, run] : running_) {
      in_flight = SatAdd(in_flight, run.price.transient_bytes,
                         run.price.resident_bytes);
    }
    if (m.in_flight != in_flight) {
      Wrong("in flight is not what runs", in_flight, ": ", text());
    }
    const bool started =
        std::any_of(actions.begin(), actions.end(), [](const Action& action) {
          return std::holds_alternative<RunStep>(action);
        });
    if (started && SatAdd(m.live, in_flight) > m.line) {
      Wrong("a step started above the line", text());
    }
  }

  // An idle, fully reclaimed device as it is now, and what is asked of it.
  std::optional<bool> FitsIdleDevice(const Arrive& arrive) const {
    // The exhaustive planner adds without saturation.
    for (const EncodeItem& item : arrive.request.encodes) {
      if (!Sane(item.transient_bytes) || !Sane(item.output_bytes)) {
        return std::nullopt;
      }
    }
    const PlanRequest& asked = arrive.request;
    // Small enough to enumerate, and with prices that are known here.
    if (asked.prompt_tokens > 160 || asked.max_output_tokens > 100 ||
        asked.cached_chunk != 1 || measured_ || options_.calibrate ||
        !options_.ranks.empty() || !Sane(arrive.prefix_bytes)) {
      return std::nullopt;
    }
    const MemoryClasses memory = scheduler_->Stats().memory;
    if (!Sane(memory.other) || !Sane(memory.line)) return std::nullopt;
    PlannedWorld world{.estimator = *estimator_,
                       .request = asked,
                       .memory = options_.memory,
                       .chunk = options_.chunk};
    world.request.extra_bytes_per_token = 0;
    if (options_.chunk_policy == "fixed") world.chunk.floor = world.chunk.max;
    world.memory.headroom = 0;
    world.memory.ceiling = memory.line;
    world.memory.base = std::max<Bytes>(0, memory.other) + arrive.prefix_bytes;
    return ExhaustivePlanner(world).FewestChunks().has_value();
  }

  void CheckAdmission(const Open& open, Bytes claim) {
    if (open.admitted || options_.admission_policy != "reserve" || pool()) {
      return;
    }
    const PlanRequest& asked = open.arrive.request;
    if (!options_.calibrate && !estimator_->preallocated &&
        asked.cached_chunk == 1) {
      const Tokens first =
          std::min(asked.cached_tokens, asked.prompt_tokens - 1);
      const Tokens whole = asked.prompt_tokens + asked.max_output_tokens;
      const Bytes grows = estimator_->SequenceBytes(whole, 1) -
                          estimator_->SequenceBytes(first, 1);
      if (claim < grows) {
        Wrong("a claim below what the request will hold", claim, " of ", grows);
      }
    }
    if (FitsIdleDevice(open.arrive) == false) {
      Wrong("admitted, and fits no idle device", open.arrive.id);
    }
  }

  void CheckRefusal(const Reject& reject) {
    const auto it = open_.find(reject.id);
    if (it == open_.end() || it->second.admitted || pool()) return;
    if (reject.code == RefusalCode::kTooLarge &&
        FitsIdleDevice(it->second.arrive) == true) {
      Wrong("refused as too large, and fits an idle device", reject.reason);
    }
  }

  void CheckIdle() {
    if (open_.empty() || !running_.empty() || !wrong_.empty()) return;
    const bool engine_decodes =
        options_.step.decode == StepShape::Decode::kEngine &&
        std::any_of(open_.begin(), open_.end(), [](const auto& o) {
          return o.second.stage == Stage::kDecoding;
        });
    // Given up after so long (scheduler/memory_state.h).
    constexpr Duration kPatience = std::chrono::seconds(30);
    const bool reclaiming = std::any_of(
        reclaims_.begin(), reclaims_.end(),
        [&](const auto& r) { return now_ - r.second.second < kPatience; });
    if (!engine_decodes && !reclaiming && releasing_ == 0 &&
        !wake_.has_value()) {
      Wrong("idle, with nothing to wait for", open_.size(), " requests");
    }
    if (open_.size() > 1 || reclaiming) return;
    const Open& one = open_.begin()->second;
    const PlanRequest& asked = one.arrive.request;
    if (one.stage == Stage::kDecoding || one.disturbed || measured_ ||
        options_.calibrate || pool() || !asked.uncuttable.empty() ||
        options_.memory.max_allocation.has_value() ||
        asked.max_output_tokens > 10'000) {
      return;
    }
    // More than it can need, whatever the way that leads there.
    const Tokens whole = asked.prompt_tokens + asked.max_output_tokens;
    const Tokens n = std::min(options_.chunk.max, asked.prompt_tokens);
    Bytes transient = 0;
    for (const FakeEstimator::Kernel& k : estimator_->kernels) {
      transient =
          std::max(transient, SatAdd(SatAdd(k.fixed, SatMul(k.per_n, n)),
                                     SatAdd(SatMul(k.per_kv, whole),
                                            SatMul(k.per_n_kv, n, whole))));
    }
    for (const EncodeItem& item : asked.encodes) {
      transient = SatAdd(transient, item.transient_bytes, item.output_bytes);
    }
    const Bytes need = SatAdd(
        SatAdd(transient,
               SatMul(2, estimator_->SequenceBytes(whole, options_.chunk.max))),
        one.arrive.prefix_bytes);
    const MemoryClasses memory = scheduler_->Stats().memory;
    if (Sane(memory.line) && Sane(memory.live) &&
        memory.line - memory.live - memory.claims >= need) {
      Wrong("an idle device beside a request that surely fits",
            open_.begin()->first);
    }
  }

  SchedulerOptions options_;
  std::shared_ptr<const FakeEstimator> estimator_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<Scheduler> twin_;

  std::vector<TimedEvent> sent_;
  bool draining_ = false;
  TortureCounts counts_;
  Instant now_{};
  std::map<RequestId, Open> open_;
  std::map<ReclaimId, std::pair<Reclaim, Instant>> reclaims_;
  Bytes releasing_ = 0;
  bool blocks_loose_ = false;
  std::map<StepId, RunStep> running_;
  std::set<RequestId> finishing_;  // with the step that they are in
  std::optional<Instant> wake_;
  bool measured_ = false;  // growth beside prices may be known
  std::int64_t arrived_ = 0;
  std::int64_t ended_ = 0;
  std::string law_;
  std::string wrong_;
};

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_EVENT_JUDGE_H_
