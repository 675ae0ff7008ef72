// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TIDEGATE_PLUGINS_REQUEST_VIEW_H_
#define TIDEGATE_PLUGINS_REQUEST_VIEW_H_

#include "tidegate/plugin.h"
#include "tidegate/policy.h"

namespace tidegate::internal {

// The request as a plug-in sees it; refers to what `view` refers to.
inline tidegate_request ToPlugin(const RequestView& view,
                                 Tokens passed_over = 0) {
  return {.struct_size = sizeof(tidegate_request),
          .flags = (view.admitted ? TIDEGATE_REQUEST_ADMITTED : 0u) |
                   (view.decoding ? TIDEGATE_REQUEST_DECODING : 0u),
          .id = view.id,
          .priority = view.priority,
          .tenant = view.tenant.empty() ? "" : view.tenant.data(),
          .tenant_length = static_cast<std::int64_t>(view.tenant.size()),
          .arrived_ns = view.arrived.time_since_epoch().count(),
          .prompt_tokens = view.request->prompt_tokens,
          .cached_tokens = view.request->cached_tokens,
          .done_tokens = view.done,
          .max_output_tokens = view.request->max_output_tokens,
          .decoded_tokens = view.decoded,
          .claim_bytes = view.claim,
          .held_bytes = view.held,
          .preempted = view.preempted,
          .served_tokens = view.served,
          .tenant_served_tokens = view.tenant_served,
          .passed_over_tokens = passed_over};
}

}  // namespace tidegate::internal

#endif  // TIDEGATE_PLUGINS_REQUEST_VIEW_H_
