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

bool Contains(std::span<const RequestId> ids, RequestId id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

void InsertSorted(std::vector<Request*>& requests, Request* request,
                  bool (*before)(const Request*, const Request*)) {
  requests.insert(
      std::upper_bound(requests.begin(), requests.end(), request, before),
      request);
}

void EraseSorted(std::vector<Request*>& requests, Request* request,
                 bool (*before)(const Request*, const Request*)) {
  const auto it =
      std::lower_bound(requests.begin(), requests.end(), request, before);
  TG_CHECK(it != requests.end() && *it == request);
  requests.erase(it);
}

}  // namespace

bool WaitingBefore::operator()(const Request& a, const Request& b) const {
  return looks_at == OrderPolicy::LooksAt::kContext
             ? ArrivedBefore(&a, &b)
             : order->Before(a.View(), b.View(), {});
}

bool PassedOverBefore::operator()(const Request& a, const Request& b) const {
  return a.served_mark != b.served_mark ? a.served_mark < b.served_mark
                                        : ArrivedBefore(&a, &b);
}

RequestView Request::View() const {
  return {.id = id,
          .request = &request,
          .priority = priority,
          .tenant = tenant->name,
          .done = done,
          .last_chunk = last_chunk,
          .arrived = arrived,
          .admitted = state != RequestState::kWaiting,
          .decoding = state == RequestState::kDecoding,
          .decoded = decoded,
          .claim = bytes != nullptr ? bytes->claim() : 0,
          .held = bytes != nullptr ? bytes->resident() : 0,
          .encoded = encoded,
          .preempted = preempted,
          .served = served,
          .tenant_served = tenant->name.empty() ? served : tenant->served,
          .served_mark = served_mark};
}

RequestTable::RequestTable(const OrderPolicy& order)
    : order_(&order),
      looks_at_(order.Waiting()),
      patience_(order.Patience()),
      nobody_(NewTenant()) {}

RequestTable::~RequestTable() {
  for (auto& [name, tenant] : tenants_) tenant.waiting.clear();
  nobody_.waiting.clear();
  passed_over_.clear();
}

void RequestTable::SetOrder(const OrderPolicy& order) {
  std::vector<Request*> waiting;
  for (const auto& [id, request] : by_id_) {
    if (request->state != RequestState::kWaiting) continue;
    waiting.push_back(request.get());
    StopWaiting(*request);
  }
  order_ = &order;
  looks_at_ = order.Waiting();
  patience_ = order.Patience();
  const WaitingBefore before{order_, looks_at_};
  const auto renew = [&before](Tenant& tenant) {
    WaitingQueue ordered(before);
    tenant.waiting.swap(ordered);
  };
  renew(nobody_);
  for (auto& [name, tenant] : tenants_) renew(tenant);
  for (Request* request : waiting) Wait(*request);
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
  request->tenant = TenantOf(arrive.tenant);
  request->prefix_bytes = arrive.prefix_bytes;
  request->prefix_blocks = arrive.prefix_blocks;
  request->arrived = now;
  request->done = request->request.cached_tokens;
  request->last_chunk = request->request.cached_chunk;
  request->served_mark = served_mark;
  ++request->tenant->requests;
  Request& added = *request;
  const bool inserted = by_id_.emplace(arrive.id, std::move(request)).second;
  TG_CHECK(inserted);
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
  switch (state) {
    case RequestState::kWaiting:
      EraseSorted(admitted_, &request, LowerId);
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
      EraseSorted(prefilling_, &request, ArrivedBefore);
      break;
    case RequestState::kDecoding:
      --decoding_;
      break;
  }
}

void RequestTable::Remove(Request& request) {
  LeaveState(request);
  if (request.state != RequestState::kWaiting) {
    EraseSorted(admitted_, &request, LowerId);
  }
  Tenant& tenant = *request.tenant;
  by_id_.erase(request.id);
  if (--tenant.requests == 0 && &tenant != &nobody_) {
    tenants_.erase(tenants_.find(std::string(tenant.name)));
  }
}

void RequestTable::Serve(Request& request, Tokens tokens) {
  request.served += tokens;
  request.tenant->served += tokens;
}

Request* RequestTable::First(const OrderPolicy::Context& context,
                             std::span<const RequestId> skipped,
                             bool admitted_only) {
  Request* first = nullptr;
  RequestView first_view;
  const auto consider = [&](Request& request) {
    if (request.in_step != 0 || Contains(skipped, request.id)) return false;
    const RequestView view = request.View();
    if (first == nullptr || order_->Before(view, first_view, context)) {
      first = &request;
      first_view = view;
    }
    return true;
  };
  for (Request* request : prefilling_) consider(*request);
  if (admitted_only) return first;
  const bool all = looks_at_ == OrderPolicy::LooksAt::kContext;
  const auto consider_queue = [&](WaitingQueue& queue) {
    for (Request& request : queue) {
      if (consider(request) && !all) break;
    }
  };
  consider_queue(nobody_.waiting);
  if (looks_at_ == OrderPolicy::LooksAt::kTenants) {
    for (auto& [name, tenant] : tenants_) consider_queue(tenant.waiting);
  }
  for (Request& request : passed_over_) {
    if (context.served - request.served_mark <= patience_) break;
    if (consider(request)) break;
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

WaitingQueue& RequestTable::QueueOf(const Request& request) {
  return looks_at_ == OrderPolicy::LooksAt::kTenants ? request.tenant->waiting
                                                     : nobody_.waiting;
}

Tenant* RequestTable::TenantOf(std::string_view name) {
  if (name.empty()) return &nobody_;
  const auto [it, inserted] =
      tenants_.try_emplace(std::string(name), NewTenant());
  if (inserted) it->second.name = it->first;
  return &it->second;
}

void RequestTable::Wait(Request& request) {
  QueueOf(request).insert(request);
  if (patience_ != std::numeric_limits<Tokens>::max()) {
    passed_over_.insert(request);
  }
  ++waiting_;
}

void RequestTable::StopWaiting(Request& request) {
  WaitingQueue& queue = QueueOf(request);
  queue.erase(queue.iterator_to(request));
  if (patience_ != std::numeric_limits<Tokens>::max()) {
    passed_over_.erase(passed_over_.iterator_to(request));
  }
  --waiting_;
}

}  // namespace tidegate::internal
