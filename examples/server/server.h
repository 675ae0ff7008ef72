// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Server: an OpenAI-compatible HTTP front of a Service.
//
//   auto server = Server::Start({.port = 0}, std::move(service_options),
//   engine); std::cout << (*server)->port();
//   (*server)->Shutdown({.drain = std::chrono::seconds(30)});
//
//   POST /v1/completions   GET /v1/models   GET /healthz   GET /metrics
//   GET /                  a live page of memory and queue; GET /stats feeds it
//
// Threads: `threads` of them run connections, each on a strand of its own, and
// the service on its strand.
//
// Thread-safety: every method may be called from any thread.

#ifndef TIDEGATE_EXAMPLES_SERVER_SERVER_H_
#define TIDEGATE_EXAMPLES_SERVER_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "examples/server/text_engine.h"
#include "tidegate/service.h"

namespace tidegate::server {

struct ServerOptions {
  // There is no authentication: other addresses than loopback are for those who
  // put some in front.
  std::string address = "127.0.0.1";
  std::uint16_t port = 8080;  // 0: any that is free
  int threads = 2;
  std::size_t body_bytes_max = std::size_t{16} << 20;
  std::size_t connections_max = 4096;
  // How long a connection may be silent between requests; how long a request's
  // body may take; how long a client may leave its answer unread.
  Duration idle = std::chrono::seconds(75);
  Duration body = std::chrono::seconds(30);
  Duration write = std::chrono::seconds(30);
  // Between two points of the live page.
  Duration sample = std::chrono::milliseconds(250);
};

class Server {
 public:
  // Listens when it returns. Unavailable when the address cannot be had;
  // InvalidArgument names an option.
  static absl::StatusOr<std::unique_ptr<Server>> Start(
      ServerOptions options, ServiceOptions service,
      std::shared_ptr<TextEngine> engine);
  // Shuts down at once unless Shutdown() was called.
  virtual ~Server() = default;

  virtual std::uint16_t port() const = 0;

  // New requests are answered 503 from now on. Returns when everyone was
  // answered, or cancelled after `drain`, and all connections are closed. A
  // second call while the first runs may only shorten its drain.
  virtual ShutdownReport Shutdown(ShutdownOptions options) = 0;

  virtual ServiceMetrics Metrics() const = 0;
};

}  // namespace tidegate::server

#endif  // TIDEGATE_EXAMPLES_SERVER_SERVER_H_
