// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TIDEGATE_EXAMPLES_SERVER_JSON_TEXT_H_
#define TIDEGATE_EXAMPLES_SERVER_JSON_TEXT_H_

#include <string>

#include "nlohmann/json.hpp"

namespace tidegate::server {

// On one line, whatever bytes a client's text had: what is no UTF-8 is replaced
// and nothing is thrown.
inline std::string JsonLine(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace tidegate::server

#endif  // TIDEGATE_EXAMPLES_SERVER_JSON_TEXT_H_
