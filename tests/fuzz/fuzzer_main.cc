// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// One libFuzzer binary for each target; CMake says which one this is.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tests/fuzz/targets.h"
#include "tidegate/status.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {
  static const tidegate::testing::FuzzTarget* const target =
      tidegate::testing::FindFuzzTarget(TIDEGATE_FUZZ_TARGET);
  TG_CHECK(target != nullptr);
  target->run({reinterpret_cast<const char*>(data), size});
  return 0;
}
