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
// the order in which the policy serves them, as far as that does not change
// while they wait (OrderPolicy::LooksAt), and in order of arrival otherwise.
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
#include "absl/container/node_hash_map.h"
#include "scheduler/ledger.h"
#include "tidegate/events.h"
#include "tidegate/plan.h"
#include "tidegate/policy.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// Where a request stands.
enum class RequestState : std::uint8_t { kWaiting, kPrefill, kDecoding };

struct Tenant;

using ListHook = boost::intrusive::set_base_hook<
    boost::intrusive::optimize_size<true>,
    boost::intrusive::link_mode<boost::intrusive::normal_link>>;
struct PassedOverTag;
using PassedOverHook = boost::intrusive::set_base_hook<
    boost::intrusive::tag<PassedOverTag>, boost::intrusive::optimize_size<true>,
    boost::intrusive::link_mode<boost::intrusive::normal_link>>;

// Many wait, so that it is kept small: what can be unset has a value that says
// so where many are.
struct Request : ListHook, PassedOverHook {
  static constexpr Instant kNever = Instant::max();
  static constexpr Bytes kUnknown = -1;

  RequestId id = 0;
  PlanRequest request;
  std::int64_t priority = 0;
  Tenant* tenant = nullptr;
  Bytes prefix_bytes = 0;
  Bytes prefix_blocks = 0;
  Instant arrived{};

  Tokens done = 0;        // prompt tokens in the cache: hits plus computed
  Tokens last_chunk = 1;  // width of the chunk that computed the last of them
  Tokens decoded = 0;     // generated tokens reported so far
  Bytes encoded = 0;      // live: what an encoder left for the next tokens
  Tokens served = 0;      // prompt tokens computed for it, repeats included
  Tokens served_mark = 0;
  StepId in_step = 0;      // the running step that it is part of
  StepId last_decode = 0;  // the last step that it decoded in
  // While it is admitted: in the ledgers of bytes and of KV blocks.
  Ledger::Account* bytes = nullptr;
  Ledger::Account* blocks = nullptr;

  // Since when nothing that this request could run fits, and since when its
  // remainder would not even fit an idle device.
  Instant stuck_since = kNever;
  Instant doomed_since = kNever;
  // Its remainder fits an idle device while that has at least so much room and
  // prices are these.
  Bytes fits_in_room = kUnknown;
  std::uint64_t fits_at_prices = 0;
  // Not before this moment, after a failure at the narrowest width.
  Instant not_before{};
  // Widest chunk to try after the device ran out of memory; 0: no such cap.
  Tokens width_cap = 0;
  // Times that it did, and steps at this width before a wider one is tried.
  std::int32_t ran_out = 0;
  std::int32_t steps_until_wider = 0;

  // When it last could not start, what it lacked: the same room and the same
  // requests beside it would not do either.
  std::optional<Bytes> blocked_room;
  Bytes blocked_idle_room = 0;
  std::uint64_t blocked_epoch = 0;
  // The same of blocks of the KV pool.
  std::optional<Bytes> blocked_blocks;
  std::uint64_t blocked_blocks_epoch = 0;

  // Which entry of the StepDone that is being checked is about it.
  std::uint32_t answer_check = 0;
  std::uint32_t answer = 0;

  int preempted = 0;
  int failures = 0;  // steps that failed in a row
  RequestState state = RequestState::kWaiting;
  // Whether admission promised it bytes: bankers promise none.
  bool promised = false;
  bool cancel_pending = false;  // ends when its running step does
  bool finish_pending = false;  // the same: the engine finished it

  // Where its next chunk starts: a prompt that is cached whole computes its
  // last token again.
  Tokens NextStart() const { return std::min(done, request.prompt_tokens - 1); }

  // What policies see, now. It refers to the request.
  RequestView View() const;
};

// Who is first where those that decode take turns.
inline bool WaitedLonger(const Request* a, const Request* b) {
  return std::tie(a->last_decode, a->id) < std::tie(b->last_decode, b->id);
}

// Intrusive: cancelling finds its place by the request itself, and neither
// queueing nor leaving allocates.
struct WaitingBefore {
  const OrderPolicy* order;
  OrderPolicy::LooksAt looks_at;
  bool operator()(const Request& a, const Request& b) const;
};
using WaitingQueue =
    boost::intrusive::set<Request, boost::intrusive::base_hook<ListHook>,
                          boost::intrusive::compare<WaitingBefore>>;
struct PassedOverBefore {
  bool operator()(const Request& a, const Request& b) const;
};

struct Tenant {
  explicit Tenant(const WaitingBefore& before) : waiting(before) {}

  std::string_view name;
  Tokens served = 0;  // prompt tokens, of all its requests
  std::int64_t requests = 0;
  WaitingQueue waiting;  // where the order of tenants changes
};

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

  // Changes a request and keeps its place right. Of one that does not wait,
  // anything but its state may be changed without this.
  template <typename Change>
  void Update(Request& request, const Change& change) {
    const bool waiting = request.state == RequestState::kWaiting;
    if (waiting) StopWaiting(request);
    change(request);
    if (waiting) Wait(request);
  }

  // Credits `tokens` of computed prompt to the request and its tenant.
  void Serve(Request& request, Tokens tokens);

  // The first request of those whose prompt is not computed, apart from those
  // in `skipped` and in running steps; null when there is none. Of those that
  // wait it looks at no more than the order policy's Waiting() needs.
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

  std::int64_t waiting() const { return waiting_; }
  std::int64_t decoding() const { return decoding_; }
  // All that have not ended, in no order.
  template <typename Visit>
  void ForEach(const Visit& visit) {
    for (const auto& [id, request] : by_id_) visit(*request);
  }
  bool empty() const { return by_id_.empty(); }

 private:
  // Takes the request out of what its state put it into.
  void LeaveState(Request& request);
  void Wait(Request& request);
  void StopWaiting(Request& request);
  // The queue that a request waits in.
  WaitingQueue& QueueOf(const Request& request);
  Tenant* TenantOf(std::string_view name);
  Tenant NewTenant() const { return Tenant(WaitingBefore{order_, looks_at_}); }

  const OrderPolicy* order_;
  OrderPolicy::LooksAt looks_at_;
  Tokens patience_;
  // Looked up, and walked only where the result does not depend on the order,
  // which differs from run to run.
  absl::flat_hash_map<RequestId, std::unique_ptr<Request>> by_id_;
  absl::node_hash_map<std::string, Tenant> tenants_;
  Tenant nobody_;  // of requests without one
  // All that wait, the longest passed over first; empty where the policy's
  // patience has no end.
  boost::intrusive::set<Request, boost::intrusive::base_hook<PassedOverHook>,
                        boost::intrusive::compare<PassedOverBefore>>
      passed_over_;
  std::int64_t waiting_ = 0;
  std::vector<Request*> prefilling_;
  std::vector<Request*> admitted_;
  std::int64_t decoding_ = 0;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_REQUEST_TABLE_H_
