// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What the HTTP side counts, beside the service's own metrics. Names start with
// "tidegate_server_"; docs/engines/server.md lists them.

#ifndef TIDEGATE_EXAMPLES_SERVER_COUNTERS_H_
#define TIDEGATE_EXAMPLES_SERVER_COUNTERS_H_

#include <memory>
#include <string>

#include "examples/server/text_engine.h"
#include "tidegate/service_metrics.h"

namespace tidegate::server {

// Thread-safety: every method may be called from any thread.
class Counters {
 public:
  Counters();
  ~Counters();

  void Answered(int status);
  void Connected();
  void Disconnected();
  void StreamOpened();
  void StreamClosed();
  // A client went away before its completion ended.
  void ClientLeft();
  // From the request's last byte to its first token.
  void FirstToken(Duration took);

  // Everything that GET /metrics answers: the service's metrics, the device and
  // the numbers of this class, in the text exposition format.
  std::string Text(const ServiceMetrics& metrics,
                   const DeviceBytes& device) const;

 private:
  struct Families;
  const std::unique_ptr<Families> families_;
};

}  // namespace tidegate::server

#endif  // TIDEGATE_EXAMPLES_SERVER_COUNTERS_H_
