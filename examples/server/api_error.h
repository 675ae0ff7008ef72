// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Errors as OpenAI's clients expect them, and which HTTP status each has:
//
//   {"error": {"message": …, "type": …, "param": …, "code": …}}
//
// A refusal for memory has beside them the inequality that decided:
// "arithmetic" and "largest_prompt_that_fits".

#ifndef TIDEGATE_EXAMPLES_SERVER_API_ERROR_H_
#define TIDEGATE_EXAMPLES_SERVER_API_ERROR_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tidegate/plan.h"
#include "tidegate/service.h"

namespace tidegate::server {

struct ApiError {
  int status = 400;
  std::string code;     // "invalid_value", "too_large", …
  std::string message;  // one sentence for people
  std::string param;    // the field that is wrong; may be empty
  // Whole seconds, for 429 and 503.
  std::optional<std::int64_t> retry_after_s;
  // Of a refusal for memory.
  std::optional<Arithmetic> arithmetic;
  Tokens largest_prompt_that_fits = 0;
};

// Of a request that did not finish:
//   rejected  too_large 413 · overloaded 429 · shutting_down 503 ·
//             unsupported 400
//   cancelled 503 when the server shuts down, otherwise 500
ApiError ErrorOf(const SubmitResult& result, bool shutting_down);

// The JSON object above, on one line.
std::string ErrorJson(const ApiError& error);

}  // namespace tidegate::server

#endif  // TIDEGATE_EXAMPLES_SERVER_API_ERROR_H_
