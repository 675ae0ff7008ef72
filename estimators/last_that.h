// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TIDEGATE_ESTIMATORS_LAST_THAT_H_
#define TIDEGATE_ESTIMATORS_LAST_THAT_H_

#include "tidegate/types.h"

namespace tidegate::internal {

// Largest value in [lo, hi] for which it holds, where once false it stays so;
// lo when for none above.
template <typename Holds>
Tokens LastThat(Tokens lo, Tokens hi, const Holds& holds_at) {
  while (lo < hi) {
    const Tokens middle = lo + (hi - lo + 1) / 2;
    if (holds_at(middle)) {
      lo = middle;
    } else {
      hi = middle - 1;
    }
  }
  return lo;
}

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_LAST_THAT_H_
