// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tidegate/llamacpp.h"
#include "tidegate/status.h"

namespace tidegate::llamacpp {
namespace {

struct Sequence {
  Prompt prompt;
  llama_seq_id slot = -1;  // none
  Tokens cached = 0;       // tokens of it in the cache
  bool has_logits = false;
  bool cancelled = false;  // with the mutex
};

// What the process has from the allocator; 0 where nobody counts.
Bytes Allocated() {
#if defined(__GLIBC__)
  const struct mallinfo2 info = mallinfo2();
  return static_cast<Bytes>(info.uordblks) + static_cast<Bytes>(info.hblkhd);
#else
  return 0;
#endif
}

// How a call of llama_decode() ended.
struct Decoded {
  StepOutcome::Kind kind = StepOutcome::Kind::kDone;
  std::string detail;
};

class DeviceImpl final : public Device {
 public:
  explicit DeviceImpl(const Options& options)
      : options_(options),
        context_(options.context),
        memory_(llama_get_memory(options.context)),
        width_(llama_n_batch(options.context)),
        vocab_(llama_vocab_n_tokens(
            llama_model_get_vocab(llama_get_model(options.context)))),
        slots_(llama_n_seq_max(options.context), false) {
    tokens_.resize(width_);
    positions_.resize(width_);
    slot_ids_.resize(width_);
    slot_pointers_.resize(width_);
    counts_.assign(width_, 1);
    wanted_.assign(width_, 0);
    for (std::size_t i = 0; i < slot_ids_.size(); ++i) {
      slot_pointers_[i] = &slot_ids_[i];
    }
    llama_set_abort_callback(
        context_,
        [](void* self) {
          return static_cast<DeviceImpl*>(self)->stop_.load(
              std::memory_order_relaxed);
        },
        this);
  }

  ~DeviceImpl() override {
    llama_set_abort_callback(context_, nullptr, nullptr);
  }

  absl::Status Add(RequestId id, Prompt prompt) override {
    if (prompt.tokens.empty()) {
      return absl::InvalidArgumentError("prompt: expected tokens, got none");
    }
    for (std::size_t i = 0; i < prompt.tokens.size(); ++i) {
      if (prompt.tokens[i] < 0 || prompt.tokens[i] >= vocab_) {
        return absl::InvalidArgumentError(
            absl::StrCat("prompt: token ", i, ": expected 0 to ", vocab_ - 1,
                         ", got ", prompt.tokens[i]));
      }
    }
    const std::lock_guard lock(mutex_);
    const auto [at, added] = sequences_.try_emplace(id);
    if (!added) {
      return absl::AlreadyExistsError(
          absl::StrCat("request ", id, " was added and not released"));
    }
    at->second = std::make_unique<Sequence>();
    at->second->prompt = std::move(prompt);
    return absl::OkStatus();
  }

  StepOutcome Run(const RunStep& step) override {
    std::string error = Begin(step);
    if (!error.empty()) return StepOutcome::Failed(std::move(error));
    Decoded decoded = Compute(step);
    End();
    if (decoded.kind != StepOutcome::Kind::kDone) {
      for (const StepChunk& chunk : step.chunks) {
        if (Sequence* sequence = Find(chunk.id)) {
          KeepOnly(*sequence, std::min(sequence->cached, chunk.start));
        }
      }
      return decoded.kind == StepOutcome::Kind::kOutOfMemory
                 ? StepOutcome::OutOfMemory(std::move(decoded.detail))
                 : StepOutcome::Failed(std::move(decoded.detail));
    }
    StepMeasurement measured = Measure();
    for (const StepChunk& chunk : step.chunks) {
      Sequence& sequence = *Find(chunk.id);
      const Tokens total = Length(sequence);
      sequence.cached = chunk.kv_len;
      sequence.has_logits = chunk.kv_len == total;
      if (sequence.prompt.progress) {
        sequence.prompt.progress(chunk.kv_len, total);
      }
    }
    return StepOutcome::Done(std::move(measured));
  }

