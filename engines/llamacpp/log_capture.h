// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What llama.cpp logs while a context is made: its C API states the size of no
// buffer, its log states each.

#ifndef TIDEGATE_ENGINES_LLAMACPP_LOG_CAPTURE_H_
#define TIDEGATE_ENGINES_LLAMACPP_LOG_CAPTURE_H_

#include <string>

#include "llama.h"
#include "tidegate/llamacpp.h"

namespace tidegate::llamacpp {

// Listens from construction to destruction, and hands every line on to the
// callback of before. The callback is the process's: one at a time.
class LogCapture {
 public:
  LogCapture();
  ~LogCapture();
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  const ReportedMemory& reported() const { return reported_; }
  // The last warnings and errors, on one line.
  const std::string& complaint() const { return complaint_; }

  // One line of the log; of a line that names no buffer nothing is kept.
  static void ReadLine(const std::string& line, ReportedMemory* reported);

 private:
  static void Receive(ggml_log_level level, const char* text, void* self);

  ggml_log_callback before_ = nullptr;
  void* before_data_ = nullptr;
  ReportedMemory reported_;
  std::string line_;
  std::string complaint_;
};

}  // namespace tidegate::llamacpp

#endif  // TIDEGATE_ENGINES_LLAMACPP_LOG_CAPTURE_H_
