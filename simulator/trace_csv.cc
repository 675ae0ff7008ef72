// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Traces in CSV with a header: the uniform format, and those in which public
// traces come.

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "estimators/json_reader.h"
#include "estimators/text.h"
#include "simulator/trace_fields.h"
#include "simulator/trace_format.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// Columns of a file, found by name: written otherwise ("Request tokens",
// "request_tokens") a name is the same.
std::string Normal(std::string_view name) {
  std::string normal;
  for (const char c : name) {
    if (c == ' ' || c == '-') {
      normal += '_';
    } else {
      normal += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
  }
  return normal;
}

class CsvFormat : public TraceFormat {
 public:
  CsvFormat(std::string_view file, std::vector<std::string> columns)
      : file_(file), columns_(std::move(columns)) {}

  absl::Status Line(std::int64_t line, std::string_view text,
                    Trace* trace) final {
    TraceFields fields(file_, line, columns_);
    TG_RETURN_IF_ERROR(fields.Cut(text));
    return Row(fields, trace);
  }

 protected:
  virtual absl::Status Row(const TraceFields& fields, Trace* trace) = 0;

  std::string_view Name(std::size_t column) const { return columns_[column]; }

  // The three that every format has.
  static absl::Status ReadLengths(const TraceFields& fields, std::size_t prompt,
                                  std::size_t output, TraceRow* row) {
    TG_RETURN_IF_ERROR(
        fields.Integer(prompt, 1, kTokensMax, &row->prompt_tokens));
    return fields.Integer(output, 0, kTokensMax, &row->output_tokens);
  }

  static absl::Status Add(const TraceFields& fields, std::size_t time,
                          TraceRow row, Trace* trace) {
    if (!trace->rows.empty() && row.arrival < trace->rows.back().arrival) {
      return fields.Error(time, "no arrival before that of the line above");
    }
    trace->rows.push_back(row);
    return absl::OkStatus();
  }

 private:
  std::string_view file_;
  std::vector<std::string> columns_;
};

// arrival_s,prompt_tokens,cached_tokens,output_tokens,session
class UniformFormat final : public CsvFormat {
 public:
  using CsvFormat::CsvFormat;
  std::string_view TimeColumn() const override { return "arrival_s"; }
  bool Streams() const override { return true; }

 private:
  enum Column { kArrival, kPrompt, kCached, kOutput, kSession };

  absl::Status Row(const TraceFields& fields, Trace* trace) override {
    TraceRow row;
    Duration arrival{};
    TG_RETURN_IF_ERROR(fields.Seconds(kArrival, &arrival));
    row.arrival = Instant(arrival);
    TG_RETURN_IF_ERROR(
        fields.Integer(kPrompt, 1, kTokensMax, &row.prompt_tokens));
    TG_RETURN_IF_ERROR(
        fields.Integer(kCached, 0, kTokensMax, &row.cached_tokens));
    TG_RETURN_IF_ERROR(
        fields.Integer(kOutput, 0, kTokensMax, &row.output_tokens));
    TG_RETURN_IF_ERROR(
        fields.Integer(kSession, std::numeric_limits<std::int64_t>::min(),
                       std::numeric_limits<std::int64_t>::max(), &row.session));
    if (row.cached_tokens >= row.prompt_tokens) {
      return fields.Error(
          kCached, Concat("less than the ", row.prompt_tokens,
                          " prompt_tokens: one is always left to compute"));
    }
    return Add(fields, kArrival, row, trace);
  }
};

// A date and a time of day, as Azure's traces write them:
// "2023-11-16 18:17:03.9799600", "2024-05-10 00:00:00.009930+00:00". As long as
// one file keeps to one zone, the zone does not matter and is not asked for.
std::optional<Duration> ParseTimestamp(std::string_view text) {
  for (const std::string_view zone : {"Z", "+00:00"}) {
    if (text.ends_with(zone)) text.remove_suffix(zone.size());
  }
  const auto digits = [&text](std::size_t at, std::size_t count) {
    int value = 0;
    for (const char c : text.substr(at, count)) {
      if (c < '0' || c > '9') return -1;
      value = value * 10 + (c - '0');
    }
    return value;
  };
  if (text.size() < 19 || text[4] != '-' || text[7] != '-' ||
      (text[10] != ' ' && text[10] != 'T') || text[13] != ':' ||
      text[16] != ':') {
    return std::nullopt;
  }
  const int year = digits(0, 4);
  const int month = digits(5, 2);
  const int day = digits(8, 2);
  const int hour = digits(11, 2);
  const int minute = digits(14, 2);
  if (year < 1970 || month < 0 || day < 0 || hour < 0 || hour > 23 ||
      minute < 0 || minute > 59) {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{
      std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
      std::chrono::day(static_cast<unsigned>(day))};
  const std::optional<Duration> seconds = ParseSeconds(text.substr(17));
  // Nanoseconds since 1970 end in 2262.
  if (!date.ok() || year > 2200 || !seconds.has_value() ||
      *seconds >= std::chrono::seconds(61)) {
    return std::nullopt;
  }
  return std::chrono::sys_days(date).time_since_epoch() +
         std::chrono::hours(hour) + std::chrono::minutes(minute) + *seconds;
}

// Times count from the first request. Nothing is known of prefixes: none is
// cached, and every request is a session of its own.
class TimedFormat final : public CsvFormat {
 public:
  struct Columns {
    std::size_t time = 0;
    std::size_t prompt = 0;
    std::size_t output = 0;
    std::optional<std::size_t> session;
    bool dates = false;  // otherwise seconds
  };
  TimedFormat(std::string_view file, std::vector<std::string> names,
              Columns columns)
      : CsvFormat(file, std::move(names)), columns_(columns) {}
  std::string_view TimeColumn() const override { return Name(columns_.time); }
  bool Streams() const override { return true; }

 private:
  absl::Status Row(const TraceFields& fields, Trace* trace) override {
    TraceRow row;
    Duration time{};
    if (columns_.dates) {
      const std::optional<Duration> parsed =
          ParseTimestamp(fields.text(columns_.time));
      if (!parsed.has_value()) {
        return fields.Error(
            columns_.time,
            "a date and a time such as 2023-11-16 18:17:03.9799600");
      }
      time = *parsed;
    } else {
      TG_RETURN_IF_ERROR(fields.Seconds(columns_.time, &time));
    }
    if (!start_.has_value()) start_ = time;
    row.arrival = Instant(time - *start_);
    TG_RETURN_IF_ERROR(
        ReadLengths(fields, columns_.prompt, columns_.output, &row));
    row.session = SessionOf(fields);
    return Add(fields, columns_.time, row, trace);
  }

  // Requests without the name of a session are sessions of their own.
  std::int64_t SessionOf(const TraceFields& fields) {
    if (columns_.session.has_value()) {
      const std::string_view name = fields.text(*columns_.session);
      if (!name.empty()) {
        const auto [at, added] =
            sessions_.try_emplace(std::string(name), next_);
        if (added) ++next_;
        return at->second;
      }
    }
    return next_++;
  }

  Columns columns_;
  std::optional<Duration> start_;
  std::map<std::string, std::int64_t> sessions_;
  std::int64_t next_ = 0;
};

// num_prefill_tokens,num_decode_tokens,…: lengths only.
class LengthsFormat final : public CsvFormat {
 public:
  LengthsFormat(std::string_view file, std::vector<std::string> names,
                std::size_t prompt, std::size_t output)
      : CsvFormat(file, std::move(names)), prompt_(prompt), output_(output) {}
  std::string_view TimeColumn() const override { return Name(prompt_); }

  absl::Status Finish(Trace* trace) override {
    if (!trace->rows.empty()) {
      trace->warnings.push_back(
          "the trace has lengths and no times: one request arrives a second");
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Row(const TraceFields& fields, Trace* trace) override {
    TraceRow row;
    TG_RETURN_IF_ERROR(ReadLengths(fields, prompt_, output_, &row));
    row.session = static_cast<std::int64_t>(trace->rows.size());
    row.arrival = Instant(std::chrono::seconds(row.session));
    trace->rows.push_back(row);
    return absl::OkStatus();
  }

  std::size_t prompt_;
  std::size_t output_;
};

// session,agent,t_s,input_tokens,output_tokens,prefix_hit_tokens,…: recorded
// sessions of coding agents, each with a clock of its own
// (callanjfox/kv-cache-tester). A common clock is made up: session i, from 0,
// starts at 60 i seconds, and pauses above 120 s are cut to 120 s.
class SessionsFormat final : public CsvFormat {
 public:
  struct Columns {
    std::size_t session, agent, time, prompt, output, hit;
  };
  SessionsFormat(std::string_view file, std::vector<std::string> names,
                 Columns columns)
      : CsvFormat(file, std::move(names)), columns_(columns) {}
  std::string_view TimeColumn() const override { return Name(columns_.time); }
  bool Ordered() const override { return false; }

  absl::Status Finish(Trace* trace) override {
    std::stable_sort(trace->rows.begin(), trace->rows.end(),
                     [](const TraceRow& a, const TraceRow& b) {
                       return a.arrival < b.arrival;
                     });
    if (!trace->rows.empty()) {
      trace->warnings.push_back(
          "the trace's sessions have no common clock: one starts a minute, and "
          "pauses above 120 s are cut to 120 s");
    }
    return absl::OkStatus();
  }

 private:
  static constexpr Duration kSessionEvery = std::chrono::seconds(60);
  static constexpr Duration kPauseMax = std::chrono::seconds(120);

  absl::Status Row(const TraceFields& fields, Trace* trace) override {
    TraceRow row;
    Duration time{};
    TG_RETURN_IF_ERROR(fields.Seconds(columns_.time, &time));
    TG_RETURN_IF_ERROR(
        ReadLengths(fields, columns_.prompt, columns_.output, &row));
    TG_RETURN_IF_ERROR(
        fields.Integer(columns_.hit, 0, kTokensMax, &row.cached_tokens));
    row.cached_tokens = std::min(row.cached_tokens, row.prompt_tokens - 1);
    // The clocks of sub-agents cannot be related to that of their session.
    if (fields.text(columns_.agent) != "main") return absl::OkStatus();
    TG_RETURN_IF_ERROR(
        fields.Integer(columns_.session, 0, kTokensMax, &row.session));
    if (sessions_ == 0 || row.session != session_) {
      session_ = row.session;
      arrival_ = Instant(kSessionEvery * sessions_++);
    } else if (time < time_) {
      return fields.Error(columns_.time,
                          "no time before the session's request above");
    } else {
      arrival_ += std::min(time - time_, kPauseMax);
    }
    time_ = time;
    row.arrival = arrival_;
    trace->rows.push_back(row);
    return absl::OkStatus();
  }

  Columns columns_;
  std::int64_t session_ = 0;
  std::int64_t sessions_ = 0;  // begun so far
  Duration time_{};
  Instant arrival_{};
};

constexpr auto kUniform = std::to_array<std::string_view>(
    {"arrival_s", "prompt_tokens", "cached_tokens", "output_tokens",
     "session"});

// Columns of one header, looked up by name.
class Header {
 public:
  explicit Header(std::string_view line) {
    for (const std::string_view field : SplitAtCommas(line)) {
      names_.emplace_back(field);
      normal_.push_back(Normal(field));
    }
  }
  const std::vector<std::string>& names() const { return names_; }
  std::optional<std::size_t> Find(std::string_view name) const {
    const auto at = std::find(normal_.begin(), normal_.end(), name);
    if (at == normal_.end()) return std::nullopt;
    return static_cast<std::size_t>(at - normal_.begin());
  }
  // Every one of `wanted`, or nothing.
  template <std::size_t N>
  std::optional<std::array<std::size_t, N>> FindAll(
      const std::string_view (&wanted)[N]) const {
    std::array<std::size_t, N> found{};
    for (std::size_t i = 0; i < N; ++i) {
      const std::optional<std::size_t> at = Find(wanted[i]);
      if (!at.has_value()) return std::nullopt;
      found[i] = *at;
    }
    return found;
  }

 private:
  std::vector<std::string> names_;
  std::vector<std::string> normal_;
};

// The header must be the uniform one.
absl::StatusOr<std::unique_ptr<TraceFormat>> MakeUniform(std::string_view file,
                                                         std::string_view line,
                                                         const Header& header) {
  const std::vector<std::string> columns(kUniform.begin(), kUniform.end());
  TraceFields fields(file, 1, columns);
  // A header that starts otherwise may be meant as another format's.
  if (header.names().front() != columns.front()) {
    return fields.Error(
        columns.front(),
        "this name in the header, or the columns of another format (Azure: "
        "TIMESTAMP, ContextTokens, GeneratedTokens; BurstGPT: Timestamp, "
        "Request tokens, Response tokens; lengths: num_prefill_tokens, "
        "num_decode_tokens)",
        Quote(header.names().front()));
  }
  TG_RETURN_IF_ERROR(fields.Cut(line));
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (fields.text(i) == columns[i]) continue;
    return fields.Error(i, "this name in the header");
  }
  return std::make_unique<UniformFormat>(file, header.names());
}

}  // namespace

absl::StatusOr<std::unique_ptr<TraceFormat>> MakeCsvFormat(
    std::string_view file, std::string_view header_line) {
  const Header header(header_line);
  if (const auto azure =
          header.FindAll({"timestamp", "contexttokens", "generatedtokens"})) {
    return std::make_unique<TimedFormat>(
        file, header.names(),
        TimedFormat::Columns{.time = (*azure)[0],
                             .prompt = (*azure)[1],
                             .output = (*azure)[2],
                             .dates = true});
  }
  if (const auto burst =
          header.FindAll({"timestamp", "request_tokens", "response_tokens"})) {
    return std::make_unique<TimedFormat>(
        file, header.names(),
        TimedFormat::Columns{.time = (*burst)[0],
                             .prompt = (*burst)[1],
                             .output = (*burst)[2],
                             .session = header.Find("session_id")});
  }
  if (const auto lengths =
          header.FindAll({"num_prefill_tokens", "num_decode_tokens"})) {
    return std::make_unique<LengthsFormat>(file, header.names(), (*lengths)[0],
                                           (*lengths)[1]);
  }
  if (const auto sessions =
          header.FindAll({"session", "agent", "t_s", "input_tokens",
                          "output_tokens", "prefix_hit_tokens"})) {
    const auto& at = *sessions;
    return std::make_unique<SessionsFormat>(
        file, header.names(),
        SessionsFormat::Columns{at[0], at[1], at[2], at[3], at[4], at[5]});
  }
  return MakeUniform(file, header_line, header);
}

}  // namespace tidegate::internal
