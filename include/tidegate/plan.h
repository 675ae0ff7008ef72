// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Planner: can this prompt run on an idle device, and in which chunks?
//
//   PlanRequest request{.prompt_tokens = 327'000};
//   MemoryLimits limits{.ceiling = 36 * kGiB, .base = 20 * kGiB};
//   absl::StatusOr<Plan> plan = PlanPrompt(estimator, request, limits, {});
//   if (plan->verdict == Verdict::kReject) log(plan->reason);
//
// A plan is a sequence of widths, each of which fits at the length it attends
// to: live + resident + transient <= ceiling - headroom, and no buffer above
// max_allocation. It has as few chunks as possible. It is found by search, so
// it crosses kernel-route boundaries, never cuts a span that must stay whole,
// and never leaves a tail that no longer fits. A prompt is rejected exactly
// when no such sequence exists. docs/planner.md has the algorithm and its
// proof.
//
// Thread-safety: pure functions.

#ifndef TIDEGATE_PLAN_H_
#define TIDEGATE_PLAN_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tidegate/estimator.h"
#include "tidegate/types.h"

namespace tidegate {

// A range of tokens that one chunk may not cut (an image's tokens).
struct Span {
  Tokens start = 0;
  Tokens length = 0;
  friend bool operator==(const Span&, const Span&) = default;
};

// Input that an encoder turns into embeddings before the language model attends
// to them: an image, a clip. It runs in the step of the first chunk that
// reaches its tokens, before the forward pass; encoders of one step run one
// after another. What it leaves is live until the last of its tokens is
// computed, and is lost when the request is preempted. Tokens in the cache need
// no encoder, but an item whose tokens are cached only in part does.
struct EncodeItem {
  Tokens start = 0;  // the tokens that stand for it
  Tokens length = 0;
  // Beyond what is live and beyond its output, while it runs: of a vision
  // transformer without a fused kernel quadratic in the patches (omlx #3661).
  Bytes transient_bytes = 0;
  Bytes output_bytes = 0;  // the embeddings: length x hidden x element size
  Duration took{};         // how long it is expected to run; zero: unknown
  friend bool operator==(const EncodeItem&, const EncodeItem&) = default;
};

struct PlanRequest {
  Tokens prompt_tokens = 0;      // whole prompt, cached part included; >= 1
  Tokens cached_tokens = 0;      // prefix already in the cache: it is attended
                                 // to, but not computed; <= prompt_tokens
  Tokens max_output_tokens = 0;  // priced as KV that decoding will add
  MaskKind mask = MaskKind::kCausal;
  std::vector<Span> uncuttable;     // ascending, disjoint, within the prompt
  std::vector<EncodeItem> encodes;  // ascending, disjoint, within the prompt
  // Of `base`, what the encoder left for the tokens behind cached_tokens: it is
  // gone when they are computed. 0: nothing, and the item runs again.
  Bytes encoded_bytes = 0;
  // Width of the chunk that computed the end of the cached prefix: layers with
  // a window hold that much of it besides the window, and live memory counts
  // it. 1 for a prefix that comes from a cache.
  Tokens cached_chunk = 1;
  // The engine allocated the whole sequence already, and `base` counts it.
  bool allocated = false;
  // Resident growth per token that was measured and that no price knows.
  Bytes extra_bytes_per_token = 0;
};

// What the device allows. Byte counts are exact integers.
struct MemoryLimits {
  Bytes ceiling = 0;   // never to be exceeded
  Bytes base = 0;      // live before this request; its cached tokens included
  Bytes headroom = 0;  // kept back by policy
  // Largest single buffer; nullopt: no such limit.
  std::optional<Bytes> max_allocation;

