# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""One request at a time: quotes, chunks, refusals, failures."""

from __future__ import annotations

import json
import pickle

import pytest
from conftest import run_all

import tidegate


def test_chunks_cover_what_is_not_cached_in_order(gate):
    chunks = run_all(gate, prompt_tokens=20_000, cached_tokens=7_000)
    assert chunks[0][0] == 7_000
    assert chunks[-1][1] == 20_000
    assert all(before[1] == after[0] for before, after in zip(chunks, chunks[1:]))


def test_chunks_narrow_as_what_they_attend_to_grows(gate):
    chunks = run_all(gate, prompt_tokens=40_000)
    widths = [stop - start for start, stop in chunks]
    assert widths[0] == 2048
    assert widths[-2] < 200
    # 10 bytes for each pair of tokens, 1000 for each token, beside the base.
    for start, stop in chunks:
        assert 20_000_000 + 1000 * stop + 10 * (stop - start) * stop <= 100_000_000


def test_a_chunk_says_what_it_was_decided_on(gate):
    with gate.request(3_000) as r:
        first = next(r.chunks())
        assert (first.start, first.stop, len(first)) == (0, 2048, 2048)
        assert first.transient_bytes == 10 * 2048 * 2048
        assert first.resident_bytes == 2048 * 1000
        assert first.room_bytes == 80_000_000
        assert first.bound == "maximum"
        assert "0:2048" in repr(first)


def test_a_quote_of_what_fits_has_the_plan_that_the_request_then_runs(gate):
    quote = gate.quote(prompt_tokens=5_000, cached_tokens=1_000)
    assert quote
    assert quote.verdict == "admit"
    assert quote.code is None
    assert [(c.start, c.stop) for c in quote.chunks] == run_all(gate, 5_000, 1_000)
    assert quote.peak_bytes <= 100_000_000
    assert "admit" in str(quote)


def test_a_quote_of_what_never_fits_carries_the_arithmetic(gate):
    quote = gate.quote(200_000)
    assert not quote
    assert (quote.verdict, quote.code) == ("reject", "too_large")
    sum = quote.arithmetic
    need = sum.live_bytes + sum.claims_bytes + sum.resident_bytes + sum.transient_bytes
    assert need > sum.ceiling_bytes - sum.headroom_bytes
    assert gate.quote(quote.largest_prompt_that_fits).verdict == "admit"
    assert gate.quote(quote.largest_prompt_that_fits + 1).verdict == "reject"


def test_a_quote_beside_a_request_that_holds_the_memory_says_wait(gate):
    with gate.request(40_000) as r:
        for chunk in r.chunks():
            chunk.done()
        assert gate.quote(40_000).verdict == "wait"
        assert gate.quote(10_000).verdict == "admit"
    assert gate.quote(40_000).verdict == "admit"


def test_what_never_fits_is_refused_on_entering_with_its_arithmetic(gate):
    with pytest.raises(tidegate.Refused) as refused, gate.request(200_000):
        pytest.fail("entered")
    error = refused.value
    assert error.code == "too_large"
    assert error.arithmetic.ceiling_bytes == 100_000_000
    assert error.largest_prompt_that_fits == gate.quote(200_000).largest_prompt_that_fits
    assert error.reason in str(error)
    assert gate.stats()["rejected"] == 1


def test_a_refusal_survives_pickling(gate):
    with pytest.raises(tidegate.Refused) as refused, gate.request(200_000):
        pass
    copy = pickle.loads(pickle.dumps(refused.value))
    assert copy.arithmetic == refused.value.arithmetic
    assert str(copy) == str(refused.value)


def test_leaving_early_cancels_and_frees_the_claim(gate):
    with gate.request(10_000) as r:
        for chunk in r.chunks():
            chunk.done()
            break
    stats = gate.stats()
    assert (stats["cancelled"], stats["finished"]) == (1, 0)
    assert stats["claimed_bytes"] == stats["resident_bytes"] == stats["in_flight_bytes"] == 0


def test_leaving_while_a_chunk_runs_cancels(gate):
    with gate.request(10_000) as r:
        next(r.chunks())
    stats = gate.stats()
    assert stats["cancelled"] == 1
    assert stats["in_flight_bytes"] == 0


