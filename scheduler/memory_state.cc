// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/memory_state.h"

#include <algorithm>
#include <utility>

#include "tidegate/status.h"

namespace tidegate::internal {

namespace {

// Reclaims of a kind that may free nothing before its size has to change.
constexpr int kFruitlessMax = 3;

using Wide = __int128;

// More than any device has: a reading beyond it says no more, and what is short
// of it or above the line can still be computed.
constexpr Bytes kLiveMax = Bytes{1} << 61;

// Longest lag of a release that is waited for where no reading comes.
constexpr Duration kConfirmation = std::chrono::seconds(1);

}  // namespace

MemoryState::MemoryState(const MemoryLimits& limits,
                         std::span<const RankLimits> ranks,
                         std::vector<std::string> ladder)
    : limits_(limits), elsewhere_(limits.base) {
  for (std::string& kind : ladder) {
    kinds_.push_back({.name = std::move(kind), .distrusted = {}});
  }
  for (const RankLimits& rank : ranks) {
    ranks_.push_back({.ceiling = rank.ceiling, .elsewhere = rank.base});
  }
  Settle();
  NoteRoom(Instant{}, /*idle=*/true);
}

// Requests hold the same on every rank, so the least room is where a ceiling
// exceeds everything else by least.
void MemoryState::Settle() {
  if (ranks_.empty()) return;
  const auto least = std::min_element(
      ranks_.begin(), ranks_.end(), [](const Rank& a, const Rank& b) {
        return Wide{a.ceiling} - a.elsewhere < Wide{b.ceiling} - b.elsewhere;
      });
  limits_.ceiling = least->ceiling;
  elsewhere_ = least->elsewhere;
  least_rank_ = static_cast<std::size_t>(least - ranks_.begin());
}

void MemoryState::SetCeiling(Bytes ceiling, std::optional<std::size_t> rank) {
  limits_.ceiling = ceiling;
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    if (!rank.has_value() || *rank == i) ranks_[i].ceiling = ceiling;
  }
  Settle();
}

void MemoryState::Change(const MemoryLimits& limits,
                         std::span<const RankLimits> ranks,
                         const std::vector<std::string>& ladder) {
  TG_CHECK(ranks.size() == ranks_.size());
  limits_ = limits;
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    ranks_[i].ceiling = ranks[i].ceiling;
  }
  Settle();
  std::vector<Kind> kinds;
  for (const std::string& name : ladder) {
    const Kind* known = Find(name);
    kinds.push_back(known != nullptr ? *known
                                     : Kind{.name = name, .distrusted = {}});
  }
  // What is being reclaimed now is answered for, whatever the ladder says.
  for (Kind& kind : kinds_) {
    const bool pending =
        std::any_of(pending_.begin(), pending_.end(),
                    [&](const Pending& p) { return p.kind == kind.name; });
    const bool kept =
        std::any_of(kinds.begin(), kinds.end(),
                    [&](const Kind& k) { return k.name == kind.name; });
    if (!pending || kept) continue;
    kind.bytes = 0;
    kinds.push_back(std::move(kind));
  }
  kinds_ = std::move(kinds);
}

// A reading below what the ledger holds leaves less than nothing elsewhere:
// prices were too high, and the sum is right all the same.
Bytes MemoryState::Live(Bytes resident) const {
  const Bytes held = SatAdd(resident, unconfirmed_);
  return std::clamp<Bytes>(
      elsewhere_ < 0 ? elsewhere_ + held : SatAdd(elsewhere_, held), 0,
      kLiveMax);
}

void MemoryState::Read(std::span<const Bytes> live, Bytes resident) {
  TG_CHECK(!live.empty());
  const Bytes then = HeldThen(resident);
  if (ranks_.empty()) {
    elsewhere_ = *std::max_element(live.begin(), live.end()) - then;
  } else {
    TG_CHECK(live.size() == ranks_.size());
    for (std::size_t i = 0; i < ranks_.size(); ++i) {
      ranks_[i].elsewhere = live[i] - then;
    }
    Settle();
  }
  unconfirmed_ = 0;
}

void MemoryState::NoteResident(Instant now, Bytes resident) {
  if (lag_ <= Duration::zero()) {
    held_.clear();
    return;
  }
  while (!held_.empty() && now - held_.front().until > lag_) {
    held_.erase(held_.begin());
  }
  if (!held_.empty()) held_.back().until = now;
  if (held_.empty() || held_.back().resident != resident) {
    held_.push_back({now, resident});
  }
}

Bytes MemoryState::HeldThen(Bytes resident) const {
  Bytes least = resident;
  for (const Held& held : held_) least = std::min(least, held.resident);
  return least;
}

void MemoryState::Reclaimed(Bytes bytes, Bytes resident) {
  std::vector<Bytes> live;
  for (const Rank& rank : ranks_) {
    live.push_back(std::max<Bytes>(0, rank.elsewhere + resident - bytes));
  }
  if (live.empty()) live.push_back(std::max<Bytes>(0, Live(resident) - bytes));
  Read(live, resident);
}

void MemoryState::Free(Bytes bytes, Instant now) {
  if (bytes == 0) return;
  unconfirmed_ = SatAdd(unconfirmed_, bytes);
  freed_at_ = now;
}

