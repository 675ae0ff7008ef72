// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/request_table.h"

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

std::vector<RequestId> Queue(const RequestTable& table) {
  std::vector<RequestId> ids;
  for (const RequestView& view : table.queue()) ids.push_back(view.id);
  return ids;
}

TEST(RequestTableTest, TheQueueIsInOrderOfArrivalThenId) {
  RequestTable table;
  Add(&table, 9, 1);
  Add(&table, 5, 2);
  Add(&table, 3, 2);
  EXPECT_THAT(Queue(table), ElementsAre(9, 3, 5));
}

TEST(RequestTableTest, ARequestStartsBehindItsCachedPrefix) {
  RequestTable table;
  const Request& request = Add(&table, 1, 0);
  EXPECT_EQ(request.done, 7);
  EXPECT_EQ(table.queue()[0].done, 7);
  EXPECT_FALSE(table.queue()[0].admitted);
}

TEST(RequestTableTest, CountsFollowTheStates) {
  RequestTable table;
  Request& a = Add(&table, 1, 0);
  Add(&table, 2, 1);
  EXPECT_EQ(table.waiting(), 2);
  table.Move(a, RequestState::kPrefill);
  EXPECT_EQ(table.waiting(), 1);
  EXPECT_EQ(table.prefilling(), 1);
  table.Move(a, RequestState::kDecoding);
  EXPECT_EQ(table.prefilling(), 0);
  EXPECT_EQ(table.decoding(), 1);
  EXPECT_THAT(Queue(table), ElementsAre(2));
}

TEST(RequestTableTest, APreemptedRequestReturnsToItsOldPlace) {
  RequestTable table;
  Request& a = Add(&table, 1, 0);
  Add(&table, 2, 1);
  table.Move(a, RequestState::kPrefill);
  table.Move(a, RequestState::kDecoding);
  table.Move(a, RequestState::kWaiting);
  EXPECT_THAT(Queue(table), ElementsAre(1, 2));
  EXPECT_EQ(table.waiting(), 2);
  EXPECT_EQ(table.decoding(), 0);
}

TEST(RequestTableTest, AViewShowsAChangeOnceItIsRefreshed) {
  RequestTable table;
  Request& request = Add(&table, 1, 0);
  request.done = 64;
  EXPECT_EQ(table.queue()[0].done, 7);
  table.Refresh(request, 33);
  EXPECT_EQ(table.queue()[0].done, 64);
  EXPECT_EQ(table.queue()[0].claim, 33);
}

TEST(RequestTableTest, RemovingFromEveryStateLeavesNothing) {
  RequestTable table;
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
  EXPECT_EQ(table.waiting() + table.prefilling() + table.decoding(), 0);
  EXPECT_EQ(table.Find(1), nullptr);
}

TEST(RequestTableTest, AdmittedRequestsAreListedById) {
  RequestTable table;
  for (const RequestId id : {30, 10, 20, 40}) {
    table.Move(Add(&table, id, static_cast<int>(50 - id)),
               RequestState::kPrefill);
  }
  Add(&table, 5, 60);
  std::vector<RequestId> ids;
  for (const Request* request : table.Admitted()) ids.push_back(request->id);
  EXPECT_THAT(ids, ElementsAre(10, 20, 30, 40));
}

TEST(RequestTableDeathTest, AWaitingRequestCannotDecode) {
  RequestTable table;
  Request& request = Add(&table, 1, 0);
  EXPECT_DEATH(table.Move(request, RequestState::kDecoding),
               "invariant broken");
}

TEST(RequestTableDeathTest, ARequestIsAddedOnce) {
  RequestTable table;
  Add(&table, 1, 0);
  EXPECT_DEATH(Add(&table, 1, 5), "invariant broken");
}

}  // namespace
}  // namespace tidegate::internal
