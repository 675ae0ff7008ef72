// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/torture/runner.h"

#include <pthread.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iomanip>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <sstream>
#include <thread>
#include <utility>

#include "tools/progress.h"

namespace tidegate::torture {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;
using testing::kFaultNames;
using testing::kFaults;
using testing::TortureCounts;

// What a signal handler may look at: which seed this thread runs, and where to
// say so.
struct Current {
  int harness = 0;
  std::uint64_t seed = 0;
};
constinit thread_local Current current;
volatile int last_words = -1;

// "stop HARNESS SEED SIGNAL", by calls that a signal handler may make.
void SayStop(int harness, std::uint64_t seed, int number) {
  char text[80];
  std::size_t length = 0;
  const auto put = [&](std::uint64_t value) {
    char digits[20];
    int count = 0;
    do {
      digits[count++] = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value > 0);
    text[length++] = ' ';
    while (count > 0) text[length++] = digits[--count];
  };
  for (const char c : {'s', 't', 'o', 'p'}) text[length++] = c;
  put(static_cast<std::uint64_t>(harness));
  put(seed);
  put(static_cast<std::uint64_t>(number));
  text[length++] = '\n';
  if (write(last_words, text, length) < 0) _exit(2);
}

void OnSignal(int number) {
  SayStop(current.harness, current.seed, number);
  _exit(1);
}

// Processor time: a seed takes the same on a machine that others use as well.
std::chrono::nanoseconds TimeOf(clockid_t clock) {
  timespec time{};
  if (clock_gettime(clock, &time) != 0) return {};
  return std::chrono::seconds(time.tv_sec) +
         std::chrono::nanoseconds(time.tv_nsec);
}

// The seed that took longest.
struct Slowest {
  std::uint64_t seed = 0;
  double seconds = 0;
  void Note(std::uint64_t other, double took) {
    if (took > seconds) *this = {other, took};
  }
};

struct Failure {
  std::size_t harness = 0;
  std::uint64_t seed = 0;
  std::string wrong;
};

// The child: runs the seeds and writes what came of them to `pipe`.
class Workers {
 public:
  Workers(const TortureOptions& options, const std::vector<Harness>& harnesses,
          std::ostream& err)
      : options_(options), harnesses_(harnesses), err_(err), slots_(Jobs()) {}

  void Run(int pipe) {
    last_words = pipe;
    for (const int number : {SIGABRT, SIGSEGV, SIGFPE, SIGBUS, SIGILL}) {
      struct sigaction action = {};
      action.sa_handler = OnSignal;
      sigaction(number, &action, nullptr);
    }
    std::vector<std::thread> threads;
    running_ = Jobs();
    for (std::size_t i = 0; i < Jobs(); ++i) {
      threads.emplace_back([this, i] { Work(slots_[i]); });
    }
    Watch();
    for (std::thread& thread : threads) thread.join();
    Json answer = {{"done", done_.load()}, {"counts", Json::object()}};
    for (const auto& [harness, counts] : counts_) {
      answer["counts"][harness] = {
          {"events", counts.events},     {"refused", counts.refused},
          {"requests", counts.requests}, {"steps", counts.steps},
          {"chunks", counts.chunks},     {"faults", counts.faults}};
    }
    answer["slowest"] = Json::object();
    for (const auto& [harness, slowest] : slowest_) {
      answer["slowest"][harness] = {slowest.seed, slowest.seconds};
    }
    for (const Failure& failure : failures_) {
      answer["failures"].push_back({{"harness", failure.harness},
                                    {"seed", failure.seed},
                                    {"wrong", failure.wrong}});
    }
    const std::string text =
        answer.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    for (std::size_t at = 0; at < text.size();) {
      const ssize_t wrote = write(pipe, text.data() + at, text.size() - at);
      if (wrote <= 0) _exit(2);
      at += static_cast<std::size_t>(wrote);
    }
  }

 private:
  struct Slot {
    std::atomic<std::uint64_t> seed{0};
    std::atomic<int> harness{0};
    std::atomic<clockid_t> clock{};      // of its thread
    std::atomic<std::int64_t> since{0};  // on that; 0: idle
  };

  std::size_t Jobs() const {
    return static_cast<std::size_t>(std::max(1, options_.jobs));
  }

