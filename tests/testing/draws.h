// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Numbers drawn from a seed, the same on every machine.

#ifndef TIDEGATE_TESTS_TESTING_DRAWS_H_
#define TIDEGATE_TESTS_TESTING_DRAWS_H_

#include <cstdint>
#include <initializer_list>
#include <random>
#include <string>

namespace tidegate::testing {

class Draws {
 public:
  explicit Draws(std::uint64_t seed) : random_(seed) {}

  std::int64_t In(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(
                     random_() % static_cast<std::uint64_t>(high - low + 1));
  }
  bool Percent(int percent) { return In(1, 100) <= percent; }
  std::string Of(std::initializer_list<const char*> values) {
    return values.begin()[In(0, static_cast<std::int64_t>(values.size()) - 1)];
  }
  std::mt19937_64& engine() { return random_; }

 private:
  std::mt19937_64 random_;
};

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_DRAWS_H_
