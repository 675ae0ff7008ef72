// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/ledger.h"

#include <algorithm>

#include "tidegate/status.h"

namespace tidegate::internal {

void Ledger::Open(RequestId id, Bytes claim, Bytes resident) {
  TG_CHECK(claim >= 0 && resident >= 0);
  const bool inserted = accounts_.emplace(id, Account{claim, resident}).second;
  TG_CHECK(inserted);
  claimed_ += claim;
  resident_ += resident;
}

void Ledger::Grow(RequestId id, Bytes bytes) {
  TG_CHECK(bytes >= 0);
  const auto it = accounts_.find(id);
  TG_CHECK(it != accounts_.end());
  const Bytes paid = std::min(bytes, it->second.claim);
  it->second.claim -= paid;
  claimed_ -= paid;
  const Bytes before = it->second.resident;
  it->second.resident = SatAdd(before, bytes);
  resident_ += it->second.resident - before;
}

void Ledger::SetClaim(RequestId id, Bytes claim) {
  TG_CHECK(claim >= 0);
  const auto it = accounts_.find(id);
  TG_CHECK(it != accounts_.end());
  claimed_ += Sum{claim} - it->second.claim;
  it->second.claim = claim;
}

Bytes Ledger::Release(RequestId id) {
  const auto it = accounts_.find(id);
  TG_CHECK(it != accounts_.end());
  const Account account = it->second;
  accounts_.erase(it);
  claimed_ -= account.claim;
  resident_ -= account.resident;
  TG_CHECK(claimed_ >= 0 && resident_ >= 0);
  return account.resident;
}

Bytes Ledger::ClaimOf(RequestId id) const {
  const auto it = accounts_.find(id);
  return it == accounts_.end() ? 0 : it->second.claim;
}

Bytes Ledger::ResidentOf(RequestId id) const {
  const auto it = accounts_.find(id);
  return it == accounts_.end() ? 0 : it->second.resident;
}

bool Ledger::Conserved() const {
  Sum claimed = 0;
  Sum resident = 0;
  for (const auto& [id, account] : accounts_) {
    if (account.claim < 0 || account.resident < 0) return false;
    claimed += account.claim;
    resident += account.resident;
  }
  return claimed == claimed_ && resident == resident_;
}

}  // namespace tidegate::internal
