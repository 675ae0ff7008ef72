// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/server/http_client.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>

namespace tidegate::testing {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;

struct HttpClient::State {
  asio::io_context context{1};
  asio::ip::tcp::socket socket{context};
  beast::flat_buffer buffer;
  std::optional<http::response_parser<http::string_body>> parser;
  error_code error;

  http::response_parser<http::string_body>& Parser() {
    if (!parser.has_value()) {
      parser.emplace();
      parser->body_limit(std::uint64_t{1} << 30);
    }
    return *parser;
  }
};

HttpClient::HttpClient(std::uint16_t port) : state_(std::make_unique<State>()) {
  state_->socket.connect({asio::ip::address_v4::loopback(), port},
                         state_->error);
}
HttpClient::~HttpClient() = default;

bool HttpClient::connected() const { return !state_->error; }

void HttpClient::Send(std::string_view bytes) {
  asio::write(state_->socket, asio::buffer(bytes), state_->error);
}

void HttpClient::SendPost(std::string_view target, std::string_view body) {
  std::string text("POST ");
  text.append(target).append(" HTTP/1.1\r\nHost: localhost\r\n");
  text.append("Content-Type: application/json\r\nContent-Length: ");
  text.append(std::to_string(body.size())).append("\r\n\r\n").append(body);
  Send(text);
}

HttpResponse HttpClient::Get(std::string_view target) {
  std::string text("GET ");
  Send(text.append(target).append(" HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  return Receive();
}

HttpResponse HttpClient::Post(std::string_view target, std::string_view body) {
  SendPost(target, body);
  return Receive();
}

HttpResponse HttpClient::Receive() {
  auto& parser = state_->Parser();
  state_->error.clear();  // an answer may lie there though a write failed
  http::read(state_->socket, state_->buffer, parser, state_->error);
  HttpResponse response;
  if (parser.is_header_done()) {
    const auto& message = parser.get();
    response.status = static_cast<int>(message.result_int());
    response.body = message.body();
    response.keep_alive = parser.is_done() && message.keep_alive();
    for (const auto& field : message) {
      std::string name(field.name_string());
      std::transform(name.begin(), name.end(), name.begin(), [](char c) {
        return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      });
      response.headers[name] = std::string(field.value());
    }
  }
  state_->parser.reset();
  return response;
}

bool HttpClient::ReceiveUntil(std::string_view text) {
  auto& parser = state_->Parser();
  if (!parser.is_header_done()) {
    http::read_header(state_->socket, state_->buffer, parser, state_->error);
  }
  while (received().find(text) == std::string::npos) {
    if (state_->error || parser.is_done()) return false;
    http::read_some(state_->socket, state_->buffer, parser, state_->error);
  }
  return true;
}

const std::string& HttpClient::received() const {
  return state_->Parser().get().body();
}

void HttpClient::Close() {
  error_code ignored;
  state_->socket.close(ignored);
}

}  // namespace tidegate::testing
