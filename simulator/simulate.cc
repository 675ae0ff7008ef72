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
#include "simulator/quantile_sketch.h"
#include "simulator/trace_rows.h"
#include "tidegate/simulator.h"
#include "tidegate/status.h"

namespace tidegate {
namespace {

using internal::DrivenRequest;
using internal::Driver;
using internal::DriverOptions;
using internal::InvalidArgument;
using internal::Outcome;
using internal::TimedRequest;

double Seconds(Duration duration) {
  return static_cast<double>(duration.count()) * 1e-9;
}

absl::Status ValidateRow(const TraceRow& row, std::int64_t index,
                         Instant before) {
  const bool good = before <= row.arrival && row.arrival >= Instant{} &&
                    row.prompt_tokens >= 1 && row.prompt_tokens <= kTokensMax &&
                    row.cached_tokens >= 0 &&
                    row.cached_tokens < row.prompt_tokens &&
                    row.output_tokens >= 0 && row.output_tokens <= kTokensMax;
  if (good) return absl::OkStatus();
  return InvalidArgument("trace.rows[", index,
                         "]: expected arrivals in order and 0 <= cached_tokens "
                         "< prompt_tokens");
}

absl::Status Validate(const SimulatorOptions& options) {
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
  return internal::ValidateWorld(options.world);
}

DriverOptions MakeDriverOptions(const SimulatorOptions& options) {
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
  return driver;
}

TimedRequest RequestOf(const TraceRow& row, const SimulatorOptions& options) {
  TimedRequest timed{.at = row.arrival};
  DrivenRequest& request = timed.request;
  request.arrive.request = {.prompt_tokens = row.prompt_tokens,
                            .cached_tokens = row.cached_tokens};
  // A client's budget cuts what it is answered.
  request.output_tokens = std::min(
      row.output_tokens, options.max_output_tokens.value_or(row.output_tokens));
  request.arrive.request.max_output_tokens =
      options.max_output_tokens.value_or(row.output_tokens);
  request.session = row.session;
  return timed;
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
  TG_CHECK(false);  // Only of requests that ended.
  return record;
}

// What is counted of requests as they end.
class Counts {
 public:
  explicit Counts(const SimulatorOptions& options) : options_(options) {}

  void Add(const DrivenRequest& request) {
    const ServiceLevels& levels = options_.service_levels;
    RequestRecord record = RecordOf(request);
    last_ = std::max(last_, request.ended);
    switch (record.outcome) {
      case RequestOutcome::kFinished:
        ++result_.finished;
        ttft_.Add(*record.ttft_s);
        end_to_end_.Add(record.end_to_end_s);
        if (record.itl_s.has_value()) itl_.Add(*record.itl_s);
        if (*record.ttft_s <= levels.ttft_s &&
            record.itl_s.value_or(0) <= levels.itl_s) {
          ++result_.good_requests;
        }
        break;
      case RequestOutcome::kRejected:
        ++result_.rejected;
        ++result_.refusals[std::string(RefusalCodeName(record.refusal))];
        break;
      case RequestOutcome::kCancelled:
        ++result_.cancelled;
        break;
    }
    if (!options_.want_records) return;
    const auto index = static_cast<std::size_t>(request.arrive.id - 1);
    if (result_.records.size() <= index) result_.records.resize(index + 1);
    result_.records[index] = std::move(record);
  }

  // `first`: the first arrival.
  SimulationResult Finish(std::optional<Instant> first,
                          Tokens computed_tokens) {
    const Percentiles first_tokens = ttft_.Get();
    result_.ttft_p50_s = first_tokens.p50;
    result_.ttft_p90_s = first_tokens.p90;
    result_.ttft_p99_s = first_tokens.p99;
    result_.end_to_end_s = end_to_end_.Get();
    result_.itl_s = itl_.Get();
    result_.service_levels = options_.service_levels;
    result_.computed_tokens = computed_tokens;
    if (first.has_value()) result_.span_s = Seconds(last_ - *first);
    if (result_.span_s > 0) {
      result_.tokens_per_s =
          static_cast<double>(computed_tokens) / result_.span_s;
      result_.goodput_per_s =
          static_cast<double>(result_.good_requests) / result_.span_s;
    }
    return std::move(result_);
  }

 private:
  const SimulatorOptions& options_;
  SimulationResult result_;
  internal::QuantileSketch ttft_;
  internal::QuantileSketch itl_;
  internal::QuantileSketch end_to_end_;
  Instant last_{};
};

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
  TG_RETURN_IF_ERROR(Validate(options));
  // All of them before any runs.
  Instant before{};
  for (std::size_t i = 0; i < trace.rows.size(); ++i) {
    TG_RETURN_IF_ERROR(
        ValidateRow(trace.rows[i], static_cast<std::int64_t>(i), before));
    before = trace.rows[i].arrival;
  }
  internal::TraceRows rows(trace);
  return Simulate(rows, options);
}

absl::StatusOr<SimulationResult> Simulate(TraceSource& trace,
                                          const SimulatorOptions& options) {
  TG_RETURN_IF_ERROR(Validate(options));
  Counts counts(options);
  std::int64_t count = 0;
  std::optional<Instant> first;
  Instant before{};
  DriverOptions driver_options = MakeDriverOptions(options);
  driver_options.requests_coming = trace.size();
  driver_options.next_request =
      [&]() -> absl::StatusOr<std::optional<TimedRequest>> {
    TG_ASSIGN_OR_RETURN(const std::optional<TraceRow> row, trace.Next());
    if (!row.has_value()) return std::nullopt;
    TG_RETURN_IF_ERROR(ValidateRow(*row, count, before));
    if (!first.has_value()) first = row->arrival;
    before = row->arrival;
    ++count;
    return RequestOf(*row, options);
  };
  driver_options.ended = [&counts](const DrivenRequest& request) {
    counts.Add(request);
  };
  Driver driver(std::move(driver_options));
  TG_RETURN_IF_ERROR(driver.Run());

  internal::DriverTotals totals = driver.TakeTotals();
  SimulationResult result = counts.Finish(first, totals.computed_tokens);
  result.requests = count;
  result.out_of_memory = totals.out_of_memory;
  result.chunks = totals.chunks;
  result.cache_hit_tokens = totals.cache_hit_tokens;
  result.cache_recomputed_tokens = totals.cache_recomputed_tokens;
  if (const internal::PrefixCache* cache = driver.world().cache()) {
    result.cache_evicted_blocks = cache->evicted_blocks();
  }
  result.peak_bytes = driver.world().peak();
  result.ceiling_bytes = driver.world().ceiling();
  result.series = std::move(totals.series);
  return result;
}

}  // namespace tidegate
