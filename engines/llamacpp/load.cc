// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engines/llamacpp/log_capture.h"
#include "tidegate/llamacpp.h"
#include "tidegate/status.h"

namespace tidegate::llamacpp {
namespace {

// The build whose graphs the price law was checked against; prices.md.
constexpr std::string_view kPricedBuild = "b9000";
constexpr Tokens kQuantum = 64;

absl::StatusOr<ggml_type> CacheType(const std::string& name) {
  static const auto* const kTypes = new std::map<std::string, ggml_type>{
      {"f32", GGML_TYPE_F32},   {"f16", GGML_TYPE_F16},
      {"bf16", GGML_TYPE_BF16}, {"q8_0", GGML_TYPE_Q8_0},
      {"q5_1", GGML_TYPE_Q5_1}, {"q5_0", GGML_TYPE_Q5_0},
      {"q4_1", GGML_TYPE_Q4_1}, {"q4_0", GGML_TYPE_Q4_0}};
  const auto found = kTypes->find(name);
  if (found != kTypes->end()) return found->second;
  return absl::InvalidArgumentError(
      absl::StrCat("kv_type: expected f32, f16, bf16, q8_0, q5_1, q5_0, q4_1 "
                   "or q4_0, got \"",
                   name, "\""));
}

absl::Status Check(const llama_model* model, const LoadOptions& options) {
  if (model == nullptr) return absl::InvalidArgumentError("model: is null");
  if (options.ceiling < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("ceiling: expected bytes above 0, got ", options.ceiling));
  }
  if (options.slots < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("slots: expected at least 1, got ", options.slots));
  }
  if (options.threads < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("threads: expected at least 1, got ", options.threads));
  }
  return absl::OkStatus();
}

EngineSpec Spec(const LoadOptions& options) {
  EngineSpec engine{"llama.cpp", std::string(kPricedBuild), "cpu", {}};
  engine.options["flash_attn"] = options.flash_attention ? "true" : "false";
  engine.options["kv_type"] = options.kv_type;
  engine.options["scratch"] = options.scratch ? "true" : "false";
  engine.options["threads"] = absl::StrCat(options.threads);
  return engine;
}

llama_context_params Params(const LoadOptions& options,
                            const LoadChoice& chosen, ggml_type cache) {
  llama_context_params params = llama_context_default_params();
  // Where the cache of sliding layers is as long as the context, nothing is
  // saved by the window: not what is priced.
  params.swa_full = false;
  if (options.adjust) options.adjust(params);
  params.n_ctx = static_cast<std::uint32_t>(chosen.n_ctx);
  params.n_batch = static_cast<std::uint32_t>(chosen.n_ubatch);
  params.n_ubatch = static_cast<std::uint32_t>(chosen.n_ubatch);
  params.n_seq_max = static_cast<std::uint32_t>(options.slots);
  params.n_outputs_max = static_cast<std::uint32_t>(options.slots);
  params.kv_unified = true;
  params.n_threads = options.threads;
  params.n_threads_batch = options.threads;
  params.flash_attn_type = options.flash_attention
                               ? LLAMA_FLASH_ATTN_TYPE_ENABLED
                               : LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.type_k = cache;
  params.type_v = cache;
  return params;
}

}  // namespace

absl::StatusOr<LoadedContext> Load(llama_model* model,
                                   const LoadOptions& options) {
  TG_RETURN_IF_ERROR(Check(model, options));
  TG_ASSIGN_OR_RETURN(const ggml_type cache, CacheType(options.kv_type));
  ModelShape shape;
  if (options.shape.has_value()) {
    shape = *options.shape;
  } else {
    TG_ASSIGN_OR_RETURN(shape, ShapeOf(model));
  }

  LoadedContext loaded;
  loaded.base =
      options.base.value_or(static_cast<Bytes>(llama_model_size(model)));
  EngineSpec engine = Spec(options);
  TG_ASSIGN_OR_RETURN(const CreatedEstimator open,
                      CreateEstimator({.shape = shape, .engine = engine}));
  const Tokens trained = llama_model_n_ctx_train(model);
  TG_ASSIGN_OR_RETURN(
      loaded.plan,
      PlanLoad(*open.estimator, {.memory = {.ceiling = options.ceiling,
                                            .base = loaded.base,
                                            .headroom = options.headroom},
                                 .widths = options.widths,
                                 .n_ctx = options.n_ctx,
                                 .n_ctx_max = std::max(trained, options.n_ctx),
                                 .outputs = options.slots}));
  if (!loaded.plan.fits) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no context fits: ", loaded.plan.reason));
  }
  const LoadChoice& chosen = loaded.plan.chosen;
  {
    LogCapture log;
    loaded.context.reset(
        llama_init_from_model(model, Params(options, chosen, cache)));
    loaded.reported = log.reported();
    if (loaded.context == nullptr) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "llama.cpp made no context of n_ubatch ", chosen.n_ubatch,
          " and n_ctx ", chosen.n_ctx, ": ", log.complaint()));
    }
  }
  const Bytes line = options.ceiling - options.headroom;
  const Bytes live = SatAdd(loaded.base, loaded.reported.Total());
  if (live > line) {
    loaded.context.reset();
    return absl::ResourceExhaustedError(absl::StrCat(
        "llama.cpp reserved more than priced: ", loaded.base, " B live + ",
        loaded.reported.Total(), " B of its context > ", line, " B"));
  }

  engine.options["n_ubatch"] = absl::StrCat(chosen.n_ubatch);
  engine.options["n_ctx"] = absl::StrCat(chosen.n_ctx);
  engine.options["n_outputs"] = absl::StrCat(options.slots);
  TG_ASSIGN_OR_RETURN(CreatedEstimator reserved,
                      CreateEstimator({.shape = shape, .engine = engine}));
  loaded.estimator = std::move(reserved.estimator);
  SchedulerOptions& scheduler = loaded.scheduler;
  scheduler.estimator = loaded.estimator;
  // The compute buffer is the price of a step, so it is not part of the base.
  scheduler.memory = {
      .ceiling = options.ceiling,
      .base = SatAdd(loaded.base, loaded.reported.kv, loaded.reported.output),
      .headroom = options.headroom};
  scheduler.kv_pool = {.blocks = llama_n_ctx(loaded.context.get()),
                       .block_tokens = 1};
  const Tokens quantum = std::min(kQuantum, chosen.n_ubatch);
  scheduler.chunk = {
      .max = chosen.n_ubatch, .floor = quantum, .quantum = quantum};
  scheduler.running_max = options.slots;
  scheduler.ladder = {};
  return loaded;
}

}  // namespace tidegate::llamacpp
