// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The probes, one per file; memory_probe.h says what each reads.

#ifndef TIDEGATE_SERVICE_PROBE_KINDS_H_
#define TIDEGATE_SERVICE_PROBE_KINDS_H_

#include <memory>

#include "tidegate/memory_probe.h"

namespace tidegate::internal {

std::unique_ptr<MemoryProbe> NewNvmlProbe(const MemoryProbeOptions& options);
std::unique_ptr<MemoryProbe> NewAmdgpuProbe(const MemoryProbeOptions& options,
                                            bool with_gtt);
std::unique_ptr<MemoryProbe> NewCgroupProbe(const MemoryProbeOptions& options);
std::unique_ptr<MemoryProbe> NewProcProbe(const MemoryProbeOptions& options);

}  // namespace tidegate::internal

#endif  // TIDEGATE_SERVICE_PROBE_KINDS_H_
