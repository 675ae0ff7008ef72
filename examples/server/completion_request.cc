// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "examples/server/completion_request.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "estimators/json_reader.h"
#include "estimators/text.h"
#include "nlohmann/json.hpp"

namespace tidegate::server {
namespace {

using internal::Concat;
using nlohmann::json;

constexpr Tokens kDefaultMaxTokens = 16;  // OpenAI's
constexpr int kDepthMax = 8;
constexpr std::size_t kTenantMax = 256;

constexpr auto kFields = std::to_array<std::string_view>(
    {"model", "prompt", "max_tokens", "stream", "stream_options", "temperature",
     "top_p", "seed", "user", "return_progress", "n", "best_of", "echo",
     "logprobs", "suffix", "stop", "presence_penalty", "frequency_penalty",
     "logit_bias"});

std::string Said(const json& value) {
  if (value.is_string())
    return internal::Quote(value.get_ref<const std::string&>());
  if (value.is_structured()) return Concat("an ", value.type_name());
  return value.dump();
}

// Reads fields one after another; the first failure is kept.
class Fields {
 public:
  Fields(const json& object, std::string_view prefix)
      : object_(object), prefix_(prefix) {}

  // Null where it is not stated: clients write null for that.
  const json* Find(std::string_view key) const {
    const auto it = object_.find(std::string(key));
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }
  void Fail(std::string_view key, std::string message,
            std::string_view code = "invalid_value", int status = 400) {
    if (error_.has_value()) return;
    error_ = ApiError{.status = status,
                      .code = std::string(code),
                      .message = std::move(message),
                      .param = Concat(prefix_, key)};
  }
  void Expected(std::string_view key, std::string_view expected,
                const json& got) {
    Fail(key,
         Concat(prefix_, key, ": expected ", expected, ", got ", Said(got)));
  }

  bool Bool(std::string_view key, bool fallback) {
    const json* value = Find(key);
    if (value == nullptr) return fallback;
    if (value->is_boolean()) return value->get<bool>();
    Expected(key, "true or false", *value);
    return fallback;
  }
  std::int64_t Int(std::string_view key, std::int64_t fallback,
                   std::int64_t low, std::int64_t high) {
    const json* value = Find(key);
    if (value == nullptr) return fallback;
    const bool fits =
        value->is_number_integer() &&
        (!value->is_number_unsigned() ||
         value->get<std::uint64_t>() <= static_cast<std::uint64_t>(high)) &&
        value->get<std::int64_t>() >= low && value->get<std::int64_t>() <= high;
    if (fits) return value->get<std::int64_t>();
    Expected(key, Concat("an integer from ", low, " to ", high), *value);
    return fallback;
  }
  double Number(std::string_view key, double fallback, double low, double high,
                std::string_view range) {
    const json* value = Find(key);
    if (value == nullptr) return fallback;
    if (value->is_number() && value->get<double>() >= low &&
        value->get<double>() <= high) {
      return value->get<double>();
    }
    Expected(key, Concat("a number from ", range), *value);
    return fallback;
  }
  // Fields that are known and not done: fine as long as they ask for nothing.
  void Only(std::string_view key, const json& harmless,
            std::string_view expected) {
    const json* value = Find(key);
    if (value == nullptr || *value == harmless) return;
    Fail(key,
         Concat(prefix_, key, ": expected ", expected,
                " or nothing: this server does not do it; got ", Said(*value)),
         "unsupported_value");
  }
  void Known(std::span<const std::string_view> known) {
    for (const auto& [key, value] : object_.items()) {
      if (std::find(known.begin(), known.end(), key) != known.end()) continue;
      Fail(key,
           Concat(prefix_, internal::Quote(key), ": no field of this server",
                  internal::Suggest(key, known)),
           "unknown_parameter");
    }
  }

  const std::optional<ApiError>& error() const { return error_; }

