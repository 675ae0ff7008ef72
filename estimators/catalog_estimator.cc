// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/catalog_estimator.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "estimators/generic_law.h"
#include "estimators/law_estimator.h"
#include "estimators/llamacpp_law.h"
#include "estimators/mlx_law.h"
#include "estimators/torch_law.h"
#include "estimators/transformers_law.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

using Created = absl::StatusOr<std::unique_ptr<Estimator>>;

EstimatorTraits CatalogTraits(const ResolvedEngine& engine) {
  return {.name = "catalog",
          .assumed = engine.assumed,
          .timing = TransientTiming::kPerStep,
          .kv_preallocated = engine.Option("kv_cache") == "prealloc"};
}

template <typename Law>
std::unique_ptr<Estimator> Wrap(Law law, const ModelShape& shape,
                                const ResolvedEngine& engine,
                                EstimatorTraits traits) {
  return std::make_unique<LawEstimator<Law>>(
      std::move(law),
      ResidentModel(shape, engine.Option("prefill_kv") == "full"),
      std::move(traits));
}

// Null for the callers that are not transformers' own.
std::unique_ptr<Estimator> CreateTransformers(const ResolvedEngine& engine,
                                              const EstimatorOptions& options,
                                              EstimatorTraits traits) {
  TransformersOptions law_options;
  const std::string_view attention = engine.Option("attention");
  if (attention == "sdpa") {
    law_options.attention = TransformersAttention::kSdpa;
    const std::string_view kernel = engine.Option("sdpa_kernel");
    if (kernel == "efficient") law_options.sdpa_kernel = SdpaKernel::kEfficient;
    if (kernel == "math") law_options.sdpa_kernel = SdpaKernel::kMath;
  } else if (attention == "eager") {
    law_options.attention = TransformersAttention::kEager;
  } else if (attention == "flash_lr") {
    law_options.attention = TransformersAttention::kFlashLr;
  } else {
    return nullptr;
  }
  law_options.preallocated_cache = traits.kv_preallocated;
  law_options.sm_count = engine.IntegerOption("sm_count", law_options.sm_count);
  TransformersLaw law(options.shape, law_options);
  traits.assumed = traits.assumed || law.Assumed();
  return Wrap(std::move(law), options.shape, engine, std::move(traits));
}

Created CreateTorch(const Catalogue& catalogue, const ResolvedEngine& engine,
                    const EstimatorOptions& options) {
  EstimatorTraits traits = CatalogTraits(engine);
  // transformers' own callers run a whole model around the kernel.
  if (options.shape.hidden > 0) {
    std::unique_ptr<Estimator> whole =
        CreateTransformers(engine, options, traits);
    if (whole != nullptr) return whole;
  }
  TG_ASSIGN_OR_RETURN(TorchLaw law,
                      TorchLaw::Create(options.shape, catalogue, engine));
  traits.assumed = traits.assumed || law.Assumed();
  return Wrap(std::move(law), options.shape, engine, std::move(traits));
}

// Bits per element of ggml's cache types, scales included.
std::optional<ElementSize> GgmlElement(std::string_view type) {
  struct Width {
    std::string_view type;
    std::int64_t bytes;
    std::int64_t elements;
  };
  constexpr Width kWidths[] = {
      {"f32", 4, 1},    {"f16", 2, 1},    {"bf16", 2, 1},   {"q8_0", 34, 32},
      {"q5_1", 24, 32}, {"q5_0", 22, 32}, {"q4_1", 20, 32}, {"q4_0", 18, 32}};
  for (const Width& width : kWidths) {
    if (width.type == type) {
      return ElementSize{width.bytes * 65536 / width.elements};
    }
  }
  return std::nullopt;
}

// llama.cpp's price when the context's size is stated: a step costs what was
// reserved at load, however narrow it is.
class ReservedLlamaCpp {
 public:
  ReservedLlamaCpp(LlamaCppLaw law, const ResolvedEngine& engine)
      : law_(std::move(law)),
        n_ubatch_(engine.IntegerOption("n_ubatch", 0)),
        n_ctx_(engine.IntegerOption("n_ctx", 0)),
        n_outputs_(engine.IntegerOption("n_outputs", 0)),
        state_bytes_(law_.StateBytes()) {}

