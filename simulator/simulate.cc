// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "estimators/text.h"
#include "simulator/driver.h"
#include "tidegate/simulator.h"
#include "tidegate/status.h"

namespace tidegate {
namespace {

using internal::DrivenRequest;
using internal::Driver;
using internal::DriverOptions;
using internal::InvalidArgument;
using internal::Outcome;

double Seconds(Duration duration) {
  return static_cast<double>(duration.count()) * 1e-9;
}

absl::Status ValidateRow(const TraceRow& row, std::size_t index,
                         const Trace& trace) {
  const bool sorted =
      index == 0 || trace.rows[index - 1].arrival <= row.arrival;
  const bool good = sorted && row.arrival >= Instant{} &&
                    row.prompt_tokens >= 1 && row.prompt_tokens <= kTokensMax &&
                    row.cached_tokens >= 0 &&
                    row.cached_tokens < row.prompt_tokens &&
                    row.output_tokens >= 0 && row.output_tokens <= kTokensMax;
  if (good) return absl::OkStatus();
  return InvalidArgument("trace.rows[", index,
                         "]: expected arrivals in order and 0 <= cached_tokens "
                         "< prompt_tokens");
}

absl::Status Validate(const Trace& trace, const SimulatorOptions& options) {
  if (options.scheduler.estimator == nullptr) {
    return InvalidArgument("scheduler.estimator: expected an estimator");
  }
  if (options.cache.block < 1) {
    return InvalidArgument("cache.block: expected at least 1 token, got ",
                           options.cache.block);
  }
  if (options.cache.capacity.value_or(0) < 0) {
    return InvalidArgument("cache.capacity: expected at least 0 bytes, got ",
                           *options.cache.capacity);
  }
  if (options.max_output_tokens.value_or(0) < 0) {
    return InvalidArgument("max_output_tokens: expected at least 0, got ",
                           *options.max_output_tokens);
  }
  if (options.world.allocator.has_value() &&
      options.scheduler.step.in_flight > 1) {
    return InvalidArgument(
        "world.allocator: expected none where several steps run at once");
  }
  for (const auto& [name, level] :
       {std::pair{"ttft_s", options.service_levels.ttft_s},
        std::pair{"itl_s", options.service_levels.itl_s}}) {
    if (std::isfinite(level) && level > 0) continue;
    return InvalidArgument("service_levels.", name,
                           ": expected seconds above 0");
  }
  for (std::size_t i = 0; i < trace.rows.size(); ++i) {
    TG_RETURN_IF_ERROR(ValidateRow(trace.rows[i], i, trace));
  }
  return internal::ValidateWorld(options.world);
}

DriverOptions MakeDriverOptions(const Trace& trace,
                                const SimulatorOptions& options) {
  DriverOptions driver;
  driver.scheduler = options.scheduler;
  driver.world.options = options.world;
  if (driver.world.options.truth == nullptr) {
    driver.world.options.truth = options.scheduler.estimator;
  }
  const MemoryLimits& memory = options.scheduler.memory;
  driver.world.ceiling = memory.ceiling;
  driver.world.base = memory.base;
  driver.world.max_allocation = memory.max_allocation;
  driver.world.ranks = options.scheduler.ranks;
  driver.world.cache = options.cache;
  driver.progress = options.progress;
  driver.event_log = options.event_log;
  driver.on_decision = options.on_decision;
  driver.want_series = options.want_series;
  driver.requests.reserve(trace.rows.size());
  driver.inputs.reserve(trace.rows.size());
  for (const TraceRow& row : trace.rows) {
    DrivenRequest request;
    request.arrive.request = {.prompt_tokens = row.prompt_tokens,
                              .cached_tokens = row.cached_tokens};
    // A client's budget cuts what it is answered.
    request.output_tokens =
        std::min(row.output_tokens,
                 options.max_output_tokens.value_or(row.output_tokens));
    request.arrive.request.max_output_tokens =
        options.max_output_tokens.value_or(row.output_tokens);
    request.session = row.session;
    driver.inputs.push_back(
        {row.arrival, internal::ArriveInput{driver.requests.size()}});
    driver.requests.push_back(std::move(request));
  }
  return driver;
}

RequestRecord RecordOf(const DrivenRequest& request) {
  RequestRecord record;
  record.arrival_s = Seconds(request.arrived.time_since_epoch());
  record.prompt_tokens = request.arrive.request.prompt_tokens;
  record.end_to_end_s = Seconds(request.ended - request.arrived);
  switch (request.outcome) {
    case Outcome::kFinished:
      record.outcome = RequestOutcome::kFinished;
      record.output_tokens = request.output_tokens;
      record.ttft_s = Seconds(*request.prompt_done - request.arrived);
      if (request.output_tokens > 0) {
        record.itl_s = Seconds(request.ended - *request.prompt_done) /
                       static_cast<double>(request.output_tokens);
      }
      return record;
    case Outcome::kRejected:
      record.outcome = RequestOutcome::kRejected;
      record.refusal = request.refusal;
      return record;
    case Outcome::kCancelled:
      record.outcome = RequestOutcome::kCancelled;
      return record;
    case Outcome::kOpen:
      break;
  }
  TG_CHECK(false);  // Run() fails when a request is open at its end.
  return record;
}

// Whatever follows from the records and the span.
void Count(const ServiceLevels& levels, SimulationResult* result) {
  std::vector<double> ttft;
  std::vector<double> itl;
  std::vector<double> end_to_end;
  for (const RequestRecord& record : result->records) {
    switch (record.outcome) {
      case RequestOutcome::kFinished:
        ++result->finished;
        ttft.push_back(*record.ttft_s);
        end_to_end.push_back(record.end_to_end_s);
        if (record.itl_s.has_value()) itl.push_back(*record.itl_s);
        if (*record.ttft_s <= levels.ttft_s &&
            record.itl_s.value_or(0) <= levels.itl_s) {
          ++result->good_requests;
        }
        break;
      case RequestOutcome::kRejected:
        ++result->rejected;
        ++result->refusals[std::string(RefusalCodeName(record.refusal))];
        break;
      case RequestOutcome::kCancelled:
        ++result->cancelled;
        break;
    }
  }
  const Percentiles first_tokens = PercentilesOf(std::move(ttft));
  result->ttft_p50_s = first_tokens.p50;
  result->ttft_p90_s = first_tokens.p90;
  result->ttft_p99_s = first_tokens.p99;
  result->end_to_end_s = PercentilesOf(std::move(end_to_end));
  result->itl_s = PercentilesOf(std::move(itl));
  result->service_levels = levels;
  if (result->span_s > 0) {
    result->tokens_per_s =
        static_cast<double>(result->computed_tokens) / result->span_s;
    result->goodput_per_s =
        static_cast<double>(result->good_requests) / result->span_s;
  }
}

}  // namespace

std::string_view RequestOutcomeName(RequestOutcome outcome) {
  switch (outcome) {
    case RequestOutcome::kFinished:
      return "finished";
    case RequestOutcome::kRejected:
      return "rejected";
    case RequestOutcome::kCancelled:
      break;
  }
  return "cancelled";
}

Percentiles PercentilesOf(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto count = static_cast<std::int64_t>(values.size());
  // Nearest rank: the smallest value that `percent` of them do not exceed.
  const auto at = [&](std::int64_t percent) {
    return values[static_cast<std::size_t>(CeilDiv(count * percent, 100) - 1)];
  };
  return {.p50 = at(50), .p90 = at(90), .p99 = at(99)};
}

absl::StatusOr<SimulationResult> Simulate(const Trace& trace,
                                          const SimulatorOptions& options) {
  TG_RETURN_IF_ERROR(Validate(trace, options));
  DriverOptions driver_options = MakeDriverOptions(trace, options);
  Driver driver(std::move(driver_options));
  TG_RETURN_IF_ERROR(driver.Run());

  const internal::DriverTotals& totals = driver.totals();
  SimulationResult result;
  result.requests = static_cast<std::int64_t>(trace.rows.size());
  result.out_of_memory = totals.out_of_memory;
  result.chunks = totals.chunks;
  result.computed_tokens = totals.computed_tokens;
  result.cache_hit_tokens = totals.cache_hit_tokens;
  result.cache_recomputed_tokens = totals.cache_recomputed_tokens;
  if (const internal::PrefixCache* cache = driver.world().cache()) {
    result.cache_evicted_blocks = cache->evicted_blocks();
  }
  result.peak_bytes = driver.world().peak();
  result.ceiling_bytes = driver.world().ceiling();
  result.series = totals.series;
  result.records.reserve(trace.rows.size());

  Instant last{};
  for (const DrivenRequest& request : driver.requests()) {
    last = std::max(last, request.ended);
    result.records.push_back(RecordOf(request));
  }
  if (!trace.rows.empty()) {
    result.span_s = Seconds(last - trace.rows.front().arrival);
  }
  Count(options.service_levels, &result);
  return result;
}

}  // namespace tidegate
