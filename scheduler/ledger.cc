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

void Ledger::Grow(RequestId id, Bytes bytes, Bytes side) {
  TG_CHECK(bytes >= 0 && side >= 0 && side <= bytes);
  const auto it = accounts_.find(id);
  TG_CHECK(it != accounts_.end());
  const Bytes paid = std::min(bytes, it->second.claim);
  it->second.claim -= paid;
  claimed_ -= paid;
  const Bytes before = it->second.resident;
  it->second.resident = SatAdd(before, bytes);
  resident_ += it->second.resident - before;
  const Bytes side_before = it->second.side;
  it->second.side = std::min(SatAdd(side_before, side), it->second.resident);
  side_ += it->second.side - side_before;
}

void Ledger::OpenStep(StepId step, Bytes bytes) {
  TG_CHECK(bytes >= 0);
  for (const Step& other : steps_) TG_CHECK(other.id != step);
  steps_.push_back({step, bytes});
  in_flight_ += bytes;
}

void Ledger::CloseStep(StepId step) {
  const auto it =
      std::find_if(steps_.begin(), steps_.end(),
                   [step](const Step& other) { return other.id == step; });
  TG_CHECK(it != steps_.end());
  in_flight_ -= it->bytes;
  steps_.erase(it);
}

void Ledger::Shrink(RequestId id, Bytes side) {
  const auto it = accounts_.find(id);
  TG_CHECK(it != accounts_.end());
  Account& account = it->second;
  TG_CHECK(side >= 0 && side <= account.side && side <= account.resident);
  account.resident -= side;
  account.side -= side;
  resident_ -= side;
  side_ -= side;
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
  side_ -= account.side;
  TG_CHECK(claimed_ >= 0 && resident_ >= 0 && side_ >= 0);
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
  Sum side = 0;
  for (const auto& [id, account] : accounts_) {
    if (account.claim < 0 || account.side < 0 ||
        account.resident < account.side) {
      return false;
    }
    claimed += account.claim;
    resident += account.resident;
    side += account.side;
  }
  Sum in_flight = 0;
  for (const Step& step : steps_) in_flight += step.bytes;
  return claimed == claimed_ && resident == resident_ && side == side_ &&
         in_flight == in_flight_;
}

}  // namespace tidegate::internal
