// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Which calls each of torch's kernels takes, and which one torch chooses:
// torch 2.11.0+cu130, measured on an H100.

#include <map>
#include <ostream>
#include <string>

#include "tests/testing/matchers.h"
#include "tidegate/catalogue.h"

namespace tidegate {
namespace {

constexpr MaskKind kNone = MaskKind::kNone;
constexpr MaskKind kCausal = MaskKind::kCausal;
constexpr MaskKind kBool = MaskKind::kBool;
constexpr MaskKind kFloat = MaskKind::kFloat;
constexpr MaskKind kLower = MaskKind::kLowerRight;
constexpr ComputeType kBf16 = ComputeType::kBf16;
constexpr ComputeType kFp16 = ComputeType::kFp16;
constexpr ComputeType kFp32 = ComputeType::kFp32;

struct Case {
  std::string attention;
  std::int64_t head_dim = 128;
  std::int64_t head_dim_v = 128;
  ComputeType compute = ComputeType::kBf16;
  MaskKind mask = MaskKind::kNone;
  Tokens n = 512;
  Tokens kv_len = 4096;
  std::int64_t kv_heads = 8;  // of 32
  std::string gqa = "auto";
  std::string kernel;  // empty: does not run
  std::string device = "cuda-sm90";
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.attention << " D" << c.head_dim << "/" << c.head_dim_v << " s"
       << SizeOf(c.compute) << " " << MaskName(c.mask) << " n" << c.n << " K"
       << c.kv_len << " kv" << c.kv_heads << " " << c.gqa << " " << c.device;
}

class TorchRouteTest : public ::testing::TestWithParam<Case> {};

TEST_P(TorchRouteTest, IsTheOneOfTheTable) {
  const Case& c = GetParam();
  const Catalogue& catalogue = Catalogue::Builtin();
  ASSERT_OK_AND_ASSIGN(
      const ResolvedEngine engine,
      catalogue.Resolve({"torch",
                         "2.11.0",
                         c.device,
                         {{"attention", c.attention}, {"gqa", c.gqa}}}));
  ASSERT_OK_AND_ASSIGN(const RouteTable table,
                       catalogue.Bind(engine,
                                      {.q_heads = 32,
                                       .kv_heads = c.kv_heads,
                                       .head_dim = c.head_dim,
                                       .head_dim_v = c.head_dim_v},
                                      c.compute, {}));
  const Route& route = table.Find(c.n, c.kv_len, c.mask);
  EXPECT_EQ(route.supported, !c.kernel.empty());
  if (c.kernel.empty()) {
    EXPECT_FALSE(route.reason.empty());
  } else {
    EXPECT_EQ(route.kernel, "torch." + c.kernel) << route.source;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Flash, TorchRouteTest,
    ::testing::Values(
        Case{"flash", 128, 128, kBf16, kNone, 512, 4096, 8, "auto", "flash"},
        Case{"flash", 128, 128, kFp16, kLower, 512, 4096, 8, "auto", "flash"},
        Case{"flash", 256, 256, kBf16, kNone, 512, 4096, 8, "auto", "flash"},
        Case{"flash", 257, 257, kBf16, kNone, 512, 4096, 8, "auto", ""},
        Case{"flash", 192, 128, kBf16, kNone, 512, 4096, 8, "auto", ""},
        Case{"flash", 128, 128, kFp32, kNone, 512, 4096, 8, "auto", ""},
        Case{"flash", 128, 128, kBf16, kCausal, 512, 512, 8, "auto", "flash"},
        Case{"flash", 128, 128, kBf16, kCausal, 512, 513, 8, "auto", ""},
        Case{"flash", 128, 128, kBf16, kBool, 512, 4096, 8, "auto", ""},
        Case{"flash", 128, 128, kBf16, kFloat, 512, 4096, 8, "auto", ""},
        Case{"flash", 72, 72, kBf16, kNone, 512, 4096, 1, "auto", "flash"}));

INSTANTIATE_TEST_SUITE_P(
    Cudnn, TorchRouteTest,
    ::testing::Values(
        Case{"cudnn", 192, 128, kBf16, kBool, 512, 4096, 8, "auto", "cudnn"},
        Case{"cudnn", 256, 256, kFp16, kFloat, 512, 4096, 8, "auto", "cudnn"},
        // Runs, and is top-left aligned.
        Case{"cudnn", 128, 128, kBf16, kCausal, 512, 4096, 8, "auto", "cudnn"},
        Case{"cudnn", 128, 128, kBf16, kLower, 512, 4096, 8, "auto", "cudnn"},
        Case{"cudnn", 264, 264, kBf16, kNone, 512, 4096, 8, "auto", ""},
        Case{"cudnn", 100, 100, kBf16, kNone, 512, 4096, 8, "auto", ""},
        Case{"cudnn", 128, 128, kFp32, kNone, 512, 4096, 8, "auto", ""}));

INSTANTIATE_TEST_SUITE_P(
    Efficient, TorchRouteTest,
    ::testing::Values(Case{"efficient", 576, 512, kBf16, kBool, 512, 4096, 32,
                           "auto", "efficient"},
                      Case{"efficient", 512, 512, kFp32, kFloat, 512, 4096, 8,
                           "repeat_kv", "efficient"},
                      Case{"efficient", 128, 128, kBf16, kLower, 512, 4096, 8,
                           "auto", "efficient"},
                      Case{"efficient", 128, 128, kBf16, kNone, 512, 4096, 8,
                           "enable_gqa", ""},
                      Case{"efficient", 128, 128, kBf16, kNone, 512, 4096, 32,
                           "enable_gqa", "efficient"}));

INSTANTIATE_TEST_SUITE_P(
    TakesEverything, TorchRouteTest,
    ::testing::Values(
        Case{"math", 576, 512, kFp32, kLower, 512, 4096, 8, "auto", "math"},
        Case{"math", 71, 71, kBf16, kBool, 512, 4096, 1, "auto", "math"},
        Case{"math_rp", 128, 128, kFp16, kFloat, 512, 4096, 8, "auto",
             "math_rp"},
        Case{"eager", 512, 512, kBf16, kCausal, 512, 4096, 8, "auto", "eager"},
        Case{"eager", 128, 128, kFp32, kNone, 1, 4096, 1, "auto", "eager"},
        Case{"tiled_math", 128, 128, kBf16, kNone, 512, 4096, 8, "auto",
             "tiled_math"},
        Case{"tiled_inplace", 128, 128, kBf16, kLower, 512, 4096, 8, "auto",
             "tiled_inplace"}));

// torch's own choice.
INSTANTIATE_TEST_SUITE_P(
    Default16Bit, TorchRouteTest,
    ::testing::Values(
        Case{"default", 128, 128, kBf16, kNone, 512, 4096, 8, "auto", "cudnn"},
        Case{"default", 256, 256, kFp16, kCausal, 512, 4096, 8, "auto",
             "cudnn"},
        Case{"default", 64, 64, kBf16, kBool, 512, 4096, 8, "auto", "cudnn"},
        Case{"default", 128, 128, kBf16, kFloat, 512, 4096, 8, "auto", "cudnn"},
        Case{"default", 128, 128, kBf16, kLower, 512, 4096, 8, "auto", "flash"},
        Case{"default", 128, 128, kBf16, kLower, 512, 512, 8, "auto", "cudnn"},
        Case{"default", 192, 128, kBf16, kLower, 512, 4096, 32, "auto",
             "efficient"},
        Case{"default", 192, 128, kBf16, kLower, 512, 4096, 8, "enable_gqa",
             "cudnn"},
        // Odd widths: multiples of 8 stay with cuDNN.
        Case{"default", 72, 72, kBf16, kNone, 512, 4096, 8, "auto", "cudnn"},
        Case{"default", 96, 96, kBf16, kBool, 512, 4099, 8, "auto", "cudnn"},
        Case{"default", 112, 112, kFp16, kNone, 512, 4096, 1, "auto", "cudnn"},
        Case{"default", 160, 160, kBf16, kCausal, 512, 512, 8, "auto",
             "cudnn"}));

INSTANTIATE_TEST_SUITE_P(
    DefaultWideOrFp32, TorchRouteTest,
    ::testing::Values(Case{"default", 512, 512, kBf16, kBool, 512, 4096, 8,
                           "repeat_kv", "efficient"},
                      Case{"default", 512, 512, kBf16, kBool, 512, 4096, 8,
                           "enable_gqa", "math"},
                      Case{"default", 576, 512, kBf16, kNone, 512, 4096, 32,
                           "auto", "efficient"},
                      Case{"default", 128, 128, kFp32, kNone, 512, 4096, 8,
                           "repeat_kv", "efficient"},
                      Case{"default", 128, 128, kFp32, kNone, 512, 4096, 8,
                           "enable_gqa", "math"},
                      Case{"default", 128, 128, kFp32, kNone, 512, 4096, 32,
                           "enable_gqa", "efficient"}));

// transformers' sdpa turns enable_gqa off, and repeats, where there is a mask.
INSTANTIATE_TEST_SUITE_P(
    Sdpa, TorchRouteTest,
    ::testing::Values(
        Case{"sdpa", 128, 128, kBf16, kCausal, 512, 4096, 8, "auto", "cudnn"},
        Case{"sdpa", 512, 512, kBf16, kCausal, 512, 4096, 8, "auto",
             "efficient"},
        Case{"sdpa", 512, 512, kBf16, kCausal, 512, 512, 8, "auto", "math"},
        Case{"sdpa", 128, 128, kFp32, kNone, 512, 4096, 8, "auto", "math"}));

INSTANTIATE_TEST_SUITE_P(
    OlderDevices, TorchRouteTest,
    ::testing::Values(Case{"default", 128, 128, kBf16, kNone, 512, 4096, 8,
                           "auto", "flash", "cuda-sm80"},
                      Case{"default", 128, 128, kBf16, kBool, 512, 4096, 32,
                           "auto", "efficient", "cuda-sm80"},
                      Case{"default", 128, 128, kBf16, kBool, 512, 4096, 8,
                           "auto", "math", "cuda-sm80"},
                      Case{"default", 128, 128, kFp16, kNone, 512, 4096, 32,
                           "auto", "efficient", "cuda-sm75"}));

}  // namespace
}  // namespace tidegate