def test_leaving_after_the_last_chunk_without_asking_again_finishes(gate):
    with gate.request(1_000) as r:
        next(r.chunks()).done()
    assert gate.stats()["finished"] == 1


def test_an_unanswered_chunk_counts_as_done_when_the_next_is_asked_for(gate):
    with gate.request(5_000) as r:
        assert len([chunk for chunk in r.chunks()]) == 3
        assert r.computed
    assert gate.stats()["steps"] == 3


def test_a_chunk_is_answered_once(gate):
    with gate.request(5_000) as r:
        chunk = next(r.chunks())
        chunk.done()
        with pytest.raises(RuntimeError, match="answered before"):
            chunk.done()
        with pytest.raises(RuntimeError, match="answered before"):
            chunk.failed()


def test_an_exception_passes_and_cancels(gate):
    with pytest.raises(KeyError), gate.request(10_000) as r:
        for chunk in r.chunks():
            raise KeyError("tokenizer")
    assert gate.stats()["cancelled"] == 1
    assert run_all(gate, 3_000)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[metal::malloc] Attempting to allocate 1 bytes which is greater than the maximum allowed buffer size"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        type("OutOfMemoryError", (RuntimeError,), {})("CUDA"),
    ],
    ids=lambda error: type(error).__name__ + str(error)[:16],
)
def test_out_of_memory_within_a_guarded_chunk_comes_again_narrower(gate, error):
    chunks = []
    with gate.request(4_096) as r:
        for chunk in r.chunks():
            chunks.append((chunk.start, chunk.stop))
            with chunk:
                if len(chunks) == 1:
                    raise error
    assert chunks[0] == (0, 2048)
    assert chunks[1] == (0, 1024)
    assert chunks[-1][1] == 4_096
    assert gate.stats()["out_of_memory"] == 1
    assert gate.stats()["finished"] == 1


def test_another_error_within_a_guarded_chunk_goes_outwards(gate):
    with pytest.raises(RuntimeError, match="no kernel image"), gate.request(4_096) as r:
        for chunk in r.chunks():
            with chunk:
                raise RuntimeError("CUDA error: no kernel image is available")
    assert gate.stats()["out_of_memory"] == 0
    assert gate.stats()["cancelled"] == 1


def test_out_of_memory_that_leaves_the_request_is_counted(gate):
    with pytest.raises(MemoryError), gate.request(4_096) as r:
        for chunk in r.chunks():
            raise MemoryError
    assert gate.stats()["out_of_memory"] == 1


def test_decoded_tokens_are_charged(gate):
    with gate.request(1_000, max_output_tokens=50) as r:
        for chunk in r.chunks():
            with pytest.raises(RuntimeError, match="whole prompt"):
                r.decoded()
            chunk.done()
        r.decoded(20)
        assert gate.stats()["resident_bytes"] == 1_020_000
    assert gate.stats()["resident_bytes"] == 0


def test_chunks_outside_with_is_an_error(gate):
    with pytest.raises(RuntimeError, match="with gate.request"):
        next(gate.request(10).chunks())


def test_a_request_is_entered_once(gate):
    request = gate.request(10)
    with request:
        with pytest.raises(RuntimeError, match="entered once"):
            request.__enter__()
    with pytest.raises(RuntimeError, match="entered once"):
        request.__enter__()


def test_no_chunk_cuts_an_uncuttable_span(gate):
    chunks = run_all(gate, 6_000, uncuttable=[(1_900, 400)])
    assert not any(1_900 < stop < 2_300 for _, stop in chunks)


def test_the_memory_callback_decides_what_fits(make_gate):
    live = [20_000_000]
    gate = make_gate(memory=lambda: live[0])
    assert gate.quote(40_000).verdict == "admit"
    live[0] = 95_000_000
    assert gate.quote(40_000).verdict == "reject"
    with pytest.raises(TimeoutError), gate.request(40_000) as r:
        next(r.chunks(timeout=0))
    live[0] = 20_000_000
    assert run_all(gate, 40_000)


