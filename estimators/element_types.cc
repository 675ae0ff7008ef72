// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Names of element types, as configs, policy files and engines spell them.

#include <array>
#include <charconv>
#include <cmath>
#include <string_view>
#include <system_error>

#include "estimators/text.h"
#include "tidegate/model_config.h"

namespace tidegate {
namespace {

struct NamedWidth {
  std::string_view name;
  std::int64_t per_65536;
};

constexpr std::int64_t kByte = 65536;

// The q types keep a 16-bit scale (and for _1 a minimum) per 32 codes; nvfp4
// keeps an fp8 scale per 16.
constexpr auto kWidths = std::to_array<NamedWidth>({
    {"fp32", 4 * kByte},
    {"float32", 4 * kByte},
    {"float", 4 * kByte},
    {"fp16", 2 * kByte},
    {"float16", 2 * kByte},
    {"half", 2 * kByte},
    {"bf16", 2 * kByte},
    {"bfloat16", 2 * kByte},
    {"fp8", kByte},
    {"float8", kByte},
    {"fp8_e4m3", kByte},
    {"fp8_e5m2", kByte},
    {"fp8_e4m3fn", kByte},
    {"float8_e4m3fn", kByte},
    {"float8_e5m2", kByte},
    {"int8", kByte},
    {"uint8", kByte},
    {"int4", kByte / 2},
    {"uint4", kByte / 2},
    {"fp4", kByte / 2},
    {"nvfp4", kByte * 9 / 16},
    {"q8_0", kByte * 34 / 32},
    {"q4_0", kByte * 18 / 32},
    {"q4_1", kByte * 20 / 32},
    {"q5_0", kByte * 22 / 32},
    {"q5_1", kByte * 24 / 32},
});

std::string_view WithoutTorch(std::string_view text) {
  constexpr std::string_view kPrefix = "torch.";
  if (text.starts_with(kPrefix)) text.remove_prefix(kPrefix.size());
  return text;
}

}  // namespace

absl::StatusOr<ElementSize> ParseElementSize(std::string_view text) {
  const std::string_view name = WithoutTorch(text);
  for (const NamedWidth& width : kWidths) {
    if (width.name == name) return ElementSize{width.per_65536};
  }
  double bytes = 0;
  const auto [end, error] =
      std::from_chars(name.data(), name.data() + name.size(), bytes);
  // From one bit to 8 bytes; rounded up, so that no width is priced short.
  if (error == std::errc() && end == name.data() + name.size() &&
      bytes >= 0.125 && bytes <= 8) {
    return ElementSize{static_cast<std::int64_t>(
        std::ceil(bytes * static_cast<double>(kByte)))};
  }
  return internal::InvalidArgument(
      "expected fp32, fp16, bf16, fp8, int8, int4, q8_0 or a number of bytes "
      "from 0.125 to 8, got \"",
      text, "\"");
}

absl::StatusOr<ComputeType> ParseComputeType(std::string_view text) {
  const std::string_view name = WithoutTorch(text);
  if (name == "fp32" || name == "float32" || name == "float") {
    return ComputeType::kFp32;
  }
  if (name == "fp16" || name == "float16" || name == "half") {
    return ComputeType::kFp16;
  }
  if (name == "bf16" || name == "bfloat16") return ComputeType::kBf16;
  return internal::InvalidArgument("expected fp32, fp16 or bf16, got \"", text,
                                   "\"");
}

}  // namespace tidegate
