#include <cstdio>
#include <cstdlib>
#include "tests/testing/worlds.h"
namespace tidegate {
namespace {
using namespace testing;
void Lab(const char* what, SimulatorOptions options, const TraceSpec& spec) {
  for (int seed = 1; seed <= 3; ++seed) {
    const Trace trace = DrawTrace(seed, spec);
    const auto us = PlayWorld("", trace, options);
    const auto oracle = PlayWorld("oracle", trace, options);
    std::printf("%-22s seed %d: us fin %ld oom %ld good %.4f tok %.0f | oracle fin %ld oom %ld good %.4f tok %.0f | false %ld ratio %.4f tokratio %.4f (", what, seed,
      us.finished, us.out_of_memory, us.goodput_per_s, us.tokens_per_s, oracle.finished, oracle.out_of_memory, oracle.goodput_per_s, oracle.tokens_per_s,
      FalseRefusals(us, oracle), us.goodput_per_s/oracle.goodput_per_s, us.tokens_per_s/oracle.tokens_per_s);
    for (auto& [k,v] : us.refusals) std::printf("%s=%ld ", k.c_str(), v);
    std::printf("| ");
    for (auto& [k,v] : oracle.refusals) std::printf("%s=%ld ", k.c_str(), v);
    std::printf(")\n");
  }
}
TEST(Lab, Worlds) {
  for (double rate : {0.2, 0.4})
  for (Bytes c : {22, 24}) {
    TraceSpec spec; spec.per_s = rate;
    std::printf("--- ceiling %ld rate %.1f\n", (long)c, rate);
    auto o = UnfusedWorld(c * kWorldGiB);
    Lab("right", o, spec);
    auto x = o; x.world.price_error.factor = 2; Lab("true x2", x, spec);
    x = o; x.world.price_error.factor = 0.5; Lab("true x0.5", x, spec);
    x = o; x.world.reading_lag = std::chrono::milliseconds(500); x.scheduler.reading_lag = x.world.reading_lag; Lab("lag .5", x, spec);
x.scheduler.calibrate=false; Lab("lag nocal", x, spec);
    x = o; x.world.price_error = {1, 0.2}; x.world.time_error={1,0.2}; Lab("spread .2", x, spec);
  }
}
}
}
