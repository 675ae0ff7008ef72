// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Reading a trace: which format it is, and its lines in bounded memory.

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "estimators/text.h"
#include "simulator/trace_format.h"
#include "simulator/trace_rows.h"
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

  // What is left when the file ends without a line break.
  absl::Status ReadRest() {
    if (rest_.empty() || done_) return absl::OkStatus();
    return Line(std::exchange(rest_, {}));
  }

  absl::StatusOr<Trace> Finish() {
    TG_RETURN_IF_ERROR(ReadRest());
    if (format_ != nullptr) TG_RETURN_IF_ERROR(format_->Finish(&trace_));
    // A trace without requests answers every question with zero: a mistake that
    // would look like a result.
    if (count() == 0) {
      return InvalidArgument(
          file_, ":", line_ + 1, ": column ",
          format_ == nullptr ? "arrival_s" : format_->TimeColumn(),
          ": expected ", format_ == nullptr ? "the header" : "a first request",
          ", got the end of the file");
    }
    if (count() > options_.requests_max) {
      trace_.rows.resize(
          static_cast<std::size_t>(options_.requests_max - taken_));
    }
    return std::move(trace_);
  }

  bool done() const { return done_; }
  // Of the requests so far.
  std::int64_t count() const { return taken_ + std::ssize(trace_.rows); }

  // For who takes requests as they come.
  bool Streams() const { return format_ != nullptr && format_->Streams(); }
  const std::vector<TraceRow>& rows() const { return trace_.rows; }
  // Forgets all but the last of them, which the next line is compared with.
  void Forget() {
    if (trace_.rows.size() < 2) return;
    taken_ += std::ssize(trace_.rows) - 1;
    trace_.rows.erase(trace_.rows.begin(), trace_.rows.end() - 1);
  }

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
    done_ = format_->Ordered() && count() >= options_.requests_max;
    if (count() > kTraceRowsMax) {
      return InvalidArgument(file_, ":", line_, ": expected at most ",
                             kTraceRowsMax,
                             " requests; limit how many are read");
    }
    return absl::OkStatus();
  }

  const std::string file_;
  const TraceOptions options_;
  std::unique_ptr<TraceFormat> format_;
  Trace trace_;
  std::int64_t taken_ = 0;  // requests that are no longer in it
  std::string rest_;        // of a line whose end is in the next piece
  std::int64_t line_ = 0;
  bool done_ = false;
};

// A file that is read block by block.
class TraceFile {
 public:
  TraceFile(const std::string& path, const TraceOptions& options)
      : path_(path), reader_(path, options), block_(kBlock, '\0') {}

  absl::Status Open() {
    std::error_code error;
    if (std::filesystem::is_directory(path_, error)) {
      return InvalidArgument(path_, ": expected a trace, got a directory");
    }
    in_.open(path_, std::ios::binary);
    if (in_) return absl::OkStatus();
    return absl::NotFoundError(Concat(path_, ": cannot read the trace"));
  }
  bool AtEnd() const { return !in_ || reader_.done(); }
  absl::Status ReadBlock() {
    in_.read(block_.data(), static_cast<std::streamsize>(block_.size()));
    if (in_.bad()) {
      return absl::NotFoundError(Concat(path_, ": cannot read on"));
    }
    return reader_.Read(std::string_view(block_).substr(
        0, static_cast<std::size_t>(in_.gcount())));
  }
  TraceReader& reader() { return reader_; }

 private:
  const std::string path_;
  std::ifstream in_;
  TraceReader reader_;
  std::string block_;
};

// A block's requests at a time.
class StreamedTrace final : public TraceSource {
 public:
  StreamedTrace(std::unique_ptr<TraceFile> file, std::int64_t size,
                std::vector<std::string> warnings)
      : file_(std::move(file)), size_(size), warnings_(std::move(warnings)) {}

  absl::StatusOr<std::optional<TraceRow>> Next() override {
    TraceReader& reader = file_->reader();
    while (given_ < size_ && given_ == reader.count()) {
      reader.Forget();
      if (file_->AtEnd()) {
        // The last line may lack its break.
        TG_RETURN_IF_ERROR(reader.ReadRest());
        break;
      }
      TG_RETURN_IF_ERROR(file_->ReadBlock());
    }
    if (given_ == size_) return std::nullopt;
    if (given_ >= reader.count()) {
      return absl::NotFoundError(
          "the trace lost requests while it was simulated");
    }
    const std::int64_t from_end = reader.count() - given_++;
    return reader
        .rows()[reader.rows().size() - static_cast<std::size_t>(from_end)];
  }
  std::int64_t size() const override { return size_; }
  const std::vector<std::string>& warnings() const override {
    return warnings_;
  }

 private:
  const std::unique_ptr<TraceFile> file_;
  const std::int64_t size_;
  const std::vector<std::string> warnings_;
  std::int64_t given_ = 0;
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
  TraceFile file(path, options);
  TG_RETURN_IF_ERROR(file.Open());
  while (!file.AtEnd()) TG_RETURN_IF_ERROR(file.ReadBlock());
  return file.reader().Finish();
}

absl::StatusOr<std::unique_ptr<TraceSource>> OpenTrace(
    const std::string& path, const TraceOptions& options) {
  TG_RETURN_IF_ERROR(Validate(options));
  std::error_code error;
  const bool twice = std::filesystem::is_regular_file(path, error);
  auto file = std::make_unique<TraceFile>(path, options);
  TG_RETURN_IF_ERROR(file->Open());
  while (!file->AtEnd()) {
    TG_RETURN_IF_ERROR(file->ReadBlock());
    if (twice && file->reader().Streams()) file->reader().Forget();
  }
  const bool streams = twice && file->reader().Streams();
  TG_ASSIGN_OR_RETURN(Trace trace, file->reader().Finish());
  if (!streams) {
    return std::make_unique<internal::TraceRows>(
        std::make_unique<Trace>(std::move(trace)));
  }
  const std::int64_t size = file->reader().count() + std::ssize(trace.rows);
  file = std::make_unique<TraceFile>(path, options);
  TG_RETURN_IF_ERROR(file->Open());
  return std::make_unique<StreamedTrace>(std::move(file), size,
                                         std::move(trace.warnings));
}

}  // namespace tidegate
