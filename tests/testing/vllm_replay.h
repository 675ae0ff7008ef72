// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// vLLM's own scheduling rule over simulated step times: a yardstick for the
// step times, since runs of the real engine were recorded.
//
// The rule of vllm/v1/core/sched/scheduler.py (0.19.0): a step has a budget of
// tokens; running requests first, in order, one token each or the rest of the
// prompt; when a block is missing, the last running request is preempted and
// nothing is admitted in that step; then waiting ones, first come first
// served, while budget, places and blocks for the whole prompt last. Blocks
// keep what they hold until they are taken again, so that a preempted request
// finds some of its own.
//
// Left out: what prompts have in common (the recording has no tokens), and the
// step that asynchronous scheduling runs ahead.

#ifndef TIDEGATE_TESTS_TESTING_VLLM_REPLAY_H_
#define TIDEGATE_TESTS_TESTING_VLLM_REPLAY_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "tidegate/status.h"
#include "tidegate/step_time.h"

namespace tidegate::testing {

struct ReplayedRequest {
  // Given.
  double arrival_s = 0;
  Tokens prompt = 0;
  Tokens output = 0;
  // What comes out.
  double first_s = 0;
  double last_s = 0;

  // While it runs.
  Tokens done = 0;       // tokens in the cache
  Tokens generated = 0;  // of them not yet: the last one
  std::vector<std::int64_t> blocks;
  Tokens known() const { return prompt + generated; }
};

struct VllmOptions {
  Tokens budget = 2048;
  std::size_t max_running = 256;
  Tokens block = 16;
  std::int64_t blocks = 0;
};

// The pool of blocks. Taken oldest first; a free block keeps its content, which
// its request may find again.
class BlockPool {
 public:
  explicit BlockPool(std::int64_t blocks) : owner_(blocks, {-1, -1}) {
    for (std::int64_t block = 0; block < blocks; ++block) Free(block);
  }
  std::int64_t free() const { return static_cast<std::int64_t>(order_.size()); }
  bool IsFree(std::int64_t block) const { return places_.contains(block); }
  std::int64_t Take() {
    const std::int64_t block = order_.begin()->second;
    owner_[block] = {-1, -1};
    TakeBack(block);
    return block;
  }
  void TakeBack(std::int64_t block) {
    const auto place = places_.find(block);
    TG_CHECK(place != places_.end());
    order_.erase(place->second);
    places_.erase(place);
  }
  void Free(std::int64_t block) {
    places_[block] = next_;
    order_[next_++] = block;
  }
  void Remember(std::int64_t block, std::int64_t request, std::int64_t index) {
    owner_[block] = {request, index};
    found_[{request, index}] = block;
  }
  // The free block that holds a request's index-th block, or -1.
  std::int64_t Find(std::int64_t request, std::int64_t index) const {
    const auto found = found_.find({request, index});
    if (found == found_.end()) return -1;
    const std::int64_t block = found->second;
    return owner_[block] == std::pair(request, index) ? block : -1;
  }

 private:
  std::vector<std::pair<std::int64_t, std::int64_t>> owner_;
  std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> found_;
  std::map<std::int64_t, std::int64_t> places_;  // free block -> place
  std::map<std::int64_t, std::int64_t> order_;   // place -> free block
  std::int64_t next_ = 0;
};

class VllmReplay {
 public:
  VllmReplay(std::vector<ReplayedRequest> requests, const VllmOptions& options,
             const StepTimer& timer)
      : requests_(std::move(requests)),
        options_(options),
        timer_(timer),
        pool_(options.blocks) {}

  // Runs to the end of the last request.
  const std::vector<ReplayedRequest>& Run() {
    while (next_ < requests_.size() || !waiting_.empty() || !running_.empty()) {
      if (waiting_.empty() && running_.empty()) {
        now_ = std::max(now_, requests_[next_].arrival_s);
      }
      while (next_ < requests_.size() && requests_[next_].arrival_s <= now_) {
        waiting_.push_back(next_++);
      }
      Step();
    }
    return requests_;
  }

  std::int64_t steps() const { return steps_; }
  std::int64_t preemptions() const { return preemptions_; }
  std::int64_t extrapolated() const { return extrapolated_; }

 private:
  struct Part {
    std::size_t request = 0;
    Tokens n = 0;
  };

