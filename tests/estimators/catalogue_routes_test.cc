// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Which kernel runs: every row of the tables that were read from the engines'
// sources (MLX) or measured (torch 2.11 on an H100), with both sides of each
// boundary.

#include <ostream>
#include <string>

#include "tests/testing/matchers.h"
#include "tidegate/catalogue.h"

namespace tidegate {
namespace {

struct Case {
  std::string version;
  std::int64_t head_dim;
  Tokens n;
  Tokens kv_len;
  MaskKind mask;
  std::string kernel;
  std::string device = "metal";
  std::int64_t head_dim_v = 0;  // 0: head_dim
  std::int64_t q_heads = 8;
  std::int64_t kv_heads = 8;
  ComputeType compute = ComputeType::kBf16;
  std::map<std::string, std::string, std::less<>> options = {};
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.version << "/" << c.device << " D" << c.head_dim << "/"
             << c.head_dim_v << " " << c.q_heads << ":" << c.kv_heads
             << " n=" << c.n << " K=" << c.kv_len << " " << MaskName(c.mask);
}

constexpr MaskKind kNone = MaskKind::kNone;
constexpr MaskKind kCausal = MaskKind::kCausal;
constexpr MaskKind kBool = MaskKind::kBool;
constexpr MaskKind kFloat = MaskKind::kFloat;
constexpr MaskKind kArray = MaskKind::kArray;

class MlxRoutesTest : public ::testing::TestWithParam<Case> {};

TEST_P(MlxRoutesTest, TakesTheKernelOfTheTable) {
  const Case& c = GetParam();
  const Catalogue& catalogue = Catalogue::Builtin();
  ASSERT_OK_AND_ASSIGN(
      const ResolvedEngine engine,
      catalogue.Resolve({"mlx", c.version, c.device, c.options}));
  ASSERT_OK_AND_ASSIGN(
      const RouteTable table,
      catalogue.Bind(engine,
                     {.q_heads = c.q_heads,
                      .kv_heads = c.kv_heads,
                      .head_dim = c.head_dim,
                      .head_dim_v = c.head_dim_v ? c.head_dim_v : c.head_dim},
                     c.compute, {}));
  const Route& route = table.Find(c.n, c.kv_len, c.mask);
  EXPECT_EQ(route.kernel, "mlx." + c.kernel) << route.source;
  EXPECT_FALSE(route.source.empty());
}

INSTANTIATE_TEST_SUITE_P(
    UpTo021, MlxRoutesTest,
    ::testing::Values(Case{"0.21.1", 128, 2048, 8192, kNone, "unfused"},
                      Case{"0.20", 64, 999'999, 1'000'000, kNone, "unfused"},
                      Case{"0.20", 64, 1'000'000, 1'000'000, kNone, "full"},
                      Case{"0.20", 96, 1'000'000, 1'000'000, kNone, "unfused"},
                      Case{"0.21", 96, 1, 8192, kNone, "vector"},
                      Case{"0.21", 80, 1, 8192, kNone, "unfused"},
                      Case{"0.21", 256, 1, 8192, kNone, "unfused"},
                      Case{"0.21", 128, 2, 8192, kNone, "unfused"},
                      Case{"0.21", 128, 1, 8192, kBool, "unfused"}));

// The last version of a row and the first of the next.
INSTANTIATE_TEST_SUITE_P(
    VersionEdges, MlxRoutesTest,
    ::testing::Values(
        Case{"0.21.2", 64, 32, 8192, kNone, "unfused"},
        Case{"0.22.0", 64, 32, 8192, kNone, "full"},
        Case{"0.21.2", 128, 1, 8192, kBool, "unfused"},
        Case{"0.22.0", 128, 1, 8192, kBool, "vector"},
        Case{"0.23.2", 128, 2048, 8192, kNone, "unfused"},
        Case{"0.24.0", 128, 2048, 8192, kNone, "full"},
        Case{"0.23.2", 64, 2048, 8192, kCausal, "unfused"},
        Case{"0.24.0", 64, 2048, 8192, kCausal, "full"},
        Case{"0.23.2", 128, 2, 8192, kNone, "unfused"},
        Case{"0.24.0", 128, 2, 8192, kNone, "vector"},
        Case{"0.24.2", 80, 9, 8192, kNone, "unfused"},
        Case{"0.25.0", 80, 9, 8192, kNone, "full"},
        Case{"0.24.2", 256, 1, 8192, kNone, "unfused"},
        Case{"0.25.0", 256, 1, 8192, kNone, "vector"},
        Case{"0.25.2", 80, 2, 8192, kNone, "full"},
        Case{"0.26.0", 80, 2, 8192, kNone, "unfused"},
        // The limit of 32 rows a group: 0.30.5 was not read, and takes the
        // dearer rule.
        Case{"0.30.4", 128, 8, 8192, kCausal, "vector", "metal", 0, 40, 8},
        Case{"0.30.5", 128, 8, 8192, kCausal, "unfused", "metal", 0, 40, 8},
        Case{"0.30.6", 128, 8, 8192, kCausal, "unfused", "metal", 0, 40, 8},
        Case{"0.30.6", 128, 8, 8192, kCausal, "vector", "metal", 0, 32, 8},
        Case{"0.31.2", 192, 8, 8192, kCausal, "unfused", "metal", 128},
        Case{"0.32.0", 192, 8, 8192, kCausal, "vector", "metal", 128},
        Case{"0.32.0", 72, 2048, 8192, kCausal, "unfused"},
        Case{"0.32.1", 72, 2048, 8192, kCausal, "full"},
        Case{.version = "0.32.1",
             .head_dim = 192,
             .n = 2048,
             .kv_len = 8192,
             .mask = kBool,
             .kernel = "unfused",
             .options = {{"force", "true"}}},
        Case{.version = "0.32.2",
             .head_dim = 192,
             .n = 2048,
             .kv_len = 8192,
             .mask = kBool,
             .kernel = "full",
             .options = {{"force", "true"}}},
        Case{"0.32.1", 256, 1024, 8192, kCausal, "unfused", "metal-nax"},
        Case{"0.32.2", 256, 1024, 8192, kCausal, "full", "metal-nax"},
        // The accelerators are a property of the device: without them the same
        // version stays unfused.
        Case{"0.32.2", 256, 1024, 8192, kCausal, "unfused", "metal"}));

// Widths and pairs that no version has a kernel for.
INSTANTIATE_TEST_SUITE_P(
    NeverFused, MlxRoutesTest,
    ::testing::Values(
        Case{"0.32.2", 112, 2048, 8192, kCausal, "unfused"},
        Case{"0.32.2", 160, 2048, 8192, kCausal, "unfused"},
        Case{"0.32.2", 128, 2048, 8192, kCausal, "unfused", "metal", 64},
        Case{"0.32.2", 576, 2048, 8192, kCausal, "unfused", "metal", 512},
        Case{"0.20.0", 512, 32, 8192, kCausal, "unfused"},
        Case{"0.32.2", 512, 32, 8192, kCausal, "unfused", "metal-nax"},
        Case{"0.20.0", 128, 2048, 8192, kCausal, "unfused", "cpu"},
        Case{"0.32.2", 64, 64, 64, kBool, "unfused", "cpu"}));

INSTANTIATE_TEST_SUITE_P(
    From022, MlxRoutesTest,
    ::testing::Values(Case{"0.22.0", 64, 32, 8192, kNone, "full"},
                      Case{"0.23.2", 80, 32, 8192, kNone, "full"},
                      Case{"0.22.0", 64, 31, 8192, kNone, "unfused"},
                      Case{"0.22.0", 128, 2048, 8192, kNone, "unfused"},
                      Case{"0.22.0", 64, 2048, 8192, kCausal, "unfused"},
                      Case{"0.22.0", 64, 2048, 8192, kBool, "unfused"},
                      Case{"0.22.0", 128, 1, 8192, kBool, "vector"},
                      Case{"0.22.0", 128, 1, 8192, kFloat, "unfused"},
                      Case{"0.22.0", 128, 2, 8192, kBool, "unfused"}));

INSTANTIATE_TEST_SUITE_P(
    From024, MlxRoutesTest,
    ::testing::Values(Case{"0.24.2", 128, 32, 8192, kCausal, "full"},
                      Case{"0.24.0", 80, 32, 8192, kArray, "full"},
                      Case{"0.24.0", 64, 32, 8192, kFloat, "full"},
                      Case{"0.24.0", 128, 31, 8192, kCausal, "unfused"},
                      Case{"0.24.0", 128, 64, 63, kCausal, "unfused"},
                      Case{"0.24.0", 128, 64, 64, kCausal, "full"},
                      Case{"0.24.0", 96, 2048, 8192, kCausal, "unfused"},
                      Case{"0.24.0", 96, 8, 8192, kNone, "vector"},
                      Case{"0.24.0", 96, 8, 8192, kBool, "vector"},
                      Case{"0.24.0", 96, 8, 8192, kFloat, "unfused"},
                      Case{"0.24.0", 96, 9, 8192, kNone, "unfused"},
                      Case{"0.24.0", 256, 1, 8192, kNone, "unfused"}));

INSTANTIATE_TEST_SUITE_P(
    From025, MlxRoutesTest,
    ::testing::Values(Case{"0.25.0", 80, 1, 8192, kCausal, "full"},
                      Case{"0.25.2", 128, 9, 8192, kCausal, "full"},
                      Case{"0.25.0", 96, 9, 8192, kCausal, "unfused"},
                      Case{"0.25.0", 256, 8, 8192, kCausal, "vector"},
                      Case{"0.25.0", 256, 9, 8192, kCausal, "unfused"},
                      Case{"0.25.0", 256, 8, 7, kCausal, "unfused"},
                      Case{"0.25.0", 256, 8, 8, kFloat, "vector"}));

INSTANTIATE_TEST_SUITE_P(
    From026, MlxRoutesTest,
    ::testing::Values(Case{"0.26.0", 80, 8, 8192, kCausal, "unfused"},
                      Case{"0.26.0", 80, 9, 8192, kCausal, "full"},
                      Case{"0.30.4", 64, 2048, 8192, kArray, "full"},
                      Case{"0.30.4", 72, 2048, 8192, kCausal, "unfused"},
                      Case{"0.26.0", 256, 2048, 8192, kCausal, "unfused"},
                      // 8 queries of 16 to 2 heads: 64 rows a group.
                      Case{"0.30.4", 256, 8, 8192, kCausal, "vector", "metal",
                           0, 16, 2}));

INSTANTIATE_TEST_SUITE_P(
    From0306, MlxRoutesTest,
    ::testing::Values(
        Case{"0.30.6", 256, 4, 8192, kCausal, "vector", "metal", 0, 16, 2},
        Case{"0.30.6", 256, 5, 8192, kCausal, "unfused", "metal", 0, 16, 2},
        // 0.30.10 comes after 0.30.6.
        Case{"0.30.10", 256, 5, 8192, kCausal, "unfused", "metal", 0, 16, 2},
        Case{"0.31.2", 256, 8, 8192, kCausal, "vector", "metal", 0, 16, 4},
        Case{"0.31.2", 256, 8, 8192, kCausal, "unfused", "metal", 0, 20, 4},
        Case{"0.31.2", 128, 9, 8192, kCausal, "full"},
        Case{"0.31.2", 192, 4, 8192, kCausal, "unfused", "metal", 128}));

INSTANTIATE_TEST_SUITE_P(
    From0320, MlxRoutesTest,
    ::testing::Values(
        Case{"0.32.0", 192, 8, 8192, kCausal, "vector", "metal", 128},
        Case{"0.32.0", 192, 9, 8192, kCausal, "unfused", "metal", 128},
        Case{"0.32.0", 192, 8, 8192, kCausal, "unfused", "metal", 192},
        Case{"0.32.0", 96, 9, 8192, kCausal, "unfused"},
        Case{"0.32.1", 96, 9, 8192, kCausal, "full"},
        Case{"0.32.1", 72, 9, 8192, kBool, "full"},
        Case{"0.32.1", 72, 8, 8192, kBool, "unfused"},
        Case{"0.32.1", 256, 1024, 8192, kCausal, "unfused", "metal-nax"}));

INSTANTIATE_TEST_SUITE_P(
    Forced0322, MlxRoutesTest,
    ::testing::Values(Case{.version = "0.32.2",
                           .head_dim = 256,
                           .n = 9,
                           .kv_len = 8192,
                           .mask = kArray,
                           .kernel = "full",
                           .options = {{"force", "true"}}},
                      Case{.version = "0.32.2",
                           .head_dim = 192,
                           .n = 9,
                           .kv_len = 8192,
                           .mask = kCausal,
                           .kernel = "full",
                           .options = {{"force", "true"}}},
                      Case{.version = "0.32.2",
                           .head_dim = 192,
                           .n = 8,
                           .kv_len = 8192,
                           .mask = kCausal,
                           .kernel = "vector",
                           .options = {{"force", "true"}}},
                      Case{.version = "0.32.2",
                           .head_dim = 192,
                           .n = 8,
                           .kv_len = 8192,
                           .mask = kCausal,
                           .kernel = "unfused"},
                      Case{.version = "0.32.2",
                           .head_dim = 256,
                           .n = 2048,
                           .kv_len = 8192,
                           .mask = kCausal,
                           .kernel = "unfused"},
                      Case{.version = "0.32.1",
                           .head_dim = 256,
                           .n = 2048,
                           .kv_len = 8192,
                           .mask = kCausal,
                           .kernel = "unfused",
                           .options = {{"force", "true"}}},
                      // Gemma-4's global layers: no kernel in any version.
                      Case{.version = "0.32.2",
                           .head_dim = 512,
                           .n = 2048,
                           .kv_len = 8192,
                           .mask = kCausal,
                           .kernel = "unfused",
                           .options = {{"force", "true"}}}));

INSTANTIATE_TEST_SUITE_P(
    NeuralAccelerators0322, MlxRoutesTest,
    ::testing::Values(
        Case{"0.32.2", 256, 1024, 8192, kCausal, "full", "metal-nax"},
        Case{"0.32.2", 256, 1023, 8192, kCausal, "unfused", "metal-nax"},
        Case{"0.32.2", 256, 1024, 8192, kBool, "unfused", "metal-nax"},
        Case{"0.32.2", 256, 1024, 8192, kNone, "unfused", "metal-nax"},
        Case{"0.32.2", 192, 1024, 8192, kCausal, "unfused", "metal-nax"},
        Case{"0.32.2", 256, 1024, 8192, kCausal, "full", "metal-nax", 0, 8, 8,
             ComputeType::kFp32},
        Case{"0.32.2",
             256,
             1024,
             8192,
             kCausal,
             "unfused",
             "metal-nax",
             0,
             8,
             8,
             ComputeType::kFp32,
             {{"tf32", "false"}}},
        Case{"0.32.2", 128, 9, 8192, kCausal, "full", "metal-nax"}));

INSTANTIATE_TEST_SUITE_P(
    TrainingAndCpu, MlxRoutesTest,
    ::testing::Values(Case{.version = "0.32.2",
                           .head_dim = 128,
                           .n = 2048,
                           .kv_len = 8192,
                           .mask = kCausal,
                           .kernel = "unfused",
                           .options = {{"training", "true"}}},
                      Case{"0.32.2", 128, 2048, 8192, kCausal, "unfused",
                           "cpu"},
                      Case{"0.32.2", 128, 1, 8192, kNone, "unfused", "cpu"}));

INSTANTIATE_TEST_SUITE_P(
    Cuda, MlxRoutesTest,
    ::testing::Values(
        Case{"0.32.2", 128, 2048, 8192, kCausal, "cudnn", "cuda-sm90"},
        Case{"0.32.2", 72, 2048, 8192, kBool, "cudnn", "cuda-sm80"},
        Case{"0.32.2", 136, 2048, 8192, kCausal, "unfused", "cuda-sm90"},
        Case{"0.32.2", 68, 2048, 8192, kCausal, "unfused", "cuda-sm90"},
        Case{"0.32.2", 128, 2048, 8192, kCausal, "unfused", "cuda-sm90", 256},
        Case{"0.32.2", 128, 64, 63, kCausal, "unfused", "cuda-sm90"},
        Case{"0.32.2", 128, 64, 63, kNone, "cudnn", "cuda-sm90"},
        Case{"0.32.2", 128, 2048, 8192, kCausal, "unfused", "cuda-sm75"},
        Case{"0.32.2", 128, 2048, 8192, kCausal, "unfused", "cuda-sm90", 0, 8,
             8, ComputeType::kFp32},
        Case{"0.32.2", 128, 3, 8192, kCausal, "vector", "cuda-sm90"},
        Case{"0.32.2", 128, 4, 8192, kCausal, "cudnn", "cuda-sm90"}));

struct VersionCase {
  EngineSpec engine;
  bool assumed;
  std::string kernel;  // of 2048 causal queries of 8192, head dim 128
};

void PrintTo(const VersionCase& c, std::ostream* out) {
  *out << c.engine.name << "@" << c.engine.version << "/" << c.engine.device;
}

// A newer version takes the last known routes, an older one the oldest, an
// unknown engine or device the unfused formula: all without a proven bound.
class KnownVersionsTest : public ::testing::TestWithParam<VersionCase> {};

TEST_P(KnownVersionsTest, FlagsWhatIsAssumed) {
  const Catalogue& catalogue = Catalogue::Builtin();
  ASSERT_OK_AND_ASSIGN(const ResolvedEngine engine,
                       catalogue.Resolve(GetParam().engine));
  EXPECT_EQ(engine.assumed, GetParam().assumed);
  EXPECT_EQ(engine.warnings.size(), GetParam().assumed ? 1 : 0);
  ASSERT_OK_AND_ASSIGN(
      const RouteTable table,
      catalogue.Bind(
          engine,
          {.q_heads = 32, .kv_heads = 8, .head_dim = 128, .head_dim_v = 128},
          ComputeType::kBf16, {}));
  const Route& route = table.Find(2048, 8192, kCausal);
  EXPECT_EQ(route.kernel, GetParam().kernel);
  EXPECT_EQ(route.assumed, GetParam().assumed);
}

INSTANTIATE_TEST_SUITE_P(
    Engines, KnownVersionsTest,
    ::testing::Values(
        VersionCase{{"mlx", "0.19.3", "metal", {}}, true, "mlx.unfused"},
        VersionCase{{"mlx", "0.20", "metal", {}}, false, "mlx.unfused"},
        VersionCase{{"mlx", "0.32.2", "metal", {}}, false, "mlx.full"},
        VersionCase{{"mlx", "0.33", "metal", {}}, true, "mlx.full"},
        VersionCase{{"mlx", "1.0", "metal", {}}, true, "mlx.full"},
        VersionCase{{"mlx", "0.32.2", "tpu", {}}, true, "unfused"},
        VersionCase{{"torch", "2.10", "cuda-sm90", {}}, true, "torch.cudnn"},
        VersionCase{{"torch", "2.11", "cuda-sm90", {}}, false, "torch.cudnn"},
        VersionCase{{"torch", "2.12", "cuda-sm90", {}}, true, "torch.cudnn"},
        VersionCase{{"llama.cpp", "b3999", "cpu", {}}, true, "llamacpp.flash"},
        VersionCase{{"llama.cpp", "b4000", "cpu", {}}, false, "llamacpp.flash"},
        VersionCase{{"llama.cpp", "b9001", "cpu", {}}, true, "llamacpp.flash"},
        VersionCase{{"acme", "1", "npu", {}}, true, "unfused"}));

TEST(LlamaCppRoutesTest, FlashAttentionAloneDecides) {
  const Catalogue& catalogue = Catalogue::Builtin();
  for (const char* flash : {"true", "false"}) {
    ASSERT_OK_AND_ASSIGN(
        const ResolvedEngine engine,
        catalogue.Resolve(
            {"llama.cpp", "b8000", "cpu", {{"flash_attn", flash}}}));
    for (const std::int64_t dim : {64, 72, 256, 576}) {
      ASSERT_OK_AND_ASSIGN(
          const RouteTable table,
          catalogue.Bind(
              engine,
              {.q_heads = 8, .kv_heads = 8, .head_dim = dim, .head_dim_v = dim},
              ComputeType::kFp16, {}));
      for (const MaskKind mask : {kNone, kCausal, kBool, kFloat, kArray}) {
        EXPECT_EQ(table.Find(512, 4096, mask).kernel,
                  *flash == 't' ? "llamacpp.flash" : "llamacpp.unfused");
      }
    }
  }
}

}  // namespace
}  // namespace tidegate
