// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Runs a scenario and checks the scheduler's laws from outside: by its event
// log, by plans made here for an idle device, and by a world of its own that
// says what a chunk really needs.
//
// Which laws bind follows from the scenario. A world that is dearer than the
// price excuses a failure of the engine; memory that moves excuses a refusal
// and a wait.

#ifndef TIDEGATE_TESTS_TESTING_LAW_CHECKER_H_
#define TIDEGATE_TESTS_TESTING_LAW_CHECKER_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "estimators/text.h"
#include "scheduler/kv_pool.h"
#include "simulator/judge.h"
#include "simulator/scenario.h"
#include "tidegate/plan.h"

namespace tidegate::testing {

class LawChecker {
 public:
  // `scenario` must outlive the checker.
  explicit LawChecker(const internal::Scenario& scenario)
      : scenario_(scenario) {}

  // Every law that was broken, in words.
  std::vector<std::string> Run() {
    absl::StatusOr<internal::DriverOptions> options =
        internal::MakeDriverOptions(scenario_);
    // A model and an engine that do not go together are no run.
    if (!options.ok()) return {};
    setup_ = *options;
    Prepare();
    log_ = RunOnce(*options);
    const std::string& log = log_;
    if (!failures_.empty()) return failures_;
    if (scenario_.requests.size() % 4 == 1) {
      const std::string again = RunOnce(*options);
      if (again != log) Fail("the same scenario gave another event log");
    }
    Replay(log);
    CheckRequests();
    return failures_;
  }

  std::int64_t chunks() const { return chunks_; }
  // Every event and action of the run.
  const std::string& log() const { return log_; }

 private:
  using Json = nlohmann::json;

  enum class Stage { kFuture, kWaiting, kPrefill, kDecoding, kEnded };
  struct Seen {
    Stage stage = Stage::kFuture;
    std::int64_t arrived_at = 0;
    bool admitted = false;
    bool rejected = false;
    bool cancelled = false;
    bool finished = false;
    std::string code;
    std::int64_t preempted = 0;
    Tokens computed = 0;
    Tokens decoded = 0;
    std::int64_t steps = 0;
    Tokens served_mark = 0;
    // On an idle, fully reclaimed device: unset when that means nothing.
    std::optional<Plan> idle;
  };

  template <typename... Pieces>
  void Fail(const Pieces&... pieces) {
    if (failures_.size() < 8) failures_.push_back(internal::Concat(pieces...));
  }

  const Arrive& ArriveOf(std::size_t i) const {
    return setup_.requests[i].arrive;
  }

  bool pool() const { return setup_.scheduler.kv_pool.blocks > 0; }
  // More blocks than the pool has.
  bool BeyondPool(const PlanRequest& asked) const {
    const KvPoolOptions& pool = setup_.scheduler.kv_pool;
    return pool.blocks > 0 &&
           CeilDiv(asked.prompt_tokens + asked.max_output_tokens,
                   pool.block_tokens) > pool.blocks;
  }

