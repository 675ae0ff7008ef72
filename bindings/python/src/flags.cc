// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "bindings/python/src/flags.h"

#include <optional>
#include <string_view>

#include "estimators/text.h"
#include "tidegate/status.h"

namespace tidegate::python {
namespace {

using tools::Arguments;

struct Single {
  std::string_view name;
  std::optional<std::string> Arguments::*value;
};
struct Several {
  std::string_view name;
  std::vector<std::string> Arguments::*values;
};

constexpr Single kSingle[] = {
    {"policy", &Arguments::policy},
    {"model", &Arguments::model},
    {"engine", &Arguments::engine},
    {"estimator", &Arguments::estimator},
    {"catalogue", &Arguments::catalogue},
    {"kv_dtype", &Arguments::kv_dtype},
    {"ceiling", &Arguments::ceiling},
    {"base", &Arguments::base},
    {"headroom", &Arguments::headroom},
    {"max_allocation", &Arguments::max_allocation},
    {"chunk_max", &Arguments::chunk_max},
    {"chunk_floor", &Arguments::chunk_floor},
    {"chunk_quantum", &Arguments::chunk_quantum},
    {"max_output", &Arguments::max_output},
    {"trace", &Arguments::trace},
    {"requests", &Arguments::requests},
    {"slo_ttft", &Arguments::slo_ttft},
    {"slo_itl", &Arguments::slo_itl},
    {"rival", &Arguments::rival},
    {"out", &Arguments::out},
    {"policies", &Arguments::policies},
    {"loads", &Arguments::loads},
    {"seeds", &Arguments::seeds},
    {"jobs", &Arguments::jobs},
};
constexpr Several kSeveral[] = {
    {"engine_options", &Arguments::engine_options},
    {"traces", &Arguments::traces},
};

}  // namespace

absl::StatusOr<Arguments> MakeArguments(const Flags& flags) {
  Arguments args;
  for (const auto& [name, values] : flags) {
    bool known = false;
    for (const Single& flag : kSingle) {
      if (flag.name != name) continue;
      known = true;
      if (values.size() != 1) {
        return internal::InvalidArgument(name, ": expected one value, got ",
                                         values.size());
      }
      args.*flag.value = values.front();
    }
    for (const Several& flag : kSeveral) {
      if (flag.name != name) continue;
      known = true;
      args.*flag.values = values;
    }
    if (known) continue;
    std::vector<std::string_view> names;
    for (const Single& flag : kSingle) names.push_back(flag.name);
    for (const Several& flag : kSeveral) names.push_back(flag.name);
    return internal::InvalidArgument("unexpected argument \"", name, "\"",
                                     internal::Suggest(name, names));
  }
  return args;
}

}  // namespace tidegate::python
