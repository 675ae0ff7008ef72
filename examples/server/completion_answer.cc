// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "examples/server/completion_answer.h"

#include <utility>

#include "estimators/text.h"
#include "examples/server/json_text.h"

namespace tidegate::server {

using internal::Concat;

CompletionAnswer::CompletionAnswer(const CompletionRequest& request,
                                   RequestId id, std::string model,
                                   std::int64_t created)
    : stream_(request.stream),
      include_usage_(request.include_usage),
      return_progress_(request.return_progress),
      prompt_tokens_(std::ssize(request.generation.prompt)),
      head_(Concat(R"({"id":"cmpl-)", id,
                   R"(","object":"text_completion","created":)", created,
                   R"(,"model":)", JsonLine(std::move(model)))) {}

void CompletionAnswer::Progressed(const Progress& progress) {
  if (progress.done >= progress.total) prefilled_ = true;
  if (!stream_) return;
  const std::string json =
      Concat(R"({"start":)", progress.done - progress.chunk_tokens,
             R"(,"end":)", progress.done, R"(,"total":)", progress.total,
             R"(,"bound":")", BoundName(progress.bound), R"("})");
  if (return_progress_) events_ += "event: prefill\n";
  events_ += Concat(return_progress_ ? "data: " : ": prefill ", json, "\n\n");
  started_ = true;
  // An engine that decodes in steps says its first token before the service
  // says that the step ended.
  if (prefilled_ && !text_.empty()) SendText(std::exchange(text_, ""));
}

void CompletionAnswer::Said(const Piece& piece) {
  ++tokens_;
  stopped_ = stopped_ || piece.stopped;
  if (stream_ && prefilled_) {
    SendText(piece.text);
  } else {
    text_ += piece.text;
  }
}

void CompletionAnswer::Ended(const SubmitResult& result, bool shutting_down) {
  if (result.outcome != Outcome::kFinished) {
    ApiError error = ErrorOf(result, shutting_down);
    if (!stream_ || !started_) {
      error_ = std::move(error);
      return;
    }
    Send(ErrorJson(error));
    Send("[DONE]");
    return;
  }
  if (!stream_) return;
  if (!text_.empty()) SendText(std::exchange(text_, ""));
  Send(Chunk("", true));
  if (include_usage_) {
    Send(Concat(head_, R"(,"choices":[],"usage":)", Usage(), "}"));
  }
  Send("[DONE]");
}

std::string CompletionAnswer::TakeEvents() {
  return std::exchange(events_, std::string());
}

std::string CompletionAnswer::Body() const {
  std::string body = Chunk(text_, true);
  body.pop_back();  // the brace
  return Concat(body, R"(,"usage":)", Usage(), "}");
}

std::string CompletionAnswer::Chunk(std::string_view text, bool last) const {
  return Concat(head_, R"(,"choices":[{"index":0,"text":)",
                JsonLine(std::string(text)),
                R"(,"logprobs":null,"finish_reason":)",
                !last      ? "null"
                : stopped_ ? R"("stop")"
                           : R"("length")",
                "}]}");
}

std::string CompletionAnswer::Usage() const {
  return Concat(R"({"prompt_tokens":)", prompt_tokens_,
                R"(,"completion_tokens":)", tokens_, R"(,"total_tokens":)",
                prompt_tokens_ + tokens_, "}");
}

void CompletionAnswer::Send(std::string_view data) {
  events_ += Concat("data: ", data, "\n\n");
  started_ = true;
}

void CompletionAnswer::SendText(std::string_view text) {
  Send(Chunk(text, false));
}

}  // namespace tidegate::server
