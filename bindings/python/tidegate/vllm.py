# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
# mypy: ignore-errors
# Its base classes are vLLM's, which is not there where types are checked.
"""vLLM: its own scheduler, with steps no wider than memory and time allow.

    vllm serve MODEL --scheduler-cls tidegate.vllm.Scheduler \\
        --additional-config '{"tidegate": {"policy": "policy.toml"}}'

vLLM's scheduler decides as ever: order, KV blocks, prefix cache, preemption. For
each step it is shown less: a smaller token budget, a narrower chunk, fewer
requests. A prompt that no idle device could run is refused on arrival.
docs/engines/vllm.md says what happens when something fails.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import vllm
from vllm.logger import init_logger
from vllm.platforms import current_platform
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.request_queue import create_request_queue
from vllm.v1.core.sched.scheduler import Scheduler as PlainScheduler
from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs, FinishReason
from vllm.v1.request import RequestStatus

from . import _core
from ._flags import flags
from ._steps import Decodes, Prefill, StepPrices, StepWidths
from ._types import Refused
from ._vllm_api import missing, too_many_blocks, without_bytes
from .shadow import JsonLines, Shadow

logger = init_logger("vllm.tidegate")

_OPTIONS = ("policy", "model", "engine", "log", "log_max_bytes", "kv_pool_bytes", "report")


class Device:
    """What one vLLM engine's policy, model and KV pool come to."""

    def __init__(self, scheduler: Any):
        options = _options(scheduler)
        policy = options.get("policy")
        engine = options.get("engine") or _engine_of(policy)
        model = options.get("model") or _model_of(scheduler)
        self.prices = StepPrices(policy, model, engine)
        self.pool_bytes = int(options.get("kv_pool_bytes") or _pool_bytes(scheduler.kv_cache_config))
        # What is taken before any step, and stays: weights and the pool.
        self.taken = self.prices.base_bytes + self.pool_bytes
        self.room = self.prices.line_bytes - self.taken
        self.log = JsonLines(options.get("log"), options.get("log_max_bytes"))
        self.report_path = options.get("report")
        # Of the pool, in tokens of one sequence; None: its layers keep several
        # kinds of KV, and vLLM alone knows.
        groups = scheduler.kv_cache_config.kv_cache_groups
        plain = len(groups) == 1 and getattr(groups[0].kv_cache_spec, "sliding_window", None) is None
        # One block is vLLM's null block.
        self.pool_tokens = (scheduler.kv_cache_config.num_blocks - 1) * scheduler.block_size if plain else None
        parallel = scheduler.parallel_config
        if parallel.tensor_parallel_size > 1 or parallel.pipeline_parallel_size > 1:
            logger.warning("tidegate: prices are those of the whole model on one device, which is too much where it is spread over several")

    def refusal(self, prompt_tokens: int, cached_tokens: int = 0) -> Refused | None:
        """Why this device could never run the prompt."""
        if self.pool_tokens is not None and prompt_tokens + 1 > self.pool_tokens:
            return too_many_blocks(prompt_tokens, "and the first token of its answer", self.pool_tokens)
        return self.prices.refusal(prompt_tokens, cached_tokens, 0, base=self.taken, preallocated=True)


def _options(scheduler: Any) -> Mapping[str, Any]:
    given = getattr(scheduler.vllm_config, "additional_config", None)
    options = given.get("tidegate") if isinstance(given, Mapping) else None
    if not isinstance(options, Mapping) or not options.get("policy"):
        raise ValueError('additional_config: expected {"tidegate": {"policy": "policy.toml"}} for tidegate.vllm, got ' + repr(given))
    for name in options:
        if name not in _OPTIONS:
            raise ValueError(f"additional_config.tidegate.{name}: unknown; expected one of {', '.join(_OPTIONS)}")
    return options


def _engine_of(policy: Any) -> str | None:
    """The engine that the policy names, else this vLLM."""
    inline = json.dumps(policy) if isinstance(policy, Mapping) else None
    if _core.policy_engine(flags(policy=None if inline else policy), inline) is not None:
        return None
    device = current_platform.device_type
    if device == "cuda":
        capability = current_platform.get_device_capability()
        device = f"cuda-sm{capability.major}{capability.minor}" if capability else device
    return f"vllm@{vllm.__version__.partition('+')[0]}/{device}"


def _model_of(scheduler: Any) -> dict[str, Any]:
    config = scheduler.vllm_config.model_config.hf_config.to_dict()
    # The type that vLLM computes in, which may not be the checkpoint's.
    for name in ("torch_dtype", "dtype"):
        config[name] = str(scheduler.vllm_config.model_config.dtype).removeprefix("torch.")
    return config


