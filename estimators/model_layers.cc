// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Each layer gets a kind and a block first, from a list in the config or from
// the family's pattern; each kind that occurs is then read once, and the
// layers point at it.

#include "estimators/model_layers.h"

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "estimators/text.h"

namespace tidegate::internal {
namespace {

constexpr std::string_view kLayerTypes =
    "full_attention, sliding_attention, chunked_attention, linear_attention, "
    "attention, mamba or hybrid";

bool KindOfType(std::string_view type, LayerKind* kind) {
  if (type == "full_attention" || type == "attention") {
    *kind = LayerKind::kFull;
  } else if (type == "sliding_attention" || type == "chunked_attention") {
    *kind = LayerKind::kSliding;
  } else if (type == "linear_attention" || type == "mamba" ||
             type == "mamba2") {
    *kind = LayerKind::kLinear;
  } else if (type == "hybrid") {
    *kind = LayerKind::kParallel;
  } else {
    return false;
  }
  return true;
}

std::vector<LayerKind> FromTypes(ObjectReader& in, std::string_view key,
                                 std::int64_t layers) {
  const std::vector<std::string> types = in.Strings(key, layers);
  std::vector<LayerKind> kinds(layers, LayerKind::kFull);
  for (std::int64_t i = 0; in.ok() && i < layers; ++i) {
    if (!KindOfType(types[i], &kinds[i])) {
      in.Fail(Concat(key, "[", i, "]"), kLayerTypes, Quote(types[i]));
    }
  }
  return kinds;
}

// `rest` everywhere but on the last layer of each period.
std::vector<LayerKind> Periodic(std::int64_t layers, std::int64_t period,
                                LayerKind rest) {
  std::vector<LayerKind> kinds(layers, rest);
  for (std::int64_t i = 0; i < layers; ++i) {
    if ((i + 1) % period == 0) kinds[i] = LayerKind::kFull;
  }
  return kinds;
}

// 1 marks the layers of kind `marked`.
std::vector<LayerKind> FromFlags(ObjectReader& in, std::string_view key,
                                 std::int64_t layers, LayerKind marked,
                                 LayerKind rest) {
  const std::vector<std::int64_t> flags = in.Ints(key, layers, 0, 1);
  std::vector<LayerKind> kinds(layers, rest);
  for (std::int64_t i = 0; i < layers; ++i) {
    if (flags[i] == 1) kinds[i] = marked;
  }
  return kinds;
}

std::vector<LayerKind> FromIndices(const std::vector<std::int64_t>& indices,
                                   std::int64_t first, std::int64_t layers,
                                   LayerKind marked, LayerKind rest) {
  std::vector<LayerKind> kinds(layers, rest);
  for (std::int64_t index : indices) {
    if (index - first < layers) kinds[index - first] = marked;
  }
  return kinds;
}

std::vector<LayerKind> ReadKimi(ObjectReader& in, std::int64_t layers) {
  const JsonValue* config = in.Find("linear_attn_config");
  if (config == nullptr || !config->IsObject()) {
    in.FailAt("linear_attn_config", "an object");
    return std::vector<LayerKind>(layers, LayerKind::kFull);
  }
  ObjectReader part(*config, in.file(), in.prefix() + "linear_attn_config.");
  if (!part.Has("kda_layers")) part.FailAt("kda_layers", "an array");
  const auto kinds = FromIndices(part.IntsOrEmpty("kda_layers", 1, layers), 1,
                                 layers, LayerKind::kLinear, LayerKind::kFull);
  in.Absorb(part);
  return kinds;
}

std::vector<LayerKind> ReadChunked(ObjectReader& in, const ModelFamily& family,
                                   std::int64_t layers) {
  if (!in.Has("attention_chunk_size")) {
    return std::vector<LayerKind>(layers, LayerKind::kFull);
  }
  const JsonValue* list = in.Find("no_rope_layers");
  // An empty list stands for the default, as in transformers.
  if (list != nullptr && !list->items.empty()) {
    return FromFlags(in, "no_rope_layers", layers, LayerKind::kSliding,
                     LayerKind::kFull);
  }
  return Periodic(
      layers, in.IntOr("no_rope_layer_interval", family.period, 1, kMaxLayers),
      LayerKind::kSliding);
}

std::vector<LayerKind> ReadWindowed(ObjectReader& in, const ModelFamily& family,
                                    std::int64_t layers) {
  std::vector<LayerKind> kinds(layers, LayerKind::kFull);
  if (!in.Has("sliding_window")) return kinds;
  if (family.pattern == LayerPattern::kWindow) {
    std::fill(kinds.begin(), kinds.end(), LayerKind::kSliding);
  } else if (family.pattern == LayerPattern::kUpperWindow) {
    if (!in.BoolOr("use_sliding_window", false)) return kinds;
    const std::int64_t first = in.IntOr("max_window_layers", 28, 0, kMaxLayers);
    std::fill(kinds.begin() + std::min(first, layers), kinds.end(),
              LayerKind::kSliding);
  } else {
    const std::string_view key =
        in.FirstOf({"sliding_window_pattern", "_sliding_window_pattern"});
    kinds = Periodic(layers, in.IntOr(key, family.period, 1, kMaxLayers),
                     LayerKind::kSliding);
  }
  return kinds;
}

std::vector<LayerKind> ReadByPattern(ObjectReader& in,
                                     const ModelFamily& family,
                                     std::int64_t layers) {
  switch (family.pattern) {
    case LayerPattern::kFull:
    case LayerPattern::kCharacters:
      break;
    case LayerPattern::kWindow:
    case LayerPattern::kUpperWindow:
    case LayerPattern::kPeriodicWindow:
      return ReadWindowed(in, family, layers);
    case LayerPattern::kChunked:
      return ReadChunked(in, family, layers);
    case LayerPattern::kSwaPattern:
      return FromFlags(in, "hybrid_layer_pattern", layers, LayerKind::kSliding,
                       LayerKind::kFull);
    case LayerPattern::kPeriodicLinear:
      return Periodic(
          layers,
          in.IntOr("full_attention_interval", family.period, 1, kMaxLayers),
          LayerKind::kLinear);
    case LayerPattern::kLightning: {
      if (in.Has("attn_type_list") || family.period == 0) {
        return FromFlags(in, "attn_type_list", layers, LayerKind::kFull,
                         LayerKind::kLinear);
      }
      // transformers' own default starts with a full layer.
      std::vector<LayerKind> kinds(layers, LayerKind::kFull);
      for (std::int64_t i = 1; i < layers; i += 2)
        kinds[i] = LayerKind::kLinear;
      return kinds;
    }
    case LayerPattern::kAttentionPeriod: {
      const std::int64_t period = in.Int("attn_layer_period", 1, kMaxLayers);
      const std::int64_t offset = in.Int("attn_layer_offset", 0, kMaxLayers);
      std::vector<LayerKind> kinds(layers, LayerKind::kLinear);
      for (std::int64_t i = 0; i < layers; ++i) {
        if (i % period == offset) kinds[i] = LayerKind::kFull;
      }
      return kinds;
    }
    case LayerPattern::kAttentionIndices:
      return FromIndices(in.IntsOrEmpty("attn_layer_indices", 0, layers - 1), 0,
                         layers, LayerKind::kFull, LayerKind::kLinear);
    case LayerPattern::kStated:
      return FromTypes(in, "layer_types", layers);
    case LayerPattern::kParallel:
      return std::vector<LayerKind>(layers, LayerKind::kParallel);
    case LayerPattern::kKimiLinear:
      return ReadKimi(in, layers);
  }
  return std::vector<LayerKind>(layers, LayerKind::kFull);
}

// Nemotron-H: one character a layer, each layer either a mixer or a block.
void ReadCharacters(ObjectReader& in, std::int64_t layers,
                    std::vector<LayerKind>& kinds,
                    std::vector<BlockKind>& blocks) {
  std::string pattern;
  const std::string_view key =
      in.FirstOf({"hybrid_override_pattern", "layers_block_type"});
  const JsonValue* value = in.Find(key);
  if (value != nullptr && value->type == JsonValue::Type::kArray) {
    const std::map<std::string, char, std::less<>> names = {
        {"mamba", 'M'}, {"attention", '*'}, {"mlp", '-'}, {"moe", 'E'}};
    for (const std::string& type : in.Strings(key, layers)) {
      const auto found = names.find(type);
      pattern.push_back(found != names.end() ? found->second
                        : type.size() == 1   ? type.front()
                                             : '?');
    }
  } else {
    if (value == nullptr) in.FailAt(key, "a string of M, *, - and E");
    pattern = in.StringOrEmpty(key);
  }
  if (!in.ok()) return;
  if (static_cast<std::int64_t>(pattern.size()) != layers) {
    in.Fail(key, Concat(layers, " entries, one a layer"),
            Concat(pattern.size()));
    return;
  }
  if (pattern.find_first_not_of("M*-E") != std::string::npos) {
    in.FailAt(key, "only M, *, - and E");
    return;
  }
  for (std::int64_t i = 0; i < layers; ++i) {
    kinds[i] = pattern[i] == 'M'   ? LayerKind::kLinear
               : pattern[i] == '*' ? LayerKind::kFull
                                   : LayerKind::kNone;
    blocks[i] = pattern[i] == '-'   ? BlockKind::kDense
                : pattern[i] == 'E' ? BlockKind::kMoe
                                    : BlockKind::kNone;
  }
}

template <typename T>
int IndexOf(std::vector<T>& list, const T& item) {
  const auto found = std::find(list.begin(), list.end(), item);
  if (found != list.end()) return static_cast<int>(found - list.begin());
  list.push_back(item);
  return static_cast<int>(list.size()) - 1;
}

// Attention, latent or not, of one kind of layer.
class MixerReader {
 public:
  MixerReader(ObjectReader& in, const ModelFamily& family, ModelShape& shape)
      : in_(in), family_(family), shape_(shape) {}

