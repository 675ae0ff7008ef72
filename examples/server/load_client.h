// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Many streamed completions at once against a running server, some of which
// leave in the middle; says what became of each.

#ifndef TIDEGATE_EXAMPLES_SERVER_LOAD_CLIENT_H_
#define TIDEGATE_EXAMPLES_SERVER_LOAD_CLIENT_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tidegate/types.h"

namespace tidegate::server {

struct LoadOptions {
  std::string address = "127.0.0.1";
  std::uint16_t port = 8080;
  std::int64_t streams = 1000;  // all open at once
  // Requests one after another on each connection.
  std::int64_t rounds = 1;
  // Prompts are drawn evenly between these.
  Tokens prompt_min = 100;
  Tokens prompt_max = 2000;
  Tokens max_tokens = 32;
  // Share of the streams whose client closes the connection: half of them
  // before any answer, half after the first token.
  double leave = 0.01;
  std::uint64_t seed = 1;
  // Longer than this without a byte is a failure.
  Duration patience = std::chrono::seconds(120);
};

struct LoadReport {
  std::int64_t asked = 0;
  // Each request is one of these.
  std::int64_t finished = 0;            // streamed to [DONE] with every token
  std::int64_t left = 0;                // by our own will
  std::map<int, std::int64_t> refused;  // by HTTP status
  std::int64_t broken = 0;              // no answer, or one that is not whole
  std::string first_failure;            // of the broken

  std::int64_t tokens = 0;
  std::int64_t progress_events = 0;
  double wall_s = 0;
  std::vector<double> first_token_s;  // ascending; of those that got one
  std::vector<double> total_s;        // ascending; of the finished
};

// Returns when every request has come to an end.
absl::StatusOr<LoadReport> RunLoad(const LoadOptions& options);

// Some lines for people.
std::string Describe(const LoadReport& report);

}  // namespace tidegate::server

#endif  // TIDEGATE_EXAMPLES_SERVER_LOAD_CLIENT_H_
