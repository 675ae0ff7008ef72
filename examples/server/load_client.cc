// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "examples/server/load_client.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <cmath>
#include <optional>
#include <random>
#include <utility>

#include "estimators/text.h"
#include "examples/server/awaiting.h"

namespace tidegate::server {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;
using internal::Concat;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

enum class Leaving { kNever, kBeforeAnswer, kAfterFirstToken };

struct Ask {
  std::string text;  // the whole HTTP request
  Leaving leaving = Leaving::kNever;
};

// What a stream said so far, read as its bytes come.
class StreamReader {
 public:
  void Read(std::string_view body) {
    for (;;) {
      const std::size_t end = body.find("\n\n", read_);
      if (end == std::string_view::npos) return;
      Event(body.substr(read_, end - read_));
      read_ = end + 2;
    }
  }
  Tokens tokens = 0;
  std::int64_t progress = 0;
  bool progress_after_token = false;
  bool length = false;  // ended by max_tokens
  bool done = false;

 private:
  void Event(std::string_view event) {
    if (event.starts_with(": prefill ")) {
      ++progress;
      progress_after_token = progress_after_token || tokens > 0;
    } else if (event == "data: [DONE]") {
      done = true;
    } else if (event.find(R"("finish_reason":"length")") !=
               std::string_view::npos) {
      length = true;
    } else if (event.find(R"("finish_reason":null)") !=
               std::string_view::npos) {
      ++tokens;
    }
  }
  std::size_t read_ = 0;
};

class Load {
 public:
  explicit Load(const LoadOptions& options)
      : options_(options), random_(options.seed) {}

  LoadReport Run() {
    const auto start = Clock::now();
    for (std::int64_t i = 0; i < options_.streams; ++i) {
      asio::co_spawn(context_, Client(), asio::detached);
    }
    context_.run();
    report_.wall_s = SecondsSince(start);
    std::sort(report_.first_token_s.begin(), report_.first_token_s.end());
    std::sort(report_.total_s.begin(), report_.total_s.end());
    return std::move(report_);
  }

