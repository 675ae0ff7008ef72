// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The host's memory. MemAvailable is the kernel's own estimate of what can be
// had without swapping: page cache that it would give back does not count as
// used (Documentation/filesystems/proc.rst).

#include <unistd.h>

#include <charconv>
#include <optional>

#include "estimators/text.h"
#include "service/probe_files.h"
#include "service/probe_kinds.h"
#include "tidegate/status.h"

namespace tidegate {
namespace internal {
namespace {

// "MemTotal:       24684096 kB" of the line that starts so.
absl::StatusOr<Bytes> Field(const std::vector<std::string>& lines,
                            std::string_view name, const std::string& file) {
  for (std::size_t i = 0; i < lines.size(); ++i) {
    std::string_view line = lines[i];
    if (!line.starts_with(name)) continue;
    const int number = static_cast<int>(i) + 1;
    std::string_view value = line.substr(name.size());
    while (value.starts_with(' ')) value.remove_prefix(1);
    if (!value.ends_with(" kB")) {
      return BadLine(file, number, "a number of kB", line);
    }
    value.remove_suffix(3);
    TG_ASSIGN_OR_RETURN(const Bytes kib, ParseCount(value, file, number));
    return SatMul(kib, 1024);
  }
  return absl::DataLossError(
      Concat(file, ": expected a line that starts with '", name, "'"));
}

class ProcProbe final : public MemoryProbe {
 public:
  explicit ProcProbe(std::string root) : root_(std::move(root)) {}
  std::string_view Name() const override { return "proc"; }

  absl::StatusOr<MemoryProbeReading> Read() override {
    const std::string meminfo = UnderRoot(root_, "/proc/meminfo");
    TG_ASSIGN_OR_RETURN(const auto lines, ReadLines(meminfo));
    TG_ASSIGN_OR_RETURN(const Bytes total, Field(lines, "MemTotal:", meminfo));
    TG_ASSIGN_OR_RETURN(const Bytes available,
                        Field(lines, "MemAvailable:", meminfo));
    TG_ASSIGN_OR_RETURN(const Bytes resident, Resident());
    MemoryProbeReading reading;
    reading.devices.push_back(
        {.name = "host",
         .used_bytes = std::max<Bytes>(0, total - available),
         .limit_bytes = total,
         .process_bytes = resident});
    if (const auto pressure = ReadMemoryPressure(root_); pressure.ok()) {
      reading.pressure_percent = *pressure;
    }
    return reading;
  }

 private:
  // The second number of statm: resident pages.
  absl::StatusOr<Bytes> Resident() const {
    const std::string file = UnderRoot(root_, "/proc/self/statm");
    TG_ASSIGN_OR_RETURN(const auto lines, ReadLines(file));
    const std::string_view line = lines.empty() ? std::string_view() : lines[0];
    const std::size_t first = line.find(' ');
    if (first == line.npos) {
      return BadLine(file, 1, "sizes in pages", line);
    }
    const std::string_view rest = line.substr(first + 1);
    TG_ASSIGN_OR_RETURN(const Bytes pages,
                        ParseCount(rest.substr(0, rest.find(' ')), file, 1));
    return SatMul(pages, sysconf(_SC_PAGESIZE));
  }

  const std::string root_;
};

}  // namespace

std::unique_ptr<MemoryProbe> NewProcProbe(const MemoryProbeOptions& options) {
  return std::make_unique<ProcProbe>(options.root);
}

}  // namespace internal

absl::StatusOr<double> ReadMemoryPressure(const std::string& root) {
  const std::string file = internal::UnderRoot(root, "/proc/pressure/memory");
  TG_ASSIGN_OR_RETURN(const auto lines, internal::ReadLines(file));
  // "some avg10=0.00 avg60=0.00 avg300=0.00 total=0".
  constexpr std::string_view kStart = "some avg10=";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    std::string_view line = lines[i];
    if (!line.starts_with(kStart)) continue;
    const std::string_view text = line.substr(
        kStart.size(), line.find(' ', kStart.size()) - kStart.size());
    double percent = 0;
    const char* end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, percent);
    if (parsed.ec != std::errc() || parsed.ptr != end ||
        !(percent >= 0 && percent <= 100)) {
      return internal::BadLine(file, static_cast<int>(i) + 1,
                               "a percentage from 0 to 100", text);
    }
    return percent;
  }
  return absl::DataLossError(internal::Concat(
      file, ": expected a line that starts with '", kStart, "'"));
}

}  // namespace tidegate
