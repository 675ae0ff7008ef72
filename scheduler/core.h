// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The scheduler's state and control flow. Handle() first applies the event
// (core_events.cc and, for the ends of steps, core_steps.cc), which only
// records facts, then decides what to do next: who is served and whether it may
// start (core_decide.cc), what is in the next step (core_form.cc), and what is
// freed when nothing fits (core_pressure.cc).

#ifndef TIDEGATE_SCHEDULER_CORE_H_
#define TIDEGATE_SCHEDULER_CORE_H_

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "estimators/calibrated_estimator.h"
#include "estimators/calibrator.h"
#include "policies/encode_items.h"
#include "scheduler/growth_meter.h"
#include "scheduler/kv_pool.h"
#include "scheduler/ledger.h"
#include "scheduler/memory_state.h"
#include "scheduler/output_meter.h"
#include "scheduler/request_table.h"
#include "scheduler/step.h"
#include "tidegate/policy.h"
#include "tidegate/scheduler.h"

namespace tidegate::internal {

struct Policies {
  std::shared_ptr<const ChunkPolicy> chunk;
  std::shared_ptr<const AdmissionPolicy> admission;
  std::shared_ptr<const OrderPolicy> order;
  std::shared_ptr<const PressurePolicy> pressure;
};

// The narrowest chunk that is not a prompt's last, from a boundary.
Tokens NarrowestChunk(const ChunkLimits& limits);

// What an event about a request that is not here is refused with.
absl::Status UnknownRequest(RequestId id);

// InvalidArgument names the option that is wrong.
absl::StatusOr<Policies> CheckOptions(const SchedulerOptions& options);

class Core final : public Scheduler {
 public:
  Core(SchedulerOptions options, Policies policies);

  absl::Status Handle(const Event& event, Instant now,
                      std::vector<Action>* actions) override;
  SchedulerStats Stats() const override;
  std::vector<CalibrationRoute> Calibration() const override {
    return calibrator_.Save(now_);
  }
  absl::Status LoadCalibration(
      const std::vector<CalibrationRoute>& routes) override;
  const Estimator& Prices() const override {
    return options_.calibrate ? *corrected_ : *options_.estimator;
  }

 private:
  // core_events.cc: one for each kind of event. An error changes nothing.
  absl::Status On(const Arrive& event);
  absl::Status On(const PrefixChanged& event);
  absl::Status On(const DecodeProgress& event);
  absl::Status On(const Finished& event);
  absl::Status On(const Cancel& event);
  absl::Status On(const MemoryReading& event);
  absl::Status On(const CeilingChanged& event);
  absl::Status On(const Reclaimable& event);
  absl::Status On(const ReclaimDone& event);
  absl::Status On(const ReleasePending& event);
  absl::Status On(const Released& event);
  absl::Status On(const Observe& event);
  absl::Status On(const Wake& event);
  absl::Status On(const DecodeFailed& event);
  absl::Status On(const PolicyChanged& event);
  absl::Status CheckReading(std::string_view name,
                            const std::vector<Bytes>& bytes) const;

  // core_steps.cc
  absl::Status On(const StepDone& event);
  absl::Status On(const StepFailed& event);
  // Leaves in each request of the step which entry of the event is its own.
  absl::Status CheckDecodes(const Step& step, const StepDone& event);
  // The end of running_ when it does not run.
  std::vector<Step>::iterator FindStep(StepId id);
  // Takes it off the running ones.
  Step EndStep(StepId id);
  void ChunkDone(const Step& step, std::size_t i);
  void DecodeGrew(Request& request, Tokens tokens);
  // Tokens of a decoding request that are in the cache.
  Tokens Length(const Request& request) const;
  void FinishNow(Request& request);
  void AfterStep(Request& request, const DecodeResult* result);
  void Fail(const Step& step, Request& request, Tokens n, bool memory);
  // A step's price before any correction, and the route it was priced on.
  struct StaticPrice {
    std::string route;
    Bytes transient_bytes = 0;
  };
  StaticPrice StaticPriceOf(const StepQuery& step) const;
  void MeasureTransient(const Step& step, const StepDone& done);
  void MeasureGrowth(const Step& step, const std::vector<Bytes>& live);
  void RaiseClaims();
  // Promises what is left of an admitted prompt, and its output.
  void ClaimRest(Request& request);
  void End(Request& request);
  void CancelNow(Request& request);
  void RejectNow(Request& request, RefusalCode code, std::string reason,
                 const Plan* plan);

