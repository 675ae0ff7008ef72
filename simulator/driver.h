// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Joins a Scheduler and a World in virtual time.
//
// Time is an integer of nanoseconds. What happens is totally ordered by moment,
// then: inputs in the order given, then what the engine owes in the order in
// which it was begun. Before the scheduler hears of an event it has heard of
// the memory that goes with it.
//
// The driver is also the judge. Whatever the scheduler believes, it checks from
// outside that no step is dearer than its room, that steps continue prompts
// where they stand, that each request ends exactly once, that everything goes
// on, that the device is not left idle while a chunk fits (driver_idle.cc), and
// that the ledger is zero at the end. A broken promise is an Internal error
// that names it.
//
// Thread-safety: none.

#ifndef TIDEGATE_SIMULATOR_DRIVER_H_
#define TIDEGATE_SIMULATOR_DRIVER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "estimators/text.h"
#include "simulator/encoders.h"
#include "simulator/world.h"
#include "tidegate/actions.h"
#include "tidegate/decision_log.h"
#include "tidegate/events.h"
#include "tidegate/scheduler.h"
#include "tidegate/simulator.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// How a request ended.
enum class Outcome { kOpen, kFinished, kRejected, kCancelled };
std::string_view OutcomeName(Outcome outcome);

// One request: what it asks for, and what came of it.
struct DrivenRequest {
  // Given. The id is set by the driver; cached_tokens counts as an upper bound
  // where the world has a prefix cache.
  Arrive arrive;
  Tokens output_tokens = 0;
  std::int64_t session = 0;

  // What came of it.
  Outcome outcome = Outcome::kOpen;
  RefusalCode refusal = RefusalCode::kNone;
  Instant arrived{};
  std::optional<Instant> first_chunk;  // when its first chunk began
  std::optional<Instant> prompt_done;  // when its last chunk ended
  Instant ended{};
  std::vector<Tokens> widths;  // of the chunks that ran, in order
  Tokens computed = 0;         // prompt tokens computed, again ones too

  // Where it stands.
  enum class Stage { kFuture, kWaiting, kPrefill, kDecoding, kEnded };
  Stage stage = Stage::kFuture;
  bool in_step = false;
  // What the scheduler was told last of the cached prefix.
  Tokens told_tokens = 0;
  Bytes told_bytes = 0;
  Tokens done = 0;     // prompt tokens in memory
  Tokens pinned = 0;   // of which in the prefix cache
  Tokens lost = 0;     // promised as cached, dropped before admission
  Bytes resident = 0;  // KV of its own, and outputs of encoders
  LiveOutputs outputs;
  std::int64_t blocks = 0;  // of the KV pool
  Instant decode_start{};
  Tokens decoded = 0;
  Tokens kept = 0;  // generated before a preemption, computed with the prompt
  std::int64_t runs = 0;   // times it was admitted: a stale timer has another
  std::uint64_t mark = 0;  // the last check that saw it
  // Until when a failed step or a preemption keeps it from going on.
  Instant rests_until{};
};

// What happens to the system from outside.
struct ArriveInput {
  std::size_t request = 0;  // index
};
struct CancelInput {
  std::size_t request = 0;  // nothing happens when it is not there
};
struct BaseInput {
  Bytes base = 0;
};
struct CeilingInput {
  Bytes ceiling = 0;
};
using Input =
    std::variant<ArriveInput, CancelInput, BaseInput, CeilingInput, Observe>;
struct TimedInput {
  Instant at{};
  Input input;
};

// A request that arrives at a moment.
struct TimedRequest {
  Instant at{};
  DrivenRequest request;
};

struct DriverOptions {
  SchedulerOptions scheduler;
  WorldSetup world;
  std::vector<DrivenRequest> requests;
  std::vector<TimedInput> inputs;  // ascending by time
  // In place of both: the next request, ascending by time, until there is none,
  // `requests_coming` of them. None is kept beyond its end.
  std::function<absl::StatusOr<std::optional<TimedRequest>>()> next_request;
  std::int64_t requests_coming = 0;
  // Sees each request as it ends.
  std::function<void(const DrivenRequest&)> ended;
  std::function<void(double)> progress;
  std::function<void(std::string_view)> event_log;
  DecisionObserver on_decision;
  // Called once: after the last Observe, before anything when there is none.
  std::function<void(const Scheduler&)> observed;
  bool want_series = false;
  // Whether policies that are not built in are held to leave no device idle, as
  // those that are built in are.
  bool custom_conserve = false;
};

