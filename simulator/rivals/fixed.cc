// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// fixed_512, fixed_2048, one_shot: baselines on the device's own step shape.
// Chunks of one width, or the whole prompt at once. KV is reserved as Tidegate
// does it; transients are not priced.

#include <algorithm>
#include <memory>

#include "simulator/rivals/kit.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

SchedulerOptions MakeFixed(std::string_view name, Tokens width,
                           const SchedulerOptions& base) {
  SchedulerOptions options = base;
  options.estimator =
      std::make_shared<BelievedPrices>(base.estimator, /*paged=*/false);
  options.admission_policy = "reserve";
  options.custom_admission = nullptr;
  options.decode_stall = {};
  // A chunk and a decode token of everybody must have their place.
  if (options.step.tokens > 0) {
    options.step.tokens =
        SatAdd(width, std::max<std::int64_t>(
                          {options.step.decodes, options.running_max, 256}));
  }
  options.custom_chunk = std::make_shared<RuleChunk>(
      std::string(name), width,
      [width](const ChunkPolicy::Question&, Tokens left, Tokens offered) {
        const Tokens n = std::min(left, width);
        return n <= offered ? n : 0;
      });
  return options;
}

}  // namespace

absl::StatusOr<SchedulerOptions> MakeFixed512(const SchedulerOptions& base,
                                              const RivalFacts& /*facts*/) {
  return MakeFixed("fixed_512", 512, base);
}

absl::StatusOr<SchedulerOptions> MakeFixed2048(const SchedulerOptions& base,
                                               const RivalFacts& /*facts*/) {
  return MakeFixed("fixed_2048", 2048, base);
}

absl::StatusOr<SchedulerOptions> MakeOneShot(const SchedulerOptions& base,
                                             const RivalFacts& /*facts*/) {
  SchedulerOptions whole = base;
  whole.step.tokens = 0;
  return MakeFixed("one_shot", kTokensMax, whole);
}

}  // namespace tidegate::internal
