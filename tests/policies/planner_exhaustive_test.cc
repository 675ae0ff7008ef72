// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The planner against an exhaustive search over all sequences of widths, on
// thousands of small random worlds: other kernels below a width or beyond a
// length, windows, spans, both limits. The search here is written from the
// definition in plan.h and shares no code with the planner.

#include <algorithm>
#include <optional>
#include <random>
#include <vector>

#include "tests/testing/fake_estimator.h"
#include "tests/testing/matchers.h"
#include "tidegate/plan.h"

namespace tidegate {
namespace {

using ::tidegate::testing::FakeEstimator;

constexpr int kUnreachable = 1 << 20;

struct World {
  FakeEstimator estimator;
  PlanRequest request;
  MemoryLimits memory;
  ChunkLimits chunk;
};

World RandomWorld(std::mt19937_64& random) {
  const auto upto = [&](std::int64_t max) {
    return static_cast<std::int64_t>(random() %
                                     static_cast<std::uint64_t>(max + 1));
  };
  World world;
  const Tokens prompt = 1 + upto(47);
  world.estimator = FakeEstimator::Random(random, prompt);
  world.request.prompt_tokens = prompt;
  if (upto(2) == 0) world.request.cached_tokens = upto(prompt);
  if (upto(2) == 0) world.request.max_output_tokens = upto(10);
  if (upto(3) == 0) {
    const Tokens start = upto(prompt - 1);
    world.request.uncuttable.push_back(
        {start, 1 + upto(std::min<Tokens>(prompt - start - 1, 11))});
  }
  if (upto(4) == 0) world.request.extra_bytes_per_token = upto(3);
  world.chunk.max = 1 + upto(23);
  world.chunk.floor = 1 + upto(11);
  world.chunk.quantum = Tokens{1} << upto(3);
  world.memory.base = upto(20);
  world.memory.headroom = upto(5);
  world.memory.ceiling = 26 + upto(300);
  if (upto(3) == 0) world.memory.max_allocation = 1 + upto(120);
  return world;
}

// The definition, token by token.
class Exhaustive {
 public:
  explicit Exhaustive(const World& world) : w_(world) {
    max_ = w_.chunk.max;
    floor_ = std::min(w_.chunk.floor, max_);
    quantum_ = std::min(w_.chunk.quantum, max_);
    first_ = std::min(w_.request.cached_tokens, Prompt() - 1);
    for (const Span& span : w_.request.uncuttable) {
      while (span.length <= max_ && quantum_ > 1 && Hull(span) > max_) {
        quantum_ /= 2;
      }
    }
  }

  // Fewest chunks, or nothing.
  std::optional<int> FewestChunks() const {
    if (!OutputFits()) return std::nullopt;
    std::vector<int> fewest(static_cast<std::size_t>(Prompt()) + 1,
                            kUnreachable);
    fewest[Prompt()] = 0;
    for (Tokens start = Prompt() - 1; start >= first_; --start) {
      for (Tokens end = start + 1; end <= Prompt(); ++end) {
        if (Allowed(start, end) && Fits(start, end)) {
          fewest[start] = std::min(fewest[start], fewest[end] + 1);
        }
      }
    }
    if (fewest[first_] >= kUnreachable) return std::nullopt;
    return fewest[first_];
  }

  bool Allowed(Tokens start, Tokens end) const {
    if (end - start > max_) return false;
    if (start != first_ && !Boundary(start)) return false;
    if (end == Prompt()) return true;
    if (!Boundary(end)) return false;
    Tokens widest = start + max_;
    while (widest > start && !Boundary(widest)) --widest;
    const Tokens floor =
        widest > start ? std::min(floor_, widest - start) : floor_;
    return end - start >= floor;
  }

