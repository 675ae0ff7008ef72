// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Prices for an invented attention kernel. Chunks of up to 64 tokens take a
// split-KV variant: the keys are divided among several blocks, each of which
// writes a partial result in fp32. Wider chunks take a tiled variant, with one
// tile of scores per head. Both write their output in the compute type.
#include <algorithm>
#include <string>
#include <vector>

#include "tidegate/plugin.hpp"

namespace plugin = tidegate::plugin;

struct PagedTiles : plugin::Estimator {
  explicit PagedTiles(const plugin::Setup& setup)
      : heads(setup.model().q_heads),
        dim(setup.model().head_dim_v),
        element(setup.model().compute_bytes),
        page(setup.Integer("page", 256)) {
    if (heads < 1) throw std::invalid_argument("the model has no attention");
    if (page < 1) throw std::invalid_argument("page: expected at least 1");
  }

  plugin::Cost Price(const tidegate_step& step) const {
    const Sums sums = Of(step);
    return {plugin::Add(sums.scratch, sums.output)};
  }

  // A chunk of 65 tokens can cost less than one of 64.
  std::vector<std::int64_t> Breakpoints(const tidegate_range& range) const {
    const std::int64_t first_tiled = kSplitRows + 1;
    const bool widths_move = range.axis != TIDEGATE_AXIS_KV_LEN;
    if (widths_move && range.lo < first_tiled && first_tiled <= range.hi) {
      return {first_tiled};
    }
    return {};
  }

  std::string Route(const tidegate_step& step) const {
    for (const tidegate_chunk& chunk : plugin::Chunks(step)) {
      if (chunk.n > kSplitRows) return "paged_tiles.tiled";
    }
    return "paged_tiles.split_kv";
  }

  std::vector<plugin::Term> Terms(const tidegate_step& step) const {
    const Sums sums = Of(step);
    return {{"scratch", sums.scratch}, {"output", sums.output}};
  }

 private:
  static constexpr std::int64_t kSplitRows = 64;
  static constexpr std::int64_t kSplit = 2048;  // keys of a block
  static constexpr std::int64_t kTileRows = 128;

  struct Sums {
    std::int64_t scratch = 0;
    std::int64_t output = 0;
  };

  std::int64_t Scratch(std::int64_t n, std::int64_t kv_len) const {
    if (n > kSplitRows) {
      return plugin::Mul(heads, kTileRows, std::min(page, kv_len), 4);
    }
    // A row, its largest score and its sum, for each block of keys.
    const std::int64_t splits = (kv_len + kSplit - 1) / kSplit;
    return plugin::Mul(heads, n, splits, (dim + 2) * 4);
  }

  Sums Of(const tidegate_step& step) const {
    Sums sums;
    const auto add = [&](std::int64_t n, std::int64_t kv_len,
                         std::int64_t times) {
      sums.scratch =
          plugin::Add(sums.scratch, plugin::Mul(times, Scratch(n, kv_len)));
      sums.output =
          plugin::Add(sums.output, plugin::Mul(times, heads, n, dim * element));
    };
    for (const tidegate_chunk& chunk : plugin::Chunks(step)) {
      add(chunk.n, chunk.kv_len, 1);
    }
    if (step.decode_tokens > 0) {
      add(1, step.decode_kv_len, step.decode_tokens);
    }
    return sums;
  }

  std::int64_t heads;
  std::int64_t dim;
  std::int64_t element;
  std::int64_t page;
};

TIDEGATE_PLUGIN("paged_tiles", "1.0", PagedTiles)
