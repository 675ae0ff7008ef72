// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// One completion on one connection: submits it, sends what happens, and cancels
// it when its client leaves.

#ifndef TIDEGATE_EXAMPLES_SERVER_COMPLETION_SESSION_H_
#define TIDEGATE_EXAMPLES_SERVER_COMPLETION_SESSION_H_

#include <boost/asio/awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <optional>

#include "examples/server/completion_request.h"
#include "examples/server/server_state.h"

namespace tidegate::server {

struct CompletionEnd {
  // What is still to be sent; nullopt: a stream was sent, or the client left.
  std::optional<HttpAnswer> answer;
  // Whether another request may come on this connection.
  bool reusable = false;
};

// `stream` belongs to this call until it returns, but for Connection's own
// shutdown; `buffer` receives what the client sends meanwhile. `http11`:
// chunked bodies are understood. Runs on the stream's strand.
boost::asio::awaitable<CompletionEnd> RunCompletion(
    boost::beast::tcp_stream& stream, boost::beast::flat_buffer& buffer,
    ServerState& state, CompletionRequest request, bool http11,
    bool keep_alive);

}  // namespace tidegate::server

#endif  // TIDEGATE_EXAMPLES_SERVER_COMPLETION_SESSION_H_