 private:
  const json& object_;
  std::string prefix_;
  std::optional<ApiError> error_;
};

// What a list that is no list of tokens was meant to be.
void ReadTokens(const json& list, TokenId vocabulary, Fields& fields,
                std::vector<TokenId>* tokens) {
  tokens->reserve(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    const json& token = list[i];
    if (token.is_string() || token.is_array()) {
      fields.Fail("prompt",
                  "prompt: expected one prompt, a string or a list of token "
                  "ids, got a list of prompts: send one request each",
                  "unsupported_value");
      return;
    }
    if (!token.is_number_unsigned() ||
        token.get<std::uint64_t>() >= static_cast<std::uint64_t>(vocabulary)) {
      fields.Fail("prompt", Concat("prompt[", i,
                                   "]: expected a token id from "
                                   "0 to ",
                                   vocabulary - 1, ", got ", Said(token)));
      return;
    }
    tokens->push_back(token.get<TokenId>());
  }
}

void ReadPrompt(const TextEngine& engine, Fields& fields,
                std::vector<TokenId>* tokens) {
  const json* prompt = fields.Find("prompt");
  if (prompt == nullptr) {
    fields.Fail("prompt",
                "prompt: missing; expected a string or a list of "
                "token ids",
                "missing_required_parameter");
    return;
  }
  if (prompt->is_string()) {
    auto tokenised = engine.Tokenize(prompt->get_ref<const std::string&>());
    if (!tokenised.ok()) {
      fields.Fail("prompt", Concat("prompt: ",
                                   std::string(tokenised.status().message())));
      return;
    }
    *tokens = *std::move(tokenised);
  } else if (prompt->is_array()) {
    ReadTokens(*prompt, engine.Vocabulary(), fields, tokens);
  } else {
    fields.Expected("prompt", "a string or a list of token ids", *prompt);
    return;
  }
  if (tokens->empty() && !fields.error().has_value()) {
    fields.Fail("prompt", "prompt: expected at least one token, got none");
  }
}

void ReadModel(const TextEngine& engine, Fields& fields) {
  const json* model = fields.Find("model");
  if (model == nullptr) return;
  if (!model->is_string()) return fields.Expected("model", "a string", *model);
  if (model->get_ref<const std::string&>() == engine.Model()) return;
  fields.Fail("model",
              Concat("model: ", Said(*model), " is not served here; this is ",
                     internal::Quote(engine.Model())),
              "model_not_found", 404);
}

void CheckLength(const TextEngine& engine, const Generation& generation,
                 Fields& fields) {
  const Tokens prompt = std::ssize(generation.prompt);
  const Tokens limit =
      std::min(engine.ContextLength().value_or(kTokensMax), kTokensMax);
  if (generation.max_tokens <= limit - std::min(prompt, limit)) return;
  fields.Fail(
      "prompt",
      Concat("prompt of ", internal::TokenCount(prompt), " and max_tokens of ",
             internal::Grouped(generation.max_tokens),
             ": the model's context is ", internal::TokenCount(limit)),
      "context_length_exceeded");
}

ApiError NoJson(std::string message) {
  return {.code = "invalid_json", .message = std::move(message)};
}

// Duplicate keys and deep nesting are found while parsing: afterwards the first
// of two equal keys is gone.
std::variant<json, ApiError> ParseObject(std::string_view body) {
  std::optional<ApiError> error;
  std::set<std::string> keys;
  const auto look = [&](int depth, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::key && depth == 1 &&
        !keys.insert(parsed.get<std::string>()).second && !error.has_value()) {
      error =
          NoJson(Concat("the body states the field ", Said(parsed), " twice"));
    }
    if (depth > kDepthMax && !error.has_value()) {
      error = NoJson(Concat("the body nests more than ", kDepthMax, " levels"));
    }
    return true;
  };
  json parsed = json::parse(body, look, /*allow_exceptions=*/false);
  if (error.has_value()) return *std::move(error);
  if (parsed.is_discarded()) {
    return NoJson(body.empty() ? "the body is empty; expected a JSON object"
                               : "the body is no JSON");
  }
  if (!parsed.is_object()) {
    return NoJson(
        Concat("the body: expected a JSON object, got ", Said(parsed)));
  }
  return parsed;
}

void ReadStreamOptions(const Fields& fields, CompletionRequest* request,
                       std::optional<ApiError>* error) {
  const json* options = fields.Find("stream_options");
  if (options == nullptr) return;
  Fields own(*options, "stream_options.");
  if (!options->is_object()) {
    *error = ApiError{.code = "invalid_value",
                      .message = Concat("stream_options: expected an object, "
                                        "got ",
                                        Said(*options)),
                      .param = "stream_options"};
    return;
  }
  static constexpr auto kKnown =
      std::to_array<std::string_view>({"include_usage"});
  own.Known(kKnown);
  request->include_usage = own.Bool("include_usage", false);
  *error = own.error();
  if (!error->has_value() && !request->stream) {
    *error = ApiError{.code = "invalid_value",
                      .message =
                          "stream_options: expected only beside "
                          "\"stream\": true",
                      .param = "stream_options"};
  }
}

}  // namespace

std::variant<CompletionRequest, ApiError> ParseCompletion(
    std::string_view body, const TextEngine& engine) {
  std::variant<json, ApiError> parsed = ParseObject(body);
  if (auto* error = std::get_if<ApiError>(&parsed)) return std::move(*error);
  const json& object = std::get<json>(parsed);

  CompletionRequest request;
  Fields fields(object, "");
  fields.Known(kFields);
  ReadModel(engine, fields);
  Generation& generation = request.generation;
  generation.max_tokens =
      fields.Int("max_tokens", kDefaultMaxTokens, 0, kTokensMax);
  generation.temperature = fields.Number("temperature", 1, 0, 2, "0 to 2");
  generation.top_p = fields.Number(
      "top_p", 1, std::numeric_limits<double>::min(), 1, "above 0 to 1");
  generation.seed = static_cast<std::uint64_t>(
      fields.Int("seed", 0, std::numeric_limits<std::int64_t>::min(),
                 std::numeric_limits<std::int64_t>::max()));
  request.stream = fields.Bool("stream", false);
  request.return_progress = fields.Bool("return_progress", false);
  if (const json* user = fields.Find("user")) {
    if (user->is_string() &&
        user->get_ref<const std::string&>().size() <= kTenantMax) {
      request.tenant = user->get<std::string>();
    } else {
      fields.Expected(
          "user", Concat("a string of at most ", kTenantMax, " bytes"), *user);
    }
  }
  fields.Only("n", 1, "1");
  fields.Only("best_of", 1, "1");
  fields.Only("echo", false, "false");
  fields.Only("suffix", "", "\"\"");
  fields.Only("stop", json::array(), "[]");
  fields.Only("logprobs", json(), "null");
  fields.Only("presence_penalty", 0, "0");
  fields.Only("frequency_penalty", 0, "0");
  fields.Only("logit_bias", json::object(), "{}");
  ReadPrompt(engine, fields, &generation.prompt);
  if (fields.error().has_value()) return *fields.error();
  CheckLength(engine, generation, fields);
  std::optional<ApiError> error = fields.error();
  if (!error.has_value()) ReadStreamOptions(fields, &request, &error);
  if (error.has_value()) return *std::move(error);
  return request;
}

}  // namespace tidegate::server
