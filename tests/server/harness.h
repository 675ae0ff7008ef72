// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A real server in the test's process, on a free port of loopback, over the
// simulated engine: Llama-3.1-8B with 27 GiB, thousands of times faster than
// its time model.

#ifndef TIDEGATE_TESTS_SERVER_HARNESS_H_
#define TIDEGATE_TESTS_SERVER_HARNESS_H_

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "estimators/text.h"
#include "examples/server/server.h"
#include "examples/server/setup.h"
#include "nlohmann/json.hpp"
#include "tests/server/http_client.h"
#include "tests/testing/matchers.h"

namespace tidegate::testing {

using internal::Concat;
using nlohmann::json;

inline constexpr const char* kCompletions = "/v1/completions";
// Of engines whose sequences decode until they are cancelled.
inline constexpr Duration kNever = Duration::max();

struct HarnessOptions {
  std::string policy = "policy_files/mlx-36gb.toml";
  std::optional<std::int64_t> queue_max;
  // Of this machine's clock; zero: as fast as it goes.
  Duration decode_interval{};
  // Of steps.
  double speed = 1e5;
  server::ServerOptions http;
};

class ServerHarness {
 public:
  explicit ServerHarness(const HarnessOptions& options = {}) {
    auto setup = server::LoadSetup(
        {.policy = Concat(TIDEGATE_SOURCE_DIR, "/", options.policy),
         .queue_max = options.queue_max,
         .speed = options.speed,
         .decode_interval = TimesSpeed(options)});
    EXPECT_THAT(setup, IsOk());
    engine_ = setup->engine;
    server::ServerOptions http = options.http;
    http.port = 0;
    auto started =
        server::Server::Start(http, std::move(setup->service), engine_);
    EXPECT_THAT(started, IsOk());
    server_ = *std::move(started);
  }

  server::Server& server() { return *server_; }
  server::TextEngine& engine() { return *engine_; }
  std::uint16_t port() const { return server_->port(); }
  void Destroy() { server_.reset(); }

  // Looks again and again; a failure after a minute.
  static bool Comes(const std::function<bool()>& condition) {
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }
  // Nobody is served and nothing held: as it was before the first request.
  bool BecomesIdle() {
    return Comes([this] {
      const ServiceMetrics metrics = server_->Metrics();
      const server::DeviceBytes device = engine_->Device();
      return metrics.open == 0 && metrics.scheduler.claimed_bytes == 0 &&
             metrics.scheduler.resident_bytes == 0 &&
             device.live == device.base && device.resident == 0 &&
             device.transient == 0;
    });
  }

 private:
  // The engine divides by its speed.
  static Duration TimesSpeed(const HarnessOptions& options) {
    if (options.decode_interval == kNever) return kNever;
    return std::chrono::duration_cast<Duration>(
        std::chrono::duration<double, std::nano>(
            static_cast<double>(options.decode_interval.count()) *
            options.speed));
  }

  std::shared_ptr<server::TextEngine> engine_;
  std::unique_ptr<server::Server> server_;
};

// The body of a request for a prompt of so many tokens.
inline std::string Ask(Tokens prompt, Tokens max_tokens, bool stream,
                       json more = json::object()) {
  more["prompt"] = std::string(static_cast<std::size_t>(prompt), 'p');
  more["max_tokens"] = max_tokens;
  more["stream"] = stream;
  return more.dump();
}

// Server-sent events of a stream, as lines joined by '\n' each.
inline std::vector<std::string> EventsOf(const std::string& body) {
  std::vector<std::string> events;
  std::size_t at = 0;
  for (;;) {
    const std::size_t end = body.find("\n\n", at);
    if (end == std::string::npos) break;
    events.push_back(body.substr(at, end - at));
    at = end + 2;
  }
  EXPECT_EQ(at, body.size()) << "a stream ends with a whole event";
  return events;
}

// The text of all chunks.
inline std::string TextOf(const std::string& body) {
  std::string text;
  for (const std::string& event : EventsOf(body)) {
    if (!event.starts_with("data: {")) continue;
    const json chunk = json::parse(event.substr(6));
    if (!chunk.contains("choices")) continue;
    for (const json& choice : chunk["choices"]) {
      text += choice["text"].get<std::string>();
    }
  }
  return text;
}

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_SERVER_HARNESS_H_