  std::span<const float> Logits(RequestId id) const override {
    const Sequence* sequence = Find(id);
    if (sequence == nullptr || !sequence->has_logits || last_logits_ != id) {
      return {};
    }
    const float* logits = llama_get_logits_ith(context_, -1);
    if (logits == nullptr) return {};
    return {logits, static_cast<std::size_t>(vocab_)};
  }

  absl::Status Decode(RequestId id, llama_token token) override {
    Sequence* sequence = Find(id);
    if (sequence == nullptr || sequence->cached < Length(*sequence)) {
      return absl::FailedPreconditionError(
          absl::StrCat("request ", id, ": expected its prompt in the cache"));
    }
    if (token < 0 || token >= vocab_) {
      return absl::InvalidArgumentError(
          absl::StrCat("token: expected 0 to ", vocab_ - 1, ", got ", token));
    }
    {
      const std::lock_guard lock(mutex_);
      if (sequence->cancelled) return absl::AbortedError("cancelled");
      running_ = {id};
    }
    Fill(0, &token, 1, sequence->cached, sequence->slot, true);
    const Decoded decoded = Call(&token, 1);
    End();
    if (decoded.kind == StepOutcome::Kind::kDone) {
      ++sequence->cached;
      sequence->has_logits = true;
      last_logits_ = id;
      return absl::OkStatus();
    }
    sequence->has_logits = false;
    KeepOnly(*sequence, sequence->cached);
    if (decoded.kind == StepOutcome::Kind::kOutOfMemory) {
      return absl::ResourceExhaustedError(decoded.detail);
    }
    return IsCancelled(*sequence) ? absl::AbortedError("cancelled")
                                  : absl::InternalError(decoded.detail);
  }

  void Cancel(RequestId id) override {
    const std::lock_guard lock(mutex_);
    const auto found = sequences_.find(id);
    if (found == sequences_.end()) return;
    found->second->cancelled = true;
    if (std::find(running_.begin(), running_.end(), id) != running_.end()) {
      stop_ = true;
    }
  }

  void Preempt(RequestId id) override {
    if (Sequence* sequence = Find(id)) FreeSlot(*sequence);
  }

  void Release(RequestId id) override {
    if (Sequence* sequence = Find(id)) FreeSlot(*sequence);
    const std::lock_guard lock(mutex_);
    sequences_.erase(id);
  }

  Tokens Cached(RequestId id) const override {
    const Sequence* sequence = Find(id);
    return sequence == nullptr ? 0 : sequence->cached;
  }

 private:
  static Tokens Length(const Sequence& sequence) {
    return static_cast<Tokens>(sequence.prompt.tokens.size());
  }

  // Valid until Release(), which only the device's own thread calls.
  Sequence* Find(RequestId id) const {
    const std::lock_guard lock(mutex_);
    const auto found = sequences_.find(id);
    return found == sequences_.end() ? nullptr : found->second.get();
  }

  bool IsCancelled(const Sequence& sequence) {
    const std::lock_guard lock(mutex_);
    return sequence.cancelled;
  }

  // Why the step cannot run; empty: it can, and Cancel() stops it from now on.
  std::string Begin(const RunStep& step) {
    last_logits_.reset();
    Tokens total = 0;
    for (const StepChunk& chunk : step.chunks) {
      total = SatAdd(total, chunk.n);
      Sequence* sequence = Find(chunk.id);
      if (sequence == nullptr) {
        return absl::StrCat("request ", chunk.id, " was not added");
      }
      if (chunk.n < 1 || chunk.kv_len > Length(*sequence)) {
        return absl::StrCat("request ", chunk.id, ": its prompt has ",
                            Length(*sequence), " tokens, the chunk ends at ",
                            chunk.kv_len);
      }
      if (!TakeSlot(*sequence)) {
        return absl::StrCat("request ", chunk.id, ": all ", slots_.size(),
                            " slots are taken");
      }
    }
    // llama.cpp would end the process.
    if (total > width_) {
      return absl::StrCat("the step has ", total, " tokens, n_batch is ",
                          width_);
    }
    if (!step.decodes.empty() || !step.encodes.empty()) {
      return "expected chunks alone: decoding is not part of steps here";
    }
    const std::lock_guard lock(mutex_);
    running_.clear();
    for (const StepChunk& chunk : step.chunks) {
      if (sequences_.at(chunk.id)->cancelled) {
        running_.clear();
        return absl::StrCat("request ", chunk.id, " was cancelled");
      }
      running_.push_back(chunk.id);
    }
    return "";
  }