  // ceiling - headroom - base; negative when live is above the line.
  Bytes Room() const;
};

struct ChunkLimits {
  Tokens max = 2048;    // widest chunk; wins over floor and quantum
  Tokens floor = 256;   // narrowest chunk but the last
  Tokens quantum = 64;  // chunk boundaries are multiples of it, ends excepted
};
// Two cases in which the limits alone would leave no chunk at all: a chunk from
// a start that is no boundary (a cached prefix of odd length) may be as narrow
// as the widest aligned one, and a span that needs more than max between two
// boundaries halves the quantum of its request until it fits.

// InvalidArgument names the field. `warnings` receives settings without effect
// (floor above max).
absl::Status ValidateLimits(const MemoryLimits& memory,
                            const ChunkLimits& chunk,
                            std::vector<std::string>* warnings);

enum class Verdict { kAdmit, kWait, kReject };

enum class RefusalCode {
  kNone,
  kTooLarge,      // never fits on this device, however idle
  kOverloaded,    // would fit on an idle device
  kUnsupported,   // the request contradicts itself or the engine cannot run it
  kShuttingDown,  // the service takes no more requests
};

// "admit", "too_large", …: the spelling of JSON and logs.
std::string_view VerdictName(Verdict verdict);
std::string_view RefusalCodeName(RefusalCode code);

struct PlannedChunk {
  Tokens start = 0;
  Tokens n = 0;
  Tokens kv_len = 0;
  Bytes transient_bytes = 0;
  friend bool operator==(const PlannedChunk&, const PlannedChunk&) = default;
};

// What a limit counts.
enum class Unit { kBytes, kKvBlocks };

// The inequality that decided, every term of it. For an admitted prompt it is
// that of the tightest chunk.
struct Arithmetic {
  Unit unit = Unit::kBytes;  // of every quantity but n and kv_len
  Bytes live = 0;            // base
  Bytes claims = 0;          // promised to other requests
  Bytes resident = 0;   // this request's KV at that chunk, the chunk included
  Bytes transient = 0;  // of the cheapest chunk that could be tried there
  Bytes ceiling = 0;
  Bytes headroom = 0;
  // Set when the second limit decided instead.
  Bytes largest_allocation = 0;
  std::optional<Bytes> max_allocation;
  // The bytes of `transient` that the chunk would not need without encoders.
  Bytes encoder = 0;
  // The bytes of `transient` that no narrower chunk would avoid.
  Bytes fixed_in_n = 0;
  Tokens n = 0;
  Tokens kv_len = 0;
};

// "17.76 GiB live + 0 B claims + … = 30.50 GiB > 29.47 GiB = ceiling …".
std::string Describe(const Arithmetic& arithmetic);

struct Plan {
  Verdict verdict = Verdict::kReject;
  RefusalCode code = RefusalCode::kNone;
  std::string reason;  // one sentence; for a refusal with its arithmetic
  std::vector<PlannedChunk> chunks;  // empty when rejected
  // Highest live + resident + transient along the plan, decoding included.
  Bytes peak_bytes = 0;
  // Longest prompt (same cached tokens, mask and output budget, no spans and no
  // encoder items) that would be admitted; 0 when none would.
  Tokens largest_prompt_that_fits = 0;
  Arithmetic arithmetic;
};

struct PlanOptions {
  // Skip largest_prompt_that_fits, which costs several plans.
  bool want_largest_prompt = true;
  // Be content with any sequence: the verdict is the same, the chunks are the
  // widest that fit each time, where that does not get stuck. What decides at
  // every chunk asks for this.
  bool any_sequence = false;
  // Say why: `reason`, and for a refusal its code and arithmetic. Without, a
  // refusal costs no more than finding that there is no sequence.
  bool explain = true;
  // Always take the exhaustive search, never the fast path for the monotone
  // case. Tests compare both.
  bool force_search = false;
};

// InvalidArgument for a request or limits that contradict themselves; a prompt
// that does not fit is not an error but a Plan with Verdict::kReject.
absl::StatusOr<Plan> PlanPrompt(const Estimator& estimator,
                                const PlanRequest& request,
                                const MemoryLimits& memory,
                                const ChunkLimits& chunk,
                                const PlanOptions& options = {});

}  // namespace tidegate

#endif  // TIDEGATE_PLAN_H_
