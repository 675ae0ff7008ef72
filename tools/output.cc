// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/output.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "estimators/text.h"
#include "tidegate/status.h"

namespace tidegate::tools {
namespace {

using internal::Concat;
using internal::FormatBytes;
using Json = nlohmann::ordered_json;

// Bytes that continue a UTF-8 character take no column.
std::size_t Width(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  });
}

}  // namespace

TextTable::TextTable(std::vector<std::string> header, std::vector<Align> align)
    : align_(std::move(align)) {
  TG_CHECK(header.size() == align_.size());
  rows_.push_back(std::move(header));
}

void TextTable::Add(std::vector<std::string> cells) {
  TG_CHECK(cells.size() == align_.size());
  rows_.push_back(std::move(cells));
}

std::string TextTable::ToString() const {
  std::vector<std::size_t> widths(align_.size(), 0);
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], Width(row[i]));
    }
  }
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - Width(row[i]), ' ');
      line += "  ";
      line += align_[i] == Align::kRight ? padding + row[i] : row[i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string Number(double value, int decimals) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.*f", decimals, value);
  return text;
}

std::string Decimal(double value) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return text;
}

struct JsonWriter::Impl {
  Json root = Json::object();
  // Containers that are open, outermost first. Only the last one grows, so
  // that the others stay where they are.
  std::vector<Json*> open = {&root};

  Json* Add(std::string_view key, Json value) {
    Json& top = *open.back();
    if (top.is_array()) {
      top.push_back(std::move(value));
      return &top.back();
    }
    return &(top[std::string(key)] = std::move(value));
  }
};

JsonWriter::JsonWriter() : impl_(std::make_unique<Impl>()) {}
JsonWriter::~JsonWriter() = default;

void JsonWriter::Put(std::string_view key, std::int64_t value) {
  impl_->Add(key, value);
}
void JsonWriter::Put(std::string_view key, double value) {
  impl_->Add(key, std::isfinite(value) ? Json(value) : Json());
}
void JsonWriter::Put(std::string_view key, bool value) {
  impl_->Add(key, value);
}
void JsonWriter::Put(std::string_view key, std::string_view value) {
  impl_->Add(key, std::string(value));
}
void JsonWriter::PutNull(std::string_view key) { impl_->Add(key, Json()); }

void JsonWriter::BeginObject(std::string_view key) {
  impl_->open.push_back(impl_->Add(key, Json::object()));
}
void JsonWriter::BeginArray(std::string_view key) {
  impl_->open.push_back(impl_->Add(key, Json::array()));
}
void JsonWriter::End() {
  TG_CHECK(impl_->open.size() > 1);
  impl_->open.pop_back();
}

// Names of files need not be UTF-8, which JSON is: the bytes are replaced.
std::string JsonWriter::ToString() const {
  return impl_->root.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}
std::string JsonWriter::ToLine() const {
  return impl_->root.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::vector<ChunkRange> Ranges(const std::vector<PlannedChunk>& chunks) {
  std::vector<ChunkRange> ranges;
  for (const PlannedChunk& chunk : chunks) {
    if (ranges.empty() || ranges.back().n != chunk.n) {
      ranges.push_back({.start = chunk.start,
                        .n = chunk.n,
                        .transient_min = chunk.transient_bytes,
                        .transient_max = chunk.transient_bytes});
    }
    ChunkRange& range = ranges.back();
    range.end = chunk.kv_len;
    ++range.count;
    range.transient_min = std::min(range.transient_min, chunk.transient_bytes);
    range.transient_max = std::max(range.transient_max, chunk.transient_bytes);
  }
  return ranges;
}

std::string RangeTable(const std::vector<PlannedChunk>& chunks,
                       std::size_t rows_max) {
  const std::vector<ChunkRange> ranges = Ranges(chunks);
  TextTable table({"tokens", "width", "chunks", "transient"},
                  {Align::kRight, Align::kRight, Align::kRight, Align::kRight});
  const bool cut = ranges.size() > rows_max;
  const std::size_t head = cut ? rows_max / 2 : ranges.size();
  const std::size_t tail = cut ? ranges.size() - (rows_max - head) : head;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    if (i == head && cut) {
      std::int64_t count = 0;
      for (std::size_t j = head; j < tail; ++j) count += ranges[j].count;
      table.Add(
          {Concat(Grouped(ranges[head].start), " to ",
                  Grouped(ranges[tail - 1].end)),
           Concat(Grouped(ranges[head].n), " to ", Grouped(ranges[tail - 1].n)),
           Grouped(count), "…"});
    }
    if (i >= head && i < tail) continue;
    const ChunkRange& range = ranges[i];
    const std::string low = FormatBytes(range.transient_min);
    const std::string high = FormatBytes(range.transient_max);
    table.Add({Concat(Grouped(range.start), " to ", Grouped(range.end)),
               Grouped(range.n), Grouped(range.count),
               low == high ? low : Concat(low, " to ", high)});
  }
  return table.ToString();
}

}  // namespace tidegate::tools