  void Prepare() {
    seen_.resize(setup_.requests.size());
    const SchedulerOptions& scheduler = setup_.scheduler;
    limits_ = scheduler.chunk;
    if (scheduler.chunk_policy == "fixed") limits_.floor = limits_.max;
    for (const internal::TimedInput& input : setup_.inputs) {
      if (std::holds_alternative<internal::BaseInput>(input.input) ||
          std::holds_alternative<internal::CeilingInput>(input.input)) {
        memory_moves_ = true;
      }
      if (std::holds_alternative<Observe>(input.input)) observed_ = true;
    }
    const WorldOptions& world = setup_.world.options;
    slope_known_ =
        world.resident_extra_per_token == 0 &&
        *world.kv_bytes_per_token <= scenario_.shape.KvBytesPerToken();
    // The world of this engine as the catalogue knows it, and nothing else.
    catalogue_world_ =
        scenario_.engine.name == "mlx" &&
        world.attention == WorldAttention::kCatalog && world.fixed_bytes == 0 &&
        world.per_token_bytes == 0 && world.score_millibytes == 0 &&
        slope_known_ &&
        scenario_.policy.estimator.value_or("catalog") == "catalog";
    // A world apart, without limits, that is asked what a chunk needs.
    internal::WorldSetup shadow = setup_.world;
    shadow.ceiling = Bytes{1} << 62;
    shadow.base = 0;
    shadow.reclaimables.clear();
    shadow.options.pool_keeps_transients = false;
    shadow.kv_in_pool = pool();
    shadow_ = std::move(shadow);
    // The world adds nothing for windows and recurrent states.
    holds_less_ = scheduler.estimator->SequenceBytes(1, 1) >
                  2 * scenario_.shape.KvBytesPerToken();
    if (scheduler.calibrate || !slope_known_) return;
    MemoryLimits idle = scheduler.memory;
    for (const internal::ReclaimablePart& part : setup_.world.reclaimables) {
      if (part.kind != "pool" && part.bytes > 0) only_pools_ = false;
      if (std::find(scheduler.ladder.begin(), scheduler.ladder.end(),
                    part.kind) != scheduler.ladder.end()) {
        idle.base -= part.bytes;
      }
    }
    const internal::PooledEstimator pooled(scheduler.estimator);
    const Estimator& prices =
        pool() ? static_cast<const Estimator&>(pooled) : *scheduler.estimator;
    for (std::size_t i = 0; i < seen_.size(); ++i) {
      const absl::StatusOr<Plan> plan =
          PlanPrompt(prices, ArriveOf(i).request, idle, limits_,
                     {.want_largest_prompt = false});
      if (plan.ok()) seen_[i].idle = *plan;
    }
  }

  std::string RunOnce(const internal::DriverOptions& options) {
    std::string log;
    internal::DriverOptions copy = options;
    copy.event_log = [&](std::string_view line) { log += line; };
    internal::Driver driver(std::move(copy));
    const absl::Status status = driver.Run();
    if (!status.ok()) Fail("run: ", std::string(status.message()));
    out_of_memory_ = driver.totals().out_of_memory;
    const Bytes ceiling = setup_.world.ceiling;
    // Decoding grows into a pool that was asked for and takes its time.
    const bool slow_pool = setup_.world.options.pool_keeps_transients &&
                           driver.world().ReclaimLag("pool") > Duration::zero();
    if (status.ok() && !memory_moves_ && slope_known_ && !slow_pool &&
        setup_.world.base <= ceiling && driver.world().peak() > ceiling) {
      Fail("peak of ", driver.world().peak(), " above the ceiling ", ceiling);
    }
    return log;
  }

  void Replay(const std::string& log) {
    std::size_t at = 0;
    bool first = true;
    while (at < log.size()) {
      const std::size_t end = log.find('\n', at);
      const Json line =
          Json::parse(log.begin() + static_cast<std::ptrdiff_t>(at),
                      log.begin() + static_cast<std::ptrdiff_t>(end));
      at = end + 1;
      const std::int64_t t = line["t"];
      if (line.contains("event")) {
        if (!first) EndOfAnswer();
        first = false;
        CheckTime(t);
        now_ = t;
        OnEvent(line);
      } else {
        OnAction(line);
      }
    }
    if (!first) EndOfAnswer();
  }

  void OnEvent(const Json& line) {
    const std::string& what = line["event"].get_ref<const std::string&>();
    if (what == "arrive") {
      Seen& seen = At(line);
      seen.stage = Stage::kWaiting;
      seen.arrived_at = now_;
      seen.served_mark = served_;
    } else if (what == "finished") {
      End(At(line)).finished = true;
    } else if (what == "step_done") {
      const Json run = running_.extract(line["step"]).mapped();
      for (const Json& chunk : run["chunks"]) {
        Seen& seen = At(chunk);
        const Tokens n = chunk["n"];
        seen.computed += n;
        ++seen.steps;
        ++chunks_;
        served_ += n;
        seen.served_mark = served_;
        if (chunk["kv_len"] ==
            ArriveOf(&seen - seen_.data()).request.prompt_tokens) {
          seen.decoded = 1;
        }
      }
      for (const Json& id : run.value("decodes", Json::array())) {
        ++seen_[static_cast<std::size_t>(id) - 1].decoded;
      }
      for (const Json& result : line.value("decodes", Json::array())) {
        if (result["finished"]) End(At(result)).finished = true;
      }
    } else if (what == "step_failed") {
      running_.erase(line["step"]);
      failed_ = true;
    } else if (what == "reclaim_done") {
      --reclaiming_;
    } else if (what == "ceiling_changed") {
      moved_at_ = now_;
    } else if (what == "memory_reading" && memory_moves_) {
      moved_at_ = now_;
    }
  }

