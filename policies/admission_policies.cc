// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// May this request start?
//
//   reserve     when all it will ever hold is free, and every prompt that was
//               admitted before can still be finished beside it
//   bankers     when an order exists in which everybody can finish; prompts
//               promise nothing to each other and take turns
//   optimistic  as reserve, with the output that requests really use of late;
//               when too many use more, some are preempted
//
// All of them price steps as not overlapping: each needs room for its own
// transient, never for the sum.

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <utility>

#include "estimators/text.h"
#include "policies/chunk_space.h"
#include "policies/encode_items.h"
#include "policies/full_claim.h"
#include "policies/plan_search.h"
#include "policies/safety.h"
#include "tidegate/policy.h"
#include "tidegate/status.h"

namespace tidegate {
namespace {

using internal::OutputGrowth;
using internal::Stake;

bool Fits(const AdmissionPolicy::Question& question, const PlanRequest& request,
          Bytes base) {
  MemoryLimits memory = question.memory.limits;
  memory.base = std::max<Bytes>(0, base);
  const absl::StatusOr<Plan> plan =
      PlanPrompt(question.estimator, request, memory, question.limits,
                 internal::kVerdictOnly);
  return plan.ok() && plan->verdict == Verdict::kAdmit;
}

// Waits, or is never going to fit. `answer` is complete afterwards.
absl::StatusOr<AdmissionPolicy::Answer> NotNow(
    const AdmissionPolicy::Question& question, const PlanRequest& request,
    AdmissionPolicy::Answer answer) {
  MemoryLimits memory = question.memory.limits;
  memory.base = question.memory.idle_base;
  TG_ASSIGN_OR_RETURN(
      Plan idle,
      PlanPrompt(question.estimator, request, memory, question.limits,
                 {.want_largest_prompt = false, .any_sequence = true}));
  answer.verdict =
      idle.verdict == Verdict::kReject ? Verdict::kReject : Verdict::kWait;
  if (answer.verdict == Verdict::kReject) answer.plan = std::move(idle);
  return answer;
}

// reserve, and optimistic: claims add up, whatever is claimed is kept free.
class Claiming : public AdmissionPolicy {
 public:
  absl::StatusOr<Answer> Decide(const Question& question) const override {
    TG_ASSIGN_OR_RETURN(
        Answer answer,
        internal::ClaimWithOutput(
            question, Output(question.request.request->max_output_tokens,
                             question.output_share_permille)));
    if (answer.plan.verdict == Verdict::kAdmit &&
        OthersStillFit(question, answer.claim)) {
      answer.verdict = Verdict::kAdmit;
      return answer;
    }
    // What never fits is so with its whole budget.
    return NotNow(question, RemainderOf(question.request), std::move(answer));
  }

  bool MayGrow(const Question& /*question*/, Tokens /*n*/,
               Bytes /*resident*/) const override {
    return true;
  }
  bool LimitsGrowth() const override { return false; }
  bool LooksAtDecoding() const override { return false; }

  Bytes DecodeClaim(const Estimator& estimator, const RequestView& request,
                    std::int64_t output_share_permille) const override {
    return OutputGrowth(
        estimator, request,
        Output(request.request->max_output_tokens, output_share_permille));
  }

 protected:
  // Output tokens that are promised of a budget.
  virtual Tokens Output(Tokens budget, std::int64_t share_permille) const = 0;

 private:
  bool OthersStillFit(const Question& question, Bytes newcomer) const {
    const Bytes base =
        SatAdd(question.memory.limits.base, question.memory.claimed, newcomer);
    return std::all_of(question.admitted.begin(), question.admitted.end(),
                       [&](const RequestView& other) {
                         if (other.decoding) return true;
                         PlanRequest request = RemainderOf(other);
                         request.max_output_tokens =
                             Output(request.max_output_tokens,
                                    question.output_share_permille);
                         return Fits(question, request, base - other.claim);
                       });
  }
};

class Reserve final : public Claiming {
 public:
  std::string_view Name() const override { return "reserve"; }

 protected:
  Tokens Output(Tokens budget, std::int64_t /*share*/) const override {
    return budget;
  }
};

class Optimistic final : public Claiming {
 public:
  std::string_view Name() const override { return "optimistic"; }

 protected:
  Tokens Output(Tokens budget, std::int64_t share_permille) const override {
    return std::min(budget, SatMul(budget, share_permille) / 1000 + 1);
  }
};

class Bankers final : public AdmissionPolicy {
 public:
  std::string_view Name() const override { return "bankers"; }

  bool TakesTurns() const override { return true; }

