// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TIDEGATE_TOOLS_REPORT_ASSETS_H_
#define TIDEGATE_TOOLS_REPORT_ASSETS_H_

#include <span>

#include "estimators/embedded_text.h"

namespace tidegate::internal {

// The files of tools/report/ and the charting library, compiled in.
std::span<const EmbeddedText> report_assets();

}  // namespace tidegate::internal

#endif  // TIDEGATE_TOOLS_REPORT_ASSETS_H_
