// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/planned.h"

#include <algorithm>
#include <utility>

#include "estimators/text.h"
#include "tidegate/policy.h"
#include "tidegate/status.h"

namespace tidegate::tools {

using internal::Concat;
using internal::InvalidArgument;

namespace {

absl::StatusOr<PlanRequest> ReadRequest(const Arguments& args) {
  PlanRequest request;
  TG_ASSIGN_OR_RETURN(request.prompt_tokens,
                      ReadTokens(args.prompt, "--prompt", std::nullopt, 1));
  TG_ASSIGN_OR_RETURN(request.cached_tokens,
                      ReadTokens(args.cached, "--cached", 0));
  if (request.cached_tokens > request.prompt_tokens) {
    return InvalidArgument(
        "--cached: expected at most --prompt = ", request.prompt_tokens,
        " tokens, got ", request.cached_tokens);
  }
  TG_ASSIGN_OR_RETURN(request.max_output_tokens,
                      ReadTokens(args.max_output, "--max-output", 0));
  TG_ASSIGN_OR_RETURN(request.mask, ReadMask(args));
  return request;
}

// What the chunk policy may emit, be it built in or not.
absl::StatusOr<ChunkLimits> Reachable(const Inputs& inputs,
                                      const ChunkLimits& limits) {
  SchedulerOptions options;
  options.chunk_policy = inputs.policy.chunk_policy.value_or("throttle");
  TG_RETURN_IF_ERROR(
      inputs.plugins->Apply(inputs.shape, inputs.engine, &options));
  if (options.custom_chunk != nullptr) {
    return options.custom_chunk->Reachable(limits);
  }
  TG_ASSIGN_OR_RETURN(const std::unique_ptr<ChunkPolicy> policy,
                      CreateChunkPolicy(options.chunk_policy));
  return policy->Reachable(limits);
}

// What a load of another width, or of none that fits, would have room for.
Tokens LargestPrompt(const PlannedLoad& load, const PlanRequest& request) {
  Tokens longest = load.plan.fits ? load.plan.chosen.n_ctx : 0;
  for (const LoadChoice& choice : load.plan.choices) {
    longest = std::max(longest, choice.n_ctx);
  }
  return std::max<Tokens>(0, longest - request.max_output_tokens);
}

// The same request on the context that is best loaded for it.
absl::StatusOr<Planned> PlanOnLoad(const Arguments& args, Planned open) {
  const Tokens wanted =
      SatAdd(open.request.prompt_tokens, open.request.max_output_tokens);
  std::vector<std::string> told;  // again, of the limits of the plan
  TG_ASSIGN_OR_RETURN(PlannedLoad load,
                      PlanLoadFor(open.inputs, wanted, &told));
  TG_ASSIGN_OR_RETURN(Planned planned, PlanFromArguments(WithLoad(args, load)));
  planned.plan.largest_prompt_that_fits = LargestPrompt(load, planned.request);
  planned.load = std::move(load);
  return planned;
}

}  // namespace

absl::StatusOr<Planned> PlanFromArguments(const Arguments& args) {
  Planned planned;
  TG_ASSIGN_OR_RETURN(planned.request, ReadRequest(args));
  TG_ASSIGN_OR_RETURN(planned.inputs, LoadInputs(args));
  if (LoadIsOpen(planned.inputs)) return PlanOnLoad(args, std::move(planned));
  const PolicyFile& policy = planned.inputs.policy;
  planned.warnings = planned.inputs.warnings;
  TG_ASSIGN_OR_RETURN(planned.memory,
                      ReadMemoryLimits(planned.inputs, &planned.warnings));
  WarnOfProbe(policy, &planned.warnings);
  const ChunkLimits limits = ReadChunkLimits(policy);
  TG_RETURN_IF_ERROR(
      CheckLimits(planned.memory, limits, policy, &planned.warnings));
  TG_ASSIGN_OR_RETURN(planned.chunk, Reachable(planned.inputs, limits));
  TG_ASSIGN_OR_RETURN(planned.plan,
                      PlanPrompt(*planned.inputs.estimator, planned.request,
                                 planned.memory, planned.chunk));
  return planned;
}

int ExitCode(const Plan& plan) {
  return plan.verdict == Verdict::kReject ? kExitRefused : kExitDone;
}

std::string VerdictSentence(const Planned& planned) {
  const Plan& plan = planned.plan;
  switch (plan.verdict) {
    case Verdict::kAdmit:
      return Concat(
          "Admitted: ", TokenCount(planned.request.prompt_tokens),
          planned.request.cached_tokens > 0
              ? Concat(", ", Grouped(planned.request.cached_tokens),
                       " of them cached,")
              : "",
          " in ", Grouped(static_cast<std::int64_t>(plan.chunks.size())),
          plan.chunks.size() == 1 ? " chunk" : " chunks", "; memory peaks at ",
          internal::FormatBytes(plan.peak_bytes), " of ",
          internal::FormatBytes(planned.memory.ceiling), ".");
    case Verdict::kWait:
      return Concat("Waits: ", plan.reason);
    case Verdict::kReject: {
      const std::string code(RefusalCodeName(plan.code));
      return Concat("Refused (", code, "): ", plan.reason);
    }
  }
  return "";
}

void PutPlan(const Plan& plan, JsonWriter& json) {
  json.Put("verdict", VerdictName(plan.verdict));
  if (plan.code == RefusalCode::kNone) {
    json.PutNull("code");
  } else {
    json.Put("code", RefusalCodeName(plan.code));
  }
  json.Put("reason", std::string_view(plan.reason));
  json.BeginArray("chunks");
  for (const PlannedChunk& chunk : plan.chunks) {
    json.BeginObject();
    json.Put("start", chunk.start);
    json.Put("n", chunk.n);
    json.Put("kv_len", chunk.kv_len);
    json.Put("transient_bytes", chunk.transient_bytes);
    json.End();
  }
  json.End();
  json.Put("peak_bytes", plan.peak_bytes);
  json.Put("largest_prompt_that_fits", plan.largest_prompt_that_fits);
  const Arithmetic& sum = plan.arithmetic;
  json.BeginObject("arithmetic");
  json.Put("live_bytes", sum.live);
  json.Put("claims_bytes", sum.claims);
  json.Put("resident_bytes", sum.resident);
  json.Put("transient_bytes", sum.transient);
  json.Put("fixed_in_n_bytes", sum.fixed_in_n);
  json.Put("ceiling_bytes", sum.ceiling);
  json.Put("headroom_bytes", sum.headroom);
  json.Put("largest_allocation_bytes", sum.largest_allocation);
  if (sum.max_allocation.has_value()) {
    json.Put("max_allocation_bytes", *sum.max_allocation);
  } else {
    json.PutNull("max_allocation_bytes");
  }
  json.Put("n", sum.n);
  json.Put("kv_len", sum.kv_len);
  json.End();
}

}  // namespace tidegate::tools
