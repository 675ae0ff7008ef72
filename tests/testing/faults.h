// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What an engine, its device and its clients may do wrong, by kind. Each seed
// draws which kinds it knows (swarm testing: faults that hide each other never
// meet in every seed), and counts what it did.

#ifndef TIDEGATE_TESTS_TESTING_FAULTS_H_
#define TIDEGATE_TESTS_TESTING_FAULTS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tidegate::testing {

enum class Fault {
  kLostStep,          // never answered until its requests are cancelled
  kLateStep,          // answered long after others, and after a while
  kRepeatedAnswer,    // of a step: the same StepDone again
  kEngineError,       // a step or a decode fails
  kOutOfMemory,       // likewise, for lack of memory
  kFruitlessReclaim,  // it frees nothing
  kLateReclaim,       // answered when it was, or is about to be, given up
  kGreedyReclaim,     // it frees more than was asked
  kNoReading,         // readings stop
  kFrozenReading,     // they repeat themselves
  kLyingReading,      // they are off by up to a tenth
  kClockJump,         // forward, by up to ten days
  kPolicySwap,        // PolicyChanged
  kCancelStorm,       // every request at once
  kCeilingCollapse,   // below what is live, and back later
  kBurst,             // 2,000 arrivals in one instant
  kLongPrompt,        // of ten million tokens
  kNonsense,          // out of order, unknown ids, numbers that cannot be
};
inline constexpr std::size_t kFaults = 18;

inline constexpr std::array<std::string_view, kFaults> kFaultNames = {
    "lost step",         "late step",          "repeated answer",
    "engine error",      "out of memory",      "fruitless reclaim",
    "late reclaim",      "greedy reclaim",     "no reading",
    "frozen reading",    "lying reading",      "clock jump",
    "policy swap",       "cancel storm",       "ceiling collapse",
    "burst of arrivals", "ten-million prompt", "nonsense"};

// What a run consisted of.
struct TortureCounts {
  std::int64_t events = 0;   // sent, refused ones included
  std::int64_t refused = 0;  // that led to nothing, as they should
  std::int64_t requests = 0;
  std::int64_t steps = 0;
  std::int64_t chunks = 0;  // of prompts
  std::array<std::int64_t, kFaults> faults{};

  std::int64_t& operator[](Fault fault) {
    return faults[static_cast<std::size_t>(fault)];
  }
  void Add(const TortureCounts& other) {
    events += other.events;
    refused += other.refused;
    requests += other.requests;
    steps += other.steps;
    chunks += other.chunks;
    for (std::size_t i = 0; i < kFaults; ++i) faults[i] += other.faults[i];
  }
};

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_FAULTS_H_
