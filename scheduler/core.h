// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The scheduler's state and control flow. Handle() first applies the event
// (core_events.cc), which only records facts, then decides what to do next
// (core_decide.cc): who is served, whether it may start, how wide its chunk is,
// and what is freed when nothing fits. One step runs at a time.

#ifndef TIDEGATE_SCHEDULER_CORE_H_
#define TIDEGATE_SCHEDULER_CORE_H_

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "estimators/calibrated_estimator.h"
#include "estimators/calibrator.h"
#include "scheduler/growth_meter.h"
#include "scheduler/ledger.h"
#include "scheduler/memory_state.h"
#include "scheduler/output_meter.h"
#include "scheduler/request_table.h"
#include "tidegate/policy.h"
#include "tidegate/scheduler.h"

namespace tidegate::internal {

struct Policies {
  std::unique_ptr<ChunkPolicy> chunk;
  std::unique_ptr<AdmissionPolicy> admission;
  std::unique_ptr<OrderPolicy> order;
};

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
    return options_.calibrate ? corrected_ : *options_.estimator;
  }

 private:
  struct RunningStep {
    StepId id = 0;
    RequestId request = 0;
    Tokens start = 0;
    Tokens n = 0;
    MaskKind mask = MaskKind::kCausal;
    PriceTotals price;
    Bytes live_before = 0;
    // To see by how much memory grew: live bytes less what can be reclaimed,
    // and what all requests held, when it started.
    Bytes lasting_before = 0;
    Bytes resident_before = 0;

    Chunk chunk() const { return {.n = n, .kv_len = start + n, .mask = mask}; }
  };

  // core_events.cc: one for each kind of event. An error changes nothing.
  absl::Status On(const Arrive& event);
  absl::Status On(const PrefixChanged& event);
  absl::Status On(const StepDone& event);
  absl::Status On(const StepFailed& event);
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

  // A chunk's price before any correction, and the route it was priced on.
  struct StaticPrice {
    std::string route;
    Bytes transient_bytes = 0;
  };
  StaticPrice StaticPriceOf(const Chunk& chunk) const;
  void MeasureTransient(const RunningStep& step, const StepDone& done);
  void MeasureGrowth(const RunningStep& step, Bytes live);
  void RaiseClaims();
  void End(Request& request);
  void CancelNow(Request& request);
  void RejectNow(Request& request, RefusalCode code, std::string reason,
                 const Plan* plan);

  // core_decide.cc
  void Decide();
  // Admits and runs in the order of the policy until a step runs or nobody can
  // go on; `safely`: only as the admission policy lets requests grow.
  void Serve(bool safely);
  enum class Attempt { kDone, kBlocked };
  Attempt TryStart(Request& request);
  Attempt TryRun(Request& request, bool safely);
  void StartStep(Request& request, const ChunkPolicy::Choice& choice);
  // Whether a step was chosen or memory is being freed for one.
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
  // Gives a request up whose remainder no longer fits an idle device.
  bool GiveUpIfDoomed(Request& request);
  Attempt Stuck(Request& request);

  // Changes whenever a price may have: by a correction, or by measured growth.
  std::uint64_t PricesVersion() const {
    return calibrator_.version() + growth_changes_;
  }
  Bytes Live() const { return memory_.Live(ledger_.resident()); }
  // What `request` sees; `freed` bytes are taken off what is live.
  MemoryView ViewFor(const Request& request, Bytes freed = 0) const;
  ChunkPolicy::Choice NextChunk(const Request& request, Bytes freed) const;
  ChunkLimits LimitsFor(const Request& request) const;
  std::vector<RequestView> AdmittedViews();
  // A request's view after a change to it or to its account.
  void Refresh(
      Request& request,
      const std::function<void(Request&)>& change = [](Request&) {});
  // More is live than may be: frees, and preempts when that has lasted.
  void RelieveOverload();
  OrderPolicy::Context Context() const {
    return {.now = now_, .served = served_};
  }
  void WakeNoLaterThan(Instant when);

  AdmissionPolicy::Question AdmissionQuestion(
      const RequestView& view, const MemoryView& memory,
      std::span<const RequestView> admitted) const {
    return {.estimator = Prices(),
            .request = view,
            .memory = memory,
            .limits = limits_,
            .admitted = admitted,
            .output_share_permille = outputs_.SharePermille()};
  }

  const SchedulerOptions options_;
  const Policies policies_;
  const ChunkLimits limits_;  // what the chunk policy can reach

  Calibrator calibrator_;
  const CalibratedEstimator corrected_;

  RequestTable table_;
  Ledger ledger_;
  MemoryState memory_;
  // Whether the engine reads memory at all; the ledger alone decides otherwise.
  bool has_readings_ = false;
  TimeFit times_;
  Tokens widest_run_ = 0;  // of the chunks that ran
  GrowthMeter growth_;
  OutputMeter outputs_;
  std::optional<Instant> overloaded_since_;
  std::uint64_t growth_changes_ = 0;
  // Counts what may let a request start that could not: ends, preemptions, ends
  // of prompts.
  std::uint64_t relief_ = 0;
  std::optional<RunningStep> running_;

  Instant now_{};
  StepId last_step_ = 0;
  Tokens served_ = 0;            // prompt tokens computed, of all requests
  std::optional<Instant> wake_;  // wanted by this decision
  SchedulerStats stats_;
  std::vector<Action>* actions_ = nullptr;  // of the current Handle()
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_CORE_H_
