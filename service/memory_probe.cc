// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/memory_probe.h"

#include <utility>

#include "estimators/text.h"
#include "service/probe_kinds.h"

namespace tidegate {
namespace {

constexpr std::string_view kNames[] = {
    "none", "nvml", "amdgpu", "amdgpu_gtt", "cgroup", "proc", "callback"};

class CallbackProbe final : public MemoryProbe {
 public:
  explicit CallbackProbe(MemoryCallback callback)
      : callback_(std::move(callback)) {}
  std::string_view Name() const override { return "callback"; }
  absl::StatusOr<MemoryProbeReading> Read() override {
    // A public function of ours: what the callback throws ends here.
    try {
      return callback_();
    } catch (const std::exception& e) {
      return absl::InternalError(
          internal::Concat("the memory callback failed: ", e.what()));
    } catch (...) {
      return absl::InternalError("the memory callback failed");
    }
  }

 private:
  const MemoryCallback callback_;
};

}  // namespace

std::span<const std::string_view> MemoryProbeNames() { return kNames; }

absl::StatusOr<std::unique_ptr<MemoryProbe>> CreateMemoryProbe(
    std::string_view name, const MemoryProbeOptions& options) {
  if (name == "none") return std::unique_ptr<MemoryProbe>();
  if (name == "nvml") return internal::NewNvmlProbe(options);
  if (name == "amdgpu") return internal::NewAmdgpuProbe(options, false);
  if (name == "amdgpu_gtt") return internal::NewAmdgpuProbe(options, true);
  if (name == "cgroup") return internal::NewCgroupProbe(options);
  if (name == "proc") return internal::NewProcProbe(options);
  if (name == "callback") {
    if (!options.callback) {
      return internal::InvalidArgument(
          "memory.probe: 'callback' needs one, which only a program can give");
    }
    return std::unique_ptr<MemoryProbe>(
        std::make_unique<CallbackProbe>(options.callback));
  }
  std::string known;
  for (const std::string_view each : kNames) {
    known += known.empty() ? "" : ", ";
    known += each;
  }
  const std::string_view meant = internal::DidYouMean(name, kNames);
  return internal::InvalidArgument(
      "memory.probe: expected one of ", known, ", got '", name, "'",
      meant.empty() ? "" : internal::Concat("; did you mean '", meant, "'?"));
}

}  // namespace tidegate
