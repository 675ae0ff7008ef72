// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/ledger.h"

#include <algorithm>

#include "tidegate/status.h"

namespace tidegate::internal {

Ledger::Account& Ledger::Open(RequestId id, Bytes claim, Bytes resident) {
  TG_CHECK(claim >= 0 && resident >= 0);
  const auto [it, inserted] = accounts_.try_emplace(id);
  TG_CHECK(inserted);
  it->second.claim_ = claim;
  it->second.resident_ = resident;
  claimed_ += claim;
  resident_ += resident;
  return it->second;
}

Ledger::Account& Ledger::Of(RequestId id) {
  const auto it = accounts_.find(id);
  TG_CHECK(it != accounts_.end());
  return it->second;
}

void Ledger::Grow(Account& account, Bytes bytes, Bytes side) {
  TG_CHECK(bytes >= 0 && side >= 0 && side <= bytes);
  const Bytes paid = std::min(bytes, account.claim_);
  account.claim_ -= paid;
  claimed_ -= paid;
  const Bytes before = account.resident_;
  account.resident_ = SatAdd(before, bytes);
  resident_ += account.resident_ - before;
  const Bytes side_before = account.side_;
  account.side_ = std::min(SatAdd(side_before, side), account.resident_);
  side_ += account.side_ - side_before;
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
  Account& account = Of(id);
  TG_CHECK(side >= 0 && side <= account.side_ && side <= account.resident_);
  account.resident_ -= side;
  account.side_ -= side;
  resident_ -= side;
  side_ -= side;
}

void Ledger::SetClaim(RequestId id, Bytes claim) {
  TG_CHECK(claim >= 0);
  Account& account = Of(id);
  claimed_ += Sum{claim} - account.claim_;
  account.claim_ = claim;
}

Bytes Ledger::Release(RequestId id) {
  const auto it = accounts_.find(id);
  TG_CHECK(it != accounts_.end());
  const Account account = it->second;
  accounts_.erase(it);
  claimed_ -= account.claim_;
  resident_ -= account.resident_;
  side_ -= account.side_;
  TG_CHECK(claimed_ >= 0 && resident_ >= 0 && side_ >= 0);
  return account.resident_;
}

Bytes Ledger::ClaimOf(RequestId id) const {
  const auto it = accounts_.find(id);
  return it == accounts_.end() ? 0 : it->second.claim_;
}

Bytes Ledger::ResidentOf(RequestId id) const {
  const auto it = accounts_.find(id);
  return it == accounts_.end() ? 0 : it->second.resident_;
}

bool Ledger::Conserved() const {
  Sum claimed = 0;
  Sum resident = 0;
  Sum side = 0;
  for (const auto& [id, account] : accounts_) {
    if (account.claim_ < 0 || account.side_ < 0 ||
        account.resident_ < account.side_) {
      return false;
    }
    claimed += account.claim_;
    resident += account.resident_;
    side += account.side_;
  }
  Sum in_flight = 0;
  for (const Step& step : steps_) in_flight += step.bytes;
  return claimed == claimed_ && resident == resident_ && side == side_ &&
         in_flight == in_flight_;
}

}  // namespace tidegate::internal
