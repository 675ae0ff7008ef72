// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TIDEGATE_EXAMPLES_SERVER_AWAITING_H_
#define TIDEGATE_EXAMPLES_SERVER_AWAITING_H_

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/error_code.hpp>

namespace tidegate::server {

// Awaits; what fails is an error code and no exception.
inline auto Into(boost::system::error_code& error) {
  return boost::asio::redirect_error(boost::asio::use_awaitable, error);
}

}  // namespace tidegate::server

#endif  // TIDEGATE_EXAMPLES_SERVER_AWAITING_H_
