// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// May this request start?
//
//   reserve  when all it will ever hold is free, and every prompt that was
//            admitted before can still be finished beside it

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "estimators/text.h"
#include "policies/chunk_space.h"
#include "policies/full_claim.h"
#include "policies/refusal.h"
#include "tidegate/policy.h"
#include "tidegate/status.h"

namespace tidegate {
namespace {

using internal::ChunkSpace;
using internal::Concat;
using internal::InvalidArgument;

class Reserve final : public AdmissionPolicy {
 public:
  std::string_view Name() const override { return "reserve"; }

  absl::StatusOr<Answer> Decide(const Question& question) const override {
    const PlanRequest request = RemainderOf(question.request);
    MemoryLimits memory = question.memory.limits;
    Answer answer;
    answer.claim = internal::FullClaim(question.estimator, request, memory,
                                       question.limits);

    memory.base = SatAdd(memory.base, question.memory.claimed);
    TG_ASSIGN_OR_RETURN(
        answer.plan,
        PlanPrompt(question.estimator, request, memory, question.limits,
                   {.want_largest_prompt = false, .any_sequence = true}));
    if (answer.plan.verdict == Verdict::kAdmit &&
        OthersStillFit(question, answer.claim)) {
      answer.verdict = Verdict::kAdmit;
      return answer;
    }
    // Not now. Never, if an idle device would not do either.
    memory.base = question.memory.idle_base;
    TG_ASSIGN_OR_RETURN(
        Plan idle,
        PlanPrompt(question.estimator, request, memory, question.limits,
                   {.want_largest_prompt = false, .any_sequence = true}));
    if (idle.verdict == Verdict::kReject) {
      answer.verdict = Verdict::kReject;
      answer.plan = std::move(idle);
      return answer;
    }
    answer.verdict = Verdict::kWait;
    return answer;
  }

 private:
  // Steps of different requests never overlap, so each needs room for its own
  // transient only: beside what is live, all claims, and the newcomer's.
  static bool OthersStillFit(const Question& question, Bytes newcomer) {
    for (const RequestView& other : question.prefilling) {
      MemoryLimits memory = question.memory.limits;
      memory.base =
          SatAdd(memory.base, question.memory.claimed, newcomer) - other.claim;
      const absl::StatusOr<Plan> plan = PlanPrompt(
          question.estimator, RemainderOf(other), memory, question.limits,
          {.want_largest_prompt = false, .any_sequence = true});
      if (!plan.ok() || plan->verdict != Verdict::kAdmit) return false;
    }
    return true;
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
  return std::max(space.Held(prompt, std::min(prompt, space.limits().max)),
                  space.Held(prompt + request.max_output_tokens, 1));
}

absl::StatusOr<std::unique_ptr<AdmissionPolicy>> CreateAdmissionPolicy(
    std::string_view name) {
  if (name == "reserve") {
    return std::unique_ptr<AdmissionPolicy>(std::make_unique<Reserve>());
  }
  return InvalidArgument("admission.use: expected reserve, got \"", name, "\"");
}

}  // namespace tidegate
