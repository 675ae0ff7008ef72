// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/price_table.h"

#include <algorithm>
#include <map>
#include <utility>

#include "estimators/csv.h"
#include "estimators/text.h"
#include "tidegate/catalogue.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

constexpr int kNoRow = -1;

// Cells are worked out beforehand; this many take some tens of megabytes.
constexpr std::size_t kCellsMax = 250'000;

// Rows of one route that fall by more than this are told.
constexpr std::int64_t kNoisePercent = 2;

constexpr std::string_view kColumns[] = {"n",
                                         "kv_len",
                                         "transient_bytes",
                                         "mask",
                                         "route",
                                         "largest_allocation_bytes",
                                         "resident_bytes_per_token"};

// bytes * max(1, to / from), rounded up.
Bytes InProportion(Bytes bytes, Tokens to, Tokens from) {
  if (to <= from) return bytes;
  const __int128 product = static_cast<__int128>(bytes) * to;
  const __int128 scaled = (product + from - 1) / from;
  return scaled > kBytesMax ? kBytesMax : static_cast<Bytes>(scaled);
}

std::vector<Tokens> Lines(const std::vector<TableRow>& rows,
                          Tokens TableRow::*member) {
  std::vector<Tokens> lines;
  for (const TableRow& row : rows) lines.push_back(row.*member);
  std::sort(lines.begin(), lines.end());
  lines.erase(std::unique(lines.begin(), lines.end()), lines.end());
  return lines;
}

std::size_t IndexOf(const std::vector<Tokens>& lines, Tokens value) {
  const auto at = std::lower_bound(lines.begin(), lines.end(), value);
  // Beyond the last row its cell is extended.
  return at == lines.end() ? lines.size() - 1
                           : static_cast<std::size_t>(at - lines.begin());
}

}  // namespace

PriceGrid::PriceGrid(const std::vector<TableRow>& rows)
    : n_(Lines(rows, &TableRow::n)), kv_(Lines(rows, &TableRow::kv_len)) {
  const std::size_t columns = kv_.size();
  std::vector<int> route_at(n_.size() * columns, kNoRow);
  std::vector<int> routes;
  for (const TableRow& row : rows) {
    route_at[IndexOf(n_, row.n) * columns + IndexOf(kv_, row.kv_len)] =
        row.route;
    routes.push_back(row.route);
  }
  std::sort(routes.begin(), routes.end());
  routes.erase(std::unique(routes.begin(), routes.end()), routes.end());

  cells_.assign(4 * route_at.size(), {.covered = true});
  for (const int route : routes) {
    // The route may run in a cell when a row at one of its corners has it;
    // where a corner has no row, the nearest rows along both axes speak for it.
    std::vector<bool> candidate(cells_.size(), routes.size() == 1);
    const auto speaks = [&](std::size_t i, std::size_t j) {
      const auto at = [&](std::size_t a, std::size_t b) {
        return route_at[a * columns + b];
      };
      if (at(i, j) != kNoRow) return at(i, j) == route;
      for (std::size_t a = i + 1; a < n_.size(); ++a) {
        if (at(a, j) == route) return true;
        if (at(a, j) != kNoRow) break;
      }
      for (std::size_t a = i; a-- > 0;) {
        if (at(a, j) == route) return true;
        if (at(a, j) != kNoRow) break;
      }
      for (std::size_t b = j + 1; b < columns; ++b) {
        if (at(i, b) == route) return true;
        if (at(i, b) != kNoRow) break;
      }
      for (std::size_t b = j; b-- > 0;) {
        if (at(i, b) == route) return true;
        if (at(i, b) != kNoRow) break;
      }
      return false;
    };
    if (routes.size() > 1) {
      std::vector<bool> corner(route_at.size());
      for (std::size_t i = 0; i < n_.size(); ++i) {
        for (std::size_t j = 0; j < columns; ++j) {
          corner[i * columns + j] = speaks(i, j);
        }
      }
      for (std::size_t p = 0; p < 2 * n_.size(); ++p) {
        for (std::size_t q = 0; q < 2 * columns; ++q) {
          // On a line only its own rows speak.
          const std::size_t i = p / 2;
          const std::size_t j = q / 2;
          const std::size_t left = p % 2 == 1 || i == 0 ? i : i - 1;
          const std::size_t below = q % 2 == 1 || j == 0 ? j : j - 1;
          candidate[p * 2 * columns + q] =
              corner[i * columns + j] || corner[left * columns + j] ||
              corner[i * columns + below] || corner[left * columns + below];
        }
      }
    }
    AddRoute(rows, route, candidate);
  }
}

