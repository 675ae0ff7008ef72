// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "examples/server/routes.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "estimators/json_reader.h"
#include "estimators/text.h"
#include "examples/server/json_text.h"
#include "examples/server/page_assets.h"

namespace tidegate::server {
namespace {

using internal::Concat;
using nlohmann::json;

HttpAnswer Health(const ServerState& state) {
  if (!state.draining) return {.body = "{\"status\":\"ok\"}\n"};
  return {.status = 503,
          .body = "{\"status\":\"shutting_down\"}\n",
          .retry_after_s = 1};
}

HttpAnswer Models(const ServerState& state) {
  const json model = {{"id", state.engine->Model()},
                      {"object", "model"},
                      {"owned_by", "tidegate"}};
  return {.body = JsonLine(json{{"object", "list"}, {"data", {model}}}) + "\n"};
}

HttpAnswer Stats(std::string_view query, const ServerState& state) {
  std::int64_t since = 0;
  if (!query.empty()) {
    constexpr std::string_view kKey = "since=";
    const char* const end = query.data() + query.size();
    const bool named = query.starts_with(kKey);
    const auto read =
        named ? std::from_chars(query.data() + kKey.size(), end, since)
              : std::from_chars_result{};
    if (!named || read.ec != std::errc() || read.ptr != end) {
      return ErrorAnswer(
          {.code = "invalid_value",
           .message = Concat("the query ", internal::Quote(query),
                             ": expected since=N")});
    }
  }
  return {.body = state.history.Json(since, state.service->Metrics())};
}

// Nullopt where no file of the page has this path.
std::optional<HttpAnswer> Page(std::string_view path) {
  for (const internal::EmbeddedText& asset : server_page_assets()) {
    const bool page = path == "/" && asset.file == "live.html";
    if (!page && path != Concat("/assets/", asset.file)) continue;
    HttpAnswer answer{.content_type = "text/html; charset=utf-8",
                      .body = std::string(asset.text)};
    if (path.ends_with(".js")) answer.content_type = "text/javascript";
    if (path.ends_with(".css")) answer.content_type = "text/css";
    return answer;
  }
  return std::nullopt;
}

std::optional<HttpAnswer> Get(std::string_view path, std::string_view query,
                              const ServerState& state) {
  if (path == "/healthz") return Health(state);
  if (path == "/v1/models") return Models(state);
  if (path == "/stats") return Stats(query, state);
  if (path == "/metrics") {
    return HttpAnswer{
        .content_type = "text/plain; version=0.0.4; charset=utf-8",
        .body = state.counters.Text(state.service->Metrics(),
                                    state.engine->Device())};
  }
  return Page(path);
}

}  // namespace

HttpAnswer Answer(std::string_view method, std::string_view target,
                  const ServerState& state) {
  const std::size_t mark = std::min(target.find('?'), target.size());
  const std::string_view path = target.substr(0, mark);
  const std::string_view query =
      mark < target.size() ? target.substr(mark + 1) : std::string_view();
  const bool completions = path == kCompletionsPath;
  std::optional<HttpAnswer> got;
  if (!completions) got = Get(path, query, state);
  if (!completions && !got.has_value()) {
    return ErrorAnswer(
        {.status = 404,
         .code = "not_found",
         .message = Concat("no such path: ", internal::Quote(path))});
  }
  if (!completions && method == "GET") return *std::move(got);
  const std::string_view allowed = completions ? "POST" : "GET";
  HttpAnswer answer = ErrorAnswer(
      {.status = 405,
       .code = "method_not_allowed",
       .message = Concat(internal::Quote(path), ": expected ", allowed,
                         ", got ", internal::Quote(method))});
  answer.allow = allowed;
  return answer;
}

}  // namespace tidegate::server
