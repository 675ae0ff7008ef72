// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The answer to one completion, made from what happens to it: as server-sent
// events while it goes on, or as one JSON object at its end. No IO.
//
// A stream is, in this order:
//
//   : prefill {"start":0,"end":2048,"total":9000,"bound":"memory"}
//   data: {"object":"text_completion","choices":[{"text":"the",…}],…}
//   data: [DONE]
//
// The first line is a comment, which clients of OpenAI's API skip; with
// "return_progress" it is an event of its own, "event: prefill". What goes
// wrong after the first byte is sent as "data: {"error": …}" before [DONE].

#ifndef TIDEGATE_EXAMPLES_SERVER_COMPLETION_ANSWER_H_
#define TIDEGATE_EXAMPLES_SERVER_COMPLETION_ANSWER_H_

#include <cstdint>
#include <optional>
#include <string>

#include "examples/server/api_error.h"
#include "examples/server/completion_request.h"
#include "examples/server/text_engine.h"
#include "tidegate/service.h"

namespace tidegate::server {

class CompletionAnswer {
 public:
  // `created`: seconds since 1970.
  CompletionAnswer(const CompletionRequest& request, RequestId id,
                   std::string model, std::int64_t created);

  void Progressed(const Progress& progress);
  void Said(const Piece& piece);
  void Ended(const SubmitResult& result, bool shutting_down);

  // Of a stream: the bytes since the last call.
  std::string TakeEvents();
  // Whether a stream has anything to send, now or taken before.
  bool started() const { return started_; }
  // Whether a token was said.
  bool spoken() const { return tokens_ > 0; }

  // After Ended(): what is answered instead, where nothing was streamed.
  const std::optional<ApiError>& error() const { return error_; }
  // After Ended() without an error: the whole answer.
  std::string Body() const;

 private:
  std::string Chunk(std::string_view text, bool last) const;
  std::string Usage() const;
  void Send(std::string_view data);
  void SendText(std::string_view text);

  const bool stream_;
  const bool include_usage_;
  const bool return_progress_;
  const Tokens prompt_tokens_;
  std::string head_;  // of every chunk, up to its choices
  std::string events_;
  std::string text_;  // all of it; of a stream, what waits for the prefill
  Tokens tokens_ = 0;
  bool prefilled_ = false;
  bool started_ = false;
  bool stopped_ = false;
  std::optional<ApiError> error_;
};

}  // namespace tidegate::server

#endif  // TIDEGATE_EXAMPLES_SERVER_COMPLETION_ANSWER_H_
