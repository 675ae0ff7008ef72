// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/scenario.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "estimators/json_reader.h"
#include "estimators/text.h"
#include "simulator/scenario_reader.h"
#include "tidegate/model_config.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

using std::string_view;

constexpr auto kTopKeys = std::to_array<string_view>(
    {"id", "title", "source", "model", "engine", "memory", "policy", "world",
     "events", "expect"});
constexpr auto kModelKeys = std::to_array<string_view>(
    {"config", "shape", "compute_dtype", "kv_dtype"});
constexpr auto kEngineKeys =
    std::to_array<string_view>({"name", "version", "device"});
constexpr auto kMemoryKeys = std::to_array<string_view>(
    {"ceiling", "base", "max_allocation", "reclaimable"});
constexpr auto kReclaimableKeys =
    std::to_array<string_view>({"kind", "bytes", "lag_s"});
constexpr auto kReclaimableKinds =
    std::to_array<string_view>({"pool", "cache", "model"});
constexpr auto kWorldKeys = std::to_array<string_view>(
    {"attention", "score_bytes", "tile", "fixed_bytes", "per_token_bytes",
     "kv_bytes_per_token", "resident_extra_per_token", "pool_keeps_transients",
     "tokens_per_s", "chunk_overhead_s", "decode_tokens_per_s"});

// Device memories are below an exabyte; above it a number is a slip, and sums
// of a few stay within 64 bits.
constexpr Bytes kDeviceBytesMax = Bytes{1} << 60;

// JSON text of a value, for the readers that take text.
std::string ToText(const JsonValue& value) {
  switch (value.type) {
    case JsonValue::Type::kNull:
      return "null";
    case JsonValue::Type::kBool:
      return value.boolean ? "true" : "false";
    case JsonValue::Type::kInt:
    case JsonValue::Type::kNumber:
      return value.text;
    case JsonValue::Type::kString:
      break;
    case JsonValue::Type::kArray: {
      std::string text = "[";
      for (const JsonValue& item : value.items) {
        if (text.size() > 1) text += ",";
        text += ToText(item);
      }
      return text + "]";
    }
    case JsonValue::Type::kObject: {
      std::string text = "{";
      for (std::size_t i = 0; i < value.items.size(); ++i) {
        JsonValue key{.type = JsonValue::Type::kString, .text = value.keys[i]};
        text +=
            Concat(i > 0 ? "," : "", ToText(key), ":", ToText(value.items[i]));
      }
      return text + "}";
    }
  }
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "\"";
  for (const char c : value.text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20) {
      text += Concat("\\u00", string_view(&kDigits[byte >> 4], 1),
                     string_view(&kDigits[byte & 15], 1));
      continue;
    }
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text + "\"";
}

// The same failure with `prefix` before the key: the readers of parts do not
// know where in a scenario their part lies.
absl::Status Under(string_view prefix, const absl::Status& status,
                   const std::string& place) {
  const std::string message(status.message());
  const std::string start = Concat(place, ": key ");
  if (!message.starts_with(start)) return status;
  return InvalidArgument(start, prefix, message.substr(start.size()));
}

absl::Status ReadOverrides(ScenarioReader& model, ModelOverrides* overrides) {
  if (const JsonValue* compute = model.Find("compute_dtype")) {
    const absl::StatusOr<ComputeType> type = ParseComputeType(
        compute->type == JsonValue::Type::kString ? compute->text
                                                  : std::string());
    if (!type.ok()) model.FailAt("compute_dtype", "fp32, fp16 or bf16");
    if (type.ok()) overrides->compute = *type;
  }
  if (const JsonValue* kv = model.Find("kv_dtype")) {
    const bool scalar = kv->type == JsonValue::Type::kString ||
                        kv->type == JsonValue::Type::kInt ||
                        kv->type == JsonValue::Type::kNumber;
    const absl::StatusOr<ElementSize> size =
        ParseElementSize(scalar ? kv->text : std::string());
    if (!size.ok()) {
      model.FailAt("kv_dtype",
                   "fp32, fp16, bf16, fp8, int8, int4 or a number of bytes");
    }
    if (size.ok()) overrides->kv_element = *size;
  }
  return model.status();
}