def test_memory_is_not_read_while_a_chunk_runs(make_gate):
    running, read_meanwhile = [False], []

    def memory():
        read_meanwhile.append(running[0])
        return 20_000_000

    gate = make_gate(memory=memory, probe_interval=0)
    with gate.request(5_000) as r:
        for chunk in r.chunks():
            running[0] = True
            gate.quote(10)
            gate.reading()
            running[0] = False
            chunk.done()
    assert len(read_meanwhile) > 3
    assert not any(read_meanwhile)


def test_a_memory_callback_that_raises_is_unknown_and_stops_nobody(make_gate):
    def memory():
        raise OSError("driver gone")

    gate = make_gate(memory=memory)
    with pytest.warns(RuntimeWarning, match="driver gone"):
        assert run_all(gate, 3_000)


def test_memory_is_reclaimed_and_the_reading_shows_the_room(make_gate):
    pool = [60_000_000]
    asked = []

    def free(bytes):
        asked.append(bytes)
        pool[0] = 0
        return 60_000_000

    gate = make_gate(
        memory=lambda: 20_000_000 + pool[0],
        reclaim={"pool": tidegate.Reclaimer(bytes=lambda: pool[0], free=free)},
    )
    chunks = run_all(gate, 20_000)
    assert asked
    assert chunks[-1][1] == 20_000
    assert gate.stats()["reclaims"] == len(asked)


def test_a_reclaimer_that_raises_freed_nothing(make_gate):
    pool = [30_000_000]

    def free(bytes):
        pool[0] = 0  # somebody else does
        raise OSError("pool is locked")

    gate = make_gate(
        memory=lambda: 20_000_000 + pool[0],
        reclaim={"pool": tidegate.Reclaimer(bytes=lambda: pool[0], free=free)},
    )
    with pytest.warns(RuntimeWarning, match="pool is locked"):
        assert run_all(gate, 30_000)[-1][1] == 30_000


def test_reclaim_without_readings_is_an_error(make_gate):
    with pytest.raises(ValueError, match="reclaim: expected memory="):
        make_gate(reclaim={"pool": tidegate.Reclaimer(lambda: 0, lambda n: 0)})


def test_a_ceiling_that_moves_decides_the_next_chunk(gate):
    with gate.request(20_000) as r:
        chunks = r.chunks()
        assert len(next(chunks)) == 2048
        gate.set_ceiling(60_000_000)
        widths = [len(chunk) for chunk in chunks]
        assert widths[-2] < 300
    assert gate.quote(50_000).verdict == "reject"


def test_a_probe_of_the_policy_is_read(policy):
    policy["memory"] = {"ceiling": "100 TiB", "probe": "proc"}
    with pytest.warns(RuntimeWarning, match="^base is not given"):
        gate = tidegate.Gate(policy)
    with gate.request(100):
        pass
    assert gate.stats()["live_bytes"] > 1_000_000  # of this machine


def test_the_decision_log_has_a_json_line_for_each_event(make_gate):
    lines = []
    gate = make_gate(log=lines.append)
    run_all(gate, 5_000)
    events = [json.loads(line)["event"] for line in lines]
    assert events[0] == "arrive"
    assert events.count("step_done") == 3
    assert events[-1] == "finished"


def test_a_price_has_its_parts(gate):
    price = gate.price(64, 1_000)
    assert price.transient_bytes == 640_000
    assert price.resident_bytes == 64_000
    assert gate.price(64).transient_bytes == 10 * 64 * 64


def test_measured_peaks_correct_a_calibrated_gate(policy):
    policy["engine"] = {"name": "mlx", "version": "0.31.2", "device": "metal"}
    policy["model"]["shape"]["head_dim"] = 256
    policy["estimator"] = {"use": "calibrated"}
    policy["memory"] = {"ceiling": "4 GiB", "base": 0}
    gate = tidegate.Gate(policy)
    before = gate.price(2048, 8192).transient_bytes
    live = 0
    for _ in range(12):
        with gate.request(8192) as r:
            for chunk in r.chunks():
                after = live + chunk.resident_bytes
                chunk.done(peak_bytes=after + chunk.transient_bytes // 2, live_bytes=after)
                live = after
        live = gate.stats()["live_bytes"]
    assert gate.price(2048, 8192).transient_bytes < before
