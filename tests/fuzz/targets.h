// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What a fuzzer runs: each target reads one input format from any bytes. An
// error is a fine answer; a crash, a hang or a leak is a finding. The same
// functions replay tests/fuzz/corpus in the normal build.

#ifndef TIDEGATE_TESTS_FUZZ_TARGETS_H_
#define TIDEGATE_TESTS_FUZZ_TARGETS_H_

#include <span>
#include <string_view>

namespace tidegate::testing {

struct FuzzTarget {
  std::string_view name;  // also of its folder in the corpus
  void (*run)(std::string_view input);
};

std::span<const FuzzTarget> FuzzTargets();

// Null when there is none of this name.
const FuzzTarget* FindFuzzTarget(std::string_view name);

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_FUZZ_TARGETS_H_
