// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// From a policy file to what a server needs: prices, the service's options and
// a simulated engine that follows both.

#ifndef TIDEGATE_EXAMPLES_SERVER_SETUP_H_
#define TIDEGATE_EXAMPLES_SERVER_SETUP_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/server/text_engine.h"
#include "tidegate/service.h"

namespace tidegate::server {

struct SetupOptions {
  std::string policy;
  // Replace what the policy says.
  std::optional<std::string> model_config;
  std::optional<Bytes> ceiling;
  std::optional<Bytes> base;
  std::optional<std::int64_t> queue_max;
  std::string model = "simulated";  // what clients call it
  double speed = 1;
  Duration decode_interval = std::chrono::milliseconds(33);
};

struct Setup {
  ServiceOptions service;
  std::shared_ptr<TextEngine> engine;
  std::vector<std::string> warnings;
  std::string about;  // "llama on mlx@0.31.2/metal, 27.00 GiB": for a banner
};

// Errors as LoadPolicyFile(), LoadModelConfig() and the rest give them.
absl::StatusOr<Setup> LoadSetup(const SetupOptions& options);

}  // namespace tidegate::server

#endif  // TIDEGATE_EXAMPLES_SERVER_SETUP_H_
