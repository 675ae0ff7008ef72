// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// LlamaEngine: llama.cpp as the engine of a Service (service.h).
//
//   auto engine = llamacpp::LlamaEngine::Create(std::move(device), sampler);
//   auto service = Service::Create({.scheduler = loaded->scheduler}, *engine,
//                                  executor);
//   const RequestId id = (*service)->NextId();
//   (*engine)->Add(id, {.tokens = tokens}, 256);
//   co_await (*service)->Submit(request);
//
// It has one thread, on which all of llama.cpp runs. Requests that decode take
// turns with steps, one token each.

#ifndef TIDEGATE_LLAMACPP_ENGINE_H_
#define TIDEGATE_LLAMACPP_ENGINE_H_

#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tidegate/llamacpp.h"
#include "tidegate/service_engine.h"

namespace tidegate::llamacpp {

// The next token of a request, from the logits of the last one; called on the
// engine's thread, which is where it is to be handed to the client. nullopt
// ends the request. An exception ends it as failed.
using Sampler = std::function<std::optional<llama_token>(
    RequestId id, std::span<const float> logits)>;

class LlamaEngine : public Engine {
 public:
  // InvalidArgument: no device, or no sampler.
  static absl::StatusOr<std::shared_ptr<LlamaEngine>> Create(
      std::unique_ptr<Device> device, Sampler sampler);

  // Before Submit(), from any thread. At most `max_output_tokens` are
  // generated: PlanRequest::max_output_tokens.
  virtual absl::Status Add(RequestId id, Prompt prompt,
                           Tokens max_output_tokens) = 0;

  // The client left, from any thread: what runs of it stops at the next node of
  // the graph. Its Submit() is to be cancelled as well.
  virtual void Abort(RequestId id) = 0;

  // Forgets a request that was refused before it was admitted, of which the
  // service tells an engine nothing. Nothing happens to one that was.
  virtual void Forget(RequestId id) = 0;

  // Stops the thread and drops the device: before the context is freed, since
  // answers that are under way may keep the engine alive. Not from its thread.
  virtual void Shutdown() = 0;
};

}  // namespace tidegate::llamacpp

#endif  // TIDEGATE_LLAMACPP_ENGINE_H_
