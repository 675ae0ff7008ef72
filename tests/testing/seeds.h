// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// How many seeds a random test runs, and which first. TIDEGATE_SEEDS and
// TIDEGATE_FIRST_SEED replace both, to run more or to replay one.

#ifndef TIDEGATE_TESTS_TESTING_SEEDS_H_
#define TIDEGATE_TESTS_TESTING_SEEDS_H_

#include <cstdint>
#include <cstdlib>
#include <string>

namespace tidegate::testing {

struct Seeds {
  std::uint64_t first = 1;
  std::uint64_t count = 0;
};

inline Seeds SeedsFromEnvironment(std::uint64_t count) {
  Seeds seeds{.count = count};
  if (const char* text = std::getenv("TIDEGATE_SEEDS")) {
    seeds.count = std::strtoull(text, nullptr, 10);
  }
  if (const char* text = std::getenv("TIDEGATE_FIRST_SEED")) {
    seeds.first = std::strtoull(text, nullptr, 10);
  }
  return seeds;
}

// What to type to see a seed fail again.
inline std::string ReplayLine(std::uint64_t seed, const std::string& test) {
  return "TIDEGATE_FIRST_SEED=" + std::to_string(seed) +
         " TIDEGATE_SEEDS=1 ctest -R " + test;
}

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_SEEDS_H_
