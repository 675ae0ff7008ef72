// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "engines/llamacpp/log_capture.h"

#include <cmath>
#include <cstdlib>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace tidegate::llamacpp {

namespace {

constexpr std::size_t kComplaintMax = 400;

}  // namespace

LogCapture::LogCapture() {
  llama_log_get(&before_, &before_data_);
  llama_log_set(&LogCapture::Receive, this);
}

LogCapture::~LogCapture() { llama_log_set(before_, before_data_); }

void LogCapture::ReadLine(const std::string& line, ReportedMemory* reported) {
  constexpr std::string_view kWords = " buffer size = ";
  const std::size_t at = line.find(kWords);
  if (at == std::string::npos) return;
  const char* number = line.c_str() + at + kWords.size();
  char* end = nullptr;
  const double mib = std::strtod(number, &end);
  if (end == number || std::string_view(end).substr(0, 4) != " MiB") return;
  // Two decimals were printed: what they may have rounded away is added.
  const Bytes bytes =
      mib > 0 ? static_cast<Bytes>(std::ceil((mib + 0.005) * (1 << 20))) : 0;
  const std::string_view before = std::string_view(line).substr(0, at);
  const auto ends = [&](std::string_view word) {
    return before.size() >= word.size() &&
           before.substr(before.size() - word.size()) == word;
  };
  if (ends(" compute")) {
    reported->compute = SatAdd(reported->compute, bytes);
  } else if (ends(" KV") || ends(" RS") || ends(" state")) {
    reported->kv = SatAdd(reported->kv, bytes);
  } else if (ends(" output")) {
    reported->output = SatAdd(reported->output, bytes);
  }
}

void LogCapture::Receive(ggml_log_level level, const char* text, void* self) {
  LogCapture& capture = *static_cast<LogCapture*>(self);
  // A line may come in pieces.
  capture.line_ += text;
  if (!capture.line_.empty() && capture.line_.back() == '\n') {
    ReadLine(capture.line_, &capture.reported_);
    if ((level == GGML_LOG_LEVEL_ERROR || level == GGML_LOG_LEVEL_WARN) &&
        capture.complaint_.size() < kComplaintMax) {
      absl::StripAsciiWhitespace(&capture.line_);
      absl::StrAppend(&capture.complaint_,
                      capture.complaint_.empty() ? "" : "; ", capture.line_);
    }
    capture.line_.clear();
  }
  if (capture.before_ != nullptr) {
    capture.before_(level, text, capture.before_data_);
  }
}

}  // namespace tidegate::llamacpp
