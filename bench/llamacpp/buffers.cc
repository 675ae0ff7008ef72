// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What llama.cpp really allocates for contexts of many sizes, as rows that
// `tidegate validate` reads:
//
//   tidegate_llamacpp_buffers VERSION MODEL.gguf… > compute_buffers.csv

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/llamacpp/common.h"
#include "llama-ext.h"

namespace tidegate::bench {
namespace {

struct Case {
  std::uint32_t n_ctx;
  std::uint32_t n_ubatch;
  std::uint32_t outputs;
  bool flash;
  const char* kv_type;
  ggml_type kv;
};

std::string Meta(const llama_model* model, const std::string& key) {
  char arch[64] = "";
  llama_model_meta_val_str(model, "general.architecture", arch, sizeof(arch));
  char text[64] = "0";
  const std::string full =
      key.find("general.") == 0 ? key : absl::StrCat(arch, ".", key);
  if (llama_model_meta_val_str(model, full.c_str(), text, sizeof(text)) < 0) {
    return "0";
  }
  return text;
}

void Row(llama_model* model, const std::string& shape,
         const std::string& version, const Case& c) {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = c.n_ctx;
  params.n_batch = params.n_ubatch = c.n_ubatch;
  params.n_outputs_max = c.outputs;
  params.swa_full = false;
  params.flash_attn_type =
      c.flash ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.type_k = params.type_v = c.kv;
  llama_context* context = llama_init_from_model(model, params);
  if (context == nullptr) {
    std::fprintf(stderr, "%s: no context of n_ctx %u, n_ubatch %u\n",
                 shape.c_str(), c.n_ctx, c.n_ubatch);
    return;
  }
  Bytes compute = 0, cache = 0;
  for (const auto& [type, bytes] : llama_get_memory_breakdown(context)) {
    compute += static_cast<Bytes>(bytes.compute);
    cache += static_cast<Bytes>(bytes.context);
  }
  llama_free(context);
  const auto shape_of = llamacpp::ShapeOf(model);
  if (!shape_of.ok()) Fail(std::string(shape_of.status().message()));
  const EngineSpec engine{
      "llama.cpp",
      version,
      "cpu",
      {{"flash_attn", c.flash ? "true" : "false"}, {"kv_type", c.kv_type}}};
  const auto estimator =
      CreateEstimator({.shape = *shape_of, .engine = engine});
  if (!estimator.ok()) Fail(std::string(estimator.status().message()));
  const LoadCost cost =
      PriceLoad(*estimator->estimator, c.n_ubatch, c.n_ctx, c.outputs);
  const std::string experts = Meta(model, "expert_count");
  std::string ffn = Meta(model, "expert_feed_forward_length");
  if (ffn == "0") ffn = Meta(model, "feed_forward_length");
  const int vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  std::printf(
      "%s,%s,%d,%d,%s,%d,%d,%s,%d,%s,%s,%s,%d,%u,%u,%lld,%lld,%lld,%llu,%s,%s,"
      "%u,,,,%lld,%lld\n",
      shape.c_str(), Meta(model, "general.architecture").c_str(),
      llama_model_n_layer(model), llama_model_n_embd(model), ffn.c_str(),
      llama_model_n_head(model), llama_model_n_head_kv(model),
      Meta(model, "attention.key_length").c_str(), vocab,
      Meta(model, "attention.sliding_window").c_str(), experts.c_str(),
      c.kv_type, c.flash ? 1 : 0, c.n_ctx, c.n_ubatch,
      static_cast<long long>(compute), static_cast<long long>(cache),
      static_cast<long long>(vocab) * 4 * c.outputs,
      static_cast<unsigned long long>(llama_model_size(model)), version.c_str(),
      Meta(model, "expert_used_count").c_str(), c.outputs,
      static_cast<long long>(cost.transient_bytes),
      static_cast<long long>(cost.kv_bytes));
  std::fflush(stdout);
}

}  // namespace
}  // namespace tidegate::bench

int main(int argc, char** argv) {
  using namespace tidegate::bench;
  if (argc < 3) Fail("usage: tidegate_llamacpp_buffers VERSION MODEL.gguf…");
  std::printf(
      "shape,arch,layers,hidden,ffn,q_heads,kv_heads,head_dim,vocab,swa_window,"
      "n_experts,kv_dtype,flash_attn,n_ctx,n_ubatch,compute_buffer_bytes,"
      "kv_bytes,output_bytes,model_bytes,llamacpp_commit,n_experts_used,"
      "n_outputs,work_bytes_1t,work_bytes_2t,work_bytes_8t,"
      "priced_compute_bytes,priced_kv_bytes\n");
  for (int i = 2; i < argc; ++i) {
    llama_model* model = OpenModel(argv[i]);
    for (const std::uint32_t n_ctx : {1024u, 4096u, 12288u, 32768u, 65536u}) {
      for (const std::uint32_t n_ubatch : {32u, 128u, 512u, 1024u}) {
        for (const bool flash : {true, false}) {
          Row(model, Stem(argv[i]), argv[1],
              {n_ctx, n_ubatch, 1, flash, "f16", GGML_TYPE_F16});
          Row(model, Stem(argv[i]), argv[1],
              {n_ctx, n_ubatch, n_ubatch, flash, "f16", GGML_TYPE_F16});
        }
        Row(model, Stem(argv[i]), argv[1],
            {n_ctx, n_ubatch, 1, true, "q8_0", GGML_TYPE_Q8_0});
      }
    }
    llama_model_free(model);
  }
  return 0;
}
