# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Shadow mode: differences are counted, nothing is raised, everything is bounded."""

from __future__ import annotations

import json
import threading

import pytest

import tidegate
from tidegate._steps import Decodes, Prefill, StepPrices, _level

TIME = {"use": "formula", "fixed_ps": 5_000_000_000, "per_token_ps": 50_000_000}  # 5 ms, and 50 us a token


@pytest.fixture
def shadow(policy):
    return tidegate.Shadow(policy)


def test_what_fits_differs_in_nothing(shadow):
    assert shadow.arrive(1, 3_000) is None
    with shadow.step([(1, 1024, 1024)], decodes=2, decode_kv_len=500) as step:
        step.done(peak_bytes=30_000_000, live_bytes=25_000_000)
    assert step.differences == {}
    assert step.transient_bytes == 10 * 1024 * 1024 + 10 * 2 * 500
    report = shadow.report()
    assert (report["requests"], report["steps"], report["measured_steps"]) == (1, 1, 1)
    assert all(report[name] == 0 for name in tidegate.shadow.DIFFERENCES)


def test_a_prompt_that_never_fits_would_be_refused_with_its_arithmetic(shadow):
    refused = shadow.arrive("long", 200_000)
    assert refused.code == "too_large"
    assert refused.arithmetic.ceiling_bytes == 100_000_000
    report = shadow.report()
    assert report["would_refuse"] == 1
    assert "transient" in report["examples"]["would_refuse"][0]["reason"]
    assert "would_refuse" in str(report)


def test_a_step_that_needs_more_than_the_room_would_be_narrower(shadow):
    step = shadow.step([(1, 2048, 20_480)])
    shrunk = step.differences["would_shrink"]
    # 10 bytes for each pair and 1000 for each token in 80 MB.
    assert shrunk["room_bytes"] == 80_000_000
    n = shrunk["to_tokens"]
    assert 10 * n * (18_432 + n) + 1000 * n <= 80_000_000 < 10 * (n + 64) * (18_432 + n + 64) + 1000 * (n + 64)
    assert step.differences["predicted_out_of_memory"]["need_bytes"] == 10 * 2048 * 20_480 + 2048 * 1000


def test_a_step_of_which_no_chunk_fits_would_be_held(shadow):
    step = shadow.step([(1, 64, 50_000)], live_bytes=90_000_000)
    assert step.differences["would_hold"]["to_tokens"] == 0


def test_room_is_what_requests_leave_until_they_finish(shadow):
    shadow.step([("a", 1000, 1000)])
    shadow.step([("b", 1000, 1000)])
    assert shadow.step([]).differences == {}
    assert shadow._resident == 2_000_000
    shadow.finish("a")
    shadow.finish("a")
    assert shadow._resident == 1_000_000


def test_live_memory_that_was_read_replaces_what_is_reckoned(shadow):
    assert "would_shrink" in shadow.step([(1, 1024, 1024)], live_bytes=95_000_000).differences


def test_a_stall_above_the_policys_would_be_bounded(policy):
    policy["time"], policy["chunk"]["decode_stall"] = TIME, "30 ms"
    shadow = tidegate.Shadow(policy)
    assert shadow.step([(1, 1024, 1024)]).differences == {}  # nobody decodes
    bounded = shadow.step([(1, 1024, 1024)], decodes=4, decode_kv_len=100).differences["would_bound_stall"]
    # 5 ms + 50 us * (n + 4) <= 30 ms
    assert bounded["to_tokens"] == 448
    assert bounded["took_ms"] == pytest.approx(5 + 0.05 * 1028)


def test_peaks_above_the_price_and_the_ceiling_are_told(shadow):
    shadow.step([(1, 100, 100)]).done(peak_bytes=101_000_000, live_bytes=20_000_000)
    report = shadow.report()
    assert report["measured_above_price"] == report["measured_above_ceiling"] == 1
    assert report["measured_over_price_max"] == pytest.approx(81_000_000 / 100_000)


def test_out_of_memory_is_counted_and_goes_on(shadow):
    with pytest.raises(MemoryError), shadow.step([(1, 2048, 20_480)]):
        raise MemoryError
    with pytest.raises(KeyError), shadow.step([(1, 10, 10)]):
        raise KeyError
    report = shadow.report()
    assert report["out_of_memory"] == 1
    assert report["examples"]["out_of_memory"][0]["foreseen"]


def test_nothing_is_raised_into_the_host_and_after_a_hundred_errors_it_looks_no_more(shadow):
    with pytest.warns(RuntimeWarning, match="shadow"):
        for _ in range(150):
            shadow.step([(1, -5, 0)]).done(peak_bytes="x", live_bytes=None)  # type: ignore[arg-type]
    shadow.arrive(None, -1)
    shadow.finish([])  # unhashable
    report = shadow.report()
    assert report["errors"] >= 100
    assert shadow.step([(1, 2048, 20_480)]).differences == {}


def test_what_it_keeps_is_bounded(policy):
    shadow = tidegate.Shadow(policy, max_requests=10)
    for i in range(1000):
        shadow.arrive(i, 200_000)
        shadow.step([(i, 10, 10)])
    assert len(shadow._requests) <= 10
    assert shadow._resident <= 10 * 10_000
    assert len(shadow.report()["examples"]["would_refuse"]) == 5


