// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// One HTTP/1.1 connection: reads requests one after another, answers each, and
// ends when its client leaves, asks for it, is silent for too long, or breaks
// the protocol.

#ifndef TIDEGATE_EXAMPLES_SERVER_CONNECTION_H_
#define TIDEGATE_EXAMPLES_SERVER_CONNECTION_H_

#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>

#include "examples/server/server_state.h"

namespace tidegate::server {

// Thread-safety: every method may be called from any thread.
class Connection {
 public:
  // `socket`'s executor must be a strand. `state` must live until `on_end`.
  static std::shared_ptr<Connection> Create(boost::asio::ip::tcp::socket socket,
                                            ServerState& state);
  virtual ~Connection() = default;

  // Once. `on_end` is called on the connection's strand when all is over.
  virtual void Start(std::function<void()> on_end) = 0;
  // Ends after the answer under way, or now where there is none.
  virtual void CloseWhenIdle() = 0;
  // Ends now, whatever is under way.
  virtual void Abort() = 0;
};

}  // namespace tidegate::server

#endif  // TIDEGATE_EXAMPLES_SERVER_CONNECTION_H_