  // core_form.cc
  // Puts the next step together and starts it; false where there is nothing
  // that can run.
  bool RunNext();
  bool FormNext();
  bool FormAlone(Request& suspect, bool safely);
  // The decode tokens of the step, as many as may be and fit.
  void AddDecodes();
  bool StepFull() const;
  // The widest chunk that the step still has place for.
  Tokens WidestLeft() const;
  // A request whose step failed: it runs alone, so that others do not fail with
  // it.
  Request* Suspect();
  bool Mixes() const {
    return options_.step.sequences > 1 ||
           options_.step.decode == StepShape::Decode::kMixed;
  }
  // Visits (chunk, its growth) of every chunk in a running step and in the
  // one being formed.
  template <typename Visit>
  void ForEachGrowing(const Visit& visit) const {
    const auto each = [&visit](const Step& step) {
      for (std::size_t i = 0; i < step.chunks.size(); ++i) {
        visit(step.chunks[i], step.growth[i]);
      }
    };
    for (const Step& step : running_) each(step);
    each(forming_);
  }
  // `steps_ended`: as if the running steps had, whose growth stays.
  // `freed_blocks`: of the KV pool, as if they were free.
  ChunkPolicy::Choice NextChunk(const Request& request, Bytes freed,
                                bool steps_ended = false,
                                Bytes freed_blocks = 0) const;
  // The encoder items that its next chunk runs, of `n` tokens.
  EncodeRange EncodesOf(const Request& request, Tokens n) const;
  void Join(Request& request, const ChunkPolicy::Choice& choice);
  void Launch();

  // core_pool.cc: what the budget of KV blocks allows. Only where there is one.
  // As ViewFor() and AdmittedViews(), in blocks.
  MemoryView PoolView(const Request& request, Bytes freed) const;
  // What views refer to is put into the last argument.
  RequestView PoolViewOf(const Request& request, PlanRequest* own) const;
  std::vector<RequestView> PoolViews(std::vector<PlanRequest>* requests);
  // Why it would not fit the whole pool; nothing when it would, or without one.
  std::optional<Plan> BeyondPool(const Request& request) const;
  // Blocks promised to a request that may start; nothing when it must wait.
  std::optional<Bytes> PoolClaim(Request& request);
  // The widest chunk that has blocks, as if `freed` of them were free.
  Tokens PoolWidest(const Request& request, Bytes freed) const;
  // What no sequence holds or takes with a step.
  Bytes FreeBlocks() const;
  // Of those ready to decode, whoever has a block for the next token.
  void KeepWhatHasBlocks(std::vector<Request*>* ready);
  // The same as Relieve(), of blocks.
  bool RelievePool();
  KvBlocks PoolStats() const;
  // Sequences add no bytes where they take blocks.
  void UsePool() {
    if (options_.kv_pool.blocks == 0) return;
    options_.estimator =
        std::make_shared<PooledEstimator>(std::move(options_.estimator));
  }

  // core_decide.cc
  void Decide();
  // Whether an event is due by itself.
  bool SomethingComes() const;
  void GiveUpIdle();
  // Admits and adds chunks in the order of the policy until the step is full or
  // nobody can go on; `safely`: only as the admission policy lets requests
  // grow.
  void Serve(bool safely);
  enum class Attempt { kDone, kBlocked };
  Attempt TryStart(Request& request);
  Attempt TryRun(Request& request, bool safely);
  // The chunk of a request that is first in its step, decode tokens beside it
  // only where both fit.
  ChunkPolicy::Choice FirstChunk(const Request& request);

  // core_pressure.cc
  // Whether memory is being freed for a wider chunk.
  bool MakeRoom(Request& request, const ChunkPolicy::Choice& choice);
  void AskToReclaim(std::string_view kind, Bytes bytes);
  bool ReclaimFor(const std::function<bool(Bytes freed)>& enough);
  bool WideEnough(const std::vector<PlannedChunk>& chunks) const;
  // Decoding grows without asking: a pool that lies where it will grow goes.
  void CoverDecoding();
  // For the sake of `request`, or of those that decode, to get below the line,
  // where that is null.
  bool PreemptFor(const Request* request);
  // Whether what is left of a request fits an idle device that has `room`: an
  // answer to its request at fault is an error.
  absl::StatusOr<Plan> PlanWhenIdle(const Request& request, Bytes room,
                                    const PlanOptions& options) const;
  // Gives the request up that decodes in `step` when not even that has had room
  // for the longest patience: nobody else could go on either.
  bool GiveUpDecoding(const Step& step);
  // Gives a request up whose remainder no longer fits an idle device.
  bool GiveUpIfDoomed(Request& request);
  Attempt Stuck(Request& request);

