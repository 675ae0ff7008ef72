// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// NVIDIA's management library, loaded at run time: a program that links this
// one starts on machines without the driver, where a read says Unavailable.
// Declarations follow nvml.h (nvmlInit_v2, nvmlDeviceGetCount_v2,
// nvmlDeviceGetHandleByIndex_v2, nvmlDeviceGetMemoryInfo, nvmlErrorString,
// nvmlShutdown). The first version of the memory call counts what the driver
// reserves as used, which is what leaves no room.

#include <dlfcn.h>

#include <string>

#include "estimators/text.h"
#include "service/probe_kinds.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

constexpr int kNvmlSuccess = 0;

struct NvmlMemory {
  unsigned long long total;
  unsigned long long free;
  unsigned long long used;
};
using NvmlDevice = struct nvmlDevice_st*;

struct NvmlCalls {
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  int (*count)(unsigned int*) = nullptr;
  int (*handle)(unsigned int, NvmlDevice*) = nullptr;
  int (*memory)(NvmlDevice, NvmlMemory*) = nullptr;
  const char* (*error)(int) = nullptr;
};

template <typename F>
bool Find(void* library, const char* name, F* call) {
  *call = reinterpret_cast<F>(dlsym(library, name));
  return *call != nullptr;
}

class NvmlProbe final : public MemoryProbe {
 public:
  explicit NvmlProbe(const MemoryProbeOptions& options)
      : library_name_(options.nvml_library), wanted_(options.devices) {}
  // The library stays loaded: unloading a driver's library is not safe.
  ~NvmlProbe() override {
    if (ready_) calls_.shutdown();
  }
  std::string_view Name() const override { return "nvml"; }

  absl::StatusOr<MemoryProbeReading> Read() override {
    TG_RETURN_IF_ERROR(Open());
    std::vector<int> devices = wanted_;
    if (devices.empty()) {
      unsigned int count = 0;
      TG_RETURN_IF_ERROR(Check(calls_.count(&count), "nvmlDeviceGetCount_v2"));
      for (unsigned int i = 0; i < count; ++i) {
        devices.push_back(static_cast<int>(i));
      }
      if (devices.empty()) {
        return absl::UnavailableError(
            Concat(library_name_, ": the driver shows no device"));
      }
    }
    MemoryProbeReading reading;
    for (const int index : devices) {
      NvmlDevice device = nullptr;
      NvmlMemory memory{};
      TG_RETURN_IF_ERROR(
          Check(calls_.handle(static_cast<unsigned int>(index), &device),
                Concat("nvmlDeviceGetHandleByIndex_v2(", index, ")")));
      TG_RETURN_IF_ERROR(Check(calls_.memory(device, &memory),
                               Concat("nvmlDeviceGetMemoryInfo(", index, ")")));
      reading.devices.push_back(
          {.name = Concat("nvml:", index),
           .used_bytes = static_cast<Bytes>(memory.used),
           .limit_bytes = static_cast<Bytes>(memory.total),
           .process_bytes = {}});
    }
    return reading;
  }

 private:
  // Once it worked; until then each read tries again, since a driver may come.
  absl::Status Open() {
    if (ready_) return absl::OkStatus();
    void* library = dlopen(library_name_.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      const char* why = dlerror();
      return absl::UnavailableError(
          Concat("NVML cannot be loaded: ", why == nullptr ? "" : why));
    }
    NvmlCalls calls;
    const char* missing = nullptr;
    const auto need = [&](const char* name, auto* call) {
      if (!Find(library, name, call) && missing == nullptr) missing = name;
    };
    need("nvmlInit_v2", &calls.init);
    need("nvmlShutdown", &calls.shutdown);
    need("nvmlDeviceGetCount_v2", &calls.count);
    need("nvmlDeviceGetHandleByIndex_v2", &calls.handle);
    need("nvmlDeviceGetMemoryInfo", &calls.memory);
    need("nvmlErrorString", &calls.error);
    if (missing != nullptr) {
      dlclose(library);
      return absl::UnavailableError(
          Concat(library_name_, ": has no function ", missing));
    }
    calls_ = calls;
    TG_RETURN_IF_ERROR(Check(calls_.init(), "nvmlInit_v2"));
    ready_ = true;
    return absl::OkStatus();
  }

  absl::Status Check(int code, std::string_view call) const {
    if (code == kNvmlSuccess) return absl::OkStatus();
    const char* why = calls_.error(code);
    return absl::UnavailableError(Concat(library_name_, ": ", call, ": ",
                                         why == nullptr ? "" : why, " (code ",
                                         code, ")"));
  }

  const std::string library_name_;
  const std::vector<int> wanted_;
  NvmlCalls calls_;
  bool ready_ = false;
};

}  // namespace

std::unique_ptr<MemoryProbe> NewNvmlProbe(const MemoryProbeOptions& options) {
  return std::make_unique<NvmlProbe>(options);
}

}  // namespace tidegate::internal
