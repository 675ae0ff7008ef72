// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A plug-in gives each request a number, and numbers are compared here: so
// whatever it answers, the order is a strict weak one.

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <utility>

#include "estimators/text.h"
#include "plugins/adapters.h"
#include "plugins/request_view.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

constexpr std::int64_t kPatienceMaxNs = 3'600'000'000'000;

// The key, or the last place where there is none.
double CheckedKey(PluginMeter& meter, RequestId id, std::int32_t status,
                  double key) {
  if (status != TIDEGATE_OK) {
    meter.NoAnswer("key", status);
  } else if (!std::isfinite(key)) {
    meter.Fault(Concat("key: ", std::isnan(key) ? "not a number" : "infinite",
                       ", for request ", id));
  } else {
    return key;
  }
  return std::numeric_limits<double>::infinity();
}

std::string NameOf(const PluginMeter& meter) {
  return Concat("plugin:", meter.identity().name, "@",
                meter.identity().version);
}

class OrderAdapter final : public OrderPolicy {
 public:
  OrderAdapter(std::shared_ptr<OrderInstance> instance,
               std::shared_ptr<const OrderPolicy> fallback)
      : instance_(std::move(instance)),
        fallback_(std::move(fallback)),
        name_(NameOf(instance_->meter())) {}

  std::string_view Name() const override { return name_; }

  bool Before(const RequestView& a, const RequestView& b,
              const Context& context) const override {
    if (!instance_->meter().replaced()) {
      const double key_a = Key(a, context);
      const double key_b = Key(b, context);
      // Both were asked: a replacement takes effect from the next pair on.
      if (key_a != key_b) return key_a < key_b;
    }
    return fallback_->Before(a, b, context);
  }

  // Whatever its keys are said to depend on: one that changed after all would
  // tear a sorted queue apart.
  LooksAt Waiting() const override { return LooksAt::kContext; }

  bool MayPass(const RequestView& blocked,
               const Context& context) const override {
    PluginMeter& meter = instance_->meter();
    const auto ask = instance_->table().may_pass;
    if (meter.replaced() || ask == nullptr) {
      return fallback_->MayPass(blocked, context);
    }
    const tidegate_request request = ToC(blocked, context);
    const tidegate_moment moment = ToC(context);
    std::int32_t yes = -1;
    const std::int32_t status = meter.Run(
        [&] { return ask(instance_->self(), &request, &moment, &yes); });
    if (status == TIDEGATE_OK && (yes == 0 || yes == 1)) return yes == 1;
    if (status != TIDEGATE_OK) {
      meter.NoAnswer("may_pass", status);
    } else {
      meter.Fault(Concat("may_pass: ", yes, " is neither 0 nor 1"));
    }
    return fallback_->MayPass(blocked, context);
  }

 private:
  static tidegate_request ToC(const RequestView& view, const Context& context) {
    return ToPlugin(view, std::max<Tokens>(0, context.PassedOver(view)));
  }
  static tidegate_moment ToC(const Context& context) {
    return {.struct_size = sizeof(tidegate_moment),
            .reserved = 0,
            .now_ns = context.now.time_since_epoch().count(),
            .served_tokens = context.served};
  }

  double Key(const RequestView& view, const Context& context) const {
    const tidegate_request request = ToC(view, context);
    const tidegate_moment moment = ToC(context);
    double key = std::numeric_limits<double>::quiet_NaN();
    const std::int32_t status = instance_->meter().Run([&] {
      return instance_->table().key(instance_->self(), &request, &moment, &key);
    });
    return CheckedKey(instance_->meter(), view.id, status, key);
  }

  const std::shared_ptr<OrderInstance> instance_;
  const std::shared_ptr<const OrderPolicy> fallback_;
  const std::string name_;
};

class PressureAdapter final : public PressurePolicy {
 public:
  PressureAdapter(std::shared_ptr<PressureInstance> instance,
                  std::shared_ptr<const PressurePolicy> fallback,
                  Duration patience)
      : instance_(std::move(instance)),
        fallback_(std::move(fallback)),
        name_(NameOf(instance_->meter())),
        patience_(patience) {}

  std::string_view Name() const override { return name_; }
  Duration Patience() const override { return patience_; }

  bool PreemptBefore(const RequestView& a,
                     const RequestView& b) const override {
    if (instance_->meter().replaced()) return fallback_->PreemptBefore(a, b);
    const double key_a = Key(a);
    const double key_b = Key(b);
    return std::tie(key_a, a.id) < std::tie(key_b, b.id);
  }

 private:
  double Key(const RequestView& view) const {
    const tidegate_request request = ToPlugin(view);
    double key = std::numeric_limits<double>::quiet_NaN();
    const std::int32_t status = instance_->meter().Run([&] {
      return instance_->table().key(instance_->self(), &request, &key);
    });
    return CheckedKey(instance_->meter(), view.id, status, key);
  }

  const std::shared_ptr<PressureInstance> instance_;
  const std::shared_ptr<const PressurePolicy> fallback_;
  const std::string name_;
  const Duration patience_;
};

}  // namespace

std::shared_ptr<const OrderPolicy> AdaptOrder(
    std::shared_ptr<OrderInstance> instance,
    std::shared_ptr<const OrderPolicy> fallback) {
  return std::make_shared<OrderAdapter>(std::move(instance),
                                        std::move(fallback));
}

absl::StatusOr<std::shared_ptr<const PressurePolicy>> AdaptPressure(
    std::shared_ptr<PressureInstance> instance,
    std::shared_ptr<const PressurePolicy> fallback) {
  Duration patience = fallback->Patience();
  if (const auto ask = instance->table().patience; ask != nullptr) {
    std::int64_t nanoseconds = TIDEGATE_UNSET;
    const std::int32_t status = ask(instance->self(), &nanoseconds);
    if (status != TIDEGATE_OK || nanoseconds < 0 ||
        nanoseconds > kPatienceMaxNs) {
      return InvalidArgument(instance->meter().identity().file,
                             ": patience: expected 0 to ", kPatienceMaxNs,
                             " ns, got ",
                             status == TIDEGATE_OK ? std::to_string(nanoseconds)
                                                   : Concat("status ", status));
    }
    patience = Duration(nanoseconds);
  }
  return std::make_shared<PressureAdapter>(std::move(instance),
                                           std::move(fallback), patience);
}

}  // namespace tidegate::internal
