// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What all connections share. It outlives them.

#ifndef TIDEGATE_EXAMPLES_SERVER_SERVER_STATE_H_
#define TIDEGATE_EXAMPLES_SERVER_SERVER_STATE_H_

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "examples/server/api_error.h"
#include "examples/server/counters.h"
#include "examples/server/history.h"
#include "examples/server/server.h"

namespace tidegate::server {

struct ServerState {
  ServerOptions options;
  std::shared_ptr<TextEngine> engine;
  std::unique_ptr<Service> service;
  Counters counters;
  History history;
  // Set before the service's own shutdown.
  std::atomic<bool> draining{false};
};

// An answer that is known as a whole.
struct HttpAnswer {
  int status = 200;
  std::string_view content_type = "application/json";
  std::string body;
  std::optional<std::int64_t> retry_after_s;
  std::string_view allow;  // of 405
};

inline HttpAnswer ErrorAnswer(const ApiError& error) {
  return {.status = error.status,
          .body = ErrorJson(error) + "\n",
          .retry_after_s = error.retry_after_s};
}

}  // namespace tidegate::server

#endif  // TIDEGATE_EXAMPLES_SERVER_SERVER_STATE_H_
