// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Timeline: a run of the scheduler to be looked at, in Perfetto
// (ui.perfetto.dev) or chrome://tracing.
//
//   std::ofstream file("timeline.json");
//   Timeline timeline(memory, [&](std::string_view text) { file << text; });
//   options.on_decision = [&](const Decision& d) { timeline.Add(d); };
//   …
//   timeline.Finish();
//
// It writes JSON of the Trace Event Format (Google, "Trace Event Format",
// 2016), of which it uses slices (B, E), instants (i), counters (C) and names
// (M). Moments are microseconds with three decimals: the scheduler's
// nanoseconds, exactly.
//
//   process "device"    steps, with tokens, kv length, price and what bound
//                       their widths; counters of live bytes, claims, room and
//                       the queue
//   process "requests"  a slice for each request, and in it waiting, prefill
//                       and decoding; admit, reject and preempt as instants
//                       with their arithmetic
//   process "reclaims"  what was asked for and what it freed
//
// A row is used again when what lies in it has ended, so that there are as many
// rows as requests were open at once. Memory is that of what is open, however
// long the run. docs/simulation.md says how to read one.
//
// Thread-safety: none.

#ifndef TIDEGATE_TIMELINE_H_
#define TIDEGATE_TIMELINE_H_

#include <functional>
#include <memory>
#include <string_view>

#include "tidegate/decision_log.h"
#include "tidegate/plan.h"

namespace tidegate {

class Timeline {
 public:
  // Receives pieces of the file, in order.
  using Sink = std::function<void(std::string_view)>;

  // `memory` as the scheduler got it. Calls `sink` with the beginning.
  Timeline(const MemoryLimits& memory, Sink sink);
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;
  ~Timeline();

  // Everything that the scheduler accepts, in order; a moment that lies before
  // the last one counts as the last one. Nothing is written after Finish().
  void Add(const Decision& decision);

  // Closes what is open, at the last moment, and the file: without it the text
  // is no JSON.
  void Finish();

 private:
  class Writer;
  std::unique_ptr<Writer> writer_;
};

}  // namespace tidegate

#endif  // TIDEGATE_TIMELINE_H_