// What is counted over a run.
struct DriverTotals {
  std::int64_t out_of_memory = 0;
  std::int64_t chunks = 0;
  std::int64_t reclaims = 0;
  Tokens computed_tokens = 0;
  Tokens cache_hit_tokens = 0;
  Tokens cache_recomputed_tokens = 0;
  std::vector<std::size_t> finish_order;  // of requests that are kept
  std::vector<SeriesPoint> series;
};

// Decoded tokens are reported together: at most this often, which is 15 tokens
// at the default speed. Every token apart would make nine events of ten say
// nothing that a decision depends on.
inline constexpr Duration kDecodeTick = std::chrono::milliseconds(500);

// No request rests longer after steps that failed, or after it was preempted.
inline constexpr Duration kLongestPause = std::chrono::seconds(17);

class Driver {
 public:
  explicit Driver(DriverOptions options);

  // Runs until nothing is left to happen; call once. InvalidArgument for
  // options that the scheduler refuses, Internal for a broken promise.
  absl::Status Run();

  const std::deque<DrivenRequest>& requests() const { return requests_; }
  const DriverTotals& totals() const { return totals_; }
  DriverTotals TakeTotals() { return std::move(totals_); }
  World& world() { return world_; }

 private:
  using Stage = DrivenRequest::Stage;

  enum class Due { kStepEnd, kDecodeTick, kDecodeEnd, kReclaimEnd };
  struct Timer {
    Instant at{};
    std::uint64_t order = 0;
    Due due = Due::kStepEnd;
    std::size_t index = 0;  // request, step or reclaim
    std::int64_t run = 0;
    friend bool operator>(const Timer& a, const Timer& b) {
      return a.at != b.at ? a.at > b.at : a.order > b.order;
    }
  };
  struct RunningStep {
    StepId id = 0;
    std::vector<std::size_t> requests;  // with a chunk in it
    std::vector<std::size_t> decodes;   // with a decode token in it
    std::vector<std::size_t> encodes;   // items of the first request
    World::Step step;
    // Of the KV pool, that each request takes with it.
    std::vector<std::pair<std::size_t, std::int64_t>> blocks;
    Bytes price = 0;
    Duration took{};
  };

  // driver.cc: time and delivery.
  absl::Status Loop();
  // Where requests are streamed: has the next one ready to arrive, and forgets
  // those that have ended.
  absl::Status FetchRequest();
  void ForgetEnded();
  const TimedInput* NextInput() const {
    if (coming_.has_value()) return &*coming_;
    return next_input_ < options_.inputs.size() ? &options_.inputs[next_input_]
                                                : nullptr;
  }
  void SetNow(Instant now);
  absl::Status Happen(const Input& input);
  absl::Status Happen(const Timer& timer);
  absl::Status EndStep(StepId id);
  // Whether its last token is generated.
  bool Generated(DrivenRequest& request, Tokens tokens);
  void Finish(DrivenRequest& request);
  absl::Status TickDecoders();
  absl::Status EndDecode(std::size_t index, std::int64_t run);
  absl::Status EndReclaim(std::size_t index);
  // Tells the scheduler one thing and does what it answers.
  absl::Status Deliver(const Event& event);
  // Tells the scheduler what changed besides: prefixes, memory, reclaimables.
  absl::Status Settle();
  absl::Status SettleReclaimables();
  absl::Status SettlePrefix(bool all, bool* told);
  void CollectPrefixChanges();
  struct Prefix {
    Tokens tokens = 0;
    Bytes bytes = 0;
  };
  Prefix PrefixOf(const DrivenRequest& request) const;
  absl::Status CheckEnd() const;
  absl::Status CheckProgress() const;

  // driver_idle.cc: what could run while nothing does.
  // Before time goes on to `next`.
  absl::Status CheckIdle(Instant next);
  // The request that could start or go on; null where there is none.
  const DrivenRequest* Runnable();
  bool JudgesIdleness() const;
  // Whether the KV pool, where there is one, has the blocks that it takes yet.
  bool HasBlocks(const DrivenRequest& request) const;