  void OnAction(const Json& line) {
    const std::string& what = line["action"].get_ref<const std::string&>();
    if (what == "admit") {
      CheckTurn(static_cast<std::size_t>(line["id"]) - 1);
      Seen& seen = At(line);
      seen.stage = Stage::kPrefill;
      seen.admitted = true;
      if (seen.preempted == 0) seen.computed = 0;
    } else if (what == "reject") {
      Seen& seen = End(At(line));
      seen.rejected = true;
      seen.code = line["code"];
    } else if (what == "cancelled") {
      End(At(line)).cancelled = true;
    } else if (what == "preempt") {
      Seen& seen = At(line);
      seen.stage = Stage::kWaiting;
      ++seen.preempted;
    } else if (what == "start_decode") {
      At(line).stage = Stage::kDecoding;
    } else if (what == "reclaim") {
      ++reclaiming_;
      ++reclaims_;
    } else if (what == "run_step") {
      OnStep(line);
    }
  }

  void OnStep(const Json& line) {
    running_.emplace(line["step"], line);
    std::vector<Chunk> chunks;
    Tokens tokens = 0;
    for (const Json& chunk : line["chunks"]) {
      const std::size_t index = static_cast<std::size_t>(chunk["id"]) - 1;
      CheckWidth(index, chunk);
      chunks.push_back({.n = chunk["n"],
                        .kv_len = chunk["kv_len"],
                        .mask = ArriveOf(index).request.mask});
      tokens += chunks.back().n;
    }
    std::vector<Tokens> decodes;
    for (const Json& id : line.value("decodes", Json::array())) {
      const std::size_t index = static_cast<std::size_t>(id) - 1;
      decodes.push_back(ArriveOf(index).request.prompt_tokens +
                        seen_[index].decoded);
    }
    internal::World world(*shadow_);
    const internal::World::Step step = world.Start(chunks, decodes);
    Bytes growth = step.decode_growth;
    for (const Bytes bytes : step.growth) growth += bytes;
    const Bytes transient = line["transient_bytes"];
    const Bytes resident = line["resident_bytes"];
    // The world's fused output is one buffer of 4 bytes an element; MLX has two
    // of 2.
    const WorldOptions& truth = setup_.world.options;
    const Bytes half = SatMul(truth.q_heads, tokens, truth.head_dim, Bytes{2});
    const Bytes most = setup_.world.max_allocation.value_or(kBytesMax);
    const bool halves_fit = half <= most && 2 * half > most;
    const bool covered = (step.fits || halves_fit) &&
                         step.transient <= transient &&
                         // The world's bytes per token are whole numbers.
                         growth <= resident + tokens;
    if (!covered || !step.fits) uncovered_ = true;
    // How an engine mixes sequences is its own: the formulas know of one.
    const bool single = chunks.size() == 1 && decodes.empty();
    if (!covered && single && catalogue_world_ && !setup_.scheduler.calibrate) {
      Fail("a chunk of ", chunks[0].n, " at ", chunks[0].kv_len,
           " is priced at ", transient, " + ", resident, " and really needs ",
           step.transient, " + ", growth,
           step.fits ? "" : ", its buffer is too large");
    }
  }