void PriceGrid::AddRoute(const std::vector<TableRow>& rows, int route,
                         const std::vector<bool>& candidate) {
  struct Bound {
    Bytes below_transient = -1;  // dearest row that is no wider, no longer
    Bytes below_largest = -1;
    Bytes above_transient = kBytesMax;  // least row as wide and as long
    Bytes above_largest = kBytesMax;
    bool above = false;
  };
  const std::size_t columns = kv_.size();
  std::vector<Bound> bounds(n_.size() * columns);
  std::vector<const TableRow*> widest;  // rows that no other one dominates
  for (const TableRow& row : rows) {
    if (row.route != route) continue;
    Bound& bound =
        bounds[IndexOf(n_, row.n) * columns + IndexOf(kv_, row.kv_len)];
    bound = {.below_transient = row.transient,
             .below_largest = row.largest,
             .above_transient = row.transient,
             .above_largest = row.largest,
             .above = true};
    const auto dominates = [](const TableRow& a, const TableRow& b) {
      return a.n >= b.n && a.kv_len >= b.kv_len;
    };
    if (std::any_of(widest.begin(), widest.end(), [&](const TableRow* other) {
          return dominates(*other, row);
        })) {
      continue;
    }
    std::erase_if(
        widest, [&](const TableRow* other) { return dominates(row, *other); });
    widest.push_back(&row);
  }
  const auto at = [&](std::size_t i, std::size_t j) -> Bound& {
    return bounds[i * columns + j];
  };
  for (std::size_t i = n_.size(); i-- > 0;) {
    for (std::size_t j = columns; j-- > 0;) {
      const auto take = [&](const Bound& other) {
        Bound& here = at(i, j);
        here.above = here.above || other.above;
        here.above_transient =
            std::min(here.above_transient, other.above_transient);
        here.above_largest = std::min(here.above_largest, other.above_largest);
      };
      if (i + 1 < n_.size()) take(at(i + 1, j));
      if (j + 1 < columns) take(at(i, j + 1));
    }
  }
  for (std::size_t i = 0; i < n_.size(); ++i) {
    for (std::size_t j = 0; j < columns; ++j) {
      Bound& here = at(i, j);
      if (!here.above) {
        for (const TableRow* row : widest) {
          const auto extended = [&](Bytes bytes) {
            return InProportion(InProportion(bytes, n_[i], row->n), kv_[j],
                                row->kv_len);
          };
          here.above_transient =
              std::min(here.above_transient, extended(row->transient));
          here.above_largest =
              std::min(here.above_largest, extended(row->largest));
        }
      }
      // From here on `below` is the route's price, which never falls.
      here.below_transient =
          std::max(here.below_transient, here.above_transient);
      here.below_largest = std::max(here.below_largest, here.above_largest);
      const auto rise = [&](const Bound& other) {
        here.below_transient =
            std::max(here.below_transient, other.below_transient);
        here.below_largest = std::max(here.below_largest, other.below_largest);
      };
      if (i > 0) rise(at(i - 1, j));
      if (j > 0) rise(at(i, j - 1));
      for (const std::size_t p : {2 * i, 2 * i + 1}) {
        for (const std::size_t q : {2 * j, 2 * j + 1}) {
          if (!candidate[p * 2 * columns + q]) continue;
          TablePrice& cell = cells_[p * 2 * columns + q];
          if (here.below_transient >= cell.transient) cell.route = route;
          cell.transient = std::max(cell.transient, here.below_transient);
          cell.largest = std::max(cell.largest, here.below_largest);
          cell.covered = cell.covered && here.above;
        }
      }
    }
  }
}

TablePrice PriceGrid::At(Tokens n, Tokens kv_len) const {
  // Beyond the last line, as between it and the one before it.
  const std::size_t i = IndexOf(n_, n);
  const std::size_t j = IndexOf(kv_, kv_len);
  const std::size_t p = 2 * i + (n == n_[i] ? 1 : 0);
  const std::size_t q = 2 * j + (kv_len == kv_[j] ? 1 : 0);
  TablePrice price = cells_[p * 2 * kv_.size() + q];
  if (n < n_.front() || n > n_.back() || kv_len < kv_.front() ||
      kv_len > kv_.back()) {
    price.covered = false;
    for (Bytes* bytes : {&price.transient, &price.largest}) {
      *bytes =
          InProportion(InProportion(*bytes, n, n_.back()), kv_len, kv_.back());
    }
  }
  return price;
}