  // driver_actions.cc: what the scheduler asks for.
  absl::Status Do(const Action& action);
  absl::Status DoAdmit(const Admit& action);
  absl::Status DoRunStep(const RunStep& action);
  absl::Status CheckStep(const RunStep& action);
  // driver_pool.cc: the engine's KV pool, where it has one.
  absl::Status CheckPool() const;
  // Takes the blocks of a step that is about to run.
  absl::Status TakeStepBlocks(const RunStep& action, RunningStep* running);
  void TakeBlocks(DrivenRequest& request, std::int64_t blocks) {
    request.blocks += blocks;
    blocks_used_ += blocks;
  }
  absl::Status CheckEncodes(const RunStep& action) const;
  absl::Status CheckDecodes(const RunStep& action);
  absl::Status CheckChunk(const RunStep& step, const StepChunk& chunk) const;
  absl::Status DoReject(const Reject& action);
  absl::Status DoReclaim(const Reclaim& action);
  absl::Status DoPreempt(const Preempt& action);
  absl::Status DoStartDecode(const StartDecode& action);
  absl::Status DoCancelled(const Cancelled& action);

  // Moves the first `tokens` of a request into the prefix cache, pinned.
  void Donate(DrivenRequest& request, Tokens tokens);
  // Takes it out of those that hear of their session's prefix.
  void StopsWaiting(const DrivenRequest& request);
  // Frees whatever a request holds.
  void Release(DrivenRequest& request);
  void End(DrivenRequest& request, Outcome outcome);

  DrivenRequest* Find(RequestId id);
  const DrivenRequest* Find(RequestId id) const;
  // By index: the first of the run has 0. It must not have been forgotten.
  DrivenRequest& At(std::size_t index) { return requests_[index - forgotten_]; }
  const DrivenRequest& At(std::size_t index) const {
    return requests_[index - forgotten_];
  }
  static std::size_t IndexOf(const DrivenRequest& request) {
    return static_cast<std::size_t>(request.arrive.id - 1);
  }
  bool Streams() const { return options_.next_request != nullptr; }
  void Schedule(Instant at, Due due, std::size_t index = 0,
                std::int64_t run = 0);
  template <typename... Pieces>
  absl::Status Broken(const Pieces&... pieces) const {
    return absl::InternalError(
        Concat("at ", now_.time_since_epoch().count(), " ns: ", pieces...));
  }

  DriverOptions options_;
  std::deque<DrivenRequest> requests_;
  std::size_t forgotten_ = 0;  // requests before the first of those
  std::optional<TimedInput> coming_;
  std::int64_t blocks_used_ = 0;  // of the KV pool
  World world_;
  std::unique_ptr<Scheduler> scheduler_;
  DriverTotals totals_;

  Instant now_{};
  std::size_t next_input_ = 0;
  bool StepsDecode() const { return options_.scheduler.step.DecodesInSteps(); }
  std::priority_queue<Timer, std::vector<Timer>, std::greater<>> timers_;
  std::uint64_t timers_made_ = 0;
  std::optional<Instant> wake_;
  std::vector<Action> actions_;

  std::vector<RunningStep> running_;
  // Scratch, so that a step allocates nothing once the vectors have grown.
  RunningStep spare_;
  std::vector<Chunk> chunks_;
  std::vector<Tokens> decode_kv_;
  std::vector<std::size_t> finished_;
  std::uint64_t marks_ = 0;
  std::set<std::size_t> decoding_;
  bool tick_due_ = false;
  std::map<std::size_t, Reclaim> reclaims_;  // that are not done
  std::size_t reclaims_made_ = 0;

  Bytes told_live_ = 0;
  bool released_ = false;  // something since that reading
  std::map<std::string, Bytes> told_reclaimable_;
  std::set<std::size_t> stale_prefixes_;  // waiting, to be told
  absl::flat_hash_map<std::int64_t, std::set<std::size_t>> waiting_sessions_;

  std::set<std::size_t> open_;  // arrived and not ended
  std::size_t ended_ = 0;
  std::size_t arrived_ = 0;
  std::int64_t progress_told_ = 0;
  std::int64_t idle_events_ = 0;           // since anything went on
  std::optional<Instant> runnable_since_;  // with nothing running
  std::optional<ChunkLimits> reachable_;   // what the chunk policy can reach
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SIMULATOR_DRIVER_H_
