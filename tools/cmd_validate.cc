// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate validate: prices against measured rows.

#include "estimators/profile.h"
#include "estimators/text.h"
#include "tidegate/engine.h"
#include "tidegate/status.h"
#include "tools/arguments.h"
#include "tools/inputs.h"
#include "tools/validate.h"

namespace tidegate::tools {

namespace {

bool Matches(const internal::Profile& profile, const ValidationReport& report) {
  for (const internal::ProfileEntry& entry : profile.entries) {
    const std::string engine =
        EngineName({entry.engine, entry.version, entry.device, {}});
    for (const ValidationGroup& group : report.groups) {
      if (group.engine == engine) return true;
    }
  }
  return false;
}

}  // namespace

absl::StatusOr<int> RunValidate(const Arguments& args, Streams& io) {
  ValidateOptions options;
  internal::Profile profile;
  options.with_scratch = args.with_scratch;
  if (args.catalogue.has_value()) {
    TG_ASSIGN_OR_RETURN(options.catalogue, ReadFile(*args.catalogue));
    options.catalogue_file = *args.catalogue;
  }
  if (args.profile.has_value()) {
    TG_ASSIGN_OR_RETURN(options.profile, ReadFile(*args.profile));
    options.profile_file = *args.profile;
    TG_ASSIGN_OR_RETURN(
        profile, internal::ParseProfile(options.profile, options.profile_file));
  }
  TG_ASSIGN_OR_RETURN(const ValidationReport report,
                      ValidateFiles(args.files, options));
  if (args.profile.has_value() && !Matches(profile, report)) {
    PrintWarnings({internal::Concat(*args.profile,
                                    " has no effect: it knows none of the "
                                    "engines that these rows are of")},
                  io.err);
  }
  if (args.json) {
    io.out << ToJson(report) << "\n";
  } else {
    io.out << ToText(report);
  }
  return kExitDone;
}

}  // namespace tidegate::tools