absl::Status ReadModel(ScenarioReader& top, Scenario* scenario) {
  ScenarioReader model = top.Child("model", kModelKeys);
  TG_RETURN_IF_ERROR(top.status());
  ModelOverrides overrides;
  TG_RETURN_IF_ERROR(ReadOverrides(model, &overrides));
  const JsonValue* config = model.Find("config");
  const JsonValue* shape = model.Find("shape");
  if ((config == nullptr) == (shape == nullptr)) {
    model.Fail("config", "one of config and shape",
               config == nullptr ? "neither" : "both");
    return model.status();
  }
  const string_view key = config != nullptr ? "config" : "shape";
  if (shape != nullptr) {
    for (string_view override : {"compute_dtype", "kv_dtype"}) {
      if (model.Has(override)) model.FailAt(override, "it inside shape");
    }
  }
  const JsonValue& value = config != nullptr ? *config : *shape;
  if (!value.IsObject()) model.FailAt(key, "an object");
  TG_RETURN_IF_ERROR(model.status());
  absl::StatusOr<ModelConfig> read =
      config != nullptr
          ? ParseModelConfig(ToText(value), scenario->place, overrides)
          : ParseInlineShape(ToText(value), scenario->place);
  if (!read.ok()) {
    return Under(Concat("model.", key, "."), read.status(), scenario->place);
  }
  scenario->shape = std::move(read->shape);
  return absl::OkStatus();
}

absl::Status ReadEngine(ScenarioReader& top, Scenario* scenario) {
  ScenarioReader engine = top.Child("engine", kEngineKeys);
  TG_RETURN_IF_ERROR(top.status());
  scenario->engine.name = engine.Text("name");
  scenario->engine.version = engine.Text("version");
  scenario->engine.device = engine.Text("device");
  return engine.status();
}

absl::Status ReadMemory(ScenarioReader& top, Scenario* scenario) {
  ScenarioReader memory = top.Child("memory", kMemoryKeys);
  TG_RETURN_IF_ERROR(top.status());
  scenario->ceiling = memory.Int("ceiling", 1, kDeviceBytesMax);
  scenario->base = memory.Int("base", 0, kDeviceBytesMax);
  scenario->max_allocation =
      memory.OptionalInt("max_allocation", 1, kDeviceBytesMax);
  Bytes parts = 0;
  memory.Each(
      "reclaimable", [&](const JsonValue& item, const std::string& prefix) {
        ScenarioReader part(item, scenario->place, prefix, kReclaimableKeys);
        if (!part.Has("kind")) part.FailAt("kind", OneOf(kReclaimableKinds));
        const string_view kind =
            kReclaimableKinds[part.WordOr("kind", kReclaimableKinds)];
        const Bytes bytes = part.Int("bytes", 0, kDeviceBytesMax);
        parts = SatAdd(parts, bytes);
        if (parts > scenario->base) {
          part.FailAt("bytes", Concat("a part of base = ", scenario->base));
        }
        scenario->reclaimables.push_back(
            {std::string(kind), bytes, part.SecondsOr("lag_s", Duration{})});
        return part.status();
      });
  return memory.status();
}

absl::Status ReadPolicy(ScenarioReader& top, Scenario* scenario) {
  PolicyFile& policy = scenario->policy;
  if (const JsonValue* json = top.Find("policy")) {
    if (!json->IsObject()) {
      top.FailAt("policy", "an object");
      return top.status();
    }
    // What a scenario says in keys of its own is said once.
    struct Elsewhere {
      string_view table;
      string_view key;
    };
    for (const Elsewhere& place :
         {Elsewhere{"model", ""}, Elsewhere{"engine", ""},
          Elsewhere{"memory", "ceiling"}, Elsewhere{"memory", "base"},
          Elsewhere{"memory", "max_allocation"}}) {
      const JsonValue* value = json->Find(place.table);
      if (value != nullptr && !place.key.empty())
        value = value->Find(place.key);
      if (value == nullptr) continue;
      const std::string name = place.key.empty()
                                   ? std::string(place.table)
                                   : Concat(place.table, ".", place.key);
      top.Fail(Concat("policy.", name), Concat("the scenario's own ", name),
               "one in the policy");
      return top.status();
    }
    absl::StatusOr<PolicyFile> read =
        ParsePolicyJson(ToText(*json), scenario->place);
    if (!read.ok()) return Under("policy.", read.status(), scenario->place);
    policy = *std::move(read);
  }
  policy.engine = scenario->engine;
  policy.model_shape = scenario->shape;
  policy.ceiling = scenario->ceiling;
  policy.base = scenario->base;
  policy.max_allocation = scenario->max_allocation;
  return absl::OkStatus();
}

