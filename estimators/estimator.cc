// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/estimator.h"

#include <array>
#include <utility>

#include "estimators/catalog_estimator.h"
#include "estimators/formula_law.h"
#include "estimators/generic_law.h"
#include "estimators/law_estimator.h"
#include "estimators/profiled_estimator.h"
#include "estimators/table_law.h"
#include "estimators/text.h"
#include "tidegate/catalogue.h"
#include "tidegate/status.h"

namespace tidegate {

using internal::Concat;
using internal::GenericKernel;
using internal::GenericLaw;
using internal::InvalidArgument;
using internal::LawEstimator;
using internal::ResidentModel;

namespace {

constexpr std::array<std::string_view, 7> kUses = {
    "fused", "tiled", "unfused", "catalog", "table", "formula", "calibrated"};

// Wider scores than this are no number format.
constexpr std::int64_t kScoreBytesMax = 64;

absl::Status RequireTokens(std::string_view name, Tokens value, Tokens min) {
  if (value >= min && value <= kTokensMax) return absl::OkStatus();
  return InvalidArgument(name, ": expected ", min, " to ", kTokensMax, ", got ",
                         value);
}

absl::StatusOr<std::unique_ptr<Estimator>> CreateTable(
    const EstimatorOptions& options, ResidentModel resident,
    internal::EstimatorTraits traits, std::vector<std::string>* warnings) {
  if (options.table_file.empty() && options.table.empty()) {
    return InvalidArgument(
        "estimator.table: missing: use = \"table\" takes its prices from it");
  }
  TG_ASSIGN_OR_RETURN(
      internal::PriceTable table,
      internal::PriceTable::Parse(options.table, options.table_file));
  *warnings = table.warnings();
  internal::TableLaw law(std::move(table), options.shape, options.score_bytes,
                         resident);
  return std::make_unique<LawEstimator<internal::TableLaw>>(
      std::move(law), std::move(resident), std::move(traits));
}

}  // namespace

absl::Status ValidateStep(const StepQuery& step) {
  if (step.chunks.empty() && step.decode_tokens == 0) {
    return InvalidArgument("step: expected a chunk or a decode token");
  }
  // No sum of tokens in a step can then leave the accepted range by much.
  Tokens sum = step.decode_tokens;
  for (const Chunk& chunk : step.chunks) {
    TG_RETURN_IF_ERROR(RequireTokens("chunk.n", chunk.n, 1));
    TG_RETURN_IF_ERROR(RequireTokens("chunk.kv_len", chunk.kv_len, 1));
    if (chunk.kv_len < chunk.n) {
      return InvalidArgument("chunk.kv_len: expected at least n = ", chunk.n,
                             ", got ", chunk.kv_len);
    }
    sum = SatAdd(sum, chunk.n);
  }
  TG_RETURN_IF_ERROR(RequireTokens("decode_tokens", step.decode_tokens, 0));
  TG_RETURN_IF_ERROR(RequireTokens("decode_kv_len", step.decode_kv_len, 0));
  if (step.decode_tokens > 0 && step.decode_kv_len < 1) {
    return InvalidArgument(
        "decode_kv_len: expected at least 1 where there are decode tokens");
  }
  TG_RETURN_IF_ERROR(RequireTokens("logits_rows", step.logits_rows, 0));
  return RequireTokens("tokens of the step", sum, 1);
}

absl::StatusOr<CreatedEstimator> CreateEstimator(
    const EstimatorOptions& options) {
  TG_RETURN_IF_ERROR(options.shape.Validate());
  TG_RETURN_IF_ERROR(RequireTokens("estimator.tile_q", options.tile_q, 1));
  TG_RETURN_IF_ERROR(RequireTokens("estimator.tile_k", options.tile_k, 0));
  if (options.score_bytes < 0 || options.score_bytes > kScoreBytesMax) {
    return InvalidArgument("estimator.score_bytes: expected 0 to ",
                           kScoreBytesMax, ", got ", options.score_bytes);
  }
  const std::string_view use = options.use;
  const auto at = std::find(kUses.begin(), kUses.end(), use);
  if (at == kUses.end()) {
    return internal::UnknownWord("estimator.use", use, kUses);
  }

  const Catalogue* catalogue = &Catalogue::Builtin();
  Catalogue replaced;
  if (!options.catalogue.empty()) {
    TG_ASSIGN_OR_RETURN(
        replaced, catalogue->With(options.catalogue, options.catalogue_file));
    catalogue = &replaced;
  }
  TG_ASSIGN_OR_RETURN(ResolvedEngine engine,
                      catalogue->Resolve(options.engine));

  CreatedEstimator created;
  if (use == "catalog" || use == "calibrated") {
    TG_ASSIGN_OR_RETURN(created.estimator, internal::CreateCatalogEstimator(
                                               *catalogue, engine, options));
    created.warnings = std::move(engine.warnings);
    if (use == "catalog" || options.profile.empty()) return created;
    TG_ASSIGN_OR_RETURN(
        const internal::Profile profile,
        internal::ParseProfile(options.profile, options.profile_file));
    created.estimator = internal::CreateProfiledEstimator(
        std::move(created.estimator), profile, options.shape, engine,
        &created.warnings);
    return created;
  }
  ResidentModel resident(options.shape, engine.Option("prefill_kv") == "full");
  // The caller names the rule, so nothing about it is assumed; of the engine
  // only the handling of its KV cache matters.
  internal::EstimatorTraits traits{
      .name = std::string(use),
      .assumed = false,
      .kv_preallocated = engine.Option("kv_cache") == "prealloc"};
  if (engine.law == "llama.cpp" && (use == "table" || use == "formula")) {
    traits.timing = TransientTiming::kAtLoad;
    traits.kv_preallocated = true;
  }
  if (use == "table") {
    TG_ASSIGN_OR_RETURN(created.estimator,
                        CreateTable(options, std::move(resident),
                                    std::move(traits), &created.warnings));
    return created;
  }
  if (use == "formula") {
    if (options.formula.transient.empty()) {
      return InvalidArgument(
          "estimator.transient: missing: use = \"formula\" takes its price "
          "from it");
    }
    TG_ASSIGN_OR_RETURN(
        internal::FormulaLaw law,
        internal::FormulaLaw::Create(options.formula, options.shape,
                                     options.score_bytes, resident));
    created.estimator = std::make_unique<LawEstimator<internal::FormulaLaw>>(
        std::move(law), std::move(resident), std::move(traits));
    return created;
  }
  const GenericKernel kernel = use == "fused"   ? GenericKernel::kFused
                               : use == "tiled" ? GenericKernel::kTiled
                                                : GenericKernel::kUnfused;
  created.estimator = std::make_unique<LawEstimator<GenericLaw>>(
      GenericLaw(options.shape, {.kernel = kernel,
                                 .tile_q = options.tile_q,
                                 .tile_k = options.tile_k,
                                 .score_bytes = options.score_bytes}),
      std::move(resident), std::move(traits));
  return created;
}

}  // namespace tidegate
