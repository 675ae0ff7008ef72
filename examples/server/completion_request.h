// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The body of POST /v1/completions. What would change the answer and is not
// done here is refused by name, never ignored.

#ifndef TIDEGATE_EXAMPLES_SERVER_COMPLETION_REQUEST_H_
#define TIDEGATE_EXAMPLES_SERVER_COMPLETION_REQUEST_H_

#include <string>
#include <string_view>
#include <variant>

#include "examples/server/api_error.h"
#include "examples/server/text_engine.h"

namespace tidegate::server {

struct CompletionRequest {
  Generation generation;  // on_piece is left empty
  bool stream = false;
  // stream_options.include_usage: one chunk more with the numbers of tokens.
  bool include_usage = false;
  // return_progress: prefill progress as events, not only as comments.
  bool return_progress = false;
  std::string tenant;  // "user"
};

// Of every error `status` is 400, but 404 for another model.
std::variant<CompletionRequest, ApiError> ParseCompletion(
    std::string_view body, const TextEngine& engine);

}  // namespace tidegate::server

#endif  // TIDEGATE_EXAMPLES_SERVER_COMPLETION_REQUEST_H_
