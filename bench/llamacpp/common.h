// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What the measurements of the llama.cpp adapter share.

#ifndef TIDEGATE_BENCH_LLAMACPP_COMMON_H_
#define TIDEGATE_BENCH_LLAMACPP_COMMON_H_

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "llama.h"
#include "tidegate/llamacpp.h"

namespace tidegate::bench {

inline constexpr Bytes kMiB = Bytes{1} << 20;

inline void Fail(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  std::exit(1);
}

inline llama_model* OpenModel(const std::string& path) {
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_backend_init();
  llama_model* model =
      llama_model_load_from_file(path.c_str(), llama_model_default_params());
  if (model == nullptr) Fail(path + ": llama.cpp cannot load it");
  return model;
}

inline std::string Stem(const std::string& path) {
  const std::size_t slash = path.rfind('/') + 1;  // npos + 1 = 0
  return path.substr(slash, path.rfind('.') - slash);
}

inline std::vector<llama_token> SomeTokens(std::int64_t count) {
  std::vector<llama_token> tokens;
  unsigned state = 12345;
  for (std::int64_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    tokens.push_back(static_cast<llama_token>(3 + (state >> 16) % 300));
  }
  return tokens;
}

inline double Now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// kB of /proc/self/status, such as "VmSize"; 0 where there is none.
inline Bytes ProcessBytes(const std::string& key) {
  std::FILE* file = std::fopen("/proc/self/status", "r");
  if (file == nullptr) return 0;
  char line[256];
  Bytes bytes = 0;
  while (std::fgets(line, sizeof(line), file) != nullptr) {
    if (std::string(line).rfind(key + ":", 0) == 0) {
      bytes = std::atoll(line + key.size() + 1) * 1024;
    }
  }
  std::fclose(file);
  return bytes;
}

}  // namespace tidegate::bench

#endif  // TIDEGATE_BENCH_LLAMACPP_COMMON_H_
