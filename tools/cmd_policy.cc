// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate policy check: whether a policy file is right, and what it says.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "estimators/text.h"
#include "tidegate/policy.h"
#include "tidegate/policy_file.h"
#include "tidegate/scheduler.h"
#include "tidegate/status.h"
#include "tools/arguments.h"
#include "tools/inputs.h"
#include "tools/output.h"
#include "tools/price_output.h"

namespace tidegate::tools {
namespace {

using internal::Concat;
using internal::FormatBytes;

struct Setting {
  std::string name;
  std::string value;
};

std::string BytesOr(const std::optional<Bytes>& bytes,
                    std::string_view otherwise) {
  return bytes.has_value() ? FormatBytes(*bytes) : std::string(otherwise);
}

std::string ModelText(const PolicyFile& policy, const Inputs* inputs) {
  if (inputs != nullptr) {
    return Concat(inputs->shape.name, ", ", inputs->shape.layers.size(),
                  inputs->shape.layers.size() == 1 ? " layer" : " layers", " (",
                  inputs->model_source, ")");
  }
  if (policy.model_config.has_value()) return *policy.model_config;
  if (policy.model_shape.has_value()) return "inline shape";
  return "not stated: give --model";
}

std::string EngineText(const PolicyFile& policy) {
  if (!policy.engine.has_value()) return "not stated: give --engine";
  std::string text = EngineName(*policy.engine);
  for (const auto& [key, value] : policy.engine->options) {
    text += Concat(", ", key, " = ", value);
  }
  return text;
}

// What is freed when memory is short, in order.
std::string Ladder(const PolicyFile& policy) {
  std::string text;
  for (const std::string& rung :
       policy.ladder.value_or(SchedulerOptions{}.ladder)) {
    text += Concat(text.empty() ? "" : ", then ", rung);
  }
  return text.empty() ? "nothing is freed" : text;
}

std::string PressureText(const PolicyFile& policy) {
  const std::string who = policy.pressure_policy.value_or("");
  if (!who.starts_with("plugin:")) return Ladder(policy);
  return Concat(Ladder(policy), "; who, says ", who);
}

std::string TimeText(const PolicyFile& policy) {
  if (!policy.time_source.has_value()) return "not stated";
  return *policy.time_source == "table"
             ? Concat("table ", policy.time_profile.value_or(""))
             : *policy.time_source;
}

// What is in effect, defaults included.
std::vector<Setting> Settings(const PolicyFile& policy, const Inputs* inputs) {
  const ChunkLimits chunk = ReadChunkLimits(policy);
  const std::int64_t queue_max = policy.queue_max.value_or(0);
  const Bytes cache = policy.cache_capacity.value_or(0);
  return {
      {"model", ModelText(policy, inputs)},
      {"engine", EngineText(policy)},
      {"estimator", Concat(policy.estimator.value_or("catalog"),
                           policy.catalogue.has_value()
                               ? Concat(", catalogue ", *policy.catalogue)
                               : "")},
      {"ceiling", BytesOr(policy.ceiling, "not stated: give --ceiling")},
      {"base", BytesOr(policy.base, "the size of the weights, if known")},
      {"headroom", FormatBytes(policy.headroom.value_or(0))},
      {"largest allocation", BytesOr(policy.max_allocation, "no limit")},
      {"probe", policy.probe.value_or("none")},
      {"chunk", Concat(policy.chunk_policy.value_or("throttle"), ", at most ",
                       TokenCount(chunk.max), ", floor ", Grouped(chunk.floor),
                       ", quantum ", Grouped(chunk.quantum))},
      {"time", TimeText(policy)},
      {"admission",
       Concat(policy.admission_policy.value_or("reserve"),
              queue_max > 0 ? Concat(", at most ", Grouped(queue_max),
                                     " requests waiting")
                            : "")},
      {"order", policy.order_policy.value_or("fcfs")},
      {"pressure", PressureText(policy)},
      {"prefix cache", cache > 0
                           ? Concat(FormatBytes(cache), " in blocks of ",
                                    TokenCount(policy.cache_block.value_or(64)))
                           : "none"},
  };
}

// Everything that the file says about model, engine and limits must fit
// together. What it leaves open is left to the command line; a model that lies
// elsewhere than on this machine is a warning.
absl::StatusOr<std::optional<Inputs>> CheckTogether(
    const PolicyFile& policy, std::vector<std::string>* warnings) {
  const absl::Status timed = MakeStepTimer(policy).status();
  if (absl::IsNotFound(timed)) {
    warnings->push_back(
        Concat("checked without it: ", std::string(timed.message())));
  } else if (!timed.ok()) {
    return timed;
  }
  std::optional<Inputs> inputs;
  // Whether they can be loaded does not depend on a model.
  TG_RETURN_IF_ERROR(Plugins::Load(policy).status());
  const bool has_model =
      policy.model_config.has_value() || policy.model_shape.has_value();
  const bool has_engine = policy.engine.has_value() ||
                          policy.estimator.value_or("catalog") != "catalog";
  if (has_model && has_engine) {
    absl::StatusOr<Inputs> loaded = LoadInputs(policy);
    if (loaded.ok()) {
      inputs = *std::move(loaded);
      SchedulerOptions policies;
      policies.chunk_policy = policy.chunk_policy.value_or("");
      policies.admission_policy = policy.admission_policy.value_or("");
      policies.order_policy = policy.order_policy.value_or("");
      policies.pressure_policy = policy.pressure_policy.value_or("");
      TG_RETURN_IF_ERROR(
          inputs->plugins->Apply(inputs->shape, inputs->engine, &policies));
      // The policy's own are there already.
      warnings->insert(warnings->end(),
                       inputs->warnings.begin() +
                           static_cast<std::ptrdiff_t>(policy.warnings.size()),
                       inputs->warnings.end());
    } else if (loaded.status().code() == absl::StatusCode::kNotFound) {
      warnings->push_back(Concat("checked without it: ",
                                 std::string(loaded.status().message())));
    } else {
      return loaded.status();
    }
  }
  if (inputs.has_value() && policy.ceiling.has_value()) {
    TG_ASSIGN_OR_RETURN(const MemoryLimits memory,
                        ReadMemoryLimits(*inputs, warnings));
    TG_RETURN_IF_ERROR(
        CheckLimits(memory, ReadChunkLimits(policy), policy, warnings));
    // Where a base is stated, the weights may be spread over several devices.
    if (!policy.base.has_value() && inputs->shape.weight_bytes.has_value() &&
        memory.ceiling <= SatAdd(memory.base, memory.headroom)) {
      return internal::InvalidArgument(
          "memory.ceiling: expected more than the model's weights + headroom, "
          "got ",
          FormatBytes(memory.ceiling), " against ", FormatBytes(memory.base),
          " + ", FormatBytes(memory.headroom),
          "; where this device holds a part of them, state memory.base");
    }
  }
  return inputs;
}

}  // namespace

absl::StatusOr<int> RunPolicyCheck(const Arguments& args, Streams& io) {
  if (args.files.size() != 1) {
    return internal::InvalidArgument("expected one policy file, got ",
                                     args.files.size());
  }
  const std::string& file = args.files.front();
  TG_ASSIGN_OR_RETURN(PolicyFile policy, LoadPolicy(file, args.model));
  TG_RETURN_IF_ERROR(OverlayFlags(args, &policy));
  std::vector<std::string> warnings = policy.warnings;
  absl::StatusOr<std::optional<Inputs>> inputs =
      CheckTogether(policy, &warnings);
  if (!inputs.ok()) {
    // Parts are made by code that does not know the file.
    const std::string message(inputs.status().message());
    return absl::Status(
        inputs.status().code(),
        message.starts_with(file) ? message : Concat(file, ": ", message));
  }
  const std::vector<Setting> settings =
      Settings(policy, inputs->has_value() ? &**inputs : nullptr);
  if (args.json) {
    JsonWriter json;
    json.Put("file", std::string_view(file));
    json.BeginObject("settings");
    for (const Setting& setting : settings) {
      std::string key = setting.name;
      std::replace(key.begin(), key.end(), ' ', '_');
      json.Put(key, std::string_view(setting.value));
    }
    json.End();
    PutStrings("warnings", warnings, json);
    io.out << json.ToString();
    return kExitDone;
  }
  PrintWarnings(warnings, io.err);
  io.out << file << ": "
         << (warnings.empty()
                 ? "no complaints"
                 : Concat("valid, with ", warnings.size(),
                          warnings.size() == 1 ? " warning" : " warnings"))
         << "\n\n";
  TextTable table({"setting", "in effect"}, {Align::kLeft, Align::kLeft});
  for (const Setting& setting : settings) {
    table.Add({setting.name, setting.value});
  }
  io.out << table.ToString();
  return kExitDone;
}

}  // namespace tidegate::tools
