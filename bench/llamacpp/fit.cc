// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// How long a prompt fits into a process whose address space is limited
// (RLIMIT_AS): the one that Tidegate admits, beside the longest that runs.
//
//   tidegate_llamacpp_fit MODEL.gguf ROOM_MIB N_UBATCH FLASH HEADROOM_MIB
//
// The limit is what the process had with the model loaded, and ROOM. Each trial
// is a process of its own that makes a context of n_ctx and computes a prompt
// that fills it.

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "bench/llamacpp/common.h"

namespace tidegate::bench {
namespace {

struct Setup {
  std::string path;
  Bytes room = 0;
  Tokens n_ubatch = 0;
  bool flash = true;
  Bytes headroom = 0;
};

// In a process of its own; what `body` answers, or -1 where it died.
long long Apart(const std::function<long long()>& body) {
  int pipes[2];
  if (pipe(pipes) != 0) Fail("pipe");
  const pid_t child = fork();
  if (child == 0) {
    // Its last words about memory are not this program's.
    if (std::freopen("/dev/null", "w", stderr) == nullptr) _exit(2);
    const long long answer = body();
    const bool told =
        write(pipes[1], &answer, sizeof(answer)) == sizeof(answer);
    _exit(told ? 0 : 2);
  }
  close(pipes[1]);
  long long answer = -1;
  if (read(pipes[0], &answer, sizeof(answer)) != sizeof(answer)) answer = -1;
  close(pipes[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? answer : -1;
}

// The model, and the limit from now on.
llama_model* OpenLimited(const Setup& setup, Bytes* live) {
  llama_model* model = OpenModel(setup.path);
  *live = ProcessBytes("VmSize");
  const rlimit limit{static_cast<rlim_t>(*live + setup.room),
                     static_cast<rlim_t>(*live + setup.room)};
  if (setrlimit(RLIMIT_AS, &limit) != 0) Fail("setrlimit");
  return model;
}

// What Tidegate admits and computes under the limit; 0: it loads nothing; below
// 0: it ran out of memory.
long long Admitted(const Setup& setup) {
  Bytes live = 0;
  llama_model* model = OpenLimited(setup, &live);
  auto loaded = llamacpp::Load(model, {.ceiling = live + setup.room,
                                       .base = live,
                                       .headroom = setup.headroom,
                                       .widths = {setup.n_ubatch},
                                       .flash_attention = setup.flash});
  if (!loaded.ok()) {
    return absl::StrContains(loaded.status().message(), "no context fits") ? 0
                                                                           : -2;
  }
  const Tokens prompt = loaded->plan.chosen.n_ctx;
  auto device = llamacpp::Device::Create(*loaded);
  auto gate = PullScheduler::Create(loaded->scheduler);
  if (!(*device)->Add(1, {.tokens = SomeTokens(prompt)}).ok()) return -3;
  const Instant now{};
  if (!(*gate)
           ->Submit({.id = 1, .request = {.prompt_tokens = prompt}}, now)
           .ok()) {
    return -4;
  }
  while (const std::optional<Work> work = (*gate)->Next(now)) {
    if (const auto* run = std::get_if<RunStep>(&*work)) {
      const StepOutcome outcome = (*device)->Run(*run);
      if (outcome.kind() != StepOutcome::Kind::kDone) return -5;
      if (!(*gate)->Complete(run->step, outcome, now).ok()) return -6;
    } else if (std::holds_alternative<StartDecode>(*work)) {
      return prompt;
    } else if (std::holds_alternative<Answer>(*work)) {
      return -7;
    }
  }
  return -8;
}

// Whether llama.cpp alone computes a prompt that fills a context of n_ctx.
bool Runs(const Setup& setup, Tokens n_ctx) {
  return Apart([&]() -> long long {
           Bytes live = 0;
           llama_model* model = OpenLimited(setup, &live);
           llama_context_params params = llama_context_default_params();
           params.n_ctx = static_cast<std::uint32_t>(n_ctx);
           params.n_batch = params.n_ubatch =
               static_cast<std::uint32_t>(setup.n_ubatch);
           params.n_outputs_max = 1;
           params.swa_full = false;
           params.n_threads = params.n_threads_batch = 1;
           params.flash_attn_type = setup.flash
                                        ? LLAMA_FLASH_ATTN_TYPE_ENABLED
                                        : LLAMA_FLASH_ATTN_TYPE_DISABLED;
           llama_context* context = llama_init_from_model(model, params);
           if (context == nullptr) return 0;
           std::vector<llama_token> tokens = SomeTokens(n_ctx);
           for (Tokens at = 0; at < n_ctx; at += setup.n_ubatch) {
             const Tokens n = std::min(setup.n_ubatch, n_ctx - at);
             if (llama_decode(
                     context,
                     llama_batch_get_one(tokens.data() + at,
                                         static_cast<std::int32_t>(n))) != 0) {
               return 0;
             }
           }
           return 1;
         }) == 1;
}

}  // namespace
}  // namespace tidegate::bench

int main(int argc, char** argv) {
  using namespace tidegate::bench;
  using tidegate::Tokens;
  if (argc != 6) {
    Fail(
        "usage: tidegate_llamacpp_fit MODEL.gguf ROOM_MIB N_UBATCH FLASH "
        "HEADROOM_MIB");
  }
  const Setup setup{.path = argv[1],
                    .room = std::atoll(argv[2]) * kMiB,
                    .n_ubatch = std::atoll(argv[3]),
                    .flash = std::atoi(argv[4]) != 0,
                    .headroom = std::atoll(argv[5]) * kMiB};
  const long long admitted = Apart([&] { return Admitted(setup); });
  // Upwards from what was admitted: nearly every trial succeeds, or fails soon.
  Tokens fits = std::max<Tokens>(0, admitted / 256);
  if (fits > 0 && !Runs(setup, fits * 256)) fits = 0;
  Tokens step = 1;
  while (Runs(setup, (fits + step) * 256)) {
    fits += step;
    step *= 2;
  }
  for (step /= 2; step > 0; step /= 2) {
    if (Runs(setup, (fits + step) * 256)) fits += step;
  }
  std::printf("%s,%d,%s,%s,%s,%lld,%lld,%.4f,%s\n", Stem(argv[1]).c_str(),
              setup.flash ? 1 : 0, argv[3], argv[2], argv[5], admitted,
              static_cast<long long>(fits * 256),
              fits > 0 ? static_cast<double>(admitted) /
                             (static_cast<double>(fits) * 256)
                       : 0,
              admitted < 0 ? "yes" : "no");
  return 0;
}