  void End() {
    const std::lock_guard lock(mutex_);
    running_.clear();
    stop_ = false;
  }

  Decoded Compute(const RunStep& step) {
    for (const StepChunk& chunk : step.chunks) {
      Decoded decoded = Restore(*Find(chunk.id), chunk.start);
      if (decoded.kind != StepOutcome::Kind::kDone) return decoded;
    }
    if (step.chunks.size() == 1) {  // straight from the prompt
      const StepChunk& chunk = step.chunks.front();
      Sequence& sequence = *Find(chunk.id);
      llama_token* tokens = sequence.prompt.tokens.data() + chunk.start;
      const bool last = chunk.kv_len == Length(sequence);
      Fill(0, nullptr, chunk.n, chunk.start, sequence.slot, last);
      if (last) last_logits_ = chunk.id;
      return Call(tokens, chunk.n);
    }
    Tokens at = 0;
    for (const StepChunk& chunk : step.chunks) {
      Sequence& sequence = *Find(chunk.id);
      const bool last = chunk.kv_len == Length(sequence);
      Fill(at, sequence.prompt.tokens.data() + chunk.start, chunk.n,
           chunk.start, sequence.slot, last);
      if (last) last_logits_ = chunk.id;
      at += chunk.n;
    }
    return Call(tokens_.data(), at);
  }

  // Makes the cache of a sequence end at `start`.
  Decoded Restore(Sequence& sequence, Tokens start) {
    if (sequence.cached > start) KeepOnly(sequence, start);
    while (sequence.cached < start) {
      const Tokens n = std::min(width_, start - sequence.cached);
      Fill(0, nullptr, n, sequence.cached, sequence.slot, false);
      Decoded decoded =
          Call(sequence.prompt.tokens.data() + sequence.cached, n);
      if (decoded.kind != StepOutcome::Kind::kDone) return decoded;
      sequence.cached += n;
    }
    return {};
  }

  void Fill(Tokens at, const llama_token* tokens, Tokens n, Tokens start,
            llama_seq_id slot, bool logits_of_last) {
    if (tokens != nullptr) std::copy_n(tokens, n, tokens_.begin() + at);
    std::iota(positions_.begin() + at, positions_.begin() + at + n,
              static_cast<llama_pos>(start));
    std::fill_n(slot_ids_.begin() + at, n, slot);
    std::fill_n(wanted_.begin() + at, n, std::int8_t{0});
    wanted_[at + n - 1] = logits_of_last ? 1 : 0;
  }