  void Work(Slot& slot) {
    std::map<std::string, TortureCounts> counts;
    std::map<std::string, Slowest> slowest;
    clockid_t clock{};
    pthread_getcpuclockid(pthread_self(), &clock);
    slot.clock = clock;
    while (!stop_) {
      const std::uint64_t index = next_++;
      if (index >= options_.seeds) break;
      const std::uint64_t seed = options_.first + index;
      for (std::size_t h = 0; h < harnesses_.size() && !stop_; ++h) {
        current = {.harness = static_cast<int>(h), .seed = seed};
        slot.seed = seed;
        slot.harness = static_cast<int>(h);
        const std::chrono::nanoseconds start = TimeOf(clock);
        slot.since = std::max<std::int64_t>(1, start.count());
        SeedResult result = harnesses_[h].run(seed);
        slot.since = 0;
        const std::string& name = harnesses_[h].name;
        counts[name].Add(result.counts);
        slowest[name].Note(
            seed, std::chrono::duration<double>(TimeOf(clock) - start).count());
        if (result.wrong.empty()) continue;
        const std::lock_guard lock(mutex_);
        failures_.push_back({h, seed, std::move(result.wrong)});
        stop_ = true;
      }
      ++done_;
    }
    const std::lock_guard lock(mutex_);
    for (const auto& [harness, mine] : counts) counts_[harness].Add(mine);
    for (const auto& [harness, mine] : slowest) {
      slowest_[harness].Note(mine.seed, mine.seconds);
    }
    --running_;
    ended_.notify_all();
  }

  // Shows how far it is, and looks for seeds that do not end.
  void Watch() {
    std::optional<tools::ProgressBar> bar;
    if (options_.progress) bar.emplace(err_);
    std::unique_lock lock(mutex_);
    while (running_ > 0) {
      ended_.wait_for(lock, std::chrono::milliseconds(100));
      if (bar.has_value()) {
        bar->Update(
            static_cast<double>(done_) /
            static_cast<double>(std::max<std::uint64_t>(1, options_.seeds)));
      }
      for (const Slot& slot : slots_) {
        const std::chrono::nanoseconds since(slot.since);
        if (since.count() == 0) continue;
        if (TimeOf(slot.clock) - since < options_.longest) continue;
        SayStop(slot.harness, slot.seed, 0);
        _exit(1);
      }
    }
    if (bar.has_value()) bar->Finish();
  }

  const TortureOptions& options_;
  const std::vector<Harness>& harnesses_;
  std::ostream& err_;
  std::vector<Slot> slots_;
  std::atomic<std::uint64_t> next_{0};
  std::atomic<std::uint64_t> done_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable ended_;
  std::size_t running_ = 0;
  std::vector<Failure> failures_;
  std::map<std::string, TortureCounts> counts_;
  std::map<std::string, Slowest> slowest_;
};

struct Outcome {
  std::uint64_t done = 0;
  std::map<std::string, TortureCounts> counts;
  std::map<std::string, Slowest> slowest;
  std::vector<Failure> failures;
  bool silent = true;  // the child ended without a word
};

Outcome ReadOutcome(int pipe, const TortureOptions& options) {
  std::string text;
  char buffer[4096];
  for (ssize_t got = 0; (got = read(pipe, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(got));
  }
  Outcome outcome;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    outcome.silent = false;
    if (line.rfind("stop ", 0) == 0) {
      std::istringstream words(line.substr(5));
      Failure failure;
      int number = 0;
      words >> failure.harness >> failure.seed >> number;
      failure.wrong =
          number == 0 ? "still running after " +
                            std::to_string(options.longest.count()) + " s"
                      : "stopped by signal " + std::to_string(number) +
                            (number == SIGABRT ? " (an invariant broke)" : "");
      outcome.failures.push_back(std::move(failure));
      continue;
    }
    const Json json = Json::parse(line);
    outcome.done = json["done"];
    for (const auto& [name, value] : json["counts"].items()) {
      TortureCounts& counts = outcome.counts[name];
      counts.events = value["events"];
      counts.refused = value["refused"];
      counts.requests = value["requests"];
      counts.steps = value["steps"];
      counts.chunks = value["chunks"];
      counts.faults = value["faults"];
    }
    for (const auto& [name, value] : json["slowest"].items()) {
      outcome.slowest[name] = {value[0], value[1]};
    }
    for (const Json& failure : json.value("failures", Json::array())) {
      outcome.failures.push_back(
          {failure["harness"], failure["seed"], failure["wrong"]});
    }
  }
  std::sort(outcome.failures.begin(), outcome.failures.end(),
            [](const Failure& a, const Failure& b) { return a.seed < b.seed; });
  return outcome;
}

Json CountsJson(const TortureCounts& counts) {
  Json json = {{"events", counts.events},     {"refused", counts.refused},
               {"requests", counts.requests}, {"steps", counts.steps},
               {"chunks", counts.chunks},     {"faults", Json::object()}};
  for (std::size_t i = 0; i < kFaults; ++i) {
    if (counts.faults[i] == 0) continue;
    json["faults"][std::string(kFaultNames[i])] = counts.faults[i];
  }
  return json;
}

void PrintCounts(const std::string& name, const TortureCounts& counts,
                 const Slowest& slowest, std::ostream& out) {
  out << name << ": " << counts.requests << " requests, ";
  if (counts.events > 0) {
    out << counts.events << " events (" << counts.refused << " refused), "
        << counts.steps << " steps, ";
  }
  out << counts.chunks << " chunks; the slowest is seed " << slowest.seed
      << ", " << std::fixed << std::setprecision(2) << slowest.seconds
      << " s\n";
  const std::int64_t faults = std::accumulate(
      counts.faults.begin(), counts.faults.end(), std::int64_t{0});
  if (faults > 0) out << "  " << faults << " faults:\n";
  for (std::size_t i = 0; i < kFaults; ++i) {
    if (counts.faults[i] == 0) continue;
    out << "  " << std::left << std::setw(20) << kFaultNames[i] << std::right
        << std::setw(12) << counts.faults[i] << "\n";
  }
}

}  // namespace

