# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""The same Gate from an event loop."""

from __future__ import annotations

import asyncio

import pytest
from conftest import run_all

import tidegate


async def serve(gate: tidegate.Gate, prompt: int) -> int:
    done = 0
    async with gate.request(prompt) as r:
        async for chunk in r.chunks():
            await asyncio.sleep(0)
            done += len(chunk)
            chunk.done()
    return done


def test_tasks_take_turns_and_everybody_finishes(gate):
    async def main():
        return await asyncio.gather(*(serve(gate, 3_000 + i) for i in range(10)))

    assert asyncio.run(main()) == [3_000 + i for i in range(10)]
    assert gate.stats()["finished"] == 10


def test_cancelling_a_task_that_waits_cancels_its_request(gate):
    async def main():
        async with gate.request(40_000) as holder:
            async for chunk in holder.chunks():
                chunk.done()
            task = asyncio.create_task(serve(gate, 40_000))
            await asyncio.sleep(0)
            assert gate.stats()["waiting"] == 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert gate.stats()["waiting"] == 0

    asyncio.run(main())
    assert (gate.stats()["finished"], gate.stats()["cancelled"]) == (1, 1)


def test_a_task_that_waits_goes_on_when_another_leaves(gate):
    async def main():
        async with gate.request(40_000) as holder:
            async for chunk in holder.chunks():
                chunk.done()
            task = asyncio.create_task(serve(gate, 40_000))
            await asyncio.sleep(0)
            assert not task.done()
        return await task

    assert asyncio.run(main()) == 40_000


def test_a_loop_that_ends_leaves_nothing_behind(gate):
    async def main():
        task = asyncio.create_task(serve(gate, 40_000))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not task.done()  # asyncio.run cancels it

    asyncio.run(main())
    assert gate.stats()["cancelled"] == 1
    assert run_all(gate, 40_000)


def test_waiting_longer_than_the_timeout_is_a_timeout_error(gate):
    async def main():
        async with gate.request(40_000) as holder:
            async for chunk in holder.chunks():
                chunk.done()
            async with gate.request(40_000) as r:
                async for _ in r.chunks(timeout=0.01):
                    pytest.fail("ran")

    with pytest.raises(TimeoutError):
        asyncio.run(main())


def test_a_refusal_is_raised_on_entering(gate):
    async def main():
        async with gate.request(200_000):
            pytest.fail("entered")

    with pytest.raises(tidegate.Refused):
        asyncio.run(main())


def test_threads_and_tasks_share_a_gate(gate):
    async def main():
        return await asyncio.gather(
            serve(gate, 9_000),
            asyncio.to_thread(run_all, gate, 9_000),
            serve(gate, 5_000),
        )

    first, second, third = asyncio.run(main())
    assert (first, second[-1][1], third) == (9_000, 9_000, 5_000)


def test_entering_with_for_and_iterating_with_async_is_an_error(gate):
    async def main():
        with gate.request(10) as r:
            async for _ in r.chunks():
                pass

    with pytest.raises(RuntimeError, match="async with"):
        asyncio.run(main())