  // Boundaries are multiples of the quantum; widths between floor and max.
  void CheckWidth(std::size_t index, const Json& chunk) {
    const Tokens start = chunk["start"];
    const Tokens n = chunk["n"];
    const PlanRequest& request = ArriveOf(index).request;
    const Tokens end = start + n;
    if (n > limits_.max) Fail("a chunk of ", n, " is wider than max");
    for (const Span& span : request.uncuttable) {
      if (end > span.start && end < span.start + span.length) {
        Fail("the chunk end ", end, " cuts a span");
      }
    }
    if (end == request.prompt_tokens || !request.uncuttable.empty()) return;
    const Tokens quantum = std::min(limits_.quantum, limits_.max);
    // After a failure widths are capped, and that wins over both.
    if (failed_) return;
    if (end % quantum != 0) {
      Fail("the chunk end ", end, " is no multiple of ", quantum);
    }
    const Tokens aligned = (start + limits_.max) / quantum * quantum - start;
    if (chunk["bound"] == "share") return;
    Tokens floor = std::min(limits_.floor, limits_.max);
    if (aligned > 0) floor = std::min(floor, aligned);
    if (n < floor) Fail("a chunk of ", n, " at ", start, " is below the floor");
  }

  // Nobody of equal standing who came earlier still waits.
  void CheckTurn(std::size_t index) {
    const std::string& order = setup_.scheduler.order_policy;
    const Arrive& next = ArriveOf(index);
    for (std::size_t i = 0; i < seen_.size(); ++i) {
      const Seen& other = seen_[i];
      if (i == index || other.stage != Stage::kWaiting) continue;
      const bool earlier = std::pair(other.arrived_at, i) <
                           std::pair(seen_[index].arrived_at, index);
      if (order == "fcfs" && earlier) {
        Fail("request ", index + 1, " was admitted before request ", i + 1);
      }
      const std::int64_t above = ArriveOf(i).priority - next.priority;
      if (order == "priority" && (above > 0 || (above == 0 && earlier))) {
        Fail("request ", index + 1, " was admitted before request ", i + 1,
             ", which has priority over it");
      }
      // Passed over for long enough: whoever came later waits as well.
      if (order == "fair" && served_ - other.served_mark > 8 * 2048 &&
          seen_[index].served_mark > other.served_mark) {
        Fail("request ", index + 1, " was admitted before request ", i + 1,
             ", which was passed over for ", served_ - other.served_mark,
             " tokens");
      }
    }
  }

  std::size_t Count(Stage stage) const {
    return static_cast<std::size_t>(
        std::count_if(seen_.begin(), seen_.end(),
                      [&](const Seen& s) { return s.stage == stage; }));
  }

  void EndOfAnswer() {
    const bool admitted = Count(Stage::kPrefill) + Count(Stage::kDecoding) > 0;
    idle_ = Count(Stage::kWaiting) > 0 && !admitted && reclaiming_ == 0;
    stalled_ =
        Count(Stage::kPrefill) > 0 && running_.empty() && reclaiming_ == 0;
  }

  // What was so between the last answer and this event.
  void CheckTime(std::int64_t t) {
    constexpr std::int64_t kPatience = 32'000'000'000;
    // Past measurements that prices follow may make the admitted too dear.
    const bool excused = uncovered_ || failed_ || observed_;
    idle_for_ = idle_ ? idle_for_ + (t - now_) : 0;
    stalled_for_ = stalled_ ? stalled_for_ + (t - now_) : 0;
    const std::int64_t still = memory_moves_ ? t - moved_at_ : kPatience;
    // Promises of other kinds than `reserve` may have to wait for each other.
    const bool reserve = setup_.scheduler.admission_policy == "reserve";
    if (!memory_moves_ && !excused && slope_known_ && reserve) {
      if (idle_for_ > 0)
        Fail("idle for ", idle_for_, " ns with requests waiting");
      if (stalled_for_ > 0)
        Fail("no step for ", stalled_for_, " ns in prefill");
    }
    if (idle_for_ > kPatience && still > kPatience) {
      Fail("idle for ", idle_for_, " ns though memory stood still");
    }
    if (stalled_for_ > 3 * kPatience && still > 3 * kPatience &&
        Count(Stage::kDecoding) == 0) {
      Fail("no step for ", stalled_for_, " ns though memory stood still");
    }
  }