 private:
  Ask Draw() {
    std::uniform_int_distribution<Tokens> length(options_.prompt_min,
                                                 options_.prompt_max);
    std::uniform_real_distribution<double> chance(0, 1);
    const std::string body = Concat(
        R"({"stream":true,"max_tokens":)", options_.max_tokens, R"(,"seed":)",
        report_.asked, R"(,"prompt":")",
        std::string(static_cast<std::size_t>(length(random_)), 'x'), R"("})");
    Ask ask{.text = Concat(
                "POST /v1/completions HTTP/1.1\r\nHost: ", options_.address,
                "\r\nContent-Type: application/json\r\n"
                "Content-Length: ",
                static_cast<std::int64_t>(body.size()), "\r\n\r\n", body)};
    if (chance(random_) < options_.leave) {
      ask.leaving = chance(random_) < 0.5 ? Leaving::kBeforeAnswer
                                          : Leaving::kAfterFirstToken;
    }
    return ask;
  }

  asio::awaitable<void> Client() {
    beast::tcp_stream stream(co_await asio::this_coro::executor);
    beast::flat_buffer buffer;
    error_code error;
    const asio::ip::tcp::endpoint endpoint(
        asio::ip::make_address(options_.address), options_.port);
    stream.expires_after(options_.patience);
    co_await stream.async_connect(endpoint, Into(error));
    for (std::int64_t round = 0; round < options_.rounds; ++round) {
      const Ask ask = Draw();
      ++report_.asked;
      if (error) {
        Broken(Concat("connect: ", error.message()));
        continue;
      }
      const bool more = co_await OneRequest(stream, buffer, ask);
      if (!more) co_return;
    }
  }

  // False when the connection is over.
  asio::awaitable<bool> OneRequest(beast::tcp_stream& stream,
                                   beast::flat_buffer& buffer, const Ask& ask) {
    const auto start = Clock::now();
    error_code error;
    stream.expires_after(options_.patience);
    co_await asio::async_write(stream, asio::buffer(ask.text), Into(error));
    if (ask.leaving == Leaving::kBeforeAnswer) {
      ++report_.left;
      co_return false;  // which closes the socket
    }
    http::response_parser<http::string_body> parser;
    parser.body_limit(std::uint64_t{1} << 30);
    if (!error) {
      co_await http::async_read_header(stream, buffer, parser, Into(error));
    }
    StreamReader reader;
    while (!error && !parser.is_done()) {
      stream.expires_after(options_.patience);
      co_await http::async_read_some(stream, buffer, parser, Into(error));
      const Tokens before = reader.tokens;
      reader.Read(parser.get().body());
      if (before == 0 && reader.tokens > 0) {
        report_.first_token_s.push_back(SecondsSince(start));
        if (ask.leaving == Leaving::kAfterFirstToken) {
          ++report_.left;
          co_return false;
        }
      }
    }
    report_.tokens += reader.tokens;
    report_.progress_events += reader.progress;
    const int status = parser.get().result_int();
    if (!error && status != 200) {
      ++report_.refused[status];
      co_return parser.get().keep_alive();
    }
    const bool whole = !error && reader.done && reader.length &&
                       reader.tokens == options_.max_tokens &&
                       reader.progress > 0 && !reader.progress_after_token;
    if (!whole) {
      Broken(Concat("status ", status, ", ", reader.tokens, " tokens, ",
                    reader.progress, " progress events: ", error.message()));
      co_return false;
    }
    ++report_.finished;
    report_.total_s.push_back(SecondsSince(start));
    co_return parser.get().keep_alive();
  }

  void Broken(std::string why) {
    if (report_.broken++ == 0) report_.first_failure = std::move(why);
  }

  const LoadOptions options_;
  std::mt19937_64 random_;
  LoadReport report_;
  asio::io_context context_{1};
};

std::string Milliseconds(const std::vector<double>& ascending, double share) {
  if (ascending.empty()) return "-";
  const auto rank = static_cast<std::size_t>(
      std::ceil(share * static_cast<double>(ascending.size())));
  const double value = ascending[std::max<std::size_t>(rank, 1) - 1];
  return Concat(static_cast<std::int64_t>(std::llround(value * 1000)), " ms");
}

}  // namespace

absl::StatusOr<LoadReport> RunLoad(const LoadOptions& options) {
  error_code error;
  asio::ip::make_address(options.address, error);
  if (error) {
    return internal::InvalidArgument("address: expected an IP address, got ",
                                     options.address);
  }
  if (options.streams < 1 || options.rounds < 1 || options.prompt_min < 1 ||
      options.prompt_max < options.prompt_min || options.max_tokens < 1) {
    return internal::InvalidArgument(
        "expected at least one stream, round, prompt token and output token");
  }
  return Load(options).Run();
}

std::string Describe(const LoadReport& report) {
  std::string refused;
  for (const auto& [status, count] : report.refused) {
    refused += Concat("refused ", status, "    ", count, "\n");
  }
  return Concat("asked          ", report.asked, "\nfinished       ",
                report.finished, "\nleft           ", report.left, "\n",
                refused, "broken         ", report.broken,
                report.broken > 0 ? ": " : "", report.first_failure,
                "\ntokens         ", report.tokens, "\nprogress       ",
                report.progress_events, "\nwall           ",
                Milliseconds({report.wall_s}, 1), "\nfirst token    p50 ",
                Milliseconds(report.first_token_s, 0.5), ", p99 ",
                Milliseconds(report.first_token_s, 0.99),
                "\nwhole answer   p50 ", Milliseconds(report.total_s, 0.5),
                ", p99 ", Milliseconds(report.total_s, 0.99), "\n");
}

}  // namespace tidegate::server
