// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A plug-in of every kind that does what its option `does` says.
#include <chrono>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <thread>

#include "tidegate/plugin.hpp"

namespace plugin = tidegate::plugin;

namespace {

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

class Hostile {
 public:
  explicit Hostile(const plugin::Setup& setup)
      : does_(setup.Text("does", "nothing")),
        after_(setup.Integer("after", 0)) {
    if (does_ == "refuse") throw std::invalid_argument("not on a Wednesday");
    if (does_ == "throw_int") throw 5;
  }

  bool Does(const char* what) const { return Now() && does_ == what; }
  double Number(double otherwise) const {
    if (!Now()) return otherwise;
    if (does_ == "nan") return std::nan("");
    if (does_ == "infinite") return std::numeric_limits<double>::infinity();
    if (does_ == "random") return double(random_() % 1000);
    Misbehave();
    return otherwise;
  }
  std::int64_t Integer(std::int64_t otherwise) const {
    if (!Now()) return otherwise;
    if (does_ == "max") return kMax;
    if (does_ == "negative") return -5;
    if (does_ == "unset") return TIDEGATE_UNSET;
    if (does_ == "random") return std::int64_t(random_() % 100'000'000);
    Misbehave();
    return otherwise;
  }

 private:
  // So that what is sampled at load is good.
  bool Now() const { return ++calls_ > after_; }
  void Misbehave() const {
    if (does_ == "throw") throw std::runtime_error("inside");
    if (does_ == "throw_again") throw 7;
    if (does_ == "slow") {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

  std::string does_;
  std::int64_t after_;
  mutable std::int64_t calls_ = 0;
  mutable std::mt19937 random_{1};
};

struct HostileEstimator : plugin::Estimator, Hostile {
  using Hostile::Hostile;
  plugin::Cost Price(const tidegate_step& step) const {
    std::int64_t bytes = 0;
    for (const tidegate_chunk& chunk : plugin::Chunks(step)) {
      bytes = plugin::Add(bytes, plugin::Mul(chunk.n, 1024));
    }
    bytes = plugin::Add(bytes, step.decode_tokens * 1024);
    if (Does("falls") && !step.chunk_count) return {bytes};
    if (Does("falls") && step.chunks[0].n > 700) return {bytes / 2};
    return {Integer(bytes)};
  }
  std::vector<std::int64_t> Breakpoints(const tidegate_range& range) const {
    if (Does("bad_breakpoints")) return {range.hi, range.lo};
    if (Does("many_breakpoints")) {
      return std::vector<std::int64_t>(1'000'000, range.hi);
    }
    return {};
  }
  std::int64_t SequenceBytes(std::int64_t tokens, std::int64_t) const {
    if (Does("shrinks") && tokens > 1000) return 5;
    return plugin::Mul(tokens, 1000);
  }
  std::vector<plugin::Term> Terms(const tidegate_step& step) const {
    if (Does("bad_terms")) return {{"one", 1}};
    return {{"all", Price(step).transient_bytes}};
  }
  std::string Route(const tidegate_step&) const {
    return Does("bad_route") ? "two words" : "hostile";
  }
};

struct HostileOrder : plugin::Order, Hostile {
  using Hostile::Hostile;
  double Key(const tidegate_request& request, const tidegate_moment&) const {
    return Number(double(request.arrived_ns));
  }
  bool MayPass(const tidegate_request&, const tidegate_moment&) const {
    if (Does("throw")) throw 1;
    return true;
  }
};

struct HostilePressure : plugin::Pressure, Hostile {
  explicit HostilePressure(const plugin::Setup& setup)
      : Hostile(setup), patience_(setup.Integer("patience", 1'000'000)) {}
  double Key(const tidegate_request& request) const {
    return Number(double(request.arrived_ns));
  }
  std::int64_t PatienceNs() const { return patience_; }
  std::int64_t patience_;
};

struct HostileChunk : plugin::Chunk, Hostile {
  using Hostile::Hostile;
  std::int64_t Width(const tidegate_chunk_question& question) const {
    if (Does("wait")) return 0;
    if (Does("beyond")) return question.fits + 1;
    if (Does("most")) return question.most;
    if (Does("narrow")) return 1;
    // What is asked beyond what may be asked has an answer too.
    if (question.need_bytes(question.host, -1) != TIDEGATE_BYTES_MAX) return -9;
    return Integer(question.fits);
  }
};

struct HostileAdmission : plugin::Admission, Hostile {
  using Hostile::Hostile;
  bool MayStart(const tidegate_admission_question& question) const {
    if (Does("never")) return false;
    if (Does("always")) return true;
    Integer(0);
    return question.fits == 1;
  }
  std::int64_t OutputTokens(const tidegate_request& request,
                            std::int64_t) const {
    if (Does("always") || Does("never")) return request.max_output_tokens;
    return Integer(request.max_output_tokens);
  }
};

}  // namespace

TIDEGATE_PLUGIN("hostile", "1", HostileEstimator, HostileOrder, HostilePressure,
                HostileChunk, HostileAdmission)
