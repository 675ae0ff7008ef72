// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The reference of policy files, rendered from the table that parses them.

#ifndef TIDEGATE_SCHEDULER_POLICY_REFERENCE_H_
#define TIDEGATE_SCHEDULER_POLICY_REFERENCE_H_

#include <string>

namespace tidegate::internal {

// Markdown: for each table of a policy file a heading and a table of its keys,
// in the order of PolicyKeys(). docs/policy-file.md holds it.
std::string PolicyReference();

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_POLICY_REFERENCE_H_
