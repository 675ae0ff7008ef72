// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What the scheduler hears of cached prefixes while requests wait.

#include <algorithm>

#include "simulator/driver.h"
#include "tidegate/status.h"

namespace tidegate::internal {

void Driver::CollectPrefixChanges() {
  if (world_.cache() == nullptr) return;
  for (const std::int64_t session : world_.cache()->TakeChanged()) {
    const auto waiting = waiting_sessions_.find(session);
    if (waiting == waiting_sessions_.end()) continue;
    stale_prefixes_.insert(waiting->second.begin(), waiting->second.end());
  }
}

absl::Status Driver::SettlePrefix(bool all, bool* told) {
  for (auto it = stale_prefixes_.begin(); it != stale_prefixes_.end();) {
    DrivenRequest& request = At(*it);
    const Prefix prefix = PrefixOf(request);
    if (request.stage != Stage::kWaiting ||
        (prefix.tokens == request.told_tokens &&
         prefix.bytes == request.told_bytes)) {
      it = stale_prefixes_.erase(it);
      continue;
    }
    if (!all && prefix.tokens >= request.told_tokens &&
        prefix.bytes <= request.told_bytes) {
      ++it;
      continue;
    }
    stale_prefixes_.erase(it);
    request.told_tokens = prefix.tokens;
    request.told_bytes = prefix.bytes;
    *told = true;
    return Deliver(PrefixChanged{.id = request.arrive.id,
                                 .cached_tokens = prefix.tokens,
                                 .prefix_bytes = prefix.bytes});
  }
  return absl::OkStatus();
}

Driver::Prefix Driver::PrefixOf(const DrivenRequest& request) const {
  // Who was preempted may find what it had computed itself.
  const PlanRequest& asked = request.arrive.request;
  const Tokens stated =
      request.runs > 0 && world_.cache() != nullptr
          ? std::max(asked.cached_tokens, asked.prompt_tokens - 1)
          : asked.cached_tokens;
  if (!options_.world.cache.has_value()) return {stated, 0};
  const PrefixCache* cache = world_.cache();
  if (cache == nullptr) return {};
  const Tokens tokens = cache->Hit(request.session, stated);
  return {tokens, cache->UnpinnedBytes(request.session, tokens)};
}

}  // namespace tidegate::internal