  absl::StatusOr<Answer> Decide(const Question& question) const override {
    const PlanRequest request = RemainderOf(question.request);
    Answer answer;
    MemoryLimits memory = question.memory.limits;
    memory.base = SatAdd(memory.base, question.memory.claimed);
    TG_ASSIGN_OR_RETURN(answer.plan,
                        PlanPrompt(question.estimator, request, memory,
                                   question.limits, internal::kVerdictOnly));
    if (SafeWith(question, request, 0)) {
      answer.verdict = Verdict::kAdmit;
      return answer;
    }
    return NotNow(question, request, std::move(answer));
  }

  bool MayGrow(const Question& question, Tokens n,
               Bytes resident) const override {
    PlanRequest request = RemainderOf(question.request);
    const Bytes released = internal::AdvanceTo(
        request, std::min(request.prompt_tokens, request.cached_tokens + n));
    return SafeWith(question, request, resident - released);
  }

  Bytes DecodeClaim(const Estimator& estimator, const RequestView& request,
                    std::int64_t /*output_share_permille*/) const override {
    return OutputGrowth(estimator, request, request.request->max_output_tokens);
  }

 private:
  // Whether all can finish when the asking request has this remainder and holds
  // `more` bytes than now.
  static bool SafeWith(const Question& question, const PlanRequest& request,
                       Bytes more) {
    std::vector<Stake> stakes;
    // Whoever decodes has all it needs: it finishes first, whatever the others
    // do, and its claim and its bytes come back.
    Bytes base = SatAdd(question.memory.limits.base, more);
    for (const RequestView& other : question.admitted) {
      if (other.id == question.request.id) continue;
      if (other.decoding) {
        base -= other.held;
        continue;
      }
      stakes.push_back({other.held, [&question, &other](Bytes live) {
                          return Fits(question, RemainderOf(other), live);
                        }});
    }
    stakes.push_back({SatAdd(question.request.held, more),
                      [&question, &request](Bytes live) {
                        return Fits(question, request, live);
                      }});
    return internal::Safe(std::max<Bytes>(0, base), std::move(stakes));
  }
};

}  // namespace

Bytes internal::FullClaim(const Estimator& estimator,
                          const PlanRequest& request,
                          const MemoryLimits& memory,
                          const ChunkLimits& limits) {
  const ChunkSpace space(estimator, request, memory, limits);
  const Tokens prompt = request.prompt_tokens;
  // Where layers have windows the end of the prompt can hold more than what
  // decoding leaves of it.
  Bytes most =
      std::max(space.Held(prompt, std::min(prompt, space.limits().max)),
               space.Held(prompt + request.max_output_tokens, 1));
  // What an encoder leaves is held longest by the chunk that cuts it last.
  for (const EncodeItem& item : request.encodes) {
    const Tokens last = item.start + item.length - 1;
    if (last <= space.first()) continue;
    most = std::max(most, space.Held(last, std::min(last, space.limits().max)));
  }
  return std::max<Bytes>(0, most);
}

absl::StatusOr<AdmissionPolicy::Answer> internal::ClaimWithOutput(
    const AdmissionPolicy::Question& question, Tokens output) {
  PlanRequest request = RemainderOf(question.request);
  request.max_output_tokens = output;
  MemoryLimits memory = question.memory.limits;
  memory.base = SatAdd(memory.base, question.memory.claimed);
  AdmissionPolicy::Answer answer;
  answer.claim =
      FullClaim(question.estimator, request, memory, question.limits);
  TG_ASSIGN_OR_RETURN(answer.plan,
                      PlanPrompt(question.estimator, request, memory,
                                 question.limits, kVerdictOnly));
  return answer;
}

Bytes internal::OutputGrowth(const Estimator& estimator,
                             const RequestView& view, Tokens output) {
  if (estimator.KvPreallocated()) return 0;
  const Tokens length = view.request->prompt_tokens + view.decoded;
  const Tokens whole =
      view.request->prompt_tokens + std::max<Tokens>(output, view.decoded);
  return std::max<Bytes>(0, estimator.SequenceBytes(whole, 1) -
                                estimator.SequenceBytes(length, 1));
}

absl::StatusOr<std::unique_ptr<AdmissionPolicy>> CreateAdmissionPolicy(
    std::string_view name) {
  std::unique_ptr<AdmissionPolicy> policy;
  if (name == "reserve") policy = std::make_unique<Reserve>();
  if (name == "bankers") policy = std::make_unique<Bankers>();
  if (name == "optimistic") policy = std::make_unique<Optimistic>();
  if (policy != nullptr) return policy;
  constexpr std::array<std::string_view, 3> kNames = {"reserve", "bankers",
                                                      "optimistic"};
  return internal::UnknownWord("admission.use", name, kNames);
}

}  // namespace tidegate
