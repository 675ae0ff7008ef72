// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Everything that a policy file can name, by the word that names it. Built-ins
// and plug-ins are added the same way and found the same way.
//
// Thread-safety: none.

#ifndef TIDEGATE_PLUGINS_REGISTRY_H_
#define TIDEGATE_PLUGINS_REGISTRY_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "estimators/text.h"
#include "tidegate/estimator.h"
#include "tidegate/policy.h"

namespace tidegate::internal {

// One kind: what is made, from what.
template <typename Made, typename... From>
class Registry {
 public:
  using Factory = std::function<absl::StatusOr<Made>(const From&...)>;

  // `kind` is the table of the policy file: "order".
  explicit Registry(std::string_view kind) : kind_(kind) {}

  void Add(std::string word, Factory factory) {
    factories_.emplace_back(std::move(word), std::move(factory));
  }

  // InvalidArgument names the words that there are.
  absl::StatusOr<Made> Make(const std::string& word,
                            const From&... from) const {
    std::vector<std::string_view> words;
    for (const auto& [known, factory] : factories_) {
      if (known == word) return factory(from...);
      words.push_back(known);
    }
    return UnknownWord(Concat(kind_, ".use"), word, words);
  }

 private:
  std::string kind_;
  std::vector<std::pair<std::string, Factory>> factories_;  // as added
};

struct Registries {
  // With the built-ins.
  static Registries WithBuiltins();

  Registry<CreatedEstimator, EstimatorOptions> estimator{"estimator"};
  // From the model and the engine, which built-ins do not ask for.
  template <typename Policy>
  using OfPolicy =
      Registry<std::shared_ptr<const Policy>, ModelShape, EngineSpec>;
  OfPolicy<ChunkPolicy> chunk{"chunk"};
  OfPolicy<AdmissionPolicy> admission{"admission"};
  OfPolicy<OrderPolicy> order{"order"};
  OfPolicy<PressurePolicy> pressure{"pressure"};
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_PLUGINS_REGISTRY_H_
