// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate._core: what the Python package is made on. Private: its names may
// change in any version.

#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/python/src/errors.h"
#include "bindings/python/src/plugins.h"
#include "bindings/python/src/pull.h"
#include "bindings/python/src/steps.h"
#include "bindings/python/src/verbs.h"
#include "estimators/text.h"
#include "tidegate/catalogue.h"
#include "tools/inputs.h"

namespace tidegate::python {
namespace {

namespace nb = nanobind;
using nb::literals::operator""_a;

using PythonPlugins = std::vector<std::shared_ptr<PythonPlugin>>;

PullSetup Setup(const Flags& flags, std::optional<std::string> policy_json,
                std::optional<std::string> model_json, nb::object log,
                PythonPlugins plugins) {
  return {.flags = flags,
          .policy_json = std::move(policy_json),
          .model_json = std::move(model_json),
          .log = std::move(log),
          .plugins = std::move(plugins)};
}

MaskKind Mask(const std::string& name) {
  return ValueOrThrow(tools::ReadMask({.mask = name}));
}

PlanRequest Request(Tokens prompt, Tokens cached, Tokens max_output,
                    const std::string& mask,
                    const std::vector<std::pair<Tokens, Tokens>>& uncuttable,
                    bool allocated) {
  PlanRequest request{.prompt_tokens = prompt,
                      .cached_tokens = cached,
                      .max_output_tokens = max_output,
                      .mask = Mask(mask),
                      .allocated = allocated};
  for (const auto& [start, length] : uncuttable) {
    request.uncuttable.push_back({.start = start, .length = length});
  }
  return request;
}

nb::dict StatsDict(const Pull& pull) {
  const SchedulerStats stats = pull.Stats();
  nb::dict dict;
  dict["arrived"] = stats.arrived;
  dict["admitted"] = stats.admitted;
  dict["finished"] = stats.finished;
  dict["rejected"] = stats.rejected;
  dict["cancelled"] = stats.cancelled;
  dict["steps"] = stats.steps;
  dict["out_of_memory"] = stats.out_of_memory;
  dict["reclaims"] = stats.reclaims;
  dict["waiting"] = stats.waiting;
  dict["claimed_bytes"] = stats.claimed_bytes;
  dict["resident_bytes"] = stats.resident_bytes;
  dict["live_bytes"] = stats.memory.live;
  dict["reclaimable_bytes"] = stats.memory.reclaimable;
  dict["in_flight_bytes"] = stats.memory.in_flight;
  dict["line_bytes"] = stats.memory.line;
  return dict;
}

}  // namespace
}  // namespace tidegate::python

