// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Three channels, never mixed: bad input is an absl::Status, a refusal is an
// answer (actions.h, plan.h), and a broken invariant of our own stops the
// program with TG_CHECK.

#ifndef TIDEGATE_STATUS_H_
#define TIDEGATE_STATUS_H_

#include <cstdio>
#include <cstdlib>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Stops with the condition and the place when our own invariant is broken.
// Always on: a scheduler that goes on with a wrong ledger takes the device
// down later and elsewhere.
#define TG_CHECK(condition)                                           \
  do {                                                                \
    if (!(condition)) [[unlikely]] {                                  \
      std::fprintf(stderr, "%s:%d: invariant broken: %s\n", __FILE__, \
                   __LINE__, #condition);                             \
      std::abort();                                                   \
    }                                                                 \
  } while (false)

// For costly re-derivations: debug builds only.
#ifdef NDEBUG
#define TG_DCHECK(condition) \
  do {                       \
  } while (false)
#else
#define TG_DCHECK(condition) TG_CHECK(condition)
#endif

#define TG_RETURN_IF_ERROR(expr)                                            \
  do {                                                                      \
    if (absl::Status tg_status = (expr); !tg_status.ok()) return tg_status; \
  } while (false)

#define TG_STATUS_CONCAT_INNER_(a, b) a##b
#define TG_STATUS_CONCAT_(a, b) TG_STATUS_CONCAT_INNER_(a, b)
#define TG_ASSIGN_OR_RETURN(lhs, expr)                                      \
  TG_ASSIGN_OR_RETURN_IMPL_(TG_STATUS_CONCAT_(tg_statusor_, __LINE__), lhs, \
                            expr)
#define TG_ASSIGN_OR_RETURN_IMPL_(statusor, lhs, expr) \
  auto statusor = (expr);                              \
  if (!statusor.ok()) return statusor.status();        \
  lhs = std::move(statusor).value()

#endif  // TIDEGATE_STATUS_H_
