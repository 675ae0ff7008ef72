// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate-server-load: load_client.h from the command line. Exits with 1 when
// a request went unanswered.

#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "examples/server/load_client.h"

int main(int argc, char** argv) {
  tidegate::server::LoadOptions options;
  CLI::App app("Streams many completions at once from a tidegate-server");
  app.add_option("--address", options.address)->capture_default_str();
  app.add_option("--port", options.port)->capture_default_str();
  app.add_option("--streams", options.streams, "Connections, all at once")
      ->capture_default_str();
  app.add_option("--rounds", options.rounds, "Requests on each")
      ->capture_default_str();
  app.add_option("--prompt-min", options.prompt_min)->capture_default_str();
  app.add_option("--prompt-max", options.prompt_max)->capture_default_str();
  app.add_option("--max-tokens", options.max_tokens)->capture_default_str();
  app.add_option("--leave", options.leave, "Share that leaves in the middle")
      ->capture_default_str();
  app.add_option("--seed", options.seed)->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  const auto report = tidegate::server::RunLoad(options);
  if (!report.ok()) {
    std::cerr << "tidegate-server-load: " << report.status().message() << "\n";
    return 2;
  }
  std::cout << tidegate::server::Describe(*report);
  return report->broken == 0 ? 0 : 1;
}