  int Attention(LayerKind kind, bool stores_kv, bool stores_index) {
    const auto [place, fresh] =
        attention_.try_emplace({kind, stores_kv, stores_index}, 0);
    if (fresh) {
      Mixer m = in_.Has("kv_lora_rank")
                    ? ReadLatent(in_)
                    : ReadAttention(in_, family_, shape_, kind);
      m.stores_kv = stores_kv;
      m.stores_index = stores_index;
      place->second = IndexOf(shape_.mixers, m);
    }
    return place->second;
  }
  int Linear() {
    if (linear_ < 0) {
      linear_ = IndexOf(shape_.mixers, ReadLinear(in_, family_, shape_));
    }
    return linear_;
  }
  int None() {
    Mixer m;
    m.kind = MixerKind::kNone;
    return IndexOf(shape_.mixers, m);
  }

 private:
  struct Key {
    LayerKind kind;
    bool stores_kv;
    bool stores_index;
    auto operator<=>(const Key&) const = default;
  };
  ObjectReader& in_;
  const ModelFamily& family_;
  ModelShape& shape_;
  std::map<Key, int> attention_;
  int linear_ = -1;
};

}  // namespace

std::vector<LayerKind> ReadLayerKinds(ObjectReader& in,
                                      const ModelFamily& family,
                                      std::int64_t layers) {
  const std::string_view key = in.FirstOf({"layer_types", "layers_block_type"});
  std::vector<LayerKind> kinds = in.Has(key)
                                     ? FromTypes(in, key, layers)
                                     : ReadByPattern(in, family, layers);
  // Gemma 4 makes its last layer full whatever the list says.
  if (family.type == "gemma4") kinds.back() = LayerKind::kFull;
  return kinds;
}

std::int64_t ReadLayerCount(ObjectReader& in, const ModelFamily& family) {
  const JsonValue* pattern =
      in.Find(in.FirstOf({"hybrid_override_pattern", "layers_block_type"}));
  if (family.pattern == LayerPattern::kCharacters && pattern != nullptr &&
      !in.Has("num_hidden_layers")) {
    const std::size_t length =
        std::max(pattern->items.size(), pattern->text.size());
    if (length >= 1 && length <= static_cast<std::size_t>(kMaxLayers)) {
      return static_cast<std::int64_t>(length);
    }
  }
  return in.Int("num_hidden_layers", 1, kMaxLayers);
}

void ReadLayers(ObjectReader& in, const ModelFamily& family,
                ModelShape& shape) {
  const std::int64_t layers = ReadLayerCount(in, family);
  if (!in.ok()) return;
  std::vector<LayerKind> kinds(layers, LayerKind::kFull);
  std::vector<BlockKind> blocks(layers, BlockKind::kDense);
  if (family.pattern == LayerPattern::kCharacters) {
    ReadCharacters(in, layers, kinds, blocks);
  } else {
    kinds = ReadLayerKinds(in, family, layers);
    blocks = ReadBlockKinds(in, family, kinds);
  }
  const std::int64_t shared =
      in.IntOr("num_kv_shared_layers", 0, 0, layers - 1);
  const std::vector<bool> indexed = ReadIndexedLayers(in, layers);

  MixerReader mixers(in, family, shape);
  int moe = -1;
  for (std::int64_t i = 0; in.ok() && i < layers; ++i) {
    const bool stores_kv = i < layers - shared;
    const bool stores_index = !indexed.empty() && indexed[i];
    Layer layer;
    switch (kinds[i]) {
      case LayerKind::kFull:
      case LayerKind::kSliding:
        layer.mixer = mixers.Attention(kinds[i], stores_kv, stores_index);
        break;
      case LayerKind::kLinear:
        layer.mixer = mixers.Linear();
        break;
      case LayerKind::kNone:
        layer.mixer = mixers.None();
        break;
      case LayerKind::kParallel:
        layer.mixer = mixers.Attention(LayerKind::kFull, stores_kv, false);
        layer.extra_mixer = mixers.Linear();
        break;
    }
    switch (blocks[i]) {
      case BlockKind::kDense:
        layer.feed_forward =
            IndexOf(shape.feed_forwards,
                    ReadDense(in, family, i, layers, shape.hidden));
        break;
      case BlockKind::kMoe:
        if (moe < 0) moe = IndexOf(shape.feed_forwards, ReadMoe(in, family));
        layer.feed_forward = moe;
        break;
      case BlockKind::kNone: {
        FeedForward none;
        none.kind = FeedForwardKind::kNone;
        layer.feed_forward = IndexOf(shape.feed_forwards, none);
        break;
      }
    }
    shape.layers.push_back(layer);
  }
}

}  // namespace tidegate::internal
