# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Comparisons that are too large for one machine, over a Ray cluster.

    python -m tidegate.sweep --policies a.toml,rival:vllm --trace trace.csv \\
        --ceiling "60 GiB,78 GiB" --load 1,2,4 --seeds 5 --out DIR

policies x traces x ceilings x loads x seeds, each run a Ray task. What a run came
to is a file of DIR/runs; table, compare.json and report.html are made of those
files, and are what `tidegate compare` makes. Called again, it makes the runs that
are missing, or whose policy file, trace or flags are others now.

Every machine needs this package, of the same version, and the policy files,
traces and what they name under the same paths: a folder that all share.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from . import __version__, _core
from ._flags import Path, python_names, warn
from ._simulate import Comparison, compare_flags, comparison

Progress = Callable[[int, int], None]
Done = tuple[str, str]  # file, text


def sweep(
    policies: Path | Iterable[Path],
    traces: Path | Iterable[Path],
    *,
    out: Path,
    ceilings: int | str | Iterable[int | str] | None = None,
    loads: float | Iterable[float] | None = None,
    seeds: int | None = None,
    requests: int | None = None,
    address: str | None = None,
    progress: Progress = lambda done, total: None,
) -> Comparison:
    """compare() with its runs on a Ray cluster, and with the files of `out` that a
    call before this one made. `address` as of ray.init(): default, the cluster that
    RAY_ADDRESS names, or one of this machine alone. A cluster that is connected to
    already is used, and left connected. `progress` is called with (runs made, runs)."""
    given = compare_flags(policies, traces, ceilings=ceilings, loads=loads, seeds=seeds, requests=requests, out=out)
    with python_names():
        _make(given, pathlib.Path(out), address, progress)
    return comparison(given, resume=True)


def _make(given: dict[str, list[str]], out: pathlib.Path, address: str | None, progress: Progress) -> None:
    """Every run that is not in `out` yet."""
    tasks: dict[int, str] = dict(_core.compare_tasks(given, True))
    progress(0, len(tasks))
    if not tasks:
        return
    folder = out / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    for done, (file, text) in enumerate(_on_ray(given, tasks, address), start=1):
        # Whole or not at all, whenever this process ends.
        beginning = folder / f".{file}.part"
        beginning.write_text(text)
        beginning.replace(folder / file)
        progress(done, len(tasks))


def _on_ray(given: dict[str, list[str]], tasks: dict[int, str], address: str | None) -> Iterator[Done]:
    try:
        import ray
    except ImportError:
        raise ImportError("a sweep needs Ray: pip install 'tidegate[ray]'") from None

    def run(given: dict[str, list[str]], at: int, folder: str, version: str) -> str:
        import os

        import tidegate._core

        if tidegate._core.version != version:
            raise RuntimeError(f"this machine has tidegate {tidegate._core.version}, the one that asks has {version}")
        # Paths stand in the table as they were given; a worker process is ours alone.
        os.chdir(folder)
        return str(tidegate._core.compare_one(given, at))

    ours = not ray.is_initialized()
    if ours:
        ray.init(address=address, log_to_driver=False, include_dashboard=False, configure_logging=False)
    try:
        remote = ray.remote(run)
        flags = ray.put(given)
        running: dict[Any, str] = {}
        left = iter(tasks.items())
        # No more at once than keep the cluster busy: a task costs a little memory
        # where it waits.
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call,unused-ignore]
        at_once = max(4, 2 * int(resources.get("CPU", 1)))
        while True:
            while len(running) < at_once and (task := next(left, None)) is not None:
                at, file = task
                running[remote.remote(flags, at, os.getcwd(), __version__)] = file
            if not running:
                return
            (ready,), _ = ray.wait(list(running), num_returns=1)
            yield running.pop(ready), ray.get(ready)
    finally:
        if ours:
            ray.shutdown()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tidegate.sweep", description="tidegate compare on a Ray cluster; called again, it goes on.")
    parser.add_argument("--policies", required=True, metavar="A.toml,B.toml,rival:NAME")
    parser.add_argument("--trace", required=True, action="append", metavar="FILE", help="may be repeated")
    parser.add_argument("--ceiling", metavar="BYTES,...", help="default: each policy's own")
    parser.add_argument("--load", metavar="X,...", help="arrivals so many times as fast (1)")
    parser.add_argument("--seeds", metavar="N", help="each but the first shuffles the gaps between arrivals (1)")
    parser.add_argument("--requests", metavar="N", help="of each trace, the first N")
    parser.add_argument("--out", required=True, metavar="DIR", help="runs/, compare.json and report.html")
    parser.add_argument("--address", help="of the cluster (RAY_ADDRESS, or this machine alone)")
    parser.add_argument("--json", action="store_true", help="print compare.json in place of the table")
    args = parser.parse_args(arguments)
    given = compare_flags(
        args.policies, args.trace, ceilings=args.ceiling, loads=args.load, seeds=args.seeds, requests=args.requests, out=args.out
    )

    def progress(done: int, total: int) -> None:
        print(f"\r{done} of {total} runs", end="" if done < total else "\n", file=sys.stderr, flush=True)

    try:
        _make(given, pathlib.Path(args.out), args.address, progress)
        shown, said = _core.compare(given, True, not args.json)
    except (ValueError, FileNotFoundError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    warn(said.splitlines())
    print(shown, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
