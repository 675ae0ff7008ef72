# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""vLLM's real scheduler with ours in its place, without a device."""

from __future__ import annotations

import copy

import pytest

pytest.importorskip("vllm")

import tidegate.vllm  # noqa: E402
from tidegate import _vllm_api  # noqa: E402
from vllm.v1.core.sched.async_scheduler import AsyncScheduler  # noqa: E402
from vllm.v1.core.sched.scheduler import Scheduler as PlainScheduler  # noqa: E402
from vllm.v1.engine import FinishReason  # noqa: E402
from vllm_world import POLICY, World  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
ROOM = 80_000_000
TIME = {"use": "formula", "fixed_ps": 5_000_000_000, "per_token_ps": 50_000_000}


def policy_with(**tables):
    policy = copy.deepcopy(POLICY)
    for name, keys in tables.items():
        policy[name] = {**policy.get(name, {}), **keys}
    return policy


def roomy():
    return policy_with(memory={"ceiling": 10**15})


@pytest.mark.parametrize("asynchronous", [True, False])
def test_where_memory_never_binds_outputs_and_totals_are_vllms_own(tmp_path, asynchronous):
    stock = World(tmp_path, AsyncScheduler if asynchronous else PlainScheduler, asynchronous=asynchronous, budget=512, blocks=200)
    ours = World(tmp_path, tidegate.vllm.Scheduler, roomy(), asynchronous=asynchronous, budget=512, blocks=200)
    assert isinstance(ours.scheduler, AsyncScheduler) == asynchronous
    for world in (stock, ours):
        for prompt, output in ((40, 30), (3000, 5), (700, 20), (16, 40)):
            world.add(prompt, output)
    # Without the steps in which a prompt before them in the list leaves those who
    # decode nothing: there ours serves them.
    steps = [world.run() for world in (stock, ours)]
    assert {id: [t for o in outs for t in o.new_token_ids] for id, outs in stock.outputs.items()} == {
        id: [t for o in outs for t in o.new_token_ids] for id, outs in ours.outputs.items()
    }
    assert sum(sum(s.values()) for s in steps[0]) == sum(sum(s.values()) for s in steps[1])
    assert ours.scheduler.tidegate_stats["narrowed_memory"] == 0


def test_chunks_narrow_as_what_they_attend_to_grows_and_fit_the_room(tmp_path):
    world = World(tmp_path, tidegate.vllm.Scheduler)
    id = world.add(30_000)
    done, widths = 0, []
    for step in world.run():
        n = step.get(id, 0)
        if n > 1:
            done += n
            widths.append(n)
            assert 10 * n * done <= ROOM
    assert done == 30_000
    assert widths[0] > 2048 > 512 > widths[-2]
    assert world.scheduler.tidegate_stats["over_room"] == 0


def test_a_prompt_that_never_fits_ends_with_the_arithmetic_and_others_go_on(tmp_path):
    world = World(tmp_path, tidegate.vllm.Scheduler)
    long, short = world.add(130_000), world.add(100)
    world.run()
    end = world.outputs[long][-1]
    assert end.finish_reason == FinishReason.ERROR
    assert "too_large" in end.stop_reason and "transient" in end.stop_reason
    assert world.outputs[short][-1].finish_reason == FinishReason.LENGTH
    assert not world.scheduler.requests


def test_a_refused_request_alone_is_answered_by_an_idle_engine(tmp_path):
    world = World(tmp_path, tidegate.vllm.Scheduler)
    id = world.add(130_000)
    assert world.scheduler.has_requests()
    world.run(3)
    assert world.outputs[id][-1].finish_reason == FinishReason.ERROR
    assert not world.scheduler.has_requests()


