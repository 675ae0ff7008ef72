// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Quantities as people write them in policy files and on the command line.
// Bytes are read by internal::ParseBytes (estimators/text.h).

#ifndef TIDEGATE_SCHEDULER_UNITS_H_
#define TIDEGATE_SCHEDULER_UNITS_H_

#include <string_view>

#include "tidegate/types.h"

namespace tidegate::internal {

// "2048", "8k", "1M": tokens. k is 1024 and M 1024 * 1024, as in the "128k" of
// a model whose context is 131072. False when it is none, is negative or is
// above kTokensMax.
bool ParseTokens(std::string_view text, Tokens* tokens);

// "200 ms", "0.25 s", "50 us", "10 ns": a unit is required. False when it is
// none, is negative, has a fraction of a nanosecond, or is above a day: no
// limit here is meant to be longer.
bool ParseDuration(std::string_view text, Duration* duration);

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_UNITS_H_
