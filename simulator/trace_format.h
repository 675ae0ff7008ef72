// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The formats of traces. A format takes the lines of a file one by one and adds
// requests to a trace, so that no file is ever held whole.

#ifndef TIDEGATE_SIMULATOR_TRACE_FORMAT_H_
#define TIDEGATE_SIMULATOR_TRACE_FORMAT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tidegate/simulator.h"

namespace tidegate::internal {

class TraceFormat {
 public:
  virtual ~TraceFormat() = default;
  // The next line, numbered from 1, without its line break. Adds no request
  // beyond options.requests_max where requests are drawn.
  virtual absl::Status Line(std::int64_t line, std::string_view text,
                            Trace* trace) = 0;
  // After the last line.
  virtual absl::Status Finish(Trace* /*trace*/) { return absl::OkStatus(); }
  // False where requests come out of order and Finish() sorts them.
  virtual bool Ordered() const { return true; }
  // Whether it looks back at no request but the last, and Finish() at none.
  virtual bool Streams() const { return false; }
  // The column or key of a request's time, for messages.
  virtual std::string_view TimeColumn() const = 0;
};

// CSV by its first line. InvalidArgument when it is no header of a trace.
absl::StatusOr<std::unique_ptr<TraceFormat>> MakeCsvFormat(
    std::string_view file, std::string_view header);

// Mooncake's JSON lines.
std::unique_ptr<TraceFormat> MakeMooncakeFormat(std::string_view file);

// ServeGen's windows, which have no header. Reads the lengths from the file
// beside it.
bool LooksLikeServeGen(std::string_view first_line);
absl::StatusOr<std::unique_ptr<TraceFormat>> MakeServeGenFormat(
    std::string_view file, const TraceOptions& options);

}  // namespace tidegate::internal

#endif  // TIDEGATE_SIMULATOR_TRACE_FORMAT_H_
