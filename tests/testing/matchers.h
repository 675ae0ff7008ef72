// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The only shared test code about statuses. Tests assert the exact code and a
// part of the message, never merely "not OK".

#ifndef TIDEGATE_TESTS_TESTING_MATCHERS_H_
#define TIDEGATE_TESTS_TESTING_MATCHERS_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tidegate::testing {

inline const absl::Status& GetStatus(const absl::Status& status) {
  return status;
}
template <typename T>
const absl::Status& GetStatus(const absl::StatusOr<T>& status) {
  return status.status();
}

MATCHER(IsOk, "is OK") {
  const absl::Status& status = GetStatus(arg);
  *result_listener << std::string(status.message());
  return status.ok();
}

MATCHER_P2(StatusIs, code, message, "has the status code and message") {
  const absl::Status& status = GetStatus(arg);
  *result_listener << status.ToString();
  return status.code() == code &&
         ::testing::ExplainMatchResult(message, std::string(status.message()),
                                       result_listener);
}

#define ASSERT_OK_AND_ASSIGN(lhs, expr) \
  ASSERT_OK_AND_ASSIGN_IMPL_(TG_CONCAT_(status_or_, __LINE__), lhs, expr)
#define TG_CONCAT_INNER_(a, b) a##b
#define TG_CONCAT_(a, b) TG_CONCAT_INNER_(a, b)
#define ASSERT_OK_AND_ASSIGN_IMPL_(statusor, lhs, expr) \
  auto statusor = (expr);                               \
  ASSERT_THAT(statusor, ::tidegate::testing::IsOk());   \
  lhs = std::move(statusor).value()

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_MATCHERS_H_
