// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// EngineSpec: which software runs the model, as far as memory depends on it.
// The kernel catalogue (catalogue.h) routes on it.

#ifndef TIDEGATE_ENGINE_H_
#define TIDEGATE_ENGINE_H_

#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tidegate {

struct EngineSpec {
  std::string name;     // "mlx", "torch", "llama.cpp", or any other
  std::string version;  // dotted numbers; "0.31.2"
  std::string device;   // "metal", "metal-nax", "cpu", "cuda-sm90", …

  // What a version alone cannot say: attention = "sdpa", kv_cache =
  // "prealloc", force = "true", … `tidegate engines` lists each engine's keys.
  // An ordered map, so that whatever is printed from it is deterministic.
  std::map<std::string, std::string, std::less<>> options;

  friend bool operator==(const EngineSpec&, const EngineSpec&) = default;
};

// Parses NAME@VERSION/DEVICE, e.g. "mlx@0.31.2/metal". InvalidArgument when a
// part is missing.
absl::StatusOr<EngineSpec> ParseEngine(std::string_view text);

// NAME@VERSION/DEVICE, without the options.
std::string EngineName(const EngineSpec& engine);

}  // namespace tidegate

#endif  // TIDEGATE_ENGINE_H_