absl::Status ReadWorld(ScenarioReader& top, Scenario* scenario) {
  constexpr string_view kAttention[] = {"catalog", "unfused", "tiled", "fused"};
  constexpr WorldAttention kKinds[] = {
      WorldAttention::kCatalog, WorldAttention::kUnfused,
      WorldAttention::kTiled, WorldAttention::kFused};
  // Faster than any machine, slower than none: what divides stays a number.
  constexpr double kSlowest = 1e-3;
  constexpr double kFastest = 1e12;
  ScenarioReader in = top.Child("world", kWorldKeys);
  TG_RETURN_IF_ERROR(top.status());
  WorldOptions& world = scenario->world;
  world.attention = kKinds[in.WordOr("attention", kAttention)];
  world.compute_bytes = SizeOf(scenario->shape.compute);
  if (in.Has("score_bytes")) {
    world.score_millibytes =
        std::llround(1000 * in.NumberOr("score_bytes", 1, 1e-3, 64));
  }
  world.tile = in.IntOr("tile", world.tile, 1, kTokensMax);
  world.fixed_bytes = in.IntOr("fixed_bytes", 0, 0, kDeviceBytesMax);
  world.per_token_bytes = in.IntOr("per_token_bytes", 0, 0, kDeviceBytesMax);
  world.kv_bytes_per_token =
      in.IntOr("kv_bytes_per_token", scenario->shape.KvBytesPerToken(), 0,
               kDeviceBytesMax);
  world.resident_extra_per_token =
      in.IntOr("resident_extra_per_token", 0, 0, kDeviceBytesMax);
  if (const JsonValue* keeps = in.Find("pool_keeps_transients")) {
    if (keeps->type != JsonValue::Type::kBool) {
      in.FailAt("pool_keeps_transients", "true or false");
    }
    world.pool_keeps_transients = keeps->boolean;
  }
  world.tokens_per_s =
      in.NumberOr("tokens_per_s", world.tokens_per_s, kSlowest, kFastest);
  world.chunk_overhead_s =
      in.NumberOr("chunk_overhead_s", world.chunk_overhead_s, 0, 1e6);
  world.decode_tokens_per_s = in.NumberOr(
      "decode_tokens_per_s", world.decode_tokens_per_s, kSlowest, kFastest);
  return in.status();
}

}  // namespace

absl::StatusOr<Scenario> ParseScenario(std::string_view json,
                                       const std::string& place) {
  TG_ASSIGN_OR_RETURN(const JsonValue root, ParseJsonObject(json, place));
  ScenarioReader top(root, place, "", kTopKeys);
  TG_RETURN_IF_ERROR(top.status());
  Scenario scenario;
  scenario.place = place;
  scenario.id = top.Text("id");
  for (string_view text : {"title", "source"}) {
    if (top.Has(text)) top.Text(text);
  }
  for (string_view key : {"model", "engine", "memory", "expect"}) {
    if (!top.Has(key)) top.FailAt(key, "an object");
  }
  TG_RETURN_IF_ERROR(top.status());
  TG_RETURN_IF_ERROR(ReadModel(top, &scenario));
  TG_RETURN_IF_ERROR(ReadEngine(top, &scenario));
  TG_RETURN_IF_ERROR(ReadMemory(top, &scenario));
  TG_RETURN_IF_ERROR(ReadPolicy(top, &scenario));
  TG_RETURN_IF_ERROR(ReadWorld(top, &scenario));
  TG_RETURN_IF_ERROR(ReadEvents(top, place, &scenario));
  TG_RETURN_IF_ERROR(top.status());
  const JsonValue& expect = *top.Find("expect");
  if (!expect.IsObject()) {
    top.FailAt("expect", "an object");
    return top.status();
  }
  TG_RETURN_IF_ERROR(ReadExpect(expect, place, &scenario));
  return scenario;
}

absl::StatusOr<std::vector<Scenario>> ParseScenarios(std::string_view text,
                                                     std::string_view file) {
  std::vector<Scenario> scenarios;
  for (int line = 1; !text.empty(); ++line) {
    const std::size_t newline = text.find('\n');
    const string_view content = text.substr(0, newline);
    text.remove_prefix(newline == string_view::npos ? text.size()
                                                    : newline + 1);
    if (content.find_first_not_of(" \t\r") == string_view::npos) continue;
    TG_ASSIGN_OR_RETURN(Scenario scenario,
                        ParseScenario(content, Concat(file, ":", line)));
    scenarios.push_back(std::move(scenario));
  }
  // A file without scenarios would pass.
  if (scenarios.empty()) {
    return InvalidArgument(file, ":1: key (top level): expected a scenario, ",
                           "got the end of the file");
  }
  return scenarios;
}

}  // namespace tidegate::internal
