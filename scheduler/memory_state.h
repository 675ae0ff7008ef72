// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// One reading of memory for every decider.
//
// Live memory is what the ledger says requests hold, plus everything else: the
// weights, caches, pools, other programs. Everything else is known from
// readings, which also correct the ledger's beliefs; between two readings it
// stays, and the ledger moves.
//
// Memory that a request held is not free because the ledger says so: engines
// return it late (a public case: 5.5 GiB, a quarter of a second), and other
// requests may share it. So what was released counts as live until the next
// reading. Where none comes, it is believed after a second; of an engine that
// sends readings of their own, only after the longest patience.
//
// Of that, kinds named by the engine can be reclaimed. A kind is believed until
// a reclaim of it frees nothing; then it counts for nothing until the engine
// speaks of it again.
//
// Thread-safety: none.

#ifndef TIDEGATE_SCHEDULER_MEMORY_STATE_H_
#define TIDEGATE_SCHEDULER_MEMORY_STATE_H_

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tidegate/actions.h"
#include "tidegate/events.h"
#include "tidegate/plan.h"
#include "tidegate/scheduler.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// How long a shortage that nobody here caused may last before requests are
// given up for it: another program's burst, a ceiling that dips.
inline constexpr Duration kShortagePatience = std::chrono::seconds(30);

class MemoryState {
 public:
  // `limits.base` is live memory before any request. `ladder` lists kinds in
  // the order in which they are reclaimed; kinds that it lacks never are.
  // Several `ranks` replace the ceiling and the base of `limits`: the one with
  // the least room is the device that all the rest speaks of.
  MemoryState(const MemoryLimits& limits, std::span<const RankLimits> ranks,
              std::vector<std::string> ladder);

  // Live bytes, while requests hold `resident`.
  Bytes Live(Bytes resident) const;
  // One entry for each rank; without named ranks any number, of devices alike.
  void Read(std::span<const Bytes> live, Bytes resident);
  // Readings may be as old as this: of what requests held since, the least
  // counts, so that growth which they do not show yet is not taken for room.
  void SetLag(Duration lag) { lag_ = lag; }
  // What requests hold from now on. Call after every change where there is lag.
  void NoteResident(Instant now, Bytes resident);
  std::size_t ranks() const { return ranks_.size(); }
  std::size_t least_rank() const { return least_rank_; }
  // A reclaim freed so much, where no reading will show it.
  void Reclaimed(Bytes bytes, Bytes resident);
  // The engine sends readings besides those that end a step.
  void ExpectReadings() { expects_readings_ = true; }

  // A request that held so much ended or was preempted.
  void Free(Bytes bytes, Instant now);
  // Freed bytes that no reading has confirmed.
  Bytes unconfirmed() const { return unconfirmed_; }

  // `base` is Live().
  MemoryLimits Limits(Bytes resident) const;
  // Of one rank, or of all.
  void SetCeiling(Bytes ceiling, std::optional<std::size_t> rank);
  // Other limits and another ladder; what is live and what can be reclaimed
  // stays known. There must be as many ranks as before.
  void Change(const MemoryLimits& limits, std::span<const RankLimits> ranks,
              const std::vector<std::string>& ladder);
  Bytes line() const { return limits_.ceiling - limits_.headroom; }

  void SetReclaimable(std::string_view kind, Bytes bytes);
  // What a full reclaim would free.
  Bytes Reclaimable() const;
  // Of one kind.
  Bytes Reclaimable(std::string_view kind) const;

  // Room of an idle, fully reclaimed device: now, and the best of the last
  // while, which a dip of the ceiling or another program's burst does not
  // change. Call NoteRoom() after every change, and say whether nothing is
  // admitted and every release is confirmed.
  Bytes IdleRoom() const;
  void NoteRoom(Instant now, bool idle);
  Bytes BestIdleRoom() const;
  // The same as it was when last nothing was admitted: while requests run, what
  // they share or what the engine does for them may look like somebody else's.
  Bytes RoomWhenIdle() const { return room_when_idle_; }

  // The first rung of the ladder that holds something and that nothing is being
  // freed of; null when none does.
  const std::string* NextRung() const;
  bool reclaiming() const { return !pending_.empty(); }
  // Notes a reclaim as asked for.
  Reclaim Ask(std::string_view kind, Bytes bytes, Instant now);
  // Forgets reclaims that were never answered, as if they had freed nothing,
  // and believes releases that no reading contradicted.
  void Expire(Instant now);
  // When the next of these is due.
  std::optional<Instant> NextExpiry() const;
  // False when no such reclaim is under way.
  bool Done(const ReclaimDone& done);

  // Bytes that count as live and are on their way out; none of them when the
  // engine has let the longest patience pass since it spoke of them.
  Bytes releasing() const { return releasing_overdue_ ? 0 : releasing_; }
  void ReleasePending(Bytes bytes, Instant now);
  // False when fewer were announced.
  bool Released(Bytes bytes);

 private:
  struct Kind {
    std::string name;
    Bytes bytes = 0;
    // Set after a reclaim that freed nothing: not believed until the engine
    // speaks of the kind again, and in the end only when it says another
    // number.
    std::optional<Bytes> distrusted;
    int fruitless = 0;  // reclaims in a row that freed nothing
    Bytes Believed() const { return distrusted == bytes ? Bytes{0} : bytes; }
  };
  struct Pending {
    ReclaimId id = 0;
    std::string kind;
    Bytes bytes = 0;
    Instant asked{};
  };
  Instant Believed() const;
  Kind* Find(std::string_view kind);

  // Makes the rank with the least room the device.
  void Settle();

  MemoryLimits limits_;
  Bytes elsewhere_ = 0;  // live bytes that no request holds; may be < 0
  struct Rank {
    Bytes ceiling = 0;
    Bytes elsewhere = 0;
  };
  std::vector<Rank> ranks_;  // empty: one device
  std::size_t least_rank_ = 0;
  std::vector<Kind> kinds_;  // in the order of the ladder
  struct Room {
    Instant at{};  // when it ended
    Bytes bytes = 0;
  };
  std::vector<Room> rooms_;  // best of the last while first, then ever newer
  struct Held {
    Instant until{};  // when it changed
    Bytes resident = 0;
  };
  // What requests may have held when the last reading was taken, at the least.
  Bytes HeldThen(Bytes resident) const;
  Duration lag_{};
  std::vector<Held> held_;  // oldest first; the last is what they hold now
  std::vector<Pending> pending_;
  ReclaimId last_reclaim_ = 0;
  Bytes releasing_ = 0;
  Instant releasing_since_{};
  bool releasing_overdue_ = false;
  Bytes unconfirmed_ = 0;
  Instant freed_at_{};
  bool expects_readings_ = false;
  Bytes room_when_idle_ = 0;
  Bytes used_when_idle_ = 0;  // by others, beyond reclaim
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_MEMORY_STATE_H_
