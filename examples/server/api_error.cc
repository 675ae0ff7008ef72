// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "examples/server/api_error.h"

#include <algorithm>

#include "examples/server/json_text.h"
#include "nlohmann/json.hpp"

namespace tidegate::server {
namespace {

using nlohmann::json;

// Up to the next whole second, and never "at once": who is told to wait and
// comes back in the same second is refused again.
std::int64_t WholeSeconds(const std::optional<Duration>& wait) {
  constexpr std::int64_t kNanos = 1'000'000'000;
  return std::max<std::int64_t>(
      1, CeilDiv(wait.value_or(Duration::zero()).count(), kNanos));
}

std::string_view TypeOf(int status) {
  if (status == 429) return "rate_limit_error";
  if (status >= 500) return "server_error";
  return "invalid_request_error";
}

json ArithmeticJson(const Arithmetic& a) {
  json out = {{"unit", a.unit == Unit::kBytes ? "bytes" : "kv_blocks"},
              {"live", a.live},
              {"claims", a.claims},
              {"resident", a.resident},
              {"transient", a.transient},
              {"ceiling", a.ceiling},
              {"headroom", a.headroom},
              {"fixed_in_n", a.fixed_in_n},
              {"n", a.n},
              {"kv_len", a.kv_len}};
  if (a.max_allocation.has_value()) {
    out["largest_allocation"] = a.largest_allocation;
    out["max_allocation"] = *a.max_allocation;
  }
  return out;
}

}  // namespace

ApiError ErrorOf(const SubmitResult& result, bool shutting_down) {
  ApiError error{.message = result.reason};
  if (result.outcome == Outcome::kCancelled) {
    error.status = shutting_down ? 503 : 500;
    error.code = shutting_down ? "shutting_down" : "engine_failed";
    if (shutting_down) error.retry_after_s = WholeSeconds(std::nullopt);
    return error;
  }
  error.code = std::string(RefusalCodeName(result.code));
  switch (result.code) {
    case RefusalCode::kTooLarge:
      error.status = 413;
      error.arithmetic = result.arithmetic;
      error.largest_prompt_that_fits = result.largest_prompt_that_fits;
      break;
    case RefusalCode::kOverloaded:
      error.status = 429;
      error.retry_after_s = WholeSeconds(result.retry_after);
      break;
    case RefusalCode::kShuttingDown:
      error.status = 503;
      error.retry_after_s = WholeSeconds(std::nullopt);
      break;
    case RefusalCode::kUnsupported:
    case RefusalCode::kNone:
      error.status = 400;
      break;
  }
  return error;
}

std::string ErrorJson(const ApiError& error) {
  json body = {{"message", error.message},
               {"type", TypeOf(error.status)},
               {"param", error.param.empty() ? json() : json(error.param)},
               {"code", error.code}};
  if (error.retry_after_s.has_value()) {
    body["retry_after"] = *error.retry_after_s;
  }
  if (error.arithmetic.has_value()) {
    body["arithmetic"] = ArithmeticJson(*error.arithmetic);
    body["largest_prompt_that_fits"] = error.largest_prompt_that_fits;
  }
  return JsonLine(json{{"error", std::move(body)}});
}

}  // namespace tidegate::server
