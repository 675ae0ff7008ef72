// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Who is next?
//
//   fcfs      the earliest arrival, to its end
//   priority  the highest priority, then the earliest arrival
//   shortest  the least prompt left, but never past one that was overtaken for
//             too long
//   fair      whoever was served least for its weight, with the same exception

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "estimators/text.h"
#include "tidegate/policy.h"
#include "tidegate/tenants.h"

namespace tidegate {
namespace {

// Ids decide ties, so that the answer does not depend on how candidates lie.
bool ArrivedBefore(const RequestView& a, const RequestView& b) {
  return a.arrived != b.arrived ? a.arrived < b.arrived : a.id < b.id;
}

class Fcfs final : public OrderPolicy {
 public:
  std::string_view Name() const override { return "fcfs"; }
  bool Before(const RequestView& a, const RequestView& b,
              const Context& /*context*/) const override {
    return ArrivedBefore(a, b);
  }
  LooksAt Waiting() const override { return LooksAt::kNothing; }
  bool MayPass(const RequestView& /*blocked*/,
               const Context& /*context*/) const override {
    return false;
  }
};

class Priority final : public OrderPolicy {
 public:
  std::string_view Name() const override { return "priority"; }
  bool Before(const RequestView& a, const RequestView& b,
              const Context& /*context*/) const override {
    return a.priority != b.priority ? a.priority > b.priority
                                    : ArrivedBefore(a, b);
  }
  LooksAt Waiting() const override { return LooksAt::kNothing; }
  bool MayPass(const RequestView& /*blocked*/,
               const Context& /*context*/) const override {
    return false;
  }
};

// Eight turns of the widest usual chunk: who was passed over by more than that
// is late, and late ones go first, the longest passed over before the others.
// So a stream of short prompts leaves a long one a tenth of the device at
// worst.
constexpr Tokens kPatience = 8 * 2048;

bool Late(const RequestView& view, const OrderPolicy::Context& context) {
  return context.PassedOver(view) > kPatience;
}

// Orders late requests among themselves and before others; nullopt for two that
// are not late.
std::optional<bool> LateBefore(const RequestView& a, const RequestView& b,
                               const OrderPolicy::Context& context) {
  const bool a_late = Late(a, context);
  const bool b_late = Late(b, context);
  if (a_late != b_late) return a_late;
  if (!a_late) return std::nullopt;
  return a.served_mark != b.served_mark ? a.served_mark < b.served_mark
                                        : ArrivedBefore(a, b);
}

// Shortest remaining prompt first: the least mean time to first token.
class Shortest final : public OrderPolicy {
 public:
  std::string_view Name() const override { return "shortest"; }
  bool Before(const RequestView& a, const RequestView& b,
              const Context& context) const override {
    if (const auto late = LateBefore(a, b, context)) return *late;
    const Tokens left_a = a.request->prompt_tokens - a.done;
    const Tokens left_b = b.request->prompt_tokens - b.done;
    return left_a != left_b ? left_a < left_b : ArrivedBefore(a, b);
  }
  LooksAt Waiting() const override { return LooksAt::kNothing; }
  Tokens Patience() const override { return kPatience; }
  bool MayPass(const RequestView& blocked,
               const Context& context) const override {
    return !Late(blocked, context);
  }
};

// Least attained service, of tenants first and then of their requests: a short
// prompt that arrives behind a long one waits for the chunk that runs and not
// for the prompt, and a tenant gains nothing by sending many. Requests without
// a tenant are tenants of their own.
class Fair final : public OrderPolicy {
 public:
  explicit Fair(TenantPolicies tenants = {}) : tenants_(std::move(tenants)) {}
  std::string_view Name() const override { return "fair"; }
  bool Before(const RequestView& a, const RequestView& b,
              const Context& context) const override {
    if (const auto late = LateBefore(a, b, context)) return *late;
    // served / weight of the two, without a division that would round.
    const Tokens served_a = SatMul(a.tenant_served, WeightOf(b));
    const Tokens served_b = SatMul(b.tenant_served, WeightOf(a));
    if (served_a != served_b) return served_a < served_b;
    return a.served != b.served ? a.served < b.served : ArrivedBefore(a, b);
  }
  LooksAt Waiting() const override { return LooksAt::kTenants; }
  Tokens Patience() const override { return kPatience; }
  bool MayPass(const RequestView& blocked,
               const Context& context) const override {
    return !Late(blocked, context);
  }

 private:
  std::int64_t WeightOf(const RequestView& view) const {
    return tenants_.empty() ? 1 : tenants_.Of(view.tenant).weight;
  }

  const TenantPolicies tenants_;
};

}  // namespace

std::unique_ptr<OrderPolicy> CreateFairOrder(TenantPolicies tenants) {
  return std::make_unique<Fair>(std::move(tenants));
}

absl::StatusOr<std::unique_ptr<OrderPolicy>> CreateOrderPolicy(
    std::string_view name) {
  std::unique_ptr<OrderPolicy> policy;
  if (name == "fcfs") policy = std::make_unique<Fcfs>();
  if (name == "priority") policy = std::make_unique<Priority>();
  if (name == "shortest") policy = std::make_unique<Shortest>();
  if (name == "fair") policy = std::make_unique<Fair>();
  if (policy != nullptr) return policy;
  constexpr std::array<std::string_view, 4> kNames = {"fcfs", "priority",
                                                      "shortest", "fair"};
  return internal::UnknownWord("order.use", name, kNames);
}

}  // namespace tidegate
