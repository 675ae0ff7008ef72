// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Which answer belongs to which path, for everything that is answered at once.

#ifndef TIDEGATE_EXAMPLES_SERVER_ROUTES_H_
#define TIDEGATE_EXAMPLES_SERVER_ROUTES_H_

#include <string_view>

#include "examples/server/server_state.h"

namespace tidegate::server {

inline constexpr std::string_view kCompletionsPath = "/v1/completions";

// `target` is what stands in the request line, query included. 404 for a path
// that is none, 405 for a method that it does not take, among them every one of
// kCompletionsPath: POST to it is not answered here.
HttpAnswer Answer(std::string_view method, std::string_view target,
                  const ServerState& state);

}  // namespace tidegate::server

#endif  // TIDEGATE_EXAMPLES_SERVER_ROUTES_H_
