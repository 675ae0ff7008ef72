// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/engine.h"

#include "estimators/text.h"

namespace tidegate {

using internal::Concat;
using internal::InvalidArgument;

absl::StatusOr<EngineSpec> ParseEngine(std::string_view text) {
  const std::size_t at = text.find('@');
  // A device has no slash; a version may (a branch name).
  const std::size_t slash = text.rfind('/');
  EngineSpec engine;
  if (at != std::string_view::npos && slash != std::string_view::npos &&
      slash > at) {
    engine.name = text.substr(0, at);
    engine.version = text.substr(at + 1, slash - at - 1);
    engine.device = text.substr(slash + 1);
  }
  if (engine.name.empty() || engine.version.empty() || engine.device.empty()) {
    return InvalidArgument(
        "engine: expected NAME@VERSION/DEVICE such as \"mlx@0.31.2/metal\", "
        "got \"",
        text, "\"");
  }
  return engine;
}

std::string EngineName(const EngineSpec& engine) {
  return Concat(engine.name, "@", engine.version, "/", engine.device);
}

}  // namespace tidegate