def test_a_prompt_longer_than_the_pool_is_refused_in_place_of_waiting_for_ever(tmp_path):
    stock = World(tmp_path, blocks=64)
    stock.add(2000)
    assert stock.run(20) == [{}] * 20  # vLLM 39734
    world = World(tmp_path, tidegate.vllm.Scheduler, blocks=64)
    id = world.add(2000)
    world.run()
    assert "KV pool" in world.outputs[id][-1].stop_reason


def test_decoding_goes_on_beside_a_long_prompt_and_no_step_is_longer_than_the_stall(tmp_path):
    policy = policy_with(chunk={"decode_stall": "30 ms"}, time=TIME, memory={"ceiling": 10**15})
    world = World(tmp_path, tidegate.vllm.Scheduler, policy)
    # What steps take on this machine is not what the test is about.
    world.scheduler._tg_learn = lambda output: None
    short = world.add(50, 200)
    world.step()
    long = world.add(10_000)
    widths = []
    while world.scheduler.requests[long].num_computed_tokens < 10_000:
        step = world.step()
        assert step[short] == 1
        widths.append(step[long])
    # 5 ms + 50 us * (n + 1) <= 30 ms.
    assert max(widths) == 448
    assert world.scheduler.tidegate_stats["narrowed_time"] > 0


def test_a_prompt_before_them_in_the_list_leaves_those_who_decode_their_tokens(tmp_path):
    world = World(tmp_path, tidegate.vllm.Scheduler, roomy(), budget=256)
    long = world.add(5_000)
    world.step()
    short = world.add(10, 50)
    world.scheduler.running.reverse()
    for _ in range(3):
        world.step()
    # As long as the long prompt runs alone, the short one has no budget in vLLM:
    # it starts when there is some.
    world.run()
    assert {o[-1].finish_reason for o in world.outputs.values()} == {FinishReason.LENGTH}
    assert {long, short} == set(world.outputs)


def test_reserve_holds_back_whose_output_might_not_fit(tmp_path):
    claims = policy_with(admission={"use": "reserve"}, memory={"ceiling": 10**15})
    world = World(tmp_path, tidegate.vllm.Scheduler, claims, blocks=101)  # 1,600 tokens
    first, second = world.add(200, 800), world.add(200, 800)
    assert set(world.step()) == {first}
    steps = world.run()
    assert not any({first, second} <= set(step) for step in steps)
    assert {o[-1].finish_reason for o in world.outputs.values()} == {FinishReason.LENGTH}
    never = world.add(200, 5_000)
    world.run(3)
    assert world.outputs[never][-1].finish_reason == FinishReason.ERROR


def test_a_full_queue_refuses_as_overloaded(tmp_path):
    world = World(tmp_path, tidegate.vllm.Scheduler, policy_with(admission={"queue_max": 2}))
    ids = [world.add(10) for _ in range(4)]
    world.run()
    assert ["overloaded" in str(world.outputs[id][-1].stop_reason) for id in ids] == [False, False, True, True]


def test_everything_is_put_back_when_vllms_own_step_raises(tmp_path, monkeypatch):
    world = World(tmp_path, tidegate.vllm.Scheduler)
    for prompt in (30_000, 20_000, 10_000):
        world.add(prompt)
    world.step()
    scheduler = world.scheduler
    running, waiting = list(scheduler.running), list(scheduler.waiting)

    def broken(self, *args, **kwargs):
        assert self.max_num_scheduled_tokens < 8192
        raise KeyError("broken")

    monkeypatch.setattr(AsyncScheduler, "schedule", broken)
    with pytest.raises(KeyError, match="broken"):
        scheduler.schedule()
    assert (scheduler.running, list(scheduler.waiting)) == (running, waiting)
    assert (scheduler.max_num_scheduled_tokens, scheduler.scheduler_config.long_prefill_token_threshold) == (8192, 0)