  Bytes Peak(Tokens start, Tokens end) const {
    const Chunk chunk{.n = end - start, .kv_len = end};
    const PriceTotals price = w_.estimator.Total({.chunks = {&chunk, 1}});
    Bytes before = Held(start, chunk.n);
    if (start > first_) {
      before = std::max(before, Held(start, std::min(max_, start - first_)));
    }
    return w_.memory.base + before + price.resident_bytes +
           w_.request.extra_bytes_per_token * chunk.n + price.transient_bytes;
  }

  bool Fits(Tokens start, Tokens end) const {
    const Chunk chunk{.n = end - start, .kv_len = end};
    const PriceTotals price = w_.estimator.Total({.chunks = {&chunk, 1}});
    if (w_.memory.max_allocation.has_value() &&
        price.largest_allocation_bytes > *w_.memory.max_allocation) {
      return false;
    }
    return Peak(start, end) <= w_.memory.ceiling - w_.memory.headroom;
  }

 private:
  Tokens Prompt() const { return w_.request.prompt_tokens; }
  Tokens Hull(const Span& span) const {
    const Tokens from = span.start / quantum_ * quantum_;
    const Tokens end = span.start + span.length;
    const Tokens to =
        std::min(Prompt(), (end + quantum_ - 1) / quantum_ * quantum_);
    return to - from;
  }
  bool Boundary(Tokens at) const {
    if (at % quantum_ != 0) return false;
    return std::none_of(w_.request.uncuttable.begin(),
                        w_.request.uncuttable.end(), [at](const Span& span) {
                          return at > span.start &&
                                 at < span.start + span.length;
                        });
  }
  Bytes Held(Tokens tokens, Tokens width) const {
    const Bytes already = w_.estimator.SequenceBytes(first_, 1);
    const Bytes sequence =
        w_.estimator.preallocated
            ? w_.estimator.SequenceBytes(
                  Prompt() + w_.request.max_output_tokens, max_)
            : w_.estimator.SequenceBytes(tokens, width);
    // Measured growth is what no price knows, however the cache is allocated.
    return std::max<Bytes>(0, sequence - already) +
           w_.request.extra_bytes_per_token * (tokens - first_);
  }
  bool OutputFits() const {
    const Tokens total = Prompt() + w_.request.max_output_tokens;
    for (Tokens kv_len = Prompt() + 1; kv_len <= total; ++kv_len) {
      const Bytes transient =
          w_.estimator.Total({.decode_tokens = 1, .decode_kv_len = kv_len})
              .transient_bytes;
      if (w_.memory.base + Held(kv_len, 1) + transient >
          w_.memory.ceiling - w_.memory.headroom) {
        return false;
      }
    }
    return true;
  }

