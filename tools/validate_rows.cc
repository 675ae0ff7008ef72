// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/validate_rows.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "estimators/price_sink.h"
#include "estimators/profile.h"
#include "estimators/text.h"
#include "estimators/torch_masks.h"
#include "tidegate/engine.h"
#include "tidegate/model_config.h"
#include "tidegate/model_shape.h"
#include "tidegate/status.h"

namespace tidegate::tools {

using internal::Concat;

namespace {

// What an attention table calls a kernel, and what the catalogue does.
struct BackendName {
  std::string_view column;
  std::string_view option;  // engine option `attention`
  std::string_view kernel;  // empty: the column `chosen` says
};
constexpr std::array<BackendName, 9> kBackends = {{
    {"MATH", "math", "torch.math"},
    {"MATH_RP", "math_rp", "torch.math_rp"},
    {"EFFICIENT", "efficient", "torch.efficient"},
    {"FLASH", "flash", "torch.flash"},
    {"CUDNN", "cudnn", "torch.cudnn"},
    {"DEFAULT", "default", ""},
    {"HF_EAGER", "eager", "torch.eager"},
    {"TILED_MATH", "tiled_math", "torch.tiled_math"},
    {"TILED_INPLACE", "tiled_inplace", "torch.tiled_inplace"},
}};

absl::StatusOr<BackendName> ReadBackend(const CsvTable& table, std::size_t row,
                                        std::string_view column) {
  std::vector<std::string> words;
  for (const BackendName& name : kBackends) words.emplace_back(name.column);
  TG_ASSIGN_OR_RETURN(const std::string word, table.Word(row, column, words));
  return *std::find_if(kBackends.begin(), kBackends.end(),
                       [&](const BackendName& b) { return b.column == word; });
}

absl::StatusOr<ComputeType> ReadCompute(const CsvTable& table,
                                        std::size_t row) {
  TG_ASSIGN_OR_RETURN(const std::string text,
                      table.Word(row, "dtype", {"fp32", "fp16", "bf16"}));
  return ParseComputeType(text);
}

// A table without the column holds only rows that ran.
absl::StatusOr<std::string> ReadStatus(const CsvTable& table, std::size_t row) {
  if (!table.Has("status")) return std::string("ok");
  return table.Word(row, "status", {"ok", "oom", "unsupported"});
}

// n and L of a row.
absl::StatusOr<Chunk> ReadChunk(const CsvTable& table, std::size_t row) {
  Chunk chunk;
  TG_ASSIGN_OR_RETURN(chunk.n, table.Integer(row, "n", 1));
  TG_ASSIGN_OR_RETURN(chunk.kv_len, table.Integer(row, "L", 1));
  if (chunk.kv_len < chunk.n || chunk.kv_len > kTokensMax) {
    return table.Error(row, "L", Concat("n to ", kTokensMax, " tokens"));
  }
  return chunk;
}

// Heads and dims of an attention row, as a model of one bare layer.
absl::StatusOr<ModelShape> ReadAttentionShape(const CsvTable& table,
                                              std::size_t row) {
  ModelShape shape;
  shape.name = "attention";
  TG_ASSIGN_OR_RETURN(shape.compute, ReadCompute(table, row));
  shape.kv_element = ElementSize::OfBytes(SizeOf(shape.compute));
  Mixer mixer;
  TG_ASSIGN_OR_RETURN(mixer.q_heads, table.Integer(row, "q_heads", 1));
  TG_ASSIGN_OR_RETURN(mixer.kv_heads, table.Integer(row, "kv_heads", 1));
  TG_ASSIGN_OR_RETURN(mixer.head_dim, table.Integer(row, "head_dim", 1));
  TG_ASSIGN_OR_RETURN(mixer.head_dim_v, table.Integer(row, "head_dim_v", 1));
  shape.mixers = {mixer};
  shape.feed_forwards = {FeedForward{.kind = FeedForwardKind::kNone}};
  shape.layers = {Layer{}};
  return shape;
}

// The columns that make a row's shape and engine what they are, joined.
absl::StatusOr<std::string> Key(const CsvTable& table, std::size_t row,
                                const std::vector<std::string_view>& columns) {
  std::string key;
  for (const std::string_view column : columns) {
    if (!table.Has(column)) continue;  // the same for every row
    TG_ASSIGN_OR_RETURN(const std::string text, table.Text(row, column));
    key += text;
    key += '\n';
  }
  return key;
}

// Torch's name of a device, as the catalogue's, and how many multiprocessors
// it has where that is not the engine's default.
std::string TorchDevice(std::string_view name) {
  const auto has = [&](std::string_view part) {
    return name.find(part) != std::string_view::npos;
  };
  if (has("H100") || has("H200")) return "cuda-sm90";
  if (has("B200") || has("B100")) return "cuda-sm100";
  if (has("A100")) return "cuda-sm80";
  return "cuda-other";
}

absl::StatusOr<EngineSpec> ReadTorchEngine(const CsvTable& table,
                                           std::size_t row) {
  EngineSpec engine{.name = "torch"};
  TG_ASSIGN_OR_RETURN(engine.version, table.Text(row, "torch"));
  // The build ("+cu130") is no part of the version.
  engine.version = engine.version.substr(0, engine.version.find('+'));
  TG_ASSIGN_OR_RETURN(const std::string device, table.Text(row, "device"));
  engine.device = TorchDevice(device);
  // H100 PCIe and A100; of the others 132 is what the catalogue assumes.
  if (device.find("H100 PCIe") != std::string::npos) {
    engine.options["sm_count"] = "114";
  } else if (engine.device == "cuda-sm80") {
    engine.options["sm_count"] = "108";
  }
  return engine;
}

// Prices one call and compares; `expected` is the kernel that ran.
absl::StatusOr<JudgedRow> JudgeCall(const CsvTable& table, std::size_t row,
                                    const EstimatorCache& cache,
                                    const Estimator& estimator,
                                    const Chunk& chunk, std::string engine,
                                    std::string_view expected) {
  JudgedRow judged{.engine = std::move(engine),
                   .kernel = std::string(expected)};
  const absl::StatusOr<Price> price =
      estimator.Explain({.chunks = {&chunk, 1}});
  if (!price.ok() &&
      price.status().code() != absl::StatusCode::kUnimplemented) {
    return table.Error(row, "n", std::string(price.status().message()));
  }
  const bool runs = price.ok();
  TG_ASSIGN_OR_RETURN(const std::string status, ReadStatus(table, row));
  if (status == "unsupported") {
    judged.outcome = runs ? RowOutcome::kRouteWrong : RowOutcome::kNotPriced;
    return judged;
  }
  if (!runs || (!expected.empty() && price->route != expected)) {
    judged.outcome = RowOutcome::kRouteWrong;
    return judged;
  }
  judged.kernel = price->route;
  judged.price = price->transient_bytes;
  cache.Describe(estimator, {.chunks = {&chunk, 1}}, "", &judged);
  if (status == "ok") {
    TG_ASSIGN_OR_RETURN(judged.measured,
                        table.Integer(row, "transient_bytes", 1));
    return judged;
  }
  TG_ASSIGN_OR_RETURN(const std::optional<std::int64_t> needed,
                      table.OptionalInteger(row, "needed_at_least_bytes"));
  judged.outcome = needed ? RowOutcome::kAtLeast : RowOutcome::kSkippedOom;
  judged.measured = needed.value_or(0);
  return judged;
}

absl::StatusOr<JudgedRow> Judge(TableKind kind, const CsvTable& table,
                                std::size_t row, const ValidateOptions& options,
                                EstimatorCache& cache) {
  switch (kind) {
    case TableKind::kTorchAttention:
      return JudgeTorchAttention(table, row, cache);
    case TableKind::kMlxAttention:
      return JudgeMlxAttention(table, row, cache);
    case TableKind::kTorchMasks:
      return JudgeTorchMask(table, row);
    case TableKind::kModel:
      return JudgeModel(table, row, cache);
    case TableKind::kLlamaCppBuffers:
      return JudgeLlamaCpp(table, row, options.with_scratch, cache);
    case TableKind::kUnknown:
      break;
  }
  return absl::InternalError("a table without a kind was judged");
}

bool HasAll(const CsvTable& table,
            std::initializer_list<std::string_view> columns) {
  return std::all_of(columns.begin(), columns.end(),
                     [&](std::string_view c) { return table.Has(c); });
}

}  // namespace

TableKind KindOf(const CsvTable& table) {
  const bool attention = HasAll(
      table, {"backend", "dtype", "q_heads", "kv_heads", "head_dim",
              "head_dim_v", "n", "L", "mask", "status", "transient_bytes"});
  if (attention && HasAll(table, {"gqa", "chosen", "torch", "device"})) {
    return TableKind::kTorchAttention;
  }
  if (attention && HasAll(table, {"engine", "version", "device"})) {
    return TableKind::kMlxAttention;
  }
  if (HasAll(table, {"builder", "n", "L", "torch", "transient_bytes"})) {
    return TableKind::kTorchMasks;
  }
  if (HasAll(table, {"model", "layers_measured", "attn", "cache", "n", "L",
                     "torch", "transient_bytes"})) {
    return TableKind::kModel;
  }
  // The table of decoded chunks also states buffers, of their contexts.
  if (HasAll(table, {"arch", "n_ctx", "n_ubatch", "n_outputs",
                     "compute_buffer_bytes"}) &&
      !table.Has("chunk")) {
    return TableKind::kLlamaCppBuffers;
  }
  return TableKind::kUnknown;
}

absl::StatusOr<const Estimator*> EstimatorCache::Get(
    const std::string& key,
    const std::function<absl::StatusOr<EstimatorOptions>()>& make) {
  const auto known = cache_.find(key);
  if (known != cache_.end()) return known->second.estimator.get();
  TG_ASSIGN_OR_RETURN(EstimatorOptions options, make());
  options.catalogue = options_.catalogue;
  options.catalogue_file = options_.catalogue_file;
  if (!options_.profile.empty()) {
    options.use = "calibrated";
    options.profile = options_.profile;
    options.profile_file = options_.profile_file;
  }
  TG_ASSIGN_OR_RETURN(CreatedEstimator created, CreateEstimator(options));
  Entry& entry = cache_[key];
  entry = {.estimator = std::move(created.estimator),
           .model = internal::ModelKey(options.shape),
           .spec = std::move(options.engine)};
  by_estimator_[entry.estimator.get()] = &entry;
  return entry.estimator.get();
}

void EstimatorCache::Describe(const Estimator& estimator, const StepQuery& step,
                              std::string label, JudgedRow* row) const {
  const auto entry = by_estimator_.find(&estimator);
  if (entry == by_estimator_.end() || step.chunks.empty()) return;
  row->route = estimator.RouteName(step);
  row->model = entry->second->model;
  row->spec = entry->second->spec;
  row->label = std::move(label);
  row->n = step.chunks.front().n;
  row->kv_len = step.chunks.front().kv_len;
  row->transient = estimator.Total(step).transient_bytes;
}

absl::StatusOr<JudgedRow> JudgeTorchAttention(const CsvTable& table,
                                              std::size_t row,
                                              EstimatorCache& cache) {
  TG_ASSIGN_OR_RETURN(const BackendName backend,
                      ReadBackend(table, row, "backend"));
  TG_ASSIGN_OR_RETURN(Chunk chunk, ReadChunk(table, row));
  static const std::vector<std::string> kMasks = {"none", "causal", "bool",
                                                  "float", "lower_right"};
  TG_ASSIGN_OR_RETURN(const std::string mask, table.Word(row, "mask", kMasks));
  chunk.mask = mask == "none"     ? MaskKind::kNone
               : mask == "causal" ? MaskKind::kCausal
               : mask == "bool"   ? MaskKind::kBool
               : mask == "float"  ? MaskKind::kFloat
                                  : MaskKind::kLowerRight;
  TG_ASSIGN_OR_RETURN(
      const std::string gqa,
      table.Word(row, "gqa", {"mha", "enable_gqa", "repeat_kv", "native"}));
  TG_ASSIGN_OR_RETURN(const auto tile, table.OptionalInteger(row, "tile", 1));
  TG_ASSIGN_OR_RETURN(EngineSpec engine, ReadTorchEngine(table, row));
  std::string_view expected = backend.kernel;
  TG_ASSIGN_OR_RETURN(const std::string chosen, table.Text(row, "chosen"));
  if (expected.empty() && !chosen.empty()) {
    TG_ASSIGN_OR_RETURN(const BackendName seen,
                        ReadBackend(table, row, "chosen"));
    expected = seen.kernel;
  }
  TG_ASSIGN_OR_RETURN(
      const std::string key,
      Key(table, row,
          {"backend", "dtype", "q_heads", "kv_heads", "head_dim", "head_dim_v",
           "gqa", "tile", "device", "torch"}));
  TG_ASSIGN_OR_RETURN(const Estimator* estimator,
                      cache.Get(key, [&]() -> absl::StatusOr<EstimatorOptions> {
                        EstimatorOptions options;
                        options.engine = engine;
                        options.engine.options["attention"] = backend.option;
                        // One call and no cache: nothing is concatenated.
                        options.engine.options["kv_cache"] = "prealloc";
                        if (gqa == "enable_gqa" || gqa == "repeat_kv") {
                          options.engine.options["gqa"] = gqa;
                        }
                        if (tile)
                          options.engine.options["tile"] = Concat(*tile);
                        TG_ASSIGN_OR_RETURN(options.shape,
                                            ReadAttentionShape(table, row));
                        return options;
                      }));
  return JudgeCall(table, row, cache, *estimator, chunk, EngineName(engine),
                   expected);
}

absl::StatusOr<JudgedRow> JudgeMlxAttention(const CsvTable& table,
                                            std::size_t row,
                                            EstimatorCache& cache) {
  TG_ASSIGN_OR_RETURN(Chunk chunk, ReadChunk(table, row));
  TG_ASSIGN_OR_RETURN(
      const std::string mask,
      table.Word(row, "mask", {"none", "causal", "bool", "float", "float32"}));
  EngineSpec engine;
  TG_ASSIGN_OR_RETURN(engine.name, table.Text(row, "engine"));
  TG_ASSIGN_OR_RETURN(engine.version, table.Text(row, "version"));
  TG_ASSIGN_OR_RETURN(engine.device, table.Text(row, "device"));
  if (mask == "float32") {
    // Refused by MLX for its type, whatever the kernel: no route says so.
    return JudgedRow{.engine = EngineName(engine),
                     .kernel = "float32 mask",
                     .outcome = RowOutcome::kNotPriced};
  }
  chunk.mask = mask == "none"     ? MaskKind::kNone
               : mask == "causal" ? MaskKind::kCausal
               : mask == "bool"   ? MaskKind::kBool
                                  : MaskKind::kFloat;
  TG_ASSIGN_OR_RETURN(const std::string key,
                      Key(table, row,
                          {"engine", "version", "device", "dtype", "q_heads",
                           "kv_heads", "head_dim", "head_dim_v"}));
  TG_ASSIGN_OR_RETURN(const Estimator* estimator,
                      cache.Get(key, [&]() -> absl::StatusOr<EstimatorOptions> {
                        EstimatorOptions options;
                        options.engine = engine;
                        // One call and no cache: nothing is concatenated.
                        options.engine.options["kv_cache"] = "prealloc";
                        TG_ASSIGN_OR_RETURN(options.shape,
                                            ReadAttentionShape(table, row));
                        return options;
                      }));
  return JudgeCall(table, row, cache, *estimator, chunk, EngineName(engine),
                   "");
}

absl::StatusOr<JudgedRow> JudgeTorchMask(const CsvTable& table,
                                         std::size_t row) {
  using internal::TorchMaskBuilder;
  TG_ASSIGN_OR_RETURN(const std::string builder, table.Text(row, "builder"));
  TG_ASSIGN_OR_RETURN(const Chunk chunk, ReadChunk(table, row));
  // Builders are given as the expression that was run; only its operations
  // matter.
  const auto has = [&](std::string_view part) {
    return builder.find(part) != std::string::npos;
  };
  std::optional<TorchMaskBuilder> known;
  if (has("ones") && has("tril")) known = TorchMaskBuilder::kOnesTril;
  if (has("full") && has("triu")) known = TorchMaskBuilder::kFullTriu;
  if (has("arange") && has("<=")) known = TorchMaskBuilder::kArangeCompare;
  if (has("sdpa_mask")) known = TorchMaskBuilder::kSdpaMask;
  if (has("eager_mask")) known = TorchMaskBuilder::kEagerMask;
  if (!known) return table.Error(row, "builder", "a known way to build a mask");
  TG_ASSIGN_OR_RETURN(EngineSpec engine, ReadTorchEngine(table, row));
  internal::TotalsSink sink;
  const std::int64_t width = has("fp32") || has("float32") ? 4 : 2;
  EmitTorchMask(*known, chunk.n, chunk.kv_len, width, sink);
  JudgedRow judged{.engine = EngineName(engine),
                   .kernel = builder,
                   .price = sink.Totals(0).transient_bytes};
  TG_ASSIGN_OR_RETURN(const std::string status, ReadStatus(table, row));
  if (status != "ok") {
    judged.outcome = RowOutcome::kSkippedOom;
    return judged;
  }
  TG_ASSIGN_OR_RETURN(judged.measured,
                      table.Integer(row, "transient_bytes", 1));
  return judged;
}

absl::StatusOr<JudgedRow> JudgeModel(const CsvTable& table, std::size_t row,
                                     EstimatorCache& cache) {
  TG_ASSIGN_OR_RETURN(const Chunk chunk, ReadChunk(table, row));
  TG_ASSIGN_OR_RETURN(EngineSpec engine, ReadTorchEngine(table, row));
  TG_ASSIGN_OR_RETURN(
      const std::string attention,
      table.Word(row, "attn",
                 {"sdpa", "sdpa_efficient", "sdpa_math", "eager", "flash_lr"}));
  TG_ASSIGN_OR_RETURN(const std::string kv_cache,
                      table.Word(row, "cache", {"dynamic", "prealloc"}));
  TG_ASSIGN_OR_RETURN(const std::string status, ReadStatus(table, row));
  JudgedRow judged{.engine = EngineName(engine),
                   .kernel = Concat(attention, "/", kv_cache)};
  if (status != "ok") {
    judged.outcome = RowOutcome::kSkippedOom;
    return judged;
  }
  TG_ASSIGN_OR_RETURN(judged.measured,
                      table.Integer(row, "transient_bytes", 1));
  TG_ASSIGN_OR_RETURN(const std::string key,
                      Key(table, row,
                          {"model", "layers_measured", "dtype", "attn", "cache",
                           "device", "torch"}));
  TG_ASSIGN_OR_RETURN(
      const Estimator* estimator,
      cache.Get(key, [&]() -> absl::StatusOr<EstimatorOptions> {
        EstimatorOptions options;
        options.engine = engine;
        options.engine.options["attention"] =
            attention.starts_with("sdpa") ? "sdpa" : attention;
        if (attention.starts_with("sdpa_")) {
          options.engine.options["sdpa_kernel"] = attention.substr(5);
        }
        options.engine.options["kv_cache"] = kv_cache;
        TG_ASSIGN_OR_RETURN(const std::string model, table.Text(row, "model"));
        if (model.empty() || model.find('/') != std::string::npos) {
          return table.Error(row, "model", "the name of a file in models/");
        }
        ModelOverrides overrides;
        // Without the column, the type is the model's own.
        if (table.Has("dtype")) {
          TG_ASSIGN_OR_RETURN(overrides.compute, ReadCompute(table, row));
          overrides.kv_element =
              ElementSize::OfBytes(SizeOf(*overrides.compute));
        }
        TG_ASSIGN_OR_RETURN(overrides.layers,
                            table.Integer(row, "layers_measured", 1));
        const std::filesystem::path folder =
            std::filesystem::path(table.file()).parent_path();
        const std::string path =
            (folder / "models" / (model + ".json")).string();
        TG_ASSIGN_OR_RETURN(ModelConfig config,
                            LoadModelConfig(path, overrides));
        options.shape = std::move(config.shape);
        return options;
      }));
  // The measured peak counts from before the chunk, so it holds the growth.
  judged.price = estimator->Total({.chunks = {&chunk, 1}}).Need();
  TG_ASSIGN_OR_RETURN(std::string model, table.Text(row, "model"));
  cache.Describe(*estimator, {.chunks = {&chunk, 1}}, std::move(model),
                 &judged);
  return judged;
}

absl::Status JudgeFile(
    const std::string& file, const ValidateOptions& options,
    EstimatorCache& cache,
    const std::function<void(const JudgedRow&, std::size_t line)>& visit) {
  TG_ASSIGN_OR_RETURN(const CsvTable table, ReadCsv(file));
  const TableKind kind = KindOf(table);
  if (kind == TableKind::kUnknown) {
    return internal::InvalidArgument(
        file,
        ": nothing to validate: its columns are none of an attention, mask, "
        "model or compute buffer table");
  }
  for (std::size_t row = 0; row < table.rows(); ++row) {
    TG_ASSIGN_OR_RETURN(const JudgedRow judged,
                        Judge(kind, table, row, options, cache));
    visit(judged, table.line(row));
  }
  return absl::OkStatus();
}

}  // namespace tidegate::tools
