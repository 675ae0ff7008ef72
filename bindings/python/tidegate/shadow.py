# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Shadow mode: what Tidegate would have done, beside a scheduler that goes on.

    shadow = tidegate.Shadow("policy.toml", "config.json", "mlx", log="shadow.jsonl")
    shadow.arrive(id, prompt_tokens=9_000, max_output_tokens=500)
    with shadow.step([(id, 2048, 4096)], decodes=3, decode_kv_len=900) as step:
        run()                                  # whatever the engine does
        step.done(peak_bytes=peak, live_bytes=live)
    shadow.finish(id)
    print(shadow.report())

Nothing is changed and nothing is raised once a Shadow is made; what it keeps and
writes is bounded. docs/engines/shadow.md has the meaning of each difference.
"""

from __future__ import annotations

import collections
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from . import _core
from ._flags import Path, warn
from ._steps import Decodes, Prefill, StepPrices
from ._types import Refused

# What can differ, in the order of reports.
DIFFERENCES: dict[str, str] = {
    "would_refuse": "the prompt fits no idle device: refused on arrival",
    "would_shrink": "the step's chunks fit only when narrower",
    "would_hold": "no chunk of the step fits: its prompts would have waited",
    "would_bound_stall": "the step keeps those who decode for longer than chunk.decode_stall",
    "predicted_out_of_memory": "live + price is above the ceiling itself",
    "out_of_memory": "the engine ran out of memory",
    "measured_above_price": "the step took more than its price: the price is wrong",
    "measured_above_ceiling": "the step's peak was above the ceiling",
}

_LOG_MAX_BYTES = 64 << 20
_ERRORS_MAX = 100  # of our own, after which a shadow looks no more
_EXAMPLES = 5


class JsonLines:
    """Lines of JSON to a file, until it has its size. Never raises after it was
    opened. `target`: a path, a function that is called with each dict, or None."""

    def __init__(self, target: Path | Callable[[dict[str, Any]], None] | None, max_bytes: int | None = None):
        self._call = target if callable(target) else None
        self._file = open(target, "a", encoding="utf-8", buffering=1) if target is not None and self._call is None else None  # type: ignore[arg-type]
        self._left = _LOG_MAX_BYTES if max_bytes is None else int(max_bytes)
        self.dropped = 0

    def write(self, line: dict[str, Any]) -> None:
        if self._call is None and self._file is None:
            return
        line = {"time": round(time.time(), 3), **line}
        try:
            if self._call is not None:
                self._call(line)
                return
            text = json.dumps(line, default=str) + "\n"
            if len(text) > self._left:
                self.dropped += 1
                return
            self._left -= len(text)
            self._file.write(text)  # type: ignore[union-attr]
        except Exception:
            self.dropped += 1

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(Exception):
                self._file.close()
            self._file = None


class ShadowStep:
    """A step of the engine's. Say done() or failed() when it has ended, or use it
    with `with`: an exception goes on, and if it means out of memory it is counted."""

    __slots__ = ("_chunks", "_decodes", "_shadow", "_taken", "differences", "transient_bytes")

    def __init__(self, shadow: Shadow, chunks: list[tuple[int, int]], decodes: Decodes, taken: int, transient: int, differences: dict[str, Any]):
        self._shadow, self._chunks, self._decodes, self._taken = shadow, chunks, decodes, taken
        self.transient_bytes = transient  # its price
        self.differences = differences  # names of DIFFERENCES, with numbers

    def done(self, *, peak_bytes: int | None = None, live_bytes: int | None = None, took_s: float | None = None) -> None:
        """The device's peak while it ran, what is live after it, and seconds."""
        with self._shadow.guarded():
            self._shadow._done(self, peak_bytes, live_bytes, took_s)

    def failed(self, error: BaseException | str = "") -> None:
        with self._shadow.guarded():
            self._shadow._failed(self, error)

    def __enter__(self) -> ShadowStep:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None:
            self.failed(error)


