// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Data files that the build compiles in as text.

#ifndef TIDEGATE_ESTIMATORS_EMBEDDED_TEXT_H_
#define TIDEGATE_ESTIMATORS_EMBEDDED_TEXT_H_

#include <span>
#include <string_view>

namespace tidegate::internal {

struct EmbeddedText {
  std::string_view file;  // base name, for messages
  std::string_view text;
};

// The files of estimators/catalog/, in the order CMakeLists.txt lists them.
std::span<const EmbeddedText> builtin_catalogue();

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_EMBEDDED_TEXT_H_
