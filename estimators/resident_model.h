// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// ModelShape::SequenceBytes with the walk over the layers done beforehand: a
// price is asked for thousands of times, a shape does not change.
//
// Immutable after construction; thread-safe.

#ifndef TIDEGATE_ESTIMATORS_RESIDENT_MODEL_H_
#define TIDEGATE_ESTIMATORS_RESIDENT_MODEL_H_

#include <algorithm>
#include <vector>

#include "tidegate/estimator.h"
#include "tidegate/model_shape.h"
#include "tidegate/types.h"

namespace tidegate::internal {

class ResidentModel {
 public:
  // `shape` must be valid. With `full_width_beside`, every stored element is
  // kept a second time in the compute type, where that is wider: an engine
  // that quantises its cache only after the prompt has both at that moment.
  ResidentModel(const ModelShape& shape, bool full_width_beside)
      : element_(shape.kv_element) {
    const std::int64_t full = SizeOf(shape.compute) * 65536;
    if (full_width_beside && full > element_.per_65536) {
      element_.per_65536 += full;
    }
    for (std::size_t i = 0; i < shape.mixers.size(); ++i) {
      AddMixer(shape, static_cast<int>(i));
    }
    if (windows_.empty() && element_.per_65536 % 65536 == 0) {
      token_bytes_ = element_.Of(full_elements_);
    }
  }

  // As ModelShape::SequenceBytes.
  Bytes SequenceBytes(Tokens tokens, Tokens chunk) const {
    if (tokens <= 0) return 0;
    chunk = std::clamp<Tokens>(chunk, 1, tokens);
    std::int64_t elements = SatMul(full_elements_, tokens);
    for (const Window& w : windows_) {
      const Tokens kept = std::min(tokens, SatAdd(w.window - 1, chunk));
      elements = SatAdd(elements, SatMul(w.elements, kept));
    }
    return SatAdd(element_.Of(elements), state_bytes_);
  }

  // What a step adds: each chunk as if the one before it had the same width,
  // and one token for each sequence that decodes.
  Bytes Growth(const StepQuery& step) const {
    Bytes growth = element_.Of(SatMul(full_elements_, step.decode_tokens));
    for (const Chunk& chunk : step.chunks) {
      if (token_bytes_ >= 0) {
        growth = SatAdd(growth, SatMul(chunk.n, token_bytes_));
        if (chunk.kv_len == chunk.n) growth = SatAdd(growth, state_bytes_);
        continue;
      }
      const Bytes before = SequenceBytes(chunk.kv_len - chunk.n, chunk.n);
      const Bytes after = SequenceBytes(chunk.kv_len, chunk.n);
      // Both saturate at the same value, so the difference is not negative.
      growth = SatAdd(growth, after - before);
    }
    return growth;
  }

 private:
  struct Window {
    Tokens window = 0;
    std::int64_t elements = 0;  // per kept token, all layers together
  };

  void AddMixer(const ModelShape& shape, int index) {
    // One layer at one byte per element: the second token shows the elements,
    // the first what is there from the start.
    ModelShape one = shape;
    one.kv_element = ElementSize::OfBytes(1);
    one.layers = {Layer{.mixer = index}};
    const Bytes first = one.SequenceBytes(1, 1);
    const std::int64_t elements = one.SequenceBytes(2, 2) - first;
    const std::int64_t count = shape.MixerCount(index);
    const Mixer& mixer = shape.mixers[index];
    state_bytes_ = SatAdd(state_bytes_,
                          SatMul(count, std::max<Bytes>(0, first - elements)));
    const std::int64_t all = SatMul(count, elements);
    if (all == 0) return;
    if (mixer.kind != MixerKind::kSliding) {
      full_elements_ = SatAdd(full_elements_, all);
      return;
    }
    for (Window& w : windows_) {
      if (w.window == mixer.window) {
        w.elements = SatAdd(w.elements, all);
        return;
      }
    }
    windows_.push_back({mixer.window, all});
  }

  ElementSize element_;
  std::int64_t full_elements_ = 0;
  Bytes state_bytes_ = 0;
  // Growth per token, where it is the same for every token; -1 otherwise.
  Bytes token_bytes_ = -1;
  std::vector<Window> windows_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_RESIDENT_MODEL_H_