class Report(collections.UserDict[str, Any]):
    """Counts and examples; str() is a table."""

    def __str__(self) -> str:
        total = self.data
        lines = [
            f"tidegate shadow: {total['requests']:,} requests, {total['steps']:,} steps, {total['priced_s']:.3f} s of its own"
            + (f", {total['errors']} errors" if total["errors"] else "")
        ]
        for name, meaning in DIFFERENCES.items():
            count = total[name]
            lines.append(f"  {name:<24}{count:>10,}  {meaning if count else ''}".rstrip())
            for example in total["examples"].get(name, [])[:1]:
                lines.append(f"      e.g. {_words(example)}")
        tightest = total["tightest_room_bytes"]
        lines.append(f"  dearest step            {_core.format_bytes(total['transient_bytes_max'])} transient")
        if tightest is not None:
            words = _core.format_bytes(abs(tightest)) + (" too little" if tightest < 0 else " left")
            lines.append(f"  tightest step           {words}")
        if total["measured_steps"]:
            lines.append(f"  measured / price        {total['measured_over_price_max']:.2f} at most, in {total['measured_steps']:,} steps with peaks")
        if total["log_dropped"]:
            lines.append(f"  log lines dropped       {total['log_dropped']:,}")
        return "\n".join(lines)


def _words(example: Mapping[str, Any]) -> str:
    shown = {k: v for k, v in example.items() if k not in ("time", "event")}
    return ", ".join(f"{k} {_core.format_bytes(v) if k.endswith('_bytes') and isinstance(v, int) and v >= 0 else v}" for k, v in shown.items())


