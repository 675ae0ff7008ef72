// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Who is next?
//
//   fcfs      the earliest arrival, to its end
//   priority  the highest priority, then the earliest arrival
//   fair      whoever was served least, but never past one that was overtaken
//             for too long

#include <algorithm>
#include <array>
#include <memory>
#include <string>

#include "estimators/text.h"
#include "tidegate/policy.h"

namespace tidegate {
namespace {

using internal::Concat;
using internal::InvalidArgument;

template <typename Before>
std::size_t FirstBy(std::span<const RequestView> candidates,
                    const Before& before) {
  std::size_t first = 0;
  for (std::size_t i = 1; i < candidates.size(); ++i) {
    if (before(candidates[i], candidates[first])) first = i;
  }
  return first;
}

// Ids decide ties, so that the answer does not depend on how candidates lie.
bool ArrivedBefore(const RequestView& a, const RequestView& b) {
  return a.arrived != b.arrived ? a.arrived < b.arrived : a.id < b.id;
}

class Fcfs final : public OrderPolicy {
 public:
  std::string_view Name() const override { return "fcfs"; }
  std::size_t First(std::span<const RequestView> candidates,
                    const Context& /*context*/) const override {
    return FirstBy(candidates, ArrivedBefore);
  }
  bool MayPass(const RequestView& /*blocked*/,
               const Context& /*context*/) const override {
    return false;
  }
};

class Priority final : public OrderPolicy {
 public:
  std::string_view Name() const override { return "priority"; }
  std::size_t First(std::span<const RequestView> candidates,
                    const Context& /*context*/) const override {
    return FirstBy(candidates, [](const RequestView& a, const RequestView& b) {
      return a.priority != b.priority ? a.priority > b.priority
                                      : ArrivedBefore(a, b);
    });
  }
  bool MayPass(const RequestView& /*blocked*/,
               const Context& /*context*/) const override {
    return false;
  }
};

// Least attained service: a short prompt that arrives behind a long one waits
// for the chunk that runs and not for the prompt. Whoever was passed over by
// kPatience times as much work as it could have had in one turn goes next, so
// that a stream of short prompts cannot starve a long one.
class Fair final : public OrderPolicy {
 public:
  std::string_view Name() const override { return "fair"; }
  std::size_t First(std::span<const RequestView> candidates,
                    const Context& context) const override {
    return FirstBy(candidates, [&](const RequestView& a, const RequestView& b) {
      const bool a_late = Late(a, context);
      const bool b_late = Late(b, context);
      if (a_late != b_late) return a_late;
      if (a_late && a.served_mark != b.served_mark) {
        return a.served_mark < b.served_mark;
      }
      return a.served != b.served ? a.served < b.served : ArrivedBefore(a, b);
    });
  }
  bool MayPass(const RequestView& blocked,
               const Context& context) const override {
    return !Late(blocked, context);
  }

 private:
  // Eight turns of the widest usual chunk: one ninth of the device at worst.
  static constexpr Tokens kPatience = 8 * 2048;
  static bool Late(const RequestView& view, const Context& context) {
    return context.PassedOver(view) > kPatience;
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<OrderPolicy>> CreateOrderPolicy(
    std::string_view name) {
  std::unique_ptr<OrderPolicy> policy;
  if (name == "fcfs") policy = std::make_unique<Fcfs>();
  if (name == "priority") policy = std::make_unique<Priority>();
  if (name == "fair") policy = std::make_unique<Fair>();
  if (policy != nullptr) return policy;
  constexpr std::array<std::string_view, 3> kNames = {"fcfs", "priority",
                                                      "fair"};
  const std::string_view near = internal::DidYouMean(name, kNames);
  return InvalidArgument(
      "order.use: expected fcfs, priority or fair, got \"", name, "\"",
      near.empty() ? std::string() : Concat("; did you mean \"", near, "\"?"));
}

}  // namespace tidegate
