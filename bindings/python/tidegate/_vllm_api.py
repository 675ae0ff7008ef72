# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
# mypy: ignore-errors
# Its base classes are vLLM's, which is not there where types are checked.
"""What tidegate.vllm relies on of vLLM, whose scheduler interface is not public."""

from __future__ import annotations

import inspect
from typing import Any

from ._types import Arithmetic, Refused

CHECKED = "0.32.0"  # versions of vLLM that the tests ran with

# Methods that are overridden or called: their parameters in order, of which ours
# must be a beginning.
METHODS: dict[str, tuple[str, ...]] = {
    "schedule": ("self",),
    "add_request": ("self", "request"),
    "update_from_output": ("self", "scheduler_output", "model_runner_output"),
    "finish_requests": ("self", "request_ids", "finished_status"),
    "shutdown": ("self",),
    "has_finished_requests": ("self",),
}
# Assigned in Scheduler.__init__.
FIELDS = (
    "vllm_config",
    "scheduler_config",
    "cache_config",
    "parallel_config",
    "kv_cache_config",
    "max_num_running_reqs",
    "max_num_scheduled_tokens",
    "max_model_len",
    "block_size",
    "requests",
    "policy",
    "waiting",
    "running",
    "finished_req_ids",
    "num_spec_tokens",
)
# Read in Scheduler.schedule: where it reads another name, a smaller budget or a
# hidden queue would have no effect.
READ_IN_SCHEDULE = ("self.max_num_scheduled_tokens", "long_prefill_token_threshold", "self.running", "self.waiting")
REQUEST_FIELDS = (
    "request_id",
    "client_index",
    "status",
    "num_prompt_tokens",
    "num_computed_tokens",
    "num_output_placeholders",
    "num_tokens",
    "num_tokens_with_spec",
    "max_tokens",
    "trace_headers",
    "take_events",
)
STATUSES = ("WAITING", "PREEMPTED", "RUNNING", "FINISHED_ERROR")
OUTPUT_FIELDS = ("request_id", "new_token_ids", "finish_reason", "stop_reason", "events", "trace_headers")
QUEUE_METHODS = ("prepend_requests", "remove_requests", "__iter__", "__len__", "__bool__")
STEP_FIELDS = ("scheduled_new_reqs", "num_scheduled_tokens", "total_num_scheduled_tokens", "finished_req_ids")


def missing(scheduler: type[Any]) -> str | None:
    """What this vLLM lacks of what is relied on, as one sentence."""
    import vllm
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.core.sched.request_queue import RequestQueue
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.engine import EngineCoreOutput, FinishReason
    from vllm.v1.request import Request, RequestStatus

    gone: list[str] = []
    for name, wanted in METHODS.items():
        method = getattr(Scheduler, name, None)
        if method is None:
            gone.append(f"Scheduler.{name}()")
        elif tuple(inspect.signature(method).parameters)[: len(wanted)] != wanted:
            gone.append(f"Scheduler.{name}({', '.join(wanted)}, …): it is {name}{inspect.signature(method)}")
    made = _source(Scheduler.__init__)
    gone += [f"Scheduler.{name}" for name in FIELDS if f"self.{name} =" not in made and f"self.{name}:" not in made]
    steps = _source(Scheduler.schedule)
    gone += [f"{name} in Scheduler.schedule()" for name in READ_IN_SCHEDULE if name not in steps]
    of_request = _source(Request.__init__)
    gone += [f"Request.{name}" for name in REQUEST_FIELDS if f"self.{name}" not in of_request and not hasattr(Request, name)]
    gone += [f"RequestStatus.{name}" for name in STATUSES if not hasattr(RequestStatus, name)]
    gone += [f"FinishReason.{name}" for name in ("ERROR",) if not hasattr(FinishReason, name)]
    gone += [f"EngineCoreOutput.{name}" for name in OUTPUT_FIELDS if name not in EngineCoreOutput.__annotations__]
    gone += [f"RequestQueue.{name}" for name in QUEUE_METHODS if not hasattr(RequestQueue, name)]
    gone += [f"SchedulerOutput.{name}" for name in STEP_FIELDS if name not in SchedulerOutput.__annotations__]
    if not gone:
        return None
    return (
        f"tidegate.vllm was checked with vLLM {CHECKED}, and vLLM {vllm.__version__} has no longer: {'; '.join(gone)}. "
        "Use vLLM's own scheduler, or a version that was checked"
    )


def _source(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):  # compiled: there is nothing to look at
        return _Everything()


class _Everything(str):
    def __contains__(self, _: object) -> bool:
        return True


# Refusals of which no byte is the reason.


def without_bytes(code: str, reason: str, largest: int = 0) -> Refused:
    zero = {name: 0 for name in Arithmetic.__dataclass_fields__}
    return Refused(code, reason, Arithmetic(**{**zero, "max_allocation_bytes": None}), largest)


def too_many_blocks(prompt: int, with_what: str, pool: int) -> Refused:
    reason = f"{prompt:,} prompt tokens {with_what} > {pool:,} = tokens of the whole KV pool; the largest prompt that fits has {pool - 1:,} tokens"
    return without_bytes("too_large", reason, max(0, pool - 1))
