// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Which kernel the catalogue gives each kind of attention layer, and where it
// read that: for people who must check or report it.

#ifndef TIDEGATE_TOOLS_ROUTES_H_
#define TIDEGATE_TOOLS_ROUTES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tidegate/catalogue.h"
#include "tidegate/estimator.h"
#include "tools/inputs.h"

namespace tidegate::tools {

// "full attention, 32 q heads, 8 kv heads, head dim 128".
std::string DescribeMixer(const Mixer& mixer);
// "dense, width 14,336", "128 experts of width 768, 8 chosen".
std::string DescribeFeedForward(const FeedForward& feed_forward);

struct LayerRoute {
  std::string layers;  // "full attention"
  Route route;
};

// In the order of the shape's mixers. Empty for the formulas (fused, tiled,
// unfused), which no catalogue routes.
absl::StatusOr<std::vector<LayerRoute>> LayerRoutes(const Inputs& inputs,
                                                    const Chunk& chunk);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_ROUTES_H_
