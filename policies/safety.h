// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The banker's safety test (Dijkstra, EWD 108, 1965; Habermann, 1969): can
// everybody finish, one after the other, with what is free now and what each
// gives back when it has finished?

#ifndef TIDEGATE_POLICIES_SAFETY_H_
#define TIDEGATE_POLICIES_SAFETY_H_

#include <functional>
#include <vector>

#include "tidegate/types.h"

namespace tidegate::internal {

struct Stake {
  // Live bytes that go when it has finished.
  Bytes held = 0;
  // Whether it can finish while `base` bytes are live, its own included, and
  // nobody else grows. True for less when true for more.
  std::function<bool(Bytes base)> finishes;
};

// Whether an order exists in which all finish. Taking whoever can finish next
// is enough: finishing only frees, so it never spoils another order.
bool Safe(Bytes base, std::vector<Stake> stakes);

}  // namespace tidegate::internal

#endif  // TIDEGATE_POLICIES_SAFETY_H_
