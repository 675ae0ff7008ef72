// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate-server: serves completions until SIGTERM or SIGINT; a second signal
// ends the drain.

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <iostream>
#include <string>
#include <thread>

#include "estimators/text.h"
#include "examples/server/server.h"
#include "examples/server/setup.h"

namespace tidegate::server {
namespace {

constexpr int kFailed = 1;
constexpr int kBadInput = 2;

struct Flags {
  SetupOptions setup;
  ServerOptions server;
  std::string ceiling;
  std::string base;
  double decode_ms = 33;
  double drain_s = 30;
};

Duration Of(double seconds) {
  return std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(seconds));
}

int Fail(std::string_view message, int code) {
  std::cerr << "tidegate-server: " << message << "\n";
  return code;
}

bool ReadBytes(const std::string& text, std::optional<Bytes>* bytes) {
  if (text.empty()) return true;
  Bytes value = 0;
  if (!internal::ParseBytes(text, &value)) return false;
  *bytes = value;
  return true;
}

// Signals go to the thread that waits for them, not to those of the server.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

// A connection is a file: as many as this process may have.
void RaiseFileLimit() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

int Serve(Flags& flags) {
  RaiseFileLimit();
  if (!ReadBytes(flags.ceiling, &flags.setup.ceiling)) {
    return Fail("--ceiling: expected bytes such as \"36 GiB\"", kBadInput);
  }
  if (!ReadBytes(flags.base, &flags.setup.base)) {
    return Fail("--base: expected bytes such as \"16 GiB\"", kBadInput);
  }
  flags.setup.decode_interval = Of(flags.decode_ms / 1000);
  auto setup = LoadSetup(flags.setup);
  if (!setup.ok()) {
    return Fail(std::string(setup.status().message()), kBadInput);
  }
  for (const std::string& warning : setup->warnings) {
    std::cerr << "warning: " << warning << "\n";
  }
  const sigset_t signals = BlockSignals();
  const std::shared_ptr<TextEngine> engine = setup->engine;
  auto server = Server::Start(flags.server, std::move(setup->service), engine);
  if (!server.ok()) {
    return Fail(std::string(server.status().message()), kFailed);
  }
  std::cout << setup->about << "\nserving \"" << engine->Model()
            << "\" on http://" << flags.server.address << ":"
            << (*server)->port() << "/" << std::endl;

  int signal = 0;
  sigwait(&signals, &signal);
  std::cout << "draining for at most " << flags.drain_s
            << " s; a second signal ends it" << std::endl;
  ShutdownReport report;
  std::thread drain([&] {
    report = (*server)->Shutdown({.drain = Of(flags.drain_s)});
    kill(getpid(), SIGTERM);  // wakes the wait below where no signal came
  });
  sigwait(&signals, &signal);
  (*server)->Shutdown({.drain = Duration::zero()});
  drain.join();
  std::cout << report.finished << " finished while draining, "
            << report.cancelled << " cancelled" << std::endl;
  return 0;
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Serves completions of a simulated model over HTTP");
  app.add_option("--policy", flags.setup.policy, "Policy file")->required();
  app.add_option("--model", flags.setup.model_config, "config.json");
  app.add_option("--ceiling", flags.ceiling, "Instead of the policy's");
  app.add_option("--base", flags.base, "Instead of the policy's");
  app.add_option("--queue-max", flags.setup.queue_max,
                 "Instead of the policy's admission.queue_max");
  app.add_option("--name", flags.setup.model, "What clients call the model")
      ->capture_default_str();
  app.add_option("--speed", flags.setup.speed,
                 "How many times faster than the time model")
      ->capture_default_str();
  app.add_option("--decode-ms", flags.decode_ms,
                 "Between two tokens of a sequence")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1e6));
  app.add_option("--address", flags.server.address, "IP address to listen on")
      ->capture_default_str();
  app.add_option("--port", flags.server.port, "0: any that is free")
      ->capture_default_str();
  app.add_option("--threads", flags.server.threads, "That serve connections")
      ->capture_default_str();
  app.add_option("--body-max", flags.server.body_bytes_max,
                 "Longest body, in bytes")
      ->capture_default_str();
  app.add_option("--connections-max", flags.server.connections_max,
                 "More wait to be accepted")
      ->capture_default_str();
  app.add_option("--drain", flags.drain_s, "Seconds that a shutdown may take")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1e6));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kBadInput;
  }
  return Serve(flags);
}

}  // namespace
}  // namespace tidegate::server

int main(int argc, char** argv) { return tidegate::server::Main(argc, argv); }
