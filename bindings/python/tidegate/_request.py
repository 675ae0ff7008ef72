# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""One request of a Gate: its chunks, for threads and for asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _core
from ._engines import is_out_of_memory
from ._types import Arithmetic, Cancelled, Error, Refused

if TYPE_CHECKING:
    from ._gate import Gate


class Chunk:
    """Tokens [start, stop) of the prompt, to be computed now.

    Say done() when they are, or failed(error). As a context manager it says one
    of them itself: an exception that means out of memory is told to the
    scheduler and ends there, and the loop gets these tokens again in a narrower
    chunk; any other goes on outwards.
    """

    __slots__ = (
        "_request",
        "_since",
        "_step",
        "bound",
        "resident_bytes",
        "room_bytes",
        "start",
        "stop",
        "transient_bytes",
    )

    def __init__(self, request: Request, work: tuple[Any, ...], since: int):
        self.start: int
        _, _, self._step, self.start, n, self.bound, self.transient_bytes, self.resident_bytes, self.room_bytes = work
        self.stop: int = self.start + n
        self._request = request
        self._since = since

    def __repr__(self) -> str:
        return f"Chunk({self.start}:{self.stop}, bound by {self.bound}, transient {_core.format_bytes(self.transient_bytes)})"

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def pending(self) -> bool:
        """Whether it has been answered by neither done() nor failed()."""
        return self._request._chunk is self

    def done(
        self,
        *,
        peak_bytes: int | Sequence[int] | None = None,
        live_bytes: int | Sequence[int] | None = None,
    ) -> None:
        """The tokens are in the cache.

        `peak_bytes` is the device's peak while they were computed, `live_bytes`
        what is live now; both of one counter, one number a device. Without
        `live_bytes` the Gate's memory callback is asked.
        """
        self._request._gate._done(self, _several(peak_bytes), _several(live_bytes))

    def failed(self, error: BaseException | str = "") -> None:
        """The step failed and left nothing of itself in the cache. Out of memory:
        the tokens come again in a narrower chunk. Another error: they come again
        after a pause. Nine failures in a row end the request as Refused."""
        memory = is_out_of_memory(error) if isinstance(error, BaseException) else is_out_of_memory(RuntimeError(error))
        self._request._gate._failed(self, memory)

    def __enter__(self) -> Chunk:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        if not self.pending:
            return False
        if error is None:
            self.done()
            return False
        if not is_out_of_memory(error):
            return False  # Request.__exit__ says it, unless somebody handles it.
        self.failed(error)
        return True


class Chunks:
    """Iterates over a request's chunks, waiting for room: with `for` on a thread,
    with `async for` on an event loop. A chunk that nobody answered counts as done
    without measurements when the next one is asked for."""

    def __init__(self, request: Request, timeout: float | None):
        self._request = request
        self._timeout = timeout

    def __iter__(self) -> Chunks:
        return self

    def __next__(self) -> Chunk:
        chunk = self._request._next(self._timeout)
        if chunk is None:
            raise StopIteration
        return chunk

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> Chunk:
        chunk = await self._request._next_async(self._timeout)
        if chunk is None:
            raise StopAsyncIteration
        return chunk


