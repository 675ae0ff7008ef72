// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "examples/server/connection.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <exception>
#include <string>
#include <utility>
#include <variant>

#include "estimators/text.h"
#include "examples/server/awaiting.h"
#include "examples/server/completion_session.h"
#include "examples/server/routes.h"

namespace tidegate::server {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using Parser = http::request_parser<http::string_body>;
using Request = http::request<http::string_body>;

constexpr std::uint32_t kHeaderMax = 16 << 10;
// How long, and how much of, what a refused client still sends is read and
// thrown away: closing at once would reset the connection under its answer.
constexpr std::chrono::seconds kLinger{2};
constexpr std::size_t kLingerBytes = std::size_t{64} << 20;

class HttpConnection final
    : public Connection,
      public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(asio::ip::tcp::socket socket, ServerState& state)
      : stream_(std::move(socket)), state_(state) {}

  void Start(std::function<void()> on_end) override {
    // A streamed token is small and must not wait for the next.
    error_code ignored;
    stream_.socket().set_option(asio::ip::tcp::no_delay(true), ignored);
    state_.counters.Connected();
    asio::co_spawn(
        stream_.get_executor(),
        [self = shared_from_this()] { return self->Run(); },
        [self = shared_from_this(), on_end](std::exception_ptr) {
          self->state_.counters.Disconnected();
          self->Close();
          on_end();
        });
  }

  void CloseWhenIdle() override {
    asio::post(stream_.get_executor(), [self = shared_from_this()] {
      self->closing_ = true;
      if (self->idle_) self->stream_.cancel();
    });
  }

  // What is read or written ends with an error, and a completion sees its
  // client leave.
  void Abort() override {
    asio::post(stream_.get_executor(), [self = shared_from_this()] {
      self->closing_ = true;
      error_code ignored;
      self->stream_.socket().shutdown(asio::socket_base::shutdown_both,
                                      ignored);
      if (self->idle_) self->stream_.cancel();
    });
  }

 private:
  asio::awaitable<void> Run() {
    bool more = true;
    while (more && !closing_) {
      // Not reused: a parser takes one message.
      const auto parser = std::make_unique<Parser>();
      parser->header_limit(kHeaderMax);
      parser->body_limit(state_.options.body_bytes_max);
      error_code error;
      co_await Read(*parser, error);
      if (error) {
        co_await Refuse(*parser, error);
        break;
      }
      more = co_await Serve(parser->release());
    }
  }

  asio::awaitable<void> Read(Parser& parser, error_code& error) {
    idle_ = true;
    stream_.expires_after(state_.options.idle);
    co_await http::async_read_header(stream_, buffer_, parser, Into(error));
    idle_ = false;
    if (error || parser.is_done()) co_return;
    stream_.expires_after(state_.options.body);
    if (beast::iequals(parser.get()[http::field::expect], "100-continue")) {
      static constexpr std::string_view kGoOn = "HTTP/1.1 100 Continue\r\n\r\n";
      co_await asio::async_write(stream_, asio::buffer(kGoOn), Into(error));
      if (error) co_return;
    }
    co_await http::async_read(stream_, buffer_, parser, Into(error));
  }

  // False when the connection ends with this answer.
  asio::awaitable<bool> Serve(Request request) {
    const bool keep_alive = request.keep_alive() && !state_.draining;
    const bool http11 = request.version() >= 11;
    const std::string_view target(request.target().data(),
                                  request.target().size());
    CompletionEnd end{.reusable = keep_alive};
    if (request.method() == http::verb::post &&
        target.substr(0, target.find('?')) == kCompletionsPath) {
      auto parsed = ParseCompletion(request.body(), *state_.engine);
      request = Request();  // a long prompt is there once from now on
      if (auto* completion = std::get_if<CompletionRequest>(&parsed)) {
        end =
            co_await RunCompletion(stream_, buffer_, state_,
                                   std::move(*completion), http11, keep_alive);
      } else {
        end.answer = ErrorAnswer(std::get<ApiError>(parsed));
      }
    } else {
      const std::string_view method(request.method_string().data(),
                                    request.method_string().size());
      end.answer = Answer(method, target, state_);
    }
    if (!end.answer.has_value()) co_return end.reusable;
    co_return co_await Write(*end.answer, http11,
                             end.reusable && !state_.draining);
  }

  asio::awaitable<bool> Write(HttpAnswer& answer, bool http11,
                              bool keep_alive) {
    state_.counters.Answered(answer.status);
    http::response<http::string_body> response{
        static_cast<http::status>(answer.status), http11 ? 11u : 10u};
    response.set(http::field::content_type,
                 beast::string_view(answer.content_type.data(),
                                    answer.content_type.size()));
    response.set(http::field::cache_control, "no-store");
    if (answer.retry_after_s.has_value()) {
      response.set(http::field::retry_after,
                   std::to_string(*answer.retry_after_s));
    }
    if (!answer.allow.empty()) {
      response.set(http::field::allow, beast::string_view(answer.allow.data(),
                                                          answer.allow.size()));
    }
    response.keep_alive(keep_alive);
    response.body() = std::move(answer.body);
    response.prepare_payload();
    stream_.expires_after(state_.options.write);
    error_code error;
    co_await http::async_write(stream_, response, Into(error));
    co_return keep_alive && !error;
  }

  // What was no request of ours: an answer where one can be given.
  asio::awaitable<void> Refuse(const Parser& parser, error_code error) {
    HttpAnswer answer;
    if (error == http::error::body_limit) {
      answer = ErrorAnswer({.status = 413,
                            .code = "body_too_large",
                            .message = internal::Concat(
                                "the body is longer than ",
                                internal::Grouped(static_cast<std::int64_t>(
                                    state_.options.body_bytes_max)),
                                " bytes")});
    } else if (error == http::error::header_limit) {
      answer = ErrorAnswer({.status = 431,
                            .code = "header_too_large",
                            .message = "the header is longer than 16 KiB"});
    } else if (error == beast::error::timeout && parser.is_header_done()) {
      answer = ErrorAnswer({.status = 408,
                            .code = "body_timeout",
                            .message = "the body did not come in time"});
    } else if (error.category() ==
                   http::make_error_code(http::error::bad_value).category() &&
               error != http::error::end_of_stream &&
               error != http::error::partial_message) {
      answer = ErrorAnswer(
          {.code = "bad_http",
           .message = internal::Concat("no HTTP request: ", error.message())});
    } else {
      co_return;  // closed, silent or aborted
    }
    co_await Write(answer, true, false);
    co_await Linger();
  }

  asio::awaitable<void> Linger() {
    error_code error;
    stream_.socket().shutdown(asio::socket_base::shutdown_send, error);
    stream_.expires_after(kLinger);
    std::size_t thrown_away = 0;
    while (!error && thrown_away < kLingerBytes) {
      buffer_.clear();
      thrown_away += co_await stream_.async_read_some(
          buffer_.prepare(kHeaderMax), Into(error));
    }
  }

  void Close() {
    error_code ignored;
    stream_.socket().shutdown(asio::socket_base::shutdown_both, ignored);
    stream_.socket().close(ignored);
  }

  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  ServerState& state_;
  bool idle_ = false;
  bool closing_ = false;
};

}  // namespace

std::shared_ptr<Connection> Connection::Create(asio::ip::tcp::socket socket,
                                               ServerState& state) {
  return std::make_shared<HttpConnection>(std::move(socket), state);
}

}  // namespace tidegate::server
