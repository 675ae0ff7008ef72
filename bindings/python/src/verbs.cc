// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "bindings/python/src/verbs.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "bindings/python/src/errors.h"
#include "tidegate/simulator.h"
#include "tools/compare.h"

namespace tidegate::python {
namespace {

namespace nb = nanobind;

// One column of a table: a list with one entry of each row.
template <typename Rows, typename Get>
nb::list Column(const Rows& rows, Get get) {
  nb::list column;
  for (const auto& row : rows) column.append(nb::cast(get(row)));
  return column;
}

nb::dict RecordColumns(const std::vector<RequestRecord>& records) {
  using R = RequestRecord;
  nb::dict columns;
  columns["arrival_s"] =
      Column(records, [](const R& r) { return r.arrival_s; });
  columns["prompt_tokens"] =
      Column(records, [](const R& r) { return r.prompt_tokens; });
  columns["output_tokens"] =
      Column(records, [](const R& r) { return r.output_tokens; });
  columns["outcome"] = Column(records, [](const R& r) {
    return std::string(RequestOutcomeName(r.outcome));
  });
  columns["refusal"] =
      Column(records, [](const R& r) -> std::optional<std::string> {
        if (r.refusal == RefusalCode::kNone) return std::nullopt;
        return std::string(RefusalCodeName(r.refusal));
      });
  columns["end_to_end_s"] =
      Column(records, [](const R& r) { return r.end_to_end_s; });
  columns["ttft_s"] = Column(records, [](const R& r) { return r.ttft_s; });
  columns["itl_s"] = Column(records, [](const R& r) { return r.itl_s; });
  return columns;
}

}  // namespace

nb::tuple Simulate(const Flags& flags, bool want_records,
                   const std::vector<std::shared_ptr<PythonPlugin>>& plugins) {
  tools::Arguments args = ValueOrThrow(MakeArguments(flags));
  args.plugins = InProcess(plugins);
  args.json = true;
  std::ostringstream out, err;
  std::vector<RequestRecord> records;
  tools::Streams io{.out = out, .err = err};
  if (want_records) {
    io.on_result = [&records](const SimulationResult& result) {
      records = result.records;
    };
  }
  absl::Status status;
  {
    const nb::gil_scoped_release released;
    status = tools::RunSimulate(args, io).status();
  }
  ThrowUnlessOk(status);
  return nb::make_tuple(out.str(), err.str(), RecordColumns(records));
}

nb::tuple Compare(const Flags& flags, bool resume, bool want_table) {
  tools::Arguments args = ValueOrThrow(MakeArguments(flags));
  args.resume = resume;
  args.json = !want_table;
  std::ostringstream out, err;
  tools::Streams io{.out = out, .err = err};
  absl::Status status;
  {
    const nb::gil_scoped_release released;
    // A run that failed says so in its row.
    status = tools::RunCompare(args, io).status();
  }
  ThrowUnlessOk(status);
  return nb::make_tuple(out.str(), err.str());
}

nb::list CompareTasks(const Flags& flags, bool resume) {
  tools::Arguments args = ValueOrThrow(MakeArguments(flags));
  args.resume = resume;
  absl::StatusOr<std::vector<tools::CompareTask>> tasks;
  {
    const nb::gil_scoped_release released;
    tasks = tools::CompareTasks(args);
  }
  nb::list list;
  for (const tools::CompareTask& task : ValueOrThrow(std::move(tasks))) {
    list.append(nb::make_tuple(task.at, task.file));
  }
  return list;
}

std::string CompareOne(const Flags& flags, std::int64_t at) {
  const tools::Arguments args = ValueOrThrow(MakeArguments(flags));
  absl::StatusOr<std::string> text;
  {
    const nb::gil_scoped_release released;
    text = tools::CompareOne(args, at);
  }
  return ValueOrThrow(std::move(text));
}

nb::tuple RunPlan(const Flags& flags) {
  tools::Arguments args = ValueOrThrow(MakeArguments(flags));
  args.json = true;
  std::ostringstream out, err;
  tools::Streams io{.out = out, .err = err};
  absl::Status status;
  {
    const nb::gil_scoped_release released;
    status = tools::RunPlan(args, io).status();
  }
  ThrowUnlessOk(status);
  return nb::make_tuple(out.str(), err.str());
}

}  // namespace tidegate::python
