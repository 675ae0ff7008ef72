// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Catalogue: which attention kernel runs, as data.
//
// A rule says: this engine, in these versions, on these devices, with these
// options, takes this kernel for calls of this form. Rules are tried in order
// and the first that matches decides. The facts alone decide, never the memory
// that happens to be free.
//
//   const Catalogue& catalogue = Catalogue::Builtin();
//   auto engine = catalogue.Resolve({"mlx", "0.31.2", "metal", {}});
//   auto table = catalogue.Bind(*engine, facts, ComputeType::kBf16, {});
//   table->Find(512, 32768, MaskKind::kCausal).kernel;   // "mlx.full"
//
// Resolve() settles engine, version, device and options once; Bind() settles
// one kind of attention layer; Find() answers for n, kv_len and mask in a few
// nanoseconds.
//
// What the catalogue does not know is flagged `assumed`, with one warning: a
// newer version takes the last known routes, an older one the oldest, and an
// unknown engine or device is priced as if the scores were written out.
//
// The format is described in docs/catalogue.md.
//
// Thread-safety: immutable after parsing; every method is const.

#ifndef TIDEGATE_CATALOGUE_H_
#define TIDEGATE_CATALOGUE_H_

#include <array>
#include <compare>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tidegate/engine.h"
#include "tidegate/estimator.h"
#include "tidegate/model_shape.h"
#include "tidegate/types.h"

namespace tidegate {

// The numbers of a version: "0.31.2" is {0, 31, 2, 0}, so that 0.30.10 comes
// after 0.30.9. A leading letter ("v0.24", llama.cpp's "b5200") and everything
// after the numbers ("rc1", ".post1", "+cu130") are left out: a candidate of a
// release has that release's kernels.
struct EngineVersion {
  std::array<std::int64_t, 4> parts{};

  // Empty when the text holds no number where one is expected ("main").
  static std::optional<EngineVersion> Parse(std::string_view text);

  friend auto operator<=>(const EngineVersion&, const EngineVersion&) = default;
};

// One option of an engine.
struct CatalogueOption {
  enum class Type { kWord, kInteger, kNumber };
  std::string name;
  Type type = Type::kWord;
  std::vector<std::string> values;  // kWord: what it may be
  double min = 0;                   // kInteger, kNumber: inclusive range
  double max = 0;
  std::string default_value;
  std::string doc;
};

// One rule. A condition left at its default always holds.
struct CatalogueRule {
  std::string kernel;  // empty: the call does not run, and `reason` says why
  std::string reason;
  std::string source;  // the file and version that the rule was read from

  // Known before any call.
  std::vector<std::string> devices;     // empty: every device of the engine
  std::optional<EngineVersion> since;   // inclusive
  std::optional<EngineVersion> before;  // exclusive
  std::map<std::string, std::vector<std::string>, std::less<>> options;

  // Of the layer.
  // (D, Dv) that match: head_dims give D = Dv. Both empty: every pair.
  std::vector<std::pair<std::int64_t, std::int64_t>> head_dims;
  std::int64_t head_dim_max = std::numeric_limits<std::int64_t>::max();
  std::int64_t head_dim_multiple_of = 1;
  bool equal_head_dims = false;
  std::vector<ComputeType> compute;  // empty: all
  std::optional<bool> grouped;       // true: q_heads > kv_heads; false: equal

  // Of the call.
  Tokens n_min = 1;
  Tokens n_max = std::numeric_limits<Tokens>::max();
  Tokens n_times_group_max = std::numeric_limits<Tokens>::max();
  Tokens kv_len_min = 1;
  Tokens kv_len_max = std::numeric_limits<Tokens>::max();
  bool n_at_most_kv_len = false;
  bool n_equals_kv_len = false;
  std::vector<MaskKind> masks;  // empty: all
};

// One engine: what its file says.
struct CatalogueEngine {
  std::string file;
  std::string name;
  std::vector<std::string> aliases;
  std::string law;  // family of formulas: mlx, torch, llama.cpp or generic
  std::string oldest;
  std::string newest;
  // Versions without a number that count as `newest`.
  std::vector<std::string> named_versions;
  std::vector<std::string> devices;  // patterns: a final * matches any tail
  std::vector<CatalogueOption> options;
  std::vector<CatalogueRule> rules;

  const CatalogueOption* FindOption(std::string_view name) const;
};

// An EngineSpec with everything settled that does not depend on the model.
struct ResolvedEngine {
  EngineSpec spec;        // name is the catalogue's, options hold defaults too
  std::string law;        // "generic" when engine or device is unknown
  EngineVersion version;  // inside [oldest, newest]
  bool assumed = false;
  std::vector<std::string> warnings;        // at most one about being assumed
  const CatalogueEngine* engine = nullptr;  // null: unknown