  const World& w_;
  Tokens max_ = 0;
  Tokens floor_ = 0;
  Tokens quantum_ = 0;
  Tokens first_ = 0;
};

std::string Show(const World& world, std::uint64_t seed) {
  std::string text = "seed " + std::to_string(seed) + " prompt " +
                     std::to_string(world.request.prompt_tokens) + " cached " +
                     std::to_string(world.request.cached_tokens) + " output " +
                     std::to_string(world.request.max_output_tokens) + " max " +
                     std::to_string(world.chunk.max) + " floor " +
                     std::to_string(world.chunk.floor) + " quantum " +
                     std::to_string(world.chunk.quantum);
  for (const Span& span : world.request.uncuttable) {
    text += " span " + std::to_string(span.start) + "+" +
            std::to_string(span.length);
  }
  return text;
}

class ExhaustivePlannerTest : public ::testing::TestWithParam<bool> {};

TEST_P(ExhaustivePlannerTest, FindsASequenceWheneverOneExistsAndAShortestOne) {
  int admitted = 0;
  for (std::uint64_t seed = 1; seed <= 20000; ++seed) {
    std::mt19937_64 random(seed);
    const World world = RandomWorld(random);
    const Exhaustive exhaustive(world);
    ASSERT_OK_AND_ASSIGN(
        const Plan plan,
        PlanPrompt(world.estimator, world.request, world.memory, world.chunk,
                   {.want_largest_prompt = false, .force_search = GetParam()}));
    const std::optional<int> fewest = exhaustive.FewestChunks();
    ASSERT_OK_AND_ASSIGN(
        const Plan any,
        PlanPrompt(world.estimator, world.request, world.memory, world.chunk,
                   {.want_largest_prompt = false, .any_sequence = true}));
    ASSERT_EQ(any.verdict, plan.verdict) << Show(world, seed);
    ASSERT_EQ(plan.verdict == Verdict::kAdmit, fewest.has_value())
        << Show(world, seed) << ": " << plan.reason;
    if (!fewest.has_value()) continue;
    ++admitted;
    ASSERT_EQ(static_cast<int>(plan.chunks.size()), *fewest)
        << Show(world, seed);
    Tokens at = plan.chunks.front().start;
    for (const PlannedChunk& chunk : plan.chunks) {
      ASSERT_EQ(chunk.start, at) << Show(world, seed);
      ASSERT_EQ(chunk.kv_len, chunk.start + chunk.n) << Show(world, seed);
      ASSERT_TRUE(exhaustive.Allowed(chunk.start, chunk.kv_len))
          << Show(world, seed);
      ASSERT_TRUE(exhaustive.Fits(chunk.start, chunk.kv_len))
          << Show(world, seed);
      ASSERT_LE(exhaustive.Peak(chunk.start, chunk.kv_len), plan.peak_bytes);
      at = chunk.kv_len;
    }
    ASSERT_EQ(at, world.request.prompt_tokens) << Show(world, seed);
    ASSERT_LE(plan.peak_bytes, world.memory.ceiling - world.memory.headroom);
  }
  // The worlds are drawn so that both answers are common.
  EXPECT_GT(admitted, 4000);
  EXPECT_LT(admitted, 16000);
}

TEST_P(ExhaustivePlannerTest, LargestPromptFitsAndTheNextOnesDoNot) {
  for (std::uint64_t seed = 1; seed <= 3000; ++seed) {
    std::mt19937_64 random(seed);
    World world = RandomWorld(random);
    world.request.uncuttable.clear();
    world.request.cached_tokens =
        std::min(world.request.cached_tokens, world.request.prompt_tokens - 1);
    // So that the longest prompt is one that can be enumerated.
    world.estimator.kv_per_token =
        std::max<Bytes>(world.estimator.kv_per_token, 3);
    ASSERT_OK_AND_ASSIGN(
        const Plan plan,
        PlanPrompt(world.estimator, world.request, world.memory, world.chunk,
                   {.force_search = GetParam()}));
    if (world.estimator.preallocated) {
      if (plan.largest_prompt_that_fits == 0) continue;
      World edge = world;
      edge.request.prompt_tokens = plan.largest_prompt_that_fits;
      ASSERT_TRUE(Exhaustive(edge).FewestChunks()) << Show(world, seed);
      if (plan.largest_prompt_that_fits == world.request.prompt_tokens)
        continue;
      ++edge.request.prompt_tokens;
      ASSERT_FALSE(Exhaustive(edge).FewestChunks()) << Show(world, seed);
      continue;
    }
    Tokens largest = 0;
    for (Tokens prompt = world.request.cached_tokens + 1; prompt <= 140;
         ++prompt) {
      World longer = world;
      longer.request.prompt_tokens = prompt;
      if (Exhaustive(longer).FewestChunks().has_value()) largest = prompt;
    }
    ASSERT_EQ(plan.largest_prompt_that_fits, largest) << Show(world, seed);
  }
}

INSTANTIATE_TEST_SUITE_P(FastPathAndSearch, ExhaustivePlannerTest,
                         ::testing::Bool(), [](const auto& info) {
                           return info.param ? "Search" : "FastPath";
                         });

}  // namespace
}  // namespace tidegate