TablePrice PriceTable::At(Tokens n, Tokens kv_len, MaskKind mask) const {
  const int grid = grid_of_[static_cast<std::size_t>(mask)];
  if (grid >= 0) return grids_[static_cast<std::size_t>(grid)].At(n, kv_len);
  TablePrice dearest;
  for (const PriceGrid& other : grids_) {
    const TablePrice price = other.At(n, kv_len);
    if (price.transient >= dearest.transient) dearest.route = price.route;
    dearest.transient = std::max(dearest.transient, price.transient);
    dearest.largest = std::max(dearest.largest, price.largest);
  }
  dearest.covered = false;
  return dearest;
}

std::vector<const PriceGrid*> PriceTable::GridsOf(MaskKind mask) const {
  const int grid = grid_of_[static_cast<std::size_t>(mask)];
  if (grid >= 0) return {&grids_[static_cast<std::size_t>(grid)]};
  std::vector<const PriceGrid*> all;
  for (const PriceGrid& other : grids_) all.push_back(&other);
  return all;
}

namespace {

// A column that is nearly one of ours is a slip; any other one is the user's.
absl::Status CheckColumns(const CsvTable& table) {
  std::vector<std::string_view> absent;
  for (const std::string_view column : kColumns) {
    if (!table.Has(column)) absent.push_back(column);
  }
  for (const std::string_view column : {"n", "kv_len", "transient_bytes"}) {
    if (table.Has(column)) continue;
    std::string list;
    for (const std::string& other : table.Columns()) {
      list += Concat(list.empty() ? "" : ", ", other);
    }
    return InvalidArgument(table.file(), ": column ", column,
                           ": missing; got the columns ", list);
  }
  for (const std::string& column : table.Columns()) {
    if (std::find(std::begin(kColumns), std::end(kColumns), column) !=
        std::end(kColumns)) {
      continue;
    }
    const std::string_view near = DidYouMean(column, absent);
    // Short names are near to many words.
    if (near.size() < 4) continue;
    return InvalidArgument(table.file(), ": column ", column,
                           ": unknown; did you mean \"", near, "\"?");
  }
  return absl::OkStatus();
}

// The first row that is dearer than one of its route that is as wide and as
// long, by more than noise.
void WarnAboutFalls(const std::vector<TableRow>& rows, std::string_view file,
                    std::vector<std::string>* warnings) {
  std::vector<const TableRow*> sorted;
  for (const TableRow& row : rows) sorted.push_back(&row);
  std::sort(sorted.begin(), sorted.end(),
            [](const TableRow* a, const TableRow* b) {
              return std::pair(a->n, a->kv_len) < std::pair(b->n, b->kv_len);
            });
  // Neighbours along n; those along the kv length are neighbours here.
  std::map<std::pair<int, Tokens>, const TableRow*> narrower;
  const TableRow* before = nullptr;
  for (const TableRow* row : sorted) {
    const TableRow*& along_n = narrower[{row->route, row->kv_len}];
    for (const TableRow* other : {before, std::as_const(along_n)}) {
      if (other == nullptr || other->route != row->route ||
          other->kv_len > row->kv_len) {
        continue;
      }
      const Bytes noise = other->transient / 100 * kNoisePercent;
      if (row->transient >= other->transient - noise) continue;
      warnings->push_back(Concat(
          file, ": n ", row->n, ", kv_len ", row->kv_len, ": measured below n ",
          other->n, ", kv_len ", other->kv_len,
          " on the same route: the higher one counts for both; if another "
          "kernel runs, name it in the column route"));
      return;
    }
    along_n = row;
    before = row;
  }
}

}  // namespace

