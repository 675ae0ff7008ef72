# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""What a Gate adds to each chunk, in microseconds: a million tokens in chunks of
2048 through an engine that computes nothing. docs/performance.md has a recording.

    python bindings/python/bench/chunk_overhead.py [POLICY]
"""

import asyncio
import sys
import threading
import time
import warnings
from typing import Callable

import tidegate

TOKENS = 1_000_000
ROUNDS = 15


def threads(gate: tidegate.Gate, **measured: int) -> int:
    chunks = 0
    with gate.request(prompt_tokens=TOKENS) as r:
        for chunk in r.chunks():
            chunks += 1
            chunk.done(**measured)
    return chunks


def guarded(gate: tidegate.Gate) -> int:
    chunks = 0
    with gate.request(prompt_tokens=TOKENS) as r:
        for chunk in r.chunks():
            with chunk:
                chunks += 1
    return chunks


async def event_loop(gate: tidegate.Gate) -> int:
    chunks = 0
    async with gate.request(prompt_tokens=TOKENS) as r:
        async for chunk in r.chunks():
            chunks += 1
            chunk.done()
    return chunks


def two_threads(gate: tidegate.Gate) -> int:
    done: list[int] = []
    workers = [threading.Thread(target=lambda: done.append(threads(gate))) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done)


def microseconds(run: Callable[[], int]) -> tuple[float, float]:
    """Median and worst over the rounds, of one chunk."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        chunks = run()
        times.append((time.perf_counter() - start) / chunks * 1e6)
    times.sort()
    return times[len(times) // 2], times[-1]


def main() -> None:
    warnings.simplefilter("ignore")
    policy = sys.argv[1] if len(sys.argv) > 1 else "examples/head_dim_256.toml"
    roomy = {"policy": policy, "ceiling": "4 TiB"}
    plain = tidegate.Gate(**roomy)
    live = plain.stats()["live_bytes"]
    read = tidegate.Gate(**roomy, memory=lambda: live)
    fair = tidegate.Gate({"order": {"use": "fair"}, "model": {"config": "examples/models/llama-3.1-8b.json"}},
                         engine="mlx@0.31.2/metal", ceiling="4 TiB", base="16 GiB")
    rows: list[tuple[str, Callable[[], int]]] = [
        ("chunk.done()", lambda: threads(plain)),
        ("chunk.done(peak_bytes, live_bytes)", lambda: threads(plain, peak_bytes=live + 1, live_bytes=live)),
        ("with chunk, memory callback", lambda: guarded(read)),
        ("async for, chunk.done()", lambda: asyncio.run(event_loop(plain))),
        ("two threads, order fair", lambda: two_threads(fair)),
    ]
    print(f"{'':36} median  worst of {ROUNDS}")
    for name, run in rows:
        run()
        print(f"{name:36} {'%6.1f  %6.1f' % microseconds(run)}")


if __name__ == "__main__":
    main()
