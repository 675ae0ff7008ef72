// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate validate: prices against measured rows.

#include "estimators/profile.h"
#include "tidegate/status.h"
#include "tools/arguments.h"
#include "tools/inputs.h"
#include "tools/validate.h"

namespace tidegate::tools {

absl::StatusOr<int> RunValidate(const Arguments& args, Streams& io) {
  ValidateOptions options;
  options.with_scratch = args.with_scratch;
  if (args.catalogue.has_value()) {
    TG_ASSIGN_OR_RETURN(options.catalogue, ReadFile(*args.catalogue));
    options.catalogue_file = *args.catalogue;
  }
  if (args.profile.has_value()) {
    TG_ASSIGN_OR_RETURN(options.profile, ReadFile(*args.profile));
    options.profile_file = *args.profile;
    // Said once, and not by each estimator that is made of it.
    TG_RETURN_IF_ERROR(
        internal::ParseProfile(options.profile, options.profile_file).status());
  }
  TG_ASSIGN_OR_RETURN(const ValidationReport report,
                      ValidateFiles(args.files, options));
  if (args.json) {
    io.out << ToJson(report) << "\n";
  } else {
    io.out << ToText(report);
  }
  return kExitDone;
}

}  // namespace tidegate::tools
