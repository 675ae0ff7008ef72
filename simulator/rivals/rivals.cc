// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/rivals.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "estimators/text.h"
#include "simulator/rivals/kit.h"
#include "simulator/rivals/true_prices.h"
#include "tidegate/status.h"

namespace tidegate {
namespace {

using internal::InvalidArgument;

struct Rival {
  std::string_view name;
  internal::RivalMaker make;
};

constexpr std::string_view kOracle = "oracle";

constexpr std::array kRivals = {
    Rival{"vllm", internal::MakeVllm},
    Rival{"sglang", internal::MakeSglang},
    Rival{"tensorrt_llm", internal::MakeTensorRtLlm},
    Rival{"sarathi", internal::MakeSarathi},
    Rival{"niyama", internal::MakeNiyama},
    Rival{"lightllm", internal::MakeLightLlm},
    Rival{"omlx", internal::MakeOmlx},
    Rival{"llama_cpp", internal::MakeLlamaCpp},
    Rival{"mlx_lm", internal::MakeMlxLm},
    Rival{"fixed_512", internal::MakeFixed512},
    Rival{"fixed_2048", internal::MakeFixed2048},
    Rival{"one_shot", internal::MakeOneShot},
    Rival{kOracle, internal::MakeOracle},
};

TimeModel TimesOf(const WorldOptions& world) {
  if (world.timer != nullptr) return world.timer->Model();
  const double factor = world.time_error.factor;
  return {.fixed_ps = std::llround(world.chunk_overhead_s * factor * 1e12),
          .per_token_ps = std::llround(factor / world.tokens_per_s * 1e12)};
}

absl::Status CheckFacts(const RivalFacts& facts) {
  struct Count {
    std::string_view name;
    std::int64_t value;
    std::int64_t least;
    std::int64_t most;
  };
  for (const Count& count :
       {Count{"sequences", facts.sequences, 0, 1'000'000},
        Count{"step_tokens", facts.step_tokens, 0, kTokensMax},
        Count{"page", facts.page, 0, kTokensMax},
        Count{"long_prefill_threshold", facts.long_prefill_threshold, 0,
              kTokensMax},
        Count{"context", facts.context, 1, kTokensMax},
        Count{"activation_bytes", facts.activation_bytes.value_or(0), 0,
              kBytesMax}}) {
    if (count.value >= count.least && count.value <= count.most) continue;
    return InvalidArgument("rival ", count.name, ": expected ", count.least,
                           " to ", count.most, ", got ", count.value);
  }
  // A decode token must find its place beside a chunk.
  if (facts.step_tokens == 1) {
    return InvalidArgument("rival step_tokens: expected at least 2, got 1");
  }
  if (facts.token_deadline <= Duration::zero()) {
    return InvalidArgument("rival token_deadline: expected more than 0");
  }
  if (facts.shape.has_value()) return facts.shape->Validate();
  return absl::OkStatus();
}

}  // namespace

std::vector<std::string_view> RivalNames() {
  std::vector<std::string_view> names;
  for (const Rival& rival : kRivals) names.push_back(rival.name);
  return names;
}

absl::StatusOr<SchedulerOptions> MakeRival(std::string_view name,
                                           const SchedulerOptions& base,
                                           const RivalFacts& facts) {
  if (base.estimator == nullptr) {
    return InvalidArgument("estimator: expected one, got none");
  }
  TG_RETURN_IF_ERROR(ValidateLimits(base.memory, base.chunk, nullptr));
  TG_RETURN_IF_ERROR(CheckFacts(facts));
  const auto rival =
      std::find_if(kRivals.begin(), kRivals.end(),
                   [&](const Rival& r) { return r.name == name; });
  if (rival == kRivals.end()) {
    return internal::UnknownWord("rival", name, RivalNames());
  }
  SchedulerOptions plain = base;
  // Nobody but Tidegate corrects prices by measurement.
  plain.calibrate = false;
  return rival->make(plain, facts);
}

absl::Status ApplyRival(std::string_view name, const RivalFacts& facts,
                        SimulatorOptions* options) {
  SchedulerOptions base = options->scheduler;
  WorldOptions& world = options->world;
  if (world.truth == nullptr) world.truth = base.estimator;
  // Engines that profile a step at start measure what it really needs.
  if (world.truth != nullptr && world.attention == WorldAttention::kEstimator) {
    base.estimator = internal::TruePrices(world);
  }
  if (name == kOracle) {
    world.reading_lag = {};
    base.reading_lag = {};
    if (!base.time.has_value()) base.time = TimesOf(world);
  }
  TG_ASSIGN_OR_RETURN(SchedulerOptions rival, MakeRival(name, base, facts));
  if (world.truth->KvPreallocated() && !rival.estimator->KvPreallocated() &&
      !world.kv_bytes_per_token.has_value()) {
    world.kv_bytes_per_token = internal::KvSlope(*world.truth);
  }
  if (name == "vllm" || name == "sglang") world.preempted_keep_output = true;
  options->scheduler = std::move(rival);
  return absl::OkStatus();
}

}  // namespace tidegate
