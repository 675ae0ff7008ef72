// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "examples/server/simulated_engine.h"

#include <algorithm>
#include <array>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cmath>
#include <list>
#include <map>
#include <mutex>
#include <utility>

#include "estimators/text.h"
#include "tidegate/time_model.h"

namespace tidegate::server {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

constexpr auto kWords = std::to_array<std::string_view>(
    {"the",   "tide",  "comes", "in",    "and",    "every", "boat",   "waits",
     "at",    "gate",  "until", "water", "is",     "high",  "enough", "to",
     "carry", "it",    "over",  "sill",  "then",   "one",   "by",     "they",
     "pass",  "while", "a",     "bell",  "counts", "them",  "out",    "again"});

std::uint64_t Mix(std::uint64_t x) {  // splitmix64's finaliser
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

std::uint64_t HashOf(const Generation& generation) {
  std::uint64_t hash = Mix(generation.seed);
  for (const TokenId token : generation.prompt) {
    hash = Mix(hash ^ static_cast<std::uint32_t>(token));
  }
  return hash;
}

std::string WordAt(std::uint64_t hash, Tokens index) {
  const std::uint64_t draw = Mix(hash + static_cast<std::uint64_t>(index));
  std::string word(index == 0 ? "" : " ");
  return word.append(kWords[draw % kWords.size()]);
}

TimeModel DefaultTimes() {
  return {.fixed_ps = 10'000'000'000, .per_token_ps = 125'000'000};
}

class SimulatedEngine final : public TextEngine {
 public:
  explicit SimulatedEngine(SimulatedEngineOptions options)
      : options_(std::move(options)),
        live_(options_.base),
        peak_(options_.base),
        decode_timer_(device_) {}

  ~SimulatedEngine() override {
    device_.stop();
    device_.join();
  }

  std::string_view Model() const override { return options_.model; }
  absl::StatusOr<std::vector<TokenId>> Tokenize(
      std::string_view text) const override {
    std::vector<TokenId> tokens;
    tokens.reserve(text.size());
    for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
    return tokens;
  }
  TokenId Vocabulary() const override { return 256; }
  std::optional<Tokens> ContextLength() const override {
    return options_.context_length;
  }

  void Open(RequestId id, Generation generation) override {
    const std::lock_guard lock(mutex_);
    Text& text = texts_[id];
    text.hash = HashOf(generation);
    text.prompt_tokens = std::ssize(generation.prompt);
    text.max_tokens = generation.max_tokens;
    text.on_piece = std::move(generation.on_piece);
  }
  void Close(RequestId id) override {
    const std::lock_guard lock(mutex_);
    texts_.erase(id);
  }

  DeviceBytes Device() const override {
    const std::lock_guard lock(mutex_);
    DeviceBytes bytes{.live = live_, .base = options_.base};
    for (const auto& [id, sequence] : sequences_) {
      bytes.resident += sequence.bytes;
    }
    for (const Step& step : steps_) bytes.transient += step.transient;
    return bytes;
  }
  Bytes TakePeak() override {
    const std::lock_guard lock(mutex_);
    return std::exchange(peak_, live_);
  }

  void Admitted(const Admit& admit) override {
    const std::lock_guard lock(mutex_);
    Sequence& sequence = sequences_[admit.id];
    const auto text = texts_.find(admit.id);
    if (text != texts_.end()) {
      sequence.prompt_tokens = text->second.prompt_tokens;
      sequence.max_tokens = text->second.max_tokens;
    }
    if (!options_.estimator->KvPreallocated()) return;
    Grow(sequence, options_.estimator->SequenceBytes(
                       sequence.prompt_tokens + sequence.max_tokens, 1));
  }

  void Run(const RunStep& run, StepCompletion done) override {
    const std::lock_guard lock(mutex_);
    std::vector<Chunk> chunks;
    for (const StepChunk& chunk : run.chunks) {
      chunks.push_back({.n = chunk.n, .kv_len = chunk.kv_len});
    }
    std::vector<Tokens> decode_lens;
    for (const RequestId id : run.decodes) {
      decode_lens.push_back(sequences_[id].length + 1);
    }
    const Bytes transient =
        options_.estimator
            ->Total({.chunks = chunks,
                     .decode_tokens = std::ssize(decode_lens),
                     .decode_kv_len = Longest(decode_lens)})
            .transient_bytes;
    Bytes growth = 0;
    for (const StepChunk& chunk : run.chunks) growth += GrowthOf(chunk);
    for (const RequestId id : run.decodes)
      growth += TokenGrowth(sequences_[id]);
    if (SatAdd(live_, transient, growth) > options_.ceiling) {
      done.Complete(StepOutcome::OutOfMemory("the simulated device is full"));
      return;
    }

    for (const StepChunk& chunk : run.chunks) {
      Sequence& sequence = sequences_[chunk.id];
      Grow(sequence, GrowthOf(chunk));
      sequence.length = chunk.kv_len;
    }
    for (const RequestId id : run.decodes) GrowByToken(sequences_[id]);
    live_ += transient;
    steps_.push_back(Step{.run = run,
                          .transient = transient,
                          .done = std::move(done),
                          .timer = asio::steady_timer(device_),
                          .started = Clock::now()});
    NotePeak();
    const auto step = std::prev(steps_.end());
    step->timer.expires_after(Scaled(TimeOf(chunks, decode_lens)));
    step->timer.async_wait([this, step](const auto&) { EndStep(step); });
  }

  void StartDecode(RequestId id, DecodeHandle decode) override {
    const std::lock_guard lock(mutex_);
    sequences_[id].decode = std::move(decode);
    if (std::exchange(ticking_, true)) return;
    next_tick_ = Clock::now();
    WaitForTick();
  }

  void Release(RequestId id) override { Free(id); }
  // All of it is computed again; what was said is not said twice.
  void Preempt(RequestId id) override { Free(id); }

  absl::StatusOr<std::optional<MemoryProbeReading>> ReadMemory() override {
    const std::lock_guard lock(mutex_);
    return MemoryProbeReading{.devices = {{.name = "simulated",
                                           .used_bytes = live_,
                                           .limit_bytes = options_.ceiling}}};
  }

 private:
  // What a client is told.
  struct Text {
    std::uint64_t hash = 0;
    Tokens prompt_tokens = 0;
    Tokens max_tokens = 0;
    Tokens said = 0;
    std::function<void(Piece)> on_piece;
  };
  // What lies on the device; it may outlive the client by a step.
  struct Sequence {
    Tokens prompt_tokens = 0;
    Tokens max_tokens = 0;
    Tokens length = 0;  // tokens in the cache
    Tokens generated = 0;
    Bytes bytes = 0;
    std::optional<DecodeHandle> decode;
  };
  struct Step {
    RunStep run;
    Bytes transient = 0;
    Bytes peak = 0;
    StepCompletion done;
    asio::steady_timer timer;
    Clock::time_point started;
  };

  static Tokens Longest(const std::vector<Tokens>& lens) {
    return lens.empty() ? 0 : *std::max_element(lens.begin(), lens.end());
  }

  Duration TimeOf(const std::vector<Chunk>& chunks,
                  const std::vector<Tokens>& decode_lens) const {
    return options_.timer->Of({.chunks = chunks, .decode_kv_lens = decode_lens})
        .took;
  }
  Duration Scaled(Duration time) const {
    constexpr double kLongest = 1e18;  // thirty years; a Duration holds it
    return Duration(static_cast<Duration::rep>(std::min(
        static_cast<double>(time.count()) / options_.speed, kLongest)));
  }

  Bytes GrowthOf(const StepChunk& chunk) {
    if (options_.estimator->KvPreallocated()) return 0;
    return std::max<Bytes>(
        0, options_.estimator->SequenceBytes(chunk.kv_len, chunk.n) -
               sequences_[chunk.id].bytes);
  }
  Bytes TokenGrowth(const Sequence& sequence) const {
    const Estimator& estimator = *options_.estimator;
    if (estimator.KvPreallocated()) return 0;
    return std::max<Bytes>(0, estimator.SequenceBytes(sequence.length + 1, 1) -
                                  estimator.SequenceBytes(sequence.length, 1));
  }
  void GrowByToken(Sequence& sequence) {
    Grow(sequence, TokenGrowth(sequence));
    ++sequence.length;
  }
  void Grow(Sequence& sequence, Bytes bytes) {
    sequence.bytes += bytes;
    live_ += bytes;
    NotePeak();
  }
  void NotePeak() {
    peak_ = std::max(peak_, live_);
    for (Step& step : steps_) step.peak = std::max(step.peak, live_);
  }

  void Free(RequestId id) {
    const std::lock_guard lock(mutex_);
    Erase(id);
  }
  void Erase(RequestId id) {
    const auto it = sequences_.find(id);
    if (it == sequences_.end()) return;
    live_ -= it->second.bytes;
    sequences_.erase(it);
  }

  // One more token of `id`; true when it was its last.
  bool Generate(RequestId id, Sequence& sequence) {
    if (sequence.generated >= sequence.max_tokens) return true;
    const Tokens index = sequence.generated++;
    const auto it = texts_.find(id);
    if (it != texts_.end() && index == it->second.said) {
      ++it->second.said;
      it->second.on_piece({.text = WordAt(it->second.hash, index)});
    }
    return sequence.generated >= sequence.max_tokens;
  }

  void EndStep(std::list<Step>::iterator step) {
    const std::lock_guard lock(mutex_);
    live_ -= step->transient;
    StepMeasurement measured{.peak_bytes = {step->peak},
                             .took = Clock::now() - step->started};
    if (options_.decodes_in_steps) {
      for (const StepChunk& chunk : step->run.chunks) {
        const auto it = sequences_.find(chunk.id);
        if (it == sequences_.end()) continue;
        if (chunk.kv_len >= it->second.prompt_tokens) {
          EndToken(chunk.id, it->second, &measured);
        }
      }
      for (const RequestId id : step->run.decodes) {
        const auto it = sequences_.find(id);
        if (it != sequences_.end()) EndToken(id, it->second, &measured);
      }
    }
    measured.live_bytes = {live_};
    StepCompletion done = std::move(step->done);
    steps_.erase(step);
    done.Complete(StepOutcome::Done(std::move(measured)));
  }
  void EndToken(RequestId id, Sequence& sequence, StepMeasurement* measured) {
    if (!Generate(id, sequence)) return;
    measured->decodes.push_back({.id = id, .finished = true});
    Erase(id);
  }

  void WaitForTick() {
    next_tick_ = std::max(next_tick_ + Scaled(options_.decode_interval),
                          Clock::now() - std::chrono::seconds(1));
    decode_timer_.expires_at(next_tick_);
    decode_timer_.async_wait([this](const auto&) { Tick(); });
  }
  void Tick() {
    const std::lock_guard lock(mutex_);
    std::vector<RequestId> ended;
    bool any = false;
    for (auto& [id, sequence] : sequences_) {
      if (!sequence.decode.has_value()) continue;
      any = true;
      const Tokens before = sequence.generated;
      if (sequence.generated < sequence.max_tokens) GrowByToken(sequence);
      const bool last = Generate(id, sequence);
      if (sequence.generated > before) sequence.decode->Generated(1);
      if (last) ended.push_back(id);
    }
    for (const RequestId id : ended) {
      DecodeHandle decode = *std::move(sequences_[id].decode);
      Erase(id);
      decode.Finish();
    }
    ticking_ = any;
    if (ticking_) WaitForTick();
  }

  const SimulatedEngineOptions options_;
  mutable std::mutex mutex_;
  std::map<RequestId, Text> texts_;
  std::map<RequestId, Sequence> sequences_;
  Bytes live_;
  Bytes peak_;
  bool ticking_ = false;
  Clock::time_point next_tick_;

  // Destroyed first to last upwards: timers before the pool that runs them.
  asio::thread_pool device_{1};
  std::list<Step> steps_;
  asio::steady_timer decode_timer_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<TextEngine>> CreateSimulatedEngine(
    SimulatedEngineOptions options) {
  if (options.estimator == nullptr) {
    return internal::InvalidArgument("estimator: expected one, got null");
  }
  if (!(options.speed > 0) || !std::isfinite(options.speed)) {
    return internal::InvalidArgument("speed: expected a number above 0, got ",
                                     std::to_string(options.speed));
  }
  if (options.decode_interval < Duration::zero()) {
    return internal::InvalidArgument("decode_interval: expected at least 0");
  }
  if (options.base < 0 || options.ceiling <= options.base) {
    return internal::InvalidArgument("ceiling: expected more than the base of ",
                                     internal::FormatBytes(options.base),
                                     ", got ",
                                     internal::FormatBytes(options.ceiling));
  }
  if (options.timer == nullptr) options.timer = CreateStepTimer(DefaultTimes());
  return std::shared_ptr<TextEngine>(
      std::make_shared<SimulatedEngine>(std::move(options)));
}

}  // namespace tidegate::server
