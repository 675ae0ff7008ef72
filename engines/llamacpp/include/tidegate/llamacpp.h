// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// llama.cpp under Tidegate, through its C API.
//
//   auto loaded = llamacpp::Load(model, {.ceiling = 8 * kGiB});
//   auto device = llamacpp::Device::Create(*loaded);
//   auto gate = PullScheduler::Create(loaded->scheduler);
//
// Load() chooses n_ubatch and n_ctx for a ceiling, makes the context and reads
// back what llama.cpp reserved. A Device runs the steps of a scheduler on it,
// synchronously: for an engine with a loop of its own (pull.h). With a thread
// of its own, and as the engine of a Service, it is in llamacpp_engine.h.
// docs/engines/llamacpp.md says what happens when something fails.
//
// Thread-safety: a Device belongs to one thread, but for Add() and Cancel(),
// which may be called from any.

#ifndef TIDEGATE_LLAMACPP_H_
#define TIDEGATE_LLAMACPP_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "llama.h"
#include "tidegate/load_plan.h"
#include "tidegate/model_shape.h"
#include "tidegate/pull.h"
#include "tidegate/scheduler.h"

namespace tidegate::llamacpp {

// The shape of a loaded model, from its GGUF metadata. InvalidArgument names
// the key that is missing or that the C API does not show (widths that differ
// by layer): take the shape from the model's config.json then.
absl::StatusOr<ModelShape> ShapeOf(const llama_model* model);

// What llama.cpp said it reserved for a context, by its log; exact to 0.01 MiB,
// rounded up. All devices together.
struct ReportedMemory {
  Bytes compute = 0;
  Bytes kv = 0;
  Bytes output = 0;  // the host's copy of logits
  Bytes Total() const { return SatAdd(compute, kv, output); }
};

struct LoadOptions {
  Bytes ceiling = 0;
  // Live with the model loaded and no context. Unset: llama_model_size().
  std::optional<Bytes> base;
  Bytes headroom = 0;
  // The context wanted; 0: as long as fits, at most what the model was trained
  // for.
  Tokens n_ctx = 0;
  // Widths to choose n_ubatch from; empty: 32, 64, … 2048.
  std::vector<Tokens> widths;
  // Sequences at once. They share the cache.
  int slots = 1;
  bool flash_attention = true;
  // Stored type of the cache, as the engine option kv_type: f16, q8_0, …
  std::string kv_type = "f16";
  int threads = 1;
  // Whether to price what the CPU backend allocates beside the compute buffer
  // when a step first runs. Where every layer is offloaded: no.
  bool scratch = true;
  // Where ShapeOf() cannot read it.
  std::optional<ModelShape> shape;
  // Starts from llama_context_default_params(); may set what is not named here.
  std::function<void(llama_context_params&)> adjust;
};

struct ContextDeleter {
  void operator()(llama_context* context) const { llama_free(context); }
};

// A context that fits under the ceiling, and what a scheduler needs to know.
struct LoadedContext {
  std::unique_ptr<llama_context, ContextDeleter> context;
  LoadPlan plan;
  ReportedMemory reported;
  Bytes base = 0;  // live without the context
  // The price of a step: what was reserved, for every width.
  std::shared_ptr<const Estimator> estimator;
  // ceiling, live memory with the cache, the cache as a pool of tokens, and
  // chunks of at most n_ubatch tokens.
  SchedulerOptions scheduler;
};

// ResourceExhausted with its arithmetic: no context of the wanted size fits, or
// llama.cpp could not allocate it, or it reserved more than the ceiling allows;
// then none is left behind. While it runs it replaces llama.cpp's log callback,
// which is the process's: load one context at a time.
absl::StatusOr<LoadedContext> Load(llama_model* model,
                                   const LoadOptions& options);

// One prompt as the device sees it.
struct Prompt {
  std::vector<llama_token> tokens;
  // Called when a chunk is in the cache, with its end and the prompt's length.
  std::function<void(Tokens done, Tokens total)> progress;
};

// Runs steps on a context. It holds sequences 0 to slots - 1; nobody else may
// use them.
class Device {
 public:
  // `context` must outlive it; its abort callback is taken. `live` is what is
  // live beside the compute buffer and `compute` that buffer, as reported with
  // each step; unset: steps report nothing.
  struct Options {
    llama_context* context = nullptr;
    std::optional<Bytes> live;
    Bytes compute = 0;
  };
  static absl::StatusOr<std::unique_ptr<Device>> Create(const Options& options);
  // Of a context that Load() made.
  static absl::StatusOr<std::unique_ptr<Device>> Create(
      const LoadedContext& loaded);
  virtual ~Device() = default;

  // Before the request is submitted. InvalidArgument: no tokens, or one that
  // the vocabulary lacks; AlreadyExists.
  virtual absl::Status Add(RequestId id, Prompt prompt) = 0;

  // One step, to its end. Out of memory and other failures leave the cache as
  // it was before: what a failed step had computed is removed, and where
  // llama.cpp cannot remove it, computed again with the next step.
  virtual StepOutcome Run(const RunStep& step) = 0;

  // Logits of the prompt's last position, after its last chunk and until the
  // next step or Decode(); empty otherwise.
  virtual std::span<const float> Logits(RequestId id) const = 0;

  // Computes one more token behind the prompt; its logits are Logits(id) then.
  // ResourceExhausted: the cache is full. Aborted: it was cancelled.
  virtual absl::Status Decode(RequestId id, llama_token token) = 0;

  // Stops a step or Decode() of this request that runs, from any thread: the
  // step ends as failed. The scheduler is to be told as well.
  virtual void Cancel(RequestId id) = 0;

  // Drops its KV. The prompt is kept, and may be computed again.
  virtual void Preempt(RequestId id) = 0;

  // Drops everything of it.
  virtual void Release(RequestId id) = 0;

  // Tokens of it that are in the cache.
  virtual Tokens Cached(RequestId id) const = 0;
};

}  // namespace tidegate::llamacpp

#endif  // TIDEGATE_LLAMACPP_H_
