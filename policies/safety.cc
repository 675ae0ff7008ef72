// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "policies/safety.h"

#include <algorithm>

namespace tidegate::internal {

bool Safe(Bytes base, std::vector<Stake> stakes) {
  while (!stakes.empty()) {
    const auto next =
        std::find_if(stakes.begin(), stakes.end(),
                     [&](const Stake& stake) { return stake.finishes(base); });
    if (next == stakes.end()) return false;
    base = std::max<Bytes>(0, base - next->held);
    stakes.erase(next);
  }
  return true;
}

}  // namespace tidegate::internal
