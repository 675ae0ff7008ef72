// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <string>

#include "estimators/model_layers.h"
#include "estimators/text.h"

namespace tidegate::internal {
namespace {

// Key heads, which some families name or default otherwise.
std::int64_t ReadKvHeads(ObjectReader& in, const ModelFamily& family,
                         std::int64_t q_heads, std::string_view key) {
  if (family.type == "falcon") {
    if (in.BoolOr("new_decoder_architecture", false)) {
      return in.Int(in.FirstOf({"num_kv_heads", "n_head_kv"}), 1, q_heads);
    }
    return in.BoolOr("multi_query", true) ? 1 : q_heads;
  }
  if (!in.Has(key) && family.mha_default) return q_heads;
  return in.Int(key, 1, q_heads);
}

std::int64_t ReadHeadDim(ObjectReader& in, const ModelShape& shape,
                         std::int64_t q_heads) {
  const std::string_view key = in.FirstOf({"head_dim", "attention_head_dim"});
  if (in.Has(key)) return in.Int(key, 1, kMaxWidth);
  if (shape.hidden % q_heads != 0) {
    in.Fail("head_dim",
            Concat("it stated where hidden_size ", shape.hidden,
                   " is no multiple of num_attention_heads ", q_heads),
            "nothing");
    return 1;
  }
  return shape.hidden / q_heads;
}

Tokens ReadWindow(ObjectReader& in, const ModelFamily& family) {
  const bool chunked =
      family.pattern == LayerPattern::kChunked ||
      (!in.Has("sliding_window") && in.Has("attention_chunk_size"));
  return in.Int(chunked ? "attention_chunk_size" : "sliding_window", 1,
                kTokensMax);
}

// Width of the recurrent state's elements.
std::int64_t ReadStateBytes(ObjectReader& in) {
  const std::string_view key =
      in.FirstOf({"mamba_ssm_cache_dtype", "mamba_ssm_dtype"});
  const std::string type = in.StringOrEmpty(key);
  if (type.empty() || type == "auto" || type == "float32") return 4;
  if (type == "float16" || type == "bfloat16") return 2;
  in.FailAt(key, "float32, float16 or bfloat16");
  return 4;
}

void ReadDeltaNet(ObjectReader& in, Mixer& m) {
  m.linear = LinearKind::kGatedDeltaNet;
  m.linear_key_heads = in.Int("linear_num_key_heads", 1, kMaxWidth);
  m.linear_value_heads = in.Int("linear_num_value_heads", 1, kMaxWidth);
  m.linear_key_dim = in.Int("linear_key_head_dim", 1, kMaxWidth);
  m.linear_value_dim = in.Int("linear_value_head_dim", 1, kMaxWidth);
  m.linear_inner = SatMul(m.linear_value_heads, m.linear_value_dim);
  // q, k and v pass the convolution together.
  m.conv_dim =
      SatAdd(SatMul(2, m.linear_key_heads, m.linear_key_dim), m.linear_inner);
  m.conv_kernel = in.IntOr("linear_conv_kernel_dim", 4, 1, 1024);
}

void ReadKda(ObjectReader& in, Mixer& m) {
  const JsonValue* config = in.Find("linear_attn_config");
  if (config == nullptr || !config->IsObject()) {
    in.FailAt("linear_attn_config", "an object");
    return;
  }
  ObjectReader kda(*config, in.file(), in.prefix() + "linear_attn_config.");
  m.linear = LinearKind::kGatedDeltaNet;
  m.linear_key_heads = kda.Int("num_heads", 1, kMaxWidth);
  m.linear_value_heads = m.linear_key_heads;
  m.linear_key_dim = kda.Int("head_dim", 1, kMaxWidth);
  m.linear_value_dim = m.linear_key_dim;
  m.linear_inner = SatMul(m.linear_value_heads, m.linear_value_dim);
  m.conv_dim = SatMul(3, m.linear_inner);
  m.conv_kernel = kda.IntOr("short_conv_kernel_size", 4, 1, 1024);
  in.Absorb(kda);
}

void ReadLightning(ObjectReader& in, const ModelShape& shape, Mixer& m) {
  m.linear = LinearKind::kOther;
  m.linear_value_heads = in.Int("num_attention_heads", 1, kMaxWidth);
  m.linear_key_heads = m.linear_value_heads;
  m.linear_key_dim = ReadHeadDim(in, shape, m.linear_value_heads);
  m.linear_value_dim = m.linear_key_dim;
  m.linear_inner = SatMul(m.linear_value_heads, m.linear_value_dim);
}

void ReadMamba1(ObjectReader& in, const ModelShape& shape, Mixer& m) {
  m.linear = LinearKind::kMamba1;
  m.linear_inner = SatMul(in.IntOr("mamba_expand", 2, 1, 1024), shape.hidden);
  m.linear_key_dim = in.Int("mamba_d_state", 1, kMaxWidth);
  m.conv_dim = m.linear_inner;
  m.conv_kernel = in.Int("mamba_d_conv", 1, 1024);
}

void ReadMamba2(ObjectReader& in, const ModelShape& shape, Mixer& m) {
  m.linear = LinearKind::kMamba2;
  m.linear_value_heads =
      in.Int(in.FirstOf({"mamba_n_heads", "mamba_num_heads"}), 1, kMaxWidth);
  m.linear_key_heads =
      in.Int(in.FirstOf({"mamba_n_groups", "n_groups"}), 1, kMaxWidth);
  m.linear_key_dim =
      in.Int(in.FirstOf({"mamba_d_state", "ssm_state_size"}), 1, kMaxWidth);
  m.conv_kernel = in.Int(in.FirstOf({"mamba_d_conv", "conv_kernel"}), 1, 1024);
  const std::string_view dim = in.FirstOf({"mamba_d_head", "mamba_head_dim"});
  const JsonValue* stated = in.Find(dim);
  if (stated == nullptr || stated->type == JsonValue::Type::kString) {
    // "auto": the inner width is stated and shared out.
    if (stated != nullptr && stated->text != "auto") {
      in.FailAt(dim, "an integer or \"auto\"");
      return;
    }
    m.linear_inner =
        in.Has("mamba_d_ssm")
            ? in.Int("mamba_d_ssm", 1, kMaxWidth)
            : SatMul(in.IntOr("mamba_expand", 2, 1, 1024), shape.hidden);
    if (m.linear_inner % m.linear_value_heads != 0) {
      in.Fail(dim,
              Concat("it stated where the inner width ", m.linear_inner,
                     " is no multiple of ", m.linear_value_heads, " heads"),
              stated == nullptr ? "nothing" : "\"auto\"");
    }
    m.linear_value_dim = m.linear_inner / m.linear_value_heads;
  } else {
    m.linear_value_dim = in.Int(dim, 1, kMaxWidth);
    m.linear_inner = SatMul(m.linear_value_heads, m.linear_value_dim);
  }
  // x, B and C pass the convolution together.
  m.conv_dim =
      SatAdd(m.linear_inner, SatMul(2, m.linear_key_heads, m.linear_key_dim));
}

}  // namespace

Mixer ReadAttention(ObjectReader& in, const ModelFamily& family,
                    const ModelShape& shape, LayerKind kind) {
  Mixer m;
  m.q_heads = in.Int("num_attention_heads", 1, kMaxWidth);
  m.kv_heads = ReadKvHeads(in, family, m.q_heads, "num_key_value_heads");
  m.head_dim = ReadHeadDim(in, shape, m.q_heads);
  m.head_dim_v = in.IntOr("v_head_dim", m.head_dim, 1, kMaxWidth);
  m.sinks = family.sinks;
  m.output_gate = in.BoolOr("attn_output_gate", family.output_gate);
  m.qk_norm = in.BoolOr("use_qk_norm", family.qk_norm);
  m.bias = in.BoolOr("attention_bias", family.bias);
  m.softcap = in.Has("attn_logit_softcapping");

  if (kind == LayerKind::kSliding) {
    m.window = ReadWindow(in, family);
    m.kind = MixerKind::kSliding;
    // A window that no prompt of the stated length fills never slides: the
    // layer grows with every token, and must be counted so.
    if (shape.max_position.has_value() && m.window >= *shape.max_position) {
      m.kind = MixerKind::kFull;
      m.window = 0;
    }
  }
  if (family.type == "gemma4" && kind == LayerKind::kFull) {
    // Keys and values may share a projection here (attention_k_eq_v), but both
    // are stored: keys are rotated and normed, values are not.
    m.head_dim = in.IntOr("global_head_dim", 512, 1, kMaxWidth);
    m.head_dim_v = m.head_dim;
    if (in.BoolOr("attention_k_eq_v", false) &&
        in.Has("num_global_key_value_heads")) {
      m.kv_heads = in.Int("num_global_key_value_heads", 1, m.q_heads);
    }
  }
  if (family.pattern == LayerPattern::kSwaPattern) {
    const bool sliding = kind == LayerKind::kSliding;
    m.sinks = in.BoolOr(sliding ? "add_swa_attention_sink_bias"
                                : "add_full_attention_sink_bias",
                        sliding);
    if (sliding) {
      m.q_heads = in.IntOr("swa_num_attention_heads", m.q_heads, 1, kMaxWidth);
      m.kv_heads =
          in.IntOr("swa_num_key_value_heads", m.kv_heads, 1, m.q_heads);
      m.head_dim = in.IntOr("swa_head_dim", m.head_dim, 1, kMaxWidth);
      m.head_dim_v = in.IntOr("swa_v_head_dim", m.head_dim_v, 1, kMaxWidth);
    }
  }
  if (m.q_heads % m.kv_heads != 0) {
    in.FailAt("num_key_value_heads",
              Concat("a divisor of the ", m.q_heads, " attention heads"));
  }
  return m;
}

Mixer ReadLatent(ObjectReader& in) {
  Mixer m;
  m.kind = MixerKind::kLatent;
  m.q_heads = in.Int("num_attention_heads", 1, kMaxWidth);
  m.kv_heads = m.q_heads;
  m.kv_lora_rank = in.Int("kv_lora_rank", 1, kMaxWidth);
  m.q_lora_rank = in.IntOr("q_lora_rank", 0, 0, kMaxWidth);
  m.rope_dim = in.Int("qk_rope_head_dim", 0, kMaxWidth);
  m.head_dim = SatAdd(in.Int("qk_nope_head_dim", 1, kMaxWidth), m.rope_dim);
  m.head_dim_v = in.Int("v_head_dim", 1, kMaxWidth);
  m.bias = in.BoolOr("attention_bias", false);
  m.output_gate = in.BoolOr("mla_use_output_gate", false);
  if (in.Has("index_head_dim")) {
    m.index_head_dim = in.Int("index_head_dim", 1, kMaxWidth);
    m.index_heads = in.Int("index_n_heads", 1, kMaxWidth);
    m.index_topk = in.Int("index_topk", 1, kTokensMax);
  }
  return m;
}

std::vector<bool> ReadIndexedLayers(ObjectReader& in, std::int64_t layers) {
  if (!in.Has("index_head_dim")) return {};
  std::vector<bool> stored(layers, true);
  if (in.Has("indexer_types")) {
    const std::vector<std::string> types = in.Strings("indexer_types", layers);
    for (std::int64_t i = 0; in.ok() && i < layers; ++i) {
      if (types[i] != "full" && types[i] != "shared") {
        in.Fail(Concat("indexer_types[", i, "]"), "\"full\" or \"shared\"",
                Quote(types[i]));
      }
      stored[i] = types[i] == "full";
    }
    return stored;
  }
  // GLM-5.2's short form of the list.
  const std::int64_t freq = in.IntOr("index_topk_freq", 1, 1, kMaxLayers);
  const std::int64_t offset =
      in.IntOr("index_skip_topk_offset", 2, 0, kMaxLayers);
  for (std::int64_t i = 0; i < layers; ++i) {
    stored[i] = std::max<std::int64_t>(i - offset + 1, 0) % freq == 0;
  }
  return stored;
}

Mixer ReadLinear(ObjectReader& in, const ModelFamily& family,
                 const ModelShape& shape) {
  Mixer m;
  m.kind = MixerKind::kLinear;
  switch (family.linear) {
    case LinearFamily::kDeltaNet:
      ReadDeltaNet(in, m);
      break;
    case LinearFamily::kKda:
      ReadKda(in, m);
      break;
    case LinearFamily::kLightning:
      ReadLightning(in, shape, m);
      break;
    case LinearFamily::kMamba1:
      ReadMamba1(in, shape, m);
      break;
    case LinearFamily::kMamba2:
      ReadMamba2(in, shape, m);
      break;
    case LinearFamily::kNone:
      // A model_type not known: its keys say which of the two it is.
      if (in.Has("linear_num_value_heads")) {
        ReadDeltaNet(in, m);
      } else {
        ReadMamba2(in, shape, m);
      }
      break;
  }
  m.state_element_bytes = ReadStateBytes(in);
  return m;
}

}  // namespace tidegate::internal