  void CheckRequests() {
    if (out_of_memory_ > 0 && !uncovered_) {
      Fail("the engine failed ", out_of_memory_,
           " times in a world no dearer than the price");
    }
    const bool certain =
        !memory_moves_ && !uncovered_ && !failed_ && !observed_;
    bool any_admitted = false;
    for (std::size_t i = 0; i < seen_.size(); ++i) {
      const Seen& seen = seen_[i];
      if (seen.stage == Stage::kFuture) continue;
      any_admitted |= seen.admitted || seen.cancelled;
      const PlanRequest& asked = ArriveOf(i).request;
      const Tokens first =
          std::min(asked.cached_tokens, asked.prompt_tokens - 1);
      if (seen.finished && seen.preempted == 0 &&
          seen.computed != asked.prompt_tokens - first) {
        Fail("request ", i + 1, " was computed ", seen.computed, " tokens of ",
             asked.prompt_tokens - first);
      }
      if (certain && seen.preempted > 0 &&
          setup_.scheduler.admission_policy != "optimistic") {
        Fail("request ", i + 1, " was preempted though memory stood still");
      }
      if (!seen.idle.has_value() || !certain) continue;
      const bool beyond = BeyondPool(asked);
      const bool fits = seen.idle->verdict == Verdict::kAdmit && !beyond;
      if (seen.rejected && fits && setup_.scheduler.queue_max == 0) {
        Fail("request ", i + 1, " was refused as ", seen.code,
             " and fits an idle device");
      }
      if (seen.rejected && !fits && seen.code != "overloaded" &&
          seen.code != RefusalCodeName(seen.idle->code) &&
          !(beyond && seen.code == "too_large")) {
        Fail("request ", i + 1, " was refused as ", seen.code, ", not ",
             RefusalCodeName(seen.idle->code));
      }
      // Beside others whose states and windows are priced and not there, more
      // is free than an idle device would have.
      if (seen.admitted && !fits && !(holds_less_ && seen_.size() > 1)) {
        Fail("request ", i + 1, " was admitted: ",
             beyond ? "more blocks than the pool has" : seen.idle->reason);
      }
      const auto fewest = static_cast<std::int64_t>(seen.idle->chunks.size());
      // Caches and models are dropped only where no chunk fits beside them.
      if (seen.finished && seen_.size() == 1 && only_pools_ &&
          setup_.scheduler.step.tokens == 0 && seen.steps > fewest) {
        Fail("alone on the device it took ", seen.steps, " chunks instead of ",
             fewest);
      }
    }
    if (!any_admitted && certain && reclaims_ > 0) {
      Fail("reclaimed ", reclaims_, " times for nobody");
    }
  }

  Seen& At(const Json& line) {
    return seen_[static_cast<std::size_t>(line["id"]) - 1];
  }
  Seen& End(Seen& seen) {
    if (seen.stage == Stage::kEnded || seen.stage == Stage::kFuture) {
      Fail("a request ended that was not there");
    }
    seen.stage = Stage::kEnded;
    return seen;
  }

  const internal::Scenario& scenario_;
  internal::DriverOptions setup_;
  std::optional<internal::WorldSetup> shadow_;
  ChunkLimits limits_;
  bool memory_moves_ = false;
  bool observed_ = false;
  bool holds_less_ = false;
  bool slope_known_ = true;
  bool catalogue_world_ = false;
  bool only_pools_ = true;
  std::int64_t out_of_memory_ = 0;

  std::vector<Seen> seen_;
  std::int64_t now_ = 0;
  std::int64_t moved_at_ = 0;
  std::map<StepId, Json> running_;
  Tokens served_ = 0;
  bool failed_ = false;
  bool uncovered_ = false;  // a chunk was dearer than its price
  int reclaiming_ = 0;
  std::int64_t reclaims_ = 0;
  std::int64_t chunks_ = 0;
  bool idle_ = false;
  bool stalled_ = false;
  std::int64_t idle_for_ = 0;
  std::int64_t stalled_for_ = 0;

  std::string log_;
  std::vector<std::string> failures_;
};

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_LAW_CHECKER_H_
