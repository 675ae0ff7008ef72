// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/rivals/kit.h"

#include <algorithm>
#include <tuple>

#include "estimators/text.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// Past every sliding window, and a span over which rounding vanishes.
constexpr Tokens kFar = Tokens{1} << 24;
constexpr Tokens kSlopeSpan = Tokens{1} << 16;

class RunningFirstOrder final : public OrderPolicy {
 public:
  std::string_view Name() const override { return "running_first"; }
  bool Before(const RequestView& a, const RequestView& b,
              const Context& /*context*/) const override {
    return std::tuple(!a.admitted, a.arrived, a.id) <
           std::tuple(!b.admitted, b.arrived, b.id);
  }
  LooksAt Waiting() const override { return LooksAt::kNothing; }
  bool MayPass(const RequestView& /*blocked*/,
               const Context& /*context*/) const override {
    return false;
  }
};

}  // namespace

Bytes KvSlope(const Estimator& truth) {
  const Bytes far = truth.SequenceBytes(kFar, 1);
  return (truth.SequenceBytes(kFar + kSlopeSpan, 1) - far) / kSlopeSpan;
}

BelievedPrices::BelievedPrices(std::shared_ptr<const Estimator> truth,
                               bool paged)
    : truth_(std::move(truth)), paged_(paged), slope_(KvSlope(*truth_)) {}

Bytes BelievedPrices::WholeSequence(Tokens tokens) const {
  return paged_ && truth_->KvPreallocated() ? SatMul(slope_, tokens)
                                            : truth_->SequenceBytes(tokens, 1);
}

Bytes BelievedPrices::SequenceBytes(Tokens tokens, Tokens chunk) const {
  if (tokens <= 0) return 0;
  const Bytes bytes = paged_ && truth_->KvPreallocated()
                          ? SatMul(slope_, tokens)
                          : truth_->SequenceBytes(tokens, chunk);
  return std::min(bytes, most_);
}

Bytes BelievedPrices::Growth(const Chunk& chunk) const {
  if (KvPreallocated()) return 0;
  const Bytes after = SequenceBytes(chunk.kv_len, chunk.n);
  if (truth_->KvPreallocated() || after == most_) {
    return std::max<Bytes>(
        0, after - SequenceBytes(chunk.kv_len - chunk.n, chunk.n));
  }
  return truth_->Total({.chunks = {&chunk, 1}}).resident_bytes;
}

PriceTotals BelievedPrices::Total(const StepQuery& step) const {
  PriceTotals totals;
  for (const Chunk& chunk : step.chunks) {
    totals.resident_bytes = SatAdd(totals.resident_bytes, Growth(chunk));
  }
  if (!KvPreallocated()) {
    totals.resident_bytes =
        SatAdd(totals.resident_bytes, SatMul(slope_, step.decode_tokens));
  }
  totals.transient_bytes = Transient(step);
  return totals;
}

absl::StatusOr<Price> BelievedPrices::Explain(const StepQuery& step) const {
  TG_RETURN_IF_ERROR(ValidateStep(step));
  Price price;
  static_cast<PriceTotals&>(price) = Total(step);
  price.route = RouteName(step);
  price.binding_part = "believed";
  price.parts = {{"believed",
                  price.transient_bytes,
                  {{"believed", price.transient_bytes}}}};
  return price;
}

Tokens Left(const RequestView& view) {
  return std::max<Tokens>(1, view.request->prompt_tokens - view.done);
}

Tokens OutputLeft(const RequestView& view) {
  return std::max<Tokens>(0, view.request->max_output_tokens - view.decoded);
}

