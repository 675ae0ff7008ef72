// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What rivals are made of: prices as an engine believes in them, and policies
// that a rule of a few lines completes.

#ifndef TIDEGATE_SIMULATOR_RIVALS_KIT_H_
#define TIDEGATE_SIMULATOR_RIVALS_KIT_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tidegate/policy.h"
#include "tidegate/rivals.h"

namespace tidegate::internal {

// Resident bytes of one more token, once every window is full.
Bytes KvSlope(const Estimator& truth);

// KV as it is, and transients as somebody believes in them: none, unless a
// subclass says otherwise. An engine that allocates whole sequences is believed
// to page them where `paged`.
class BelievedPrices : public Estimator {
 public:
  BelievedPrices(std::shared_ptr<const Estimator> truth, bool paged);

  std::string_view Name() const override { return "believed"; }
  PriceTotals Total(const StepQuery& step) const override;
  absl::StatusOr<Price> Explain(const StepQuery& step) const override;
  std::string RouteName(const StepQuery& /*step*/) const override {
    return "believed";
  }
  // None: what is believed never falls as a chunk gets wider.
  void Breakpoints(Axis /*axis*/, Tokens /*fixed*/, Tokens /*lo*/,
                   Tokens /*hi*/, MaskKind /*mask*/,
                   std::vector<Tokens>* /*out*/) const override {}
  bool Assumed() const override { return false; }
  TransientTiming Timing() const override { return TransientTiming::kPerStep; }
  bool KvPreallocated() const override {
    return !paged_ && truth_->KvPreallocated();
  }
  Bytes SequenceBytes(Tokens tokens, Tokens chunk) const override;

  // No sequence holds more than this: see vllm.cc.
  void CapSequences(Bytes most) { most_ = most; }
  // Without that cap.
  Bytes WholeSequence(Tokens tokens) const;

 protected:
  virtual Bytes Transient(const StepQuery& /*step*/) const { return 0; }
  const Estimator& truth() const { return *truth_; }

 private:
  Bytes Growth(const Chunk& chunk) const;

  std::shared_ptr<const Estimator> truth_;
  bool paged_ = false;
  Bytes slope_ = 0;
  Bytes most_ = kBytesMax;
};

// Prompt tokens of the request that are still to be computed; at least one.
Tokens Left(const RequestView& view);
// Output tokens that it may still generate.
Tokens OutputLeft(const RequestView& view);
constexpr Tokens FloorTo(Tokens tokens, Tokens unit) {
  return tokens - tokens % unit;
}

// A chunk whose width is a rule. What fits is left to the scheduler core.
class RuleChunk final : public ChunkPolicy {
 public:
  // `left`: of the prompt. `offered`: of the step, at most `widest`. The answer
  // is at most the smaller of both; 0: not in this step.
  using Rule = std::function<Tokens(const Question& question, Tokens left,
                                    Tokens offered)>;
  RuleChunk(std::string name, Tokens widest, Rule rule)
      : name_(std::move(name)), widest_(widest), rule_(std::move(rule)) {}

  std::string_view Name() const override { return name_; }
  Choice Next(const Question& question) const override;
  ChunkLimits Reachable(const ChunkLimits& /*limits*/) const override {
    return {.max = widest_, .floor = 1, .quantum = 1};
  }

 private:
  std::string name_;
  Tokens widest_;
  Rule rule_;
};

// min(left, offered): what most rules start from.
Tokens Greedy(const ChunkPolicy::Question& question, Tokens left,
              Tokens offered);

// Admission by KV: a request starts when what it needs is free.
class RuleAdmission final : public AdmissionPolicy {
 public:
  struct Need {
    Bytes free = 0;   // must be free now, claims apart
    Bytes claim = 0;  // is promised
  };
  using Rule = std::function<Need(const Question& question)>;
  using Decoding = std::function<Bytes(const Estimator&, const RequestView&)>;
  // `decoding`: what is promised to a request that starts to decode; null:
  // nothing.
  RuleAdmission(std::string name, Rule rule, Decoding decoding = nullptr)
      : name_(std::move(name)),
        rule_(std::move(rule)),
        decoding_(std::move(decoding)) {}

