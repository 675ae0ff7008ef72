# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""What a Gate costs a chunk, in microseconds, with an engine that computes nothing.

"scheduler" is the time inside the C++ scheduler: an engine in C++ pays it too, and
it grows with the chunks that are left. "package" is the rest: locks, objects,
iteration, and the timing itself. docs/performance.md has a recording.

    python bindings/python/bench/chunk_overhead.py
"""

import asyncio
import threading
import time
import warnings
from typing import Any, Callable

import tidegate

ROUNDS = 21
POLICY = "policy_files/mlx-36gb.toml"


class Timed:
    """Stands before the scheduler and adds up how long its calls take."""

    def __init__(self, pull: Any):
        self._pull = pull
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._pull, name)
        if not callable(method):
            return method

        def timed(*args: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*args)
            finally:
                self.seconds += time.perf_counter() - start

        setattr(self, name, timed)
        return timed


def on_a_thread(gate: tidegate.Gate, tokens: int, **measured: int) -> int:
    chunks = 0
    with gate.request(prompt_tokens=tokens) as r:
        for chunk in r.chunks():
            chunks += 1
            chunk.done(**measured)
    return chunks


def guarded(gate: tidegate.Gate, tokens: int) -> int:
    chunks = 0
    with gate.request(prompt_tokens=tokens) as r:
        for chunk in r.chunks():
            with chunk:
                chunks += 1
    return chunks


async def on_a_loop(gate: tidegate.Gate, tokens: int) -> int:
    chunks = 0
    async with gate.request(prompt_tokens=tokens) as r:
        async for chunk in r.chunks():
            chunks += 1
            chunk.done()
    return chunks


def on_two_threads(gate: tidegate.Gate, tokens: int) -> int:
    chunks: list[int] = []
    workers = [threading.Thread(target=lambda: chunks.append(on_a_thread(gate, tokens))) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(chunks)


def measure(gate: tidegate.Gate, run: Callable[[tidegate.Gate], int]) -> str:
    timed = Timed(gate._pull)
    gate._pull = timed  # type: ignore[assignment]
    run(gate)
    package, scheduler = [], []
    for _ in range(ROUNDS):
        timed.seconds = 0
        start = time.perf_counter()
        chunks = run(gate)
        whole = time.perf_counter() - start
        scheduler.append(timed.seconds / chunks * 1e6)
        package.append((whole - timed.seconds) / chunks * 1e6)
    package.sort()
    scheduler.sort()
    return f"{scheduler[ROUNDS // 2]:9.1f} {package[ROUNDS // 2]:9.1f} {package[-1]:9.1f}"


def main() -> None:
    warnings.simplefilter("ignore")

    def gate(**more: Any) -> tidegate.Gate:
        return tidegate.Gate(POLICY, ceiling="4 TiB", **more)

    live = gate().stats()["live_bytes"]
    rows: list[tuple[str, tidegate.Gate, Callable[[tidegate.Gate], int]]] = []
    for tokens in (32_000, 128_000, 1_000_000):
        rows.append((f"{tokens:>9,} tokens, thread, done()", gate(), lambda g, n=tokens: on_a_thread(g, n)))  # type: ignore[misc]
    some = 128_000
    rows += [
        (f"{some:>9,} tokens, thread, peak and live", gate(), lambda g: on_a_thread(g, some, peak_bytes=live, live_bytes=live)),
        (f"{some:>9,} tokens, thread, `with chunk`, memory=", gate(memory=lambda: live), lambda g: guarded(g, some)),
        (f"{some:>9,} tokens, asyncio, done()", gate(), lambda g: asyncio.run(on_a_loop(g, some))),
        (f"{some:>9,} tokens, two threads that take turns", gate(), lambda g: on_two_threads(g, some)),
    ]
    print(f"{'':48} {'scheduler':>9} {'package':>9} {'worst':>9}")
    for name, made, run in rows:
        print(f"{name:48} {measure(made, run)}")


if __name__ == "__main__":
    main()
