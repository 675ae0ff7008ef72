// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/request_table.h"

#include <memory>
#include <vector>

#include "tests/testing/matchers.h"

namespace tidegate::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Request& Add(RequestTable* table, RequestId id, int second) {
  return table->Add(
      {.id = id, .request = {.prompt_tokens = 100, .cached_tokens = 7}},
      Instant(std::chrono::seconds(second)), 0);
}

// Requests whose prompt is not computed, in the order in which they are served.
std::vector<RequestId> Queue(RequestTable& table) {
  std::vector<RequestId> ids;
  while (Request* next = table.First({}, ids, false)) ids.push_back(next->id);
  return ids;
}

class RequestTableTest : public ::testing::Test {
 protected:
  std::unique_ptr<OrderPolicy> order = *CreateOrderPolicy("fcfs");
  RequestTable table{*order};
};
using RequestTableDeathTest = RequestTableTest;

TEST_F(RequestTableTest, TheQueueIsInOrderOfArrivalThenId) {
  Add(&table, 9, 1);
  Add(&table, 5, 2);
  Add(&table, 3, 2);
  EXPECT_THAT(Queue(table), ElementsAre(9, 3, 5));
}

TEST_F(RequestTableTest, ARequestStartsBehindItsCachedPrefix) {
  const Request& request = Add(&table, 1, 0);
  EXPECT_EQ(request.done, 7);
  EXPECT_EQ(request.View().done, 7);
  EXPECT_FALSE(request.View().admitted);
}

TEST_F(RequestTableTest, CountsFollowTheStates) {
  Request& a = Add(&table, 1, 0);
  Add(&table, 2, 1);
  EXPECT_EQ(table.waiting(), 2);
  table.Move(a, RequestState::kPrefill);
  EXPECT_EQ(table.waiting(), 1);
  EXPECT_EQ(table.prefilling().size(), 1u);
  table.Move(a, RequestState::kDecoding);
  EXPECT_EQ(table.prefilling().size(), 0u);
  EXPECT_EQ(table.decoding(), 1);
  EXPECT_THAT(Queue(table), ElementsAre(2));
}

TEST_F(RequestTableTest, APreemptedRequestReturnsToItsOldPlace) {
  Request& a = Add(&table, 1, 0);
  Add(&table, 2, 1);
  table.Move(a, RequestState::kPrefill);
  table.Move(a, RequestState::kDecoding);
  table.Move(a, RequestState::kWaiting);
  EXPECT_THAT(Queue(table), ElementsAre(1, 2));
  EXPECT_EQ(table.waiting(), 2);
  EXPECT_EQ(table.decoding(), 0);
}

TEST_F(RequestTableTest, AViewShowsAChange) {
  Request& request = Add(&table, 1, 0);
  Ledger ledger;
  request.bytes = &ledger.Open(1, 33, 44);
  table.Update(request, [](Request& r) { r.done = 64; });
  EXPECT_EQ(request.View().done, 64);
  EXPECT_EQ(request.View().claim, 33);
  EXPECT_EQ(request.View().held, 44);
}

TEST_F(RequestTableTest, AChangeMovesARequestToItsPlace) {
  order = *CreateOrderPolicy("priority");
  RequestTable by_priority(*order);
  Add(&by_priority, 1, 0);
  Request& second = Add(&by_priority, 2, 1);
  EXPECT_THAT(Queue(by_priority), ElementsAre(1, 2));
  by_priority.Update(second, [](Request& r) { r.priority = 5; });
  EXPECT_THAT(Queue(by_priority), ElementsAre(2, 1));
}

TEST_F(RequestTableTest, RemovingFromEveryStateLeavesNothing) {
  Request& waiting = Add(&table, 1, 0);
  Request& prefill = Add(&table, 2, 0);
  Request& decoding = Add(&table, 3, 0);
  table.Move(prefill, RequestState::kPrefill);
  table.Move(decoding, RequestState::kPrefill);
  table.Move(decoding, RequestState::kDecoding);
  table.Remove(waiting);
  table.Remove(prefill);
  table.Remove(decoding);
  EXPECT_TRUE(table.empty());
  EXPECT_THAT(Queue(table), IsEmpty());
  EXPECT_EQ(table.waiting() + table.decoding(), 0);
  EXPECT_THAT(table.prefilling(), IsEmpty());
  EXPECT_THAT(table.admitted(), IsEmpty());
  EXPECT_EQ(table.Find(1), nullptr);
}

TEST_F(RequestTableTest, AdmittedRequestsAreListedById) {
  for (const RequestId id : {30, 10, 20, 40}) {
    table.Move(Add(&table, id, static_cast<int>(50 - id)),
               RequestState::kPrefill);
  }
  Add(&table, 5, 60);
  std::vector<RequestId> ids;
  for (const Request* request : table.admitted()) ids.push_back(request->id);
  EXPECT_THAT(ids, ElementsAre(10, 20, 30, 40));
}

TEST_F(RequestTableDeathTest, AWaitingRequestCannotDecode) {
  Request& request = Add(&table, 1, 0);
  EXPECT_DEATH(table.Move(request, RequestState::kDecoding),
               "invariant broken");
}

TEST_F(RequestTableDeathTest, ARequestIsAddedOnce) {
  Add(&table, 1, 0);
  EXPECT_DEATH(Add(&table, 1, 5), "invariant broken");
}

}  // namespace
}  // namespace tidegate::internal