  std::string_view Name() const override { return name_; }
  absl::StatusOr<Answer> Decide(const Question& question) const override;
  bool MayGrow(const Question& /*question*/, Tokens /*n*/,
               Bytes /*resident*/) const override {
    return true;
  }
  Bytes DecodeClaim(const Estimator& estimator, const RequestView& request,
                    std::int64_t /*output_share_permille*/) const override {
    return decoding_ != nullptr ? decoding_(estimator, request) : 0;
  }

 private:
  std::string name_;
  Rule rule_;
  Decoding decoding_;
};

// Bytes that the request still adds with `output` tokens beyond what it has.
Bytes GrowthTo(const Estimator& estimator, const RequestView& view,
               Tokens output);

// Running requests in the order of their arrival, then waiting ones; nobody
// passes a request that waits.
std::shared_ptr<const OrderPolicy> RunningFirst();

// Who loses its progress, as soon as memory is short.
class RulePressure final : public PressurePolicy {
 public:
  using Rule = bool (*)(const RequestView& a, const RequestView& b);
  RulePressure(std::string name, Rule rule)
      : name_(std::move(name)), rule_(rule) {}
  std::string_view Name() const override { return name_; }
  bool PreemptBefore(const RequestView& a,
                     const RequestView& b) const override {
    return rule_(a, b);
  }
  Duration Patience() const override { return Duration::zero(); }

 private:
  std::string name_;
  Rule rule_;
};
// The last of the running list.
bool LastFirst(const RequestView& a, const RequestView& b);

// True price of one step on an empty cache: what a profiling run at start sees.
Bytes ProfiledBytes(const Estimator& truth, Tokens tokens);

// Keeps `bytes` back beside the operator's headroom. InvalidArgument where that
// leaves no room: the engine would not start.
absl::Status KeepBack(std::string_view rival, Bytes bytes,
                      SchedulerOptions* options);
// ceiling - headroom - base.
Bytes RoomAtStart(const SchedulerOptions& options);

// One rival: from the options of the device to its own. `facts` were checked.
using RivalMaker = absl::StatusOr<SchedulerOptions> (*)(
    const SchedulerOptions& base, const RivalFacts& facts);
absl::StatusOr<SchedulerOptions> MakeVllm(const SchedulerOptions& base,
                                          const RivalFacts& facts);
absl::StatusOr<SchedulerOptions> MakeSglang(const SchedulerOptions& base,
                                            const RivalFacts& facts);
absl::StatusOr<SchedulerOptions> MakeTensorRtLlm(const SchedulerOptions& base,
                                                 const RivalFacts& facts);
absl::StatusOr<SchedulerOptions> MakeSarathi(const SchedulerOptions& base,
                                             const RivalFacts& facts);
absl::StatusOr<SchedulerOptions> MakeOmlx(const SchedulerOptions& base,
                                          const RivalFacts& facts);
absl::StatusOr<SchedulerOptions> MakeLlamaCpp(const SchedulerOptions& base,
                                              const RivalFacts& facts);
absl::StatusOr<SchedulerOptions> MakeMlxLm(const SchedulerOptions& base,
                                           const RivalFacts& facts);
absl::StatusOr<SchedulerOptions> MakeFixed512(const SchedulerOptions& base,
                                              const RivalFacts& facts);
absl::StatusOr<SchedulerOptions> MakeFixed2048(const SchedulerOptions& base,
                                               const RivalFacts& facts);
absl::StatusOr<SchedulerOptions> MakeOneShot(const SchedulerOptions& base,
                                             const RivalFacts& facts);
absl::StatusOr<SchedulerOptions> MakeNiyama(const SchedulerOptions& base,
                                            const RivalFacts& facts);
absl::StatusOr<SchedulerOptions> MakeLightLlm(const SchedulerOptions& base,
                                              const RivalFacts& facts);
absl::StatusOr<SchedulerOptions> MakeOracle(const SchedulerOptions& base,
                                            const RivalFacts& facts);

// Sarathi with chunks of another rule: niyama is that.
absl::StatusOr<SchedulerOptions> MakeStallFree(std::string_view name,
                                               Tokens chunk,
                                               const RuleChunk::Rule& rule,
                                               const SchedulerOptions& base,
                                               const RivalFacts& facts);
inline constexpr Tokens kSarathiChunk = 512;

// A fact, or the rival's default where it is 0.
constexpr std::int64_t Or(std::int64_t fact, std::int64_t fallback) {
  return fact > 0 ? fact : fallback;
}

}  // namespace tidegate::internal

#endif  // TIDEGATE_SIMULATOR_RIVALS_KIT_H_