def _pool_bytes(config: Any) -> int:
    sizes = [int(tensor.size) for tensor in config.kv_cache_tensors]
    if not sizes:
        return 0
    # Since 0.30 or so every entry names the one allocation that all lie in.
    return max(sizes) if hasattr(config.kv_cache_tensors[0], "layer_stride") else sum(sizes)


class _Priced:
    """Before one of vLLM's schedulers in the order of bases."""

    def __init__(self, *args: Any, **kwargs: Any):
        if gone := missing(type(self)):
            raise RuntimeError(gone)
        super().__init__(*args, **kwargs)
        self._tg_device = Device(self)
        prices = self._tg_device.prices
        if self._tg_device.room <= 0:
            raise ValueError(
                f"tidegate: no room for any step: {_core.format_bytes(prices.line_bytes)} ceiling - headroom, of which "
                f"{_core.format_bytes(prices.base_bytes)} memory.base and {_core.format_bytes(self._tg_device.pool_bytes)} KV pool; "
                "lower gpu_memory_utilization or kv_cache_memory_bytes, or raise memory.ceiling"
            )
        stated = prices.settings
        if stated["admission"] not in (None, "optimistic", "reserve"):
            raise ValueError(f'admission.use: expected "optimistic" or "reserve" under vLLM, got "{stated["admission"]}"')
        self._tg_reserve = stated["admission"] == "reserve"
        if self._tg_reserve and self._tg_device.pool_tokens is None:
            raise ValueError('admission.use = "reserve": expected a model whose layers all keep full KV under vLLM')
        for name in ("order", "pressure", "step_decode", "probe", "kv_blocks", "running_max"):
            if stated[name] is not None:
                logger.warning("tidegate: the policy's %s has no effect: vLLM decides that itself", name)
        self._tg_threshold = int(stated["chunk_max"] or 0)
        self._tg_refused: list[tuple[Any, Refused]] = []
        self._tg_known: dict[int, Refused | None] = {}
        self._tg_in_flight: collections.deque[tuple[Any, list[tuple[int, int]], Decodes, int]] = collections.deque(maxlen=64)
        self._tg_updated = 0
        # What was done so far, for whoever asks.
        self.tidegate_stats: dict[str, int] = dict.fromkeys(
            ("steps", "narrowed_memory", "narrowed_time", "held", "refused", "over_room", "transient_bytes_max"), 0
        )

    # Arrival.

    def add_request(self, request: Any) -> None:
        known = request.request_id in self.requests  # type: ignore[attr-defined]
        super().add_request(request)  # type: ignore[misc]
        if known or request.request_id not in self.requests:  # type: ignore[attr-defined]
            return  # more input of a session, or its end
        refused = self._tg_refusal(request)
        if refused is not None:
            self._tg_refuse(request, refused)

    def _tg_refusal(self, request: Any) -> Refused | None:
        stats = self._tg_device.prices.settings
        waiting = len(self.waiting)  # type: ignore[attr-defined]
        if 0 < stats["queue_max"] < waiting:
            return without_bytes("overloaded", f"{waiting - 1:,} requests wait, and queue_max is {stats['queue_max']:,}")
        prompt = request.num_tokens
        if self._tg_reserve and self._tg_claim(request) > (pool := self._tg_device.pool_tokens):
            return too_many_blocks(prompt, f"and {self._tg_claim(request) - prompt:,} of its answer", pool)
        if prompt not in self._tg_known:
            if len(self._tg_known) >= 4096:
                self._tg_known.clear()
            try:
                self._tg_known[prompt] = self._tg_device.refusal(prompt)
            except ValueError as error:
                self._tg_known[prompt] = without_bytes("unsupported", str(error))
        return self._tg_known[prompt]

    def _tg_refuse(self, request: Any, refused: Refused) -> None:
        self.finish_requests(request.request_id, RequestStatus.FINISHED_ERROR)  # type: ignore[attr-defined]
        self._tg_refused.append((request, refused))
        self.tidegate_stats["refused"] += 1
        logger.warning("tidegate: refused request %s: %s", request.request_id, refused)
        self._tg_device.log.write(
            {"event": "refused", "id": request.request_id, "code": refused.code, "reason": refused.reason, "prompt_tokens": request.num_prompt_tokens}
        )

    # Steps.

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        decodes, running, waiting, slots = self._tg_view()
        plan = self._tg_plan(decodes, running, waiting, slots)
        budget = self.max_num_scheduled_tokens  # type: ignore[has-type]
        as_ever = plan.bound == "engine" and not plan.held and (decodes.tokens == 0 or decodes.tokens + plan.tokens < budget)
        if as_ever and self._tg_threshold == 0 and not self._tg_reserve:
            output = super().schedule(*args, **kwargs)  # type: ignore[misc]
        else:
            with self._tg_narrowed(plan, decodes):
                output = super().schedule(*args, **kwargs)  # type: ignore[misc]
        self._tg_note(output, plan, decodes)
        return output

    def _tg_view(self) -> tuple[Decodes, list[Prefill], list[Prefill], int]:
        """This step as vLLM sees it."""
        one_decode = 1 + self.num_spec_tokens  # type: ignore[attr-defined]
        tokens = longest = total = claimed = 0
        running: list[Prefill] = []
        for r in self.running:  # type: ignore[attr-defined]
            done = r.num_computed_tokens
            left = r.num_tokens_with_spec + r.num_output_placeholders - done
            if left > one_decode:
                running.append(Prefill(r.request_id, left, done))
            elif left > 0:
                tokens += left
                total += done + left
                if done + left > longest:
                    longest = done + left
            if self._tg_reserve:
                claimed += self._tg_claim(r)
        budget = self.max_num_scheduled_tokens  # type: ignore[has-type]
        most = getattr(self, "max_num_active_reqs", self.max_num_running_reqs)  # type: ignore[attr-defined]
        slots = max(0, most - len(self.running))  # type: ignore[attr-defined]
        waiting: list[Prefill] = []
        wanted = budget - tokens - sum(one.left for one in running)
        lookups = bool(self.cache_config.enable_prefix_caching)  # type: ignore[attr-defined]
        queues = itertools.chain(getattr(self, "kv_holding_waiting", ()), self.waiting)  # type: ignore[attr-defined]
        for r in itertools.islice(queues, slots):
            if wanted <= 0:
                break
            if r.status not in (RequestStatus.WAITING, RequestStatus.PREEMPTED):
                continue
            if self._tg_reserve:
                claimed += self._tg_claim(r)
                if claimed > self._tg_device.pool_tokens:
                    break
            left = r.num_tokens - r.num_computed_tokens
            waiting.append(Prefill(r.request_id, left, r.num_computed_tokens, r.num_tokens if lookups and r.num_computed_tokens == 0 else 0))
            wanted -= min(left, self._tg_threshold or left)
        return Decodes(tokens, longest, total), running, waiting, slots

    def _tg_claim(self, request: Any) -> int:
        """Tokens of KV, in whole blocks, that the request may come to hold."""
        most = min(request.num_prompt_tokens + request.max_tokens, self.max_model_len)  # type: ignore[attr-defined]
        return -(-max(most, request.num_tokens) // self.block_size) * self.block_size  # type: ignore[attr-defined]

    def _tg_plan(self, decodes: Decodes, running: list[Prefill], waiting: list[Prefill], slots: int) -> StepWidths:
        host = self.scheduler_config.long_prefill_token_threshold  # type: ignore[attr-defined]
        limits = [limit for limit in (host, self._tg_threshold) if limit > 0]
        device = self._tg_device
        plan = device.prices.choose(
            decodes=decodes,
            running=running,
            waiting=waiting,
            budget=self.max_num_scheduled_tokens,  # type: ignore[has-type]
            threshold=min(limits, default=0),
            slots=slots,
            room=device.room,
            preallocated=True,
        )
        first = (running or waiting)[:1]
        if plan.widths or decodes.tokens > 0 or not first:
            return plan
        # Nothing runs and the widest of every kind is too much: what the plan of
        # the first one says, which may be a width that no grid has.
        one = first[0]
        n = device.prices.first_width(one.before + one.left, one.before, base=device.taken, preallocated=True)
        if n > 0:
            held = [other.id for other in running if other.id != one.id]
            return plan._replace(widths={one.id: n}, held=held, threshold=n)
        refused = device.refusal(one.before + one.left, one.before)
        if refused is not None:
            self._tg_refuse(self.requests[one.id], refused)  # type: ignore[attr-defined]
        return plan

    @contextlib.contextmanager
    def _tg_narrowed(self, plan: StepWidths, decodes: Decodes) -> Iterator[None]:
        """vLLM sees only what is to run; everything is put back, whatever happens."""
        config = self.scheduler_config  # type: ignore[attr-defined]
        threshold, budget = config.long_prefill_token_threshold, self.max_num_scheduled_tokens  # type: ignore[has-type]
        adaptive = getattr(self, "adaptive_long_prefill_threshold", None)
        held = set(plan.held)
        before: list[Any] = self.running  # type: ignore[has-type]
        waiting = self.waiting  # type: ignore[has-type]
        # The prompts that run take all there is, or somebody is to wait.
        hide = bool(held) or (plan.bound != "engine" or self._tg_reserve) and not any(r not in held for r in self._tg_starting(plan))
        try:
            self.max_num_scheduled_tokens = min(budget, decodes.tokens + plan.tokens)
            one_decode = 1 + self.num_spec_tokens  # type: ignore[attr-defined]
            config.long_prefill_token_threshold = max(plan.threshold, one_decode) if plan.threshold < budget else threshold
            if adaptive is not None:
                self.adaptive_long_prefill_threshold = False
            if held:
                self.running = [r for r in before if r.request_id not in held]
            if hide:
                self.waiting = create_request_queue(self.policy)  # type: ignore[attr-defined]
            yield
        finally:
            self.max_num_scheduled_tokens = budget
            config.long_prefill_token_threshold = threshold
            if adaptive is not None:
                self.adaptive_long_prefill_threshold = adaptive
            if hide:
                preempted, self.waiting = self.waiting, waiting
                if preempted:
                    self.waiting.prepend_requests(preempted)
            if held:
                now = self.running
                stay = {r.request_id for r in now}
                known = {r.request_id for r in before}
                self.running = [r for r in before if r.request_id in held or r.request_id in stay]
                self.running += [r for r in now if r.request_id not in known]

    def _tg_starting(self, plan: StepWidths) -> list[Any]:
        """Those in the plan that do not run yet."""
        return [id for id in plan.widths if self.requests[id].status != RequestStatus.RUNNING]  # type: ignore[attr-defined]

    def _tg_note(self, output: Any, plan: StepWidths, decodes: Decodes) -> None:
        scheduled = output.num_scheduled_tokens
        stats = self.tidegate_stats
        stats["steps"] += 1
        if plan.bound != "engine":
            stats[f"narrowed_{plan.bound}"] += 1
        stats["held"] += len(plan.held)
        ids = {*plan.widths, *(new.req_id for new in output.scheduled_new_reqs)}
        # Computed tokens count this step already.
        chunks = [(scheduled[id], self.requests[id].num_computed_tokens) for id in ids if id in scheduled]  # type: ignore[attr-defined]
        fits, transient = self._tg_device.prices.fits(chunks, decodes, self._tg_device.room, True) if chunks or decodes.tokens else (True, 0)
        stats["transient_bytes_max"] = max(stats["transient_bytes_max"], transient)
        if not fits:
            stats["over_room"] += 1
        if plan.bound != "engine" or plan.held or not fits:
            self._tg_device.log.write(
                {
                    "event": "step",
                    "bound": plan.bound,
                    "tokens": output.total_num_scheduled_tokens,
                    "held": plan.held[:16],
                    "decode_tokens": decodes.tokens,
                    "transient_bytes": transient,
                    "room_bytes": self._tg_device.room,
                    "fits": fits,
                }
            )
        if self._tg_device.prices.decode_stall_ns > 0:
            self._tg_in_flight.append((output, chunks, decodes, time.monotonic_ns()))

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> dict[int, EngineCoreOutputs]:
        self._tg_learn(scheduler_output)
        outputs = super().update_from_output(scheduler_output, model_runner_output)  # type: ignore[misc]
        told, self._tg_refused = self._tg_refused, []
        for request, refused in told:
            answer = EngineCoreOutput(
                request_id=request.request_id,
                new_token_ids=[],
                finish_reason=FinishReason.ERROR,
                stop_reason=f"tidegate: {refused}",
                events=request.take_events(),
                trace_headers=request.trace_headers,
            )
            outputs.setdefault(request.client_index, EngineCoreOutputs(outputs=[])).outputs.append(answer)
        return outputs

    def _tg_learn(self, scheduler_output: Any) -> None:
        """Steps end in the order in which they were made; a step that waited for
        the one before took from its end on."""
        now = time.monotonic_ns()
        while self._tg_in_flight:
            output, chunks, decodes, since = self._tg_in_flight.popleft()
            if output is scheduler_output:
                if scheduler_output.total_num_scheduled_tokens > 0:
                    self._tg_device.prices.learn(chunks, decodes, now - max(since, self._tg_updated))
                break
        self._tg_updated = now


class _EitherKind:
    """vLLM has two schedulers, and asks a class of ours without saying which of
    them it would have taken."""

    _tg_sync: type[Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        config = kwargs["vllm_config"] if "vllm_config" in kwargs else args[0]
        if config.scheduler_config.async_scheduling:
            return super().__new__(cls)
        return cls._tg_sync(*args, **kwargs)


class SyncScheduler(_Priced, PlainScheduler):
    """What Scheduler is where vLLM's async_scheduling is off."""


class Scheduler(_EitherKind, _Priced, AsyncScheduler):
    """For --scheduler-cls; asynchronous unless vLLM's async_scheduling is off."""

    _tg_sync = SyncScheduler


def watch(scheduler: Any, shadow: Shadow | None = None) -> Shadow | None:
    """Lets `shadow` see what a scheduler of vLLM's decides, which goes on as
    before. Without one, it is made from additional_config. Never raises: what is
    wrong is logged, and then nothing is watched (None)."""
    try:
        if gone := missing(type(scheduler)):
            raise RuntimeError(gone)
        device = Device(scheduler) if shadow is None else None
        if shadow is None:
            assert device is not None
            options = _options(scheduler)
            shadow = Shadow(
                device.prices, base_bytes=device.taken, preallocated=True, log=options.get("log"), log_max_bytes=options.get("log_max_bytes"), report=options.get("report")
            )
        _Watch(scheduler, shadow, device)
    except Exception as error:
        logger.warning("tidegate: no shadow: %s", error)
        return None
    return shadow


class _Watch:
    def __init__(self, scheduler: Any, shadow: Shadow, device: Device | None):
        self._scheduler, self._shadow, self._device = scheduler, shadow, device
        self._add, self._schedule, self._update = scheduler.add_request, scheduler.schedule, scheduler.update_from_output
        self._in_flight: collections.deque[tuple[Any, Any, int]] = collections.deque(maxlen=64)
        self._updated = 0
        scheduler.add_request, scheduler.schedule, scheduler.update_from_output = self.add, self.schedule, self.update

    def add(self, request: Any) -> None:
        known = request.request_id in self._scheduler.requests
        self._add(request)
        if not known:
            with self._shadow.guarded():
                pool = self._device.pool_tokens if self._device is not None else None
                too_many = too_many_blocks(request.num_tokens, "and the first token of its answer", pool) if pool and request.num_tokens >= pool else None
                self._shadow.arrive(request.request_id, request.num_tokens, max_output_tokens=request.max_tokens, refused=too_many)

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        output = self._schedule(*args, **kwargs)
        with self._shadow.guarded():
            self._look(output)
        return output

    def _look(self, output: Any) -> None:
        for id in output.finished_req_ids:
            self._shadow.finish(id)
        chunks = []
        tokens = longest = total = 0
        requests = self._scheduler.requests
        one_decode = 1 + self._scheduler.num_spec_tokens
        for id, n in output.num_scheduled_tokens.items():
            kv_len = requests[id].num_computed_tokens
            if n > one_decode:
                chunks.append((id, n, kv_len))
            else:
                tokens += n
                total += kv_len
                if kv_len > longest:
                    longest = kv_len
        step = self._shadow.step(chunks, decodes=tokens, decode_kv_len=longest, decode_kv_sum=total)
        self._in_flight.append((output, step, time.monotonic_ns()))

    def update(self, scheduler_output: Any, model_runner_output: Any) -> Any:
        outputs = self._update(scheduler_output, model_runner_output)
        with self._shadow.guarded():
            now = time.monotonic_ns()
            while self._in_flight:
                output, step, since = self._in_flight.popleft()
                if output is scheduler_output:
                    if step is not None:
                        step.done(took_s=(now - max(since, self._updated)) / 1e9)
                    break
            self._updated = now
        return outputs


class _Shadowed:
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.tidegate_shadow = watch(self)

    def shutdown(self) -> None:
        if self.tidegate_shadow is not None:
            with self.tidegate_shadow.guarded():
                logger.info("%s", self.tidegate_shadow.report())
                self.tidegate_shadow.close()
        super().shutdown()  # type: ignore[misc]


class SyncShadowScheduler(_Shadowed, PlainScheduler):
    """What ShadowScheduler is where vLLM's async_scheduling is off."""


class ShadowScheduler(_EitherKind, _Shadowed, AsyncScheduler):
    """vLLM's own scheduler, and beside it what Tidegate would have done."""

    _tg_sync = SyncShadowScheduler


__all__ = ["Device", "Scheduler", "ShadowScheduler", "SyncScheduler", "SyncShadowScheduler", "watch"]
