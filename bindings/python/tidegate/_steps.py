# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""How wide a step may be, for engines that form their steps themselves.

A Gate owns its requests. Here the engine does: it shows what it holds, and is
told how many tokens of whom fit the room and the time that there is. Nothing is
remembered between two calls but measured times. vllm.py and shadow.py are on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from . import _core
from ._flags import Path, flags, python_names, warn
from ._types import Arithmetic, Refused

_CANDIDATES = 64  # widths that are tried between the widest and the floor


class Prefill(NamedTuple):
    """A request with prompt tokens left to compute."""

    id: Any
    left: int
    before: int  # tokens in its cache
    # What its chunk may turn out to attend to at most, where the engine looks
    # its prefix up only when it runs; 0: before + n.
    kv_len_max: int = 0

    def chunk(self, n: int) -> tuple[int, int]:
        return n, max(self.before + n, self.kv_len_max)


class Decodes(NamedTuple):
    """The decode tokens of a step, draft tokens included."""

    tokens: int = 0
    kv_len: int = 0  # longest attended length among them
    kv_sum: int = 0  # of all


class StepWidths(NamedTuple):
    """What a step should hold."""

    widths: dict[Any, int]  # tokens of those who get some
    held: list[Any]  # running requests that get nothing
    threshold: int  # widest chunk
    bound: str  # what bound it: "engine", "memory" or "time"
    transient_bytes: int
    room_bytes: int

    @property
    def tokens(self) -> int:
        return sum(self.widths.values())


