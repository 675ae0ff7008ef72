// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Simulator: what would this policy have done with that load?
//
//   absl::StatusOr<Trace> trace = LoadTrace("azure_code.csv");
//   SimulatorOptions options;
//   options.scheduler = {.estimator = estimator,
//                        .memory = {.ceiling = 80 * kGiB, .base = 16 * kGiB}};
//   absl::StatusOr<SimulationResult> result = Simulate(*trace, options);
//   result->ttft_p99_s;
//
// The real scheduler runs against a simulated engine in virtual time: no
// thread, no clock, so that the same input gives the same result and the same
// event log, byte for byte. The engine keeps its own account of memory, which
// the scheduler sees only through readings; docs/simulation.md describes it.
//
// Thread-safety: Simulate is a pure function apart from its callbacks, which
// it calls on the caller's thread.

#ifndef TIDEGATE_SIMULATOR_H_
#define TIDEGATE_SIMULATOR_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tidegate/decision_log.h"
#include "tidegate/estimator.h"
#include "tidegate/plan.h"
#include "tidegate/scheduler.h"
#include "tidegate/step_time.h"
#include "tidegate/types.h"

namespace tidegate {

// One request of a trace.
struct TraceRow {
  Instant arrival{};         // since the start of the trace
  Tokens prompt_tokens = 0;  // whole prompt, cached part included
  // Longest prefix that an earlier request had already computed: what a cache
  // that never evicts would hit. An upper bound, below prompt_tokens.
  Tokens cached_tokens = 0;
  Tokens output_tokens = 0;
  std::int64_t session = 0;  // requests of one conversation share it
  friend bool operator==(const TraceRow&, const TraceRow&) = default;
};

struct Trace {
  std::vector<TraceRow> rows;  // ascending by arrival
  // What the file leaves open and had to be assumed.
  std::vector<std::string> warnings;
};

// No trace has more requests than this: 40 bytes each, and a simulation of
// more would not end.
inline constexpr std::int64_t kTraceRowsMax = 10'000'000;

struct TraceOptions {
  // Only the first so many requests; the rest of the file is not read.
  std::int64_t requests_max = kTraceRowsMax;
  // Of traces whose requests are drawn (ServeGen).
  std::uint64_t seed = 1;
};

// Reads one of these, recognised by its header or its first character:
//   uniform   arrival_s,prompt_tokens,cached_tokens,output_tokens,session
//   Azure     TIMESTAMP,ContextTokens,GeneratedTokens
//   BurstGPT  Timestamp,…,Request tokens,Response tokens,…
//   lengths   num_prefill_tokens,num_decode_tokens,…
//   sessions  session,agent,t_s,input_tokens,output_tokens,prefix_hit_tokens,…
//   Mooncake  one JSON object a line: timestamp, input_length, output_length,
//             hash_ids
// docs/simulation.md says what each gives. InvalidArgument "FILE:LINE: column
// C: expected …, got …" (of JSON, "key K") at the first row that is not so.
absl::StatusOr<Trace> ParseTrace(std::string_view text, std::string_view file,
                                 const TraceOptions& options = {});
// Reads the file line by line: beside the rows, memory does not grow with it
// (a Mooncake trace also needs every block id once). ServeGen's
// NAME-trace.csv is read with NAME-dataset.json beside it. NotFound when there
// is no such file.
absl::StatusOr<Trace> LoadTrace(const std::string& path,
                                const TraceOptions& options = {});

// Requests one by one, ascending by arrival: a trace that is not held.
class TraceSource {
 public:
  virtual ~TraceSource() = default;
  // The next one; nothing after the last.
  virtual absl::StatusOr<std::optional<TraceRow>> Next() = 0;
  // How many there are in all.
  virtual std::int64_t size() const = 0;
  virtual const std::vector<std::string>& warnings() const = 0;
};

// The same requests, warnings and errors as LoadTrace(): the file is read once
// for them, and again as requests are asked for. Uniform, Azure and BurstGPT
// files are not held in memory; of other formats, and of what can be read only
// once, the rows are.
absl::StatusOr<std::unique_ptr<TraceSource>> OpenTrace(
    const std::string& path, const TraceOptions& options = {});

// What the simulated engine really needs for a chunk's attention.
enum class WorldAttention {
  kEstimator,  // exactly what WorldOptions::truth says, every part of it
  kCatalog,    // the formula below whose route `truth` names
  kUnfused,    // q_heads*n*K*score_bytes + q_heads*n*head_dim*4
  kTiled,      // q_heads*min(n,tile)*K*score_bytes + q_heads*n*head_dim*4
  kFused,      // q_heads*n*head_dim*4
};

// How far the engine is from what is believed of it: numbers are multiplied by
// `factor`, give or take `spread` of it, drawn evenly from the world's seed.
struct WorldError {
  double factor = 1;  // above 0
  double spread = 0;  // 0 up to 1, that excluded
};

// Memory of others on the same device: `bytes` from `at` on.
struct TenantMemory {
  Instant at{};
  Bytes bytes = 0;
};

// An allocator that keeps the segments that a step's transient came from, as
// torch's does: live memory is what it holds of the device. Segments go back
// when the pool is reclaimed, and when nothing else would let a step run.
struct AllocatorOptions {
  // One range that grows in place (torch's expandable_segments): nothing is
  // too small for the next step.
  bool expandable = false;
};

// How the simulated engine behaves, which the scheduler does not see.
struct WorldOptions {
  WorldAttention attention = WorldAttention::kEstimator;
  // The true prices; null: the scheduler's own estimator is right.
  std::shared_ptr<const Estimator> truth;

