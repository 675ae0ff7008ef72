// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What the adapter costs a chunk: the time of a whole prefill through a
// scheduler and a Device, less the time inside llama_decode() and
// llama_synchronize(), which this program replaces by ones that compute
// nothing.
//
//   tidegate_llamacpp_overhead MODEL.gguf

#include <algorithm>
#include <cstdio>
#include <vector>

#include "bench/llamacpp/common.h"

// In place of llama.cpp's, which is a shared library: what is linked first
// counts.
extern "C" std::int32_t llama_decode(llama_context*, llama_batch) { return 0; }
extern "C" void llama_synchronize(llama_context*) {}

namespace tidegate::bench {
namespace {

struct Cost {
  double device = 0;     // µs a chunk inside Device::Run()
  double scheduler = 0;  // µs a chunk inside the scheduler
};

Cost Measure(llamacpp::Device& device, const SchedulerOptions& options,
             Tokens prompt) {
  auto gate = PullScheduler::Create(options);
  if (!gate.ok()) Fail(std::string(gate.status().message()));
  if (!device.Add(1, {.tokens = SomeTokens(prompt)}).ok()) Fail("Add");
  const Instant now{};
  double in_device = 0;
  int chunks = 0;
  const double start = Now();
  if (!(*gate)
           ->Submit({.id = 1, .request = {.prompt_tokens = prompt}}, now)
           .ok()) {
    Fail("Submit");
  }
  while (const std::optional<Work> work = (*gate)->Next(now)) {
    if (const auto* run = std::get_if<RunStep>(&*work)) {
      const double before = Now();
      const StepOutcome outcome = device.Run(*run);
      in_device += Now() - before;
      ++chunks;
      if (!(*gate)->Complete(run->step, outcome, now).ok()) Fail("Complete");
    } else if (const auto* decode = std::get_if<StartDecode>(&*work)) {
      if (!(*gate)->Finish(decode->id, now).ok()) Fail("Finish");
    }
  }
  const double whole = Now() - start;
  device.Release(1);
  return {in_device / chunks * 1e6, (whole - in_device) / chunks * 1e6};
}

}  // namespace
}  // namespace tidegate::bench

int main(int argc, char** argv) {
  using namespace tidegate::bench;
  if (argc != 2) Fail("usage: tidegate_llamacpp_overhead MODEL.gguf");
  llama_model* model = OpenModel(argv[1]);
  std::printf("n_ubatch,prompt,device_us,device_us_worst,scheduler_us\n");
  for (const tidegate::Tokens width : {32, 128, 512}) {
    for (const tidegate::Tokens prompt : {4096, 32768}) {
      auto loaded = tidegate::llamacpp::Load(
          model, {.ceiling = 4096 * kMiB, .n_ctx = prompt, .widths = {width}});
      if (!loaded.ok()) Fail(std::string(loaded.status().message()));
      auto device = tidegate::llamacpp::Device::Create(*loaded);
      std::vector<double> in_device, scheduler;
      for (int i = 0; i < 51; ++i) {
        const Cost cost = Measure(**device, loaded->scheduler, prompt);
        in_device.push_back(cost.device);
        scheduler.push_back(cost.scheduler);
      }
      std::sort(in_device.begin(), in_device.end());
      std::sort(scheduler.begin(), scheduler.end());
      std::printf("%lld,%lld,%.3f,%.3f,%.3f\n", static_cast<long long>(width),
                  static_cast<long long>(prompt), in_device[25], in_device[50],
                  scheduler[25]);
    }
  }
  return 0;
}
