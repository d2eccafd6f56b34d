"""Occurrences that fall due while earlier runs of their task go on, under a running scheduler."""

from __future__ import annotations

from datetime import timedelta

import pytest

from application.scheduler.context import LINGER, SHORT_LINGER
from domain.definition import Overlap, OverlapMode, RetryPolicy
from domain.facts import ExecutionCancelled, ExecutionSkipped, TaskCompleted
from domain.identity import execution_id
from tests.support.given import after, every
from tests.support.scheduler import World


def slow(seconds: float = 25) -> World:
    """Its target takes so long to answer."""
    world = World()
    world.caller.takes = timedelta(seconds=seconds)
    return world


async def test_skip_leaves_out_what_falls_due_during_a_run() -> None:
    world = slow()
    task = await world.create(trigger=every(10), overlap=Overlap(mode="skip"))
    async with world.scheduler():
        await world.clock.reach(after(55))
    assert world.runs() == [(10, 10), (40, 40)]
    assert world.skips("overlap") == [20, 30, 50]
    first = execution_id(task, after(10), "scheduled")
    assert [fact.behind for fact in world.facts(ExecutionSkipped)][:2] == [first, first]


async def test_a_run_that_ends_right_before_the_next_instant_is_in_nobodys_way() -> None:
    world = slow(9.999)
    await world.create(trigger=every(10), overlap=Overlap(mode="skip"))
    async with world.scheduler():
        await world.clock.reach(after(35))
    assert world.runs() == [(10, 10), (20, 20), (30, 30)]


@pytest.mark.parametrize("mode", ["skip", "queue_one"])
async def test_nor_is_one_that_is_recorded_a_little_later(mode: OverlapMode) -> None:
    world = slow(9.93)
    world.linger, world.short_linger = LINGER, SHORT_LINGER
    await world.create(trigger=every(10), overlap=Overlap(mode=mode))
    async with world.scheduler():
        await world.clock.reach(after(35))
    assert world.runs() == [(10, 10), (20, 20), (30, 30)]


async def test_skip_counts_up_to_max_running() -> None:
    world = slow()
    await world.create(trigger=every(10), overlap=Overlap(mode="skip", max_running=2))
    async with world.scheduler():
        await world.clock.reach(after(55))
    assert world.runs() == [(10, 10), (20, 20), (40, 40), (50, 50)]
    assert world.skips("overlap") == [30]


async def test_allow_starts_every_one() -> None:
    world = slow()
    await world.create(trigger=every(10), overlap=Overlap(mode="allow"))
    async with world.scheduler():
        await world.clock.reach(after(35))
    assert world.runs() == [(10, 10), (20, 20), (30, 30)]


async def test_a_run_that_waits_for_its_next_attempt_goes_on() -> None:
    world = World()
    world.caller.answers(503)
    retry = RetryPolicy(initial_delay_seconds=15, jitter="none")
    await world.create(trigger=every(10), retry=retry, overlap=Overlap(mode="skip"))
    async with world.scheduler():
        await world.clock.reach(after(35))
    assert world.runs() == [(10, 10), (10, 25), (30, 30)]
    assert world.skips("overlap") == [20]


async def test_what_users_run_out_of_turn_is_neither_bound_nor_counted() -> None:
    world = slow()
    task = await world.create(trigger=every(60), overlap=Overlap(mode="skip"))
    async with world.scheduler():
        await world.clock.reach(after(50))
        await world.trigger(task)
        await world.clock.reach(after(61))
        await world.trigger(task)
        await world.clock.reach(after(62))
    assert [at for _, at in world.runs()] == [50, 60, 61]
    assert world.skips("overlap") == []


async def test_cancel_running_breaks_off_the_older_run() -> None:
    world = slow()
    task = await world.create(trigger=every(10), overlap=Overlap(mode="cancel_running"))
    first, second = (execution_id(task, after(due), "scheduled") for due in (10, 20))
    async with world.scheduler():
        await world.clock.reach(after(21))
        assert world.names(first) == ["ExecutionStarted", "ExecutionCancelled"]
        await world.clock.reach(after(29))
    assert world.runs() == [(10, 10), (20, 20)]
    [cancelled] = world.facts(ExecutionCancelled)
    assert (cancelled.replaced_by, cancelled.interrupted) == (second, True)
    assert [call.over for call in world.calls] == [False, True]


async def test_cancel_running_breaks_off_the_oldest_of_many() -> None:
    world = slow()
    await world.create(trigger=every(10), overlap=Overlap(mode="cancel_running", max_running=2))
    async with world.scheduler():
        await world.clock.reach(after(31))
        assert world.runs() == [(10, 10), (20, 20), (30, 30)]
        assert len(world.facts(ExecutionCancelled)) == 1
        await world.clock.reach(after(36))
    assert not world.calls[0].over


async def test_breaking_off_calls_costs_no_worker() -> None:
    world = slow()
    await world.create(trigger=every(10), overlap=Overlap(mode="cancel_running"))
    async with world.scheduler(concurrency=1):
        await world.clock.reach(after(69))
    assert world.runs() == [(due, due) for due in range(10, 70, 10)]


async def test_a_call_on_another_node_is_broken_off_as_well() -> None:
    world = slow()
    task = await world.create(trigger=every(10), overlap=Overlap(mode="cancel_running"))
    async with world.scheduler("node-1"):
        await world.clock.reach(after(11))
        world.nodes.alive.add("node-2")
        await world.append(
            execution_id(task, after(10), "scheduled"),
            ExecutionCancelled(at=after(12), task_id=task, reason="replaced", interrupted=True),
        )
        await world.clock.reach(after(13))
    assert [call.over for call in world.calls] == [False]


async def test_the_end_of_what_was_replaced_is_not_the_end_of_the_task() -> None:
    world = slow()
    trigger = every(10, end_at=after(20))
    task = await world.create(trigger=trigger, overlap=Overlap(mode="cancel_running"))
    async with world.scheduler():
        await world.clock.reach(after(30))
        assert world.names(task) == ["TaskCreated"]
        await world.clock.reach(after(46))
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]


async def test_a_task_whose_last_occurrence_overlaps_ends_and_its_run_goes_on() -> None:
    world = slow()
    task = await world.create(trigger=every(10, end_at=after(20)), overlap=Overlap(mode="skip"))
    async with world.scheduler():
        await world.clock.reach(after(21))
        [end] = world.facts(TaskCompleted)
        assert (end.outcome, end.execution_id) == ("succeeded", execution_id(task, after(20), "scheduled"))
        await world.clock.reach(after(60))
    assert world.names(execution_id(task, after(10), "scheduled"))[-1] == "ExecutionSucceeded"
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]


async def test_another_policy_counts_from_the_next_occurrence_on() -> None:
    world = slow(100)
    task = await world.create(trigger=every(10), overlap=Overlap(mode="allow"))
    async with world.scheduler():
        await world.clock.reach(after(25))
        await world.update(task, trigger=every(10), overlap=Overlap(mode="skip", max_running=3))
        await world.clock.reach(after(45))
    assert world.runs() == [(10, 10), (20, 20), (30, 30)]
    assert world.skips("overlap") == [40]
