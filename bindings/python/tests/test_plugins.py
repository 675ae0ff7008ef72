# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Estimators and policies written in Python, good and hostile ones."""

from __future__ import annotations

import threading
import warnings

import pytest
from conftest import ROOT, run_all

import tidegate
from tidegate import plugins

H100 = ROOT / "policy_files/h100-80gb.toml"
TRACE = ROOT / "examples/traces/agentic_coding.csv"


class Shortest(plugins.Order):
    def key(self, request, moment):
        return request.prompt_tokens - request.done_tokens


class Quarter(plugins.Chunk):
    def width(self, question):
        assert question.need_bytes(question.fits) <= question.room_bytes
        return min(question.fits, max(question.floor, question.fits // 4))


class OneAtATime(plugins.Admission):
    version = "2.1"

    def may_start(self, question):
        return question.fits and not question.admitted


class Square(plugins.Estimator):
    """The prices of conftest.POLICY."""

    def price(self, step):
        return sum(10 * chunk.n * chunk.kv_len for chunk in step.chunks)

    def sequence_bytes(self, tokens, chunk):
        return 1000 * tokens


def simulate(**arguments):
    return tidegate.simulate(H100, TRACE, requests=40, **arguments)


def simulate_quietly(**arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return simulate(**arguments)


ORDERED = """
[model.shape]
q_heads = 8
kv_heads = 1
head_dim = 64
layers = 2
[estimator]
use = "formula"
transient = "10 * n * kv_len"
resident_per_token = "1000"
[memory]
ceiling = 100_000_000
base = 20_000_000
[order]
use = "RULE"
"""


def test_an_order_in_python_is_the_built_in_one_of_the_same_rule(tmp_path):
    # `shortest` lets nobody be passed over for long; among so few that is never.
    trace = tmp_path / "trace.csv"
    rows = [f"0,{500 * i},0,1,{i}\n" for i in (9, 4, 7, 2, 5)]
    trace.write_text("arrival_s,prompt_tokens,cached_tokens,output_tokens,session\n" + "".join(rows))
    policy = tmp_path / "policy.toml"

    def ttft(rule, **arguments):
        policy.write_text(ORDERED.replace("RULE", rule))
        return tidegate.simulate(policy, trace, **arguments).columns["ttft_s"]

    assert ttft("fcfs", plugins=[Shortest()]) == ttft("shortest")
    assert ttft("fcfs") != ttft("shortest")


def test_a_simulation_says_what_became_of_plugins():
    (report,) = simulate(plugins=[OneAtATime()])["plugins"]
    assert (report["kind"], report["name"], report["version"]) == ("admission", "oneatatime", "2.1")
    assert report["calls"] > 40
    assert (report["faults"], report["replaced"], report["fallback"]) == (0, False, "reserve")


def test_a_gate_takes_its_chunks_from_a_plugin(make_gate):
    gate = make_gate(plugins=[Quarter()])
    chunks = run_all(gate, 6_000)
    assert chunks[0] == (0, 512)
    assert chunks[-1][1] == 6_000
    assert gate.plugins()[0]["faults"] == 0


def test_a_gate_admits_whom_a_plugin_admits(make_gate):
    gate = make_gate(plugins=[OneAtATime()])
    with gate.request(1_000) as first, gate.request(1_000) as second:
        assert first.admitted
        assert not second.admitted


def test_an_estimator_in_python_prices_as_the_same_formula(gate, make_gate):
    own = make_gate(plugins=[Square()])
    for n, kv_len in [(1, 1), (100, 300), (2048, 40_000)]:
        price, same = own.price(n, kv_len), gate.price(n, kv_len)
        assert (price.transient_bytes, price.resident_bytes) == (same.transient_bytes, same.resident_bytes)
    # What is a plug-in is corrected by measurement, so that chunks may differ.
    assert run_all(own, 40_000)[-1][1] == 40_000
    assert own.plugins()[0]["faults"] == 0


def test_an_estimator_says_breakpoints_terms_routes_and_costs(make_gate):
    class Split(plugins.Estimator):
        """Calls wider than 512 take another kernel, which needs less."""

        def price(self, step):
            scores = sum((chunk.n * chunk.kv_len) * (2 if chunk.n > 512 else 10) for chunk in step.chunks)
            return plugins.Cost(scores + 5_000, largest_allocation_bytes=scores, fixed_in_n_bytes=5_000)

        def breakpoints(self, range):
            if range.axis == "kv_len":
                return []
            return [513] if range.lo < 513 <= range.hi else []

        def route(self, step):
            return "wide" if any(chunk.n > 512 for chunk in step.chunks) else "narrow"

        def terms(self, step):
            return {"scores": self.price(step).transient_bytes - 5_000, "counters": 5_000}

    gate = make_gate(plugins=[Split()])
    price = gate.price(1_000, 1_000)
    assert (price.route, price.fixed_in_n_bytes, price.largest_allocation_bytes) == ("wide", 5_000, 2_000_000)
    assert price.parts == {"split": [("scores", 2_000_000), ("counters", 5_000)]}
    assert gate.price(512, 512).route == "narrow"


def test_setup_is_told_model_and_engine(make_gate):
    seen = []

    class Told(Square):
        def setup(self, model, engine):
            seen.append((model.q_heads, model.head_dim, model.layers, engine))

    make_gate(plugins=[Told()], engine="mlx@0.31.2/cpu")
    assert seen == [(8, 64, 2, "mlx@0.31.2/cpu")]


def test_a_setup_that_raises_refuses_the_policy(make_gate):
    class Picky(Shortest):
        def setup(self, model, engine):
            raise ValueError("only for mlx")

    with pytest.raises(ValueError, match="picky refuses: only for mlx"):
        make_gate(plugins=[Picky()])


def test_an_estimator_whose_samples_cannot_be_is_refused_with_the_arithmetic(make_gate):
    class Falls(plugins.Estimator):
        def price(self, step):
            return 10**6 - step.chunks[0].n

    with pytest.raises(ValueError, match="falls: transient_bytes falls from"):
        make_gate(plugins=[Falls()])


def order_that(answer):
    class Hostile(plugins.Order):
        def key(self, request, moment):
            return answer(request)

    return Hostile()


def chunk_that(answer):
    class Hostile(plugins.Chunk):
        def width(self, question):
            return answer(question)

    return Hostile()


def admission_that(answer):
    class Hostile(plugins.Admission):
        def may_start(self, question):
            return answer(question)

    return Hostile()


class AfterSetup(Square):
    """Behaves while it is looked at, and not after."""

    name = "hostile"

    def __init__(self, answer):
        self.answer = answer
        self.asked = 0
        self.samples = 10**9

    def price(self, step):
        self.asked += 1
        return super().price(step) if self.asked <= self.samples else self.answer(step)


def fail(_):
    return 1 // 0


@pytest.mark.parametrize(
    ("plugin", "says"),
    [
        (order_that(fail), "exception"),
        (order_that(lambda _: float("nan")), "not a number"),
        (order_that(lambda _: float("-inf")), "infinite"),
        (order_that(lambda _: "soon"), "exception"),
        (order_that(lambda _: None), "exception"),
        (order_that(lambda _: 10**400), "exception"),
        (chunk_that(fail), "exception"),
        (chunk_that(lambda _: -1), "-1 tokens are negative"),
        (chunk_that(lambda _: 2**62), "more than the"),
        (chunk_that(lambda _: 2**70), "exception"),
        (chunk_that(lambda _: 512.0), "exception"),
        (chunk_that(lambda _: True), "exception"),
        (chunk_that(lambda _: None), "exception"),
        (admission_that(fail), "exception"),
        (admission_that(lambda _: None), "exception"),
        (admission_that(lambda _: 1), "exception"),
        (AfterSetup(fail), "exception"),
        (AfterSetup(lambda _: -5), "negative"),
        (AfterSetup(lambda _: 2**61), "beyond any device"),
        (AfterSetup(lambda _: 2**64), "exception"),
        (AfterSetup(lambda _: float("nan")), "exception"),
        (AfterSetup(lambda _: "much"), "exception"),
        (AfterSetup(lambda _: plugins.Cost(5, fixed_in_n_bytes=6)), "above transient_bytes"),
    ],
    ids=lambda value: getattr(value, "kind", None) or str(value)[:30],
)
def test_a_hostile_plugin_is_overruled_and_replaced_and_everybody_is_served(plugin, says):
    if plugin.kind == "estimator":
        tidegate.Gate(H100, plugins=[plugin])
        plugin.samples, plugin.asked = plugin.asked, 0
    result = simulate_quietly(plugins=[plugin])
    assert result["finished"] == 40
    assert result["out_of_memory"] == 0
    (report,) = result["plugins"]
    assert report["faults"] >= 8
    assert report["replaced"]
    assert says in report["first_fault"]


@pytest.mark.parametrize("plugin", [order_that(fail), chunk_that(lambda _: None)], ids=["raises", "wrong type"])
def test_a_gate_serves_everybody_in_spite_of_a_hostile_plugin(make_gate, plugin):
    gate = make_gate(plugins=[plugin])
    with pytest.warns(RuntimeWarning, match="hostile"):
        with gate.request(9_000) as first, gate.request(9_000) as second:
            for chunk in first.chunks():
                chunk.done()
            for chunk in second.chunks():
                chunk.done()
    assert gate.stats()["finished"] == 2
    assert gate.plugins()[0]["faults"] > 0


def test_the_first_exception_is_a_warning_with_its_traceback():
    with pytest.warns(RuntimeWarning, match=r"order plug-in hostile: key\(\) gave no answer(.|\n)*ZeroDivisionError"):
        simulate(plugins=[order_that(fail)])


def test_an_answer_of_the_wrong_type_is_named():
    with pytest.warns(RuntimeWarning, match="expected True or False, got NoneType"):
        simulate(plugins=[admission_that(lambda _: None)])


def test_a_slow_plugin_is_counted_and_its_answers_count(make_gate):
    pause = threading.Event()

    class Slow(Shortest):
        def key(self, request, moment):
            pause.wait(0.02)  # above the 10 ms that count as slow
            return super().key(request, moment)

    gate = make_gate(plugins=[Slow()])
    with gate.request(3_000) as first, gate.request(1_000):
        for chunk in first.chunks():
            chunk.done()
    (report,) = gate.plugins()
    assert report["slow_calls"] == report["calls"] > 0
    assert report["faults"] == 0


def test_what_a_plugin_is_asked_about_may_be_kept_but_for_what_asks_back(make_gate):
    kept = []

    class Keeps(plugins.Chunk):
        def width(self, question):
            kept.append(question)
            return question.fits

    run_all(make_gate(plugins=[Keeps()]), 5_000, tenant="a")
    assert [question.request.done_tokens for question in kept][:2] == [0, 2048]
    assert kept[0].request.tenant == "a"
    with pytest.raises(ValueError, match="answered"):
        kept[0].need_bytes(64)


def test_ctrl_c_in_a_plugin_comes_out_of_the_simulation():
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(plugins=[order_that(interrupt)])


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ([Shortest(), order_that(fail)], ValueError, "one of a kind.*'order'"),
        ([Shortest], TypeError, "derived from those of tidegate.plugins"),
        (["plugin:libdeadline.so"], TypeError, "derived from those of tidegate.plugins"),
    ],
    ids=["twice", "a class", "a path"],
)
def test_what_is_no_list_of_plugins_is_an_error(given, error, says):
    with pytest.raises(error, match=says):
        simulate(plugins=given)


def test_a_name_that_reports_could_not_show_is_an_error():
    class Unnamed(Shortest):
        name = "Shortest First"

    with pytest.raises(ValueError, match="its name is not 1 to 64 of"):
        simulate(plugins=[Unnamed()])