  // Value of an option; empty when the engine has none of that name.
  std::string_view Option(std::string_view name) const;
  // As an integer; `otherwise` when the engine has none of that name.
  std::int64_t IntegerOption(std::string_view name,
                             std::int64_t otherwise) const;
};

// The facts of one kind of attention layer that routes depend on.
struct AttentionFacts {
  std::int64_t q_heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t head_dim_v = 0;
};

// What the catalogue answers for one call.
struct Route {
  std::string kernel;  // "mlx.full"; "unsupported" when it does not run
  // Position of `kernel` in the list given to Bind(), -1 when unsupported or
  // not in it: what a law switches on.
  int id = -1;
  bool supported = true;
  bool assumed = false;
  std::string reason;  // why a call does not run
  std::string source;

  friend bool operator==(const Route&, const Route&) = default;
};

// The routes of one kind of layer on one engine, open in n, kv_len and mask.
class RouteTable {
 public:
  // A table with one route for every call.
  explicit RouteTable(Route route);

  const Route& Find(Tokens n, Tokens kv_len, MaskKind mask) const {
    const Piece* piece = &pieces_[first_piece_[static_cast<int>(mask)]];
    while (n > piece->n_last) ++piece;
    const Candidate* candidate = &candidates_[piece->candidate];
    while (!candidate->Takes(n, kv_len)) ++candidate;
    return routes_[candidate->route];
  }

  // Appends to `out`, ascending, the values v in (lo, hi] at which the call's
  // route differs from that at v - 1. With a window, calls attend to
  // min(kv_len, window - 1 + n) keys; 0 means no window.
  void Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi, MaskKind mask,
                   Tokens window, std::vector<Tokens>* out) const;

  // Every route that some call can take.
  std::span<const Route> routes() const { return routes_; }

 private:
  friend class Catalogue;
  RouteTable() = default;

  struct Candidate {
    Tokens kv_len_min = 1;
    Tokens kv_len_max = 0;
    bool n_at_most_kv_len = false;
    bool n_equals_kv_len = false;
    int route = 0;

    bool Takes(Tokens n, Tokens kv_len) const {
      return kv_len >= kv_len_min && kv_len <= kv_len_max &&
             (!n_at_most_kv_len || n <= kv_len) &&
             (!n_equals_kv_len || n == kv_len);
    }
    bool TakesAll() const {
      return kv_len_min <= 1 &&
             kv_len_max == std::numeric_limits<Tokens>::max() &&
             !n_at_most_kv_len && !n_equals_kv_len;
    }
    friend bool operator==(const Candidate&, const Candidate&) = default;
  };
  // Calls of up to n_last query tokens: candidates from `candidate` on, the
  // last of which takes everything.
  struct Piece {
    Tokens n_last = 0;
    int candidate = 0;
  };

  std::vector<Route> routes_;
  std::vector<Candidate> candidates_;
  std::vector<Piece> pieces_;         // per mask, ascending in n_last
  std::array<int, 6> first_piece_{};  // one per MaskKind
};

// A catalogue file: its name for messages, and its text.
struct CatalogueText {
  std::string_view file;
  std::string_view text;
};

class Catalogue {
 public:
  // What the library was built with.
  static const Catalogue& Builtin();

  // InvalidArgument with file, line, column and key.
  static absl::StatusOr<Catalogue> Parse(std::span<const CatalogueText> texts);

  // This catalogue with the engine of `text` added; it replaces the engine of
  // the same name.
  absl::StatusOr<Catalogue> With(std::string_view text,
                                 std::string_view file) const;

  // The built-in catalogue with the engine of `text` added; alone when `text`
  // is empty.
  static absl::StatusOr<Catalogue> BuiltinWith(std::string_view text,
                                               std::string_view file);

  // Looks the engine up and checks its options. InvalidArgument for an option
  // or a value that the engine does not have. An unknown engine, device or
  // version is no error: it is assumed, with a warning. The result points into
  // this catalogue.
  absl::StatusOr<ResolvedEngine> Resolve(const EngineSpec& spec) const;

  // The routes of one kind of layer. `kernels` lists the kernels that the
  // caller has a formula for, in the order of its own enumeration;
  // InvalidArgument when a rule that may apply names another one. An empty list
  // accepts all. An unknown engine has the one route "unfused".
  absl::StatusOr<RouteTable> Bind(
      const ResolvedEngine& engine, const AttentionFacts& facts,
      ComputeType compute, std::span<const std::string_view> kernels) const;

  // For listings, in the order of the files.
  std::span<const CatalogueEngine> engines() const { return engines_; }

 private:
  std::vector<CatalogueEngine> engines_;
};

// "none", "causal", "bool", "float", "array", "lower_right".
std::string_view MaskName(MaskKind mask);
std::optional<MaskKind> ParseMask(std::string_view text);

// The conditions of a rule in words, for listings: "n >= 9, D in {64, 80}".
std::string DescribeRule(const CatalogueRule& rule);

}  // namespace tidegate

#endif  // TIDEGATE_CATALOGUE_H_
