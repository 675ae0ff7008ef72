// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/expression.h"

#include <muParser.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <mutex>
#include <utility>
#include <vector>

#include "estimators/text.h"
#include "tidegate/status.h"

namespace tidegate::internal {

struct Expression::Parser {
  std::mutex mutex;  // the parser's stack lies in the parser
  mu::Parser parser;
  std::vector<double> values;  // what the parser's variables point to
  std::vector<bool> used;
};

namespace {

double Floor(double x) { return std::floor(x); }
double Ceil(double x) { return std::ceil(x); }
double RoundUpTo(double x, double multiple) {
  return std::ceil(x / multiple) * multiple;
}

bool IsNameStart(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_';
}
bool IsName(char c) {
  return IsNameStart(c) || std::isdigit(static_cast<unsigned char>(c)) != 0;
}

// What muParser would take and we do not, with the place.
absl::Status CheckText(std::string_view text) {
  if (text.find_first_not_of(" \t\n\r") == std::string_view::npos) {
    return InvalidArgument("expected an expression, got nothing");
  }
  if (text.size() > Expression::kLengthMax) {
    return InvalidArgument("expected at most ", Expression::kLengthMax,
                           " characters, got ", text.size());
  }
  // Per open parenthesis, whether it belongs to a call.
  std::vector<bool> calls;
  char before = ' ';  // the last character that is no space
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const auto at = [&] { return Concat("at character ", i + 1, ": "); };
    if (static_cast<unsigned char>(c) >= 0x80 ||
        (static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n' &&
         c != '\r')) {
      return InvalidArgument(at(), "expected ASCII text");
    }
    if (c == '"' || c == '\'' || c == ';' || c == '#' || c == '{' || c == '}' ||
        c == '[' || c == ']') {
      return InvalidArgument(at(), "expected an operator, a number or a name, ",
                             "got \"", std::string(1, c), "\"");
    }
    if (c == '(') {
      calls.push_back(IsName(before));
      if (calls.size() > Expression::kDepthMax) {
        return InvalidArgument(at(), "expected at most ", Expression::kDepthMax,
                               " parentheses inside each other");
      }
    } else if (c == ')') {
      if (calls.empty()) {
        return InvalidArgument(at(), "expected no \")\" here: none is open");
      }
      calls.pop_back();
    } else if (c == ',') {
      if (calls.empty() || !calls.back()) {
        return InvalidArgument(
            at(), "expected a comma between a function's arguments only");
      }
    } else if (c == '=') {
      const char next = i + 1 < text.size() ? text[i + 1] : ' ';
      const bool first = next == '=';
      const bool second = i > 0 && (text[i - 1] == '=' || text[i - 1] == '!' ||
                                    text[i - 1] == '<' || text[i - 1] == '>');
      if (!first && !second) {
        return InvalidArgument(at(),
                               "expected == to compare: nothing is assigned");
      }
    }
    if (c != ' ' && c != '\t') before = c;
  }
  return absl::OkStatus();
}

// Names that the text mentions, with their places; numbers such as 1e6 hold
// none.
std::vector<std::pair<std::string_view, std::size_t>> NamesIn(
    std::string_view text) {
  std::vector<std::pair<std::string_view, std::size_t>> names;
  for (std::size_t i = 0; i < text.size();) {
    if (std::isdigit(static_cast<unsigned char>(text[i])) != 0) {
      while (i < text.size() && (IsName(text[i]) || text[i] == '.')) ++i;
    } else if (IsNameStart(text[i])) {
      const std::size_t start = i;
      while (i < text.size() && IsName(text[i])) ++i;
      names.emplace_back(text.substr(start, i - start), start);
    } else {
      ++i;
    }
  }
  return names;
}

// muParser's own words, without its habit of a trailing full stop.
std::string Words(const mu::ParserError& error) {
  std::string words = error.GetMsg();
  while (!words.empty() && (words.back() == '.' || words.back() == ' ')) {
    words.pop_back();
  }
  return words;
}

}  // namespace

Expression::Expression(std::unique_ptr<Parser> parser)
    : parser_(std::move(parser)) {}
Expression::~Expression() = default;

absl::StatusOr<std::shared_ptr<const Expression>> Expression::Parse(
    std::string_view text, std::span<const std::string_view> variables) {
  TG_RETURN_IF_ERROR(CheckText(text));
  auto made = std::make_unique<Parser>();
  made->values.assign(variables.size(), 1.0);
  made->used.assign(variables.size(), false);
  try {
    mu::Parser& parser = made->parser;
    parser.DefineFun("floor", Floor);
    parser.DefineFun("ceil", Ceil);
    parser.DefineFun("roundup", RoundUpTo);
    for (std::size_t i = 0; i < variables.size(); ++i) {
      parser.DefineVar(std::string(variables[i]), &made->values[i]);
    }
    std::vector<std::string_view> known(variables.begin(), variables.end());
    for (const auto& [name, function] : parser.GetFunDef()) {
      known.push_back(name);
    }
    const auto constants = parser.GetConst();
    for (const auto& [name, place] : NamesIn(text)) {
      const auto variable = std::find(variables.begin(), variables.end(), name);
      if (variable != variables.end()) {
        made->used[static_cast<std::size_t>(variable - variables.begin())] =
            true;
      } else if (std::find(known.begin(), known.end(), name) == known.end() &&
                 constants.find(std::string(name)) == constants.end()) {
        return InvalidArgument("at character ", place + 1, ": unknown name \"",
                               name, "\"", Suggest(name, known));
      }
    }
    parser.SetExpr(std::string(text));
    parser.Eval();
    if (parser.GetNumResults() != 1) {
      return InvalidArgument("expected one value, got ",
                             parser.GetNumResults());
    }
  } catch (const mu::ParserError& error) {
    const int place = static_cast<int>(error.GetPos());
    return InvalidArgument(
        place >= 0 && static_cast<std::size_t>(place) <= text.size()
            ? Concat("at character ", place + 1, ": ")
            : "",
        Words(error));
  }
  return std::shared_ptr<const Expression>(new Expression(std::move(made)));
}

double Expression::Evaluate(std::span<const double> values) const {
  TG_CHECK(values.size() == parser_->values.size());
  const std::lock_guard<std::mutex> lock(parser_->mutex);
  std::copy(values.begin(), values.end(), parser_->values.begin());
  try {
    return parser_->parser.Eval();
  } catch (const mu::ParserError&) {
    return std::numeric_limits<double>::quiet_NaN();
  }
}

bool Expression::Uses(std::size_t index) const {
  return index < parser_->used.size() && parser_->used[index];
}

}  // namespace tidegate::internal