class Request:
    """Made by Gate.request(); use it with `with` or `async with`.

    Entering submits it, and raises Refused where no idle device could run it.
    Leaving ends it: finished when its prompt was computed and no exception
    passes, cancelled otherwise. What it holds on the device is to be freed then.
    """

    def __init__(self, gate: Gate, submit: Callable[[int], None], prompt_tokens: int, cached_tokens: int):
        self._gate = gate
        self._submit = submit
        self.prompt_tokens = prompt_tokens
        self.tokens_done = cached_tokens  # in the cache
        self.admitted = False  # holds a claim on memory
        self.id = 0  # of this Gate's log, once entered
        # What the scheduler said, with the Gate's lock held.
        self._work: tuple[Any, ...] | None = None  # a step that is to be run
        self._chunk: Chunk | None = None  # one that runs
        self._computed = False
        self._ended: Error | None = None  # what next() raises
        self._open = False
        self._condition: threading.Condition | None = None
        self._wake: Callable[[], None] = lambda: None

    @property
    def computed(self) -> bool:
        """Whether the whole prompt is in the cache."""
        return self._computed

    def chunks(self, timeout: float | None = None) -> Chunks:
        """The chunks that are left. `timeout`: seconds to wait for one at most;
        then TimeoutError, and the request may go on waiting."""
        return Chunks(self, timeout)

    def cancel(self) -> None:
        """Ends it, from any thread: its loop gets Cancelled in place of a chunk."""
        self._gate._cancel(self)

    def decoded(self, tokens: int = 1) -> None:
        """After the prompt: so many tokens were generated, and their KV stays."""
        self._gate._decoded(self, tokens)

    # Threads.

    def __enter__(self) -> Request:
        if self._open or self.id:
            raise RuntimeError("a tidegate request is entered once")
        condition = threading.Condition(self._gate._lock)
        self._condition = condition
        self._wake = condition.notify_all
        self._gate._enter(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._gate._leave(self, error)

    def _next(self, timeout: float | None) -> Chunk | None:
        gate = self._gate
        condition = self._condition
        if condition is None:
            raise RuntimeError("chunks() of a tidegate request: expected `with gate.request(…) as r:` around it")
        gate._settle(self)
        deadline = None if timeout is None else gate._clock() + int(timeout * 1e9)
        while True:
            with gate._lock:
                if self._ready():
                    return self._take()
                condition.wait(gate._seconds_to_wait(deadline))
                if self._ready():
                    return self._take()
            gate._tick(deadline)

    # Event loops.

    async def __aenter__(self) -> Request:
        if self._open or self.id:
            raise RuntimeError("a tidegate request is entered once")
        loop = asyncio.get_running_loop()
        event = self._event = asyncio.Event()

        def wake() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

        self._wake = wake
        self._gate._enter(self)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._gate._leave(self, error)

    async def _next_async(self, timeout: float | None) -> Chunk | None:
        gate = self._gate
        if not hasattr(self, "_event"):
            raise RuntimeError("chunks() of a tidegate request: expected `async with gate.request(…) as r:` around it")
        gate._settle(self)
        deadline = None if timeout is None else gate._clock() + int(timeout * 1e9)
        while True:
            with gate._lock:
                if self._ready():
                    return self._take()
                self._event.clear()
                seconds = gate._seconds_to_wait(deadline)
            try:
                await asyncio.wait_for(self._event.wait(), seconds)
            except asyncio.TimeoutError:  # not TimeoutError before Python 3.11
                pass
            with gate._lock:
                if self._ready():
                    return self._take()
            gate._tick(deadline)

    # With the Gate's lock held.

    def _ready(self) -> bool:
        return self._work is not None or self._computed or self._ended is not None

    def _take(self) -> Chunk | None:
        if self._ended is not None:
            raise self._ended
        if self._work is not None:
            work, self._work = self._work, None
            self._chunk = Chunk(self, work, self._gate._clock())
            return self._chunk
        return None

    def _answer(self, outcome: str, code: str | None, reason: str, arithmetic: dict[str, Any], largest: int) -> None:
        self._open = False
        if outcome == "rejected":
            self._ended = Refused(code or "unsupported", reason, Arithmetic(**arithmetic), largest)
        elif outcome == "cancelled":
            self._ended = Cancelled("the request was cancelled")
        self._wake()


def _several(numbers: int | Sequence[int] | None) -> list[int]:
    if numbers is None:
        return []
    try:
        return [int(number) for number in numbers]  # type: ignore[union-attr]
    except TypeError:
        return [int(numbers)]  # type: ignore[arg-type]
