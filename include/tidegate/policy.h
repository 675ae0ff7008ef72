// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Policies: what should be done? Each kind is a small pure interface over
// read-only facts; the scheduler owns all state. An implementation keeps no
// clock, thread or mutable state, so that the same question has one answer.

#ifndef TIDEGATE_POLICY_H_
#define TIDEGATE_POLICY_H_

#include <chrono>
#include <limits>
#include <memory>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "tidegate/actions.h"
#include "tidegate/estimator.h"
#include "tidegate/plan.h"
#include "tidegate/time_model.h"
#include "tidegate/types.h"

namespace tidegate {

// One request as policies see it.
struct RequestView {
  RequestId id = 0;
  const PlanRequest* request = nullptr;
  std::int64_t priority = 0;
  std::string_view tenant;
  Tokens done = 0;        // prompt tokens in the cache: hits plus computed
  Tokens last_chunk = 1;  // width of the chunk that computed the last of them
  Instant arrived{};
  bool admitted = false;
  bool decoding = false;  // admitted, and the prompt is computed
  Tokens decoded = 0;
  Bytes claim = 0;  // admitted: bytes promised that are not live yet
  Bytes held = 0;   // admitted: live bytes that go when it ends
  // Of `held`, what an encoder left for the tokens that are next.
  Bytes encoded = 0;
  int preempted = 0;  // times that it lost its progress
  // Prompt tokens computed for this request since it arrived.
  Tokens served = 0;
  // The same for all requests of its tenant since that had none here; its own
  // where it has no tenant.
  Tokens tenant_served = 0;
  // OrderPolicy::Context::served when this request last ran, or arrived.
  Tokens served_mark = 0;
};

// What of this prompt is still to be computed, as a request to the planner.
PlanRequest RemainderOf(const RequestView& view);

// Memory as every decider sees it at this moment.
struct MemoryView {
  MemoryLimits limits;  // base is live memory now
  Bytes claimed = 0;    // promised to admitted requests, not yet live
  // Live memory if nothing but the asking request's cached prefix were there
  // and everything were reclaimed that can be.
  Bytes idle_base = 0;
};

// How wide is the next chunk of this request?
class ChunkPolicy {
 public:
  virtual ~ChunkPolicy() = default;
  virtual std::string_view Name() const = 0;

  struct Question {
    const Estimator& estimator;
    const RequestView& request;  // request.done is where the chunk starts
    const MemoryView& memory;    // claims of other requests only
    const ChunkLimits& limits;
    // The same prices with what the step holds already, of other requests;
    // null: the chunk is alone in its step.
    const Estimator* step = nullptr;
    // What is left of the step, where other requests have the rest; 0: all.
    Tokens widest = 0;
    // Null while too few steps were measured; fitted when it is read.
    TimeModelRef time;
    // The longest step that decoding requests may be kept waiting for; zero: no
    // such limit, or nobody decodes.
    Duration decode_stall{};
    // The same where nobody decodes: what equal_time aims at.
    Duration step_target{};
  };
  struct Choice {
    Tokens n = 0;  // 0: nothing fits now
    Bound bound = Bound::kPlan;
    PriceTotals price;
  };
  virtual Choice Next(const Question& question) const = 0;

  // The chunk sequences this policy may emit: limits that a planner obeys to
  // find exactly those.
  virtual ChunkLimits Reachable(const ChunkLimits& limits) const = 0;
};

// May this request start, given what is live and promised?
class AdmissionPolicy {
 public:
  virtual ~AdmissionPolicy() = default;
  virtual std::string_view Name() const = 0;

  struct Question {
    const Estimator& estimator;
    const RequestView& request;
    const MemoryView& memory;
    const ChunkLimits& limits;  // what the chunk policy can reach
    // Everything that was admitted, by id; without those that decode where
    // LooksAtDecoding() says no. Those in prefill were promised that their
    // remainder fits.
    std::span<const RequestView> admitted;
    // Share of their output budget that requests used of late, in thousandths.
    std::int64_t output_share_permille = 1000;
  };
  struct Answer {
    Verdict verdict = Verdict::kWait;
    Bytes claim = 0;  // resident bytes promised when admitted
    // The plan that decided. With kReject, the one on an idle device.
    Plan plan;
  };
  virtual absl::StatusOr<Answer> Decide(const Question& question) const = 0;

