// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Reading a trace: which format it is, and its lines in bounded memory.

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include "estimators/text.h"
#include "simulator/trace_format.h"
#include "tidegate/simulator.h"
#include "tidegate/status.h"

namespace tidegate {
namespace {

using internal::Concat;
using internal::InvalidArgument;
using internal::TraceFormat;

// The longest line of the public traces has 6 kB. A file without line breaks is
// no trace, and is not read whole to find that out.
constexpr std::size_t kLineMax = std::size_t{16} << 20;
constexpr std::size_t kBlock = std::size_t{1} << 20;

class TraceReader {
 public:
  TraceReader(std::string_view file, const TraceOptions& options)
      : file_(file), options_(options) {}

  // Takes the next piece of the file, which may end anywhere.
  absl::Status Read(std::string_view text) {
    while (!text.empty() && !done_) {
      const std::size_t newline = text.find('\n');
      if (rest_.size() + std::min(newline, text.size()) > kLineMax) {
        return InvalidArgument(file_, ":", line_ + 1,
                               ": expected a line of at most 16 MiB");
      }
      if (newline == std::string_view::npos) {
        rest_.append(text);
        return absl::OkStatus();
      }
      if (rest_.empty()) {
        TG_RETURN_IF_ERROR(Line(text.substr(0, newline)));
      } else {
        rest_.append(text.substr(0, newline));
        TG_RETURN_IF_ERROR(Line(rest_));
        rest_.clear();
      }
      text.remove_prefix(newline + 1);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Trace> Finish() {
    if (!rest_.empty() && !done_) TG_RETURN_IF_ERROR(Line(rest_));
    if (format_ != nullptr) TG_RETURN_IF_ERROR(format_->Finish(&trace_));
    // A trace without requests answers every question with zero: a mistake that
    // would look like a result.
    if (trace_.rows.empty()) {
      return InvalidArgument(
          file_, ":", line_ + 1, ": column ",
          format_ == nullptr ? "arrival_s" : format_->TimeColumn(),
          ": expected ", format_ == nullptr ? "the header" : "a first request",
          ", got the end of the file");
    }
    if (static_cast<std::int64_t>(trace_.rows.size()) > options_.requests_max) {
      trace_.rows.resize(static_cast<std::size_t>(options_.requests_max));
    }
    return std::move(trace_);
  }

  bool done() const { return done_; }

 private:
  absl::Status Line(std::string_view text) {
    ++line_;
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (format_ == nullptr) {
      // Spreadsheets mark UTF-8 so.
      if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
      if (text.starts_with('{')) {
        format_ = internal::MakeMooncakeFormat(file_);
      } else if (internal::LooksLikeServeGen(text)) {
        TG_ASSIGN_OR_RETURN(format_,
                            internal::MakeServeGenFormat(file_, options_));
      } else {
        TG_ASSIGN_OR_RETURN(format_, internal::MakeCsvFormat(file_, text));
        return absl::OkStatus();
      }
    }
    TG_RETURN_IF_ERROR(format_->Line(line_, text, &trace_));
    const auto rows = static_cast<std::int64_t>(trace_.rows.size());
    done_ = format_->Ordered() && rows >= options_.requests_max;
    if (rows > kTraceRowsMax) {
      return InvalidArgument(file_, ":", line_, ": expected at most ",
                             kTraceRowsMax,
                             " requests; limit how many are read");
    }
    return absl::OkStatus();
  }

  std::string_view file_;
  const TraceOptions& options_;
  std::unique_ptr<TraceFormat> format_;
  Trace trace_;
  std::string rest_;  // of a line whose end is in the next piece
  std::int64_t line_ = 0;
  bool done_ = false;
};

absl::Status Validate(const TraceOptions& options) {
  if (options.requests_max >= 1 && options.requests_max <= kTraceRowsMax) {
    return absl::OkStatus();
  }
  return InvalidArgument("requests_max: expected 1 to ", kTraceRowsMax,
                         ", got ", options.requests_max);
}

}  // namespace

absl::StatusOr<Trace> ParseTrace(std::string_view text, std::string_view file,
                                 const TraceOptions& options) {
  TG_RETURN_IF_ERROR(Validate(options));
  TraceReader reader(file, options);
  TG_RETURN_IF_ERROR(reader.Read(text));
  return reader.Finish();
}

absl::StatusOr<Trace> LoadTrace(const std::string& path,
                                const TraceOptions& options) {
  TG_RETURN_IF_ERROR(Validate(options));
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return InvalidArgument(path, ": expected a trace, got a directory");
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(Concat(path, ": cannot read the trace"));
  TraceReader reader(path, options);
  std::string block(kBlock, '\0');
  while (in && !reader.done()) {
    in.read(block.data(), static_cast<std::streamsize>(block.size()));
    TG_RETURN_IF_ERROR(reader.Read(std::string_view(block).substr(
        0, static_cast<std::size_t>(in.gcount()))));
  }
  if (in.bad()) return absl::NotFoundError(Concat(path, ": cannot read on"));
  return reader.Finish();
}

}  // namespace tidegate
