// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tidegate/llamacpp_engine.h"

namespace tidegate::llamacpp {
namespace {

// One thread that runs tasks in order; what is left when it ends is dropped.
class Worker {
 public:
  using Task = std::function<void()>;

  Worker() : thread_([state = state_] { Loop(*state); }) {}
  ~Worker() { Stop(); }

  // What was posted and did not run is dropped, later posts too.
  void Stop() {
    if (!thread_.joinable()) return;
    std::deque<Task> dropped;
    {
      const std::lock_guard lock(state_->mutex);
      state_->ending = true;
      dropped.swap(state_->tasks);
    }
    state_->ready.notify_one();
    // The last reference to an engine may be that of a task.
    if (thread_.get_id() == std::this_thread::get_id()) {
      thread_.detach();
    } else {
      thread_.join();
    }
  }

  void Post(Task task) {
    {
      const std::lock_guard lock(state_->mutex);
      if (state_->ending) return;
      state_->tasks.push_back(std::move(task));
    }
    state_->ready.notify_one();
  }

 private:
  // Outlives the worker where the thread does.
  struct State {
    std::mutex mutex;
    std::condition_variable ready;
    std::deque<Task> tasks;
    bool ending = false;
  };

  static void Loop(State& state) {
    while (true) {
      Task task;
      {
        std::unique_lock lock(state.mutex);
        state.ready.wait(lock,
                         [&] { return state.ending || !state.tasks.empty(); });
        if (state.ending) return;
        task = std::move(state.tasks.front());
        state.tasks.pop_front();
      }
      task();
    }
  }

  const std::shared_ptr<State> state_ = std::make_shared<State>();
  std::thread thread_;  // last: it uses the state
};

class LlamaEngineImpl final : public LlamaEngine {
 public:
  LlamaEngineImpl(std::unique_ptr<Device> device, Sampler sampler)
      : device_(std::move(device)), sampler_(std::move(sampler)) {}

  ~LlamaEngineImpl() override { Shutdown(); }

  void Shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      if (device_ == nullptr) return;
      // What runs is stopped, not waited for.
      for (const auto& [id, request] : requests_) device_->Cancel(id);
    }
    worker_.Stop();
    const std::lock_guard lock(mutex_);
    device_.reset();
  }

  absl::Status Add(RequestId id, Prompt prompt,
                   Tokens max_output_tokens) override {
    if (max_output_tokens < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "max_output_tokens: expected at least 0, got ", max_output_tokens));
    }
    const std::lock_guard lock(mutex_);
    if (device_ == nullptr) {
      return absl::FailedPreconditionError("the engine was shut down");
    }
    absl::Status added = device_->Add(id, std::move(prompt));
    if (added.ok()) requests_[id] = {.left = max_output_tokens};
    return added;
  }

  void Abort(RequestId id) override {
    const std::lock_guard lock(mutex_);
    if (device_ != nullptr) device_->Cancel(id);
  }

  void Forget(RequestId id) override {
    worker_.Post([this, id] {
      if (device_->Cached(id) == 0) Drop(id);
    });
  }

  void Run(const RunStep& step, StepCompletion done) override {
    auto answer = std::make_shared<StepCompletion>(std::move(done));
    worker_.Post([this, step, answer] {
      StepOutcome outcome = device_->Run(step);
      KeepLogits(step);
      answer->Complete(std::move(outcome));
    });
  }

  void StartDecode(RequestId id, DecodeHandle decode) override {
    auto handle = std::make_shared<DecodeHandle>(std::move(decode));
    worker_.Post([this, id, handle] { FirstToken(id, handle); });
  }

  void Preempt(RequestId id) override {
    worker_.Post([this, id] {
      StopDecoding(id);
      device_->Preempt(id);
    });
  }

  void Release(RequestId id) override {
    worker_.Post([this, id] { Drop(id); });
  }

 private:
  using Handle = std::shared_ptr<DecodeHandle>;
  struct Request {
    Tokens left = 0;            // tokens that may still be generated
    Handle decoding;            // which decode goes on
    std::vector<float> logits;  // of the prompt, until decoding starts
  };

  Request* Find(RequestId id) {
    const std::lock_guard lock(mutex_);
    const auto found = requests_.find(id);
    return found == requests_.end() ? nullptr : &found->second;
  }

  void StopDecoding(RequestId id) {
    if (Request* request = Find(id)) request->decoding = nullptr;
  }

  void Drop(RequestId id) {
    device_->Release(id);
    const std::lock_guard lock(mutex_);
    requests_.erase(id);
  }

  // Each token is a task of its own, so that steps of others come between.
  // Logits last until the next step, so a token is chosen as soon as the one
  // before it is computed.

  void KeepLogits(const RunStep& step) {
    for (const StepChunk& chunk : step.chunks) {
      const std::span<const float> logits = device_->Logits(chunk.id);
      if (logits.empty()) continue;
      if (Request* request = Find(chunk.id)) {
        request->logits.assign(logits.begin(), logits.end());
      }
    }
  }

  void FirstToken(RequestId id, const Handle& handle) {
    Request* request = Find(id);
    if (request == nullptr) return;
    request->decoding = handle;
    const std::vector<float> logits = std::exchange(request->logits, {});
    Choose(id, handle, logits);
  }

  void NextToken(RequestId id, const Handle& handle, llama_token token) {
    const Request* request = Find(id);
    if (request == nullptr || request->decoding != handle) return;
    const absl::Status decoded = device_->Decode(id, token);
    if (!decoded.ok()) {
      End(id, handle, std::string(decoded.message()));
      return;
    }
    Choose(id, handle, device_->Logits(id));
  }

  void Choose(RequestId id, const Handle& handle,
              std::span<const float> logits) {
    Request& request = *Find(id);
    std::optional<llama_token> token;
    if (request.left > 0) {
      try {
        token = sampler_(id, logits);
      } catch (const std::exception& error) {
        End(id, handle, absl::StrCat("the sampler failed: ", error.what()));
        return;
      }
    }
    if (!token.has_value()) {
      End(id, handle, "");
      return;
    }
    handle->Generated(1);
    if (--request.left == 0) {
      End(id, handle, "");
      return;
    }
    worker_.Post(
        [this, id, handle, next = *token] { NextToken(id, handle, next); });
  }

  void End(RequestId id, const Handle& handle, std::string failure) {
    if (failure.empty()) {
      Drop(id);
      handle->Finish();
      return;
    }
    StopDecoding(id);
    handle->Fail(std::move(failure));  // Release() follows.
  }

  std::unique_ptr<Device> device_;  // null after Shutdown()
  const Sampler sampler_;
  std::mutex mutex_;
  std::map<RequestId, Request> requests_;
  Worker worker_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<LlamaEngine>> LlamaEngine::Create(
    std::unique_ptr<Device> device, Sampler sampler) {
  if (device == nullptr) return absl::InvalidArgumentError("device: is null");
  if (!sampler)
    return absl::InvalidArgumentError("sampler: expected a function");
  return std::make_shared<LlamaEngineImpl>(std::move(device),
                                           std::move(sampler));
}

}  // namespace tidegate::llamacpp
