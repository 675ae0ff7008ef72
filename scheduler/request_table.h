// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Requests that have not ended, and the state each is in:
//
//   waiting ──► prefill ──► decoding
//      ▲           │            │
//      └───────────┴────────────┘  preempted
//
// From every state a request may leave the table. Requests whose prompt is not
// computed are also kept as the views that policies read, in order of arrival.
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
#include <vector>

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
  Tokens done = 0;        // prompt tokens in the cache: hits plus computed
  Tokens last_chunk = 1;  // width of the chunk that computed the last of them
  Tokens decoded = 0;     // generated tokens reported so far
  Tokens served = 0;      // prompt tokens computed for it, repeats included
  Tokens served_mark = 0;
  bool cancel_pending = false;  // ends when its running step does

  // Since when nothing that this request could run fits, and since when its
  // remainder would not even fit an idle device; unset while that is not so.
  std::optional<Instant> stuck_since;
  std::optional<Instant> doomed_since;
  // Steps that failed in a row.
  int failures = 0;
  // Not before this moment, after a failure at the narrowest width.
  Instant not_before{};
  // Widest chunk to try after the device ran out of memory; 0: no such cap.
  Tokens width_cap = 0;

  // `claim` is what is left of its claim.
  RequestView View(Bytes claim) const {
    return {.id = id,
            .request = &request,
            .priority = priority,
            .tenant = tenant,
            .done = done,
            .last_chunk = last_chunk,
            .arrived = arrived,
            .admitted = state != RequestState::kWaiting,
            .claim = claim,
            .served = served,
            .served_mark = served_mark};
  }
};

class RequestTable {
 public:
  // Null when there is none.
  Request* Find(RequestId id);
  const Request* Find(RequestId id) const;

  // Adds a waiting request; `arrive.id` must not be in the table.
  Request& Add(const Arrive& arrive, Instant now, Tokens served_mark);

  // Moves a request to another state; only the transitions above are legal.
  void Move(Request& request, RequestState state);

  void Remove(Request& request);

  // Call after a change to a request that its view shows.
  void Refresh(const Request& request, Bytes claim);

  // Requests that wait or are in prefill, in order of arrival.
  std::span<const RequestView> queue() const {
    return {queue_.data(), queue_.size()};
  }
  // Admitted requests by id, ascending.
  std::vector<const Request*> Admitted() const;

  std::int64_t waiting() const { return waiting_; }
  std::int64_t prefilling() const {
    return static_cast<std::int64_t>(queue_.size()) - waiting_;
  }
  std::int64_t decoding() const { return decoding_; }
  bool empty() const { return by_id_.empty(); }

 private:
  using Queue = boost::container::devector<RequestView>;
  void Insert(const Request& request);
  Queue::iterator PlaceOf(const Request& request);
  Queue::iterator FindView(const Request& request);

  // Looked up, and walked only where the result is sorted afterwards: its order
  // differs from run to run.
  absl::flat_hash_map<RequestId, std::unique_ptr<Request>> by_id_;
  // Contiguous for policies, and cheap to shorten at the front.
  Queue queue_;
  std::int64_t waiting_ = 0;
  std::int64_t decoding_ = 0;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_REQUEST_TABLE_H_