  // For the formulas.
  std::int64_t q_heads = 0;
  std::int64_t head_dim = 0;
  // Thousandths of a byte per score, so that a measured 2.24 bytes is exact.
  // 0: compute_bytes, and 4 bytes with a mask of unknown dtype.
  std::int64_t score_millibytes = 0;
  std::int64_t compute_bytes = 2;
  Tokens tile = 512;  // query tile of the tiled kernel

  // Added to every chunk's transient.
  Bytes fixed_bytes = 0;
  Bytes per_token_bytes = 0;
  // Resident growth of one token. Unset: of a chunk, what `truth` says; of a
  // decoded token, its slope.
  std::optional<Bytes> kv_bytes_per_token;
  Bytes resident_extra_per_token = 0;
  // Freed transients stay counted as live and are reused by later chunks.
  bool pool_keeps_transients = false;
  // The same with an allocator's segments; not both.
  std::optional<AllocatorOptions> allocator;

  // What readings do not say in time, and what others hold of the device.
  // SchedulerOptions::reading_lag tells the scheduler of the first.
  Duration reading_lag{};             // readings are this old
  std::vector<TenantMemory> tenants;  // ascending by time

  // Of every step's duration, drawn anew each time; and of its transient
  // memory, drawn by the widths and lengths of its chunks: the same step needs
  // the same memory again.
  WorldError time_error;
  WorldError price_error;
  // Of each rank's step times; every rank waits for the slowest. Empty: alike.
  std::vector<double> rank_times;
  std::uint64_t seed = 0;

  // A preempted request computes the tokens that it had generated again with
  // its prompt, as vLLM and SGLang do, and not one by one. Only where decode
  // tokens are part of steps.
  bool preempted_keep_output = false;

  // Speed. The defaults are those of a mid-size model on a data-centre GPU,
  // round numbers to compare policies with, not a measurement.
  double tokens_per_s = 8000;
  double chunk_overhead_s = 0.01;
  // Measured step times (step_time.h) in place of these two; a step that fails
  // still shows it after chunk_overhead_s.
  std::shared_ptr<const StepTimer> timer;
  // Of each decoding request; prefill does not slow it.
  double decode_tokens_per_s = 30;
};

// A prefix cache on the device. Its unpinned blocks are the engine's to reuse
// at any moment and are reported as free memory.
struct PrefixCacheOptions {
  // Unset: whatever is free on the device. 0: no cache, and every prompt is
  // computed whole.
  std::optional<Bytes> capacity;
  Tokens block = 64;  // tokens of one block, the unit of hits and evictions
};

// The device at one moment of a simulation.
struct SeriesPoint {
  Instant when{};
  Bytes live_bytes = 0;  // the prefix cache included
  Bytes peak_bytes = 0;  // live plus the transient of the chunk that starts
  Tokens width = 0;      // of that chunk
};

// What a request must meet to count as served well: goodput is the rate of
// those. Round numbers for prompts of thousands of tokens, not a standard.
struct ServiceLevels {
  double ttft_s = 10;  // at most this, and
  double itl_s = 0.1;  // at most this between output tokens, on average
};

struct SimulatorOptions {
  SchedulerOptions scheduler;
  WorldOptions world;
  PrefixCacheOptions cache;
  // Output budget that every client asks for. Unset: each asks for exactly the
  // tokens it will generate, as the trace says.
  std::optional<Tokens> max_output_tokens;

