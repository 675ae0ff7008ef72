// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Everything that happens to a completion is a message in one channel, in the
// order in which it happened: progress from the service's strand, tokens from
// the engine's thread, the answer of Submit(), and the end of the watch over
// the socket. One loop reads them, and returns when the answer and the end of
// the watch are both there, so that nothing refers to it afterwards.

#include "examples/server/completion_session.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/concurrent_channel.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/chunk_encode.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/write.hpp>
#include <chrono>
#include <exception>
#include <limits>
#include <utility>
#include <variant>

#include "examples/server/awaiting.h"
#include "examples/server/completion_answer.h"

namespace tidegate::server {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using SteadyClock = std::chrono::steady_clock;

// Bytes that a client may send ahead while its completion runs.
constexpr std::size_t kAheadMax = 64 << 10;

struct ClientGone {};
struct WatchEnded {};
using Message =
    std::variant<Progress, Piece, SubmitResult, ClientGone, WatchEnded>;
using Channel =
    asio::experimental::concurrent_channel<void(error_code, Message)>;

// Never full: a request says at most max_tokens pieces.
constexpr std::size_t kUnbounded = std::numeric_limits<std::size_t>::max();

void Tell(const std::shared_ptr<Channel>& channel, Message message) {
  channel->try_send(error_code(), std::move(message));
}

// Reads until the client closes its side: what it sends is the next request,
// and the only way to see that it left is to read.
asio::awaitable<void> Watch(beast::tcp_stream& stream,
                            beast::flat_buffer& buffer,
                            std::shared_ptr<Channel> channel) {
  while (buffer.size() < kAheadMax) {
    error_code error;
    const std::size_t got = co_await stream.socket().async_read_some(
        buffer.prepare(4096), Into(error));
    if (error == asio::error::operation_aborted) co_return;
    if (error) {
      Tell(channel, ClientGone{});
      co_return;
    }
    buffer.commit(got);
  }
}

class Session {
 public:
  Session(beast::tcp_stream& stream, ServerState& state,
          const CompletionRequest& request, RequestId id, bool http11,
          bool keep_alive)
      : stream_(stream),
        state_(state),
        answer_(request, id, std::string(state.engine->Model()),
                std::chrono::duration_cast<std::chrono::seconds>(
                    std::chrono::system_clock::now().time_since_epoch())
                    .count()),
        streamed_(request.stream),
        http11_(http11),
        keep_alive_(keep_alive && (http11 || !request.stream)) {}

  asio::awaitable<CompletionEnd> Run(beast::flat_buffer& buffer,
                                     SubmitRequest submit,
                                     std::shared_ptr<Channel> channel) {
    const auto executor = co_await asio::this_coro::executor;
    asio::cancellation_signal stop_watch;
    asio::co_spawn(
        executor, state_.service->Submit(submit),
        asio::bind_cancellation_slot(
            leave_.slot(), [channel](std::exception_ptr, SubmitResult result) {
              Tell(channel, std::move(result));
            }));
    asio::co_spawn(executor, Watch(stream_, buffer, channel),
                   asio::bind_cancellation_slot(stop_watch.slot(),
                                                [channel](std::exception_ptr) {
                                                  Tell(channel, WatchEnded{});
                                                }));
    bool watching = true;
    while (watching || !ended_) {
      error_code error;
      Message message = co_await channel->async_receive(Into(error));
      const auto take = [&](Message& taken) {
        if (std::holds_alternative<WatchEnded>(taken)) watching = false;
        Take(taken);
        if (ended_) stop_watch.emit(asio::cancellation_type::terminal);
      };
      take(message);
      // What came meanwhile goes out in the same write.
      while (
          channel->try_receive([&](error_code, Message more) { take(more); })) {
      }
      if (streamed_ && !gone_) co_await SendEvents();
    }
    co_return End();
  }

