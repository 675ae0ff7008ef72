// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Requests that have not ended, and the state each is in:
//
//   waiting ──► prefill ──► decoding
//      ▲           │            │
//      └───────────┴────────────┘  preempted
//
// From every state a request may leave the table. Waiting requests are kept in
// the order in which the policy serves them, where that does not change while
// they wait, and in order of arrival otherwise.
//
// Thread-safety: none.

#ifndef TIDEGATE_SCHEDULER_REQUEST_TABLE_H_
#define TIDEGATE_SCHEDULER_REQUEST_TABLE_H_

#include <algorithm>
#include <boost/intrusive/set.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "tidegate/events.h"
#include "tidegate/plan.h"
#include "tidegate/policy.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// Where a request stands.
enum class RequestState { kWaiting, kPrefill, kDecoding };

struct Request : boost::intrusive::set_base_hook<> {
  RequestId id = 0;
  PlanRequest request;
  std::int64_t priority = 0;
  std::string tenant;
  Bytes prefix_bytes = 0;
  Bytes prefix_blocks = 0;
  Instant arrived{};

  RequestState state = RequestState::kWaiting;
  Tokens done = 0;        // prompt tokens in the cache: hits plus computed
  Tokens last_chunk = 1;  // width of the chunk that computed the last of them
  Tokens decoded = 0;     // generated tokens reported so far
  Bytes encoded = 0;      // live: what an encoder left for the next tokens
  // Whether admission promised it bytes: bankers promise none.
  bool promised = false;
  Tokens served = 0;  // prompt tokens computed for it, repeats included
  Tokens served_mark = 0;
  StepId in_step = 0;           // the running step that it is part of
  StepId last_decode = 0;       // the last step that it decoded in
  bool cancel_pending = false;  // ends when its running step does
  bool finish_pending = false;  // the same: the engine finished it

  // Since when nothing that this request could run fits, and since when its
  // remainder would not even fit an idle device; unset while that is not so.
  std::optional<Instant> stuck_since;
  std::optional<Instant> doomed_since;
  // Its remainder fits an idle device while that has at least so much room and
  // prices are these; unset: not looked at yet.
  std::optional<Bytes> fits_in_room;
  std::uint64_t fits_at_prices = 0;
  int preempted = 0;
  // Steps that failed in a row.
  int failures = 0;
  // Not before this moment, after a failure at the narrowest width.
  Instant not_before{};
  // Widest chunk to try after the device ran out of memory; 0: no such cap.
  Tokens width_cap = 0;

  // When it last could not start, what it lacked: the same room and the same
  // requests beside it would not do either.
  std::optional<Bytes> blocked_room;
  Bytes blocked_idle_room = 0;
  std::uint64_t blocked_epoch = 0;
  // The same of blocks of the KV pool.
  std::optional<Bytes> blocked_blocks;
  std::uint64_t blocked_blocks_epoch = 0;

  // What policies see, kept by the table.
  RequestView view;

  // Where its next chunk starts: a prompt that is cached whole computes its
  // last token again.
  Tokens NextStart() const { return std::min(done, request.prompt_tokens - 1); }

  // `claim` and `held` are of its account in the ledger.
  RequestView View(Bytes claim, Bytes held, Tokens tenant_served) const {
    return {.id = id,
            .request = &request,
            .priority = priority,
            .tenant = tenant,
            .done = done,
            .last_chunk = last_chunk,
            .arrived = arrived,
            .admitted = state != RequestState::kWaiting,
            .decoding = state == RequestState::kDecoding,
            .decoded = decoded,
            .claim = claim,
            .held = held,
            .encoded = encoded,
            .preempted = preempted,
            .served = served,
            .tenant_served = tenant_served,
            .served_mark = served_mark};
  }
};

// Who is first where those that decode take turns.
inline bool WaitedLonger(const Request* a, const Request* b) {
  return std::tie(a->last_decode, a->id) < std::tie(b->last_decode, b->id);
}

class RequestTable {
 public:
  // `order` decides where waiting requests lie, and must outlive the table or
  // the next call of SetOrder().
  explicit RequestTable(const OrderPolicy& order);
  ~RequestTable();
  RequestTable(const RequestTable&) = delete;
  RequestTable& operator=(const RequestTable&) = delete;

  void SetOrder(const OrderPolicy& order);

  // Null when there is none.
  Request* Find(RequestId id);
  const Request* Find(RequestId id) const;

  // Adds a waiting request; `arrive.id` must not be in the table.
  Request& Add(const Arrive& arrive, Instant now, Tokens served_mark);

  // Moves a request to another state; only the transitions above are legal.
  void Move(Request& request, RequestState state);

  void Remove(Request& request);

  // Changes what policies see of a request, and keeps its place right. Of its
  // account in the ledger, `claim` is what is left of the claim.
  void Update(Request& request, Bytes claim, Bytes held,
              const std::function<void(Request&)>& change);

  // Credits `tokens` of computed prompt to the request and its tenant.
  void Serve(Request& request, Tokens tokens);

  // The first request of those whose prompt is not computed, apart from those
  // in `skipped` and in running steps; null when there is none. Looks at one
  // waiting request where the order is stable while waiting, or where arrival
  // decides and all are fresh; at all of them otherwise.
  Request* First(const OrderPolicy::Context& context,
                 std::span<const RequestId> skipped, bool admitted_only);

  // In prefill, by arrival.
  std::span<Request* const> prefilling() const {
    return {prefilling_.data(), prefilling_.size()};
  }
  // Admitted requests by id, ascending.
  std::span<Request* const> admitted() const {
    return {admitted_.data(), admitted_.size()};
  }
  // All requests whose prompt is not computed, by id, ascending.
  std::vector<Request*> Unfinished();

  std::int64_t waiting() const {
    return static_cast<std::int64_t>(waiting_.size());
  }
  std::int64_t decoding() const { return decoding_; }
  // All that have not ended, in no order.
  template <typename Visit>
  void ForEach(const Visit& visit) {
    for (const auto& [id, request] : by_id_) visit(*request);
  }
  bool empty() const { return by_id_.empty(); }

 private:
  struct WaitingBefore {
    const OrderPolicy* order;
    bool stable;
    bool operator()(const Request& a, const Request& b) const;
  };
  // Intrusive: cancelling finds its place by the request itself, and neither
  // queueing nor leaving allocates.
  using Waiting =
      boost::intrusive::set<Request, boost::intrusive::compare<WaitingBefore>>;
  struct Tenant {
    Tokens served = 0;
    std::int64_t requests = 0;
  };

  void Show(Request& request, Bytes claim, Bytes held);
  // Takes the request out of what its state put it into.
  void LeaveState(Request& request);
  void Wait(Request& request);
  void StopWaiting(Request& request);
  // Never served and without a tenant.
  static bool Fresh(const Request& request) {
    return request.served == 0 && request.tenant.empty();
  }
  bool Skipped(const Request& request,
               std::span<const RequestId> skipped) const;

  const OrderPolicy* order_;
  // Looked up, and walked only where the result is sorted afterwards: its order
  // differs from run to run.
  absl::flat_hash_map<RequestId, std::unique_ptr<Request>> by_id_;
  absl::flat_hash_map<std::string, Tenant> tenants_;
  Waiting waiting_;
  std::int64_t waiting_not_fresh_ = 0;
  std::vector<Request*> prefilling_;
  std::vector<Request*> admitted_;
  std::int64_t decoding_ = 0;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_REQUEST_TABLE_H_
