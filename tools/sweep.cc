// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/sweep.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "estimators/text.h"
#include "tidegate/status.h"

namespace tidegate::tools {
namespace {

// A century, as for arrivals in a file.
constexpr double kArrivalMax = 3'155'760'000.0 * 1e9;

void ShuffleGaps(std::int64_t seed, Trace* trace) {
  std::vector<Duration> gaps;
  for (std::size_t i = 1; i < trace->rows.size(); ++i) {
    gaps.push_back(trace->rows[i].arrival - trace->rows[i - 1].arrival);
  }
  // Written out: std::shuffle gives another order with another library.
  std::mt19937_64 random(static_cast<std::uint64_t>(seed));
  for (std::size_t i = gaps.size(); i > 1; --i) {
    std::swap(gaps[i - 1], gaps[random() % i]);
  }
  for (std::size_t i = 1; i < trace->rows.size(); ++i) {
    trace->rows[i].arrival = trace->rows[i - 1].arrival + gaps[i - 1];
  }
}

// What the threads share.
class Sweep {
 public:
  using Done =
      std::function<void(std::size_t, absl::StatusOr<SimulationResult>)>;

  Sweep(const std::vector<SweepRun>& runs, const Done& done)
      : runs_(runs), done_(done), fractions_(runs.size()) {
    for (const SweepRun& run : runs) {
      total_ += static_cast<double>(run.trace->rows.size());
    }
  }

  void Work() {
    while (true) {
      const std::size_t at = next_.fetch_add(1);
      if (at >= runs_.size()) return;
      absl::StatusOr<SimulationResult> result = Run(at);
      fractions_[at].store(1, std::memory_order_relaxed);
      if (done_) done_(at, std::move(result));
      const std::lock_guard lock(mutex_);
      ++ended_;
      changed_.notify_one();
    }
  }

  // Waits for the end; tells how far everything is about ten times a second.
  void Wait(const std::function<void(double)>& progress) {
    std::unique_lock lock(mutex_);
    while (ended_ < runs_.size()) {
      changed_.wait_for(lock, std::chrono::milliseconds(100));
      if (!progress) continue;
      const double share = Share();
      lock.unlock();
      progress(share);
      lock.lock();
    }
    if (progress) progress(1);
  }

 private:
  absl::StatusOr<SimulationResult> Run(std::size_t at) {
    const SweepRun& run = runs_[at];
    TG_ASSIGN_OR_RETURN(const Trace trace,
                        VaryArrivals(*run.trace, run.load, run.seed));
    SimulatorOptions options = run.options;
    options.progress = [this, at](double fraction) {
      fractions_[at].store(fraction, std::memory_order_relaxed);
    };
    return Simulate(trace, options);
  }

  double Share() const {
    double requests = 0;
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      requests += fractions_[i].load(std::memory_order_relaxed) *
                  static_cast<double>(runs_[i].trace->rows.size());
    }
    return total_ > 0 ? requests / total_ : 1;
  }

  const std::vector<SweepRun>& runs_;
  const Done& done_;
  std::vector<std::atomic<double>> fractions_;
  double total_ = 0;
  std::atomic<std::size_t> next_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t ended_ = 0;
};

}  // namespace

absl::StatusOr<Trace> VaryArrivals(const Trace& trace, double load,
                                   std::int64_t seed) {
  Trace varied = trace;
  if (seed != 0) ShuffleGaps(seed, &varied);
  if (load == 1) return varied;
  for (TraceRow& row : varied.rows) {
    const double scaled =
        static_cast<double>(row.arrival.time_since_epoch().count()) / load;
    if (!(scaled <= kArrivalMax)) {
      return internal::InvalidArgument(
          "--load: expected arrivals within a century, which the trace divided "
          "by the load exceeds");
    }
    row.arrival = Instant(Duration(std::llround(scaled)));
  }
  return varied;
}

void RunSweep(const std::vector<SweepRun>& runs, int jobs,
              const std::function<void(std::size_t,
                                       absl::StatusOr<SimulationResult>)>& done,
              const std::function<void(double)>& progress) {
  Sweep sweep(runs, done);
  const std::size_t count =
      std::min(runs.size(), static_cast<std::size_t>(std::max(jobs, 1)));
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < count; ++i) {
    threads.emplace_back([&sweep] { sweep.Work(); });
  }
  sweep.Wait(progress);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace tidegate::tools