NB_MODULE(_core, m) {
  namespace nb = nanobind;
  using namespace tidegate;          // NOLINT
  using namespace tidegate::python;  // NOLINT
  using nb::literals::operator""_a;

  m.attr("version") = TIDEGATE_VERSION;
  m.def("format_bytes",
        [](Bytes bytes) { return internal::FormatBytes(bytes); });
  BindPlugins(m);
  m.def("simulate", &Simulate, "flags"_a, "want_records"_a, "plugins"_a);
  m.def("compare", &Compare, "flags"_a, "resume"_a, "want_table"_a);
  m.def("compare_tasks", &CompareTasks, "flags"_a, "resume"_a);
  m.def("compare_one", &CompareOne, "flags"_a, "at"_a);
  m.def("plan", &python::RunPlan, "flags"_a);
  m.def(
      "policy_engine",
      [](const Flags& flags, std::optional<std::string> policy_json) {
        return Pull::EngineOf(
            Setup(flags, std::move(policy_json), std::nullopt, nb::none(), {}));
      },
      "flags"_a, "policy_json"_a.none());

  // next() answers None or one of
  //   ("admit", id, claim_bytes)
  //   ("step", id, step, start, n, bound, transient, resident, room)
  //   ("reclaim", reclaim, kind, bytes)
  //   ("decode", id)
  //   ("answer", id, outcome, code, reason, arithmetic, largest_prompt)
  //   ("preempt", id), which a Gate never asks for
  nb::class_<Pull>(m, "Pull")
      .def(
          "__init__",
          [](Pull* self, const Flags& flags,
             std::optional<std::string> policy_json,
             std::optional<std::string> model_json, nb::object log,
             PythonPlugins plugins) {
            new (self)
                Pull(Setup(flags, std::move(policy_json), std::move(model_json),
                           std::move(log), std::move(plugins)));
          },
          "flags"_a, "policy_json"_a.none(), "model_json"_a.none(),
          "log"_a.none(), "plugins"_a)
      .def(
          "submit",
          [](Pull& self, RequestId id, Tokens prompt, Tokens cached,
             Tokens max_output, const std::string& mask,
             const std::vector<std::pair<Tokens, Tokens>>& uncuttable,
             bool allocated, std::int64_t priority, std::string tenant,
             Bytes prefix_bytes, std::int64_t now) {
            self.Submit(id,
                        Request(prompt, cached, max_output, mask, uncuttable,
                                allocated),
                        priority, std::move(tenant), prefix_bytes, now);
          },
          "id"_a, "prompt"_a, "cached"_a, "max_output"_a, "mask"_a,
          "uncuttable"_a, "allocated"_a, "priority"_a, "tenant"_a,
          "prefix_bytes"_a, "now"_a)
      .def("cancel", &Pull::Cancel, "id"_a, "now"_a)
      .def("finish", &Pull::Finish, "id"_a, "now"_a)
      .def("decoded", &Pull::Decoded, "id"_a, "tokens"_a, "now"_a)
      .def("next", &Pull::Next, "now"_a)
      .def("next_wake", &Pull::NextWake)
      .def("done", &Pull::Done, "step"_a, "peak"_a, "live"_a, "took"_a, "now"_a)
      .def("failed", &Pull::Failed, "step"_a, "out_of_memory"_a, "now"_a)
      .def("reclaimed", &Pull::Reclaimed, "reclaim"_a, "freed"_a, "now"_a)
      .def(
          "tell_memory",
          [](Pull& self, std::vector<Bytes> live, std::int64_t now) {
            self.Tell(MemoryReading{std::move(live)}, now);
          },
          "live"_a, "now"_a)
      .def(
          "tell_reclaimable",
          [](Pull& self, std::string kind, Bytes bytes, std::int64_t now) {
            self.Tell(Reclaimable{std::move(kind), bytes}, now);
          },
          "kind"_a, "bytes"_a, "now"_a)
      .def(
          "tell_ceiling",
          [](Pull& self, Bytes ceiling, std::int64_t now) {
            self.Tell(CeilingChanged{.ceiling = ceiling}, now);
          },
          "ceiling"_a, "now"_a)
      .def_prop_ro("prices_are_fixed", &Pull::prices_are_fixed)
      .def("memory_bases",
           [](const Pull& self) {
             const Pull::Bases bases = self.MemoryBases();
             return nb::make_tuple(bases.ceiling, bases.idle, bases.now);
           })
      .def(
          "quote",
          [](const Pull& self, Tokens prompt, Tokens cached, Tokens max_output,
             const std::string& mask,
             const std::vector<std::pair<Tokens, Tokens>>& uncuttable,
             bool allocated, Bytes ceiling, Bytes idle, Bytes now) {
            return self.Quote(Request(prompt, cached, max_output, mask,
                                      uncuttable, allocated),
                              {.ceiling = ceiling, .idle = idle, .now = now});
          },
          "prompt"_a, "cached"_a, "max_output"_a, "mask"_a, "uncuttable"_a,
          "allocated"_a, "ceiling"_a, "idle"_a, "now"_a)
      .def(
          "price",
          [](const Pull& self, Tokens n, Tokens kv_len,
             const std::string& mask) {
            return self.Price(n, kv_len, Mask(mask));
          },
          "n"_a, "kv_len"_a, "mask"_a)
      .def("stats", &StatsDict)
      .def_prop_ro("has_probe", &Pull::has_probe)
      .def("read_probe", &Pull::ReadProbe)
      .def("plugin_reports", &Pull::PluginReports)
      .def_prop_ro("warnings", &Pull::warnings)
      .def_prop_ro("engine", &Pull::engine);
  // A step: chunks as (n, kv_len), decode tokens, their longest kv length and
  // the sum of their kv lengths.
  nb::class_<Steps>(m, "Steps")
      .def(
          "__init__",
          [](Steps* self, const Flags& flags,
             std::optional<std::string> policy_json,
             std::optional<std::string> model_json) {
            new (self) Steps(Setup(flags, std::move(policy_json),
                                   std::move(model_json), nb::none(), {}));
          },
          "flags"_a, "policy_json"_a.none(), "model_json"_a.none())
      .def(
          "price",
          [](const Steps& self, std::vector<std::pair<Tokens, Tokens>> chunks,
             Tokens decodes, Tokens kv_len) {
            return self.Price({std::move(chunks), decodes, kv_len, 0});
          },
          "chunks"_a, "decodes"_a, "decode_kv_len"_a)
      .def(
          "took",
          [](const Steps& self, std::vector<std::pair<Tokens, Tokens>> chunks,
             Tokens decodes, Tokens kv_sum) {
            return self.Took({std::move(chunks), decodes, 0, kv_sum});
          },
          "chunks"_a, "decodes"_a, "decode_kv_sum"_a)
      .def(
          "learn",
          [](Steps& self, std::vector<std::pair<Tokens, Tokens>> chunks,
             Tokens decodes, Tokens kv_sum, std::int64_t took) {
            self.Learn({std::move(chunks), decodes, 0, kv_sum}, took);
          },
          "chunks"_a, "decodes"_a, "decode_kv_sum"_a, "took"_a)
      .def(
          "quote",
          [](const Steps& self, Tokens prompt, Tokens cached, Tokens max_output,
             bool pooled, Bytes base) {
            return self.Quote(
                Request(prompt, cached, max_output, "causal", {}, false),
                pooled, base);
          },
          "prompt"_a, "cached"_a, "max_output"_a, "pooled"_a, "base"_a)
      .def("settings", &Steps::Settings)
      .def_prop_ro("warnings", &Steps::warnings)
      .def_prop_ro("engine", &Steps::engine);
}
