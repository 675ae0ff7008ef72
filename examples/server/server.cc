// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "examples/server/server.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <chrono>
#include <condition_variable>
#include <future>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "estimators/text.h"
#include "examples/server/awaiting.h"
#include "examples/server/connection.h"
#include "examples/server/server_state.h"
#include "tidegate/status.h"

namespace tidegate::server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using internal::Concat;

// How long the last answers may take to be written when everyone has one.
constexpr std::chrono::seconds kFlush{5};
// Between two attempts to accept where one more connection is too many.
constexpr std::chrono::milliseconds kAcceptPause{50};

// The connections that are open.
class Connections {
 public:
  void Add(std::shared_ptr<Connection> connection) {
    const std::lock_guard lock(mutex_);
    open_.insert(std::move(connection));
  }
  void Remove(const std::shared_ptr<Connection>& connection) {
    {
      const std::lock_guard lock(mutex_);
      open_.erase(connection);
    }
    changed_.notify_all();
  }
  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return open_.size();
  }
  template <typename Call>
  void ForEach(const Call& call) {
    std::vector<std::shared_ptr<Connection>> open;
    {
      const std::lock_guard lock(mutex_);
      open.assign(open_.begin(), open_.end());
    }
    for (const auto& connection : open) call(*connection);
  }
  // False when some are still open after `patience`.
  bool WaitUntilNone(Duration patience) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, [this] { return open_.empty(); });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::shared_ptr<Connection>> open_;
};

class HttpServer final : public Server {
 public:
  HttpServer(ServerOptions options, Bytes ceiling,
             std::shared_ptr<TextEngine> engine)
      : state_{.options = std::move(options),
               .engine = engine,
               .service = nullptr,
               .counters = Counters(),
               .history = History(std::string(engine->Model()), ceiling)},
        strand_(asio::make_strand(context_)),
        acceptor_(strand_),
        sampler_(strand_) {}

  ~HttpServer() override {
    Shutdown({.drain = Duration::zero()});
    // Before the context that it runs in.
    state_.service.reset();
    work_.reset();
    // A connection that would not end is not waited for.
    if (connections_.size() > 0) context_.stop();
    for (std::thread& thread : threads_) thread.join();
  }

  absl::Status Listen() {
    error_code error;
    const auto address = asio::ip::make_address(state_.options.address, error);
    if (error) {
      return internal::InvalidArgument("address: expected an IP address, got ",
                                       state_.options.address);
    }
    const tcp::endpoint endpoint(address, state_.options.port);
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(tcp::acceptor::max_listen_connections, error);
    if (!error) port_ = acceptor_.local_endpoint(error).port();
    if (!error) return absl::OkStatus();
    return absl::UnavailableError(
        Concat("cannot listen on ", state_.options.address, ":",
               state_.options.port, ": ", error.message()));
  }

  absl::Status Begin(ServiceOptions service) {
    TG_ASSIGN_OR_RETURN(state_.service,
                        Service::Create(std::move(service), state_.engine,
                                        context_.get_executor()));
    asio::co_spawn(strand_, Accept(), asio::detached);
    asio::co_spawn(strand_, Sample(), asio::detached);
    for (int i = 0; i < state_.options.threads; ++i) {
      threads_.emplace_back([this] { context_.run(); });
    }
    return absl::OkStatus();
  }

  std::uint16_t port() const override { return port_; }
  ServiceMetrics Metrics() const override { return state_.service->Metrics(); }

  ShutdownReport Shutdown(ShutdownOptions options) override {
    if (state_.service == nullptr) return {};
    state_.draining = true;
    // Until everyone is answered new clients are still told 503.
    const ShutdownReport report =
        asio::co_spawn(context_, state_.service->Shutdown(options),
                       asio::use_future)
            .get();
    const std::lock_guard lock(closing_);
    asio::post(strand_, [this] {
      error_code ignored;
      acceptor_.close(ignored);
      sampler_.cancel();
    });
    asio::post(
        strand_, asio::use_future([this] {
          connections_.ForEach([](Connection& open) { open.CloseWhenIdle(); });
        }))
        .wait();
    if (!connections_.WaitUntilNone(kFlush)) {
      connections_.ForEach([](Connection& open) { open.Abort(); });
      connections_.WaitUntilNone(kFlush);
    }
    return report;
  }

 private:
  asio::awaitable<void> Accept() {
    asio::steady_timer pause(strand_);
    while (acceptor_.is_open()) {
      tcp::socket socket(asio::make_strand(context_));
      error_code error;
      co_await acceptor_.async_accept(socket, Into(error));
      if (error == asio::error::operation_aborted) break;
      // Whoever comes meanwhile waits in the kernel's backlog.
      while (connections_.size() >= state_.options.connections_max &&
             acceptor_.is_open()) {
        pause.expires_after(kAcceptPause);
        error_code ignored;
        co_await pause.async_wait(Into(ignored));
      }
      if (error) {  // no file left for it, say
        pause.expires_after(kAcceptPause);
        co_await pause.async_wait(Into(error));
        continue;
      }
      if (!acceptor_.is_open()) break;
      const auto connection = Connection::Create(std::move(socket), state_);
      connections_.Add(connection);
      connection->Start([this, weak = std::weak_ptr<Connection>(connection)] {
        if (const auto ended = weak.lock()) connections_.Remove(ended);
      });
    }
  }

  asio::awaitable<void> Sample() {
    for (;;) {
      const auto now = std::chrono::system_clock::now().time_since_epoch();
      state_.history.Add(
          std::chrono::duration_cast<std::chrono::milliseconds>(now).count(),
          state_.engine->Device(), state_.engine->TakePeak(),
          state_.service->Metrics());
      sampler_.expires_after(state_.options.sample);
      error_code error;
      co_await sampler_.async_wait(Into(error));
      if (error) break;
    }
  }

  // Last to go: what runs in it refers to the rest.
  ServerState state_;
  Connections connections_;
  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> work_ =
      asio::make_work_guard(context_);
  asio::strand<asio::io_context::executor_type> strand_;
  tcp::acceptor acceptor_;
  asio::steady_timer sampler_;
  std::mutex closing_;
  std::uint16_t port_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    ServerOptions options, ServiceOptions service,
    std::shared_ptr<TextEngine> engine) {
  if (engine == nullptr) {
    return internal::InvalidArgument("engine: expected one, got null");
  }
  if (options.threads < 1 || options.threads > 256) {
    return internal::InvalidArgument("threads: expected 1 to 256, got ",
                                     options.threads);
  }
  const Bytes ceiling = service.scheduler.memory.ceiling;
  auto server = std::make_unique<HttpServer>(std::move(options), ceiling,
                                             std::move(engine));
  TG_RETURN_IF_ERROR(server->Listen());
  TG_RETURN_IF_ERROR(server->Begin(std::move(service)));
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace tidegate::server
