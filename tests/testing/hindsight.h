// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What could have been done with hindsight: the smallest sum of times to first
// token over every schedule of chunks of one width, by branch and bound.
//
// One step runs at a time and computes one chunk. A request holds a byte for
// each computed token until its last output token; a step needs the chunk's
// bytes and its transient. What decoding adds is left out, so the optimum is a
// bound from below.

#ifndef TIDEGATE_TESTS_TESTING_HINDSIGHT_H_
#define TIDEGATE_TESTS_TESTING_HINDSIGHT_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include "tidegate/status.h"

namespace tidegate::testing {

inline constexpr std::size_t kHindsightMax = 8;

struct HindsightRequest {
  std::int64_t arrival = 0;  // nanoseconds, as all times here
  int chunks = 1;
  std::int64_t decoding = 0;  // from its first token to its last
};

struct HindsightDevice {
  std::int64_t step = 0;       // a step's time
  std::int64_t chunk = 0;      // bytes that a chunk leaves
  std::int64_t transient = 0;  // and needs besides
  std::int64_t room = 0;
};

class Hindsight {
 public:
  Hindsight(std::vector<HindsightRequest> requests,
            const HindsightDevice& device)
      : requests_(std::move(requests)), device_(device) {
    TG_CHECK(requests_.size() <= kHindsightMax);
  }

  // The least sum of (first token - arrival), not above `known`, which some
  // schedule reaches.
  std::int64_t Best(std::int64_t known) {
    best_ = known;
    Visit({}, /*waited=*/false);
    return best_;
  }
  std::int64_t nodes() const { return nodes_; }

 private:
  struct State {
    std::int64_t now = 0;
    std::int64_t sum = 0;  // of requests whose prompt is computed
    std::array<int, kHindsightMax> done{};
    std::array<std::int64_t, kHindsightMax> freed{};  // when it gives back
  };

  // The shortest remainder first, cut anywhere and without memory: no schedule
  // has a smaller sum.
  std::int64_t Bound(const State& state) const {
    std::array<std::int64_t, kHindsightMax> left{};
    std::size_t open = 0;
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      left[i] = (requests_[i].chunks - state.done[i]) * device_.step;
      if (left[i] > 0) ++open;
    }
    std::int64_t now = state.now;
    std::int64_t sum = state.sum;
    while (open > 0) {
      std::size_t next = requests_.size();
      std::int64_t arrival = INT64_MAX;
      for (std::size_t i = 0; i < requests_.size(); ++i) {
        if (left[i] == 0) continue;
        if (requests_[i].arrival > now) {
          arrival = std::min(arrival, requests_[i].arrival);
        } else if (next == requests_.size() || left[i] < left[next]) {
          next = i;
        }
      }
      if (next == requests_.size()) {
        now = arrival;
        continue;
      }
      const std::int64_t run = std::min(left[next], arrival - now);
      now += run;
      left[next] -= run;
      if (left[next] > 0) continue;
      sum += now - requests_[next].arrival;
      --open;
    }
    return sum;
  }

  // Whether a state that was seen is at least as good in every way; notes this
  // one otherwise.
  bool Dominated(const State& state) {
    std::vector<State>& seen = seen_[state.done];
    const auto no_worse = [&](const State& a, const State& b) {
      if (a.now > b.now || a.sum > b.sum) return false;
      for (std::size_t i = 0; i < requests_.size(); ++i) {
        if (a.freed[i] > std::max(b.freed[i], b.now)) return false;
      }
      return true;
    };
    for (const State& other : seen) {
      if (no_worse(other, state)) return true;
    }
    std::erase_if(seen, [&](const State& o) { return no_worse(state, o); });
    seen.push_back(state);
    return false;
  }

  // `waited`: it is what another state comes to that did nothing, and which is
  // no worse for that reason alone.
  void Visit(const State& state, bool waited) {
    ++nodes_;
    if (Bound(state) >= best_) return;
    bool open = false;
    std::int64_t live = 0;
    std::int64_t event = INT64_MAX;
    std::vector<std::size_t> ready;
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      const HindsightRequest& request = requests_[i];
      const bool computed = state.done[i] == request.chunks;
      if (!computed) open = true;
      if (request.arrival > state.now) {
        event = std::min(event, request.arrival);
        continue;
      }
      if (!computed || state.freed[i] > state.now) {
        live += state.done[i] * device_.chunk;
      }
      if (computed && state.freed[i] > state.now) {
        event = std::min(event, state.freed[i]);
      }
      if (!computed) ready.push_back(i);
    }
    if (!open) {
      best_ = state.sum;
      return;
    }
    if (!waited && Dominated(state)) return;
    std::stable_sort(ready.begin(), ready.end(), [&](auto a, auto b) {
      return requests_[a].chunks - state.done[a] <
             requests_[b].chunks - state.done[b];
    });
    if (live + device_.chunk + device_.transient <= device_.room) {
      for (const std::size_t i : ready) {
        State next = state;
        next.now += device_.step;
        if (++next.done[i] == requests_[i].chunks) {
          next.sum += next.now - requests_[i].arrival;
          next.freed[i] = next.now + requests_[i].decoding;
        }
        Visit(next, /*waited=*/false);
      }
    }
    // To wait may be better than to begin what then stands in the way.
    if (event == INT64_MAX) return;
    State next = state;
    next.now = event;
    Visit(next, /*waited=*/true);
  }

  std::vector<HindsightRequest> requests_;
  HindsightDevice device_;
  std::int64_t best_ = INT64_MAX;
  std::int64_t nodes_ = 0;
  std::map<std::array<int, kHindsightMax>, std::vector<State>> seen_;
};

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_HINDSIGHT_H_