 private:
  void Take(Message& message) {
    if (const auto* progress = std::get_if<Progress>(&message)) {
      answer_.Progressed(*progress);
    } else if (const auto* piece = std::get_if<Piece>(&message)) {
      if (!answer_.spoken()) {
        state_.counters.FirstToken(SteadyClock::now() - started_);
      }
      answer_.Said(*piece);
    } else if (const auto* result = std::get_if<SubmitResult>(&message)) {
      ended_ = true;
      answer_.Ended(*result, state_.draining);
    } else if (std::holds_alternative<ClientGone>(message)) {
      Leave();
    }
  }

  // The client is not there any more: its request ends, and what it held.
  void Leave() {
    gone_ = true;
    if (!ended_) leave_.emit(asio::cancellation_type::terminal);
  }

  asio::awaitable<void> SendEvents() {
    const std::string events = answer_.TakeEvents();
    if (events.empty()) co_return;
    stream_.expires_after(state_.options.write);
    error_code error;
    if (!head_sent_) {
      head_sent_ = true;
      state_.counters.Answered(200);
      http::response<http::empty_body> head{http::status::ok,
                                            http11_ ? 11u : 10u};
      head.set(http::field::content_type, "text/event-stream; charset=utf-8");
      head.set(http::field::cache_control, "no-store");
      head.keep_alive(keep_alive_);
      if (http11_) head.chunked(true);
      http::response_serializer<http::empty_body> serializer{head};
      co_await http::async_write_header(stream_, serializer, Into(error));
    }
    const auto text = asio::buffer(events);
    if (!error && http11_) {
      const auto chunk = http::make_chunk(text);
      co_await asio::async_write(stream_, chunk, Into(error));
    } else if (!error) {
      co_await asio::async_write(stream_, text, Into(error));
    }
    if (!error && http11_ && ended_) {
      const auto last = http::make_chunk_last();
      co_await asio::async_write(stream_, last, Into(error));
    }
    if (error) Leave();
  }

  CompletionEnd End() {
    if (gone_) {
      state_.counters.ClientLeft();
      if (!head_sent_) state_.counters.Answered(499);
      return {};
    }
    if (head_sent_) return {.reusable = keep_alive_};
    CompletionEnd end{.reusable = keep_alive_};
    if (answer_.error().has_value()) {
      end.answer = ErrorAnswer(*answer_.error());
    } else {
      end.answer = HttpAnswer{.body = answer_.Body() + "\n"};
    }
    return end;
  }

  beast::tcp_stream& stream_;
  ServerState& state_;
  CompletionAnswer answer_;
  const bool streamed_;
  const bool http11_;
  const bool keep_alive_;
  const SteadyClock::time_point started_ = SteadyClock::now();
  asio::cancellation_signal leave_;
  bool head_sent_ = false;
  bool ended_ = false;
  bool gone_ = false;
};

}  // namespace

asio::awaitable<CompletionEnd> RunCompletion(beast::tcp_stream& stream,
                                             beast::flat_buffer& buffer,
                                             ServerState& state,
                                             CompletionRequest request,
                                             bool http11, bool keep_alive) {
  const auto executor = co_await asio::this_coro::executor;
  const auto channel = std::make_shared<Channel>(executor, kUnbounded);
  const RequestId id = state.service->NextId();
  SubmitRequest submit{.id = id};
  submit.request = {.prompt_tokens = std::ssize(request.generation.prompt),
                    .max_output_tokens = request.generation.max_tokens};
  submit.tenant = request.tenant;
  submit.on_progress = [channel](const Progress& progress) {
    Tell(channel, progress);
  };
  request.generation.on_piece = [channel](Piece piece) {
    Tell(channel, std::move(piece));
  };
  Session session(stream, state, request, id, http11, keep_alive);
  state.counters.StreamOpened();
  state.engine->Open(id, std::move(request.generation));
  CompletionEnd end = co_await session.Run(buffer, std::move(submit), channel);
  state.engine->Close(id);
  state.counters.StreamClosed();
  co_return end;
}

}  // namespace tidegate::server
