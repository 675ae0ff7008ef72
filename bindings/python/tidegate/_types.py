# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""What the package answers with: plain values, and exceptions that carry them."""

from __future__ import annotations

import dataclasses
from typing import Any

from . import _core


@dataclasses.dataclass(frozen=True)
class Arithmetic:
    """The inequality that decided, in bytes:

    live + claims + resident + transient <= ceiling - headroom, or, where
    `max_allocation_bytes` decided, largest_allocation <= max_allocation.
    """

    live_bytes: int
    claims_bytes: int
    resident_bytes: int
    transient_bytes: int
    fixed_in_n_bytes: int  # of the transient, what no narrower chunk avoids
    ceiling_bytes: int
    headroom_bytes: int
    largest_allocation_bytes: int
    max_allocation_bytes: int | None
    n: int  # width of the chunk that decided
    kv_len: int  # and what it attends to, itself included


@dataclasses.dataclass(frozen=True)
class PlannedChunk:
    start: int
    n: int
    kv_len: int
    transient_bytes: int

    @property
    def stop(self) -> int:
        return self.kv_len


@dataclasses.dataclass(frozen=True)
class Quote:
    """What a prompt would need, and whether it may run."""

    verdict: str  # "admit"; "wait": fits, but not beside what runs; "reject"
    code: str | None  # of a rejection: "too_large", …
    reason: str  # one sentence; of a rejection with its arithmetic
    chunks: tuple[PlannedChunk, ...]  # of the idle device; empty when rejected
    peak_bytes: int
    largest_prompt_that_fits: int
    arithmetic: Arithmetic
    inequality: str  # the arithmetic in words and units

    def __bool__(self) -> bool:
        """Whether the prompt can run, if need be after waiting."""
        return self.verdict != "reject"

    def __str__(self) -> str:
        if not self:
            return f"refused ({self.code}): {self.reason}"
        chunks = f"{len(self.chunks):,} chunk" + ("s" if len(self.chunks) != 1 else "")
        what = f"{self.verdict}: {chunks}, peak {_core.format_bytes(self.peak_bytes)}"
        return f"{what}; {self.inequality}"

    def frame(self) -> Any:
        """The chunks as a pandas DataFrame."""
        return frame([dataclasses.asdict(chunk) for chunk in self.chunks])


@dataclasses.dataclass(frozen=True)
class Price:
    """What one step costs."""

    transient_bytes: int  # peak above live, freed when the step ends
    resident_bytes: int  # KV and state that it adds and keeps
    largest_allocation_bytes: int
    fixed_in_n_bytes: int
    route: str  # the kernel, as the catalogue calls it
    assumed: bool  # no proven bound: unknown engine or newer version
    parts: dict[str, list[tuple[str, int]]]  # part -> its terms


class Error(Exception):
    """What a request may end in."""


class Refused(Error):
    """The scheduler refused the request: at once, or when its rest fits no longer."""

    def __init__(self, code: str, reason: str, arithmetic: Arithmetic, largest_prompt_that_fits: int):
        super().__init__(f"{code}: {reason}")
        self.code = code  # "too_large", "overloaded" or "unsupported"
        self.reason = reason
        self.arithmetic = arithmetic
        self.largest_prompt_that_fits = largest_prompt_that_fits

    def __reduce__(self) -> Any:
        return type(self), (self.code, self.reason, self.arithmetic, self.largest_prompt_that_fits)


class Cancelled(Error):
    """The request was cancelled, by Request.cancel() or Gate.close()."""


def frame(rows: Any) -> Any:
    """A DataFrame of rows or columns."""
    try:
        import pandas
    except ImportError:
        raise ImportError("a DataFrame needs pandas: pip install pandas") from None
    return pandas.DataFrame(rows)