ChunkPolicy::Choice RuleChunk::Next(const Question& question) const {
  const Tokens left = Left(question.request);
  Tokens offered = question.widest > 0 ? question.widest : widest_;
  // After a failed step the core offers less. An engine that does not do that
  // tries the same again, but beside others it cannot know what is left.
  if (question.widest == 0 && question.step != nullptr) {
    offered = std::min(offered, question.limits.max);
  }
  const Tokens n = rule_(question, left, offered);
  TG_CHECK(n <= std::min(left, offered));
  if (n < 1) return {};
  const Tokens start = question.request.request->prompt_tokens - left;
  const Chunk chunk{
      .n = n, .kv_len = start + n, .mask = question.request.request->mask};
  const Estimator& prices =
      question.step != nullptr ? *question.step : question.estimator;
  Choice choice{.n = n, .price = prices.Total({.chunks = {&chunk, 1}})};
  choice.bound = n == left             ? Bound::kPrompt
                 : question.widest > 0 ? Bound::kShare
                                       : Bound::kMaximum;
  return choice;
}

Tokens Greedy(const ChunkPolicy::Question& /*question*/, Tokens left,
              Tokens offered) {
  return std::min(left, offered);
}

absl::StatusOr<AdmissionPolicy::Answer> RuleAdmission::Decide(
    const Question& question) const {
  const Need need = rule_(question);
  const MemoryView& memory = question.memory;
  Answer answer{.claim = need.claim, .plan = {}};
  if (need.free <= memory.limits.Room() - memory.claimed) {
    answer.verdict = Verdict::kAdmit;
    return answer;
  }
  const Bytes best =
      memory.limits.ceiling - memory.limits.headroom - memory.idle_base;
  if (question.admitted.empty() && need.free > best) {
    MemoryLimits idle = memory.limits;
    idle.base = memory.idle_base;
    TG_ASSIGN_OR_RETURN(
        answer.plan,
        PlanPrompt(question.estimator, RemainderOf(question.request), idle,
                   question.limits,
                   {.want_largest_prompt = false, .any_sequence = true}));
    if (answer.plan.verdict == Verdict::kReject) {
      answer.verdict = Verdict::kReject;
      return answer;
    }
    // By its own rule alone. The real engine waits for ever; the core asks for
    // an end, and takes a refusal only where its planner agrees.
    return InvalidArgument(name_, " needs ", FormatBytes(need.free),
                           " free to start this request and has ",
                           FormatBytes(std::max<Bytes>(0, best)), " at best");
  }
  answer.verdict = Verdict::kWait;
  return answer;
}

Bytes GrowthTo(const Estimator& estimator, const RequestView& view,
               Tokens output) {
  if (estimator.KvPreallocated() && view.admitted) return 0;
  const Tokens prompt = view.request->prompt_tokens;
  const Tokens now = view.decoding ? prompt + view.decoded : view.done;
  return std::max<Bytes>(
      0, estimator.SequenceBytes(prompt + std::max(output, view.decoded), 1) -
             estimator.SequenceBytes(now, 1));
}

std::shared_ptr<const OrderPolicy> RunningFirst() {
  return std::make_shared<RunningFirstOrder>();
}

bool LastFirst(const RequestView& a, const RequestView& b) {
  return std::tie(a.arrived, a.id) > std::tie(b.arrived, b.id);
}

Bytes ProfiledBytes(const Estimator& truth, Tokens tokens) {
  const Chunk chunk{.n = tokens, .kv_len = tokens};
  return truth.Total({.chunks = {&chunk, 1}}).transient_bytes;
}

Bytes RoomAtStart(const SchedulerOptions& options) {
  return options.memory.Room();
}

absl::Status KeepBack(std::string_view rival, Bytes bytes,
                      SchedulerOptions* options) {
  options->memory.headroom = SatAdd(options->memory.headroom, bytes);
  if (RoomAtStart(*options) > 0) return absl::OkStatus();
  return InvalidArgument(
      rival, " would not start: it keeps ", FormatBytes(bytes),
      " for activations, and that leaves nothing for KV of a ceiling of ",
      FormatBytes(options->memory.ceiling), " with ",
      FormatBytes(options->memory.base), " live");
}

}  // namespace tidegate::internal
