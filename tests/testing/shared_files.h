// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Large measured tables that do not ship: in the folder that the environment
// variable TIDEGATE_SHARED names, or in shared/ beside the source tree.

#ifndef TIDEGATE_TESTS_TESTING_SHARED_FILES_H_
#define TIDEGATE_TESTS_TESTING_SHARED_FILES_H_

#include <cstdlib>
#include <filesystem>
#include <string>

namespace tidegate::testing {

// Path of a file below that folder, or empty when it is not at hand: the test
// then skips.
inline std::string SharedFile(const std::string& name) {
  const char* shared = std::getenv("TIDEGATE_SHARED");
  const std::filesystem::path root =
      shared != nullptr
          ? std::filesystem::path(shared)
          : std::filesystem::path(TIDEGATE_SOURCE_DIR) / ".." / "shared";
  const std::filesystem::path path = root / name;
  return std::filesystem::exists(path) ? path.string() : std::string();
}

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_SHARED_FILES_H_
