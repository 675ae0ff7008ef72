// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// ServeGen (arXiv 2505.09999): no requests, but what to draw them from. A line
// of NAME-trace.csv is a window of time,
//   start s, requests a second, CV of the gaps, Gamma | Weibull | nothing,
//   shape, scale
// and NAME-dataset.json has, for each longer window, how often each length
// occurs: {"0": {"input_tokens": "{179: 0.02, …}", "output_tokens": "{…}"}}.
// Of each window, rate x width requests are drawn, with gaps of that
// distribution stretched to fill the window, and lengths independent of each
// other. The generator and all that is made of it are written out here or fixed
// by the standard, so that a seed gives one trace.

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <numbers>
#include <optional>
#include <random>
#include <vector>

#include "estimators/json_reader.h"
#include "estimators/read_file.h"
#include "estimators/text.h"
#include "simulator/trace_fields.h"
#include "simulator/trace_format.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

constexpr std::string_view kTraceSuffix = "-trace.csv";
constexpr std::string_view kDatasetSuffix = "-dataset.json";

// Width of a file's only window; otherwise the lines tell.
constexpr double kWindowSeconds = 600;

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  // In (0, 1).
  double Uniform() {
    return (static_cast<double>(engine_() >> 11) + 0.5) * 0x1p-53;
  }
  double Weibull(double shape, double scale) {
    return scale * std::pow(-std::log(Uniform()), 1 / shape);
  }
  // Marsaglia and Tsang, "A simple method for generating gamma variables"
  // (2000); below 1, the shape is raised by one and the result scaled back.
  double Gamma(double shape, double scale) {
    if (shape < 1) {
      return Gamma(shape + 1, scale) * std::pow(Uniform(), 1 / shape);
    }
    const double d = shape - 1.0 / 3;
    const double c = 1 / std::sqrt(9 * d);
    while (true) {
      const double x = Normal();
      const double v = std::pow(1 + c * x, 3);
      if (v > 0 &&
          std::log(Uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) {
        return d * v * scale;
      }
    }
  }

 private:
  double Normal() {
    return std::sqrt(-2 * std::log(Uniform())) *
           std::cos(2 * std::numbers::pi * Uniform());
  }
  std::mt19937_64 engine_;
};

// How often lengths occur, as sums up to each.
class Histogram {
 public:
  // `text` is a Python dict of numbers.
  bool Parse(std::string_view text) {
    if (!text.starts_with('{') || !text.ends_with('}')) return false;
    text = text.substr(1, text.size() - 2);
    double sum = 0;
    while (!text.empty()) {
      const std::size_t comma = text.find(',');
      std::string_view entry = text.substr(0, comma);
      text.remove_prefix(comma == std::string_view::npos ? text.size()
                                                         : comma + 1);
      const std::size_t colon = entry.find(':');
      if (colon == std::string_view::npos) return false;
      Tokens length = 0;
      double share = 0;
      if (!ParseTrimmed(entry.substr(0, colon), &length) ||
          !ParseTrimmed(entry.substr(colon + 1), &share) || length < 0 ||
          length > kTokensMax || !(share >= 0) || share > 1) {
        return false;
      }
      sum += share;
      sums_.emplace_back(sum, length);
    }
    return true;
  }
  bool empty() const { return sums_.empty() || sums_.back().first <= 0; }
  Tokens Draw(Random& random) const {
    const double at = random.Uniform() * sums_.back().first;
    return std::upper_bound(
               sums_.begin(), sums_.end() - 1, at,
               [](double x, const auto& entry) { return x < entry.first; })
        ->second;
  }

 private:
  template <typename T>
  static bool ParseTrimmed(std::string_view text, T* value) {
    while (text.starts_with(' ')) text.remove_prefix(1);
    while (text.ends_with(' ')) text.remove_suffix(1);
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, *value);
    return error == std::errc() && stop == end;
  }
  std::vector<std::pair<double, Tokens>> sums_;
};

struct Lengths {
  Histogram prompt;
  Histogram output;
};
using Dataset = std::map<std::int64_t, Lengths>;  // by start of the window

absl::StatusOr<Dataset> ReadDataset(const std::string& path) {
  TG_ASSIGN_OR_RETURN(const std::string text,
                      ReadFile(path, "ServeGen dataset beside the trace"));
  TG_ASSIGN_OR_RETURN(const JsonValue object, ParseJsonObject(text, path));
  Dataset dataset;
  for (std::size_t i = 0; i < object.keys.size(); ++i) {
    const std::string& key = object.keys[i];
    std::int64_t start = 0;
    const auto [stop, error] =
        std::from_chars(key.data(), key.data() + key.size(), start);
    if (error != std::errc() || stop != key.data() + key.size()) {
      return InvalidArgument(path, ": expected seconds as keys, got ",
                             Quote(key));
    }
    Lengths lengths;
    if (!object.items[i].IsObject()) {
      return InvalidArgument(path, ": key ", key, ": expected an object, got ",
                             Describe(object.items[i]));
    }
    ObjectReader reader(object.items[i], path, Concat(key, "."));
    for (const auto& [name, histogram] :
         {std::pair{"input_tokens", &lengths.prompt},
          std::pair{"output_tokens", &lengths.output}}) {
      if (histogram->Parse(reader.StringOrEmpty(name))) continue;
      reader.FailAt(name, "a text such as \"{179: 0.25, 338: 0.75}\"");
    }
    TG_RETURN_IF_ERROR(reader.status());
    dataset.emplace(start, std::move(lengths));
  }
  return dataset;
}

const std::vector<std::string>& Columns() {
  static const auto* const columns = new std::vector<std::string>{
      "1 (start)",        "2 (rate)",  "3 (CV)",
      "4 (distribution)", "5 (shape)", "6 (scale)"};
  return *columns;
}

