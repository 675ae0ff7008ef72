// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "bindings/python/src/pull.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "bindings/python/src/errors.h"
#include "estimators/text.h"
#include "tidegate/policy.h"
#include "tidegate/status.h"
#include "tools/inputs.h"
#include "tools/output.h"
#include "tools/simulation.h"
#include "tools/summary.h"

namespace tidegate::python {
namespace {

namespace nb = nanobind;
using internal::InvalidArgument;

Instant At(std::int64_t nanoseconds) { return Instant(Duration(nanoseconds)); }

absl::StatusOr<PolicyFile> ReadPolicy(const PullSetup& setup,
                                      tools::Arguments* args) {
  TG_ASSIGN_OR_RETURN(*args, MakeArguments(setup.flags));
  args->plugins = InProcess(setup.plugins);
  if (!setup.policy_json.has_value()) return tools::MergePolicy(*args);
  TG_ASSIGN_OR_RETURN(PolicyFile policy,
                      ParsePolicyJson(*setup.policy_json, "policy"));
  TG_RETURN_IF_ERROR(tools::OverlayFlags(*args, &policy));
  return policy;
}

// A Gate hands each step to the thread of its one request, and a request's KV
// belongs to the code that runs it.
absl::Status FitForGate(SchedulerOptions* options) {
  if (options->step.DecodesInSteps()) {
    return InvalidArgument(
        "step.decode: a Gate serves engines that decode by themselves: "
        "expected \"engine\"");
  }
  if (options->step.sequences != 1) {
    return InvalidArgument(
        "step.sequences: a Gate gives each step to one request: expected 1, "
        "got ",
        options->step.sequences);
  }
  std::erase(options->ladder, "preempt");
  return absl::OkStatus();
}

nb::object Code(RefusalCode code) {
  if (code == RefusalCode::kNone) return nb::none();
  return nb::cast(std::string(RefusalCodeName(code)));
}

// Work as tuples; module.cc has the kinds.
nb::object Tuple(const Admit& admit) {
  return nb::make_tuple("admit", admit.id, admit.claim_bytes);
}
nb::object Tuple(const RunStep& step) {
  const StepChunk& chunk = step.chunks.front();
  return nb::make_tuple("step", chunk.id, step.step, chunk.start, chunk.n,
                        std::string(BoundName(chunk.bound)),
                        step.price.transient_bytes, step.price.resident_bytes,
                        step.room_bytes);
}
nb::object Tuple(const Reclaim& reclaim) {
  return nb::make_tuple("reclaim", reclaim.reclaim, reclaim.kind,
                        reclaim.bytes);
}
nb::object Tuple(const Preempt& preempt) {
  return nb::make_tuple("preempt", preempt.id);
}
nb::object Tuple(const StartDecode& start) {
  return nb::make_tuple("decode", start.id);
}
nb::object Tuple(const Answer& answer) {
  return nb::make_tuple(
      "answer", answer.id, std::string(OutcomeName(answer.outcome)),
      Code(answer.code), answer.reason, ArithmeticDict(answer.arithmetic),
      answer.largest_prompt_that_fits);
}

bool Accepted(const absl::Status& status) {
  if (absl::IsNotFound(status) || absl::IsAlreadyExists(status) ||
      absl::IsFailedPrecondition(status)) {
    return false;
  }
  ThrowUnlessOk(status);
  return true;
}

}  // namespace

PolicyFile ReadPolicyAndModel(const PullSetup& setup, tools::Arguments* args,
                              std::vector<std::string>* warnings) {
  PolicyFile policy = ValueOrThrow(ReadPolicy(setup, args));
  if (setup.model_json.has_value()) {
    ModelConfig config = ValueOrThrow(
        ParseModelConfig(*setup.model_json, "model", policy.model_overrides));
    policy.model_shape = std::move(config.shape);
    *warnings = std::move(config.warnings);
  }
  return policy;
}

nb::dict ArithmeticDict(const Arithmetic& sum) {
  nb::dict dict;
  dict["live_bytes"] = sum.live;
  dict["claims_bytes"] = sum.claims;
  dict["resident_bytes"] = sum.resident;
  dict["transient_bytes"] = sum.transient;
  dict["fixed_in_n_bytes"] = sum.fixed_in_n;
  dict["ceiling_bytes"] = sum.ceiling;
  dict["headroom_bytes"] = sum.headroom;
  dict["largest_allocation_bytes"] = sum.largest_allocation;
  dict["max_allocation_bytes"] = sum.max_allocation;
  dict["n"] = sum.n;
  dict["kv_len"] = sum.kv_len;
  return dict;
}

std::optional<std::string> Pull::EngineOf(const PullSetup& setup) {
  tools::Arguments args;
  const PolicyFile policy = ValueOrThrow(ReadPolicy(setup, &args));
  if (!policy.engine.has_value()) return std::nullopt;
  return EngineName(*policy.engine);
}

Pull::Pull(const PullSetup& setup) {
  tools::Arguments args;
  PolicyFile policy = ReadPolicyAndModel(setup, &args, &warnings_);
  probe_ = ValueOrThrow(CreateMemoryProbe(policy.probe.value_or("none")));
  // Who only computes warns that a probe has no effect: here it has.
  policy.probe.reset();
  if (policy.engine.has_value()) engine_ = EngineName(*policy.engine);
  tools::PreparedSimulation prepared =
      ValueOrThrow(tools::PrepareSimulation(std::move(policy), args));
  warnings_.insert(warnings_.end(), prepared.warnings.begin(),
                   prepared.warnings.end());
  SchedulerOptions& options = prepared.options.scheduler;
  ThrowUnlessOk(FitForGate(&options));
  limits_ = options.memory;
  plugins_ = prepared.plugins;
  std::shared_ptr<const ChunkPolicy> policy_of_chunks = options.custom_chunk;
  if (policy_of_chunks == nullptr) {
    policy_of_chunks = ValueOrThrow(CreateChunkPolicy(options.chunk_policy));
  }
  chunk_ = policy_of_chunks->Reachable(options.chunk);
  if (!options.calibrate) estimator_ = options.estimator;
  DecisionObserver observer;
  if (!setup.log.is_none()) {
    observer = [log = setup.log](const Decision& decision) {
      const std::string line = DecisionLine(decision);
      const nb::gil_scoped_acquire gil;
      try {
        log(line);
      } catch (nb::python_error& error) {
        error.discard_as_unraisable("the decision log of a tidegate.Gate");
      }
    };
  }
  pull_ = ValueOrThrow(
      PullScheduler::Create(std::move(options), std::move(observer)));
}

void Pull::Submit(RequestId id, const PlanRequest& request,
                  std::int64_t priority, std::string tenant, Bytes prefix_bytes,
                  std::int64_t now) {
  absl::Status status;
  {
    // Whether a long prompt fits may take milliseconds.
    const nb::gil_scoped_release released;
    status = pull_->Submit({.id = id,
                            .request = request,
                            .priority = priority,
                            .tenant = std::move(tenant),
                            .prefix_bytes = prefix_bytes},
                           At(now));
  }
  ThrowUnlessOk(status);
}

bool Pull::Cancel(RequestId id, std::int64_t now) {
  return Accepted(pull_->Cancel(id, At(now)));
}

bool Pull::Finish(RequestId id, std::int64_t now) {
  return Accepted(pull_->Finish(id, At(now)));
}

bool Pull::Decoded(RequestId id, Tokens tokens, std::int64_t now) {
  return Accepted(pull_->Decoded(id, tokens, At(now)));
}

nb::object Pull::Next(std::int64_t now) {
  const std::optional<Work> work = pull_->Next(At(now));
  if (!work.has_value()) return nb::none();
  return std::visit([](const auto& one) { return Tuple(one); }, *work);
}

std::optional<std::int64_t> Pull::NextWake() const {
  const std::optional<Instant> wake = pull_->NextWake();
  if (!wake.has_value()) return std::nullopt;
  return wake->time_since_epoch().count();
}

void Pull::Done(StepId step, std::vector<Bytes> peak, std::vector<Bytes> live,
                std::int64_t took, std::int64_t now) {
  ThrowUnlessOk(
      pull_->Complete(step,
                      StepOutcome::Done({.peak_bytes = std::move(peak),
                                         .live_bytes = std::move(live),
                                         .took = Duration(took)}),
                      At(now)));
}

void Pull::Failed(StepId step, bool out_of_memory, std::int64_t now) {
  ThrowUnlessOk(pull_->Complete(
      step, out_of_memory ? StepOutcome::OutOfMemory() : StepOutcome::Failed(),
      At(now)));
}

void Pull::Reclaimed(ReclaimId reclaim, Bytes freed, std::int64_t now) {
  ThrowUnlessOk(pull_->CompleteReclaim(reclaim, freed, At(now)));
}

void Pull::Tell(const Fact& fact, std::int64_t now) {
  ThrowUnlessOk(pull_->Tell(fact, At(now)));
}

const Estimator& Pull::Prices() const {
  return estimator_ != nullptr ? *estimator_ : pull_->Prices();
}

Pull::Bases Pull::MemoryBases() const {
  const MemoryClasses memory = pull_->Stats().memory;
  return {.ceiling = SatAdd(memory.line, limits_.headroom),
          .idle = std::max<Bytes>(0, memory.other),
          .now = SatAdd(std::max<Bytes>(0, memory.live), memory.claims)};
}

nb::dict Pull::Quote(const PlanRequest& request, const Bases& bases) const {
  absl::StatusOr<Plan> plan;
  {
    const nb::gil_scoped_release released;
    MemoryLimits limits = limits_;
    limits.ceiling = bases.ceiling;
    limits.base = bases.idle;
    plan = PlanPrompt(Prices(), request, limits, chunk_);
    // What fits an idle device may have to wait for others.
    if (plan.ok() && plan->verdict == Verdict::kAdmit &&
        bases.now > bases.idle) {
      limits.base = bases.now;
      const absl::StatusOr<Plan> now_plan = PlanPrompt(
          Prices(), request, limits, chunk_, {.want_largest_prompt = false});
      if (now_plan.ok() && now_plan->verdict == Verdict::kReject) {
        plan->verdict = Verdict::kWait;
        plan->reason = now_plan->reason;
        plan->arithmetic = now_plan->arithmetic;
      }
    }
  }
  ThrowUnlessOk(plan.status());
  nb::dict dict;
  dict["verdict"] = std::string(VerdictName(plan->verdict));
  dict["code"] = Code(plan->code);
  dict["reason"] = plan->reason;
  nb::list chunks;
  for (const PlannedChunk& chunk : plan->chunks) {
    chunks.append(nb::make_tuple(chunk.start, chunk.n, chunk.kv_len,
                                 chunk.transient_bytes));
  }
  dict["chunks"] = chunks;
  dict["peak_bytes"] = plan->peak_bytes;
  dict["largest_prompt_that_fits"] = plan->largest_prompt_that_fits;
  dict["arithmetic"] = ArithmeticDict(plan->arithmetic);
  dict["inequality"] = Describe(plan->arithmetic);
  return dict;
}

nb::dict Pull::Price(Tokens n, Tokens kv_len, MaskKind mask) const {
  const Chunk chunk{.n = n, .kv_len = kv_len, .mask = mask};
  const tidegate::Price price =
      ValueOrThrow(Prices().Explain({.chunks = {&chunk, 1}}));
  nb::dict dict;
  dict["transient_bytes"] = price.transient_bytes;
  dict["resident_bytes"] = price.resident_bytes;
  dict["largest_allocation_bytes"] = price.largest_allocation_bytes;
  dict["fixed_in_n_bytes"] = price.fixed_in_n_bytes;
  dict["route"] = price.route;
  dict["assumed"] = price.assumed;
  nb::dict parts;
  for (const Part& part : price.parts) {
    nb::list terms;
    for (const Term& term : part.terms) {
      terms.append(nb::make_tuple(term.name, term.bytes));
    }
    parts[part.name.c_str()] = terms;
  }
  dict["parts"] = parts;
  return dict;
}

std::string Pull::PluginReports() const {
  tools::JsonWriter json;
  tools::PutPlugins(plugins_->Reports(), json);
  return json.ToString();
}

std::vector<Bytes> Pull::ReadProbe() {
  const MemoryProbeReading reading = ValueOrThrow(probe_->Read());
  std::vector<Bytes> bytes;
  for (const DeviceMemory& device : reading.devices) {
    bytes.push_back(device.used_bytes);
  }
  return bytes;
}

}  // namespace tidegate::python
