// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

// Deadline first: whose first token is due first is served first.
#include "tidegate/plugin.hpp"

struct Deadline : tidegate::plugin::Order {
  explicit Deadline(const tidegate::plugin::Setup& setup)
      : slack_s(setup.Number("slack_s", 10)),
        per_1000_tokens_s(setup.Number("per_1000_tokens_s", 0)) {}

  // A long prompt is given more time than a short one.
  double Key(const tidegate_request& request, const tidegate_moment&) const {
    const double allowed_s =
        slack_s + per_1000_tokens_s * double(request.prompt_tokens) / 1000;
    return double(request.arrived_ns) / 1e9 + allowed_s;
  }

  double slack_s;
  double per_1000_tokens_s;
};

TIDEGATE_PLUGIN("deadline", "1.0", Deadline)
