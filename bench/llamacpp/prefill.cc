// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Prefill through Tidegate beside every fixed chunk that fits under the same
// ceiling, in turns on one machine.
//
//   tidegate_llamacpp_prefill MODEL.gguf CEILING_MIB PROMPT REPEATS THREADS
//   FLASH
//
// `fixed`: a context of n_ubatch = the chunk, llama_decode() in a loop.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "bench/llamacpp/common.h"

namespace tidegate::bench {
namespace {

struct Setup {
  llama_model* model = nullptr;
  Bytes ceiling = 0;
  Tokens prompt = 0;
  int threads = 1;
  bool flash = true;

  llamacpp::LoadOptions Options() const {
    return {.ceiling = ceiling,
            .n_ctx = prompt,
            .flash_attention = flash,
            .threads = threads};
  }
};

// Seconds; below 0: no such context fits.
double Fixed(const Setup& setup, Tokens chunk) {
  llamacpp::LoadOptions options = setup.Options();
  options.widths = {chunk};
  auto loaded = llamacpp::Load(setup.model, options);
  if (!loaded.ok()) return -1;
  std::vector<llama_token> tokens = SomeTokens(setup.prompt);
  const double start = Now();
  for (Tokens at = 0; at < setup.prompt; at += chunk) {
    const Tokens n = std::min(chunk, setup.prompt - at);
    if (llama_decode(loaded->context.get(),
                     llama_batch_get_one(tokens.data() + at,
                                         static_cast<std::int32_t>(n))) != 0) {
      Fail("llama_decode");
    }
  }
  return Now() - start;
}

double Gated(const Setup& setup, Tokens* chunk) {
  auto loaded = llamacpp::Load(setup.model, setup.Options());
  if (!loaded.ok()) Fail(std::string(loaded.status().message()));
  *chunk = loaded->plan.chosen.n_ubatch;
  auto device = llamacpp::Device::Create(*loaded);
  auto gate = PullScheduler::Create(loaded->scheduler);
  if (!device.ok() || !gate.ok()) Fail("Create");
  if (!(*device)->Add(1, {.tokens = SomeTokens(setup.prompt)}).ok())
    Fail("Add");
  const auto now = [] {
    return Instant(std::chrono::steady_clock::now().time_since_epoch());
  };
  const double start = Now();
  if (!(*gate)
           ->Submit({.id = 1, .request = {.prompt_tokens = setup.prompt}},
                    now())
           .ok()) {
    Fail("Submit");
  }
  while (const std::optional<Work> work = (*gate)->Next(now())) {
    if (const auto* run = std::get_if<RunStep>(&*work)) {
      if (!(*gate)->Complete(run->step, (*device)->Run(*run), now()).ok()) {
        Fail("Complete");
      }
    } else if (const auto* decode = std::get_if<StartDecode>(&*work)) {
      const double seconds = Now() - start;
      if ((*device)->Logits(decode->id).empty()) Fail("no logits");
      return seconds;
    } else if (const auto* answer = std::get_if<Answer>(&*work)) {
      Fail("refused: " + answer->reason);
    }
  }
  Fail("the prompt was not computed");
  return 0;
}

}  // namespace
}  // namespace tidegate::bench

int main(int argc, char** argv) {
  using namespace tidegate::bench;
  if (argc != 7) {
    Fail(
        "usage: tidegate_llamacpp_prefill MODEL.gguf CEILING_MIB PROMPT "
        "REPEATS THREADS FLASH");
  }
  const Setup setup{.model = OpenModel(argv[1]),
                    .ceiling = std::atoll(argv[2]) * kMiB,
                    .prompt = std::atoll(argv[3]),
                    .threads = std::atoi(argv[5]),
                    .flash = std::atoi(argv[6]) != 0};
  std::map<tidegate::Tokens, double> fixed;
  double gated = 0;
  tidegate::Tokens chosen = 0;
  for (int repeat = 0; repeat < std::atoi(argv[4]); ++repeat) {
    for (tidegate::Tokens chunk = 32; chunk <= 2048; chunk *= 2) {
      const double seconds = Fixed(setup, chunk);
      if (seconds < 0) continue;
      double& best = fixed[chunk];
      best = best == 0 ? seconds : std::min(best, seconds);
    }
    const double seconds = Gated(setup, &chosen);
    gated = gated == 0 ? seconds : std::min(gated, seconds);
  }
  // One row each, the best of the repeats.
  const std::string model = Stem(argv[1]);
  for (const auto& [chunk, seconds] : fixed) {
    std::printf("%s,%d,%d,%s,%s,fixed,%lld,%.4f\n", model.c_str(),
                setup.flash ? 1 : 0, setup.threads, argv[2], argv[3],
                static_cast<long long>(chunk), seconds);
  }
  std::printf("%s,%d,%d,%s,%s,tidegate,%lld,%.4f\n", model.c_str(),
              setup.flash ? 1 : 0, setup.threads, argv[2], argv[3],
              static_cast<long long>(chosen), gated);
  return 0;
}
