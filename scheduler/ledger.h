// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Ledger: who holds which bytes of the device.
//
// Each admitted request has resident bytes, which are live, and a claim, bytes
// promised to it that are not live yet. Growth moves bytes from the claim to
// resident, so that live + claims stays what admission counted: each byte is
// charged once. Whatever ends a request releases both. Of resident bytes, those
// that no price knows (`side`) are kept apart from the priced ones (`kv`).
//
// Each running step has what it needs while it runs: its transient, which goes
// when it ends, and its growth, which becomes resident then.
//
// Thread-safety: none.

#ifndef TIDEGATE_SCHEDULER_LEDGER_H_
#define TIDEGATE_SCHEDULER_LEDGER_H_

#include <boost/container/small_vector.hpp>

#include "absl/container/node_hash_map.h"
#include "tidegate/events.h"
#include "tidegate/types.h"

namespace tidegate::internal {

class Ledger {
 public:
  class Account {
   public:
    Bytes claim() const { return claim_; }  // what is left of it
    Bytes resident() const { return resident_; }

   private:
    friend class Ledger;
    Bytes claim_ = 0;
    Bytes resident_ = 0;
    Bytes side_ = 0;
  };

  // Opens an account that holds `resident` bytes and is promised `claim` more.
  // It stays where it is until Release().
  Account& Open(RequestId id, Bytes claim, Bytes resident);

  // Adds live bytes, paid from the claim as far as it goes. `side` of them are
  // beyond every price.
  void Grow(Account& account, Bytes bytes, Bytes side = 0);
  void Grow(RequestId id, Bytes bytes, Bytes side = 0) {
    Grow(Of(id), bytes, side);
  }

  // Frees live bytes of those that were grown as `side`.
  void Shrink(RequestId id, Bytes side);

  // Promises `claim` from now on instead of what is left of the claim.
  void SetClaim(RequestId id, Bytes claim);

  // Closes the account; answers the resident bytes that became free.
  Bytes Release(RequestId id);

  // A step started, or ended.
  void OpenStep(StepId step, Bytes bytes);
  void CloseStep(StepId step);

  // Sums over all accounts, saturated.
  Bytes claimed() const { return Saturated(claimed_); }
  Bytes resident() const { return Saturated(resident_); }
  Bytes side() const { return Saturated(side_); }  // of resident()
  // Over all running steps.
  Bytes in_flight() const { return Saturated(in_flight_); }

  // What is left of one account's claim, and what it holds; 0 without account.
  Bytes ClaimOf(RequestId id) const;
  Bytes ResidentOf(RequestId id) const;

  bool empty() const { return accounts_.empty() && steps_.empty(); }

  // Whether the sums are those of the accounts: O(accounts), for checks.
  bool Conserved() const;

 private:
  struct Step {
    StepId id = 0;
    Bytes bytes = 0;
  };
  Account& Of(RequestId id);

  absl::node_hash_map<RequestId, Account> accounts_;
  // Wide, so that accounts of absurd size still sum to zero when they are gone.
  using Sum = __int128;
  static Bytes Saturated(Sum sum) {
    return sum > kBytesMax ? kBytesMax : static_cast<Bytes>(sum);
  }
  boost::container::small_vector<Step, 2> steps_;
  Sum claimed_ = 0;
  Sum resident_ = 0;
  Sum side_ = 0;
  Sum in_flight_ = 0;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_LEDGER_H_
