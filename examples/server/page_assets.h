// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TIDEGATE_EXAMPLES_SERVER_PAGE_ASSETS_H_
#define TIDEGATE_EXAMPLES_SERVER_PAGE_ASSETS_H_

#include <span>

#include "estimators/embedded_text.h"

namespace tidegate::internal {

// live.html, what it loads, and the charting library, compiled in.
std::span<const EmbeddedText> server_page_assets();

}  // namespace tidegate::internal

namespace tidegate::server {
using internal::server_page_assets;
}  // namespace tidegate::server

#endif  // TIDEGATE_EXAMPLES_SERVER_PAGE_ASSETS_H_
