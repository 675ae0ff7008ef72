// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What can never fit is refused by the planner and what does not fit now waits,
// whatever the plug-in says. It decides among the rest, and how much output
// room is kept.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "estimators/text.h"
#include "plugins/adapters.h"
#include "plugins/request_view.h"
#include "policies/full_claim.h"
#include "policies/plan_search.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

class AdmissionAdapter final : public AdmissionPolicy {
 public:
  AdmissionAdapter(std::shared_ptr<AdmissionInstance> instance,
                   std::shared_ptr<const AdmissionPolicy> fallback)
      : instance_(std::move(instance)),
        fallback_(std::move(fallback)),
        name_(Concat("plugin:", instance_->meter().identity().name, "@",
                     instance_->meter().identity().version)) {}

  std::string_view Name() const override { return name_; }

  absl::StatusOr<Answer> Decide(const Question& question) const override {
    PluginMeter& meter = instance_->meter();
    TG_ASSIGN_OR_RETURN(Answer reserve, fallback_->Decide(question));
    if (reserve.verdict == Verdict::kReject || meter.replaced()) {
      return reserve;
    }
    TG_ASSIGN_OR_RETURN(
        Answer answer,
        ClaimWithOutput(
            question,
            OutputTokens(question.request, question.output_share_permille)));
    const bool fits = answer.plan.verdict == Verdict::kAdmit;

    std::vector<tidegate_request> admitted;
    admitted.reserve(question.admitted.size());
    std::vector<const tidegate_request*> pointers;
    for (const RequestView& view : question.admitted) {
      admitted.push_back(ToPlugin(view));
      pointers.push_back(&admitted.back());
    }
    const tidegate_request view = ToPlugin(question.request);
    const MemoryLimits& limits = question.memory.limits;
    const tidegate_admission_question asked{
        .struct_size = sizeof(tidegate_admission_question),
        .reserved = 0,
        .request = &view,
        .admitted = pointers.data(),
        .admitted_count = static_cast<std::int64_t>(pointers.size()),
        .ceiling_bytes = limits.ceiling,
        .headroom_bytes = limits.headroom,
        .live_bytes = limits.base,
        .claimed_bytes = question.memory.claimed,
        .claim_bytes = answer.claim,
        .fits = fits ? 1 : 0,
        .reserve_admits = reserve.verdict == Verdict::kAdmit ? 1 : 0};
    std::int32_t yes = -1;
    const std::int32_t status = meter.Run([&] {
      return instance_->table().may_start(instance_->self(), &asked, &yes);
    });
    if (status != TIDEGATE_OK) {
      meter.NoAnswer("may_start", status);
      return reserve;
    }
    if (yes != 0 && yes != 1) {
      meter.Fault(Concat("may_start: ", yes, " is neither 0 nor 1"));
      return reserve;
    }
    if (yes == 1 && !fits) {
      meter.Fault(Concat("may_start: yes to request ", view.id,
                         ", whose claim of ", FormatBytes(answer.claim),
                         " and chunks are beyond the room of ",
                         FormatBytes(limits.Room() - question.memory.claimed)));
      return reserve;
    }
    answer.verdict = yes == 1 ? Verdict::kAdmit : Verdict::kWait;
    return answer;
  }

  bool MayGrow(const Question& /*question*/, Tokens /*n*/,
               Bytes /*resident*/) const override {
    return true;
  }

  Bytes DecodeClaim(const Estimator& estimator, const RequestView& request,
                    std::int64_t output_share_permille) const override {
    // Nothing to ask about.
    if (estimator.KvPreallocated()) return 0;
    const Tokens output = instance_->meter().replaced()
                              ? request.request->max_output_tokens
                              : OutputTokens(request, output_share_permille);
    return OutputGrowth(estimator, request, output);
  }

 private:
  Tokens OutputTokens(const RequestView& view,
                      std::int64_t share_permille) const {
    const Tokens budget = view.request->max_output_tokens;
    const auto ask = instance_->table().output_tokens;
    if (ask == nullptr) return budget;
    PluginMeter& meter = instance_->meter();
    const tidegate_request request = ToPlugin(view);
    Tokens tokens = TIDEGATE_UNSET;
    const std::int32_t status = meter.Run([&] {
      return ask(instance_->self(), &request, share_permille, &tokens);
    });
    if (status == TIDEGATE_OK && tokens >= 0 && tokens <= budget) {
      return tokens;
    }
    if (status != TIDEGATE_OK) {
      meter.NoAnswer("output_tokens", status);
    } else {
      meter.Fault(
          Concat("output_tokens: expected 0 to ", budget, ", got ", tokens));
    }
    return budget;
  }

  const std::shared_ptr<AdmissionInstance> instance_;
  const std::shared_ptr<const AdmissionPolicy> fallback_;
  const std::string name_;
};

}  // namespace

std::shared_ptr<const AdmissionPolicy> AdaptAdmission(
    std::shared_ptr<AdmissionInstance> instance,
    std::shared_ptr<const AdmissionPolicy> fallback) {
  return std::make_shared<AdmissionAdapter>(std::move(instance),
                                            std::move(fallback));
}

}  // namespace tidegate::internal
