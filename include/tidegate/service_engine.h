// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Engine: what a serving engine implements to be driven by a Service
// (service.h). docs/service.md has the whole contract with examples.
//
// The service calls these methods one at a time, on its own strand, in the
// order in which they must take effect. They must return soon: a forward pass
// belongs on the engine's thread, which answers through the handle that it was
// given. An exception that escapes a method is caught and counts as a failure
// of what was asked.
//
// A handle may be moved anywhere and answered from any thread, also from inside
// the method itself. It answers once: later answers are ignored and counted. A
// handle that is destroyed unanswered answers "failed", so that no request can
// wait for a forgotten one. A handle that outlives its service does nothing.

#ifndef TIDEGATE_SERVICE_ENGINE_H_
#define TIDEGATE_SERVICE_ENGINE_H_

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "tidegate/actions.h"
#include "tidegate/events.h"
#include "tidegate/memory_probe.h"
#include "tidegate/pull.h"
#include "tidegate/types.h"

namespace tidegate {

// The promise to answer once. Move-only. Thread-safety: Complete() may race
// with itself, one answer wins; moving and destroying need the handle alone.
template <typename T>
class [[nodiscard]] Completion {
 public:
  // Called once, with nullopt when the handle is dropped. Must not throw.
  using Send = std::function<void(std::optional<T> answer)>;

  explicit Completion(Send send)
      : state_(std::make_unique<State>(std::move(send))) {}
  Completion(Completion&&) noexcept = default;
  // The promise that is overwritten counts as dropped.
  Completion& operator=(Completion&& other) noexcept {
    if (this != &other) {
      Drop();
      state_ = std::move(other.state_);
    }
    return *this;
  }
  ~Completion() { Drop(); }

  // False when this promise was answered before, or moved away.
  bool Complete(T answer) {
    if (state_ == nullptr || state_->answered.exchange(true)) return false;
    state_->send(std::move(answer));
    return true;
  }

  // Whether an answer is still owed.
  bool pending() const { return state_ != nullptr && !state_->answered; }

 private:
  struct State {
    explicit State(Send s) : send(std::move(s)) {}
    std::atomic<bool> answered{false};
    Send send;
  };
  void Drop() {
    if (state_ == nullptr || state_->answered.exchange(true)) return;
    state_->send(std::nullopt);
  }
  std::unique_ptr<State> state_;
};

using StepCompletion = Completion<StepOutcome>;

struct ReclaimOutcome {
  Bytes freed_bytes = 0;
  // What could still be freed of that kind; nullopt: as said before.
  std::optional<Bytes> reclaimable_bytes;
};
// Dropped: freed nothing.
using ReclaimCompletion = Completion<ReclaimOutcome>;

// How decoding of one request goes on. The last of Finish(), Fail() and
// destruction ends it; what is said after a Preempt or Release of the request
// is ignored, so an engine thread may lose that race.
class [[nodiscard]] DecodeHandle {
 public:
  // nullopt tokens end it: with an empty reason well.
  struct Report {
    std::optional<Tokens> tokens;
    std::string failure;
  };
  using Send = std::function<void(Report)>;

  explicit DecodeHandle(Send send);
  DecodeHandle(DecodeHandle&&) noexcept = default;
  DecodeHandle& operator=(DecodeHandle&& other) noexcept;
  ~DecodeHandle();

  // So many tokens were generated; at least 1.
  void Generated(Tokens tokens);
  // The request is complete and its bytes are free. False when it had ended.
  bool Finish();
  // It cannot be completed; its client is answered "cancelled" with the reason,
  // and Release() follows.
  bool Fail(std::string reason);

 private:
  struct State;
  struct Deleter {
    void operator()(State* state) const;
  };
  bool End(std::string failure);
  std::unique_ptr<State, Deleter> state_;
};

class Engine {
 public:
  virtual ~Engine() = default;

  // Run one forward pass. SchedulerOptions::step says what may be in it and how
  // many run at once; with the default no other runs until it is answered.
  virtual void Run(const RunStep& step, StepCompletion done) = 0;

  // The prompt is in the cache: generate. Not called where decode tokens are
  // part of steps: RunStep::decodes names the request from now on, and
  // StepMeasurement::decodes says when it is finished.
  virtual void StartDecode(RequestId id, DecodeHandle decode) = 0;

  // The request ended without finishing: its client left, it was refused after
  // all, or the service shuts down. Free what it holds now; stop decoding it.
  // Called once for each request that was ever admitted and did not finish,
  // never while a step of it runs.
  virtual void Release(RequestId id) = 0;

  // Drop the request's KV now; it waits again and may be admitted again. Not
  // called where the ladder lacks "preempt". An engine that saves some of it
  // says so with Service::Tell(PrefixChanged).
  virtual void Preempt(RequestId id) = 0;

  // The request holds a claim from now on: pin its cached prefix.
  virtual void Admitted(const Admit& /*admit*/) {}

  // Free up to `what.bytes` of `what.kind`; asked for only where the engine
  // told that something is reclaimable. The default frees nothing.
  virtual void Reclaim(const tidegate::Reclaim& /*what*/,
                       ReclaimCompletion done) {
    done.Complete({});
  }

  // Live memory now, where the engine knows it and ServiceOptions has no probe.
  // nullopt: off, the engine never says. An error: unknown just now. Called
  // only while no step runs.
  virtual absl::StatusOr<std::optional<MemoryProbeReading>> ReadMemory() {
    return std::nullopt;
  }
};

}  // namespace tidegate

#endif  // TIDEGATE_SERVICE_ENGINE_H_