  // Called with the fraction of requests that have ended, ascending, about a
  // thousand times.
  std::function<void(double)> progress;
  // Receives one JSON object a line, newline included, for every event in and
  // every action out, with its time in integer nanoseconds.
  std::function<void(std::string_view)> event_log;
  // Sees the same as a Timeline (timeline.h) takes it.
  DecisionObserver on_decision;
  bool want_series = false;
  // SimulationResult::records, which grow with the trace.
  bool want_records = true;
  ServiceLevels service_levels;
};

enum class RequestOutcome { kFinished, kRejected, kCancelled };
// "finished", "rejected", "cancelled".
std::string_view RequestOutcomeName(RequestOutcome outcome);

// What came of one request, in seconds of virtual time.
struct RequestRecord {
  double arrival_s = 0;  // as in the trace
  Tokens prompt_tokens = 0;
  Tokens output_tokens = 0;  // generated; 0 unless it finished
  RequestOutcome outcome = RequestOutcome::kFinished;
  RefusalCode refusal = RefusalCode::kNone;
  // Arrival to the end, whatever the end was.
  double end_to_end_s = 0;
  // Arrival to the end of the last prompt chunk; of finished requests only.
  std::optional<double> ttft_s;
  // From there to the end, a token generated; of finished requests that
  // generated any.
  std::optional<double> itl_s;
};

// Nearest rank; 0 over nothing. Simulate() has them exactly of up to 65,536
// values; of more, each is at most 0.1 % from the value at its rank
// (simulator/quantile_sketch.h).
struct Percentiles {
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
};
Percentiles PercentilesOf(std::vector<double> values);

struct SimulationResult {
  std::int64_t requests = 0;
  std::int64_t finished = 0;
  std::int64_t rejected = 0;
  std::int64_t cancelled = 0;
  std::int64_t out_of_memory = 0;  // chunks that the engine could not run
  std::int64_t chunks = 0;         // that ran

  // Prompt tokens computed per second, first arrival to last end.
  double tokens_per_s = 0;
  // Arrival to the end of the last prompt chunk, nearest rank, over requests
  // that finished; 0 when none did.
  double ttft_p50_s = 0;
  double ttft_p90_s = 0;
  double ttft_p99_s = 0;
  // The same of end-to-end latencies, and of each request's mean time between
  // output tokens.
  Percentiles end_to_end_s;
  Percentiles itl_s;
  // Requests that met the service levels; and those a second over span_s.
  ServiceLevels service_levels;
  std::int64_t good_requests = 0;
  double goodput_per_s = 0;
  Bytes peak_bytes = 0;
  Bytes ceiling_bytes = 0;
  // RefusalCodeName -> requests; codes that did not occur are absent.
  std::map<std::string, std::int64_t> refusals;

  // Tokens computed, and prefix cache: tokens found in it, tokens that the
  // trace had as cached and that were computed again, blocks dropped.
  Tokens computed_tokens = 0;
  Tokens cache_hit_tokens = 0;
  Tokens cache_recomputed_tokens = 0;
  std::int64_t cache_evicted_blocks = 0;

  double span_s = 0;  // first arrival to last end, virtual time
  std::vector<SeriesPoint> series;
  // As many as the trace has, in its order; none unless they are wanted.
  std::vector<RequestRecord> records;
};

// InvalidArgument names the option; Internal when the scheduler broke a promise
// (a request that never ends or ends twice, a chunk dearer than its room).
absl::StatusOr<SimulationResult> Simulate(const Trace& trace,
                                          const SimulatorOptions& options);
// The same of a trace that is read as the simulation goes on. Beside series and
// records, where they are wanted, memory grows with the requests that are open
// at once and not with the trace.
absl::StatusOr<SimulationResult> Simulate(TraceSource& trace,
                                          const SimulatorOptions& options);

}  // namespace tidegate

#endif  // TIDEGATE_SIMULATOR_H_