MemoryLimits MemoryState::Limits(Bytes resident) const {
  MemoryLimits limits = limits_;
  limits.base = Live(resident);
  return limits;
}

void MemoryState::SetReclaimable(std::string_view kind, Bytes bytes) {
  Kind* found = Find(kind);
  if (found == nullptr) return;  // Not on the ladder: never asked for.
  if (found->distrusted != bytes || found->fruitless < kFruitlessMax) {
    found->distrusted.reset();
  }
  found->bytes = bytes;
}

Bytes MemoryState::Reclaimable() const {
  Bytes sum = 0;
  for (const Kind& kind : kinds_) sum = SatAdd(sum, kind.Believed());
  return sum;
}

Bytes MemoryState::Reclaimable(std::string_view name) const {
  for (const Kind& kind : kinds_) {
    if (kind.name == name) return kind.Believed();
  }
  return 0;
}

Bytes MemoryState::IdleRoom() const {
  const Wide used =
      std::max<Wide>(0, Wide{elsewhere_} - Reclaimable() - releasing());
  return static_cast<Bytes>(
      std::max<Wide>(Wide{line()} - used, -Wide{kBytesMax}));
}

// Keeps the rooms that are better than every later one: the first of them is
// the best of the window.
void MemoryState::NoteRoom(Instant now, bool idle) {
  if (idle) {
    room_when_idle_ = IdleRoom();
    used_when_idle_ = line() - room_when_idle_;
  }
  // Requests that hold less than they were charged make everything else look
  // smaller than it is.
  const Bytes room = std::min(IdleRoom(), line() - used_when_idle_);
  while (!rooms_.empty() && rooms_.back().bytes <= room) rooms_.pop_back();
  rooms_.push_back({now, room});
  const auto stale = std::find_if(
      rooms_.begin(), rooms_.end() - 1,
      [&](const Room& r) { return now - r.at < kShortagePatience; });
  rooms_.erase(rooms_.begin(), stale);
}

Bytes MemoryState::BestIdleRoom() const {
  return rooms_.empty() ? IdleRoom()
                        : std::max(IdleRoom(), rooms_.front().bytes);
}

const std::string* MemoryState::NextRung() const {
  for (const Kind& kind : kinds_) {
    if (kind.Believed() == 0) continue;
    const bool asked =
        std::any_of(pending_.begin(), pending_.end(),
                    [&](const Pending& p) { return p.kind == kind.name; });
    if (!asked) return &kind.name;
  }
  return nullptr;
}

Reclaim MemoryState::Ask(std::string_view kind, Bytes bytes, Instant now) {
  TG_CHECK(bytes > 0);
  pending_.push_back({++last_reclaim_, std::string(kind), bytes, now});
  return {.reclaim = last_reclaim_, .kind = std::string(kind), .bytes = bytes};
}

bool MemoryState::Done(const ReclaimDone& done) {
  const auto it =
      std::find_if(pending_.begin(), pending_.end(),
                   [&](const Pending& p) { return p.id == done.reclaim; });
  if (it == pending_.end()) return false;
  Kind* kind = Find(it->kind);
  TG_CHECK(kind != nullptr);
  if (done.freed_bytes == 0) {
    kind->distrusted = kind->bytes;
    ++kind->fruitless;
  } else {
    kind->fruitless = 0;
  }
  pending_.erase(it);
  return true;
}

// When freed bytes are believed without a reading.
Instant MemoryState::Believed() const {
  return freed_at_ + (expects_readings_ ? kShortagePatience : kConfirmation);
}

void MemoryState::Expire(Instant now) {
  if (Believed() <= now) unconfirmed_ = 0;
  if (releasing_ > 0 && releasing_since_ + kShortagePatience <= now) {
    releasing_overdue_ = true;
  }
  for (std::size_t i = 0; i < pending_.size();) {
    if (pending_[i].asked + kShortagePatience <= now) {
      Done({.reclaim = pending_[i].id, .freed_bytes = 0});
    } else {
      ++i;
    }
  }
}

std::optional<Instant> MemoryState::NextExpiry() const {
  std::optional<Instant> next;
  if (unconfirmed_ > 0) next = Believed();
  if (releasing() > 0) {
    const Instant until = releasing_since_ + kShortagePatience;
    if (!next.has_value() || until < *next) next = until;
  }
  for (const Pending& pending : pending_) {
    const Instant until = pending.asked + kShortagePatience;
    if (!next.has_value() || until < *next) next = until;
  }
  return next;
}

void MemoryState::ReleasePending(Bytes bytes, Instant now) {
  releasing_ = SatAdd(releasing_, bytes);
  releasing_since_ = now;
  releasing_overdue_ = false;
}

bool MemoryState::Released(Bytes bytes) {
  if (bytes > releasing_) return false;
  releasing_ -= bytes;
  return true;
}

MemoryState::Kind* MemoryState::Find(std::string_view name) {
  const auto it = std::find_if(kinds_.begin(), kinds_.end(),
                               [&](const Kind& k) { return k.name == name; });
  return it == kinds_.end() ? nullptr : &*it;
}

}  // namespace tidegate::internal
