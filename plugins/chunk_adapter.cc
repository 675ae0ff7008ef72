// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The throttle says what fits; the plug-in says how much of it to take. So no
// chunk of a plug-in is beyond the room, off a boundary, or leaves a remainder
// that no longer fits, and what is refused as too large is what the throttle
// would refuse.

#include <algorithm>
#include <string>
#include <utility>

#include "estimators/text.h"
#include "plugins/adapters.h"
#include "plugins/request_view.h"
#include "policies/chunk_space.h"

namespace tidegate::internal {
namespace {

// What the functions of a question refer to.
struct Host {
  const ChunkSpace& space;
  const ChunkPolicy::Question& question;
  Tokens most;
};

std::int64_t NeedBytes(const void* host, std::int64_t n) {
  const auto& [space, question, most] = *static_cast<const Host*>(host);
  if (n < 1 || n > most) return TIDEGATE_BYTES_MAX;
  const ChunkNeed need = space.Need(space.first(), space.first() + n);
  return std::min(TIDEGATE_BYTES_MAX,
                  SatAdd(need.price.transient_bytes, need.resident));
}

std::int64_t TakesNs(const void* host, std::int64_t n) {
  const auto& [space, question, most] = *static_cast<const Host*>(host);
  if (question.time == nullptr || n < 1 || n > most) return TIDEGATE_UNSET;
  return question.time->Of(n, space.first()).count();
}

class ChunkAdapter final : public ChunkPolicy {
 public:
  ChunkAdapter(std::shared_ptr<ChunkInstance> instance,
               std::shared_ptr<const ChunkPolicy> fallback)
      : instance_(std::move(instance)),
        fallback_(std::move(fallback)),
        name_(Concat("plugin:", instance_->meter().identity().name, "@",
                     instance_->meter().identity().version)) {}

  std::string_view Name() const override { return name_; }

  ChunkLimits Reachable(const ChunkLimits& limits) const override {
    return fallback_->Reachable(limits);
  }

  Choice Next(const Question& question) const override {
    const Choice widest = fallback_->Next(question);
    PluginMeter& meter = instance_->meter();
    if (widest.n == 0 || meter.replaced()) return widest;

    const PlanRequest request = RemainderOf(question.request);
    MemoryLimits memory = question.memory.limits;
    memory.base = SatAdd(memory.base, question.memory.claimed);
    ChunkLimits limits = question.limits;
    if (question.widest > 0) limits.max = std::min(limits.max, question.widest);
    const ChunkSpace space(
        question.step != nullptr ? *question.step : question.estimator, request,
        memory, limits);
    const Tokens left = space.prompt() - space.first();
    const Tokens most = std::min(left, limits.max);
    const Host host{.space = space, .question = question, .most = most};
    const tidegate_request view = ToPlugin(question.request);
    const tidegate_chunk_question asked{
        .struct_size = sizeof(tidegate_chunk_question),
        .reserved = 0,
        .request = &view,
        .max = question.limits.max,
        .floor = question.limits.floor,
        .quantum = question.limits.quantum,
        .most = most,
        .fits = widest.n,
        .room_bytes = memory.Room(),
        .decode_stall_ns = question.decode_stall.count(),
        .host = &host,
        .need_bytes = NeedBytes,
        .takes_ns = TakesNs};
    Tokens n = TIDEGATE_UNSET;
    const std::int32_t status = meter.Run([&] {
      return instance_->table().width(instance_->self(), &asked, &n);
    });
    if (status != TIDEGATE_OK) {
      meter.NoAnswer("width", status);
      return widest;
    }
    if (n == 0) return {};
    if (n == widest.n) return widest;
    if (const std::string wrong = Wrong(asked, n, left); !wrong.empty()) {
      meter.Fault(Concat("width: ", wrong));
      return widest;
    }
    // Cut to a boundary, and to what leaves a remainder that fits.
    Question narrower = question;
    narrower.widest = n;
    Choice choice = fallback_->Next(narrower);
    if (choice.n < 1 || choice.n > n) return widest;
    if (choice.n < widest.n) choice.bound = Bound::kMaximum;
    return choice;
  }

 private:
  // What is wrong with a width; empty: nothing.
  static std::string Wrong(const tidegate_chunk_question& asked, Tokens n,
                           Tokens left) {
    if (n == TIDEGATE_UNSET) return "n was left unset";
    if (n < 0) return Concat(n, " tokens are negative");
    if (n > asked.most) {
      return Concat(n, " tokens are more than the ", asked.most,
                    " that there is place for");
    }
    if (n > asked.fits) {
      return Concat(n, " tokens are beyond the room: ",
                    FormatBytes(asked.need_bytes(asked.host, n)), " of ",
                    FormatBytes(asked.room_bytes), ", ", asked.fits,
                    " tokens fit");
    }
    if (n < std::min(asked.floor, asked.max) && n < left) {
      return Concat(n, " tokens are fewer than chunk.floor = ", asked.floor);
    }
    return "";
  }

  const std::shared_ptr<ChunkInstance> instance_;
  const std::shared_ptr<const ChunkPolicy> fallback_;
  const std::string name_;
};

}  // namespace

std::shared_ptr<const ChunkPolicy> AdaptChunk(
    std::shared_ptr<ChunkInstance> instance,
    std::shared_ptr<const ChunkPolicy> fallback) {
  return std::make_shared<ChunkAdapter>(std::move(instance),
                                        std::move(fallback));
}

}  // namespace tidegate::internal
