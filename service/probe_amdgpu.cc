// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The amdgpu driver's sysfs: /sys/class/drm/cardN/device/mem_info_vram_used and
// _total, and the same for GTT, the system memory that the device maps, all in
// bytes (Documentation/gpu/amdgpu/driver-misc.rst).

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "estimators/text.h"
#include "service/probe_files.h"
#include "service/probe_kinds.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

class AmdgpuProbe final : public MemoryProbe {
 public:
  AmdgpuProbe(const MemoryProbeOptions& options, bool with_gtt)
      : folder_(UnderRoot(options.root, "/sys/class/drm")),
        wanted_(options.devices),
        with_gtt_(with_gtt) {}
  std::string_view Name() const override {
    return with_gtt_ ? "amdgpu_gtt" : "amdgpu";
  }

  absl::StatusOr<MemoryProbeReading> Read() override {
    std::vector<int> cards = wanted_.empty() ? Cards() : wanted_;
    if (cards.empty()) {
      return absl::UnavailableError(Concat(
          folder_, ": no card has device/mem_info_vram_used: no amdgpu here"));
    }
    MemoryProbeReading reading;
    for (const int card : cards) {
      const std::string device =
          Concat(folder_, "/card", card, "/device/mem_info_");
      DeviceMemory memory{.name = Concat("amdgpu:card", card)};
      TG_ASSIGN_OR_RETURN(memory.used_bytes, ReadCount(device + "vram_used"));
      TG_ASSIGN_OR_RETURN(Bytes limit, ReadCount(device + "vram_total"));
      if (with_gtt_) {
        TG_ASSIGN_OR_RETURN(const Bytes used, ReadCount(device + "gtt_used"));
        TG_ASSIGN_OR_RETURN(const Bytes total, ReadCount(device + "gtt_total"));
        memory.used_bytes = SatAdd(memory.used_bytes, used);
        limit = SatAdd(limit, total);
      }
      memory.limit_bytes = limit;
      reading.devices.push_back(std::move(memory));
    }
    return reading;
  }

 private:
  // Ascending by number. Connectors ("card0-DP-1") and other drivers' cards are
  // not among them.
  std::vector<int> Cards() const {
    std::vector<int> cards;
    std::error_code error;
    for (const auto& entry :
         std::filesystem::directory_iterator(folder_, error)) {
      const std::string name = entry.path().filename().string();
      constexpr std::string_view kCard = "card";
      if (!name.starts_with(kCard)) continue;
      int card = 0;
      const char* end = name.data() + name.size();
      const auto parsed =
          std::from_chars(name.data() + kCard.size(), end, card);
      std::error_code ignored;
      if (parsed.ec == std::errc() && parsed.ptr == end &&
          std::filesystem::exists(entry.path() / "device/mem_info_vram_used",
                                  ignored)) {
        cards.push_back(card);
      }
    }
    std::sort(cards.begin(), cards.end());
    return cards;
  }

  const std::string folder_;
  const std::vector<int> wanted_;
  const bool with_gtt_;
};

}  // namespace

std::unique_ptr<MemoryProbe> NewAmdgpuProbe(const MemoryProbeOptions& options,
                                            bool with_gtt) {
  return std::make_unique<AmdgpuProbe>(options, with_gtt);
}

}  // namespace tidegate::internal
