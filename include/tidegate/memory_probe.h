// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Memory probes: where live memory is read when the engine does not say it.
//
//   auto probe = CreateMemoryProbe("nvml");
//   if (!probe.ok()) return probe.status();       // no such probe
//   absl::StatusOr<MemoryProbeReading> now = (*probe)->Read();
//
// Three states are never mixed:
//   off      there is no probe (a null pointer): nobody asked for readings
//   unknown  Read() failed: Unavailable where the driver, file or device is
//            absent, DataLoss where it says something that is no number; the
//            message names the file and line, or the call
//   known    a number; zero is a number
// What is unknown is never taken for zero: the last reading stays in force.
//
// What is read is what the device or the kernel counts, other programs and an
// allocator's pool included, not what the engine's allocator calls allocated.
// An engine that knows its own number reports that instead.

#ifndef TIDEGATE_MEMORY_PROBE_H_
#define TIDEGATE_MEMORY_PROBE_H_

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tidegate/types.h"

namespace tidegate {

struct DeviceMemory {
  std::string name;  // "nvml:0", "cgroup:/a/b", "host", "amdgpu:card0"
  Bytes used_bytes = 0;
  // What `used_bytes` may not exceed; nullopt: no limit is set ("max").
  std::optional<Bytes> limit_bytes;
  // The calling process's part of it, where the source knows.
  std::optional<Bytes> process_bytes;
};

// All devices in one reading, in the source's order. Never empty.
struct MemoryProbeReading {
  std::vector<DeviceMemory> devices;
  // Share of the last ten seconds in which some task waited for memory, in
  // percent (Linux PSI, "some avg10"); nullopt where the kernel has no PSI.
  std::optional<double> pressure_percent;
};

class MemoryProbe {
 public:
  virtual ~MemoryProbe() = default;
  // As CreateMemoryProbe() takes it.
  virtual std::string_view Name() const = 0;
  // Takes microseconds for files, up to about a millisecond for a driver.
  // Thread-safety: one call at a time.
  virtual absl::StatusOr<MemoryProbeReading> Read() = 0;
};

using MemoryCallback = std::function<absl::StatusOr<MemoryProbeReading>()>;

struct MemoryProbeOptions {
  // Where /proc and /sys are: another folder in tests and containers.
  std::string root = "/";
  // Loaded when an "nvml" probe first reads, and kept loaded.
  std::string nvml_library = "libnvidia-ml.so.1";
  // Devices to read by the source's own index; empty: all. For "nvml" and
  // "amdgpu"; nvml counts all devices of the host, whatever
  // CUDA_VISIBLE_DEVICES says.
  std::vector<int> devices;
  // Answers for the "callback" probe.
  MemoryCallback callback;
};

// By the names of the policy file's memory.probe:
//   none        null: no probe
//   nvml        NVIDIA devices, through the driver's library
//   amdgpu      AMD devices' own memory, from sysfs
//   amdgpu_gtt  the same plus the system memory they map: APUs, whose models
//               lie there
//   cgroup      the control group (version 2) of this process: of the group
//               and those above it, the one with the least room
//   proc        the host: MemTotal - MemAvailable, and this process's resident
//               set
//   callback    options.callback
// Nothing is read yet: an absent driver shows in Read(), so that a probe may be
// created before its device is there. InvalidArgument for an unknown name, with
// a suggestion, and for "callback" without one.
absl::StatusOr<std::unique_ptr<MemoryProbe>> CreateMemoryProbe(
    std::string_view name, const MemoryProbeOptions& options = {});

// The names above.
std::span<const std::string_view> MemoryProbeNames();

// PSI's "some avg10" of /proc/pressure/memory under `root`, in percent.
// Unavailable where the kernel has none.
absl::StatusOr<double> ReadMemoryPressure(const std::string& root = "/");

}  // namespace tidegate

#endif  // TIDEGATE_MEMORY_PROBE_H_
