# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Gate: one scheduler for all requests of a process.

The scheduler itself is the C++ one, behind one lock; here it gets its clock, its
readings of memory and whoever waits for its answers. Nothing runs in the
background: every call, and every waiting request when its time comes, works off
what the scheduler decided.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from . import _core
from ._engines import installed_engine, is_out_of_memory
from ._flags import Path, flags, python_names, warn
from ._request import Chunk, Request, _several
from ._types import Arithmetic, Cancelled, PlannedChunk, Price, Quote
from .plugins import Plugin, made

Size: TypeAlias = "int | str"  # bytes, or "36 GiB"
MemoryReader: TypeAlias = "Callable[[], int | Sequence[int] | None]"


@dataclasses.dataclass(frozen=True)
class Reclaimer:
    """One kind of memory that can be given back: a rung of pressure.ladder
    ("pool", "cache", "model").

    `bytes()` says how much of live memory it holds now; it is asked with the
    Gate's lock held, so it must return soon and not call the Gate. `free(n)`
    frees up to n bytes and answers how many, from whichever thread finds that
    memory is short.
    """

    bytes: Callable[[], int]
    free: Callable[[int], "int | None"]


class Gate:
    """Decides when which tokens are computed.

    policy   a policy file, or a mapping with its tables
    model    a config.json, or a mapping with its keys
    engine   NAME@VERSION/DEVICE, or "mlx" or "torch" for the one that is
             installed here. Default: what the policy says
    memory   called for live bytes (one number a device; None: unknown just now).
             With the Gate's lock held, and only while no chunk runs: it must
             return soon and not call the Gate. Default: the policy's probe, and
             without one, live memory is base plus what requests hold
    reclaim  what can be freed when memory is short; needs readings of memory

    plugins  estimators and policies of your own: tidegate.plugins

    The others replace what the policy says. `log` is called with each line of the
    decision log. Thread-safe. Bad input is a ValueError or FileNotFoundError that
    names what was expected.
    """

    def __init__(
        self,
        policy: Path | Mapping[str, Any] | None = None,
        model: Path | Mapping[str, Any] | None = None,
        engine: str | None = None,
        *,
        engine_options: Mapping[str, str] | None = None,
        estimator: str | None = None,
        ceiling: Size | None = None,
        base: Size | None = None,
        headroom: Size | None = None,
        max_allocation: Size | None = None,
        chunk_max: int | None = None,
        chunk_floor: int | None = None,
        chunk_quantum: int | None = None,
        kv_dtype: str | None = None,
        memory: MemoryReader | None = None,
        reclaim: Mapping[str, Reclaimer] | None = None,
        probe_interval: float = 0.25,
        plugins: Iterable[Plugin] = (),
        log: Callable[[str], None] | None = None,
    ):
        policy_json = json.dumps(policy) if isinstance(policy, Mapping) else None
        model_json = json.dumps(model) if isinstance(model, Mapping) else None
        with python_names():
            given = flags(
                policy=None if policy_json else policy,
                model=None if model_json else model,
                engine_options=engine_options,
                estimator=estimator,
                ceiling=ceiling,
                base=base,
                headroom=headroom,
                max_allocation=max_allocation,
                chunk_max=chunk_max,
                chunk_floor=chunk_floor,
                chunk_quantum=chunk_quantum,
                kv_dtype=kv_dtype,
            )
            if engine is not None:
                given.update(flags(engine=_full_engine(engine, given, policy_json)))
            self._pull = _core.Pull(given, policy_json, model_json, log, made(plugins))
        warn(self._pull.warnings)
        self._reclaim = dict(reclaim or {})
        if memory is None and self._pull.has_probe:
            memory = self._probe
        if self._reclaim and memory is None:
            raise ValueError(
                "reclaim: expected memory= beside it or a policy with memory.probe: only a reading shows what was freed"
            )
        self._memory = memory
        self._probe_interval = int(probe_interval * 1e9)
        self._clock = time.monotonic_ns
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._requests: dict[int, Request] = {}
        self._to_reclaim: list[tuple[int, str, int]] = []
        self._running = 0  # steps that were given out
        self._last_read: int | None = None
        self._closed = False

    @property
    def engine(self) -> str:
        """What prices are those of: NAME@VERSION/DEVICE."""
        return self._pull.engine

    # Questions.

    def quote(
        self,
        prompt_tokens: int,
        cached_tokens: int = 0,
        max_output_tokens: int = 0,
        *,
        mask: str = "causal",
        uncuttable: Iterable[tuple[int, int]] = (),
        allocated: bool = False,
    ) -> Quote:
        """What this prompt would need, and whether it may run. Nothing is promised.
        The plan is that of the device without other requests. `mask`, `uncuttable`
        (start, length) and `allocated` as for request()."""
        spans = list(uncuttable)
        with self._lock:
            self._read_memory()
            bases = self._pull.memory_bases()
            fixed = self._pull.prices_are_fixed

        def ask() -> dict[str, Any]:
            return self._pull.quote(prompt_tokens, cached_tokens, max_output_tokens, mask, spans, allocated, *bases)

        with python_names():
            if fixed:  # Milliseconds for long prompts: nobody waits for them.
                answer = ask()
            else:
                with self._lock:
                    answer = ask()
        answer["chunks"] = tuple(PlannedChunk(*chunk) for chunk in answer["chunks"])
        answer["arithmetic"] = Arithmetic(**answer["arithmetic"])
        return Quote(**answer)

    def price(self, n: int, kv_len: int | None = None, *, mask: str = "causal") -> Price:
        """What a chunk of n tokens costs that attends to kv_len, itself included
        (default: n)."""
        with python_names(), self._lock:
            return Price(**self._pull.price(n, n if kv_len is None else kv_len, mask))

    def stats(self) -> dict[str, int]:
        """Counters and bytes as of the last event."""
        with self._lock:
            return self._pull.stats()

    def plugins(self) -> list[dict[str, Any]]:
        """What became of each plug-in: kind, name, version, calls, faults, first_fault,
        slow_calls, fallback, replaced."""
        reports: list[dict[str, Any]] = json.loads(self._pull.plugin_reports()).get("plugins", [])
        return reports

    # Requests.

    def request(
        self,
        prompt_tokens: int,
        cached_tokens: int = 0,
        max_output_tokens: int = 0,
        *,
        priority: int = 0,
        tenant: str = "",
        mask: str = "causal",
        uncuttable: Iterable[tuple[int, int]] = (),
        allocated: bool = False,
        prefix_bytes: int = 0,
    ) -> Request:
        """A request, submitted when it is entered with `with` or `async with`.

        prompt_tokens      the whole prompt, the cached part included
        cached_tokens      prefix that is in the cache: not computed
        max_output_tokens  tokens whose KV is promised for decoding
        priority, tenant   for order policies that look at them
        mask               "causal", "none", "bool", "float", "array", "lower_right"
        uncuttable         spans (start, length) that no chunk may cut
        allocated          its whole KV is live already
        prefix_bytes       of the cached prefix, what live memory does not count
        """
        spans = list(uncuttable)

        def submit(id: int) -> None:
            self._pull.submit(
                id, prompt_tokens, cached_tokens, max_output_tokens, mask, spans, allocated, priority, tenant, prefix_bytes, self._clock()
            )

        return Request(self, submit, prompt_tokens, cached_tokens)

    def set_ceiling(self, ceiling_bytes: int) -> None:
        """The limit moved; whoever waits is decided upon anew."""
        with self._lock:
            self._pull.tell_ceiling(ceiling_bytes, self._clock())
        self._turn()

    def reading(self) -> None:
        """Reads memory now where no chunk runs: something was freed."""
        self._turn(read=True)

    def close(self) -> None:
        """Cancels every request and takes no more."""
        with self._lock:
            self._closed = True
            requests = list(self._requests.values())
        for request in requests:
            self._cancel(request)

    # What follows is called by Request and Chunk.

    def _enter(self, request: Request) -> None:
        with self._lock:
            if self._closed:
                raise Cancelled("the gate is closed")
            self._read_memory()
            request.id = next(self._ids)
            with python_names():
                request._submit(request.id)
            self._requests[request.id] = request
            request._open = True
        self._turn()
        if request._ended is not None:
            with self._lock:
                del self._requests[request.id]
            raise request._ended

    def _leave(self, request: Request, error: BaseException | None) -> None:
        with self._lock:
            self._requests.pop(request.id, None)
            now = self._clock()
            chunk, given = request._chunk, request._work
            if chunk is not None and error is None and chunk.stop == request.prompt_tokens:
                # The loop ended with the last chunk and did not ask for another.
                self._complete(chunk, [], [])
                chunk = None
                self._pump()
            if request._open:
                if error is None and request._computed:
                    self._pull.finish(request.id, now)
                else:
                    self._pull.cancel(request.id, now)
            if chunk is not None or given is not None:
                step = chunk._step if chunk is not None else given[2]  # type: ignore[index]
                self._end_step(request)
                self._pull.failed(step, error is not None and is_out_of_memory(error), now)
        self._turn(read=True)

    def _settle(self, request: Request) -> None:
        if request._chunk is not None:
            self._done(request._chunk, [], [])

    def _done(self, chunk: Chunk, peak: list[int], live: list[int]) -> None:
        with self._lock:
            if not chunk.pending:
                raise RuntimeError(f"{chunk!r} was answered before")
            self._complete(chunk, peak, live)
            self._pump()
            if not self._to_reclaim:
                return
        self._turn()

    def _complete(self, chunk: Chunk, peak: list[int], live: list[int]) -> None:
        now = self._clock()
        request = chunk._request
        # What others compute would count as live.
        alone = self._running == 1
        if not live and alone and self._memory is not None:
            live = self._ask_memory()
        self._pull.done(chunk._step, peak if live else [], live, now - chunk._since, now)
        self._end_step(request)
        request.tokens_done = chunk.stop
        if live and self._reclaim:
            self._tell_reclaimable(now)

    def _failed(self, chunk: Chunk, memory: bool) -> None:
        with self._lock:
            if not chunk.pending:
                raise RuntimeError(f"{chunk!r} was answered before")
            self._end_step(chunk._request)
            self._read_memory()  # the next attempt is decided on it
            self._pull.failed(chunk._step, memory, self._clock())
        self._turn()

    def _end_step(self, request: Request) -> None:
        request._chunk = request._work = None
        self._running -= 1

    def _cancel(self, request: Request) -> None:
        with self._lock:
            if not request._open:
                return
            self._pull.cancel(request.id, self._clock())
            if request._work is not None:  # not begun: nobody will
                step = request._work[2]
                self._end_step(request)
                self._pull.failed(step, False, self._clock())
        self._turn()

    def _decoded(self, request: Request, tokens: int) -> None:
        with self._lock, python_names():
            if not request._computed:
                raise RuntimeError("decoded(): expected the whole prompt to be computed before")
            if not self._pull.decoded(request.id, tokens, self._clock()) and request._ended:
                raise request._ended
        self._turn()

    def _tick(self, deadline: int | None) -> None:
        """A waiting request's time has come, or it was woken for nothing."""
        now = self._clock()
        if deadline is not None and deadline <= now:
            raise TimeoutError("no room within the timeout of chunks()")
        read = self._last_read is None or self._last_read + self._probe_interval <= now
        self._turn(read=read)

    def _seconds_to_wait(self, deadline: int | None) -> float | None:
        times = [time for time in (deadline, self._pull.next_wake()) if time is not None]
        if self._memory is not None and self._running == 0 and self._last_read is not None:
            times.append(self._last_read + self._probe_interval)
        if not times:
            return None
        return max(0.0, (min(times) - self._clock()) / 1e9)

    def _turn(self, read: bool = False) -> None:
        """Works off what was decided, and frees what is asked for."""
        while True:
            with self._lock:
                if read:
                    self._read_memory()
                self._pump()
                asked, self._to_reclaim = self._to_reclaim, []
            if not asked:
                return
            read = False
            for reclaim, kind, wanted in asked:
                self._free(reclaim, kind, wanted)

    def _free(self, reclaim: int, kind: str, wanted: int) -> None:
        freed = 0
        try:
            freed = max(0, self._reclaim[kind].free(wanted) or 0)
        except Exception as error:  # It is nobody's request that failed.
            warn([f"reclaim of {kind!r} freed nothing: {error!r}"])
        with self._lock:
            self._read_memory()  # shows the room, so it comes first
            self._pull.reclaimed(reclaim, freed, self._clock())

    def _pump(self) -> None:
        now = self._clock()
        next: Callable[[int], Any] = self._pull.next
        while (work := next(now)) is not None:
            kind, id = work[0], work[1]
            if kind == "step":
                self._running += 1
                request = self._requests.get(id)
                if request is None:  # left meanwhile
                    self._running -= 1
                    self._pull.failed(work[2], False, now)
                    continue
                request._work = work
                request._wake()
            elif kind == "reclaim":
                self._to_reclaim.append(work[1:])
            elif id in self._requests:
                request = self._requests[id]
                if kind == "admit":
                    request.admitted = True
                elif kind == "decode":
                    request._computed = True
                    request._wake()
                elif kind == "answer":
                    request._answer(*work[2:])

    # Memory, with the lock held.

    def _read_memory(self) -> None:
        if self._memory is None or self._running > 0:
            return
        live = self._ask_memory()
        now = self._clock()
        if live:
            self._pull.tell_memory(live, now)
            self._tell_reclaimable(now)

    def _ask_memory(self) -> list[int]:
        assert self._memory is not None
        self._last_read = self._clock()
        try:
            return _several(self._memory())
        except Exception as error:  # Unknown: the last reading stays in force.
            warn([f"live memory is unknown: {error!r}"])
            return []

    def _tell_reclaimable(self, now: int) -> None:
        for kind, reclaimer in self._reclaim.items():
            try:
                held = max(0, int(reclaimer.bytes()))
            except Exception as error:
                warn([f"what {kind!r} holds is unknown: {error!r}"])
                continue
            self._pull.tell_reclaimable(kind, held, now)

    def _probe(self) -> list[int]:
        return self._pull.read_probe()


def _full_engine(engine: str, given: dict[str, list[str]], policy_json: str | None) -> str:
    """A bare name is the engine that runs here; where none does, the one of that
    name in the policy."""
    if "@" in engine:
        return engine
    installed = installed_engine(engine)
    if installed is not None:
        return installed
    policy = _core.policy_engine({k: v for k, v in given.items() if k == "policy"}, policy_json)
    if policy is not None and policy.partition("@")[0] == engine:
        return policy
    raise ValueError(
        f'engine: expected NAME@VERSION/DEVICE such as mlx@0.31.2/metal, or the name of one that is installed here (mlx, torch), got "{engine}"'
    )
