// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Requests that have not ended, and the state each is in:
//
//   waiting ──► prefill ──► decoding
//
// From every state a request may leave the table. Waiting requests are also
// kept as the view that order policies read, in order of arrival.
//
// Thread-safety: none.

#ifndef TIDEGATE_SCHEDULER_REQUEST_TABLE_H_
#define TIDEGATE_SCHEDULER_REQUEST_TABLE_H_

#include <boost/container/devector.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "tidegate/events.h"
#include "tidegate/plan.h"
#include "tidegate/policy.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// Where a request stands.
enum class RequestState { kWaiting, kPrefill, kDecoding };

struct Request {
  RequestId id = 0;
  PlanRequest request;
  std::int64_t priority = 0;
  std::string tenant;
  Bytes prefix_bytes = 0;
  Instant arrived{};

  RequestState state = RequestState::kWaiting;
  Tokens done = 0;     // prompt tokens in the cache: hits plus computed
  Tokens decoded = 0;  // generated tokens reported so far
  bool cancel_pending = false;  // ends when its running step does

  // Since when nothing that this request could run fits; unset while it moves.
  std::optional<Instant> stuck_since;
  // Steps that failed in a row, and since when.
  int failures = 0;
  Instant first_failure{};
  // Not before this moment, after a failure at the narrowest width.
  Instant not_before{};
  // Widest chunk to try after the device ran out of memory; 0: no such cap.
  Tokens width_cap = 0;
  // Chunks of the plan that admitted it which were not run yet begin here.
  Plan plan;
  std::size_t next_planned = 0;
  Bytes planned_budget = 0;  // bytes that plan assumed the request could have

  RequestView View() const {
    return {.id = id,
            .request = &request,
            .priority = priority,
            .done = done,
            .arrived = arrived,
            .admitted = state != RequestState::kWaiting};
  }
};

class RequestTable {
 public:
  // Null when there is none.
  Request* Find(RequestId id);

  // Adds a waiting request; `arrive.id` must not be in the table.
  Request& Add(const Arrive& arrive, Instant now);

  // Moves a request to the next state; only the transitions above are legal.
  void Move(Request& request, RequestState state);

  void Remove(Request& request);

  // Call after a change to a waiting request that its view shows.
  void Refresh(const Request& request);

  std::span<const RequestView> waiting() const {
    return {waiting_.data(), waiting_.size()};
  }
  std::int64_t decoding() const { return decoding_; }
  // In prefill or decoding.
  std::int64_t admitted() const {
    return static_cast<std::int64_t>(by_id_.size() - waiting_.size());
  }

 private:
  RequestView* FindWaiting(RequestId id);
  void RemoveWaiting(RequestId id);

  // Looked up, never walked: its order differs from run to run.
  absl::flat_hash_map<RequestId, std::unique_ptr<Request>> by_id_;
  // Contiguous for policies, and cheap to shorten at the front.
  boost::container::devector<RequestView> waiting_;
  std::int64_t decoding_ = 0;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_REQUEST_TABLE_H_
