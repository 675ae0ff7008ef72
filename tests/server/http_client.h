// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// One blocking HTTP connection to a server on loopback, as a test drives it.

#ifndef TIDEGATE_TESTS_SERVER_HTTP_CLIENT_H_
#define TIDEGATE_TESTS_SERVER_HTTP_CLIENT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace tidegate::testing {

struct HttpResponse {
  int status = 0;  // 0: the connection ended without one
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  bool keep_alive = false;
};

class HttpClient {
 public:
  explicit HttpClient(std::uint16_t port);
  ~HttpClient();  // closes

  bool connected() const;
  HttpResponse Get(std::string_view target);
  HttpResponse Post(std::string_view target, std::string_view body);

  // In parts: any bytes, then answers one after another.
  void Send(std::string_view bytes);
  void SendPost(std::string_view target, std::string_view body);
  HttpResponse Receive();
  // Reads the next answer until its body holds `text`; false when it ended
  // before. Receive() reads the rest.
  bool ReceiveUntil(std::string_view text);
  // What was read of the answer under way.
  const std::string& received() const;

  void Close();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_SERVER_HTTP_CLIENT_H_
