// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// TextEngine: what this server asks of an engine beyond what a Service asks of
// every engine (tidegate/service_engine.h): to turn text into tokens, and to
// say what it generates. simulated_engine.h is one; another is one more file
// and a line in main.cc.

#ifndef TIDEGATE_EXAMPLES_SERVER_TEXT_ENGINE_H_
#define TIDEGATE_EXAMPLES_SERVER_TEXT_ENGINE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tidegate/service_engine.h"
#include "tidegate/types.h"

namespace tidegate::server {

using TokenId = std::int32_t;

// What one token came to.
struct Piece {
  std::string text;
  // The model ended its text here, before max_tokens.
  bool stopped = false;
};

// One completion that is about to be submitted.
struct Generation {
  std::vector<TokenId> prompt;  // never empty
  Tokens max_tokens = 0;
  // As the client said; whether they mean anything is the engine's affair.
  double temperature = 1;
  double top_p = 1;
  std::uint64_t seed = 0;
  // Once for each token, in order; from any thread, must return soon. A
  // request that was preempted says nothing twice.
  std::function<void(Piece)> on_piece;
};

// The device as the engine knows it.
struct DeviceBytes {
  Bytes live = 0;       // now, weights and transients of running steps included
  Bytes base = 0;       // of it, what is there when nobody is served
  Bytes resident = 0;   // of it, what requests hold
  Bytes transient = 0;  // of it, what running steps need until they end
};

// Thread-safety: the methods of Engine are called one at a time; those added
// here from any thread.
class TextEngine : public Engine {
 public:
  // What clients call it: "model" of the API.
  virtual std::string_view Model() const = 0;
  // InvalidArgument when the text cannot be tokenised.
  virtual absl::StatusOr<std::vector<TokenId>> Tokenize(
      std::string_view text) const = 0;
  // Token ids are below it.
  virtual TokenId Vocabulary() const = 0;
  // Prompt and output together; nullopt: no limit but memory.
  virtual std::optional<Tokens> ContextLength() const = 0;

  // Before the request is submitted, and after it was answered: whatever the
  // answer, each Open() is followed by one Close() of the same id.
  virtual void Open(RequestId id, Generation generation) = 0;
  virtual void Close(RequestId id) = 0;

  virtual DeviceBytes Device() const = 0;
  // Highest `live` since the last call; one caller only, for a chart.
  virtual Bytes TakePeak() = 0;
};

}  // namespace tidegate::server

#endif  // TIDEGATE_EXAMPLES_SERVER_TEXT_ENGINE_H_