  bool Allocate(ReplayedRequest& request, Tokens tokens) {
    const std::int64_t missing =
        CeilDiv(tokens, options_.block) -
        static_cast<std::int64_t>(request.blocks.size());
    if (missing > pool_.free()) return false;
    for (std::int64_t i = 0; i < missing; ++i) {
      request.blocks.push_back(pool_.Take());
    }
    return true;
  }

  // Its full blocks may be found again until they are taken.
  void GiveUp(std::size_t index) {
    ReplayedRequest& request = requests_[index];
    const auto held = static_cast<std::int64_t>(request.blocks.size());
    const std::int64_t full = std::min(request.done / options_.block, held);
    for (std::int64_t i = 0; i < full; ++i) {
      pool_.Remember(request.blocks[i], static_cast<std::int64_t>(index), i);
    }
    for (std::int64_t i = held - 1; i >= 0; --i) pool_.Free(request.blocks[i]);
    request.blocks.clear();
  }

  void Preempt(std::vector<Part>* parts, Tokens* left) {
    const std::size_t victim = running_.back();
    running_.pop_back();
    ++preemptions_;
    std::erase_if(*parts, [&](const Part& part) {
      if (part.request != victim) return false;
      *left += part.n;
      return true;
    });
    GiveUp(victim);
    requests_[victim].done = 0;
    waiting_.push_front(victim);
  }

  std::vector<Part> Schedule() {
    std::vector<Part> parts;
    Tokens left = options_.budget;
    bool preempted = false;
    for (std::size_t i = 0; i < running_.size() && left > 0; ++i) {
      const std::size_t index = running_[i];
      ReplayedRequest& request = requests_[index];
      const Tokens n = std::min(request.known() - request.done, left);
      while (i < running_.size() && !Allocate(request, request.done + n)) {
        Preempt(&parts, &left);
        preempted = true;
      }
      if (i >= running_.size()) break;  // it was itself the last
      parts.push_back({index, n});
      left -= n;
    }
    while (!preempted && !waiting_.empty() && left > 0 &&
           running_.size() < options_.max_running) {
      const std::size_t index = waiting_.front();
      ReplayedRequest& request = requests_[index];
      std::vector<std::int64_t> hit;
      // The last token is always computed.
      while (static_cast<Tokens>(hit.size() + 1) * options_.block <
             request.known()) {
        const std::int64_t block =
            pool_.Find(static_cast<std::int64_t>(index),
                       static_cast<std::int64_t>(hit.size()));
        if (block < 0) break;
        hit.push_back(block);
      }
      const auto found = static_cast<Tokens>(hit.size());
      if (CeilDiv(request.known(), options_.block) > pool_.free()) break;
      for (const std::int64_t block : hit) pool_.TakeBack(block);
      request.blocks = std::move(hit);
      request.done = found * options_.block;
      const Tokens n = std::min(request.known() - request.done, left);
      TG_CHECK(Allocate(request, request.done + n));
      waiting_.pop_front();
      running_.push_back(index);
      parts.push_back({index, n});
      left -= n;
    }
    return parts;
  }

  void Step() {
    const std::vector<Part> parts = Schedule();
    TG_CHECK(!parts.empty());
    std::vector<Chunk> chunks;
    std::vector<Tokens> decodes;
    for (const Part& part : parts) {
      const ReplayedRequest& request = requests_[part.request];
      if (part.n == 1 && request.generated > 0) {
        decodes.push_back(request.done + 1);
      } else {
        chunks.push_back({.n = part.n, .kv_len = request.done + part.n});
      }
    }
    const StepTime time =
        timer_.Of({.chunks = chunks, .decode_kv_lens = decodes});
    now_ += static_cast<double>(time.took.count()) * 1e-9;
    ++steps_;
    if (time.extrapolated) ++extrapolated_;
    for (const Part& part : parts) {
      ReplayedRequest& request = requests_[part.request];
      request.done += part.n;
      if (request.done < request.known()) continue;
      if (++request.generated == 1) request.first_s = now_;
      if (request.generated < request.output) continue;
      request.last_s = now_;
      GiveUp(part.request);
      std::erase(running_, part.request);
    }
  }

  std::vector<ReplayedRequest> requests_;
  VllmOptions options_;
  const StepTimer& timer_;
  BlockPool pool_;
  double now_ = 0;
  std::size_t next_ = 0;
  std::deque<std::size_t> waiting_;
  std::vector<std::size_t> running_;
  std::int64_t steps_ = 0;
  std::int64_t preemptions_ = 0;
  std::int64_t extrapolated_ = 0;
};

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_VLLM_REPLAY_H_
