// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Reads one engine's catalogue file.

#ifndef TIDEGATE_ESTIMATORS_CATALOGUE_PARSE_H_
#define TIDEGATE_ESTIMATORS_CATALOGUE_PARSE_H_

#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tidegate/catalogue.h"

namespace tidegate::internal {

// InvalidArgument with file, line, column and key.
absl::StatusOr<CatalogueEngine> ParseCatalogueEngine(std::string_view text,
                                                     std::string_view file);

// Whether `device` is what `pattern` names; a final * matches any tail.
bool DeviceMatches(std::string_view pattern, std::string_view device);

// InvalidArgument when `value` is none that the option may have. `where` opens
// the message.
absl::Status CheckOptionValue(const CatalogueOption& option,
                              std::string_view value, std::string_view where);

// Whether the rule holds for every call of the engine.
bool MatchesEverything(const CatalogueRule& rule);

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_CATALOGUE_PARSE_H_
