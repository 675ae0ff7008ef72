// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Estimator: what will this step cost?
//
//   auto estimator = CreateEstimator({.shape = shape, .engine = engine});
//   Chunk chunk{.n = 2048, .kv_len = 100'000};
//   absl::StatusOr<Price> price = (*estimator)->Explain({.chunks = {&chunk,
//   1}}); price->transient_bytes;   // peak above live, freed when the step
//   ends price->resident_bytes;    // KV that the step adds and keeps
//
// One estimator serves every decision: admission, throttle, planner, simulator
// and explanation call the same object, so they cannot disagree.
//
// Thread-safety: estimators are immutable; every method is const and may be
// called from any thread.

#ifndef TIDEGATE_ESTIMATOR_H_
#define TIDEGATE_ESTIMATOR_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tidegate/engine.h"
#include "tidegate/model_shape.h"
#include "tidegate/types.h"

namespace tidegate {

// The mask of an attention call.
enum class MaskKind {
  kNone,        // every key visible
  kCausal,      // the engine's own causal mode, lower-right aligned
  kBool,        // a materialised bool array
  kFloat,       // a materialised array in the compute dtype
  kArray,       // a materialised array of unknown dtype: assumed to promote
                // unfused scores to fp32
  kLowerRight,  // a bias object that fused kernels read as lower-right causal
                // without an array (torch's causal_lower_right); other kernels
                // materialise it
};

// Query tokens of one sequence in one step.
struct Chunk {
  Tokens n = 0;       // query tokens, >= 1
  Tokens kv_len = 0;  // everything attended to, the chunk included; >= n
  MaskKind mask = MaskKind::kCausal;
};

// One forward pass.
struct StepQuery {
  std::span<const Chunk> chunks;  // prefill; one per sequence
  // Decode tokens of other sequences in the same pass.
  Tokens decode_tokens = 0;
  Tokens decode_kv_len = 0;  // longest attended length among them
  // Rows of logits computed: one per sequence unless prompt log-probabilities
  // are asked for, when it is every token. 0: one per chunk and decode token.
  Tokens logits_rows = 0;
};

// InvalidArgument when a count is not positive, kv_len < n or a length is above
// kTokensMax.
absl::Status ValidateStep(const StepQuery& step);

// The numbers that decisions use.
struct PriceTotals {
  // Peak minus live before the step, minus the step's own resident growth.
  Bytes transient_bytes = 0;
  // Growth that stays: KV, snapshots, recurrent state. 0 where the engine
  // preallocates its cache.
  Bytes resident_bytes = 0;
  // The largest single buffer the step asks for.
  Bytes largest_allocation_bytes = 0;
  // The part of transient_bytes that no narrower chunk of two or more tokens
  // avoids at this kv_len while every layer keeps its route (docs/prices.md).
  Bytes fixed_in_n_bytes = 0;

  // What must be free when the step starts; saturates.
  Bytes Need() const { return SatAdd(transient_bytes, resident_bytes); }
  friend bool operator==(const PriceTotals&, const PriceTotals&) = default;
};

struct Term {
  std::string name;
  Bytes bytes = 0;
};

// A moment of the step. Engines free between parts, so a step's transient is
// the maximum over them.
struct Part {
  std::string name;
  Bytes bytes = 0;  // sum of the terms
  std::vector<Term> terms;
};

// PriceTotals with its arithmetic.
struct Price : PriceTotals {
  std::string route;     // kernel that the catalogue found, "mlx.unfused"
  bool assumed = false;  // no proven bound: unknown engine or newer version
  std::vector<Part> parts;
  std::string binding_part;  // name of the part whose bytes are the transient
};

// Which variable moves along an axis, and which stays.
enum class Axis {
  kN,      // n moves, kv_len = fixed
  kKvLen,  // kv_len moves, n = fixed
  kChunk,  // n moves, kv_len = fixed + n: a chunk that starts at `fixed`
};

// When transients are paid.
enum class TransientTiming {
  kPerStep,  // MLX, torch: allocated and freed by each step
  kAtLoad,   // llama.cpp: reserved for the widest step when the model loads
};

class Estimator {
 public:
  virtual ~Estimator() = default;