class StepPrices:
    """A policy's prices, times and limits for one model on one engine.

    Arguments as of Gate. Bad input is a ValueError or FileNotFoundError.
    """

    def __init__(
        self,
        policy: Path | Mapping[str, Any] | None,
        model: Path | Mapping[str, Any] | None = None,
        engine: str | None = None,
        **settings: Any,
    ):
        policy_json = json.dumps(policy) if isinstance(policy, Mapping) else None
        model_json = json.dumps(model) if isinstance(model, Mapping) else None
        with python_names():
            given = flags(policy=None if policy_json else policy, model=None if model_json else model, engine=engine, **settings)
            self._core = _core.Steps(given, policy_json, model_json)
        warn(self._core.warnings)
        stated = self._core.settings()
        self.settings: dict[str, Any] = stated
        self.line_bytes: int = stated["ceiling_bytes"] - stated["headroom_bytes"]
        self.ceiling_bytes: int = stated["ceiling_bytes"]
        self.base_bytes: int = stated["base_bytes"]
        self.max_allocation_bytes: int | None = stated["max_allocation_bytes"]
        self.floor: int = stated["floor"]
        self.quantum: int = stated["quantum"]
        self.decode_stall_ns: int = stated["decode_stall"]

    @property
    def engine(self) -> str:
        return self._core.engine

    # Questions about one step.

    def price(self, chunks: Sequence[tuple[int, int]], decodes: Decodes = Decodes()) -> tuple[int, int, int]:
        """(transient, resident, largest allocation) of chunks as (n, kv_len) with
        decode tokens beside them."""
        return self._core.price(chunks, decodes.tokens, decodes.kv_len)

    def took(self, chunks: Sequence[tuple[int, int]], decodes: Decodes = Decodes()) -> int | None:
        """Expected nanoseconds; None: no time model."""
        return self._core.took(chunks, decodes.tokens, decodes.kv_sum)

    def learn(self, chunks: Sequence[tuple[int, int]], decodes: Decodes, nanoseconds: int) -> None:
        self._core.learn(chunks, decodes.tokens, decodes.kv_sum, nanoseconds)

    def fits(self, chunks: Sequence[tuple[int, int]], decodes: Decodes, room: int, preallocated: bool) -> tuple[bool, int]:
        """Whether a step fits the room, and its transient. `preallocated`: its KV
        is live already."""
        transient, resident, largest = self.price(chunks, decodes)
        need = transient if preallocated else transient + resident
        return need <= room and (self.max_allocation_bytes is None or largest <= self.max_allocation_bytes), transient

    # Admission.

    def refusal(self, prompt_tokens: int, cached_tokens: int, max_output_tokens: int, *, base: int, preallocated: bool) -> Refused | None:
        """Why no idle device with `base` bytes taken could run the prompt; None:
        it could."""
        with python_names():
            answer = self._core.quote(
                prompt_tokens, min(cached_tokens, prompt_tokens - 1), 0 if preallocated else max_output_tokens, preallocated, base
            )
        if answer["verdict"] != "reject":
            return None
        return Refused(
            answer["code"] or "unsupported",
            answer["reason"],
            Arithmetic(**answer["arithmetic"]),
            answer["largest_prompt_that_fits"],
        )

    def first_width(self, prompt_tokens: int, cached_tokens: int, *, base: int, preallocated: bool) -> int:
        """The first chunk of a plan of the rest on the idle device; 0: none fits."""
        return int(self._core.quote(prompt_tokens, cached_tokens, 0, preallocated, base)["first_chunk"])

    # Widths.

    def choose(
        self,
        *,
        decodes: Decodes,
        running: Sequence[Prefill],
        waiting: Iterable[Prefill] = (),
        budget: int,
        threshold: int = 0,
        slots: int = 1 << 30,
        room: int,
        preallocated: bool,
    ) -> StepWidths:
        """The widest step of the engine's own kind that fits.

        The engine fills `budget` tokens with decode tokens, then with `running`
        prefills in their order, then with `waiting` ones, as many as there are
        `slots`, none wider than `threshold` (0: no limit). What is narrowed is
        the number of prompt tokens: until the price fits the room, and, where
        requests decode, the time policy.decode_stall; but not below chunk.floor
        for the sake of time.
        """
        threshold = threshold or budget
        line = [one for one in waiting][: max(0, slots)] if slots < 1 << 30 else list(waiting)
        most = min(budget - decodes.tokens, sum(min(one.left, threshold) for one in running) + sum(min(one.left, threshold) for one in line))
        bound = "engine"
        transient = 0
        if most > 0:
            for width in self._candidates(most):
                chunks, level = self._fill(width, running, line, threshold, decodes.tokens > 0)
                if not chunks:
                    continue
                priced = [one.chunk(n) for one, n in chunks]
                fit, transient = self.fits(priced, decodes, room, preallocated)
                if not fit:
                    bound = "memory"
                    continue
                if decodes.tokens > 0 and self.decode_stall_ns > 0 and width > self.floor:
                    took = self.took(priced, decodes)
                    if took is not None and took > self.decode_stall_ns:
                        bound = "time"
                        continue
                widths = {one.id: n for one, n in chunks}
                return StepWidths(widths, [one.id for one in running if one.id not in widths], level, bound, transient, room)
        if most <= 0:
            transient = self.price([], decodes)[0] if decodes.tokens > 0 else 0
        return StepWidths({}, [one.id for one in running], threshold, bound, transient, room)

    def _candidates(self, most: int) -> Iterable[int]:
        yield most
        step = self.quantum * max(1, -(-most // (self.quantum * _CANDIDATES)))
        for width in range((most - 1) // step * step, self.floor - 1, -step):
            yield width
        if self.floor < most and self.floor % step != 0:
            yield self.floor

    def _fill(
        self, width: int, running: Sequence[Prefill], waiting: Sequence[Prefill], threshold: int, decoding: bool
    ) -> tuple[list[tuple[Prefill, int]], int]:
        """What a budget of `width` prompt tokens becomes, and its widest chunk."""
        chunks: list[tuple[Prefill, int]] = []
        left = width
        for one in running:
            if left <= 0:
                break
            n = min(one.left, threshold, left)
            chunks.append((one, n))
            left -= n
        level = threshold
        if decoding and chunks and chunks[-1][1] < min(chunks[-1][0].left, threshold):
            # Prompts stand among those who decode in the engine's list, and the
            # one that is cut short must not take their tokens: all are cut to a
            # common width instead.
            if len(chunks) > 1 and chunks[-1][1] < self.floor:
                chunks.pop()
            else:
                level = _level([min(one.left, threshold) for one, _ in chunks], width)
                chunks = [(one, min(one.left, level)) for one, _ in chunks]
            left = width - sum(n for _, n in chunks)
            if left < self.floor:
                return chunks, level
        for one in waiting:
            if left <= 0:
                break
            n = min(one.left, level, left)
            chunks.append((one, n))
            left -= n
        return chunks, level


def _level(wanted: Sequence[int], total: int) -> int:
    """The largest n such that min(w, n) over all wanted sums to at most total."""
    left = total
    ascending = sorted(wanted)
    for done, want in enumerate(ascending):
        share = left // (len(ascending) - done)
        if want > share:
            return max(1, share)
        left -= want
    return max(1, ascending[-1] if ascending else total)
