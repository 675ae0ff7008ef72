// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A stand-in for libnvidia-ml with two devices, for the probe's test. Device 2
// is one that exists and cannot be read.

extern "C" {

struct nvmlDevice_st {
  int index;
};
struct FakeMemory {
  unsigned long long total, free, used;
};

int nvmlInit_v2() { return 0; }
int nvmlShutdown() { return 0; }
int nvmlDeviceGetCount_v2(unsigned int* count) {
  *count = 2;
  return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_st** device) {
  static nvmlDevice_st devices[3] = {{0}, {1}, {2}};
  if (index > 2) return 2;  // NVML_ERROR_INVALID_ARGUMENT
  *device = &devices[index];
  return 0;
}
int nvmlDeviceGetMemoryInfo(nvmlDevice_st* device, FakeMemory* memory) {
  if (device->index == 2) return 15;  // NVML_ERROR_GPU_IS_LOST
  memory->total = 80ULL << 30;
  memory->used = device->index == 0 ? 0 : 70ULL << 30;
  memory->free = memory->total - memory->used;
  return 0;
}
const char* nvmlErrorString(int code) {
  return code == 15 ? "GPU is lost" : "Invalid Argument";
}

}  // extern "C"