  Decoded Call(llama_token* tokens, Tokens n) {
    llama_batch batch{};
    batch.n_tokens = static_cast<std::int32_t>(n);
    batch.token = tokens;
    batch.pos = positions_.data();
    batch.n_seq_id = counts_.data();
    batch.seq_id = slot_pointers_.data();
    batch.logits = wanted_.data();
    const bool wider = n > widest_ && options_.live.has_value();
    const Bytes before = wider ? Allocated() : 0;
    int code = 0;
    try {
      code = llama_decode(context_, batch);
      // Other devices than the CPU compute after the call.
      if (code == 0) llama_synchronize(context_);
    } catch (const std::bad_alloc&) {
      // The CPU backend allocates its scratch in the first step that needs it.
      return {StepOutcome::Kind::kOutOfMemory, "std::bad_alloc"};
    } catch (const std::exception& error) {
      return {StepOutcome::Kind::kFailed, error.what()};
    }
    if (wider && code == 0) {
      widest_ = n;
      scratch_ += std::max<Bytes>(0, Allocated() - before);
    }
    switch (code) {
      case 0:
        return {};
      case 1:
        return {StepOutcome::Kind::kOutOfMemory,
                absl::StrCat("no room in the KV cache for ", n, " tokens")};
      case 2:
        return {StepOutcome::Kind::kFailed, "aborted"};
      case -2:
        return {StepOutcome::Kind::kOutOfMemory,
                "llama_decode: an allocation failed"};
      default:
        return {StepOutcome::Kind::kFailed,
                absl::StrCat("llama_decode returned ", code)};
    }
  }

  bool TakeSlot(Sequence& sequence) {
    if (sequence.slot >= 0) return true;
    const auto free = std::find(slots_.begin(), slots_.end(), false);
    if (free == slots_.end()) return false;
    *free = true;
    sequence.slot = static_cast<llama_seq_id>(free - slots_.begin());
    sequence.cached = 0;
    llama_memory_seq_rm(memory_, sequence.slot, -1, -1);
    return true;
  }

  void FreeSlot(Sequence& sequence) {
    sequence.cached = 0;
    sequence.has_logits = false;
    if (sequence.slot < 0) return;
    llama_memory_seq_rm(memory_, sequence.slot, -1, -1);
    slots_[static_cast<std::size_t>(sequence.slot)] = false;
    sequence.slot = -1;
  }

  // Recurrent state cannot be cut: there nothing is kept, and Restore()
  // computes it again.
  void KeepOnly(Sequence& sequence, Tokens tokens) {
    sequence.has_logits = false;
    if (llama_memory_seq_rm(memory_, sequence.slot,
                            static_cast<llama_pos>(tokens), -1)) {
      sequence.cached = tokens;
      return;
    }
    llama_memory_seq_rm(memory_, sequence.slot, -1, -1);
    sequence.cached = 0;
  }

  StepMeasurement Measure() const {
    if (!options_.live.has_value()) return {};
    const Bytes live = *options_.live;
    return {.peak_bytes = {SatAdd(live, options_.compute, scratch_)},
            .live_bytes = {live}};
  }

  const Options options_;
  llama_context* const context_;
  const llama_memory_t memory_;
  const Tokens width_;
  const llama_token vocab_;
  std::vector<bool> slots_;  // taken
  std::map<RequestId, std::unique_ptr<Sequence>> sequences_;
  std::optional<RequestId> last_logits_;

  // One batch, reused.
  std::vector<llama_token> tokens_;
  std::vector<llama_pos> positions_;
  std::vector<llama_seq_id> slot_ids_;
  std::vector<llama_seq_id*> slot_pointers_;
  std::vector<std::int32_t> counts_;
  std::vector<std::int8_t> wanted_;

  // What the CPU backend allocates in steps wider than any before, and keeps.
  Tokens widest_ = 0;
  Bytes scratch_ = 0;

  mutable std::mutex mutex_;  // sequences_ as a map, cancelled, running_
  std::vector<RequestId> running_;
  std::atomic<bool> stop_{false};
};

}  // namespace

absl::StatusOr<std::unique_ptr<Device>> Device::Create(const Options& options) {
  if (options.context == nullptr) {
    return absl::InvalidArgumentError("context: is null");
  }
  return std::make_unique<DeviceImpl>(options);
}

absl::StatusOr<std::unique_ptr<Device>> Device::Create(
    const LoadedContext& loaded) {
  return Create(Options{.context = loaded.context.get(),
                        .live = loaded.scheduler.memory.base,
                        .compute = loaded.reported.compute});
}

}  // namespace tidegate::llamacpp
