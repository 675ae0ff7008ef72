// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/profile.h"

#include <cmath>
#include <cstdio>
#include <limits>
#include <utility>

#include "estimators/text.h"
#include "estimators/toml_reader.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// Of the file's layout; a reader of another one says so.
constexpr std::int64_t kFormat = 1;
constexpr std::int64_t kOne = 65536;

std::string_view ComputeName(ComputeType type) {
  switch (type) {
    case ComputeType::kFp32:
      return "fp32";
    case ComputeType::kFp16:
      return "fp16";
    case ComputeType::kBf16:
      break;
  }
  return "bf16";
}

std::string MixerKey(const Mixer& mixer) {
  if (mixer.kind == MixerKind::kNone) return "none";
  if (mixer.kind == MixerKind::kLinear) {
    return Concat("linear ", mixer.linear_key_heads, "x", mixer.linear_key_dim,
                  "/", mixer.linear_value_heads, "x", mixer.linear_value_dim);
  }
  std::string key = mixer.kind == MixerKind::kSliding
                        ? Concat("sliding ", mixer.window, " ")
                    : mixer.kind == MixerKind::kLatent ? "latent "
                                                       : "full ";
  key += Concat(mixer.q_heads, "/", mixer.kv_heads, "x", mixer.head_dim);
  if (mixer.head_dim_v != mixer.head_dim) key += Concat("/", mixer.head_dim_v);
  return key;
}

std::string BlockKey(const FeedForward& block) {
  if (block.kind == FeedForwardKind::kNone) return "none";
  if (block.kind == FeedForwardKind::kDense) {
    return Concat("mlp ", block.intermediate);
  }
  return Concat("moe ", block.top_k, " of ", block.experts, "x",
                block.intermediate);
}

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04X", byte);
      quoted += escape;
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string Decimal(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.6f", value);
  return text;
}

}  // namespace

std::string ModelKey(const ModelShape& shape) {
  if (shape.hidden == 0) return "attention";
  std::string key = Concat(shape.name, ":");
  std::string_view gap = " ";
  for (std::size_t i = 0; i < shape.mixers.size(); ++i) {
    if (shape.MixerCount(static_cast<int>(i)) == 0) continue;
    key += Concat(gap, MixerKey(shape.mixers[i]));
    gap = " + ";
  }
  gap = ", ";
  for (std::size_t i = 0; i < shape.feed_forwards.size(); ++i) {
    if (shape.FeedForwardCount(static_cast<int>(i)) == 0) continue;
    key += Concat(gap, BlockKey(shape.feed_forwards[i]));
    gap = " + ";
  }
  key += Concat(", hidden ", shape.hidden, ", vocab ", shape.vocab, ", ",
                ComputeName(shape.compute));
  if (shape.kv_element.per_65536 != SizeOf(shape.compute) * kOne) {
    key += Concat(", kv ", shape.kv_element.per_65536, "/65536");
  }
  return key;
}

absl::StatusOr<Profile> ParseProfile(std::string_view text,
                                     std::string_view file) {
  TG_ASSIGN_OR_RETURN(const TomlNode root, ParseToml(text, file));
  TomlReader in(root, file);
  Profile profile;
  std::int64_t format = kFormat;
  if (in.Required("format", &format) && format != kFormat) {
    in.Error("format", Concat("expected ", kFormat, ", got ", format));
  }
  in.Optional("date", &profile.date);
  in.Optional("files", &profile.files);
  for (TomlReader& table : in.Tables("route")) {
    ProfileEntry entry;
    table.Required("engine", &entry.engine);
    table.Required("version", &entry.version);
    table.Required("device", &entry.device);
    table.Required("model", &entry.model);
    table.Required("route", &entry.route);
    table.Required("fixed_bytes", &entry.correction.fixed);
    if (entry.correction.fixed < 0) {
      table.Error("fixed_bytes",
                  Concat("expected 0 or more, got ", entry.correction.fixed));
    }
    double factor = 1;
    // The bounds apply whatever stands here; this only keeps the number sane.
    if (table.Required("factor", &factor) && !(factor >= 0 && factor <= 16)) {
      table.Error("factor", "expected 0 to 16");
    } else {
      entry.correction.factor_65536 =
          static_cast<std::int64_t>(std::ceil(factor * kOne - 1e-6));
    }
    table.Optional("rows", &entry.rows);
    table.Optional("outliers", &entry.outliers);
    table.Optional("measured_p05", &entry.measured_p05);
    table.Optional("measured_p50", &entry.measured_p50);
    table.Optional("measured_p95", &entry.measured_p95);
    table.Optional("fitted_p50", &entry.fitted_p50);
    table.Optional("fitted_p95", &entry.fitted_p95);
    table.Optional("fitted_max", &entry.fitted_max);
    table.Optional("residual_max", &entry.residual_max);
    TG_RETURN_IF_ERROR(table.Finish());
    for (const ProfileEntry& other : profile.entries) {
      if (other.engine == entry.engine && other.version == entry.version &&
          other.device == entry.device && other.model == entry.model &&
          other.route == entry.route) {
        table.Error("route", Concat("expected each route of a model once, got ",
                                    entry.route, " twice"));
        return table.status();
      }
    }
    profile.entries.push_back(std::move(entry));
  }
  TG_RETURN_IF_ERROR(in.Finish());
  if (profile.entries.empty()) {
    return InvalidArgument(std::string(file),
                           ": expected at least one [[route]], got none");
  }
  return profile;
}

std::string WriteProfile(const Profile& profile) {
  std::string text =
      "# Written by `tidegate calibrate`; read by [estimator] use = "
      "\"calibrated\".\n"
      "# Of a route: transient = fixed_bytes + factor * static price.\n";
  text += Concat("format = ", kFormat, "\n");
  if (!profile.date.empty()) {
    text += Concat("date = ", Quoted(profile.date), "\n");
  }
  text += "files = [";
  for (std::size_t i = 0; i < profile.files.size(); ++i) {
    text += Concat(i == 0 ? "" : ", ", Quoted(profile.files[i]));
  }
  text += "]\n";
  for (const ProfileEntry& entry : profile.entries) {
    text += Concat("\n[[route]]\nengine = ", Quoted(entry.engine),
                   "\nversion = ", Quoted(entry.version),
                   "\ndevice = ", Quoted(entry.device),
                   "\nmodel = ", Quoted(entry.model),
                   "\nroute = ", Quoted(entry.route));
    text += Concat(
        "\nfixed_bytes = ", entry.correction.fixed, "\nfactor = ",
        Decimal(static_cast<double>(entry.correction.factor_65536) / kOne),
        "\nrows = ", entry.rows, "\noutliers = ", entry.outliers);
    text += Concat("\nmeasured_p05 = ", Decimal(entry.measured_p05),
                   "\nmeasured_p50 = ", Decimal(entry.measured_p50),
                   "\nmeasured_p95 = ", Decimal(entry.measured_p95),
                   "\nfitted_p50 = ", Decimal(entry.fitted_p50),
                   "\nfitted_p95 = ", Decimal(entry.fitted_p95),
                   "\nfitted_max = ", Decimal(entry.fitted_max),
                   "\nresidual_max = ", entry.residual_max, "\n");
  }
  return text;
}

}  // namespace tidegate::internal
