# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Several threads behind one Gate."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import run_all

import tidegate

PATIENCE = 60  # seconds until a test that hangs fails


def test_one_chunk_runs_at_a_time_and_everybody_finishes(gate):
    running = threading.Lock()

    def serve(prompt: int) -> int:
        done = 0
        with gate.request(prompt) as r:
            for chunk in r.chunks():
                assert running.acquire(blocking=False), "two chunks at once"
                done += len(chunk)
                running.release()
                chunk.done()
        return done

    prompts = [3_000 + 500 * i for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(serve, prompts, timeout=PATIENCE)) == prompts
    stats = gate.stats()
    assert stats["finished"] == 16
    assert stats["claimed_bytes"] == stats["resident_bytes"] == 0


def test_who_does_not_fit_beside_another_waits_until_that_one_leaves(gate):
    first_has_all, let_go = threading.Event(), threading.Event()
    order = []

    def first():
        with gate.request(40_000) as r:
            for chunk in r.chunks():
                chunk.done()
            first_has_all.set()
            assert let_go.wait(PATIENCE)
            order.append("first leaves")

    def second():
        assert first_has_all.wait(PATIENCE)
        with gate.request(40_000) as r:
            assert not r.admitted
            let_go.set()
            for chunk in r.chunks():
                order.append("second runs")
                chunk.done()

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(first), pool.submit(second)]:
            future.result(PATIENCE)
    assert order[:2] == ["first leaves", "second runs"]


def test_waiting_longer_than_the_timeout_is_a_timeout_error(gate):
    with gate.request(40_000) as holder:
        for chunk in holder.chunks():
            chunk.done()
        with pytest.raises(TimeoutError), gate.request(40_000) as r:
            next(r.chunks(timeout=0.01))
    assert gate.stats()["cancelled"] == 1


def test_cancelling_from_another_thread_wakes_who_waits(gate):
    with gate.request(40_000) as holder:
        for chunk in holder.chunks():
            chunk.done()
        entered = threading.Event()
        waiting = []

        def wait():
            with gate.request(40_000) as r:
                waiting.append(r)
                entered.set()
                next(r.chunks())

        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(wait)
            assert entered.wait(PATIENCE)
            waiting[0].cancel()
            with pytest.raises(tidegate.Cancelled):
                future.result(PATIENCE)
    assert gate.stats()["cancelled"] == 1


def test_cancelling_while_a_chunk_runs_takes_effect_when_it_is_done(gate):
    with pytest.raises(tidegate.Cancelled), gate.request(10_000) as r:
        for chunk in r.chunks():
            r.cancel()
            chunk.done()
    assert gate.stats()["cancelled"] == 1


def test_cancelling_what_was_given_out_and_not_begun_frees_the_step(gate):
    with pytest.raises(tidegate.Cancelled), gate.request(10_000) as r:
        r.cancel()  # its first step was decided on entering
        next(r.chunks())
    assert run_all(gate, 3_000)


def test_closing_cancels_everyone_and_admits_nobody(gate):
    with pytest.raises(tidegate.Cancelled), gate.request(10_000) as r:
        for chunk in r.chunks():
            gate.close()
            chunk.done()
    with pytest.raises(tidegate.Cancelled, match="closed"), gate.request(10):
        pass


def test_a_waiting_request_sees_memory_that_others_give_back(make_gate):
    live = [20_000_000]
    gate = make_gate(memory=lambda: live[0], probe_interval=0.001)
    gate.reading()  # it would fit an idle device, so it may wait
    live[0] = 99_000_000
    with gate.request(10_000) as r:
        assert not r.admitted
        live[0] = 20_000_000
        assert sum(len(chunk) for chunk in r.chunks(timeout=PATIENCE)) == 10_000


def test_a_full_queue_is_refused_as_overloaded(policy):
    policy["admission"] = {"queue_max": 1}
    gate = tidegate.Gate(policy)
    with gate.request(40_000) as first:
        for chunk in first.chunks():
            chunk.done()
        with gate.request(40_000):
            with pytest.raises(tidegate.Refused) as refused, gate.request(40_000):
                pass
    assert refused.value.code == "overloaded"


def test_steps_in_flight_run_beside_each_other(policy):
    policy["step"] = {"in_flight": 2}
    policy["order"] = {"use": "fair"}
    gate = tidegate.Gate(policy)
    together = threading.Barrier(2, timeout=PATIENCE)

    def serve():
        with gate.request(1_000) as r:
            for chunk in r.chunks():
                together.wait()  # both run, or this breaks
                chunk.done()

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(serve), pool.submit(serve)]:
            future.result(PATIENCE)
    assert gate.stats()["finished"] == 2