  // Whether the asking request, which was admitted, may grow by a chunk of `n`
  // tokens and `resident` bytes: everybody can still finish in some order then.
  virtual bool MayGrow(const Question& question, Tokens n,
                       Bytes resident) const = 0;

  // Whether Decide() looks at admitted requests that decode, of which there may
  // be thousands, and whether MayGrow() ever says no.
  virtual bool LooksAtDecoding() const { return true; }
  virtual bool LimitsGrowth() const { return true; }

  // Whether admitted requests may have to wait for each other's end, as a
  // matter of course: nobody is preempted for a prompt that waits so.
  virtual bool TakesTurns() const { return false; }

  // What is promised to a request that starts to decode, beyond what it holds.
  virtual Bytes DecodeClaim(const Estimator& estimator,
                            const RequestView& request,
                            std::int64_t output_share_permille) const = 0;
};

// Who is next?
class OrderPolicy {
 public:
  virtual ~OrderPolicy() = default;
  virtual std::string_view Name() const = 0;

  struct Context {
    Instant now{};
    Tokens served = 0;  // prompt tokens computed so far, of all requests

    // Prompt tokens computed for others since this request last ran or arrived.
    Tokens PassedOver(const RequestView& view) const {
      return served - view.served_mark;
    }
  };
  // Whether `a` is served before `b`. For one context a strict weak order;
  // built-in policies let arrival and then ids decide ties.
  virtual bool Before(const RequestView& a, const RequestView& b,
                      const Context& context) const = 0;
  // What Before() of two requests that both wait looks at besides them. The
  // less it is, the fewer of many have to be looked at to find the first.
  enum class LooksAt {
    kContext,  // the context: all are looked at
    kTenants,  // service of their tenants: nothing, of two of one tenant and of
               // two without one; one of each tenant is looked at
    kNothing,  // one is looked at
  };
  virtual LooksAt Waiting() const { return LooksAt::kContext; }
  // An exception to that: requests that were passed over by more tokens than
  // this (Context::PassedOver) go before all others, the lowest served_mark
  // first, then by arrival and id.
  virtual Tokens Patience() const { return std::numeric_limits<Tokens>::max(); }
  // Whether a request may be admitted past `blocked`, which is first but waits
  // for memory. A policy that always says yes can starve it.
  virtual bool MayPass(const RequestView& blocked,
                       const Context& context) const = 0;
};

// Who loses its progress when nothing else makes room?
class PressurePolicy {
 public:
  virtual ~PressurePolicy() = default;
  virtual std::string_view Name() const = 0;

  // Whether `a` is preempted before `b`: a strict weak order. Of equals the
  // lower id goes first.
  virtual bool PreemptBefore(const RequestView& a,
                             const RequestView& b) const = 0;
  // How long memory is short before anybody is preempted: most shortages end
  // by themselves.
  virtual Duration Patience() const { return std::chrono::seconds(5); }
};

// The built-in policies by the names of the policy file: fixed | throttle |
// equal_time | efficient; reserve | bankers | optimistic; fcfs | priority |
// shortest | fair; cheapest | latest. InvalidArgument names the ones that
// exist.
absl::StatusOr<std::unique_ptr<ChunkPolicy>> CreateChunkPolicy(
    std::string_view name);
absl::StatusOr<std::unique_ptr<AdmissionPolicy>> CreateAdmissionPolicy(
    std::string_view name);
absl::StatusOr<std::unique_ptr<OrderPolicy>> CreateOrderPolicy(
    std::string_view name);
absl::StatusOr<std::unique_ptr<PressurePolicy>> CreatePressurePolicy(
    std::string_view name);

}  // namespace tidegate

#endif  // TIDEGATE_POLICY_H_
