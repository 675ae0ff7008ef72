// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Models for tests of the llama.cpp adapter: the files that
// engines/llamacpp/make_models.py writes, in TIDEGATE_LLAMACPP_MODELS.

#ifndef TIDEGATE_TESTS_LLAMACPP_MODELS_H_
#define TIDEGATE_TESTS_LLAMACPP_MODELS_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "llama.h"
#include "tests/testing/matchers.h"
#include "tidegate/llamacpp.h"
#include "tidegate/pull.h"

namespace tidegate::llamacpp {

inline constexpr Bytes kMiB = Bytes{1} << 20;

struct ModelDeleter {
  void operator()(llama_model* model) const { llama_model_free(model); }
};
using OwnedModel = std::unique_ptr<llama_model, ModelDeleter>;

// Null where the files are not there.
inline OwnedModel OpenModel(const std::string& name) {
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_backend_init();
  const char* folder = std::getenv("TIDEGATE_LLAMACPP_MODELS");
  if (folder == nullptr) return nullptr;
  const auto path = std::filesystem::path(folder) / (name + ".gguf");
  if (!std::filesystem::exists(path)) return nullptr;
  return OwnedModel(
      llama_model_load_from_file(path.c_str(), llama_model_default_params()));
}

#define TG_OPEN_MODEL(model, name)                                   \
  const OwnedModel model = OpenModel(name);                          \
  if ((model) == nullptr) {                                          \
    GTEST_SKIP() << "needs TIDEGATE_LLAMACPP_MODELS, the folder of " \
                    "engines/llamacpp/make_models.py, with "         \
                 << (name);                                          \
  }

inline std::vector<llama_token> SomeTokens(int count, int seed = 1) {
  std::vector<llama_token> tokens;
  unsigned state = static_cast<unsigned>(seed) * 2654435761u;
  for (int i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    tokens.push_back(static_cast<llama_token>(3 + (state >> 16) % 300));
  }
  return tokens;
}

// Runs everything that was submitted, and finishes what is computed with what
// `computed` does; the outcomes in the order in which they came.
template <typename Computed>
std::vector<Answer> RunAll(PullScheduler& gate, Device& device,
                           const Computed& computed) {
  std::vector<Answer> answers;
  Instant now{};
  while (true) {
    const std::optional<Work> work = gate.Next(now);
    if (!work.has_value()) {
      if (!gate.NextWake().has_value()) return answers;
      now = std::max(now, *gate.NextWake());
      continue;
    }
    now += std::chrono::microseconds(1);
    absl::Status status;
    if (const auto* run = std::get_if<RunStep>(&*work)) {
      status = gate.Complete(run->step, device.Run(*run), now);
    } else if (const auto* decode = std::get_if<StartDecode>(&*work)) {
      computed(decode->id, device.Logits(decode->id));
      device.Release(decode->id);
      status = gate.Finish(decode->id, now);
    } else if (const auto* preempt = std::get_if<Preempt>(&*work)) {
      device.Preempt(preempt->id);
    } else if (const auto* answer = std::get_if<Answer>(&*work)) {
      if (answer->outcome != Outcome::kFinished) device.Release(answer->id);
      answers.push_back(*answer);
    }
    EXPECT_THAT(status, ::tidegate::testing::IsOk());
  }
}

// Largest difference, as a share of the largest of `expected`.
inline double RelativeError(std::span<const float> got,
                            std::span<const float> expected) {
  if (got.size() != expected.size() || got.empty()) return 1e9;
  double error = 0, most = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    error = std::max(error, std::abs(double{got[i]} - double{expected[i]}));
    most = std::max(most, std::abs(double{expected[i]}));
  }
  return error / most;
}

}  // namespace tidegate::llamacpp

#endif  // TIDEGATE_TESTS_LLAMACPP_MODELS_H_
