// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Survives a broken invariant, to make the run that led to it shorter.

#ifndef TIDEGATE_TESTS_TORTURE_CATCH_ABORT_H_
#define TIDEGATE_TESTS_TORTURE_CATCH_ABORT_H_

#include <functional>
#include <string>

namespace tidegate::torture {

// Runs `body` and answers what it wrote to stderr when it aborted or crashed;
// empty when it returned. What `body` holds then is lost without destructors,
// so this is for a process that soon ends. One thread only.
std::string CatchAbort(const std::function<void()>& body);

}  // namespace tidegate::torture

#endif  // TIDEGATE_TESTS_TORTURE_CATCH_ABORT_H_
