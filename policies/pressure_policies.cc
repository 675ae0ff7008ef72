// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Who loses its progress when nothing else makes room?
//
//   cheapest  whoever has least to compute again; nobody twice while others
//             were spared
//   latest    whoever arrived last, as vLLM's scheduler does (its first-come
//             policy preempts from the end of the running list)

#include <array>
#include <memory>
#include <tuple>

#include "estimators/text.h"
#include "tidegate/policy.h"

namespace tidegate {
namespace {

class Cheapest final : public PressurePolicy {
 public:
  std::string_view Name() const override { return "cheapest"; }

  bool PreemptBefore(const RequestView& a,
                     const RequestView& b) const override {
    return std::pair(a.preempted, Lost(a)) < std::pair(b.preempted, Lost(b));
  }

 private:
  static Tokens Lost(const RequestView& view) {
    return view.done - view.request->cached_tokens + view.decoded;
  }
};

class Latest final : public PressurePolicy {
 public:
  std::string_view Name() const override { return "latest"; }

  bool PreemptBefore(const RequestView& a,
                     const RequestView& b) const override {
    return std::tie(a.arrived, a.id) > std::tie(b.arrived, b.id);
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<PressurePolicy>> CreatePressurePolicy(
    std::string_view name) {
  std::unique_ptr<PressurePolicy> policy;
  if (name == "cheapest") policy = std::make_unique<Cheapest>();
  if (name == "latest") policy = std::make_unique<Latest>();
  if (policy != nullptr) return policy;
  constexpr std::array<std::string_view, 2> kNames = {"cheapest", "latest"};
  return internal::UnknownWord("pressure.use", name, kNames);
}

}  // namespace tidegate
