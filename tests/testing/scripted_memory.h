// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Memory whose readings follow a script: what a device holds is one thing, what
// a reading says of it another.

#ifndef TIDEGATE_TESTS_TESTING_SCRIPTED_MEMORY_H_
#define TIDEGATE_TESTS_TESTING_SCRIPTED_MEMORY_H_

#include <algorithm>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tidegate/memory_probe.h"

namespace tidegate::testing {

// How one reading answers.
enum class Answers {
  kKnown,    // what the devices hold
  kUnknown,  // an error
  kOff,      // nothing, for ever: only an engine can say so
  kFrozen,   // what the last known reading said, whatever they hold
};

// Thread-safety: all methods.
class ScriptedMemory {
 public:
  // What the devices hold from now on.
  void Hold(std::vector<Bytes> used) {
    const std::lock_guard lock(mutex_);
    held_.push_back(std::move(used));
  }
  // How the next readings answer, in order; the last one goes on for ever.
  void Script(std::deque<Answers> script) {
    const std::lock_guard lock(mutex_);
    script_ = std::move(script);
  }
  // Readings say what was held so many Hold()s ago: a counter that lags.
  void LagBehind(std::size_t holds) {
    const std::lock_guard lock(mutex_);
    lag_ = holds;
  }
  int reads() const {
    const std::lock_guard lock(mutex_);
    return reads_;
  }

  // As Engine::ReadMemory() has it.
  absl::StatusOr<std::optional<MemoryProbeReading>> Read() {
    const std::lock_guard lock(mutex_);
    ++reads_;
    const Answers answer = script_.front();
    if (script_.size() > 1) script_.pop_front();
    switch (answer) {
      case Answers::kUnknown:
        return absl::UnavailableError("the script says unknown");
      case Answers::kOff:
        return std::nullopt;
      case Answers::kFrozen:
        if (told_.devices.empty()) told_ = Seen();
        return told_;
      case Answers::kKnown:
        break;
    }
    return told_ = Seen();
  }

  // This memory as a probe. It must outlive the probe.
  std::unique_ptr<MemoryProbe> Probe() {
    return std::make_unique<ProbeOfScript>(*this);
  }

 private:
  class ProbeOfScript final : public MemoryProbe {
   public:
    explicit ProbeOfScript(ScriptedMemory& memory) : memory_(memory) {}
    std::string_view Name() const override { return "scripted"; }
    absl::StatusOr<MemoryProbeReading> Read() override {
      absl::StatusOr<std::optional<MemoryProbeReading>> read = memory_.Read();
      if (!read.ok()) return read.status();
      if (!read->has_value()) return absl::InternalError("a probe is not off");
      return **read;
    }

   private:
    ScriptedMemory& memory_;
  };

  MemoryProbeReading Seen() const {
    const std::size_t last = held_.size() - 1;
    MemoryProbeReading reading;
    for (const Bytes bytes : held_[last - std::min(last, lag_)]) {
      reading.devices.push_back(
          {.name = "scripted:" + std::to_string(reading.devices.size()),
           .used_bytes = bytes,
           .limit_bytes = {},
           .process_bytes = {}});
    }
    return reading;
  }

  mutable std::mutex mutex_;
  std::vector<std::vector<Bytes>> held_ = {{0}};
  std::deque<Answers> script_ = {Answers::kKnown};
  std::size_t lag_ = 0;
  MemoryProbeReading told_;
  int reads_ = 0;
};

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_SCRIPTED_MEMORY_H_
