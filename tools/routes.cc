// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/routes.h"

#include <algorithm>
#include <utility>

#include "estimators/text.h"
#include "tidegate/status.h"
#include "tools/output.h"

namespace tidegate::tools {
namespace {

using internal::Concat;

std::string KindName(const Mixer& mixer) {
  switch (mixer.kind) {
    case MixerKind::kFull:
      return "full attention";
    case MixerKind::kSliding:
      return Concat("sliding window of ", TokenCount(mixer.window));
    case MixerKind::kLatent:
      return mixer.index_heads > 0 ? "latent attention with a sparse indexer"
                                   : "latent attention";
    case MixerKind::kLinear:
      switch (mixer.linear) {
        case LinearKind::kGatedDeltaNet:
          return "linear attention (gated delta net)";
        case LinearKind::kMamba1:
          return "state space (Mamba)";
        case LinearKind::kMamba2:
          return "state space (Mamba-2)";
        case LinearKind::kOther:
          return "linear attention";
      }
      return "linear attention";
    case MixerKind::kNone:
      return "no mixer";
  }
  return "";
}

bool Attends(const Mixer& mixer) {
  return mixer.kind == MixerKind::kFull || mixer.kind == MixerKind::kSliding ||
         mixer.kind == MixerKind::kLatent;
}

// What a law asks the catalogue for this layer.
AttentionFacts FactsOf(const Mixer& mixer, std::string_view law) {
  AttentionFacts facts{.q_heads = mixer.q_heads,
                       .kv_heads = mixer.kv_heads,
                       .head_dim = mixer.head_dim,
                       .head_dim_v = mixer.head_dim_v};
  if (mixer.kind != MixerKind::kLatent) return facts;
  // Latent rows are expanded to keys and values of every head; MLX gives the
  // rotated dims to its kernel as a mask.
  facts.kv_heads = mixer.q_heads;
  if (law == "mlx") facts.head_dim = mixer.head_dim - mixer.rope_dim;
  return facts;
}

}  // namespace

std::string DescribeMixer(const Mixer& mixer) {
  std::string text = KindName(mixer);
  if (!Attends(mixer)) return text;
  text +=
      Concat(", ", mixer.q_heads, mixer.q_heads == 1 ? " q head" : " q heads");
  if (mixer.kind == MixerKind::kLatent) {
    text += Concat(", latent rank ", mixer.kv_lora_rank, " + ", mixer.rope_dim,
                   " rotated");
  } else {
    text += Concat(", ", mixer.kv_heads,
                   mixer.kv_heads == 1 ? " kv head" : " kv heads");
  }
  text += Concat(", head dim ", mixer.head_dim);
  if (mixer.head_dim_v != mixer.head_dim) {
    text += Concat("/", mixer.head_dim_v);
  }
  if (!mixer.stores_kv) text += ", shares another layer's KV";
  if (mixer.softcap) text += ", soft-capped scores";
  if (mixer.sinks) text += ", attention sinks";
  return text;
}

std::string DescribeFeedForward(const FeedForward& feed_forward) {
  switch (feed_forward.kind) {
    case FeedForwardKind::kDense:
      return Concat(feed_forward.gated ? "gated " : "",
                    "dense feed-forward, width ",
                    Grouped(feed_forward.intermediate));
    case FeedForwardKind::kMoe: {
      std::string text =
          Concat(Grouped(feed_forward.experts), " experts of width ",
                 Grouped(feed_forward.intermediate), ", ", feed_forward.top_k,
                 " chosen");
      if (feed_forward.shared_intermediate > 0) {
        text += Concat(", shared experts of width ",
                       Grouped(feed_forward.shared_intermediate));
      }
      return text;
    }
    case FeedForwardKind::kNone:
      return "no feed-forward";
  }
  return "";
}

absl::StatusOr<std::vector<LayerRoute>> LayerRoutes(const Inputs& inputs,
                                                    const Chunk& chunk) {
  std::vector<LayerRoute> routes;
  const EstimatorOptions& options = inputs.estimator_options;
  if (options.use != "catalog") return routes;
  TG_ASSIGN_OR_RETURN(
      const Catalogue catalogue,
      Catalogue::BuiltinWith(options.catalogue, options.catalogue_file));
  TG_ASSIGN_OR_RETURN(const ResolvedEngine engine,
                      catalogue.Resolve(options.engine));
  const ModelShape& shape = inputs.shape;
  for (std::size_t i = 0; i < shape.mixers.size(); ++i) {
    const Mixer& mixer = shape.mixers[i];
    if (!Attends(mixer) || shape.MixerCount(static_cast<int>(i)) == 0) continue;
    LayerRoute layer{.layers = KindName(mixer), .route = {}};
    if (mixer.softcap && engine.law == "mlx") {
      layer.route = {
          .kernel = "mlx.unfused",
          .assumed = engine.assumed,
          .reason = "",
          .source = "soft-capped scores are written out by the model itself"};
    } else {
      TG_ASSIGN_OR_RETURN(const RouteTable table,
                          catalogue.Bind(engine, FactsOf(mixer, engine.law),
                                         shape.compute, {}));
      Tokens kv_len = chunk.kv_len;
      if (mixer.kind == MixerKind::kSliding) {
        kv_len = std::min(kv_len, SatAdd(mixer.window - 1, chunk.n));
      }
      layer.route = table.Find(chunk.n, kv_len, chunk.mask);
    }
    const bool known =
        std::any_of(routes.begin(), routes.end(), [&](const LayerRoute& other) {
          return other.layers == layer.layers && other.route == layer.route;
        });
    if (!known) routes.push_back(std::move(layer));
  }
  return routes;
}

}  // namespace tidegate::tools