absl::StatusOr<PriceTable> PriceTable::Parse(std::string_view text,
                                             std::string_view file) {
  TG_ASSIGN_OR_RETURN(const CsvTable csv, ParseCsv(text, file));
  TG_RETURN_IF_ERROR(CheckColumns(csv));
  if (csv.rows() == 0)
    return InvalidArgument(file, ": expected rows, got none");
  PriceTable table;
  constexpr std::size_t kEvery = kMasks;  // rows for every mask
  std::array<std::map<std::pair<Tokens, Tokens>, TableRow>, kMasks + 1> rows;
  for (std::size_t row = 0; row < csv.rows(); ++row) {
    TableRow measured;
    TG_ASSIGN_OR_RETURN(measured.n, csv.Integer(row, "n", 1));
    TG_ASSIGN_OR_RETURN(measured.kv_len, csv.Integer(row, "kv_len", 1));
    if (measured.n > measured.kv_len || measured.kv_len > kTokensMax) {
      return csv.Error(row, "kv_len", Concat("n to ", kTokensMax, " tokens"));
    }
    TG_ASSIGN_OR_RETURN(measured.transient,
                        csv.Integer(row, "transient_bytes", 0));
    measured.largest = measured.transient;
    if (csv.Has("largest_allocation_bytes")) {
      TG_ASSIGN_OR_RETURN(
          const std::optional<std::int64_t> largest,
          csv.OptionalInteger(row, "largest_allocation_bytes", 0));
      measured.largest = largest.value_or(measured.largest);
    }
    if (csv.Has("resident_bytes_per_token")) {
      TG_ASSIGN_OR_RETURN(
          const std::optional<std::int64_t> resident,
          csv.OptionalInteger(row, "resident_bytes_per_token", 0));
      if (resident.has_value()) {
        table.resident_per_token_ =
            std::max(table.resident_per_token_.value_or(0), *resident);
      }
    }
    std::string route;
    if (csv.Has("route")) {
      TG_ASSIGN_OR_RETURN(route, csv.Text(row, "route"));
    }
    const auto known =
        std::find(table.routes_.begin(), table.routes_.end(), route);
    measured.route = static_cast<int>(known - table.routes_.begin());
    if (known == table.routes_.end()) table.routes_.push_back(route);

    std::size_t group = kEvery;
    std::string mask;
    if (csv.Has("mask")) {
      TG_ASSIGN_OR_RETURN(mask, csv.Text(row, "mask"));
    }
    if (!mask.empty()) {
      const std::optional<MaskKind> kind = ParseMask(mask);
      if (!kind.has_value()) {
        return csv.Error(
            row, "mask",
            "none, causal, bool, float, array, lower_right or nothing");
      }
      group = static_cast<std::size_t>(*kind);
    }
    const auto [same, fresh] =
        rows[group].try_emplace({measured.n, measured.kv_len}, measured);
    if (fresh) continue;
    if (same->second.route != measured.route) {
      return csv.Error(
          row, "route",
          Concat("\"",
                 table.routes_[static_cast<std::size_t>(same->second.route)],
                 "\", as an earlier row of the same n, kv_len and mask says"));
    }
    // Measured twice: the higher one.
    same->second.transient =
        std::max(same->second.transient, measured.transient);
    same->second.largest = std::max(same->second.largest, measured.largest);
  }

  TableRow low{.n = kTokensMax, .kv_len = kTokensMax};
  TableRow high;
  table.grid_of_.fill(-1);
  for (std::size_t group = 0; group <= kMasks; ++group) {
    std::vector<TableRow> list;
    // Rows for every mask count for each mask that has rows of its own, too.
    auto merged = rows[group];
    if (group < kMasks && !merged.empty()) {
      for (const auto& [at, row] : rows[kEvery]) merged.try_emplace(at, row);
    }
    for (const auto& [at, row] : merged) {
      list.push_back(row);
      low.n = std::min(low.n, row.n);
      low.kv_len = std::min(low.kv_len, row.kv_len);
      high.n = std::max(high.n, row.n);
      high.kv_len = std::max(high.kv_len, row.kv_len);
    }
    if (list.empty()) continue;
    const std::size_t cells = Lines(list, &TableRow::n).size() *
                              Lines(list, &TableRow::kv_len).size();
    if (cells > kCellsMax) {
      return InvalidArgument(file, ": expected at most ", kCellsMax,
                             " pairs of a value of n and one of kv_len, got ",
                             cells);
    }
    WarnAboutFalls(list, file, &table.warnings_);
    const int index = static_cast<int>(table.grids_.size());
    table.grids_.emplace_back(list);
    if (group < kMasks) {
      table.grid_of_[group] = index;
    } else {
      for (int& grid : table.grid_of_) grid = grid < 0 ? index : grid;
    }
  }
  table.warnings_.push_back(Concat(
      file, ": rows span n ", low.n, " to ", high.n, " and kv_len ", low.kv_len,
      " to ", high.kv_len, ": prices beyond them are assumed, not measured"));
  return table;
}

}  // namespace tidegate::internal