  // Changes whenever a price may have: by a correction, or by measured growth.
  std::uint64_t PricesVersion() const {
    return calibrator_.version() + growth_changes_;
  }
  Bytes Live() const { return memory_.Live(ledger_.resident()); }
  // What a step may need that starts now.
  Bytes FreeRoom() const {
    return memory_.line() - SatAdd(Live(), ledger_.in_flight());
  }
  // What `request` sees; `freed` bytes are taken off what is live.
  MemoryView ViewFor(const Request& request, Bytes freed = 0) const;
  // The same of any budget. `growth`: what of a chunk counts in it; `prefix`:
  // of the cached prefix, while the request waits.
  MemoryView BudgetView(const Request& request, const Ledger& ledger,
                        const MemoryState& memory, Bytes ChunkGrowth::*growth,
                        Bytes prefix, Bytes freed) const;
  // Moves views past the chunks of steps that have not ended.
  void AddGrowing(Bytes ChunkGrowth::*growth,
                  std::vector<RequestView>* views) const;
  ChunkLimits LimitsFor(const Request& request) const;
  // Whether the admission policy sees an admitted request.
  bool Shown(const Request& request) const {
    return request.state != RequestState::kDecoding ||
           policies_.admission->LooksAtDecoding();
  }
  std::vector<RequestView> AdmittedViews();
  // More is live than may be, by `over`: frees, and preempts when that has
  // lasted.
  // Whether somebody was preempted for it.
  bool Relieve(Bytes over);
  // Who was preempted once is promised its whole budget: a promise that was
  // broken is not given again.
  std::int64_t OutputShare(RequestId id) const;
  OrderPolicy::Context Context() const {
    return {.now = now_, .served = served_};
  }
  void WakeNoLaterThan(Instant when);

  // `prices` are of the same budget as the rest: bytes, or KV blocks.
  AdmissionPolicy::Question AdmissionQuestion(
      const Estimator& prices, const RequestView& view,
      const MemoryView& memory, std::span<const RequestView> admitted) const {
    return {.estimator = prices,
            .request = view,
            .memory = memory,
            .limits = limits_,
            .admitted = admitted,
            .output_share_permille = OutputShare(view.id)};
  }

  SchedulerOptions options_;
  Policies policies_;
  ChunkLimits limits_;  // what the chunk policy can reach

  Calibrator calibrator_;
  std::optional<CalibratedEstimator> corrected_;

  RequestTable table_;
  Ledger ledger_;
  MemoryState memory_;
  std::optional<KvPool> pool_;
  Bytes pool_short_ = 0;  // what not even one decode token had of it
  std::optional<Instant> pool_short_since_;
  // Whether the engine reads memory at all; the ledger alone decides otherwise.
  bool has_readings_ = false;
  TimeFit times_;
  Tokens widest_run_ = 0;  // of the chunks that ran
  GrowthMeter growth_;
  OutputMeter outputs_;
  std::optional<Instant> overloaded_since_;
  std::optional<Instant> idle_since_;  // with nothing to wait for
  std::uint64_t idle_relief_ = 0;
  std::uint64_t growth_changes_ = 0;
  // Counts what may let a request start that could not: ends, preemptions, ends
  // of prompts.
  std::uint64_t relief_ = 0;
  std::vector<Step> running_;
  Step forming_;               // the step that is put together in this decision
  bool decoded_last_ = false;  // the last step that started held decode tokens
  bool isolated_last_ = false;  // it was a suspect's
  // The next in turn waits for the running steps to end.
  bool draining_ = false;
  std::int64_t decode_cap_ = 0;  // after failed decode steps; 0: none
  Bytes decode_short_ = 0;       // what not even one decode token had

  Instant now_{};
  StepId last_step_ = 0;
  std::uint32_t answer_check_ = 0;  // counts CheckDecodes()
  Tokens served_ = 0;               // prompt tokens computed, of all requests
  std::optional<Instant> wake_;     // wanted by this decision
  SchedulerStats stats_;
  std::vector<Action>* actions_ = nullptr;  // of the current Handle()
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_CORE_H_