def test_the_log_has_a_line_for_each_difference_and_stops_at_its_size(policy, tmp_path):
    path = tmp_path / "shadow.jsonl"
    shadow = tidegate.Shadow(policy, log=path, log_max_bytes=2000, report=tmp_path / "report.json")
    for i in range(100):
        shadow.arrive(i, 200_000)
    shadow.close()
    assert path.stat().st_size <= 2000
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["event"] for line in lines} == {"would_refuse"}
    assert lines[0]["largest_prompt"] > 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["would_refuse"] == 100
    assert report["log_dropped"] == 101 - len(lines)


def test_a_log_that_raises_changes_nothing(policy):
    def log(line):
        raise OSError

    shadow = tidegate.Shadow(policy, log=log)
    shadow.arrive(1, 200_000)
    assert (shadow.report()["would_refuse"], shadow.report()["log_dropped"], shadow.report()["errors"]) == (1, 1, 0)


def test_bad_settings_are_told_when_it_is_made(policy):
    with pytest.raises(ValueError, match="ceilling"):
        tidegate.Shadow({**policy, "memory": {"ceilling": 1}})
    with pytest.raises(FileNotFoundError):
        tidegate.Shadow("no-such-file.toml")


def test_threads_may_share_one(shadow):
    def work(first):
        for i in range(200):
            shadow.arrive((first, i), 100)
            shadow.step([((first, i), 100, 100)]).done(took_s=0.001)
            shadow.finish((first, i))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert (shadow.report()["steps"], shadow.report()["errors"], shadow._resident) == (800, 0, 0)


# Widths, which vllm.py and shadow.py choose alike.


def test_widths_follow_the_engines_order_until_the_budget_ends(policy):
    plan = StepPrices(policy).choose(
        decodes=Decodes(), running=[Prefill("a", 500, 0)], waiting=[Prefill("b", 900, 0), Prefill("c", 5, 0)], budget=1000, room=10**12, preallocated=True
    )
    assert (plan.widths, plan.held, plan.bound) == ({"a": 500, "b": 500}, [], "engine")


def test_prompts_leave_those_who_decode_their_tokens(policy):
    plan = StepPrices(policy).choose(
        decodes=Decodes(10, 100, 1000), running=[Prefill("a", 5000, 0), Prefill("b", 5000, 0)], budget=1000, room=10**12, preallocated=True
    )
    assert (plan.widths, plan.held, plan.threshold) == ({"a": 990}, ["b"], 990)


def test_widths_are_the_widest_of_the_grid_that_fit_the_room(policy):
    prices = StepPrices(policy)
    for before in (0, 1_000, 10_000, 100_000):
        plan = prices.choose(decodes=Decodes(), running=[Prefill("a", 2048, before)], budget=2048, room=80_000_000, preallocated=True)
        n = plan.tokens
        assert plan.transient_bytes == 10 * n * (before + n) <= 80_000_000
        assert n == 2048 or (n % 64 == 0 and 10 * (n + 64) * (before + n + 64) > 80_000_000)
    assert prices.choose(decodes=Decodes(), running=[Prefill("a", 2048, 200_000)], budget=2048, room=80_000_000, preallocated=True).held == ["a"]


def test_a_prefix_that_is_looked_up_later_is_priced_at_its_longest(policy):
    prices = StepPrices(policy)
    unknown = prices.choose(decodes=Decodes(), running=[], waiting=[Prefill("a", 8000, 0, 8000)], budget=8192, room=80_000_000, preallocated=True)
    assert 10 * unknown.tokens * 8000 <= 80_000_000
    known = prices.choose(decodes=Decodes(), running=[], waiting=[Prefill("a", 8000, 0)], budget=8192, room=80_000_000, preallocated=True)
    assert known.tokens > 2 * unknown.tokens


def test_time_narrows_to_the_floor_at_most(policy):
    policy["time"], policy["chunk"]["decode_stall"] = TIME, "1 ms"
    plan = StepPrices(policy).choose(decodes=Decodes(1, 9, 9), running=[Prefill("a", 2048, 0)], budget=4096, room=10**12, preallocated=True)
    assert (plan.tokens, plan.bound) == (64, "time")


@pytest.mark.parametrize("wanted, total, level", [([5], 5, 5), ([100, 10], 50, 40), ([7, 7, 7], 10, 3), ([1, 2], 50, 2), ([9], 0, 1)])
def test_a_common_width_shares_a_total(wanted, total, level):
    assert _level(wanted, total) == level


def test_the_largest_prompt_beside_a_pool_has_a_plan_and_one_more_token_has_none(policy):
    prices = StepPrices(policy)
    refused = prices.refusal(200_000, 0, 0, base=20_000_000, preallocated=True)
    largest = refused.largest_prompt_that_fits
    assert largest > 100_000
    assert prices.refusal(largest, 0, 0, base=20_000_000, preallocated=True) is None
    assert prices.refusal(largest + 1, 0, 0, base=20_000_000, preallocated=True) is not None
