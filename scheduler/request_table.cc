// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/request_table.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "tidegate/status.h"

namespace tidegate::internal {

Request* RequestTable::Find(RequestId id) {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : it->second.get();
}

Request& RequestTable::Add(const Arrive& arrive, Instant now) {
  auto request = std::make_unique<Request>();
  request->id = arrive.id;
  request->request = arrive.request;
  request->priority = arrive.priority;
  request->tenant = arrive.tenant;
  request->prefix_bytes = arrive.prefix_bytes;
  request->arrived = now;
  request->done = request->request.cached_tokens;
  Request& added = *request;
  const bool inserted = by_id_.emplace(arrive.id, std::move(request)).second;
  TG_CHECK(inserted);
  waiting_.push_back(added.View());
  return added;
}

void RequestTable::Move(Request& request, RequestState state) {
  switch (state) {
    case RequestState::kWaiting:
      TG_CHECK(false);
      break;
    case RequestState::kPrefill:
      TG_CHECK(request.state == RequestState::kWaiting);
      RemoveWaiting(request.id);
      break;
    case RequestState::kDecoding:
      TG_CHECK(request.state == RequestState::kPrefill);
      ++decoding_;
      break;
  }
  request.state = state;
}

void RequestTable::Remove(Request& request) {
  if (request.state == RequestState::kWaiting) RemoveWaiting(request.id);
  if (request.state == RequestState::kDecoding) --decoding_;
  by_id_.erase(request.id);
}

void RequestTable::Refresh(const Request& request) {
  RequestView* view = FindWaiting(request.id);
  TG_CHECK(view != nullptr);
  *view = request.View();
}

RequestView* RequestTable::FindWaiting(RequestId id) {
  const auto it =
      std::find_if(waiting_.begin(), waiting_.end(),
                   [id](const RequestView& view) { return view.id == id; });
  return it == waiting_.end() ? nullptr : &*it;
}

void RequestTable::RemoveWaiting(RequestId id) {
  RequestView* view = FindWaiting(id);
  TG_CHECK(view != nullptr);
  waiting_.erase(waiting_.begin() + (view - waiting_.data()));
}

}  // namespace tidegate::internal
