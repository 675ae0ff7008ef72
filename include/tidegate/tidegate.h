// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Tidegate: how many prompt tokens to prefill next, whether a request may
// start, and why not. The whole public interface but for what needs an event
// loop, a driver or a file (service.h, memory_probe.h: the library
// tidegate::service); examples/embed.cc is the 20-line program that uses it.

#ifndef TIDEGATE_TIDEGATE_H_
#define TIDEGATE_TIDEGATE_H_

#include "tidegate/actions.h"       // IWYU pragma: export
#include "tidegate/calibration.h"   // IWYU pragma: export
#include "tidegate/catalogue.h"     // IWYU pragma: export
#include "tidegate/decision_log.h"  // IWYU pragma: export
#include "tidegate/engine.h"        // IWYU pragma: export
#include "tidegate/estimator.h"     // IWYU pragma: export
#include "tidegate/events.h"        // IWYU pragma: export
#include "tidegate/load_plan.h"     // IWYU pragma: export
#include "tidegate/model_config.h"  // IWYU pragma: export
#include "tidegate/model_shape.h"   // IWYU pragma: export
#include "tidegate/plan.h"          // IWYU pragma: export
#include "tidegate/policy.h"        // IWYU pragma: export
#include "tidegate/policy_file.h"   // IWYU pragma: export
#include "tidegate/pull.h"          // IWYU pragma: export
#include "tidegate/scheduler.h"     // IWYU pragma: export
#include "tidegate/status.h"        // IWYU pragma: export
#include "tidegate/tenants.h"       // IWYU pragma: export
#include "tidegate/time_model.h"    // IWYU pragma: export
#include "tidegate/timeline.h"      // IWYU pragma: export
#include "tidegate/types.h"         // IWYU pragma: export

#endif  // TIDEGATE_TIDEGATE_H_
