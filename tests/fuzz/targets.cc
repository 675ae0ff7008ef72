// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/fuzz/targets.h"

#include <optional>
#include <string>
#include <utility>

#include "estimators/profile.h"
#include "estimators/text.h"
#include "simulator/scenario.h"
#include "tidegate/catalogue.h"
#include "tidegate/model_config.h"
#include "tidegate/policy_file.h"
#include "tidegate/simulator.h"
#include "tidegate/status.h"
#include "tidegate/step_time.h"

namespace tidegate::testing {
namespace {

// What every reader promises: a message where it fails. Compilers must not
// drop the call.
template <typename T>
void Expect(const absl::StatusOr<T>& read) {
  if (read.ok()) return;
  TG_CHECK(!read.status().message().empty());
}

// Whatever is included is the input again: cycles, and files that are not.
void Policy(std::string_view input) {
  if (input.starts_with("{")) return Expect(ParsePolicyJson(input, "f.json"));
  const PolicySources sources = {
      .read = [&](const std::string& path) -> absl::StatusOr<std::string> {
        if (path.size() % 2 == 0) return internal::InvalidArgument("no file");
        return std::string(input.substr(input.size() / 2));
      },
      .environment = [](std::string_view name) -> std::optional<std::string> {
        if (name.size() % 2 == 0) return std::nullopt;
        return std::string(name);
      }};
  const auto policy = ParsePolicyFile(input, "fuzz.toml", sources);
  Expect(policy);
  if (!policy.ok()) return;
  Expect(PolicyForModel(
      *policy, {.name = "llama", .model_type = "llama", .layers = 32}));
}

void Config(std::string_view input) {
  Expect(ParseModelConfig(input, "config.json", {}));
}

void TraceText(std::string_view input) {
  Expect(ParseTrace(input, "fuzz.csv", {.requests_max = 1000}));
}

void ScenarioText(std::string_view input) {
  Expect(internal::ParseScenarios(input, "fuzz.jsonl"));
}

void ProfileText(std::string_view input) {
  const auto profile = internal::ParseProfile(input, "profile.toml");
  Expect(profile);
  // What was read is written so that it reads back the same.
  if (!profile.ok()) return;
  const std::string once = internal::WriteProfile(*profile);
  const auto again = internal::ParseProfile(once, "profile.toml");
  TG_CHECK(again.ok());
  TG_CHECK(internal::WriteProfile(*again) == once);
}

void CatalogueToml(std::string_view input) {
  Expect(Catalogue::Builtin().With(input, "fuzz.toml"));
}

void StepTimes(std::string_view input) {
  const auto times = ParseTimeProfile(input, "times.csv");
  Expect(times);
  if (times.ok()) Expect(CreateStepTimer(*times));
}

constexpr FuzzTarget kTargets[] = {
    {"policy", Policy},        {"config", Config},
    {"trace", TraceText},      {"scenario", ScenarioText},
    {"profile", ProfileText},  {"catalogue", CatalogueToml},
    {"step_times", StepTimes},
};

}  // namespace

std::span<const FuzzTarget> FuzzTargets() { return kTargets; }

const FuzzTarget* FindFuzzTarget(std::string_view name) {
  for (const FuzzTarget& target : kTargets) {
    if (target.name == name) return &target;
  }
  return nullptr;
}

}  // namespace tidegate::testing
