# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""vLLM's own Scheduler.schedule() with so many requests, up to 1,000 of which
decode. A JSON line for each size: medians of CPU microseconds.

python schedule_bench.py 100 1000 10000
"""

from __future__ import annotations

import json
import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "bindings/python/tests/engines"))

import gc  # noqa: E402

import vllm  # noqa: E402
from vllm.v1.core.sched.async_scheduler import AsyncScheduler  # noqa: E402
from vllm_world import POLICY, World  # noqa: E402

RUNNING = 1000
PROMPT, OUTPUT, STEPS = 512, 4096, 60


def measure(requests: int, cls: type, name: str) -> None:
    running = min(requests, RUNNING)
    # Room in bytes for a small model, so that prices never narrow a step: what is timed is the decision.
    policy = {**POLICY, "memory": {"ceiling": 10**15, "base": 0}}
    world = World(
        pathlib.Path(tempfile.mkdtemp()), cls, policy, budget=running + 4 * PROMPT, sequences=running, blocks=1 + running * (PROMPT + OUTPUT) // 16, model_len=PROMPT + OUTPUT
    )
    for _ in range(requests):
        world.add(PROMPT, OUTPUT)
    while sum(r.num_computed_tokens >= PROMPT for r in world.scheduler.running) < running:
        world.step()
    gc.collect()
    gc.disable()
    schedule, update = [], []
    for _ in range(STEPS):
        began = time.process_time_ns()
        output = world.scheduler.schedule()
        middle = time.process_time_ns()
        world.answer(output)
        schedule.append(middle - began)
        update.append(time.process_time_ns() - middle)
        assert len(output.num_scheduled_tokens) == running
    gc.enable()
    print(
        json.dumps(
            {
                "what": name, "vllm": vllm.__version__, "requests": requests, "running": running,
                "schedule_us": statistics.median(schedule) / 1e3, "update_us": statistics.median(update) / 1e3,
            }
        ),
        flush=True,
    )  # fmt: skip


def main() -> None:
    import tidegate.vllm

    for size in sys.argv[1:]:
        measure(int(size), AsyncScheduler, "vllm")
        measure(int(size), tidegate.vllm.Scheduler, "vllm+tidegate")
        measure(int(size), tidegate.vllm.ShadowScheduler, "vllm+shadow")


if __name__ == "__main__":
    main()