class Shadow:
    """Watches an engine's own scheduler.

    policy, model, engine   as of Gate; settings such as ceiling= too
    base_bytes      live before any request; default: the policy's
    preallocated    the engine's KV is live already, and base_bytes counts it (a
                    pool of blocks). Otherwise sequences add to what is live
    log             where differences go, a JSON object a line: a path, or a
                    function. At most log_max_bytes (64 MiB)
    report          a path that close() writes the report to, as JSON
    max_requests    requests known at a time; the oldest is forgotten

    Bad settings raise ValueError or FileNotFoundError here. Afterwards nothing
    does: after 100 errors of its own a Shadow looks no more, and says so once.
    Thread-safe.
    """

    def __init__(
        self,
        policy: Path | Mapping[str, Any] | StepPrices | None = None,
        model: Path | Mapping[str, Any] | None = None,
        engine: str | None = None,
        *,
        base_bytes: int | None = None,
        preallocated: bool = False,
        log: Path | Callable[[dict[str, Any]], None] | None = None,
        log_max_bytes: int | None = None,
        report: Path | None = None,
        max_requests: int = 100_000,
        **settings: Any,
    ):
        self._prices = policy if isinstance(policy, StepPrices) else StepPrices(policy, model, engine, **settings)
        self._base = self._prices.base_bytes if base_bytes is None else base_bytes
        self._preallocated = preallocated
        self._log = JsonLines(log, log_max_bytes)
        self._report_path = report
        self._max_requests = max_requests
        # id -> [tokens of the prompt, tokens in the cache, resident bytes]
        self._requests: collections.OrderedDict[Any, list[int]] = collections.OrderedDict()
        self._resident = 0
        self._lock = threading.RLock()
        self._errors = 0
        self._counts = dict.fromkeys(DIFFERENCES, 0)
        self._examples: dict[str, list[dict[str, Any]]] = {}
        self._arrived = self._steps = self._measured = 0
        self._ratio = 0.0
        self._dearest = 0
        self._tightest: int | None = None
        self._nanoseconds = 0

    # What the engine tells. None of it raises.

    def arrive(self, id: Any, prompt_tokens: int, cached_tokens: int = 0, max_output_tokens: int = 0, *, refused: Refused | None = None) -> Refused | None:
        """A request joined the engine's queue. Answers why Tidegate would have
        refused it; None: it would not. `refused`: one that is known already."""
        with self.guarded():
            if self._errors >= _ERRORS_MAX:
                return None
            self._arrived += 1
            self._forget_oldest()
            self._requests[id] = [prompt_tokens, cached_tokens, 0]
            if refused is None:
                refused = self._prices.refusal(prompt_tokens, cached_tokens, max_output_tokens, base=self._base, preallocated=self._preallocated)
            if refused is not None:
                self._differs(
                    "would_refuse",
                    {"id": id, "prompt_tokens": prompt_tokens, "code": refused.code, "reason": refused.reason, "largest_prompt": refused.largest_prompt_that_fits},
                )
            return refused
        return None

    def step(
        self,
        chunks: Iterable[tuple[Any, int, int]],
        decodes: int = 0,
        decode_kv_len: int = 0,
        decode_kv_sum: int | None = None,
        *,
        live_bytes: int | None = None,
    ) -> ShadowStep:
        """The engine runs a step: chunks as (id, n, kv_len), kv_len what the chunk
        attends to, itself included, and decode tokens with their longest kv length
        and the sum of their kv lengths (default: all as long). `live_bytes` is live
        memory before it; default: base and what requests hold by price."""
        with self.guarded():
            return self._step(list(chunks), Decodes(decodes, decode_kv_len, decodes * decode_kv_len if decode_kv_sum is None else decode_kv_sum), live_bytes)
        return ShadowStep(self, [], Decodes(), 0, 0, {})

    def finish(self, id: Any) -> None:
        """The request ended, however; its memory is free."""
        with self.guarded():
            gone = self._requests.pop(id, None)
            if gone is not None:
                self._resident -= gone[2]

    def report(self) -> Report:
        """What differed so far; print() it, or read it as a dict."""
        with self._lock:
            return Report(
                {
                    **self._counts,
                    "requests": self._arrived,
                    "steps": self._steps,
                    "transient_bytes_max": self._dearest,
                    "tightest_room_bytes": self._tightest,
                    "measured_steps": self._measured,
                    "measured_over_price_max": self._ratio,
                    "examples": {name: list(lines) for name, lines in self._examples.items()},
                    "engine": self._prices.engine,
                    "priced_s": self._nanoseconds / 1e9,
                    "errors": self._errors,
                    "log_dropped": self._log.dropped,
                }
            )

    def close(self) -> None:
        """Writes the report, where one is wanted, and closes the log."""
        with self.guarded():
            self._log.write({"event": "report", **self.report().data})
            if self._report_path is not None:
                with open(self._report_path, "w", encoding="utf-8") as file:
                    json.dump(self.report().data, file, indent=1, default=str)
                    file.write("\n")
            self._log.close()

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Nothing raised inside comes out, and the time inside is counted."""
        began = time.perf_counter_ns()
        with self._lock:
            try:
                yield
            except Exception as error:
                self._errors += 1
                if self._errors in (1, _ERRORS_MAX):
                    with contextlib.suppress(Exception):
                        more = "" if self._errors == 1 else "; it looks no more"
                        warn([f"tidegate shadow: {error!r}{more}"], stacklevel=4)
            finally:
                self._nanoseconds += time.perf_counter_ns() - began

    # With the lock held.

    def _step(self, asked: list[tuple[Any, int, int]], decodes: Decodes, live: int | None) -> ShadowStep:
        if self._errors >= _ERRORS_MAX:
            return ShadowStep(self, [], Decodes(), 0, 0, {})
        self._steps += 1
        prices = self._prices
        taken = live if live is not None else self._base + self._resident
        chunks = [(n, kv_len) for _, n, kv_len in asked]
        transient, resident, largest = prices.price(chunks, decodes)
        need = transient if self._preallocated else transient + resident
        room = prices.line_bytes - taken
        differences: dict[str, Any] = {}
        self._dearest = max(self._dearest, transient)
        self._tightest = room - need if self._tightest is None else min(self._tightest, room - need)
        limits = prices.max_allocation_bytes
        too_much = need > room or (limits is not None and largest > limits)
        took = prices.took(chunks, decodes) if decodes.tokens > 0 and chunks and prices.decode_stall_ns > 0 else None
        if too_much or (took is not None and took > prices.decode_stall_ns):
            self._compare(asked, decodes, room, need, took, too_much, differences)
        if taken + need > prices.ceiling_bytes:
            differences["predicted_out_of_memory"] = {"taken_bytes": taken, "need_bytes": need, "ceiling_bytes": prices.ceiling_bytes}
        for name, numbers in differences.items():
            self._differs(name, {"step": self._steps, "tokens": sum(n for n, _ in chunks), "decode_tokens": decodes.tokens, **numbers})
        if not self._preallocated:
            self._hold(asked)
        return ShadowStep(self, chunks, decodes, taken, transient, differences)

    def _compare(
        self, asked: list[tuple[Any, int, int]], decodes: Decodes, room: int, need: int, took: int | None, too_much: bool, differences: dict[str, Any]
    ) -> None:
        """The engine's own chunks, as narrow as Tidegate would have made them."""
        tokens = sum(n for _, n, _ in asked)
        plan = self._prices.choose(
            decodes=decodes,
            running=[Prefill(id, n, kv_len - n) for id, n, kv_len in asked],
            budget=decodes.tokens + tokens,
            room=room,
            preallocated=self._preallocated,
        )
        numbers: dict[str, Any] = {"to_tokens": plan.tokens, "need_bytes": need, "room_bytes": room}
        if took is not None and plan.bound == "time":
            numbers |= {"took_ms": took / 1e6, "stall_ms": self._prices.decode_stall_ns / 1e6}
        if not asked or plan.tokens >= tokens:
            # Decode tokens alone are too much: nothing of it could be narrower.
            return
        if plan.bound == "time" and not too_much:
            differences["would_bound_stall"] = numbers
        else:
            differences["would_shrink" if plan.tokens > 0 else "would_hold"] = numbers

    def _hold(self, asked: Sequence[tuple[Any, int, int]]) -> None:
        for id, n, kv_len in asked:
            if id not in self._requests:
                self._forget_oldest()
            entry = self._requests.setdefault(id, [0, kv_len - n, 0])
            grown = self._prices.price([(n, kv_len)])[1]
            entry[1] = kv_len
            entry[2] += grown
            self._resident += grown

    def _forget_oldest(self) -> None:
        while len(self._requests) >= self._max_requests:
            _, gone = self._requests.popitem(last=False)
            self._resident -= gone[2]

    def _done(self, step: ShadowStep, peak: int | None, live: int | None, took_s: float | None) -> None:
        if took_s is not None and took_s > 0 and (step._chunks or step._decodes.tokens):
            self._prices.learn(step._chunks, step._decodes, int(took_s * 1e9))
        if peak is None:
            return
        if peak > self._prices.ceiling_bytes:
            self._differs("measured_above_ceiling", {"step": self._steps, "peak_bytes": peak, "ceiling_bytes": self._prices.ceiling_bytes})
        if live is None:
            return
        # The step's own growth stays in `live`.
        measured = max(0, peak - live)
        self._measured += 1
        if step.transient_bytes > 0:
            self._ratio = max(self._ratio, measured / step.transient_bytes)
        if measured > step.transient_bytes:
            self._differs(
                "measured_above_price",
                {"chunks": step._chunks[:4], "decode_tokens": step._decodes.tokens, "measured_bytes": measured, "price_bytes": step.transient_bytes},
            )

    def _failed(self, step: ShadowStep, error: BaseException | str) -> None:
        from ._engines import is_out_of_memory

        if is_out_of_memory(error if isinstance(error, BaseException) else RuntimeError(error)):
            self._differs(
                "out_of_memory",
                {"chunks": step._chunks[:4], "decode_tokens": step._decodes.tokens, "price_bytes": step.transient_bytes, "foreseen": bool(step.differences)},
            )

    def _differs(self, name: str, numbers: dict[str, Any]) -> None:
        self._counts[name] += 1
        line = {"event": name, **numbers}
        examples = self._examples.setdefault(name, [])
        if len(examples) < _EXAMPLES:
            examples.append(line)
        self._log.write(line)


__all__ = ["DIFFERENCES", "JsonLines", "Report", "Shadow", "ShadowStep"]