def test_a_client_that_leaves_at_any_time_leaves_nothing_behind(tmp_path):
    from vllm.v1.request import RequestStatus

    world = World(tmp_path, tidegate.vllm.Scheduler)
    ids = [world.add(n) for n in (20_000, 5_000, 130_000, 50)]
    for id in ids:
        world.step()
        world.scheduler.finish_requests(id, RequestStatus.FINISHED_ABORTED)
    world.run()
    assert not world.scheduler.requests
    assert world.scheduler.kv_cache_manager.block_pool.get_num_free_blocks() == 9_999


@pytest.mark.parametrize("scheduling", ["fcfs", "priority"])
@pytest.mark.parametrize("caching", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_every_request_ends_whatever_comes(tmp_path, scheduling, caching, seed):
    import random

    draw = random.Random(seed)
    use = draw.choice(["optimistic", "reserve"])
    policy = policy_with(admission={"use": use}, chunk={"decode_stall": "20 ms"}, time=TIME)
    world = World(
        tmp_path, tidegate.vllm.Scheduler, policy, caching=caching, scheduling=scheduling, blocks=draw.choice([200, 1000, 5000]),
        budget=draw.choice([128, 1000, 8192]), sequences=draw.choice([2, 16]), asynchronous=draw.random() < 0.5,
    )  # fmt: skip
    ids = []
    for _ in range(400):
        if len(ids) < 40 and draw.random() < 0.3:
            output = draw.choice([1, 20])
            ids.append(world.add(draw.choice([1, 30, 700, 3_000, 20_000, 130_000]), output, priority=draw.randrange(3), token=draw.randrange(3)))
        if world.scheduler.has_requests():
            world.step()
    assert len(world.run(5_000)) < 5_000
    assert not world.scheduler.requests and not world.scheduler.running
    assert all(id in world.outputs and world.outputs[id][-1].finish_reason is not None for id in ids)
    assert world.scheduler.tidegate_stats["over_room"] == 0


def test_bad_options_are_told_at_the_start(tmp_path):
    with pytest.raises(ValueError, match="additional_config.tidegate.polcy"):
        World(tmp_path, tidegate.vllm.Scheduler, options={"polcy": "x"})
    with pytest.raises(ValueError, match="no room for any step"):
        World(tmp_path, tidegate.vllm.Scheduler, options={"kv_pool_bytes": 90_000_000})
    with pytest.raises(ValueError, match="admission.use"):
        World(tmp_path, tidegate.vllm.Scheduler, policy_with(admission={"use": "bankers"}))


def test_this_vllm_has_what_is_relied_on():
    assert _vllm_api.missing(PlainScheduler) is None


def test_a_vllm_that_moved_on_is_refused_with_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr(_vllm_api, "FIELDS", (*_vllm_api.FIELDS, "no_such_field"))
    monkeypatch.setitem(_vllm_api.METHODS, "add_request", ("self", "other"))
    with pytest.raises(RuntimeError, match=r"checked with vLLM .*add_request\(self, other.*Scheduler\.no_such_field"):
        World(tmp_path, tidegate.vllm.Scheduler)


# Shadow mode.


def test_a_shadow_changes_nothing_and_tells_what_would_differ(tmp_path):
    stock, watched = World(tmp_path), World(tmp_path, tidegate.vllm.ShadowScheduler)
    for world in (stock, watched):
        for prompt in (30_000, 500, 126_000):
            world.add(prompt)
    assert stock.run() == watched.run()
    report = watched.scheduler.tidegate_shadow.report()
    assert report["requests"] == 3
    assert report["would_refuse"] == 1  # of 126,000 tokens
    assert report["would_shrink"] > 0
    assert report["predicted_out_of_memory"] > 0
    assert report["errors"] == 0


def test_a_shadow_of_a_bad_policy_serves_without_one(tmp_path):
    world = World(tmp_path, tidegate.vllm.ShadowScheduler, {"memory": {"ceilling": 1}})
    assert world.scheduler.tidegate_shadow is None
    world.add(100)
    assert sum(sum(step.values()) for step in world.run()) == 103