class ServeGenFormat final : public TraceFormat {
 public:
  ServeGenFormat(std::string_view file, const TraceOptions& options,
                 Dataset dataset)
      : file_(file),
        requests_max_(options.requests_max),
        random_(options.seed),
        dataset_(std::move(dataset)) {}
  std::string_view TimeColumn() const override { return Columns()[0]; }

  absl::Status Line(std::int64_t line, std::string_view text,
                    Trace* trace) override {
    TraceFields fields(file_, line, Columns());
    TG_RETURN_IF_ERROR(fields.Cut(text));
    Window window{.line = line};
    double cv = 0;
    TG_RETURN_IF_ERROR(fields.Number(0, 0, &window.start));
    TG_RETURN_IF_ERROR(fields.Number(1, 0, &window.rate));
    TG_RETURN_IF_ERROR(fields.Number(2, 0, &cv));
    if (window.start > static_cast<double>(kArrivalSecondsMax)) {
      return fields.Error(std::size_t{0}, "seconds below a century");
    }
    if (last_.has_value() && window.start <= last_->start) {
      return fields.Error(std::size_t{0}, "a start after the line above");
    }
    if (window.rate > 0) {
      window.gamma = fields.text(3) == "Gamma";
      if (!window.gamma && fields.text(3) != "Weibull") {
        return fields.Error(3, "Gamma or Weibull");
      }
      for (const auto& [column, value] :
           {std::pair{std::size_t{4}, &window.shape},
            std::pair{std::size_t{5}, &window.scale}}) {
        TG_RETURN_IF_ERROR(fields.Number(column, 0, value));
        if (*value <= 0) return fields.Error(column, "a number above 0");
      }
    }
    // How wide a window is shows when the next one starts.
    if (last_.has_value()) {
      width_ = window.start - last_->start;
      TG_RETURN_IF_ERROR(Draw(*last_, trace));
    }
    last_ = window;
    return absl::OkStatus();
  }

  absl::Status Finish(Trace* trace) override {
    if (!last_.has_value()) return absl::OkStatus();
    return Draw(*last_, trace);
  }

 private:
  struct Window {
    std::int64_t line = 0;
    double start = 0;
    double rate = 0;
    bool gamma = false;
    double shape = 0;
    double scale = 0;
  };

  absl::Status Draw(const Window& window, Trace* trace) {
    const double expected = std::round(window.rate * width_);
    if (expected < 1) return absl::OkStatus();
    if (expected > static_cast<double>(kTraceRowsMax)) {
      return InvalidArgument(file_, ":", window.line,
                             ": column 2 (rate): ", "expected at most ",
                             kTraceRowsMax, " requests in a window");
    }
    const auto next =
        dataset_.upper_bound(static_cast<std::int64_t>(window.start));
    if (next == dataset_.begin() || std::prev(next)->second.prompt.empty() ||
        std::prev(next)->second.output.empty()) {
      return InvalidArgument(file_, ":", window.line,
                             ": column 1 (start): expected lengths of this "
                             "moment in the dataset, got none");
    }
    const Lengths& lengths = std::prev(next)->second;
    // One gap more than requests: none falls on the end of the window.
    std::vector<double> gaps(static_cast<std::size_t>(expected) + 1);
    double sum = 0;
    for (double& gap : gaps) {
      gap = window.gamma ? random_.Gamma(window.shape, window.scale)
                         : random_.Weibull(window.shape, window.scale);
      sum += gap;
    }
    double at = 0;
    for (std::size_t i = 0; i + 1 < gaps.size(); ++i) {
      if (static_cast<std::int64_t>(trace->rows.size()) >= requests_max_) break;
      at += gaps[i];
      const double seconds = window.start + (sum > 0 ? at / sum : 0) * width_;
      if (!start_.has_value()) start_ = seconds;
      TraceRow row;
      row.arrival = Instant(Duration(std::llround((seconds - *start_) * 1e9)));
      row.prompt_tokens = std::max<Tokens>(lengths.prompt.Draw(random_), 1);
      row.output_tokens = lengths.output.Draw(random_);
      row.session = static_cast<std::int64_t>(trace->rows.size());
      trace->rows.push_back(row);
    }
    return absl::OkStatus();
  }

  std::string_view file_;
  std::int64_t requests_max_;
  Random random_;
  Dataset dataset_;
  std::optional<Window> last_;
  double width_ = kWindowSeconds;
  std::optional<double> start_;  // of the first request
};

}  // namespace

bool LooksLikeServeGen(std::string_view first_line) {
  const std::vector<std::string_view> fields = SplitAtCommas(first_line);
  double start = 0;
  if (fields.size() != Columns().size() || fields[0].empty()) return false;
  const auto [stop, error] = std::from_chars(
      fields[0].data(), fields[0].data() + fields[0].size(), start);
  return error == std::errc() && stop == fields[0].data() + fields[0].size();
}

absl::StatusOr<std::unique_ptr<TraceFormat>> MakeServeGenFormat(
    std::string_view file, const TraceOptions& options) {
  if (!file.ends_with(kTraceSuffix)) {
    return InvalidArgument(file, ":1: a trace without a header: expected a ",
                           "ServeGen file NAME", kTraceSuffix, " with NAME",
                           kDatasetSuffix, " beside it");
  }
  TG_ASSIGN_OR_RETURN(
      Dataset dataset,
      ReadDataset(Concat(file.substr(0, file.size() - kTraceSuffix.size()),
                         kDatasetSuffix)));
  return std::make_unique<ServeGenFormat>(file, options, std::move(dataset));
}

}  // namespace tidegate::internal
