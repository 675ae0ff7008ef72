// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// GET /metrics, /stats, and the files of the live page.

#include <cstdlib>
#include <map>
#include <sstream>

#include "tests/server/harness.h"

namespace tidegate::testing {
namespace {

using ::testing::HasSubstr;

// Series -> value; fails where a line is none of the text exposition format.
std::map<std::string, double> ParseMetrics(const std::string& text) {
  std::map<std::string, double> series;
  std::map<std::string, std::string> types;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# HELP ")) continue;
    if (line.starts_with("# TYPE ")) {
      std::istringstream words(line.substr(7));
      std::string name, type;
      words >> name >> type;
      EXPECT_TRUE(types.emplace(name, type).second) << "twice: " << line;
      continue;
    }
    const std::size_t space = line.rfind(' ');
    EXPECT_NE(space, std::string::npos) << line;
    const std::string key = line.substr(0, space);
    char* end = nullptr;
    const double value = std::strtod(line.c_str() + space + 1, &end);
    EXPECT_EQ(*end, '\0') << line;
    EXPECT_TRUE(series.emplace(key, value).second) << "twice: " << line;
    std::string name = key.substr(0, key.find('{'));
    for (const char* suffix : {"_bucket", "_sum", "_count"}) {
      if (!types.contains(name) && name.ends_with(suffix)) {
        name = name.substr(0, name.rfind(suffix));
      }
    }
    EXPECT_TRUE(types.contains(name)) << "no type: " << line;
  }
  return series;
}

TEST(ServerMetricsTest, CountWhatHappened) {
  ServerHarness harness;
  HttpClient client(harness.port());
  EXPECT_EQ(client.Post(kCompletions, Ask(3000, 5, true)).status, 200);
  EXPECT_EQ(client.Post(kCompletions, Ask(30, 5, false)).status, 200);
  EXPECT_EQ(client.Post(kCompletions, Ask(120'000, 5, false)).status, 413);
  EXPECT_EQ(client.Post(kCompletions, "{}").status, 400);
  ASSERT_TRUE(harness.BecomesIdle());

  const HttpResponse response = client.Get("/metrics");
  EXPECT_THAT(response.headers.at("content-type"),
              HasSubstr("text/plain; version=0.0.4"));
  const auto series = ParseMetrics(response.body);
  const std::map<std::string, double> expected = {
      {"tidegate_server_admitted_total", 2},
      {"tidegate_requests_total{outcome=\"finished\"}", 2},
      {"tidegate_refusals_total{code=\"too_large\"}", 1},
      {"tidegate_refusals_total{code=\"overloaded\"}", 0},
      {"tidegate_requests_waiting", 0},
      {"tidegate_prompt_tokens_total", 3030},
      {"tidegate_generated_tokens_total", 10},
      {"tidegate_claimed_bytes", 0},
      {"tidegate_resident_bytes", 0},
      {"tidegate_server_live_bytes", 15.0 * (1 << 30)},
      {"tidegate_server_line_bytes", 26.0 * (1 << 30)},
      {"tidegate_server_resident_bytes", 0},
      {"tidegate_server_transient_bytes", 0},
      {"tidegate_time_to_first_token_seconds_count", 2},
      {"tidegate_server_first_token_seconds_count", 2},
      {"tidegate_server_first_token_seconds_bucket{le=\"+Inf\"}", 2},
      {"tidegate_server_responses_total{code=\"200\"}", 2},
      {"tidegate_server_responses_total{code=\"413\"}", 1},
      {"tidegate_server_responses_total{code=\"400\"}", 1},
      {"tidegate_server_connections", 1},
      {"tidegate_server_completions", 0},
      {"tidegate_server_disconnects_total", 0}};
  for (const auto& [key, value] : expected) {
    ASSERT_TRUE(series.contains(key)) << key;
    EXPECT_EQ(series.at(key), value) << key;
  }
  EXPECT_GE(series.at("tidegate_steps_total"), 3);
  EXPECT_GT(series.at("tidegate_room_bytes"), 0);
}

TEST(ServerMetricsTest, ShowWhatIsHeldWhileItIs) {
  ServerHarness harness({.decode_interval = kNever});
  HttpClient holder(harness.port());
  holder.SendPost(kCompletions, Ask(8192, 64, true));
  ASSERT_TRUE(holder.ReceiveUntil("\"end\":8192"));
  const auto series =
      ParseMetrics(HttpClient(harness.port()).Get("/metrics").body);
  // 2 x 8 heads x 128 x 2 bytes in each of 32 layers: 128 KiB a token.
  EXPECT_EQ(series.at("tidegate_server_resident_bytes"), 8192.0 * (128 << 10));
  EXPECT_EQ(series.at("tidegate_resident_bytes"), 8192.0 * (128 << 10));
  EXPECT_EQ(series.at("tidegate_claimed_bytes"), 64.0 * (128 << 10));
  EXPECT_EQ(series.at("tidegate_server_completions"), 1);
}

TEST(LivePageTest, IsServedWithAllThatItLoads) {
  ServerHarness harness;
  HttpClient client(harness.port());
  const HttpResponse page = client.Get("/");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.headers.at("content-type"), "text/html; charset=utf-8");
  std::size_t at = 0;
  int assets = 0;
  while ((at = page.body.find("\"/assets/", at)) != std::string::npos) {
    const std::size_t end = page.body.find('"', ++at);
    const std::string path = page.body.substr(at, end - at);
    const HttpResponse asset = client.Get(path);
    EXPECT_EQ(asset.status, 200) << path;
    EXPECT_EQ(asset.headers.at("content-type"),
              path.ends_with(".js") ? "text/javascript" : "text/css");
    ++assets;
  }
  EXPECT_EQ(assets, 7);
  EXPECT_EQ(page.body.find("http://"), std::string::npos);
  EXPECT_EQ(page.body.find("https://"), std::string::npos);
}

TEST(LivePageTest, StatisticsGoOnWhereTheLastOnesEnded) {
  ServerHarness harness({.http = {.sample = std::chrono::milliseconds(1)}});
  HttpClient client(harness.port());
  EXPECT_EQ(client.Post(kCompletions, Ask(3000, 5, false)).status, 200);
  Tokens next = 0;
  std::int64_t last_at = 0;
  Bytes peak = 0;
  for (int i = 0; i < 3; ++i) {
    json stats;
    ASSERT_TRUE(ServerHarness::Comes([&] {
      stats =
          json::parse(client.Get("/stats?since=" + std::to_string(next)).body);
      return !stats["points"].empty();
    }));
    EXPECT_EQ(stats["ceiling"], Bytes{27} << 30);
    EXPECT_EQ(stats["columns"].size(), stats["points"][0].size());
    for (const json& point : stats["points"]) {
      EXPECT_GE(point[0].get<std::int64_t>(), last_at);
      last_at = point[0].get<std::int64_t>();
      peak = std::max(peak, point[2].get<Bytes>());
    }
    EXPECT_EQ(stats["totals"]["finished"], 1);
    next = stats["next"].get<Tokens>();
  }
  EXPECT_GT(peak, Bytes{15} << 30);  // of the steps, though none runs now
}

}  // namespace
}  // namespace tidegate::testing
