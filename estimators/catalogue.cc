// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Binding: the rules of an engine are filtered by everything that is known
// before a call (version, device, options, the layer's dimensions, the compute
// type). What is left depends on n, kv_len and the mask. For each mask, n is
// cut where a left-over rule begins or ends, and each piece keeps, in order,
// the rules that may still apply there, up to the first that always does.

#include "tidegate/catalogue.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>

#include "estimators/catalogue_parse.h"
#include "estimators/embedded_text.h"
#include "estimators/text.h"
#include "tidegate/status.h"

namespace tidegate {

using internal::CheckOptionValue;
using internal::Concat;
using internal::DeviceMatches;
using internal::DidYouMean;
using internal::InvalidArgument;
using internal::Suggest;

namespace {

constexpr Tokens kNoEnd = std::numeric_limits<Tokens>::max();
constexpr int kMasks = 6;

// Whether the rule may apply to calls of this layer on this engine.
bool AppliesTo(const CatalogueRule& rule, const ResolvedEngine& engine,
               const AttentionFacts& facts, ComputeType compute) {
  const auto contains = [](const auto& list, const auto& value) {
    return list.empty() ||
           std::find(list.begin(), list.end(), value) != list.end();
  };
  bool device = rule.devices.empty();
  for (const std::string& pattern : rule.devices) {
    device = device || DeviceMatches(pattern, engine.spec.device);
  }
  if (!device) return false;
  if (rule.since && engine.version < *rule.since) return false;
  if (rule.before && engine.version >= *rule.before) return false;
  for (const auto& [name, values] : rule.options) {
    if (!contains(values, std::string(engine.Option(name)))) return false;
  }
  const std::int64_t d = facts.head_dim;
  const std::int64_t dv = facts.head_dim_v;
  return contains(rule.head_dims, std::pair(d, dv)) &&
         std::max(d, dv) <= rule.head_dim_max &&
         d % rule.head_dim_multiple_of == 0 &&
         dv % rule.head_dim_multiple_of == 0 &&
         (!rule.equal_head_dims || d == dv) &&
         contains(rule.compute, compute) &&
         (!rule.grouped || *rule.grouped == (facts.q_heads > facts.kv_heads));
}

// Largest n that the rule takes for this layer.
Tokens LastN(const CatalogueRule& rule, const AttentionFacts& facts) {
  if (rule.n_times_group_max == kNoEnd) return rule.n_max;
  const std::int64_t group = std::max<std::int64_t>(
      1, facts.q_heads / std::max<std::int64_t>(1, facts.kv_heads));
  return std::min(rule.n_max, rule.n_times_group_max / group);
}

bool SameCall(const Route& a, const Route& b) {
  return a.id == b.id && a.supported == b.supported && a.kernel == b.kernel;
}

}  // namespace

std::optional<EngineVersion> EngineVersion::Parse(std::string_view text) {
  if (text.size() > 1 && (text[0] == 'v' || text[0] == 'b')) {
    text.remove_prefix(1);
  }
  EngineVersion version;
  for (std::size_t i = 0; i < version.parts.size(); ++i) {
    const char* end = text.data() + text.size();
    const auto [stop, error] =
        std::from_chars(text.data(), end, version.parts[i]);
    if (error != std::errc() || version.parts[i] < 0) {
      version.parts[i] = 0;
      // "0.31.post1": what follows the numbers is left out.
      return i == 0 ? std::nullopt : std::optional(version);
    }
    if (stop == end || *stop != '.') break;
    text.remove_prefix(stop + 1 - text.data());
  }
  return version;
}

const CatalogueOption* CatalogueEngine::FindOption(
    std::string_view name) const {
  for (const CatalogueOption& option : options) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

std::string_view ResolvedEngine::Option(std::string_view name) const {
  const auto it = spec.options.find(name);
  return it == spec.options.end() ? std::string_view() : it->second;
}

std::int64_t ResolvedEngine::IntegerOption(std::string_view name,
                                           std::int64_t otherwise) const {
  const std::string_view text = Option(name);
  std::int64_t value = otherwise;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

const Catalogue& Catalogue::Builtin() {
  static const Catalogue* const kBuiltin = [] {
    std::vector<CatalogueText> texts;
    for (const internal::EmbeddedText& text : internal::builtin_catalogue()) {
      texts.push_back({text.file, text.text});
    }
    absl::StatusOr<Catalogue> catalogue = Parse(texts);
    if (!catalogue.ok()) {
      std::fprintf(stderr, "%s\n", catalogue.status().ToString().c_str());
    }
    TG_CHECK(catalogue.ok());
    return new Catalogue(*std::move(catalogue));
  }();
  return *kBuiltin;
}

absl::StatusOr<Catalogue> Catalogue::Parse(
    std::span<const CatalogueText> texts) {
  Catalogue catalogue;
  for (const CatalogueText& text : texts) {
    TG_ASSIGN_OR_RETURN(catalogue, catalogue.With(text.text, text.file));
  }
  return catalogue;
}

absl::StatusOr<Catalogue> Catalogue::With(std::string_view text,
                                          std::string_view file) const {
  TG_ASSIGN_OR_RETURN(CatalogueEngine engine,
                      internal::ParseCatalogueEngine(text, file));
  Catalogue catalogue = *this;
  for (CatalogueEngine& old : catalogue.engines_) {
    if (old.name == engine.name) {
      old = std::move(engine);
      return catalogue;
    }
  }
  catalogue.engines_.push_back(std::move(engine));
  return catalogue;
}

absl::StatusOr<Catalogue> Catalogue::BuiltinWith(std::string_view text,
                                                 std::string_view file) {
  if (text.empty()) return Builtin();
  return Builtin().With(text, file);
}

absl::StatusOr<ResolvedEngine> Catalogue::Resolve(
    const EngineSpec& spec) const {
  ResolvedEngine resolved;
  resolved.spec = spec;
  const CatalogueEngine* engine = nullptr;
  for (const CatalogueEngine& candidate : engines_) {
    if (candidate.name == spec.name ||
        std::find(candidate.aliases.begin(), candidate.aliases.end(),
                  spec.name) != candidate.aliases.end()) {
      engine = &candidate;
    }
  }
  if (engine == nullptr) {
    std::vector<std::string_view> names;
    for (const CatalogueEngine& known : engines_) names.push_back(known.name);
    const std::string_view near = DidYouMean(spec.name, names);
    resolved.law = "generic";
    resolved.assumed = true;
    resolved.warnings.push_back(
        Concat("engine \"", spec.name, "\" is not in the catalogue",
               near.empty() ? "" : Concat(" (did you mean \"", near, "\"?)"),
               ": priced as if the attention scores were written out",
               spec.options.empty() ? "" : ", and its options are ignored"));
    resolved.spec.options.clear();
    return resolved;
  }
  resolved.engine = engine;
  resolved.spec.name = engine->name;
  resolved.law = engine->law;

  std::vector<std::string_view> option_names;
  for (const CatalogueOption& option : engine->options) {
    option_names.push_back(option.name);
  }
  for (const auto& [name, value] : spec.options) {
    const CatalogueOption* option = engine->FindOption(name);
    if (option == nullptr) {
      return InvalidArgument("engine.options.", name, ": ", engine->name,
                             " has no such option",
                             Suggest(name, option_names));
    }
    TG_RETURN_IF_ERROR(
        CheckOptionValue(*option, value, Concat("engine.options.", name)));
  }
  for (const CatalogueOption& option : engine->options) {
    resolved.spec.options.try_emplace(option.name, option.default_value);
  }

  const EngineVersion oldest = *EngineVersion::Parse(engine->oldest);
  const EngineVersion newest = *EngineVersion::Parse(engine->newest);
  const bool named =
      std::find(engine->named_versions.begin(), engine->named_versions.end(),
                spec.version) != engine->named_versions.end();
  const std::optional<EngineVersion> version =
      named ? newest : EngineVersion::Parse(spec.version);
  resolved.version = std::clamp(version.value_or(newest), oldest, newest);

  bool device_known = false;
  for (const std::string& pattern : engine->devices) {
    device_known = device_known || DeviceMatches(pattern, spec.device);
  }
  if (!device_known) {
    resolved.law = "generic";
    resolved.assumed = true;
    resolved.warnings.push_back(Concat(
        "the catalogue does not know ", engine->name, " on device \"",
        spec.device, "\": priced as if the attention scores were written out"));
  } else if (!version || *version > newest) {
    resolved.assumed = true;
    resolved.warnings.push_back(
        Concat(engine->name, " ", spec.version,
               version ? " is newer than the catalogue" : " is not a version",
               ": routes of ", engine->newest, " are assumed"));
  } else if (*version < oldest) {
    resolved.assumed = true;
    resolved.warnings.push_back(
        Concat(engine->name, " ", spec.version,
               " is older than the catalogue: routes of ", engine->oldest,
               " are assumed"));
  }
  return resolved;
}

RouteTable::RouteTable(Route route) {
  routes_.push_back(std::move(route));
  candidates_.push_back({.kv_len_max = kNoEnd, .route = 0});
  pieces_.push_back({.n_last = kNoEnd, .candidate = 0});
}

absl::StatusOr<RouteTable> Catalogue::Bind(
    const ResolvedEngine& engine, const AttentionFacts& facts,
    ComputeType compute, std::span<const std::string_view> kernels) const {
  if (engine.law == "generic" && engine.assumed) {
    return RouteTable(
        Route{.kernel = "unfused", .assumed = true, .source = "assumed"});
  }
  RouteTable table;
  struct Rule {
    const CatalogueRule* rule;
    Tokens n_last;
    int route;
  };
  std::vector<Rule> rules;
  for (const CatalogueRule& rule : engine.engine->rules) {
    if (!AppliesTo(rule, engine, facts, compute)) continue;
    Route route{.kernel = rule.kernel.empty() ? "unsupported" : rule.kernel,
                .supported = !rule.kernel.empty(),
                .assumed = engine.assumed,
                .reason = rule.reason,
                .source = rule.source};
    const auto at = std::find(kernels.begin(), kernels.end(), route.kernel);
    if (at != kernels.end()) {
      route.id = static_cast<int>(at - kernels.begin());
    } else if (route.supported && !kernels.empty()) {
      return InvalidArgument(engine.engine->file, ": kernel \"", rule.kernel,
                             "\": the ", engine.law,
                             " law has no formula for it");
    }
    rules.push_back(
        {&rule, LastN(rule, facts), static_cast<int>(table.routes_.size())});
    table.routes_.push_back(std::move(route));
  }

  for (int mask = 0; mask < kMasks; ++mask) {
    table.first_piece_[mask] = static_cast<int>(table.pieces_.size());
    std::vector<Rule> left;
    std::vector<Tokens> ends = {kNoEnd};
    for (const Rule& rule : rules) {
      const std::vector<MaskKind>& masks = rule.rule->masks;
      if (!masks.empty() && std::find(masks.begin(), masks.end(),
                                      MaskKind(mask)) == masks.end()) {
        continue;
      }
      left.push_back(rule);
      if (rule.rule->n_min > 1) ends.push_back(rule.rule->n_min - 1);
      if (rule.n_last >= 1) ends.push_back(rule.n_last);
    }
    std::sort(ends.begin(), ends.end());
    ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
    for (const Tokens end : ends) {
      std::vector<RouteTable::Candidate> candidates;
      for (const Rule& rule : left) {
        if (end < rule.rule->n_min || end > rule.n_last) continue;
        candidates.push_back({.kv_len_min = rule.rule->kv_len_min,
                              .kv_len_max = rule.rule->kv_len_max,
                              .n_at_most_kv_len = rule.rule->n_at_most_kv_len,
                              .n_equals_kv_len = rule.rule->n_equals_kv_len,
                              .route = rule.route});
        if (candidates.back().TakesAll()) break;
      }
      // The last rule of a file matches everything.
      TG_CHECK(!candidates.empty() && candidates.back().TakesAll());
      // Neighbouring pieces with the same answers are one piece.
      if (static_cast<int>(table.pieces_.size()) > table.first_piece_[mask]) {
        RouteTable::Piece& last = table.pieces_.back();
        const auto begin = table.candidates_.begin() + last.candidate;
        if (std::equal(begin, table.candidates_.end(), candidates.begin(),
                       candidates.end())) {
          last.n_last = end;
          continue;
        }
      }
      table.pieces_.push_back(
          {end, static_cast<int>(table.candidates_.size())});
      table.candidates_.insert(table.candidates_.end(), candidates.begin(),
                               candidates.end());
    }
  }
  return table;
}

void RouteTable::Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi,
                             MaskKind mask, Tokens window,
                             std::vector<Tokens>* out) const {
  const auto attended = [&](Tokens n, Tokens kv_len) {
    return window > 0 ? std::min(kv_len, SatAdd(window - 1, n)) : kv_len;
  };
  const auto find = [&](Tokens v) -> const Route& {
    switch (axis) {
      case Axis::kN:
        return Find(v, attended(v, fixed), mask);
      case Axis::kKvLen:
        return Find(fixed, attended(fixed, v), mask);
      case Axis::kChunk:
        break;
    }
    return Find(v, attended(v, SatAdd(fixed, v)), mask);
  };
  // Every place where a condition can turn; those where the route stays are
  // dropped afterwards.
  std::vector<Tokens> places;
  const auto kv_edge = [&](Tokens edge) {  // attended length reaches `edge`
    if (axis == Axis::kChunk) places.push_back(edge - fixed);
    if (axis == Axis::kKvLen) places.push_back(edge);
    if (axis != Axis::kKvLen && window > 0) {
      places.push_back(edge - window + 1);
    }
  };
  for (int i = first_piece_[static_cast<int>(mask)];; ++i) {
    for (int c = pieces_[i].candidate;; ++c) {
      const Candidate& candidate = candidates_[c];
      kv_edge(candidate.kv_len_min);
      if (candidate.kv_len_max < kNoEnd) kv_edge(candidate.kv_len_max + 1);
      if (candidate.n_at_most_kv_len || candidate.n_equals_kv_len) {
        places.push_back(fixed);
        places.push_back(fixed + 1);
      }
      if (candidate.TakesAll()) break;
    }
    if (pieces_[i].n_last == kNoEnd) break;
    if (axis != Axis::kKvLen) places.push_back(pieces_[i].n_last + 1);
  }
  std::sort(places.begin(), places.end());
  Tokens previous = lo;
  for (const Tokens place : places) {
    if (place <= previous || place > hi || place < 2) continue;
    previous = place;
    if (!SameCall(find(place), find(place - 1))) out->push_back(place);
  }
}

std::string_view MaskName(MaskKind mask) {
  constexpr std::string_view kNames[] = {"none",  "causal", "bool",
                                         "float", "array",  "lower_right"};
  return kNames[static_cast<int>(mask)];
}

std::optional<MaskKind> ParseMask(std::string_view text) {
  for (int mask = 0; mask < kMasks; ++mask) {
    if (text == MaskName(MaskKind(mask))) return MaskKind(mask);
  }
  return std::nullopt;
}

std::string DescribeRule(const CatalogueRule& rule) {
  std::string text;
  const auto add = [&text](std::string_view piece) {
    if (!text.empty()) text += ", ";
    text += piece;
  };
  const auto list = [](const auto& items, auto name) {
    std::string out;
    for (const auto& item : items) {
      out += Concat(out.empty() ? "" : " ", name(item));
    }
    return out;
  };
  const auto same = [](const std::string& item) { return item; };
  const auto version = [](const EngineVersion& v) {
    return Concat(v.parts[0], ".", v.parts[1], ".", v.parts[2]);
  };
  const CatalogueRule plain;
  if (!rule.devices.empty()) add(Concat("on ", list(rule.devices, same)));
  if (rule.since) add(Concat("since ", version(*rule.since)));
  if (rule.before) add(Concat("before ", version(*rule.before)));
  for (const auto& [name, values] : rule.options) {
    add(Concat(name, " = ", list(values, same)));
  }
  if (rule.n_min > 1) add(Concat("n >= ", rule.n_min));
  if (rule.n_max != plain.n_max) add(Concat("n <= ", rule.n_max));
  if (rule.n_times_group_max != plain.n_times_group_max) {
    add(Concat("n*G <= ", rule.n_times_group_max));
  }
  if (rule.n_at_most_kv_len) add("n <= K");
  if (rule.n_equals_kv_len) add("n = K");
  if (rule.kv_len_min > 1) add(Concat("K >= ", rule.kv_len_min));
  if (rule.kv_len_max != plain.kv_len_max) {
    add(Concat("K <= ", rule.kv_len_max));
  }
  if (!rule.head_dims.empty()) {
    add(Concat("D in {",
               list(rule.head_dims,
                    [](const auto& pair) {
                      return pair.first == pair.second
                                 ? Concat(pair.first)
                                 : Concat(pair.first, "/", pair.second);
                    }),
               "}"));
  }
  if (rule.equal_head_dims) add("D = Dv");
  if (rule.head_dim_max != plain.head_dim_max) {
    add(Concat("D <= ", rule.head_dim_max));
  }
  if (rule.head_dim_multiple_of > 1) {
    add(Concat("D a multiple of ", rule.head_dim_multiple_of));
  }
  if (!rule.masks.empty()) {
    add(Concat("mask ", list(rule.masks, [](MaskKind mask) {
                 return std::string(MaskName(mask));
               })));
  }
  if (!rule.compute.empty()) {
    constexpr std::string_view kNames[] = {"fp32", "fp16", "bf16"};
    add(list(rule.compute, [&](ComputeType type) {
      return std::string(kNames[static_cast<int>(type)]);
    }));
  }
  if (rule.grouped) add(*rule.grouped ? "grouped heads" : "ungrouped heads");
  return text.empty() ? "every call" : text;
}

}  // namespace tidegate
