// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Clients that await, an engine that runs. This engine's device is a thread
// pool that does nothing; the marked lines are where yours works. The blocks
// between [name] and [end] are the ones that docs/service.md shows.

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <iostream>

#include "tidegate/service.h"
#include "tidegate/tidegate.h"

namespace asio = boost::asio;
namespace tg = tidegate;

// [engine]
class ExampleEngine final : public tg::Engine {
 public:
  void Run(const tg::RunStep& step, tg::StepCompletion done) override {
    asio::post(device_, [step, done = std::move(done)]() mutable {
      // The forward pass of step.chunks goes here.
      done.Complete(tg::StepOutcome::Done());
    });
  }
  void StartDecode(tg::RequestId /*id*/, tg::DecodeHandle decode) override {
    asio::post(device_, [decode = std::move(decode)]() mutable {
      decode.Generated(1);  // Once per token, or per batch of them.
      decode.Finish();
    });
  }
  void Release(tg::RequestId /*id*/) override {}  // Free its KV.
  void Preempt(tg::RequestId /*id*/) override {}  // Free it for now.

 private:
  asio::thread_pool device_{1};
};
// [end]

// [client]
asio::awaitable<void> Serve(tg::Service& service, tg::Tokens prompt) {
  tg::SubmitRequest request{.id = service.NextId()};
  request.request = {.prompt_tokens = prompt, .max_output_tokens = 100};
  request.on_progress = [](const tg::Progress& progress) {
    std::cout << progress.done << " of " << progress.total << "; bound by "
              << tg::BoundName(progress.bound) << "\n";
  };
  const tg::SubmitResult result = co_await service.Submit(request);
  std::cout << tg::OutcomeName(result.outcome) << " " << result.reason << "\n";
}
// [end]

int main(int argc, char** argv) {
  const auto config =
      tg::LoadModelConfig(argc > 1 ? argv[1] : "config.json", {});
  if (!config.ok()) return std::cerr << config.status().message() << "\n", 1;
  auto made = tg::CreateEstimator(
      {.shape = config->shape, .engine = {"mlx", "0.31.2", "metal", {}}});
  if (!made.ok()) return std::cerr << made.status().message() << "\n", 1;
  // [run]
  asio::io_context context;
  tg::ServiceOptions options;
  options.scheduler.estimator = std::move(made->estimator);
  options.scheduler.memory = {.ceiling = tg::Bytes{20} << 30,
                              .base = tg::Bytes{16} << 30};
  auto service =
      tg::Service::Create(std::move(options), std::make_shared<ExampleEngine>(),
                          context.get_executor());
  if (!service.ok()) return std::cerr << service.status().message() << "\n", 1;
  for (const tg::Tokens prompt : {9'000, 1'000'000}) {
    asio::co_spawn(context, Serve(**service, prompt), asio::detached);
  }
  context.run();  // Returns when both are answered.
  // [end]
  const tg::ServiceMetrics metrics = (*service)->Metrics();
  std::cout << tg::PrometheusText(metrics);
  return metrics.finished == 1 && metrics.rejected_too_large == 1 ? 0 : 1;
}
