// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A plug-in behind each interface of the core. Every answer is checked; one
// that cannot be is overruled by a built-in and counted, and after
// kPluginFaultsMax of them the built-in answers alone.

#ifndef TIDEGATE_PLUGINS_ADAPTERS_H_
#define TIDEGATE_PLUGINS_ADAPTERS_H_

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "plugins/instance.h"
#include "tidegate/estimator.h"
#include "tidegate/plugin.h"
#include "tidegate/policy.h"

namespace tidegate::internal {

// What overrules and replaces a plug-in of each kind.
inline constexpr std::string_view kFallbackEstimator = "catalog";
inline constexpr std::string_view kFallbackChunk = "throttle";
inline constexpr std::string_view kFallbackAdmission = "reserve";
inline constexpr std::string_view kFallbackOrder = "fcfs";
inline constexpr std::string_view kFallbackPressure = "cheapest";

using EstimatorInstance = PluginInstance<tidegate_estimator>;
using ChunkInstance = PluginInstance<tidegate_chunk_policy>;
using AdmissionInstance = PluginInstance<tidegate_admission_policy>;
using OrderInstance = PluginInstance<tidegate_order_policy>;
using PressureInstance = PluginInstance<tidegate_pressure_policy>;

// `shape` says what a sequence keeps where the plug-in does not.
std::unique_ptr<Estimator> AdaptEstimator(
    std::shared_ptr<EstimatorInstance> instance, const ModelShape& shape,
    std::unique_ptr<Estimator> fallback);

// Samples of what an estimator may not do: no answer, negative prices, prices
// that fall where no breakpoint lies, sequences that shrink as they grow.
// InvalidArgument with the arithmetic. `meter` counts faults while it answers.
absl::Status CheckEstimator(const Estimator& estimator,
                            const PluginMeter& meter);

std::shared_ptr<const ChunkPolicy> AdaptChunk(
    std::shared_ptr<ChunkInstance> instance,
    std::shared_ptr<const ChunkPolicy> fallback);
std::shared_ptr<const AdmissionPolicy> AdaptAdmission(
    std::shared_ptr<AdmissionInstance> instance,
    std::shared_ptr<const AdmissionPolicy> fallback);
std::shared_ptr<const OrderPolicy> AdaptOrder(
    std::shared_ptr<OrderInstance> instance,
    std::shared_ptr<const OrderPolicy> fallback);
// InvalidArgument when its patience is none.
absl::StatusOr<std::shared_ptr<const PressurePolicy>> AdaptPressure(
    std::shared_ptr<PressureInstance> instance,
    std::shared_ptr<const PressurePolicy> fallback);

}  // namespace tidegate::internal

#endif  // TIDEGATE_PLUGINS_ADAPTERS_H_