  // Name as policy files write it ("catalog"). It must change when the same
  // query may give another price.
  virtual std::string_view Name() const = 0;

  // The price. `step` must be valid (ValidateStep); about 50 ns for one chunk.
  virtual PriceTotals Total(const StepQuery& step) const = 0;

  // The same numbers with every part and term.
  virtual absl::StatusOr<Price> Explain(const StepQuery& step) const = 0;

  // Which kernel the step takes, as Price::route: what a correction by
  // measurement is kept for. About a microsecond.
  virtual std::string RouteName(const StepQuery& step) const = 0;

  // Appends to `out`, ascending, every value v in (lo, hi] such that the
  // transient or the largest allocation at v may be below that at v - 1.
  // Between consecutive breakpoints both never fall as the variable grows.
  virtual void Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi,
                           MaskKind mask, std::vector<Tokens>* out) const = 0;

  // What the step's transient may turn out to be as far as is known: the price,
  // and more where it is to be corrected by measurements that do not exist yet.
  // Chunks are kept so narrow that this fits, down to chunk.floor; nobody is
  // refused for it.
  virtual Bytes MayNeed(const StepQuery& step) const {
    return Total(step).transient_bytes;
  }

  // Whether prices come without a proven bound: the engine is unknown or newer
  // than the catalogue.
  virtual bool Assumed() const = 0;

  virtual TransientTiming Timing() const = 0;

  // True where the engine allocates a sequence's whole KV at its start: steps
  // then have no resident growth and SequenceBytes is paid on admission.
  virtual bool KvPreallocated() const = 0;

  // Resident bytes of a sequence of `tokens` tokens whose last chunk had
  // `chunk` tokens.
  virtual Bytes SequenceBytes(Tokens tokens, Tokens chunk) const = 0;
};

// Expressions over n, kv_len and the model's widths (docs/policy-file.md), in
// bytes. Empty ones are left out.
struct FormulaOptions {
  std::string transient;           // required
  std::string largest_allocation;  // without it, the transient
  std::string fixed;  // what no narrower chunk avoids; without it, 0
  std::string resident_per_token;  // without it, as the shape says
  // Values of n and kv_len at which an expression may fall.
  std::vector<Tokens> breakpoints_n;
  std::vector<Tokens> breakpoints_kv;
  std::string file;  // that states them, for messages; may be empty
  friend bool operator==(const FormulaOptions&,
                         const FormulaOptions&) = default;
};

struct EstimatorOptions {
  ModelShape shape;
  EngineSpec engine;
  // fused | tiled | unfused | catalog | table | formula | calibrated.
  // "calibrated" is catalog corrected by `profile`; without one it is catalog
  // here, and what it is corrected by, the scheduler measures.
  std::string use = "catalog";
  // tiled: query and key tile. A key tile of 0 spans the whole kv length.
  Tokens tile_q = 512;
  Tokens tile_k = 0;
  // unfused formula and unknown engines: bytes per score; 0 = compute dtype,
  // and 4 where a mask of unknown dtype promotes.
  std::int64_t score_bytes = 0;
  // Text of a catalogue that replaces the built-in one, and the name of its
  // file for messages.
  std::string catalogue;
  std::string catalogue_file;
  // table: text of a CSV file of measured rows, and its name for messages.
  std::string table;
  std::string table_file;
  FormulaOptions formula;
  // calibrated: text of a profile that `tidegate calibrate` wrote, and its
  // name.
  std::string profile;
  std::string profile_file;
};

struct CreatedEstimator {
  std::unique_ptr<Estimator> estimator;
  std::vector<std::string> warnings;  // unknown engine, newer version, …
};

// Builds an estimator for one model on one engine. InvalidArgument names the
// field that is wrong; an engine that the catalogue does not know is a warning.
absl::StatusOr<CreatedEstimator> CreateEstimator(
    const EstimatorOptions& options);

}  // namespace tidegate

#endif  // TIDEGATE_ESTIMATOR_H_
