// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/torch_attention.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "estimators/price_sink.h"
#include "estimators/torch_masks.h"
#include "tests/testing/matchers.h"

namespace tidegate::internal {
namespace {

using K = TorchKernel;
using G = TorchGqa;
using C = ComputeType;
using M = MaskKind;

constexpr std::int64_t kH100Multiprocessors = 132;

Price PriceOf(TorchCall call) {
  if (call.kernel == K::kFlash) {
    call.splits = FlashSplits(call.q_heads, call.kv_heads, call.head_dim,
                              kH100Multiprocessors)
                      .Count(call.n, call.kv_len);
  }
  TermsSink sink;
  EmitTorchAttention(call, MakeTorchPartNames("attention"), sink);
  return sink.Take(0);
}

// The largest part without what the allocator adds.
Bytes Requested(const Price& price) {
  Bytes most = 0;
  for (const Part& part : price.parts) {
    Bytes bytes = part.bytes;
    for (const Term& term : part.terms) {
      if (term.name == "allocator") bytes -= term.bytes;
    }
    most = std::max(most, bytes);
  }
  return most;
}

// One measured call: the line of the table it comes from, and
// transient_requested_bytes.
struct Measured {
  int line;
  TorchKernel kernel;
  TorchGqa gqa;
  ComputeType compute;
  MaskKind mask;
  std::int64_t q_heads, kv_heads, head_dim, head_dim_v;
  Tokens n, kv_len, tile;
  Bytes requested;
};

// Source: attention calls on one H100 80GB HBM3 (132 multiprocessors), torch
// 2.11.0+cu130, peak of the allocator's requested bytes; lines of
// truth/h100/attn_h100.csv. Chosen to cover every kernel, mask, width and way
// of grouping, and the places where formulas break: n = kv_len, short keys, a
// kv length that is no multiple of 8, partial tiles.
constexpr Measured kMeasured[] = {
    {83, K::kCudnn, G::kEnableGqa, C::kFp16, M::kBool, 32, 8, 64, 64, 512, 4096,
     0, 6291728},
    {126, K::kMath, G::kEnableGqa, C::kFp32, M::kCausal, 32, 8, 64, 64, 512,
     4096, 0, 683687940},
    {128, K::kMath, G::kEnableGqa, C::kFp32, M::kBool, 32, 8, 64, 64, 512, 4096,
     0, 683687940},
    {167, K::kCudnn, G::kEnableGqa, C::kBf16, M::kBool, 32, 8, 96, 96, 512,
     4096, 0, 7340304},
    {174, K::kFlash, G::kRepeatKv, C::kBf16, M::kNone, 32, 8, 96, 96, 512, 4096,
     0, 53542936},
    {176, K::kFlash, G::kRepeatKv, C::kBf16, M::kLowerRight, 32, 8, 96, 96, 512,
     4096, 0, 53542936},
    {179, K::kEfficient, G::kRepeatKv, C::kBf16, M::kNone, 32, 8, 96, 96, 512,
     4096, 0, 53477376},
    {244, K::kMath, G::kEnableGqa, C::kBf16, M::kBool, 32, 8, 128, 128, 512,
     4096, 0, 792739844},
    {246, K::kFlash, G::kRepeatKv, C::kBf16, M::kNone, 32, 8, 128, 128, 512,
     4096, 0, 71368728},
    {379, K::kCudnn, G::kRepeatKv, C::kBf16, M::kBool, 32, 8, 192, 192, 512,
     4096, 0, 111149328},
    {814, K::kMath, G::kMha, C::kFp32, M::kNone, 32, 32, 512, 512, 512, 4096, 0,
     637550596},
    {851, K::kEfficient, G::kRepeatKv, C::kFp32, M::kFloat, 32, 8, 512, 512,
     512, 4096, 0, 570425344},
    {962, K::kFlash, G::kEnableGqa, C::kBf16, M::kLowerRight, 32, 8, 128, 128,
     16, 4096, 0, 1982488},
    {1001, K::kFlash, G::kEnableGqa, C::kBf16, M::kCausal, 32, 8, 128, 128,
     4096, 4096, 0, 34078744},
    {1298, K::kMath, G::kEnableGqa, C::kBf16, M::kBool, 32, 8, 128, 128, 16, 16,
     0, 1622528},
    {1661, K::kTiledInplace, G::kMha, C::kFp32, M::kLowerRight, 32, 32, 512,
     512, 64, 5000, 256, 49389120},
    {1667, K::kTiledInplace, G::kNative, C::kBf16, M::kLowerRight, 8, 1, 96, 96,
     16, 32768, 512, 9199744},
    {1675, K::kTiledMath, G::kRepeatKv, C::kFp32, M::kNone, 40, 8, 192, 192,
     512, 16384, 128, 1865154560},
    {1682, K::kEager, G::kMha, C::kBf16, M::kFloat, 12, 12, 96, 96, 4096, 16384,
     0, 8053063680},
    {1687, K::kEager, G::kMha, C::kBf16, M::kFloat, 12, 12, 96, 96, 64, 16384,
     0, 125829120},
    {1690, K::kEfficient, G::kRepeatKv, C::kFp16, M::kFloat, 40, 8, 192, 192,
     4096, 16384, 0, 692060160},
    {1694, K::kTiledInplace, G::kNative, C::kFp32, M::kLowerRight, 16, 2, 64,
     64, 256, 131072, 128, 1093141504},
    {1706, K::kTiledMath, G::kEnableGqa, C::kBf16, M::kNone, 32, 8, 512, 512,
     4096, 50001, 256, 13275234304},
    {1733, K::kEfficient, G::kMha, C::kFp16, M::kLowerRight, 12, 12, 64, 64, 16,
     131072, 0, 24576},
    {1735, K::kTiledMath, G::kMha, C::kFp16, M::kNone, 12, 12, 64, 64, 777,
     131072, 256, 4431954436},
    {1790, K::kTiledInplace, G::kMha, C::kBf16, M::kLowerRight, 12, 12, 128,
     128, 100, 4096, 512, 10580768},
    {1791, K::kMathReduced, G::kMha, C::kBf16, M::kFloat, 12, 12, 128, 128, 64,
     4096, 0, 19070976},
    {1801, K::kTiledInplace, G::kMha, C::kBf16, M::kLowerRight, 12, 12, 256,
     256, 512, 16384, 256, 108136448},
    {1804, K::kCudnn, G::kMha, C::kBf16, M::kBool, 12, 12, 256, 256, 64, 16384,
     0, 2490640},
    {1820, K::kMathReduced, G::kEnableGqa, C::kBf16, M::kNone, 16, 8, 256, 256,
     100, 5000, 0, 139699200},
    {1830, K::kMath, G::kRepeatKv, C::kBf16, M::kLowerRight, 32, 8, 192, 192,
     4096, 4096, 0, 5402394628},
    {1845, K::kEager, G::kRepeatKv, C::kBf16, M::kNone, 8, 1, 96, 96, 16, 5000,
     0, 6400000},
    {1862, K::kEfficient, G::kRepeatKv, C::kFp16, M::kLowerRight, 40, 8, 192,
     192, 100, 32768, 0, 1011240960},
    {1886, K::kFlash, G::kEnableGqa, C::kFp16, M::kLowerRight, 16, 2, 128, 128,
     4096, 4096, 0, 17039384},
    {1889, K::kMath, G::kEnableGqa, C::kFp16, M::kLowerRight, 16, 2, 128, 128,
     4096, 4096, 0, 2625699844},
    {1892, K::kMath, G::kRepeatKv, C::kBf16, M::kBool, 32, 8, 96, 96, 256,
     50001, 0, 5561610756},
    {1895, K::kTiledMath, G::kRepeatKv, C::kBf16, M::kNone, 32, 8, 96, 96, 4096,
     50001, 128, 3714789380},
    {1905, K::kMathReduced, G::kRepeatKv, C::kBf16, M::kFloat, 64, 8, 256, 256,
     512, 50001, 0, 11485839362},
    {1931, K::kTiledMath, G::kMha, C::kBf16, M::kNone, 32, 32, 192, 192, 256,
     50001, 512, 6159859716},
    {1933, K::kEfficient, G::kMha, C::kBf16, M::kFloat, 32, 32, 192, 192, 1024,
     50001, 0, 140165120},
    {1964, K::kMathReduced, G::kMha, C::kBf16, M::kNone, 12, 12, 128, 128, 8192,
     50001, 0, 24601755650},
    {2072, K::kCudnn, G::kMha, C::kFp16, M::kFloat, 12, 12, 64, 64, 777, 50001,
     0, 1193744},
    {2103, K::kEager, G::kRepeatKv, C::kFp32, M::kNone, 8, 1, 64, 64, 16, 32768,
     0, 33554432},
    {2209, K::kMath, G::kRepeatKv, C::kBf16, M::kFloat, 32, 8, 64, 64, 100,
     131072, 0, 6997740676},
    {2216, K::kEager, G::kRepeatKv, C::kFp16, M::kFloat, 16, 2, 128, 128, 512,
     65536, 0, 4831838208},
    {2226, K::kCudnn, G::kEnableGqa, C::kBf16, M::kLowerRight, 32, 8, 96, 96,
     4096, 4096, 0, 25166096},
    {2286, K::kMathReduced, G::kEnableGqa, C::kBf16, M::kFloat, 16, 2, 128, 128,
     777, 4096, 0, 291356818},
    {2346, K::kTiledMath, G::kEnableGqa, C::kBf16, M::kNone, 8, 1, 96, 96, 64,
     32768, 512, 394756096},
    {2371, K::kEager, G::kRepeatKv, C::kBf16, M::kFloat, 32, 8, 64, 64, 512,
     50001, 0, 8601772032},
    {2513, K::kMathReduced, G::kRepeatKv, C::kFp16, M::kNone, 32, 8, 96, 96,
     512, 5000, 0, 474202114},
};

TEST(TorchAttentionTest, RequestsToTheByteWhatWasMeasured) {
  for (const Measured& m : kMeasured) {
    const Price price = PriceOf({.kernel = m.kernel,
                                 .gqa = m.gqa,
                                 .compute = m.compute,
                                 .mask = m.mask,
                                 .q_heads = m.q_heads,
                                 .kv_heads = m.kv_heads,
                                 .head_dim = m.head_dim,
                                 .head_dim_v = m.head_dim_v,
                                 .n = m.n,
                                 .kv_len = m.kv_len,
                                 .tile = m.tile});
    EXPECT_EQ(Requested(price), m.requested) << "line " << m.line;
  }
}

TEST(TorchAttentionTest, TermsSumToTheBindingPart) {
  const Price price = PriceOf({.kernel = K::kMath,
                               .gqa = G::kEnableGqa,
                               .mask = M::kBool,
                               .q_heads = 32,
                               .kv_heads = 8,
                               .head_dim = 128,
                               .head_dim_v = 128,
                               .n = 512,
                               .kv_len = 4096});
  EXPECT_EQ(price.binding_part, "attention.softmax");
  for (const Part& part : price.parts) {
    Bytes sum = 0;
    for (const Term& term : part.terms) sum += term.bytes;
    EXPECT_EQ(sum, part.bytes) << part.name;
    EXPECT_LE(part.bytes, price.transient_bytes) << part.name;
  }
}

TEST(TorchAttentionTest, MathHasAFloorThatNoChunkGoesBelow) {
  TorchCall call{.kernel = K::kMath,
                 .gqa = G::kEnableGqa,
                 .q_heads = 32,
                 .kv_heads = 8,
                 .head_dim = 128,
                 .head_dim_v = 128,
                 .n = 1,
                 .kv_len = 131072};
  const Price one = PriceOf(call);
  // Upcast k and v (8 heads), their expansion and the scaled k (32 heads), all
  // fp32.
  EXPECT_EQ(one.fixed_in_n_bytes,
            Bytes{4} * 131072 * 128 * (2 * 8 + 2 * 32 + 32));
  call.n = 256;
  EXPECT_EQ(PriceOf(call).fixed_in_n_bytes, one.fixed_in_n_bytes);
}

TEST(TorchAttentionTest, FusedKernelsDoNotGrowWithTheKeys) {
  for (const TorchKernel kernel : {K::kFlash, K::kCudnn, K::kEfficient}) {
    TorchCall call{.kernel = kernel,
                   .q_heads = 32,
                   .kv_heads = 32,
                   .head_dim = 128,
                   .head_dim_v = 128,
                   .n = 4096,
                   .kv_len = 8192};
    const Bytes near = PriceOf(call).transient_bytes;
    call.kv_len = 1'000'000;
    EXPECT_EQ(PriceOf(call).transient_bytes, near);
  }
}

TEST(TorchAttentionTest, AbsurdLengthsSaturate) {
  for (const TorchKernel kernel : {K::kMath, K::kEager, K::kTiledInplace}) {
    const Price price = PriceOf({.kernel = kernel,
                                 .gqa = G::kEnableGqa,
                                 .mask = M::kBool,
                                 .q_heads = 128,
                                 .kv_heads = 8,
                                 .head_dim = 512,
                                 .head_dim_v = 512,
                                 .n = kTokensMax,
                                 .kv_len = kTokensMax});
    EXPECT_GT(price.transient_bytes, Bytes{1} << 58);
  }
}

TEST(TorchAttentionTest, AllocatorRoundsLargeBlocksTo2MiB) {
  constexpr Bytes kMiB = 1 << 20;
  EXPECT_EQ(AllocatorRounding(0), 0);
  EXPECT_EQ(AllocatorRounding(1), 511);
  EXPECT_EQ(AllocatorRounding(9 * kMiB), 0);
  EXPECT_EQ(AllocatorRounding(11 * kMiB), kMiB);
  // More than 1 MiB is left: split off, and not the block's.
  EXPECT_EQ(AllocatorRounding(10 * kMiB + 512), 0);
  EXPECT_EQ(AllocatorRounding(12 * kMiB), 0);
  EXPECT_EQ(AllocatorRounding(kBytesMax), 0);
  Bytes previous = 0;
  for (Bytes bytes = 0; bytes < 16 * kMiB; bytes += 777) {
    const Bytes block = bytes + AllocatorRounding(bytes);
    ASSERT_GE(block, previous) << bytes;
    previous = block;
  }
}

// FlashAttention-2's num_splits_heuristic as it is written, for comparison.
std::int64_t SplitsAsWritten(std::int64_t query_blocks, std::int64_t slots,
                             std::int64_t key_blocks) {
  if (query_blocks >= 0.8f * slots) return 1;
  const std::int64_t most = std::min({std::int64_t{128}, slots, key_blocks});
  const auto eligible = [&](std::int64_t k) {
    return k == 1 || CeilDiv(key_blocks, k) != CeilDiv(key_blocks, k - 1);
  };
  std::vector<float> efficiency;
  float best = 0;
  for (std::int64_t k = 1; k <= most; ++k) {
    if (!eligible(k)) {
      efficiency.push_back(0);
      continue;
    }
    const float waves = static_cast<float>(query_blocks * k) / slots;
    efficiency.push_back(waves / std::ceil(waves));
    best = std::max(best, efficiency.back());
  }
  for (std::int64_t k = 1; k <= most; ++k) {
    if (eligible(k) && efficiency[k - 1] >= 0.85 * best) return k;
  }
  return 1;
}

TEST(FlashSplitsTest, AgreesWithTheRuleAsWritten) {
  for (const std::int64_t heads : {1, 3, 8, 12, 32, 40, 64, 210, 212}) {
    for (const std::int64_t sm_count : {16, 108, 132, 148}) {
      const FlashSplits splits(heads, heads, 128, sm_count);
      for (Tokens n = 1; n < 15'000; n += n < 700 ? 63 : 1777) {
        for (Tokens kv_len = n; kv_len < 2'300'000;
             kv_len += 127 + kv_len / 3) {
          ASSERT_EQ(splits.Count(n, kv_len),
                    SplitsAsWritten(heads * CeilDiv(n, 64), 2 * sm_count,
                                    CeilDiv(kv_len, 128)))
              << heads << " heads, n " << n << ", kv_len " << kv_len;
        }
      }
    }
  }
}

TEST(FlashSplitsTest, SmallChunksNeedMoreScratch) {
  const FlashSplits splits(32, 8, 128, kH100Multiprocessors);
  EXPECT_EQ(splits.Count(512, 131072), 1);
  EXPECT_GT(splits.Count(256, 131072), 1);
  // One query of 32 heads in groups of 4 is laid out as 4 queries of 8 heads.
  EXPECT_EQ(splits.Count(1, 131072),
            FlashSplits(8, 8, 128, kH100Multiprocessors).Count(4, 131072));
}

// Every price below that at v - 1 must be announced.
class BreakpointsTest : public ::testing::TestWithParam<TorchKernel> {};

TEST_P(BreakpointsTest, PricesOnlyFallWhereAnnounced) {
  struct Heads {
    std::int64_t q, kv, dim;
  };
  for (const Heads heads :
       {Heads{32, 8, 128}, Heads{8, 8, 64}, Heads{4, 1, 256}}) {
    const FlashSplits splits(heads.q, heads.kv, heads.dim,
                             kH100Multiprocessors);
    const TorchPartNames names = MakeTorchPartNames("attention");
    const auto totals = [&](Tokens n, Tokens kv_len, MaskKind mask) {
      TotalsSink sink;
      EmitTorchAttention(
          TorchCall{.kernel = GetParam(),
                    .gqa = heads.q == heads.kv ? G::kMha : G::kRepeatKv,
                    .mask = mask,
                    .q_heads = heads.q,
                    .kv_heads = heads.kv,
                    .head_dim = heads.dim,
                    .head_dim_v = heads.dim,
                    .n = n,
                    .kv_len = kv_len,
                    .tile = 128,
                    .splits = splits.Count(n, kv_len)},
          names, sink);
      return sink.Totals(0);
    };
    for (const MaskKind mask : {M::kNone, M::kCausal, M::kBool, M::kFloat,
                                M::kArray, M::kLowerRight}) {
      for (const auto& [axis, fixed, lo, hi] :
           {std::tuple{Axis::kN, Tokens{3000}, Tokens{1}, Tokens{3000}},
            {Axis::kKvLen, Tokens{200}, Tokens{200}, Tokens{4000}},
            {Axis::kChunk, Tokens{0}, Tokens{1}, Tokens{1500}},
            {Axis::kChunk, Tokens{1001}, Tokens{1}, Tokens{1500}}}) {
        std::vector<Tokens> breaks;
        splits.Breakpoints(axis, fixed, lo, hi, &breaks);
        TorchCallBreakpoints(GetParam(), mask, axis, fixed, lo, hi, &breaks);
        PriceTotals before{};
        for (Tokens v = lo; v <= hi; ++v) {
          const Tokens n = axis == Axis::kKvLen ? fixed : v;
          const Tokens kv_len = axis == Axis::kN       ? fixed
                                : axis == Axis::kKvLen ? v
                                                       : fixed + v;
          const PriceTotals now = totals(n, kv_len, mask);
          if (now.transient_bytes < before.transient_bytes ||
              now.largest_allocation_bytes < before.largest_allocation_bytes) {
            ASSERT_THAT(breaks, ::testing::Contains(v))
                << "mask " << static_cast<int>(mask) << ", axis "
                << static_cast<int>(axis) << ", fixed " << fixed << ", "
                << heads.q << " heads";
          }
          before = now;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryKernel, BreakpointsTest,
                         ::testing::Values(K::kMath, K::kMathReduced,
                                           K::kEfficient, K::kFlash, K::kCudnn,
                                           K::kEager, K::kTiledMath,
                                           K::kTiledInplace));

// Source: truth/h100/masks_h100.csv, transient_requested_bytes at n = 512 and
// 4096 keys.
TEST(TorchMasksTest, RequestsToTheByteWhatWasMeasured) {
  const auto requested = [](TorchMaskBuilder builder) {
    TermsSink sink;
    EmitTorchMask(builder, 512, 4096, 2, sink);
    return Requested(sink.Take(0));
  };
  EXPECT_EQ(requested(TorchMaskBuilder::kOnesTril), 4194304);
  EXPECT_EQ(requested(TorchMaskBuilder::kFullTriu), 8388608);
  EXPECT_EQ(requested(TorchMaskBuilder::kArangeCompare), 2134016);
  EXPECT_EQ(requested(TorchMaskBuilder::kSdpaMask), 2134032);
  EXPECT_EQ(requested(TorchMaskBuilder::kEagerMask), 6291460);
}

}  // namespace
}  // namespace tidegate::internal
