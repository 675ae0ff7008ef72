// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/request_table.h"

#include <algorithm>
#include <memory>
#include <tuple>
#include <utility>

#include "tidegate/status.h"

namespace tidegate::internal {

Request* RequestTable::Find(RequestId id) {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : it->second.get();
}
const Request* RequestTable::Find(RequestId id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : it->second.get();
}

Request& RequestTable::Add(const Arrive& arrive, Instant now,
                           Tokens served_mark) {
  auto request = std::make_unique<Request>();
  request->id = arrive.id;
  request->request = arrive.request;
  request->priority = arrive.priority;
  request->tenant = arrive.tenant;
  request->prefix_bytes = arrive.prefix_bytes;
  request->arrived = now;
  request->done = request->request.cached_tokens;
  request->last_chunk = request->request.cached_chunk;
  request->served_mark = served_mark;
  Request& added = *request;
  const bool inserted = by_id_.emplace(arrive.id, std::move(request)).second;
  TG_CHECK(inserted);
  Insert(added);
  ++waiting_;
  return added;
}

void RequestTable::Move(Request& request, RequestState state) {
  switch (state) {
    case RequestState::kWaiting:
      TG_CHECK(request.state != RequestState::kWaiting);
      if (request.state == RequestState::kDecoding) {
        --decoding_;
        Insert(request);
      }
      ++waiting_;
      break;
    case RequestState::kPrefill:
      TG_CHECK(request.state == RequestState::kWaiting);
      --waiting_;
      break;
    case RequestState::kDecoding:
      TG_CHECK(request.state == RequestState::kPrefill);
      queue_.erase(FindView(request));
      ++decoding_;
      break;
  }
  request.state = state;
}

void RequestTable::Remove(Request& request) {
  if (request.state == RequestState::kDecoding) {
    --decoding_;
  } else {
    queue_.erase(FindView(request));
    if (request.state == RequestState::kWaiting) --waiting_;
  }
  by_id_.erase(request.id);
}

void RequestTable::Refresh(const Request& request, Bytes claim) {
  *FindView(request) = request.View(claim);
}

std::vector<const Request*> RequestTable::Admitted() const {
  std::vector<const Request*> admitted;
  for (const auto& [id, request] : by_id_) {
    if (request->state != RequestState::kWaiting) {
      admitted.push_back(request.get());
    }
  }
  std::sort(admitted.begin(), admitted.end(),
            [](const Request* a, const Request* b) { return a->id < b->id; });
  return admitted;
}

// At the end and then into its place, which is the end for all but few: Boost
// 1.74 stops on an assertion when it inserts before the only element of a
// devector that has no room in front.
void RequestTable::Insert(const Request& request) {
  const auto place = PlaceOf(request) - queue_.begin();
  queue_.push_back(request.View(0));
  std::rotate(queue_.begin() + place, queue_.end() - 1, queue_.end());
}

// The queue is sorted by arrival, then id.
RequestTable::Queue::iterator RequestTable::PlaceOf(const Request& request) {
  return std::lower_bound(queue_.begin(), queue_.end(), request,
                          [](const RequestView& view, const Request& r) {
                            return std::tie(view.arrived, view.id) <
                                   std::tie(r.arrived, r.id);
                          });
}

RequestTable::Queue::iterator RequestTable::FindView(const Request& request) {
  const auto it = PlaceOf(request);
  TG_CHECK(it != queue_.end() && it->id == request.id);
  return it;
}

}  // namespace tidegate::internal
