// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "service/probe_files.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <system_error>

#include "estimators/text.h"
#include "tidegate/status.h"

namespace tidegate::internal {

std::string UnderRoot(const std::string& root, std::string_view path) {
  std::string_view base = root;
  while (base.ends_with('/')) base.remove_suffix(1);
  return Concat(base, path);
}

absl::StatusOr<std::vector<std::string>> ReadLines(const std::string& file) {
  errno = 0;
  std::ifstream in(file);
  std::vector<std::string> lines;
  std::string line;
  while (std::getline(in, line)) lines.push_back(line);
  // Opened and at its end, or not readable at all: a folder opens but fails.
  if (!in.is_open() || in.bad() || (lines.empty() && errno != 0)) {
    const std::error_code why(errno == 0 ? EIO : errno,
                              std::generic_category());
    return absl::UnavailableError(Concat(file, ": ", why.message()));
  }
  return lines;
}

absl::Status BadLine(const std::string& file, int line,
                     std::string_view expected, std::string_view got) {
  return absl::DataLossError(
      Concat(file, ":", line, ": expected ", expected, ", got '", got, "'"));
}

absl::StatusOr<Bytes> ParseCount(std::string_view text, const std::string& file,
                                 int line) {
  Bytes value = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  if (parsed.ec != std::errc() || parsed.ptr != end || value < 0) {
    return BadLine(file, line, "a whole number from 0", text);
  }
  return value;
}

absl::StatusOr<Bytes> ReadCount(const std::string& file) {
  TG_ASSIGN_OR_RETURN(const std::vector<std::string> lines, ReadLines(file));
  return ParseCount(lines.empty() ? "" : lines[0], file, 1);
}

}  // namespace tidegate::internal
