// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Measured transients, looked up.
//
// What is known of the law behind the rows is that it never falls as n or the
// kv length grows while the route stays. So the price of (n, K) is
//
//   the least row of the route with n' >= n and K' >= K
//
// which is the tightest bound there is under that assumption, and no row is
// priced below its own measurement. Prices are then the same all over a cell
// between two rows, and all cells are worked out once.
//
// Where the rows around a cell have several routes, each of them may be what
// runs there: the dearest counts. At a value of n or of K that rows have, only
// the rows of that value are around. Where a route has no row that is as wide
// and as long, its rows are extended in proportion,
//
//   b * max(1, n / n') * max(1, K / K')
//
// which bounds every law a + b*n + c*K + d*n*K with terms that are not
// negative; such cells are not *covered*, and neither is anything outside the
// span of the rows.
//
// Immutable after construction; thread-safe.

#ifndef TIDEGATE_ESTIMATORS_PRICE_TABLE_H_
#define TIDEGATE_ESTIMATORS_PRICE_TABLE_H_

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tidegate/estimator.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// One measured row. `route` is an index into PriceTable::routes().
struct TableRow {
  Tokens n = 0;
  Tokens kv_len = 0;
  int route = 0;
  Bytes transient = 0;
  Bytes largest = 0;
};

struct TablePrice {
  Bytes transient = 0;
  Bytes largest = 0;
  int route = 0;
  bool covered = false;  // bounded by measured rows
};

// The rows of one mask.
class PriceGrid {
 public:
  // `rows` is not empty, and no (n, kv_len) occurs twice in it.
  explicit PriceGrid(const std::vector<TableRow>& rows);

  TablePrice At(Tokens n, Tokens kv_len) const;

  // Where cells end, ascending: values of n and of kv_len that rows have.
  const std::vector<Tokens>& n_lines() const { return n_; }
  const std::vector<Tokens>& kv_lines() const { return kv_; }

 private:
  void AddRoute(const std::vector<TableRow>& rows, int route,
                const std::vector<bool>& candidate);

  std::vector<Tokens> n_;
  std::vector<Tokens> kv_;
  // By n, then kv_len: of each line what lies before it, then the line itself,
  // where a route is known that is not known between two rows.
  std::vector<TablePrice> cells_;
};

class PriceTable {
 public:
  // CSV with the columns n, kv_len and transient_bytes, and optionally mask,
  // route, largest_allocation_bytes and resident_bytes_per_token; others are
  // not read. InvalidArgument "FILE:LINE: column C: expected …, got …".
  static absl::StatusOr<PriceTable> Parse(std::string_view text,
                                          std::string_view file);

  // A mask that no row has is priced as the dearest of those that rows have,
  // and not covered.
  TablePrice At(Tokens n, Tokens kv_len, MaskKind mask) const;
  // The grids that At() reads for this mask.
  std::vector<const PriceGrid*> GridsOf(MaskKind mask) const;
  bool HasMask(MaskKind mask) const {
    return grid_of_[static_cast<std::size_t>(mask)] >= 0;
  }

  // Names of routes; "" where the rows state none.
  const std::vector<std::string>& routes() const { return routes_; }
  // The largest that a row states.
  std::optional<Bytes> resident_per_token() const {
    return resident_per_token_;
  }
  // What the rows span, and where they contradict the assumption.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  static constexpr std::size_t kMasks = 6;

  std::vector<std::string> routes_;
  std::vector<PriceGrid> grids_;
  std::array<int, kMasks> grid_of_{};
  std::optional<Bytes> resident_per_token_;
  std::vector<std::string> warnings_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_PRICE_TABLE_H_
