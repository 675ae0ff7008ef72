// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Joins text for messages. abseil's string_view need not be the standard one,
// and nothing converts between them: messages go through std::string here, so
// that no other file depends on which it is.

#ifndef TIDEGATE_ESTIMATORS_TEXT_H_
#define TIDEGATE_ESTIMATORS_TEXT_H_

#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "absl/status/status.h"

namespace tidegate::internal {

inline void AppendPiece(std::string& out, std::string_view piece) {
  out.append(piece);
}
template <typename T>
requires(std::integral<T> && !std::same_as<T, bool> &&
         !std::same_as<T, char>) void AppendPiece(std::string& out, T value) {
  out.append(std::to_string(value));
}

template <typename... Pieces>
std::string Concat(const Pieces&... pieces) {
  std::string out;
  (AppendPiece(out, pieces), ...);
  return out;
}

template <typename... Pieces>
absl::Status InvalidArgument(const Pieces&... pieces) {
  return absl::InvalidArgumentError(Concat(pieces...));
}

// The candidate nearest to `word` by edit distance, when it is near enough to
// be what was meant; otherwise empty.
std::string_view DidYouMean(std::string_view word,
                            std::span<const std::string_view> candidates);

// "; did you mean "x"?" with the nearest candidate, or nothing: the end of a
// message about `word`.
std::string Suggest(std::string_view word,
                    std::span<const std::string_view> candidates);

// "KEY: expected a, b or c, got "x"; did you mean "a"?": for a word that is
// none of `words`.
absl::Status UnknownWord(std::string_view key, std::string_view word,
                         std::span<const std::string_view> words);

// "327,000", for people.
std::string Grouped(std::int64_t number);
// "1,234 tokens", "1 token".
std::string TokenCount(std::int64_t tokens);

// "12.74 GiB", "32.00 MiB", "512 B": for people; JSON keeps integers.
std::string FormatBytes(std::int64_t bytes);

// "36 GiB", "512 MiB", "1.5 GB", "4096": bytes. False when it is none.
// Fractions are allowed where the result is a whole number of bytes.
bool ParseBytes(std::string_view text, std::int64_t* bytes);

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_TEXT_H_
