// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Rows of llama.cpp's compute buffers: a synthetic model stated in columns,
// and what a context of n_ctx and n_ubatch tokens reserved for it.

#include <optional>
#include <string>
#include <utility>

#include "estimators/text.h"
#include "tidegate/model_config.h"
#include "tidegate/status.h"
#include "tools/validate_rows.h"

namespace tidegate::tools {

using internal::Concat;

namespace {

// The row's model, by way of the config.json that its GGUF would have been
// converted from, so that families are read in one place.
absl::StatusOr<ModelShape> ReadShape(const CsvTable& table, std::size_t row) {
  TG_ASSIGN_OR_RETURN(
      const std::string arch,
      table.Word(row, "arch", {"llama", "qwen3", "qwen3moe", "gemma3"}));
  TG_ASSIGN_OR_RETURN(const auto layers, table.Integer(row, "layers", 1));
  TG_ASSIGN_OR_RETURN(const auto hidden, table.Integer(row, "hidden", 1));
  TG_ASSIGN_OR_RETURN(const auto ffn, table.Integer(row, "ffn", 1));
  TG_ASSIGN_OR_RETURN(const auto q_heads, table.Integer(row, "q_heads", 1));
  TG_ASSIGN_OR_RETURN(const auto kv_heads, table.Integer(row, "kv_heads", 1));
  TG_ASSIGN_OR_RETURN(const auto head_dim, table.Integer(row, "head_dim", 1));
  TG_ASSIGN_OR_RETURN(const auto vocab, table.Integer(row, "vocab", 1));
  TG_ASSIGN_OR_RETURN(const auto window, table.Integer(row, "swa_window"));
  TG_ASSIGN_OR_RETURN(const auto experts, table.Integer(row, "n_experts"));
  TG_ASSIGN_OR_RETURN(const auto top_k, table.Integer(row, "n_experts_used"));
  std::string type = arch;
  if (arch == "qwen3moe") type = "qwen3_moe";
  if (arch == "gemma3") type = "gemma3_text";
  if (arch == "llama" && experts > 0) type = "mixtral";
  std::string json = Concat(
      "{\"model_type\": \"", type, "\", \"num_hidden_layers\": ", layers,
      ", \"hidden_size\": ", hidden, ", \"num_attention_heads\": ", q_heads,
      ", \"num_key_value_heads\": ", kv_heads, ", \"head_dim\": ", head_dim,
      ", \"vocab_size\": ", vocab);
  json += Concat(", \"intermediate_size\": ", ffn);
  if (experts > 0) {
    json += Concat(
        ", \"moe_intermediate_size\": ", ffn,
        type == "mixtral" ? ", \"num_local_experts\": " : ", \"num_experts\": ",
        experts, ", \"num_experts_per_tok\": ", top_k);
  }
  if (window > 0) json += Concat(", \"sliding_window\": ", window);
  json += "}";
  TG_ASSIGN_OR_RETURN(
      ModelConfig config,
      ParseModelConfig(json, Concat(table.file(), ":", table.line(row)), {}));
  return std::move(config.shape);
}

}  // namespace

absl::StatusOr<JudgedRow> JudgeLlamaCpp(const CsvTable& table, std::size_t row,
                                        bool with_scratch,
                                        EstimatorCache& cache) {
  EngineSpec engine{.name = "llama.cpp", .device = "cpu"};
  TG_ASSIGN_OR_RETURN(engine.version, table.Text(row, "llamacpp_commit"));
  TG_ASSIGN_OR_RETURN(const std::string flash,
                      table.Word(row, "flash_attn", {"0", "1"}));
  JudgedRow judged{
      .engine = EngineName(engine),
      .kernel = flash == "1" ? "llamacpp.flash" : "llamacpp.unfused"};
  TG_ASSIGN_OR_RETURN(judged.measured,
                      table.Integer(row, "compute_buffer_bytes", 1));
  if (with_scratch) {
    TG_ASSIGN_OR_RETURN(const std::optional<std::int64_t> work,
                        table.OptionalInteger(row, "work_bytes_2t"));
    if (!work) {
      judged.outcome = RowOutcome::kNotPriced;
      return judged;
    }
    judged.measured += *work;
  }
  Chunk chunk;
  TG_ASSIGN_OR_RETURN(chunk.n, table.Integer(row, "n_ubatch", 1));
  TG_ASSIGN_OR_RETURN(chunk.kv_len, table.Integer(row, "n_ctx", 1));
  if (chunk.kv_len < chunk.n || chunk.kv_len > kTokensMax) {
    return table.Error(row, "n_ctx", Concat("n_ubatch to ", kTokensMax));
  }
  TG_ASSIGN_OR_RETURN(const std::int64_t outputs,
                      table.Integer(row, "n_outputs", 1));
  TG_ASSIGN_OR_RETURN(const std::string kv_type,
                      table.Word(row, "kv_dtype",
                                 {"f32", "f16", "bf16", "q8_0", "q5_1", "q5_0",
                                  "q4_1", "q4_0"}));

  std::string key = with_scratch ? "scratch\n" : "\n";
  for (const std::string_view column :
       {"arch", "layers", "hidden", "ffn", "q_heads", "kv_heads", "head_dim",
        "vocab", "swa_window", "n_experts", "n_experts_used", "kv_dtype",
        "flash_attn", "llamacpp_commit"}) {
    TG_ASSIGN_OR_RETURN(const std::string text, table.Text(row, column));
    key += Concat(text, "\n");
  }
  TG_ASSIGN_OR_RETURN(
      const Estimator* estimator,
      cache.Get(key, [&]() -> absl::StatusOr<EstimatorOptions> {
        // n_ctx, n_ubatch and n_outputs are those of the step, so that one
        // estimator serves all contexts of a model.
        EstimatorOptions options;
        options.engine = engine;
        options.engine.options["flash_attn"] = flash == "1" ? "true" : "false";
        options.engine.options["kv_type"] = kv_type;
        options.engine.options["scratch"] = with_scratch ? "true" : "false";
        options.engine.options["threads"] = "2";
        TG_ASSIGN_OR_RETURN(options.shape, ReadShape(table, row));
        return options;
      }));
  const StepQuery step{.chunks = {&chunk, 1}, .logits_rows = outputs};
  judged.price = estimator->Total(step).transient_bytes;
  TG_ASSIGN_OR_RETURN(std::string label, table.Has("shape")
                                             ? table.Text(row, "shape")
                                             : absl::StatusOr<std::string>(""));
  cache.Describe(*estimator, step, std::move(label), &judged);
  return judged;
}

}  // namespace tidegate::tools
