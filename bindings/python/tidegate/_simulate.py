# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""The simulator: what would a policy have done with that load?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from . import _core
from ._flags import Path, commas, flags, python_names, warn
from ._types import frame
from .plugins import Plugin, made


class Simulation(dict[str, Any]):
    """The summary, keys as of `tidegate simulate --json`."""

    def __init__(self, summary: dict[str, Any], columns: dict[str, list[Any]]):
        super().__init__(summary)
        #: One list a column, one entry a request, in the trace's order.
        self.columns = columns

    def records(self) -> Any:
        """What came of each request, as a pandas DataFrame."""
        return frame(self.columns)


class Comparison(list[dict[str, Any]]):
    """One dict a run: policy, trace, ceiling_bytes, load, seed, then the summary or
    `error`."""

    def frame(self) -> Any:
        """A pandas DataFrame, one row a run."""
        return frame(list(self))


def simulate(
    policy: Path,
    trace: Path,
    *,
    out: Path | None = None,
    requests: int | None = None,
    rival: str | None = None,
    model: Path | None = None,
    engine: str | None = None,
    engine_options: Mapping[str, str] | None = None,
    estimator: str | None = None,
    ceiling: int | str | None = None,
    base: int | str | None = None,
    headroom: int | str | None = None,
    max_allocation: int | str | None = None,
    chunk_max: int | None = None,
    chunk_floor: int | None = None,
    chunk_quantum: int | None = None,
    max_output: int | None = None,
    slo_ttft: float | None = None,
    slo_itl: float | None = None,
    plugins: Iterable[Plugin] = (),
) -> Simulation:
    """Runs a trace through a policy in virtual time, as `tidegate simulate` does.

    `out` is a folder for summary.json, report.html, events.jsonl and
    timeline.json. `plugins` are estimators and policies of your own
    (tidegate.plugins); what became of them is under "plugins". The GIL is released
    while it runs, but for them.
    """
    given = flags(
        policy=policy,
        trace=trace,
        out=out,
        requests=requests,
        rival=rival,
        model=model,
        engine=engine,
        engine_options=engine_options,
        estimator=estimator,
        ceiling=ceiling,
        base=base,
        headroom=headroom,
        max_allocation=max_allocation,
        chunk_max=chunk_max,
        chunk_floor=chunk_floor,
        chunk_quantum=chunk_quantum,
        max_output=max_output,
        slo_ttft=slo_ttft,
        slo_itl=slo_itl,
    )
    with python_names():
        summary, said, columns = _core.simulate(given, True, made(plugins))
    warn(said.splitlines())
    return Simulation(json.loads(summary), columns)


def compare(
    policies: Path | Iterable[Path],
    traces: Path | Iterable[Path],
    *,
    ceilings: int | str | Iterable[int | str] | None = None,
    loads: float | Iterable[float] | None = None,
    seeds: int | None = None,
    jobs: int | None = None,
    requests: int | None = None,
    out: Path | None = None,
    resume: bool = False,
) -> Comparison:
    """policies x traces x ceilings x loads x seeds, in parallel, as `tidegate
    compare` does. A policy is a file or "rival:NAME". `out` is a folder for
    report.html, compare.json and a file for each run; with `resume`, runs that are
    there already are not made again. tidegate.sweep spreads runs over machines."""
    given = compare_flags(
        policies, traces, ceilings=ceilings, loads=loads, seeds=seeds, requests=requests, out=out, jobs=jobs
    )
    return comparison(given, resume)


def compare_flags(
    policies: Path | Iterable[Path],
    traces: Path | Iterable[Path],
    *,
    ceilings: int | str | Iterable[int | str] | None,
    loads: float | str | Iterable[float] | None,
    **others: Any,
) -> dict[str, list[str]]:
    return flags(policies=commas(policies), traces=list(_each(traces)), ceiling=commas(ceilings), loads=commas(loads), **others)


def comparison(given: dict[str, list[str]], resume: bool) -> Comparison:
    with python_names():
        runs, said = _core.compare(given, resume, False)
    warn(said.splitlines(), stacklevel=4)
    return Comparison(json.loads(runs)["runs"])


def _each(values: Any) -> Any:
    return [values] if isinstance(values, (str, bytes)) or hasattr(values, "__fspath__") else values