  template <typename Sink>
  void Emit(const StepQuery& step, Sink& sink) const {
    if (n_ubatch_ == 0 && n_ctx_ == 0 && n_outputs_ == 0) {
      return law_.Emit(step, sink);
    }
    Chunk wide;
    wide.n = step.decode_tokens;
    wide.kv_len = step.decode_kv_len;
    for (const Chunk& chunk : step.chunks) {
      wide.n = SatAdd(wide.n, chunk.n);
      wide.kv_len = std::max(wide.kv_len, chunk.kv_len);
    }
    wide.kv_len = std::max(wide.kv_len, n_ctx_);
    if (n_ubatch_ > 0) wide.n = n_ubatch_;
    wide.n = std::min(wide.n, wide.kv_len);
    law_.Emit({.chunks = {&wide, 1},
               .logits_rows = n_outputs_ > 0 ? n_outputs_ : step.logits_rows},
              sink);
  }

  void Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi, MaskKind mask,
                   std::vector<Tokens>* out) const {
    if (n_ubatch_ == 0) {
      law_.Breakpoints(axis, axis == Axis::kN ? std::max(fixed, n_ctx_) : fixed,
                       lo, hi, mask, out);
      // Up to n_ctx a chunk that starts anywhere sees the same context.
      if (axis == Axis::kChunk && n_ctx_ > 0) {
        law_.Breakpoints(Axis::kN, n_ctx_, lo, hi, mask, out);
      }
      return;
    }
    if (axis == Axis::kN) return;
    const Tokens start = axis == Axis::kChunk ? fixed : 0;
    std::vector<Tokens> lengths;
    law_.Breakpoints(Axis::kKvLen, n_ubatch_, SatAdd(start, lo),
                     SatAdd(start, hi), mask, &lengths);
    for (const Tokens length : lengths) out->push_back(length - start);
  }

  // A cache for this sequence alone, as llama.cpp rounds it.
  Bytes SequenceBytes(Tokens tokens, Tokens chunk) const {
    if (tokens <= 0) return 0;
    const Tokens widest =
        n_ubatch_ > 0 ? n_ubatch_ : std::clamp<Tokens>(chunk, 1, tokens);
    return SatAdd(law_.KvBytes(tokens, widest), state_bytes_);
  }

  std::string RouteName(const StepQuery& step) const {
    return law_.RouteName(step);
  }
  bool Assumed() const { return law_.Assumed(); }

 private:
  LlamaCppLaw law_;
  Tokens n_ubatch_;
  Tokens n_ctx_;
  Tokens n_outputs_;
  Bytes state_bytes_;
};

Created CreateLlamaCpp(const ResolvedEngine& engine,
                       const EstimatorOptions& options) {
  ModelShape shape = options.shape;
  if (const auto element = GgmlElement(engine.Option("kv_type"))) {
    shape.kv_element = *element;
  }
  LlamaCppOptions law_options;
  law_options.flash_attention = engine.Option("flash_attn") != "false";
  if (engine.Option("scratch") == "true") {
    law_options.scratch_threads =
        static_cast<int>(engine.IntegerOption("threads", 8));
  }
  ReservedLlamaCpp law(LlamaCppLaw(shape, law_options), engine);
  EstimatorTraits traits = CatalogTraits(engine);
  traits.assumed = traits.assumed || law.Assumed();
  traits.timing = TransientTiming::kAtLoad;
  traits.kv_preallocated = true;
  return Wrap(std::move(law), shape, engine, std::move(traits));
}

}  // namespace

Created CreateCatalogEstimator(const Catalogue& catalogue,
                               const ResolvedEngine& engine,
                               const EstimatorOptions& options) {
  if (engine.law == "mlx") {
    TG_ASSIGN_OR_RETURN(MlxLaw law,
                        MlxLaw::Create(options.shape, catalogue, engine));
    return Wrap(std::move(law), options.shape, engine, CatalogTraits(engine));
  }
  if (engine.law == "torch") return CreateTorch(catalogue, engine, options);
  if (engine.law == "llama.cpp") return CreateLlamaCpp(engine, options);
  // Unknown, or a catalogue of the user's with law = "generic": one copy of
  // the scores unless more is asked for.
  return Wrap(GenericLaw(options.shape, {.kernel = GenericKernel::kUnfused,
                                         .score_bytes = options.score_bytes}),
              options.shape, engine, CatalogTraits(engine));
}

}  // namespace tidegate::internal
