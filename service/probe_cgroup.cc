// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Control groups, version 2. Each group on the way from this process's to the
// root may have a limit (memory.max, where the kernel kills, and memory.high,
// where it throttles); the one with the least room is what the process meets
// first, and its use is what counts against that limit. memory.current contains
// the page cache (Documentation/admin-guide/cgroup-v2.rst).

#include <algorithm>
#include <filesystem>
#include <limits>
#include <optional>

#include "estimators/text.h"
#include "service/probe_files.h"
#include "service/probe_kinds.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

constexpr std::string_view kMount = "/sys/fs/cgroup";

// A limit file; nullopt: "max", or a kernel without the file.
absl::StatusOr<std::optional<Bytes>> ReadLimit(const std::string& file) {
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return std::nullopt;
  TG_ASSIGN_OR_RETURN(const auto lines, ReadLines(file));
  if (!lines.empty() && lines[0] == "max") return std::nullopt;
  TG_ASSIGN_OR_RETURN(
      const Bytes limit,
      ParseCount(lines.empty() ? std::string_view() : lines[0], file, 1));
  return limit;
}

class CgroupProbe final : public MemoryProbe {
 public:
  explicit CgroupProbe(std::string root) : root_(std::move(root)) {}
  std::string_view Name() const override { return "cgroup"; }

  absl::StatusOr<MemoryProbeReading> Read() override {
    TG_ASSIGN_OR_RETURN(std::string group, OwnGroup());
    std::optional<DeviceMemory> tightest;
    for (;;) {
      TG_ASSIGN_OR_RETURN(std::optional<DeviceMemory> level, ReadGroup(group));
      if (level.has_value() &&
          (!tightest.has_value() || Room(*level) < Room(*tightest))) {
        tightest = std::move(level);
      }
      if (group.empty()) break;
      group.resize(group.rfind('/'));
    }
    if (!tightest.has_value()) {
      return absl::UnavailableError(
          Concat(UnderRoot(root_, kMount),
                 ": no group of this process has memory.current: the memory "
                 "controller of cgroup v2 is off here"));
    }
    MemoryProbeReading reading;
    reading.devices.push_back(*std::move(tightest));
    if (const auto pressure = ReadMemoryPressure(root_); pressure.ok()) {
      reading.pressure_percent = *pressure;
    }
    return reading;
  }

 private:
  static Bytes Room(const DeviceMemory& level) {
    return level.limit_bytes.has_value() ? *level.limit_bytes - level.used_bytes
                                         : std::numeric_limits<Bytes>::max();
  }

  // "0::/a/b" says "/a/b"; the root is "".
  absl::StatusOr<std::string> OwnGroup() const {
    const std::string file = UnderRoot(root_, "/proc/self/cgroup");
    TG_ASSIGN_OR_RETURN(const auto lines, ReadLines(file));
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const std::string_view line = lines[i];
      if (!line.starts_with("0::")) continue;
      std::string group(line.substr(3));
      if (!group.starts_with('/') || group.find("/..") != group.npos) {
        return BadLine(file, static_cast<int>(i) + 1,
                       "an absolute path after '0::'", group);
      }
      while (group.ends_with('/')) group.pop_back();
      return group;
    }
    return absl::UnavailableError(
        Concat(file, ": no line starts with '0::': cgroup v2 is not in use"));
  }

  // nullopt: a group that does not count memory, as the host's root.
  absl::StatusOr<std::optional<DeviceMemory>> ReadGroup(
      const std::string& group) const {
    const std::string folder = UnderRoot(root_, Concat(kMount, group));
    std::error_code ignored;
    if (!std::filesystem::exists(folder + "/memory.current", ignored)) {
      return std::nullopt;
    }
    DeviceMemory level{.name = Concat("cgroup:", group.empty() ? "/" : group)};
    TG_ASSIGN_OR_RETURN(level.used_bytes,
                        ReadCount(folder + "/memory.current"));
    TG_ASSIGN_OR_RETURN(level.limit_bytes, ReadLimit(folder + "/memory.max"));
    TG_ASSIGN_OR_RETURN(const std::optional<Bytes> high,
                        ReadLimit(folder + "/memory.high"));
    if (high.has_value()) {
      level.limit_bytes = std::min(*high, level.limit_bytes.value_or(*high));
    }
    return level;
  }

  const std::string root_;
};

}  // namespace

std::unique_ptr<MemoryProbe> NewCgroupProbe(const MemoryProbeOptions& options) {
  return std::make_unique<CgroupProbe>(options.root);
}

}  // namespace tidegate::internal
