// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A trace that is read as the simulation goes on gives what a trace that is
// held gives, and percentiles of many values stay near the exact ones.

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "simulator/quantile_sketch.h"
#include "tests/testing/worlds.h"

namespace tidegate {
namespace {

using internal::QuantileSketch;
using ::testing::HasSubstr;
using testing::kWorldGiB;
using testing::StatusIs;

std::string Example() {
  return std::string(TIDEGATE_SOURCE_DIR) +
         "/examples/traces/mooncake_conversation.csv";
}

std::string Written(const std::string& name, const std::string& text) {
  const std::string path = ::testing::TempDir() + name;
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

std::vector<TraceRow> RowsOf(TraceSource& source) {
  std::vector<TraceRow> rows;
  while (true) {
    auto row = source.Next();
    EXPECT_TRUE(row.ok()) << row.status();
    if (!row.ok() || !row->has_value()) return rows;
    rows.push_back(**row);
  }
}

TEST(StreamedTraceTest, HasTheRowsOfTheTraceThatIsHeld) {
  for (const std::int64_t most : {std::int64_t{7}, kTraceRowsMax}) {
    ASSERT_OK_AND_ASSIGN(const Trace held,
                         LoadTrace(Example(), {.requests_max = most}));
    ASSERT_OK_AND_ASSIGN(const std::unique_ptr<TraceSource> source,
                         OpenTrace(Example(), {.requests_max = most}));
    EXPECT_EQ(source->size(), static_cast<std::int64_t>(held.rows.size()));
    EXPECT_EQ(RowsOf(*source), held.rows);
  }
}

// Longer than the blocks in which a file is read, without a last line break.
TEST(StreamedTraceTest, BlocksThatCutLinesLoseNothing) {
  std::string text =
      "arrival_s,prompt_tokens,cached_tokens,output_tokens,session\n";
  for (int i = 0; i < 80'000; ++i) {
    text += std::to_string(i) + "," + std::to_string(100 + i % 977) + ",0,5," +
            std::to_string(i % 13) + "\n";
  }
  text.pop_back();
  const std::string path = Written("long_trace.csv", text);
  ASSERT_OK_AND_ASSIGN(const Trace held, LoadTrace(path));
  ASSERT_OK_AND_ASSIGN(const std::unique_ptr<TraceSource> source,
                       OpenTrace(path));
  EXPECT_EQ(source->size(), 80'000);
  EXPECT_EQ(RowsOf(*source), held.rows);
}

TEST(StreamedTraceTest, AnErrorInTheLastLineIsFoundBeforeAnythingRuns) {
  const std::string path =
      Written("bad_trace.csv",
              "arrival_s,prompt_tokens,cached_tokens,output_tokens,session\n"
              "0,10,0,1,0\n1,ten,0,1,0\n");
  EXPECT_THAT(OpenTrace(path), StatusIs(absl::StatusCode::kInvalidArgument,
                                        HasSubstr(":3: column prompt_tokens")));
}

TEST(StreamedTraceTest, SimulatesToTheSameResult) {
  SimulatorOptions options = testing::UnfusedWorld(40 * kWorldGiB);
  options.scheduler.memory.headroom = kWorldGiB;
  ASSERT_OK_AND_ASSIGN(const Trace held,
                       LoadTrace(Example(), {.requests_max = 60}));
  ASSERT_OK_AND_ASSIGN(const std::unique_ptr<TraceSource> source,
                       OpenTrace(Example(), {.requests_max = 60}));
  std::string logs[2];
  options.event_log = [&](std::string_view line) { logs[0] += line; };
  ASSERT_OK_AND_ASSIGN(const SimulationResult a, Simulate(held, options));
  options.event_log = [&](std::string_view line) { logs[1] += line; };
  options.want_records = false;
  ASSERT_OK_AND_ASSIGN(const SimulationResult b, Simulate(*source, options));
  EXPECT_EQ(logs[0], logs[1]);
  EXPECT_EQ(a.requests, b.requests);
  EXPECT_EQ(a.ttft_p99_s, b.ttft_p99_s);
  EXPECT_EQ(a.span_s, b.span_s);
  EXPECT_EQ(a.records.size(), 60u);
  EXPECT_TRUE(b.records.empty());
}

TEST(QuantileSketchTest, IsExactWhileItHoldsTheValues) {
  std::vector<double> values;
  QuantileSketch sketch;
  for (int i = 0; i < 1'000; ++i) {
    values.push_back((i * 7919) % 1'000);
    sketch.Add(values.back());
  }
  EXPECT_EQ(sketch.Get().p50, PercentilesOf(values).p50);
  EXPECT_EQ(sketch.Get().p99, PercentilesOf(values).p99);
}

TEST(QuantileSketchTest, BeyondItIsWithinItsBound) {
  std::mt19937_64 random(3);
  for (const double spread : {0.1, 3.0, 12.0}) {
    std::vector<double> values;
    QuantileSketch sketch;
    for (std::size_t i = 0; i < 3 * QuantileSketch::kExact; ++i) {
      const double even = static_cast<double>(random() >> 11) * 0x1p-53;
      values.push_back(i % 50 == 0 ? 0 : std::exp(spread * (even - 0.5)));
      sketch.Add(values.back());
    }
    const Percentiles exact = PercentilesOf(values);
    const Percentiles near = sketch.Get();
    for (const auto& [got, want] : {std::pair{near.p50, exact.p50},
                                    {near.p90, exact.p90},
                                    {near.p99, exact.p99}}) {
      EXPECT_NEAR(got, want, 0.001 * want);
    }
  }
}

}  // namespace
}  // namespace tidegate
