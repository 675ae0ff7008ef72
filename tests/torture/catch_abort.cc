// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/torture/catch_abort.h"

#include <unistd.h>

#include <csetjmp>
#include <csignal>
#include <cstdio>

namespace tidegate::torture {
namespace {

constexpr int kSignals[] = {SIGABRT, SIGSEGV, SIGFPE, SIGBUS, SIGILL};

// A signal handler has no other way to where it should go on.
sigjmp_buf resume;

void Resume(int number) { siglongjmp(resume, number); }

}  // namespace

std::string CatchAbort(const std::function<void()>& body) {
  std::FILE* const text = std::tmpfile();
  const int stderr_before = dup(STDERR_FILENO);
  std::fflush(stderr);
  if (text != nullptr) dup2(fileno(text), STDERR_FILENO);
  struct sigaction action = {};
  action.sa_handler = Resume;
  struct sigaction before[std::size(kSignals)];
  for (std::size_t i = 0; i < std::size(kSignals); ++i) {
    sigaction(kSignals[i], &action, &before[i]);
  }
  const int number = sigsetjmp(resume, /*savemask=*/1);
  if (number == 0) body();
  for (std::size_t i = 0; i < std::size(kSignals); ++i) {
    sigaction(kSignals[i], &before[i], nullptr);
  }
  std::fflush(stderr);
  dup2(stderr_before, STDERR_FILENO);
  close(stderr_before);
  std::string wrote;
  if (text != nullptr) {
    std::rewind(text);
    for (int c = std::fgetc(text); c != EOF && c != '\n';
         c = std::fgetc(text)) {
      wrote += static_cast<char>(c);
    }
    std::fclose(text);
  }
  if (number == 0) return "";
  return wrote.empty() ? "stopped by signal " + std::to_string(number) : wrote;
}

}  // namespace tidegate::torture
