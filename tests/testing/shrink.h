// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Makes a failing list shorter: pieces are left out, large ones first, as long
// as what is left still fails (delta debugging: Zeller and Hildebrandt,
// "Simplifying and Isolating Failure-Inducing Input", 2002).

#ifndef TIDEGATE_TESTS_TESTING_SHRINK_H_
#define TIDEGATE_TESTS_TESTING_SHRINK_H_

#include <algorithm>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

namespace tidegate::testing {

// `list` must fail. Asks at most `tries` times; with enough of them no single
// element of the answer can be left out.
template <typename T>
std::vector<T> Shrink(std::vector<T> list,
                      const std::function<bool(const std::vector<T>&)>& fails,
                      int tries) {
  std::size_t piece = std::max<std::size_t>(1, list.size() / 2);
  while (!list.empty()) {
    bool shorter = false;
    for (std::size_t at = 0; at < list.size();) {
      if (tries-- <= 0) return list;
      std::vector<T> rest(list.begin(), list.begin() + at);
      const std::size_t end = std::min(list.size(), at + piece);
      rest.insert(rest.end(), list.begin() + end, list.end());
      if (fails(rest)) {
        list = std::move(rest);
        shorter = true;
      } else {
        at = end;
      }
    }
    if (piece == 1 && !shorter) break;
    piece = std::max<std::size_t>(1, piece / 2);
  }
  return list;
}

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_SHRINK_H_