int RunTorture(const TortureOptions& options,
               const std::vector<Harness>& harnesses, std::ostream& out,
               std::ostream& err) {
  const Clock::time_point start = Clock::now();
  int ends[2];
  if (pipe(ends) != 0) {
    err << "tidegate-torture: no pipe\n";
    return 1;
  }
  out.flush();
  err.flush();
  const pid_t child = fork();
  if (child < 0) {
    err << "tidegate-torture: no process\n";
    return 1;
  }
  if (child == 0) {
    close(ends[0]);
    Workers(options, harnesses, err).Run(ends[1]);
    _exit(0);
  }
  close(ends[1]);
  const Outcome outcome = ReadOutcome(ends[0], options);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  const double seconds =
      std::chrono::duration<double>(Clock::now() - start).count();
  if (outcome.silent) {
    err << "tidegate-torture: the seeds ended without an answer, status "
        << status << "\n";
    return 1;
  }
  Json json = {{"first", options.first}, {"seeds", options.seeds},
               {"done", outcome.done},   {"jobs", options.jobs},
               {"seconds", seconds},     {"held", outcome.failures.empty()}};
  for (const auto& [name, counts] : outcome.counts) {
    const Slowest slowest =
        outcome.slowest.count(name) > 0 ? outcome.slowest.at(name) : Slowest{};
    json["harnesses"][name] = CountsJson(counts);
    json["harnesses"][name]["slowest_seed"] = slowest.seed;
    json["harnesses"][name]["slowest_seconds"] = slowest.seconds;
    if (!options.json) PrintCounts(name, counts, slowest, out);
  }
  if (outcome.failures.empty()) {
    if (options.json) {
      out << json.dump(2) << "\n";
    } else {
      out << "every law held on " << outcome.done << " seeds from "
          << options.first << ", in " << std::fixed << std::setprecision(1)
          << seconds << " s on " << options.jobs
          << (options.jobs == 1 ? " thread\n" : " threads\n");
    }
    return 0;
  }
  const Failure& failure = outcome.failures.front();
  const Harness& harness = harnesses.at(failure.harness);
  const std::string seed = std::to_string(failure.seed);
  const std::string replay = "tidegate-torture --seeds 1 --first " + seed +
                             " --harness " + harness.name;
  const bool stuck = failure.wrong.rfind("still running", 0) == 0;
  const std::string shortest = stuck ? "" : harness.explain(failure.seed);
  if (options.json) {
    json["seed"] = failure.seed;
    json["harness"] = harness.name;
    json["wrong"] = failure.wrong;
    json["shortest"] = shortest;
    json["replay"] = replay;
    out << json.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
    return 1;
  }
  out << harness.name << " of seed " << seed << ": " << failure.wrong << "\n"
      << shortest << replay << "\n";
  return 1;
}

}  // namespace tidegate::torture
