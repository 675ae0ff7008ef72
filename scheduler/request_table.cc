// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/request_table.h"

#include <algorithm>
#include <memory>
#include <tuple>
#include <utility>

#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

bool ArrivedBefore(const Request* a, const Request* b) {
  return std::tie(a->arrived, a->id) < std::tie(b->arrived, b->id);
}

bool LowerId(const Request* a, const Request* b) { return a->id < b->id; }

void InsertSorted(std::vector<Request*>& requests, Request* request,
                  bool (*before)(const Request*, const Request*)) {
  requests.insert(
      std::upper_bound(requests.begin(), requests.end(), request, before),
      request);
}

}  // namespace

bool RequestTable::WaitingBefore::operator()(const Request& a,
                                             const Request& b) const {
  return stable ? order->Before(a.view, b.view, {}) : ArrivedBefore(&a, &b);
}

RequestTable::RequestTable(const OrderPolicy& order)
    : order_(&order),
      waiting_(WaitingBefore{&order, order.StableWhileWaiting()}) {}

RequestTable::~RequestTable() { waiting_.clear(); }

void RequestTable::SetOrder(const OrderPolicy& order) {
  std::vector<Request*> waiting;
  for (Request& request : waiting_) waiting.push_back(&request);
  waiting_.clear();
  order_ = &order;
  Waiting ordered(WaitingBefore{&order, order.StableWhileWaiting()});
  waiting_.swap(ordered);
  for (Request* request : waiting) waiting_.insert(*request);
}

const Request* RequestTable::Find(RequestId id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : it->second.get();
}

Request* RequestTable::Find(RequestId id) {
  return const_cast<Request*>(std::as_const(*this).Find(id));
}

Request& RequestTable::Add(const Arrive& arrive, Instant now,
                           Tokens served_mark) {
  auto request = std::make_unique<Request>();
  request->id = arrive.id;
  request->request = arrive.request;
  request->request.encoded_bytes = 0;
  request->priority = arrive.priority;
  request->tenant = arrive.tenant;
  request->prefix_bytes = arrive.prefix_bytes;
  request->prefix_blocks = arrive.prefix_blocks;
  request->arrived = now;
  request->done = request->request.cached_tokens;
  request->last_chunk = request->request.cached_chunk;
  request->served_mark = served_mark;
  if (!request->tenant.empty()) ++tenants_[request->tenant].requests;
  Request& added = *request;
  const bool inserted = by_id_.emplace(arrive.id, std::move(request)).second;
  TG_CHECK(inserted);
  Show(added, 0, 0);
  Wait(added);
  return added;
}

void RequestTable::Move(Request& request, RequestState state) {
  const RequestState before = request.state;
  TG_CHECK(state != before);
  TG_CHECK(before != RequestState::kWaiting || state == RequestState::kPrefill);
  TG_CHECK(before != RequestState::kDecoding ||
           state == RequestState::kWaiting);
  LeaveState(request);
  request.state = state;
  Show(request, request.view.claim, request.view.held);
  switch (state) {
    case RequestState::kWaiting:
      std::erase(admitted_, &request);
      Wait(request);
      break;
    case RequestState::kPrefill:
      InsertSorted(prefilling_, &request, ArrivedBefore);
      InsertSorted(admitted_, &request, LowerId);
      break;
    case RequestState::kDecoding:
      ++decoding_;
      break;
  }
}

void RequestTable::LeaveState(Request& request) {
  switch (request.state) {
    case RequestState::kWaiting:
      StopWaiting(request);
      break;
    case RequestState::kPrefill:
      std::erase(prefilling_, &request);
      break;
    case RequestState::kDecoding:
      --decoding_;
      break;
  }
}

void RequestTable::Remove(Request& request) {
  LeaveState(request);
  if (request.state != RequestState::kWaiting) std::erase(admitted_, &request);
  if (!request.tenant.empty()) {
    const auto tenant = tenants_.find(request.tenant);
    TG_CHECK(tenant != tenants_.end());
    if (--tenant->second.requests == 0) tenants_.erase(tenant);
  }
  by_id_.erase(request.id);
}

void RequestTable::Update(Request& request, Bytes claim, Bytes held,
                          const std::function<void(Request&)>& change) {
  const bool waiting = request.state == RequestState::kWaiting;
  if (waiting) StopWaiting(request);
  change(request);
  Show(request, claim, held);
  if (waiting) Wait(request);
}

void RequestTable::Serve(Request& request, Tokens tokens) {
  request.served += tokens;
  if (!request.tenant.empty()) tenants_.at(request.tenant).served += tokens;
}

Request* RequestTable::First(const OrderPolicy::Context& context,
                             std::span<const RequestId> skipped,
                             bool admitted_only) {
  Request* first = nullptr;
  const auto consider = [&](Request& request) {
    if (request.in_step != 0 || Skipped(request, skipped)) return false;
    // Its tenant may have been served since the view was made.
    Show(request, request.view.claim, request.view.held);
    if (first == nullptr ||
        order_->Before(request.view, first->view, context)) {
      first = &request;
    }
    return true;
  };
  for (Request* request : prefilling_) consider(*request);
  if (admitted_only) return first;
  const bool one_is_enough =
      order_->StableWhileWaiting() ||
      (order_->ArrivalDecidesAmongFresh() && waiting_not_fresh_ == 0);
  for (Request& request : waiting_) {
    if (consider(request) && one_is_enough) break;
  }
  return first;
}

std::vector<Request*> RequestTable::Unfinished() {
  std::vector<Request*> unfinished;
  for (const auto& [id, request] : by_id_) {
    if (request->state != RequestState::kDecoding) {
      unfinished.push_back(request.get());
    }
  }
  std::sort(unfinished.begin(), unfinished.end(), LowerId);
  return unfinished;
}

void RequestTable::Show(Request& request, Bytes claim, Bytes held) {
  Tokens tenant_served = request.served;
  if (!request.tenant.empty()) {
    tenant_served = tenants_.at(request.tenant).served;
  }
  request.view = request.View(claim, held, tenant_served);
}

void RequestTable::Wait(Request& request) {
  waiting_.insert(request);
  if (!Fresh(request)) ++waiting_not_fresh_;
}

void RequestTable::StopWaiting(Request& request) {
  waiting_.erase(waiting_.iterator_to(request));
  if (!Fresh(request)) --waiting_not_fresh_;
}

bool RequestTable::Skipped(const Request& request,
                           std::span<const RequestId> skipped) const {
  return std::find(skipped.begin(), skipped.end(), request.id) != skipped.end();
}

}  // namespace tidegate::internal
